/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/vm_answers.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "peer/message.h"
#include "qmp/qmp.h"
#include "vm/argv_json.h"
#include "vm/record.h"
#include "vm/secrets.h"

#define GREETING_MS 500    /* nobody else is to be there: the lock is ours */
#define ENVELOPE_ROOM 4096 /* of a message, beside its body */

/* A VM that runs here, under its lock. */
struct running_vm {
    int lock;
    struct vm_record record;
    json_t *document;
    struct agreement agreement;
    char digest[DIGEST_HEX_SIZE];
};

static void running_vm_free(struct running_vm *vm)
{
    vm_record_free(&vm->record);
    json_decref(vm->document);
    agreement_free(&vm->agreement);
    if (vm->lock >= 0)
        close(vm->lock);
}
#define autorunningvm __attribute__((cleanup(running_vm_free)))

/* Where it is, if it is not simply here. */
static bool check_place(struct vm_record *record, struct error *err)
{
    bool running = vm_record_is_running(record);
    switch (record->place) {
    case PLACE_MOVED:
        return error_set(err, STATUS_DECISION, "%s has moved to %s: ask there", record->vm,
                         record->peer);
    case PLACE_ELSEWHERE:
        return error_set(err, STATUS_DECISION, "%s lives on %s: ask there", record->vm,
                         record->peer);
    case PLACE_MOVING:
    case PLACE_TOLD:
        return error_set(err, STATUS_DECISION, "%s is being moved %s %s", record->vm,
                         record->role == ROLE_SOURCE ? "from here to" : "to here from",
                         record->peer);
    case PLACE_INCOMING:
        return error_set(err, STATUS_DECISION, "%s %s here to come from %s", record->vm,
                         running ? "waits" : "has waited", record->peer);
    default:
        return running || error_set(err, STATUS_DECISION, "%s does not run here", record->vm);
    }
}

static bool open_vm(const struct paths *paths, const char *name, struct running_vm *vm,
                    struct error *err)
{
    if (!name_is_vm(name))
        return error_set(err, STATUS_DATA, "the request's vm is no name of a VM");
    /* Before the lock, which would make files for any name. */
    if (!vm_record_load(paths, name, &vm->record, err))
        return false;
    if (!vm->record.vm)
        return error_set(err, STATUS_INCOMPATIBLE, "there is no VM %s here", name);
    vm_record_free(&vm->record);
    vm->lock = vm_record_lock(paths, name, err);
    if (vm->lock < 0 || !vm_record_load(paths, name, &vm->record, err))
        return false;
    if (!vm->record.vm)
        return error_set(err, STATUS_INCOMPATIBLE, "there is no VM %s here", name);
    if (!check_place(&vm->record, err) || !agreement_load(paths->state, name, &vm->document, err))
        return false;
    if (!vm->document)
        return error_set(err, STATUS_INCOMPATIBLE, "there is no agreement about %s here", name);
    if (!agreement_document_open(vm->document, &vm->agreement, vm->digest, err))
        return error_wrap(err, "the agreement about %s", name);
    return strcmp(vm->digest, vm->record.agreement) == 0 ||
           error_set(err, STATUS_DECISION,
                     "%s runs here under another agreement (%.12s) than the one that is kept "
                     "(%.12s): launch it again",
                     name, vm->record.agreement, vm->digest);
}

/* The running QEMU's version; "" if it does not say. */
static bool read_version(const struct vm_record *record, char *text, size_t size)
{
    struct error err = ERROR_INIT;
    autoqmp struct qmp *qmp = qmp_connect(record->socket, GREETING_MS, &err);
    unsigned version = qmp ? qmp_version(qmp) : 0;
    int length =
        qmp ? snprintf(text, size, "%u.%u.%u", version / 10000, version / 100 % 100, version % 100)
            : snprintf(text, size, "%s", "");
    return length >= 0 && (size_t)length < size;
}

