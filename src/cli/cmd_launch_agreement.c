/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A launch under what was agreed before, with nobody to ask: the agreement of --agreement, or the
 * one that is kept here.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/cmd_launch.h"
#include "vm/drift.h"
#include "vm/exec.h"

void launch_known_free(struct launch_known *known)
{
    agreement_free(&known->agreement);
    json_decref(known->document);
}

static bool read_document(const struct launch *launch, struct launch_known *known,
                          struct error *err)
{
    const char *path = launch->options.agreement;
    autofree char *text = NULL;
    size_t length;
    if (!path)
        return agreement_load(launch->context->paths.state, launch->vm, &known->document, err);
    if (!file_read(path, AGREEMENT_SIZE_MAX, false, &text, &length, err))
        return false;
    known->document = json_parse_strict(text, length, AGREEMENT_SIZE_MAX, err);
    return known->document || error_wrap(err, "%s", path);
}

/* One that this host has signed nobody else can have made up. Of another one, the word of a party
 * that is trusted counts, and the proof here. */
static bool check_parties(const struct launch *launch, const struct launch_known *known,
                          const char *what, struct error *err)
{
    const struct agreement *agreement = &known->agreement;
    if (agreement_find_party(agreement, launch->identity->pin))
        return true;
    for (size_t i = 0; i < agreement->party_count; i++) {
        const struct trust_entry *entry = trust_find_pin(&launch->trust, agreement->parties[i].pin);
        if (!entry || trust_entry_is_expired(entry, time(NULL)) || !agreement->proof.made)
            continue;
        log_info("%s: this host is no party to the agreement, %s is: the proof here decides",
                 launch->vm, entry->name);
        return true;
    }
    return error_set(err, STATUS_NOT_TRUSTED,
                     "%s was not agreed with this host, nor with one that is trusted here: launch "
                     "with --peer or --listen",
                     what);
}

static bool read_known(const struct launch *launch, struct launch_known *known, struct error *err)
{
    autofree char *what =
        launch->options.agreement
            ? strdup(launch->options.agreement)
            : string_format("the agreement about %s that is kept here", launch->vm);
    if (!what)
        return error_no_memory(err);
    if (!read_document(launch, known, err))
        return false;
    if (!known->document ||
        !agreement_document_open(known->document, &known->agreement, known->digest, err))
        return error_wrap(err, "%s", what);
    if (strcmp(known->agreement.vm, launch->vm) != 0)
        return error_set(err, STATUS_INCOMPATIBLE, "%s is about VM %s, not %s", what,
                         known->agreement.vm, launch->vm);
    return check_parties(launch, known, what, err);
}

/* The CPU is as it was agreed: other words than then do not count. */
static bool check_request(const struct launch *launch, const struct agreement *agreement,
                          struct error *err)
{
    const struct agreement_party *self = agreement_find_party(agreement, launch->identity->pin);
    struct featureset_cursor cursor = {0};
    for (const char *name; (name = featureset_next(&launch->options.require, &cursor));)
        if (!featureset_has(&agreement->baseline.features, name))
            return error_set(err, STATUS_INCOMPATIBLE,
                             "%s was agreed on without %s, which is required: agree anew, with "
                             "--renegotiate",
                             launch->vm, name);
    if (!self || self->role == ROLE_PARTY)
        return true;
    autojson json_t *now = cpu_request_to_json(&launch->request);
    autojson json_t *then = cpu_request_to_json(&self->request);
    if (!now || !then)
        return error_no_memory(err);
    /* A model stands there by its versioned name. */
    json_object_del(now, "model");
    json_object_del(then, "model");
    if (!json_equal(now, then))
        log_warning("%s has the CPU that was agreed on: -cpu and --deny ask for another one, which "
                    "only --renegotiate gives it",
                    launch->vm);
    return true;
}

bool launch_check_arguments(const struct launch *launch, const struct agreement *agreement,
                            struct error *err)
{
    const struct invocation *invocation = &launch->invocation;
    const char *irqchip = invocation->kernel_irqchip ? invocation->kernel_irqchip : "";
    if (strcmp(launch->accel, agreement->baseline.accel) != 0)
        return error_set(err, STATUS_INCOMPATIBLE, "%s was agreed for accelerator %s, not %s",
                         launch->vm, agreement->baseline.accel, launch->accel);
    if (strcmp(irqchip, agreement->kernel_irqchip) != 0)
        return error_set(err, STATUS_INCOMPATIBLE,
                         "%s was agreed with kernel-irqchip '%s', not '%s'", launch->vm,
                         agreement->kernel_irqchip, irqchip);
    if (invocation->cpu_pm != agreement->cpu_pm)
        return error_set(err, STATUS_INCOMPATIBLE, "%s was agreed with cpu-pm %s", launch->vm,
                         agreement->cpu_pm ? "on" : "off");
    automachinelist struct machine_list agreed = {0};
    if (!machine_list_add(&agreed, agreement->machine, NULL, false, false))
        return error_no_memory(err);
    const struct machine_wish wishes[] = {
        {launch->config.host_name, invocation->machine_type, &launch->qemu.machines,
         launch->qemu.version, false},
        {"the agreement", agreement->machine, &agreed, launch->qemu.version, false},
    };
    autofree char *chosen = machine_choose(wishes, 2, err);
    return chosen != NULL;
}

