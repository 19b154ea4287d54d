/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "host/system.h"
#include "vm/argv_json.h"

#define RECORD_SIZE_MAX ((size_t)512 << 10)
#define RECORD_VERSION 4
#define RECORD_VERSION_WITHOUT_VISIBLE 3
#define RECORD_VERSION_WITHOUT_ARGV 2

static const char no_boot[] = "00000000-0000-0000-0000-000000000000";

static const char *const place_names[] = {
    [PLACE_HERE] = "here", [PLACE_INCOMING] = "incoming", [PLACE_MOVING] = "moving",
    [PLACE_TOLD] = "told", [PLACE_MOVED] = "moved",       [PLACE_ELSEWHERE] = "elsewhere",
};

const char *vm_place_name(enum vm_place place)
{
    return place_names[place];
}

void vm_migration_free(struct vm_migration *migration)
{
    free(migration->host);
    json_decref(migration->undo);
    *migration = (struct vm_migration){0};
}

void vm_record_free(struct vm_record *record)
{
    free(record->vm);
    free(record->socket);
    free(record->peer);
    free(record->peer_host);
    free(record->qemu);
    free(record->guardian_address);
    vm_migration_free(&record->migration);
    proof_arguments_free(&record->arguments);
    strlist_free(&record->argv);
    visible_list_free(&record->visible);
    *record = (struct vm_record){0};
}

static char *record_path(const struct paths *paths, const char *vm)
{
    return string_format("%s/vms/%s.json", paths->state, vm);
}

static bool parse_migration(json_t *json, struct vm_migration *migration, struct error *err)
{
    const char *id, *host;
    json_int_t port;
    int run, keep_source, direct, postcopy;
    json_t *undo;
    if (json_is_null(json))
        return true;
    if (!json_take(json, err, "the VM's record: migration",
                   "{s:s, s:s, s:I, s:b, s:b, s:b, s:b, s:o}", "id", &id, "host", &host, "port",
                   &port, "run", &run, "keep_source", &keep_source, "direct", &direct, "postcopy",
                   &postcopy, "undo", &undo))
        return false;
    json_t *capabilities, *parameters;
    if (!json_is_null(undo) &&
        !json_take(undo, err, "the VM's record: migration: undo", "{s:o, s:o}", "capabilities",
                   &capabilities, "parameters", &parameters))
        return false;
    if (!migration_id_is_good(id) || port < 1 || port > 65535)
        return error_set(err, STATUS_DATA, "the VM's record: its migration is not valid");
    memcpy(migration->id, id, MIGRATION_ID_SIZE);
    migration->port = (uint16_t)port;
    migration->run = run;
    migration->keep_source = keep_source;
    migration->direct = direct;
    migration->postcopy = postcopy;
    migration->undo = json_is_null(undo) ? NULL : json_incref(undo);
    return (migration->host = strdup(host)) || error_no_memory(err);
}

static json_t *migration_to_json(const struct vm_migration *migration)
{
    if (!*migration->id)
        return json_null();
    return json_pack("{s:s, s:s, s:I, s:b, s:b, s:b, s:b, s:O}", "id", migration->id, "host",
                     migration->host, "port", (json_int_t)migration->port, "run", migration->run,
                     "keep_source", migration->keep_source, "direct", migration->direct, "postcopy",
                     migration->postcopy, "undo", migration->undo ? migration->undo : json_null());
}

/* Later versions have more members; 0: there is none with these. */
static int version_with(const json_t *argv, const json_t *visible)
{
    return argv && visible ? RECORD_VERSION
           : argv          ? RECORD_VERSION_WITHOUT_VISIBLE
           : visible       ? 0
                           : RECORD_VERSION_WITHOUT_ARGV;
}

