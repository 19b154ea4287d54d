/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/adopt_store.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

bool adopt_check_record(struct vm_record *record, pid_t pid, bool renegotiate, struct error *err)
{
    const char *vm = record->vm;
    if (!vm)
        return true;
    bool running = vm_record_is_running(record);
    bool is_it = running && record->pid == pid;
    if (record->place == PLACE_HERE && running && !is_it)
        return error_set(err, STATUS_DECISION,
                         "%s runs here already, as QEMU with pid %lld, and this one has pid %ld: "
                         "give this guest another name",
                         vm, (long long)record->pid, (long)pid);
    if (record->place == PLACE_HERE && !renegotiate)
        return error_set(err, STATUS_DECISION,
                         is_it
                             ? "%s has its agreement already: to agree anew about the CPU that it "
                               "has, give --renegotiate"
                             : "%s was started here before, under an agreement: to give that up, "
                               "give --renegotiate",
                         vm);
    if (record->place == PLACE_HERE)
        return true;
    if (record->place == PLACE_INCOMING)
        return error_set(err, STATUS_DECISION,
                         "%s was to come here from %s: look whether it runs there", vm,
                         record->peer);
    if (record->place == PLACE_TOLD && record->role == ROLE_DESTINATION)
        return error_set(err, STATUS_DECISION,
                         "%s came here from %s, and has its agreement already", vm, record->peer);
    return error_set(err, STATUS_DECISION,
                     record->place == PLACE_MOVING
                         ? "%s is moving to %s: nothing is agreed anew now"
                     : record->place == PLACE_TOLD
                         ? "%s was told to %s: look whether it runs there"
                         : "%s lives on %s: adopt it there, or give this guest another name",
                     vm, record->peer);
}

bool adopt_check_agreement(const struct paths *paths, const char *vm, const char *own_pin,
                           const struct vm_record *record, bool renegotiate, struct error *err)
{
    autojson json_t *document = NULL;
    autoagreement struct agreement agreement = {0};
    if (renegotiate)
        return true;
    if (!agreement_load(paths->state, vm, &document, err))
        return false;
    if (!document)
        return true;
    if (!agreement_document_open(document, &agreement, NULL, err))
        return error_wrap(err, "the agreement about %s that is kept here", vm);
    if (!record->vm && agreement.party_count == 1 && strcmp(agreement.parties[0].pin, own_pin) == 0)
        return true;
    return error_set(err, STATUS_DECISION,
                     "there is an agreement about %s already (see agreement show %s): to give it "
                     "up, give --renegotiate",
                     vm, vm);
}

static int is_record(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return length > 5 && strcmp(entry->d_name + length - 5, ".json") == 0;
}

bool adopt_check_process(const struct paths *paths, const char *vm, pid_t pid, struct error *err)
{
    autofree char *folder = path_join(paths->state, "vms", "");
    struct dirent **entries = NULL;
    if (!folder)
        return error_no_memory(err);
    int count = scandir(folder, &entries, is_record, alphasort);
    bool good = true;
    for (int i = 0; i < count; i++) {
        autovmrecord struct vm_record other = {0};
        char *name = entries[i]->d_name;
        name[strlen(name) - 5] = '\0';
        /* One that cannot be read is that VM's own trouble. */
        if (good && name_is_vm(name) && strcmp(name, vm) != 0 &&
            vm_record_load(paths, name, &other, NULL) && vm_record_is_running(&other) &&
            other.pid == pid)
            good = error_set(err, STATUS_DECISION, "this QEMU (pid %ld) is that of VM %s",
                             (long)pid, name);
        free(entries[i]);
    }
    free(entries);
    return good;
}

/* What was there before, after the record could not be written. */
static void undo(const struct paths *paths, const char *vm, json_t *before)
{
    autofree char *path = string_format("%s/agreements/%s.json", paths->state, vm);
    if (before)
        agreement_store(paths->state, vm, before, NULL);
    else if (path)
        unlink(path);
}

bool adopt_store(const struct paths *paths, const struct identity *identity,
                 const struct agreement *agreement, struct vm_record *record, struct error *err)
{
    autojson json_t *payload = agreement_to_json(agreement);
    autojson json_t *before = NULL;
    autofree char *text = NULL;
    autofree char *sockets = path_join(paths->run, agreement->vm, ""); /* of a migration */
    const struct strlist approvals = {0}; /* nobody else is to approve */
    if (!payload || !sockets)
        return error_no_memory(err);
    if (!agreement_load(paths->state, agreement->vm, &before, NULL))
        before = NULL; /* one that cannot be read is not put back */
    if (!folder_make(sockets, 0700, err) ||
        !envelope_sign_digest(identity, AGREEMENT_TYPE, payload, &text, record->agreement, err))
        return false;
    autojson json_t *document = agreement_document(text, &approvals, err);
    if (!document || !agreement_store(paths->state, agreement->vm, document, err))
        return false;
    if (vm_record_store(paths, record, err))
        return true;
    undo(paths, agreement->vm, before);
    return false;
}
