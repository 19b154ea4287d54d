/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/fit.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cpu/feature_table.h"
#include "device/device_report.h"

void fit_free(struct fit *fit)
{
    strlist_free(&fit->missing);
    free(fit->causes);
    strlist_free(&fit->reasons);
    strlist_free(&fit->doubts);
    *fit = (struct fit){0};
}

static bool find_missing(const struct agreement *agreement, const struct cpu_offer *offer,
                         struct fit *fit)
{
    const struct featureset *features = &agreement->baseline.features;
    struct cpu_request request = {.knobs = agreement->baseline.knobs}; /* borrowed: tsc-frequency */
    struct featureset_cursor cursor = {0};
    fit->causes = calloc(featureset_count(features) + 1, sizeof(*fit->causes));
    if (!fit->causes)
        return false;
    for (const char *name; (name = featureset_next(features, &cursor));) {
        enum loss_cause cause;
        if (feature_is_benign(name) || offer_keeps(offer, &request, name, &cause))
            continue;
        fit->causes[fit->missing.count] = cause;
        if (!strlist_push(&fit->missing, name))
            return false;
    }
    return true;
}

/* The numbers and names around the features; 0 and no names: the profile does not tell. */
static bool find_reasons(const struct agreement *agreement, const struct profile *profile,
                         struct strlist *reasons)
{
    const struct baseline *baseline = &agreement->baseline;
    const struct cpu_offer *offer = &profile->offer;
    /* TCG's vendor and address bits are QEMU's to choose. */
    bool kvm = strcmp(baseline->accel, "kvm") == 0 && strcmp(offer->accel, "kvm") == 0;
    bool named = agreement->form == CPU_FORM_NAMED && baseline->model && offer->model_count > 0;
    return (strcmp(baseline->accel, offer->accel) == 0 ||
            strlist_pushf(reasons, "is described for accelerator %s, not %s", offer->accel,
                          baseline->accel)) &&
           (!kvm || strcmp(baseline->identity.vendor, offer->identity.vendor) == 0 ||
            strlist_pushf(reasons, "has a CPU of %s, not %s", offer->identity.vendor,
                          baseline->identity.vendor)) &&
           (!kvm || offer->phys_bits == 0 || baseline->phys_bits <= offer->phys_bits ||
            strlist_pushf(reasons, "has only %u of %u physical address bits", offer->phys_bits,
                          baseline->phys_bits)) &&
           (profile->machines.count == 0 ||
            machine_list_find(&profile->machines, agreement->machine) ||
            strlist_pushf(reasons, "has no machine type %s", agreement->machine)) &&
           (!named || cpu_offer_find_model(offer, baseline->model) ||
            strlist_pushf(reasons, "does not know the CPU model %s", baseline->model));
}

static bool find_doubts(const struct agreement *agreement, const struct profile *profile,
                        struct strlist *doubts)
{
    return profile->imported ||
           ((strcmp(profile->machine, agreement->machine) == 0 ||
             strlist_pushf(doubts, "is described for machine type %s, not %s", profile->machine,
                           agreement->machine)) &&
            (strcmp(profile->kernel_irqchip, agreement->kernel_irqchip) == 0 ||
             strlist_pushf(doubts, "is described for kernel-irqchip '%s', not '%s'",
                           profile->kernel_irqchip, agreement->kernel_irqchip)) &&
            (profile->cpu_pm == agreement->cpu_pm ||
             strlist_pushf(doubts, "is described with cpu-pm %s", profile->cpu_pm ? "on" : "off")));
}

/* What the parties' command lines use, this host's would, too. */
static bool find_devices(const struct agreement *agreement, const struct profile *profile,
                         struct fit *fit, struct error *err)
{
    const struct device_host host = {profile->offer.host, &profile->devices};
    autodevicereport struct device_report gaps = {0};
    autostrlist struct strlist uses = {0}, lost = {0}, unknown = {0};
    if (!device_baseline_uses(&agreement->devices, &uses, err) ||
        !device_baseline_gaps(&agreement->devices, &host, &uses, &gaps, err) ||
        !device_report_losses(&gaps, &lost, err) || !device_report_unknown(&gaps, &unknown, err))
        return false;
    for (size_t i = 0; i < lost.count; i++)
        if (!strlist_pushf(&fit->reasons, "cannot give %s", lost.items[i]))
            return error_no_memory(err);
    for (size_t i = 0; i < unknown.count && !profile->imported; i++)
        if (!strlist_pushf(&fit->doubts, "does not tell all of its devices (%s)", unknown.items[i]))
            return error_no_memory(err);
    return true;
}

bool fit_find(const struct agreement *agreement, const struct profile *profile, struct fit *out,
              struct error *err)
{
    autofit struct fit fit = {0};
    if (!find_missing(agreement, &profile->offer, &fit) ||
        !find_reasons(agreement, profile, &fit.reasons) ||
        !find_doubts(agreement, profile, &fit.doubts))
        return error_no_memory(err);
    if (!find_devices(agreement, profile, &fit, err))
        return false;
    *out = fit;
    fit = (struct fit){0};
    return true;
}

bool fit_is_good(const struct fit *fit)
{
    return fit->missing.count == 0 && fit->reasons.count == 0;
}

char *fit_describe(const struct fit *fit)
{
    autostrbuf struct strbuf text = {0};
    strbuf_puts(&text, fit->missing.count > 0 ? "lacks" : "");
    for (size_t i = 0; i < fit->missing.count; i++)
        strbuf_printf(&text, " %s (%s)", fit->missing.items[i], loss_cause_name(fit->causes[i]));
    for (size_t i = 0; i < fit->reasons.count; i++)
        strbuf_printf(&text, "%s%s", text.length > 0 ? ", " : "", fit->reasons.items[i]);
    return strbuf_steal(&text);
}