static bool parse_record(json_t *json, struct vm_record *out, struct error *err)
{
    autovmrecord struct vm_record record = {0};
    const char *vm, *place, *role, *boot_id, *socket, *agreement, *peer, *host, *qemu, *address;
    json_t *arguments, *migration, *argv = NULL, *visible = NULL;
    json_int_t version, pid, started, port, guardian_port;
    int guarded;
    if (!json_take(
            json, err, "the VM's record",
            "{s:I, s:s, s:s, s:s, s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:I, s:b, s:s, s:I, s:o, "
            "s:s, s:o, s?o, s?o}",
            "version", &version, "vm", &vm, "place", &place, "role", &role, "pid", &pid, "started",
            &started, "boot_id", &boot_id, "socket", &socket, "agreement", &agreement, "peer",
            &peer, "peer_host", &host, "peer_port", &port, "guarded", &guarded, "guardian_address",
            &address, "guardian_port", &guardian_port, "migration", &migration, "qemu", &qemu,
            "arguments", &arguments, "argv", &argv, "visible", &visible))
        return false;
    size_t index = 0;
    while (index < sizeof(place_names) / sizeof(place_names[0]) &&
           strcmp(place_names[index], place) != 0)
        index++;
    if (version != version_with(argv, visible) ||
        index == sizeof(place_names) / sizeof(place_names[0]) ||
        !vm_role_parse(role, &record.role) || strlen(boot_id) != 36 || !digest_is_hex(agreement) ||
        pid < 0 || started < 0 || port < 0 || port > 65535 || guardian_port < 0 ||
        guardian_port > 65535)
        return error_set(err, STATUS_DATA, "the VM's record is not valid");
    record.place = (enum vm_place)index;
    record.pid = pid;
    record.started = (uint64_t)started;
    record.peer_port = (uint16_t)port;
    record.guarded = guarded;
    record.guardian_port = (uint16_t)guardian_port;
    memcpy(record.boot_id, boot_id, 37);
    memcpy(record.agreement, agreement, DIGEST_HEX_SIZE);
    if (!(record.vm = strdup(vm)) || !(record.socket = strdup(socket)) ||
        !(record.peer = strdup(peer)) || !(record.peer_host = strdup(host)) ||
        !(record.qemu = strdup(qemu)) || !(record.guardian_address = strdup(address)))
        return error_no_memory(err);
    if (!parse_migration(migration, &record.migration, err))
        return false;
    if (!json_is_null(arguments) && !proof_arguments_from_json(arguments, &record.arguments, err))
        return error_wrap(err, "the VM's record");
    if (argv && !argv_from_json(argv, &record.argv, err))
        return error_wrap(err, "the VM's record: argv");
    if (visible && !visible_from_json(visible, "the VM's record: visible", &record.visible, err))
        return false;
    *out = record;
    record = (struct vm_record){0};
    return true;
}

bool migration_id_is_good(const char *id)
{
    return strlen(id) == MIGRATION_ID_SIZE - 1 &&
           strspn(id, "0123456789abcdef") == MIGRATION_ID_SIZE - 1;
}

bool vm_record_load(const struct paths *paths, const char *vm, struct vm_record *record,
                    struct error *err)
{
    autofree char *path = record_path(paths, vm);
    autofree char *text = NULL;
    size_t length;
    if (!path)
        return error_no_memory(err);
    if (!file_read_trusted(path, RECORD_SIZE_MAX, true, &text, &length, err))
        return false;
    if (!text)
        return true;
    autojson json_t *json = json_parse_strict(text, length, RECORD_SIZE_MAX, err);
    if (!json || !parse_record(json, record, err)) {
        error_wrap(err, "%s", path);
        return error_advise(err, "put it back from a copy, or remove it if %s runs nowhere", vm);
    }
    return true;
}

bool vm_record_store(const struct paths *paths, const struct vm_record *record, struct error *err)
{
    autofree char *path = record_path(paths, record->vm);
    autojson json_t *json = json_pack(
        "{s:i, s:s, s:s, s:s, s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:I, s:b, s:s, s:I, s:o, s:s, "
        "s:o, s:o, s:o}",
        "version", RECORD_VERSION, "vm", record->vm, "place", place_names[record->place], "role",
        vm_role_name(record->role), "pid", (json_int_t)record->pid, "started",
        (json_int_t)record->started, "boot_id", record->boot_id, "socket", record->socket,
        "agreement", record->agreement, "peer", record->peer, "peer_host", record->peer_host,
        "peer_port", (json_int_t)record->peer_port, "guarded", record->guarded, "guardian_address",
        record->guardian_address ? record->guardian_address : "", "guardian_port",
        (json_int_t)record->guardian_port, "migration", migration_to_json(&record->migration),
        "qemu", record->qemu, "arguments",
        record->arguments.machine ? proof_arguments_to_json(&record->arguments) : json_null(),
        "argv", argv_to_json(&record->argv), "visible", visible_to_json(&record->visible));
    autofree char *text = json ? json_to_text(json) : NULL;
    if (!path || !text)
        return error_no_memory(err);
    return file_write_atomic(path, text, strlen(text), 0600, err);
}