/* The command line for the peer's eyes; none if it is not known, or cannot be read. */
static bool tell_argv(const struct vm_record *record, struct strlist *argv,
                      struct strlist *left_out, struct error *err)
{
    autoarglist struct arglist list = {0}, told = {0};
    struct error why = ERROR_INIT;
    if (record->argv.count == 0)
        return strlist_push(left_out, "all of it: it is not known here") || error_no_memory(err);
    if (!arglist_parse(&list, (int)record->argv.count, record->argv.items, &why))
        return strlist_pushf(left_out, "all of it: %s", why.message) || error_no_memory(err);
    return arglist_without_secrets(&list, &told, left_out, err) && arglist_render(&told, argv, err);
}

/* What a guest sees of a command line that no launch of ours read: what was in its files when QEMU
 * read them is not known. */
static bool find_visible(struct vm_record *record, struct error *err)
{
    autoarglist struct arglist list = {0};
    struct error why = ERROR_INIT;
    if (record->visible.version > 0 || record->argv.count == 0)
        return true;
    return (arglist_parse(&list, (int)record->argv.count, record->argv.items, &why) &&
            visible_list_read(&list, &record->visible, &why)) ||
           why.status != STATUS_INTERNAL || error_no_memory(err);
}

/* How many bytes it is as JSON. */
static size_t size_of(const json_t *json)
{
    return json_dumpb(json, NULL, 0, JSON_COMPACT | JSON_ENSURE_ASCII);
}

static bool answer_agreement(const struct vm_answers_setup *setup, const struct trust_entry *peer,
                             json_t *body, json_t **answer, struct error *err)
{
    autorunningvm struct running_vm vm = {.lock = -1};
    autostrlist struct strlist argv = {0}, left_out = {0}, shown = {0};
    const char *name;
    char version[32];
    if (!json_take(body, err, "the request", "{s:s}", "vm", &name) ||
        !open_vm(setup->paths, name, &vm, err) || !tell_argv(&vm.record, &argv, &left_out, err) ||
        !find_visible(&vm.record, err))
        return false;
    /* Who sits at QEMU's socket does not keep others from the VM. */
    close(steal_fd(&vm.lock));
    if (!read_version(&vm.record, version, sizeof(version)))
        return false;
    autojson json_t *words = argv_to_json(&argv), *visible = visible_to_json(&vm.record.visible);
    size_t room = (size_t)MESSAGE_MAX / 4 * 3 - ENVELOPE_ROOM - size_of(vm.document);
    /* In base64 it becomes a third longer. */
    if (size_of(words) + size_of(visible) > room) {
        if (!strlist_push(&left_out, "all of it: it is too long"))
            return error_no_memory(err);
        json_array_clear(words);
    }
    for (size_t i = 0; i < left_out.count; i++)
        if (!strlist_push_owned(&shown, string_plain(left_out.items[i], 200)))
            return error_no_memory(err);
    log_info("%s: %s asks for its agreement, to receive it", name, peer->name);
    *answer = json_pack("{s:s, s:O, s:s, s:s, s:O, s:o, s:O}", "vm", name, "document", vm.document,
                        "place", "here", "qemu", version, "argv", words, "left_out",
                        json_from_names(&shown), "visible", visible);
    return *answer || error_no_memory(err);
}

/* A destination that is there already is not lost without a word: a party of the agreement takes
 * its place, and that is said; anybody else does not. */
static bool check_other(const struct running_vm *vm, const struct trust_entry *peer,
                        struct error *err)
{
    const struct vm_record *record = &vm->record;
    bool is_party = false;
    for (size_t i = 0; i < peer->pin_count; i++)
        is_party = is_party || agreement_find_party(&vm->agreement, peer->pins[i]);
    bool other = record->role == ROLE_SOURCE && record->guarded && record->peer_port > 0 &&
                 strcmp(record->peer, peer->name) != 0;
    if (other && !is_party)
        return error_set(err, STATUS_DECISION,
                         "%s has a destination on %s already, and %s is no party of its "
                         "agreement: 'migrate %s --to' there names the one that is meant",
                         record->vm, record->peer, peer->name, record->vm);
    if (other)
        log_warning("%s: its destination is on %s now, no longer on %s", record->vm, peer->name,
                    record->peer);
    return true;
}

