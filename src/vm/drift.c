/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/drift.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "guest/compare.h"
#include "host/backends_kept.h"
#include "host/profile.h"
#include "vm/drift_devices.h"
#include "vm/drift_facts.h"
#include "vm/proof.h"

#define DEFAULT_QEMU "qemu-system-x86_64"

/* This host as it is now. */
struct now {
    struct profile profile;
    json_t *facts;
    struct drift_changes changes; /* since the agreement held the last time */
};

static void now_free(struct now *now)
{
    profile_free(&now->profile);
    json_decref(now->facts);
    drift_changes_free(&now->changes);
}
#define autonow __attribute__((cleanup(now_free)))

void drift_given_free(struct drift_given *given)
{
    free(given->cpu);
    device_offer_free(&given->devices);
}

/* cpu: NULL if there are reasons; the host's devices are given away. */
static void give(struct now *now, char *cpu, struct drift_given *given)
{
    *given = (struct drift_given){.cpu = cpu, .devices = now->profile.devices};
    now->profile.devices = (struct device_offer){0};
}

/* What the host can give now, for the agreement's machine type and accelerator. */
static bool look(const struct paths *paths, const struct config *config,
                 const struct agreement *agreement, const struct qemu *qemu, struct now *now,
                 struct error *err)
{
    struct probe_parameters parameters = {
        .machine = agreement->machine,
        .accel = agreement->baseline.accel,
        .kernel_irqchip = *agreement->kernel_irqchip ? agreement->kernel_irqchip : NULL,
        .cpu_pm = agreement->cpu_pm};
    autojson json_t *payload = profile_make(config, NULL, qemu, &parameters, NULL, NULL, err);
    return payload && profile_read(payload, &now->profile, err) &&
           backends_keep(paths->state, &now->profile.devices, err) &&
           (now->facts = drift_facts(payload, err));
}

/* Agreed features that the host no longer offers, with why. */
static bool find_lost(const struct agreement *agreement, const struct now *now,
                      struct strlist *reasons)
{
    const struct cpu_offer *offer = &now->profile.offer;
    struct cpu_request none = {.knobs = agreement->baseline.knobs}; /* borrowed: tsc-frequency */
    struct featureset_cursor cursor = {0};
    for (const char *name; (name = featureset_next(&agreement->baseline.features, &cursor));) {
        enum loss_cause cause = LOSS_POLICY;
        if (!featureset_has(&offer->denied, name) &&
            (feature_is_benign(name) || offer_keeps(offer, &none, name, &cause)))
            continue;
        autofree char *changes = drift_changes_for(&now->changes, cause);
        if (!strlist_pushf(reasons, "%s%s%s is gone on %s (%s)", changes ? changes : "",
                           changes ? ": " : "", name, offer->host, loss_cause_name(cause)))
            return false;
    }
    struct featureset_cursor required = {0};
    for (const char *name; (name = featureset_next(&offer->required, &required));)
        if (!featureset_has(&agreement->baseline.features, name) &&
            !strlist_pushf(reasons, "%s is required by the site policy of %s, and %s has it not",
                           name, offer->host, agreement->vm))
            return false;
    return true;
}

/* Leaves in which -smp shows: not comparable when it is not known. */
static bool is_topology(const struct guest_difference *difference)
{
    static const uint32_t leaves[] = {1,          4,          0xb,        0x1f,
                                      0x80000008, 0x8000001d, 0x8000001e, 0x80000026};
    for (size_t i = 0; i < sizeof(leaves) / sizeof(*leaves); i++)
        if (difference->kind == GUEST_ROW_CPUID && difference->number == leaves[i] &&
            difference->features.count == 0)
            return true;
    return false;
}

static bool compare(const struct agreement *agreement, const char *host, bool all,
                    const struct guest_table *table, struct strlist *reasons, struct error *err)
{
    autoguestdifferences struct guest_differences differences = {0};
    struct guest_host hosts[] = {{"(agreed)", &agreement->proof.table}, {host, table}};
    if (!guest_tables_compare(hosts, 2, &agreement->proof.accepted, &differences, err))
        return false;
    for (size_t i = 0; i < differences.count; i++)
        if (!differences.items[i].accepted && !differences.items[i].advisory &&
            (all || !is_topology(&differences.items[i])) &&
            !strlist_push(reasons, differences.items[i].text))
            return error_no_memory(err);
    /* What was accepted was accepted as it was. */
    char digest[DIGEST_HEX_SIZE];
    if (reasons->count > 0 || agreement->proof.accepted.count == 0)
        return true;
    if (!guest_table_digest(table, digest, err))
        return false;
    for (size_t i = 0; i < agreement->party_count; i++)
        if (strcmp(agreement->parties[i].host, host) == 0 &&
            strcmp(agreement->parties[i].table, digest) != 0 &&
            !strlist_push(reasons, "a row that was accepted is another one now"))
            return error_no_memory(err);
    return true;
}

/* Of the agreement's own: one vCPU. */
static bool guess_arguments(const struct agreement *agreement, struct proof_arguments *arguments,
                            struct error *err)
{
    bool irqchip = *agreement->kernel_irqchip;
    *arguments = (struct proof_arguments){
        .machine = string_format("%s%s%s", agreement->machine, irqchip ? ",kernel-irqchip=" : "",
                                 agreement->kernel_irqchip),
        .accel = strdup(agreement->baseline.accel),
        .cpu_pm = agreement->cpu_pm};
    return (arguments->machine && arguments->accel) || error_no_memory(err);
}