bool vm_record_check_launch(struct vm_record *record, bool incoming, bool take_back,
                            struct error *err)
{
    if (!record->vm)
        return true;
    bool running = vm_record_is_running(record);
    if (running && record->place == PLACE_MOVED)
        return error_set(
            err, STATUS_DECISION,
            "%s has moved to %s, and its old QEMU (pid %lld) is still here, paused: end "
            "that one first",
            record->vm, record->peer, (long long)record->pid);
    bool told = record->place == PLACE_TOLD, coming = told && record->role == ROLE_DESTINATION;
    bool away = record->place == PLACE_MOVING || (told && !coming);
    if (running && record->place == PLACE_INCOMING && record->guardian_port > 0)
        return error_set(err, STATUS_DECISION,
                         "%s waits here already for 'migrate %s' on %s: QEMU has pid %lld; it did "
                         "not run here yet, and can be ended",
                         record->vm, record->vm, record->peer, (long long)record->pid);
    if (running)
        return error_set(err, STATUS_DECISION, "%s %s here already: QEMU has pid %lld", record->vm,
                         away     ? "is moving from"
                         : coming ? "is coming"
                                  : "runs",
                         (long long)record->pid);
    if (incoming || take_back)
        return true;
    if (record->place == PLACE_MOVED)
        return error_set(
            err, STATUS_DECISION,
            "%s has moved to %s: it is not started here, so that it does not run twice "
            "(if it is not there any more: --renegotiate --here)",
            record->vm, record->peer);
    if (record->place == PLACE_ELSEWHERE)
        return error_set(err, STATUS_DECISION,
                         "%s lives on %s: it is not started here, so that it does not run twice; "
                         "to bring it here: qemu-migrate-launch receive %s --from %s (if it is not "
                         "there any more: --renegotiate --here)",
                         record->vm, record->peer, record->vm, record->peer);
    if (record->place == PLACE_INCOMING)
        return error_set(
            err, STATUS_DECISION,
            "a QEMU waited here for %s to come from %s, and has ended: look whether %s "
            "runs there; if not: --renegotiate --here",
            record->vm, record->peer, record->vm);
    if (record->place == PLACE_TOLD && record->role == ROLE_DESTINATION)
        return error_set(
            err, STATUS_DECISION,
            "%s was told by %s to run here, and its QEMU has ended: look whether it runs on %s; if "
            "not: --renegotiate --here",
            record->vm, record->peer, record->peer);
    if (record->place == PLACE_TOLD)
        return error_set(
            err, STATUS_DECISION,
            "%s was told to run %s when its QEMU here ended: look whether it runs there; if not: "
            "--renegotiate --here",
            record->peer, record->vm);
    if (record->place == PLACE_MOVING)
        return error_set(
            err, STATUS_DECISION,
            "%s was moving to %s when its QEMU here ended: look whether it runs there; if "
            "not: --renegotiate --here",
            record->vm, record->peer);
    return true;
}

/* A copy in place of what was there. */
static bool replace(char **place, const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        return false;
    free(*place);
    *place = copy;
    return true;
}

bool vm_record_set_elsewhere(struct vm_record *record, const char *vm, const char *digest,
                             const char *peer, struct error *err)
{
    if (!replace(&record->vm, vm) || !replace(&record->socket, "") ||
        !replace(&record->peer, peer) || !replace(&record->peer_host, "") ||
        !replace(&record->guardian_address, "") || (!record->qemu && !replace(&record->qemu, "")))
        return error_no_memory(err);
    record->place = PLACE_ELSEWHERE;
    record->role = ROLE_DESTINATION;
    record->pid = 0;
    record->started = 0;
    memcpy(record->boot_id, no_boot, sizeof(no_boot));
    memcpy(record->agreement, digest, DIGEST_HEX_SIZE);
    record->peer_port = 0;
    record->guarded = false;
    record->guardian_port = 0;
    vm_migration_free(&record->migration);
    return true;
}