static bool replace(char **place, const char *text, struct error *err)
{
    char *copy = strdup(text);
    if (!copy)
        return error_no_memory(err);
    free(*place);
    *place = copy;
    return true;
}

static bool answer_incoming(const struct vm_answers_setup *setup, const struct trust_entry *peer,
                            const char *remote, json_t *body, json_t **answer, struct error *err)
{
    autorunningvm struct running_vm vm = {.lock = -1};
    const char *name, *agreement;
    json_int_t port;
    if (!json_take(body, err, "the request", "{s:s, s:s, s:I}", "vm", &name, "agreement",
                   &agreement, "port", &port))
        return false;
    if (port < 1 || port > 65535 || !digest_is_hex(agreement))
        return error_set(err, STATUS_DATA, "the request's port or agreement is not valid");
    if (!open_vm(setup->paths, name, &vm, err))
        return false;
    if (strcmp(agreement, vm.digest) != 0)
        return error_set(err, STATUS_INCOMPATIBLE,
                         "%s runs here under the agreement %.12s, and waits there under %.12s",
                         name, vm.digest, agreement);
    struct vm_record *record = &vm.record;
    if (!check_other(&vm, peer, err) || !replace(&record->peer, peer->name, err) ||
        !replace(&record->peer_host, remote, err))
        return false;
    record->role = ROLE_SOURCE;
    record->peer_port = (uint16_t)port;
    record->guarded = true;
    if (!vm_record_store(setup->paths, record, err))
        return false;
    log_info("%s: a destination waits for it on %s: 'migrate %s'", name, peer->name, name);
    *answer = json_pack("{s:b}", "noted", 1);
    return *answer || error_no_memory(err);
}

/* For 'migrate --to': where the guardian of a VM that waits here is to be found. */
static bool answer_waiting(const struct vm_answers_setup *setup, const struct trust_entry *peer,
                           json_t *body, json_t **answer, struct error *err)
{
    autovmrecord struct vm_record record = {0};
    const char *name;
    if (!json_take(body, err, "the request", "{s:s}", "vm", &name))
        return false;
    if (!name_is_vm(name))
        return error_set(err, STATUS_DATA, "the request's vm is no name of a VM");
    if (!vm_record_load(setup->paths, name, &record, err))
        return false;
    if (!record.vm || record.place != PLACE_INCOMING || record.guardian_port == 0 ||
        !vm_record_is_running(&record))
        return error_set(err, STATUS_DECISION,
                         "%s does not wait here: it needs 'receive %s --from %s' first", name, name,
                         peer->name);
    if (strcmp(record.peer, peer->name) != 0)
        return error_set(err, STATUS_DECISION, "%s waits here to come from %s", name, record.peer);
    *answer = json_pack("{s:s, s:s, s:i}", "vm", name, "agreement", record.agreement, "port",
                        (int)record.guardian_port);
    return *answer || error_no_memory(err);
}

bool vm_answers_know(const char *name)
{
    return strcmp(name, "agreement") == 0 || strcmp(name, "incoming") == 0 ||
           strcmp(name, "waiting") == 0;
}

bool vm_answers_handle(const struct vm_answers_setup *setup, const struct trust_entry *peer,
                       const char *remote, const char *name, json_t *body, json_t **answer,
                       struct error *err)
{
    if (strcmp(name, "agreement") == 0)
        return answer_agreement(setup, peer, body, answer, err);
    if (strcmp(name, "incoming") == 0)
        return answer_incoming(setup, peer, remote, body, answer, err);
    if (strcmp(name, "waiting") == 0)
        return answer_waiting(setup, peer, body, answer, err);
    return error_set(err, STATUS_PROTOCOL, "'%.16s' is not answered here", name);
}