/* --peer, as when it was agreed: where the destination of a pair is. One that is no party has
 * promised nothing. */
static bool use_peers(struct launch *launch, const struct agreement *agreement, struct error *err)
{
    struct vm_record *record = &launch->record;
    for (size_t i = 0; i < launch->options.peers.count; i++) {
        autofree char *host = NULL;
        uint16_t port;
        const struct trust_entry *entry =
            launch_find_peer(launch, "--peer", launch->options.peers.items[i], &host, &port, err);
        if (!entry)
            return false;
        const struct agreement_party *party = NULL;
        for (size_t k = 0; k < entry->pin_count && !party; k++)
            party = agreement_find_party(agreement, entry->pins[k]);
        if (!party)
            log_warning("%s was agreed without %s, which has promised nothing: --renegotiate "
                        "agrees anew",
                        launch->vm, entry->name);
        if (launch->role != ROLE_SOURCE || !party || party->role != ROLE_DESTINATION)
            continue;
        record->peer_port = port;
        record->guarded = true;
        if (!launch_replace(&record->peer, entry->name) ||
            !launch_replace(&record->peer_host, host))
            return error_no_memory(err);
    }
    return true;
}

/* The other parties: who may move the guest to here, and who to say that it comes from. */
static bool find_others(struct launch *launch, const struct agreement *agreement,
                        struct strlist *pins, struct error *err)
{
    const char *first = NULL;
    for (size_t i = 0; i < agreement->party_count; i++) {
        const struct trust_entry *entry = trust_find_pin(&launch->trust, agreement->parties[i].pin);
        if (!entry || strcmp(agreement->parties[i].pin, launch->identity->pin) == 0)
            continue;
        first = first ? first : entry->name;
        if (!strlist_push(pins, agreement->parties[i].pin))
            return error_no_memory(err);
    }
    if (!first && launch->guarded)
        return error_set(err, STATUS_NOT_TRUSTED,
                         "none of those who agreed about %s is trusted here any more", launch->vm);
    if (!launch->awaited && !launch_replace(&launch->record.peer,
                                            first && launch->role == ROLE_DESTINATION ? first : ""))
        return error_no_memory(err);
    return use_peers(launch, agreement, err);
}

/* Here it is started by the one that it was agreed to be started by, or where it has been since. */
static bool check_start(const struct launch *launch, const struct agreement *agreement,
                        struct error *err)
{
    const struct agreement_party *self = agreement_find_party(agreement, launch->identity->pin);
    if (launch->role == ROLE_DESTINATION || launch->record.vm ||
        (self && self->role == ROLE_SOURCE) ||
        (launch->options.renegotiate && launch->options.here))
        return true;
    return error_set(err, STATUS_DECISION,
                     "%s was agreed to be started elsewhere and to come here: look whether it runs "
                     "there; if not: --renegotiate --here",
                     launch->vm);
}

bool launch_fill_record(struct launch *launch, const struct launch_known *known, struct error *err)
{
    struct vm_record *record = &launch->record;
    /* A destination that was told of waits for the VM, not for one QEMU of it. */
    bool awaited = record->vm && launch->role == ROLE_SOURCE && record->role == ROLE_SOURCE &&
                   record->place == PLACE_HERE && record->guarded && record->peer_port > 0 &&
                   strcmp(record->agreement, known->digest) == 0;
    launch->awaited = awaited;
    record->place = launch->role == ROLE_DESTINATION ? PLACE_INCOMING : PLACE_HERE;
    record->role = launch->role;
    record->peer_port = awaited ? record->peer_port : 0;
    record->guarded = launch->guarded || awaited;
    record->guardian_port = launch->guarded ? launch->incoming_port : 0;
    vm_migration_free(&record->migration);
    memcpy(record->agreement, known->digest, DIGEST_HEX_SIZE);
    if (!launch_replace(&record->vm, launch->vm) ||
        !launch_replace(&record->socket, launch->sockets.command) ||
        (!awaited && !launch_replace(&record->peer_host, "")) ||
        !launch_replace(&record->guardian_address,
                        launch->listen_host ? launch->listen_host : "") ||
        !launch_replace_path(&record->qemu, launch->qemu.binary.path))
        return error_no_memory(err);
    proof_arguments_free(&record->arguments);
    return (!known->agreement.proof.made ||
            proof_arguments_make(&launch->invocation, known->agreement.machine, launch->accel,
                                 &record->arguments, err)) &&
           vm_record_set_argv(record, &launch->arguments, err) &&
           vm_record_set_visible(record, &launch->visible, err) && vm_record_set_self(record, err);
}

