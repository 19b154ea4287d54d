/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/drift.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "guest/compare.h"
#include "host/profile.h"
#include "vm/proof.h"

/* What the host can give now, for the agreement's machine type and accelerator. */
static bool look(const struct config *config, const struct agreement *agreement,
                 const struct qemu *qemu, struct profile *profile, struct error *err)
{
    struct probe_parameters parameters = {
        .machine = agreement->machine,
        .accel = agreement->baseline.accel,
        .kernel_irqchip = *agreement->kernel_irqchip ? agreement->kernel_irqchip : NULL,
        .cpu_pm = agreement->cpu_pm};
    autojson json_t *payload = profile_make(config, NULL, qemu, &parameters, NULL, err);
    return payload && profile_read(payload, profile, err);
}

/* Agreed features that the host no longer offers, with why. */
static bool find_lost(const struct agreement *agreement, const struct cpu_offer *offer,
                      struct strlist *reasons)
{
    const struct featureset *agreed = &agreement->baseline.features;
    struct cpu_request none = {.knobs = agreement->baseline.knobs}; /* borrowed: tsc-frequency */
    struct featureset_cursor cursor = {0};
    for (const char *name; (name = featureset_next(agreed, &cursor));) {
        enum loss_cause cause;
        if (!feature_is_benign(name) && !offer_gives(offer, &none, name, &cause) &&
            !strlist_pushf(reasons, "%s is gone on %s (%s)", name, offer->host,
                           loss_cause_name(cause)))
            return false;
    }
    return true;
}

static bool compare(const struct agreement *agreement, const char *host,
                    const struct guest_table *table, struct strlist *reasons, struct error *err)
{
    autoguestdifferences struct guest_differences differences = {0};
    struct guest_host hosts[] = {{"(agreed)", &agreement->proof.table}, {host, table}};
    if (!guest_tables_compare(hosts, 2, &agreement->proof.accepted, &differences, err))
        return false;
    for (size_t i = 0; i < differences.count; i++)
        if (!differences.items[i].accepted && !differences.items[i].advisory &&
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

bool drift_check(const struct paths *paths, const struct config *config,
                 const struct agreement *agreement, const char *digest,
                 const struct vm_record *record, struct strlist *reasons, char **rendered,
                 struct error *err)
{
    autoqemu struct qemu qemu = {0};
    autoprofile struct profile profile = {0};
    autoproof struct proof proof = {0};
    autoguesttable struct guest_table table = {0};
    struct error refused = ERROR_INIT;
    if (!agreement->proof.made)
        return error_set(err, STATUS_DATA,
                         "the agreement about %s was made without a proof: there is nothing to "
                         "compare with",
                         agreement->vm);
    if (!record->vm || !record->arguments.machine)
        return error_set(err, STATUS_DATA,
                         "%s was never launched here: with which QEMU and arguments it would be is "
                         "not known",
                         agreement->vm);
    if (strcmp(record->agreement, digest) != 0)
        return error_set(err, STATUS_DATA,
                         "%s was last launched here under another agreement than the one that is "
                         "kept: launch it again with --renegotiate",
                         agreement->vm);
    if (!qemu_open(record->qemu, &qemu, err) || !look(config, agreement, &qemu, &profile, err))
        return false;
    if (!find_lost(agreement, &profile.offer, reasons))
        return error_no_memory(err);
    autofree char *cpu =
        render_cpu(&agreement->baseline, &profile.offer, agreement->form, &refused);
    if (!cpu || !proof_start(&proof, paths, &qemu, &record->arguments, "", cpu, NULL, &refused) ||
        !proof_finish(&proof, &table, NULL, &refused)) {
        /* It is the drift, if its cause is known already or QEMU names it. */
        if (reasons->count == 0 && refused.status != STATUS_INCOMPATIBLE)
            return error_set(err, refused.status, "%s", refused.message);
        return strlist_push(reasons, refused.message) || error_no_memory(err);
    }
    if (!compare(agreement, config->host_name, &table, reasons, err))
        return false;
    if (rendered)
        *rendered = reasons->count == 0 ? STEAL(cpu) : NULL;
    return true;
}