/* Each reason has its cause, or all of them have one line about what might be it. */
static bool add_changes(const struct drift_changes *changes, struct strlist *reasons)
{
    autofree char *text = drift_changes_text(changes);
    for (size_t i = 0; i < reasons->count; i++)
        for (size_t j = 0; j < changes->count; j++)
            if (strstr(reasons->items[i], changes->items[j].text))
                return true;
    return reasons->count == 0 || !text ||
           strlist_pushf(reasons, "since it held the last time: %s", text);
}

bool drift_remember(const struct paths *paths, const char *vm, json_t *payload, struct error *err)
{
    autojson json_t *facts = drift_facts(payload, err);
    return facts && drift_facts_store(paths->state, vm, facts, err);
}

/* Not worth failing for. */
static void remember(const struct paths *paths, const char *vm, const json_t *then,
                     const json_t *now)
{
    struct error err = ERROR_INIT;
    if (!(then && json_equal(then, now)) && !drift_facts_store(paths->state, vm, now, &err))
        log_warning("%s", err.message);
}

bool drift_render(const struct paths *paths, const struct config *config,
                  const struct agreement *agreement, const struct vm_record *record,
                  const struct qemu *qemu, struct strlist *reasons, struct drift_given *given,
                  struct error *err)
{
    autonow struct now now = {0};
    if (!look(paths, config, agreement, qemu, &now, err))
        return false;
    if (!find_lost(agreement, &now, reasons))
        return error_no_memory(err);
    if (!drift_devices(paths, config, agreement, record, &now.profile.devices, reasons, err))
        return false;
    if (reasons->count > 0)
        return true;
    char *cpu = render_cpu(&agreement->baseline, &now.profile.offer, agreement->form, err);
    if (cpu)
        give(&now, cpu, given);
    return cpu != NULL;
}

static bool check_record(const struct agreement *agreement, const char *digest,
                         const struct vm_record *record, struct error *err)
{
    if (!agreement->proof.made)
        return error_set(err, STATUS_DATA,
                         "the agreement about %s was made without a proof: there is nothing to "
                         "compare with",
                         agreement->vm);
    return !record->vm || strcmp(record->agreement, digest) == 0 ||
           error_set(err, STATUS_DATA,
                     "%s was last launched here under another agreement than the one that is "
                     "kept: launch it again with --renegotiate",
                     agreement->vm);
}

/* It was looked with another QEMU, perhaps, than the one that was agreed with. Always false. */
static bool say_binary(const struct qemu *qemu, bool taken, struct error *err)
{
    if (taken || err->status != STATUS_CONFIG)
        return false;
    return error_wrap(err,
                      "no launch of the VM here says which QEMU it is: %s was taken, the first of "
                      "[qemu] binary or the usual one",
                      qemu->binary.path);
}

bool drift_check(const struct paths *paths, const struct config *config,
                 const struct agreement *agreement, const char *digest,
                 const struct vm_record *record, struct strlist *reasons, struct drift_given *given,
                 struct error *err)
{
    autoqemu struct qemu qemu = {0};
    autonow struct now now = {0};
    autoproof struct proof proof = {0};
    autoguesttable struct guest_table table = {0};
    autoproofarguments struct proof_arguments guess = {0};
    autojson json_t *then = NULL;
    struct error refused = ERROR_INIT;
    bool taken = record->qemu && *record->qemu;
    bool known = record->vm && record->arguments.machine;
    const char *binary =
        config->qemu_binaries.count > 0 ? config->qemu_binaries.items[0] : DEFAULT_QEMU;
    /* Only for saying why: nothing fails for want of them. */
    if (!drift_facts_load(paths->state, agreement->vm, &then, &refused))
        log_warning("%s", refused.message);
    if (!check_record(agreement, digest, record, err) ||
        (!known && !guess_arguments(agreement, &guess, err)) ||
        !qemu_open(taken ? record->qemu : binary, &qemu, err) ||
        (!look(paths, config, agreement, &qemu, &now, err) && !say_binary(&qemu, taken, err)) ||
        !drift_facts_compare(then, now.facts, &now.changes, err))
        return false;
    if (!known)
        log_info("%s was never launched here: it is checked with one vCPU, and what more of them "
                 "would change is left out",
                 agreement->vm);
    if (!find_lost(agreement, &now, reasons))
        return error_no_memory(err);
    if (!drift_devices(paths, config, agreement, record, &now.profile.devices, reasons, err))
        return false;
    autofree char *cpu =
        render_cpu(&agreement->baseline, &now.profile.offer, agreement->form, &refused);
    if (!cpu ||
        !proof_start(&proof, paths, &qemu, known ? &record->arguments : &guess, "", cpu, NULL,
                     &refused) ||
        !proof_finish(&proof, &table, NULL, &refused)) {
        /* It is the drift, if its cause is known already or QEMU names it. */
        if (reasons->count == 0 && refused.status != STATUS_INCOMPATIBLE)
            return error_set(err, refused.status, "%s", refused.message);
        return (strlist_push(reasons, refused.message) && add_changes(&now.changes, reasons)) ||
               error_no_memory(err);
    }
    if (!compare(agreement, config->host_name, known, &table, reasons, err))
        return false;
    if (!add_changes(&now.changes, reasons))
        return error_no_memory(err);
    if (reasons->count == 0)
        remember(paths, agreement->vm, then, now.facts);
    if (given)
        give(&now, reasons->count == 0 ? STEAL(cpu) : NULL, given);
    return true;
}