/* Prove it on this host, as it is now; what it gives. Without a proof in the agreement only what
 * this host offers is looked at. */
static bool prove(const struct launch *launch, const struct launch_known *known,
                  struct drift_given *given, struct error *err)
{
    autostrlist struct strlist reasons = {0};
    const struct agreement *agreement = &known->agreement;
    if (!(agreement->proof.made
              ? drift_check(&launch->context->paths, &launch->config, agreement, known->digest,
                            &launch->record, &reasons, given, err)
              : drift_render(&launch->context->paths, &launch->config, agreement, &launch->record,
                             &launch->qemu, &reasons, given, err)))
        return false;
    for (size_t i = 0; i < reasons.count; i++)
        log_error("%s", reasons.items[i]);
    return given->cpu ||
           error_set(err, STATUS_DRIFT,
                     "%s cannot give %s what was agreed on: agree anew, with --renegotiate",
                     launch->config.host_name, launch->vm);
}

/* Another agreement that is kept here is not replaced by a file. */
static bool keep(const struct launch *launch, const struct launch_known *known, struct error *err)
{
    const char *state = launch->context->paths.state;
    if (!launch->options.agreement)
        return true;
    autojson json_t *kept = NULL;
    autoagreement struct agreement agreement = {0};
    char digest[DIGEST_HEX_SIZE];
    if (!agreement_load(state, launch->vm, &kept, err))
        return false;
    if (!kept)
        return agreement_store(state, launch->vm, known->document, err);
    if (!agreement_document_open(kept, &agreement, digest, err))
        return error_wrap(err, "the agreement about %s that is kept here", launch->vm);
    return strcmp(digest, known->digest) == 0 ||
           (launch->options.renegotiate &&
            agreement_store(state, launch->vm, known->document, err)) ||
           error_set(err, STATUS_INCOMPATIBLE,
                     "another agreement about %s is kept here (%.12s, not %.12s): --renegotiate "
                     "replaces it",
                     launch->vm, digest, known->digest);
}

bool launch_show(const struct launch *launch, const struct launch_known *known, const char *cpu,
                 const struct strlist *argv, struct error *err)
{
    if (launch->context->json) {
        json_t *document = launch_known_document(&known->agreement, known->digest,
                                                 launch->config.host_name, cpu, argv, err);
        return document && put_json(document, err);
    }
    autofree char *line = command_line_quote(argv);
    return line ? put_line(line, err) : error_no_memory(err);
}

bool launch_under_agreement(struct launch *launch, struct error *err)
{
    autolaunchknown struct launch_known known = {0};
    autostrlist struct strlist sources = {0};
    autostrlist struct strlist argv = {0};
    if (launch->options.agreement && launch->options.listen && !launch->options.incoming)
        return error_set(err, STATUS_USAGE,
                         "--agreement with --listen is for a destination: give "
                         "--incoming, too");
    if (!read_known(launch, &known, err) || !launch_begin(launch, err) ||
        !check_start(launch, &known.agreement, err) ||
        !launch_check_arguments(launch, &known.agreement, err) ||
        !check_request(launch, &known.agreement, err) || !launch_fill_record(launch, &known, err) ||
        !find_others(launch, &known.agreement, &sources, err))
        return false;
    autodriftgiven struct drift_given given = {0};
    if (!prove(launch, &known, &given, err) ||
        !launch_make_known_argv(launch, &known.agreement, &given, &argv, err))
        return false;
    log_info("%s: as agreed, %.12s%s", launch->vm, known.digest,
             known.agreement.proof.made ? ", proven here" : "");
    if (!known.agreement.proof.made)
        log_warning("%s was agreed without a proof (--no-proof): nobody has looked whether a guest "
                    "sees the same CPU here",
                    launch->vm);
    if (launch->options.dry_run)
        return launch_show(launch, &known, given.cpu, &argv, err);
    return keep(launch, &known, err) &&
           vm_record_store(&launch->context->paths, &launch->record, err) &&
           (!launch->guarded || launch_guardian(launch, &sources, launch->listener, err)) &&
           exec_qemu(launch->context->start, &launch->qemu.binary, &argv, err);
}
