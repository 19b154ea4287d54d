/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A baseline that somebody else computed, held against what one host can give.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cpu/baseline.h"
#include "cpu/feature_table.h"

bool baseline_copy(const struct baseline *baseline, struct baseline *copy, struct error *err)
{
    autojson json_t *json = baseline_to_json(baseline);
    return json ? baseline_from_json(json, copy, err) : error_no_memory(err);
}

static bool check_features(const struct baseline *baseline, const struct cpu_offer *offer,
                           struct error *err)
{
    struct cpu_request none = {.knobs = baseline->knobs}; /* borrowed: tsc-frequency */
    struct featureset_cursor cursor = {0};
    autostrbuf struct strbuf lacking = {0};
    for (const char *name; (name = featureset_next(&baseline->features, &cursor));) {
        enum loss_cause cause;
        if (!offer_gives(offer, &none, name, &cause))
            strbuf_printf(&lacking, "%s%s (%s)", lacking.length > 0 ? ", " : "", name,
                          loss_cause_name(cause));
    }
    if (lacking.failed)
        return error_no_memory(err);
    return lacking.length == 0 ||
           error_set(err, STATUS_INCOMPATIBLE, "%s cannot be had on %s", lacking.data, offer->host);
}

static bool check_required(const struct baseline *baseline, const struct cpu_offer *offer,
                           struct error *err)
{
    struct featureset_cursor cursor = {0};
    for (const char *name; (name = featureset_next(&offer->required, &cursor));)
        if (!featureset_has(&baseline->features, name))
            return error_set(err, STATUS_INCOMPATIBLE,
                             "%s is required by the site policy of %s, and the guest would not "
                             "have it",
                             name, offer->host);
    return true;
}

/* What a guest reads beside the features is of the named model as it is known here, or nothing:
 * texts of a peer's never reach QEMU. */
static bool identity_is_ours(const struct baseline *baseline, const struct cpu_offer *offer)
{
    const struct cpu_identity *identity = &baseline->identity;
    struct cpu_identity known = {0};
    static const char virtual_cpu[] = "QEMU Virtual CPU";
    if (!baseline->model)
        return strcmp(identity->model_id, virtual_cpu) == 0;
    const struct cpu_model *model = cpu_offer_find_model(offer, baseline->model);
    if (!model)
        return false;
    known = model->identity;
    baseline_replace_commas(known.model_id);
    return identity->family == known.family && identity->model == known.model &&
           identity->stepping == known.stepping && strcmp(identity->model_id, known.model_id) == 0;
}

/* Under KVM a guest has the host's vendor; under TCG any that is known here. */
static bool check_vendor(const struct baseline *baseline, const struct cpu_offer *offer,
                         struct error *err)
{
    const char *vendor = baseline->identity.vendor;
    const struct cpu_model *model = baseline->model && strcmp(offer->accel, "tcg") == 0
                                        ? cpu_offer_find_model(offer, baseline->model)
                                        : NULL;
    return strcmp(vendor, offer->identity.vendor) == 0 ||
           (model && strcmp(vendor, model->identity.vendor) == 0) ||
           error_set(err, STATUS_INCOMPATIBLE,
                     "%s has a CPU of %s and the guest's would be of %s: vendors never mix",
                     offer->host, offer->identity.vendor, vendor);
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* No more leaves than this host, or the model as it is known here, has, or the features need. */
static bool check_levels(const struct baseline *baseline, const struct cpu_offer *offer,
                         struct error *err)
{
    const struct cpu_model *model =
        baseline->model ? cpu_offer_find_model(offer, baseline->model) : NULL;
    struct cpu_identity most = offer->identity;
    if (model) {
        most.level = larger(most.level, model->identity.level);
        most.xlevel = larger(most.xlevel, model->identity.xlevel);
    }
    baseline_raise_levels(&most, &baseline->features);
    return (baseline->identity.level <= most.level && baseline->identity.xlevel <= most.xlevel) ||
           error_set(err, STATUS_INCOMPATIBLE,
                     "the guest would have CPUID leaves that are not there on %s (level 0x%x, "
                     "xlevel 0x%x)",
                     offer->host, baseline->identity.level, baseline->identity.xlevel);
}

bool baseline_check(const struct baseline *baseline, const struct cpu_offer *offer,
                    struct error *err)
{
    if (strcmp(baseline->accel, offer->accel) != 0)
        return error_set(err, STATUS_INCOMPATIBLE, "it is for accelerator %s, not %s",
                         baseline->accel, offer->accel);
    if (!check_vendor(baseline, offer, err))
        return false;
    if (offer->phys_bits > 0 && baseline->phys_bits > offer->phys_bits)
        return error_set(err, STATUS_INCOMPATIBLE,
                         "%s has %u physical address bits and the guest would have %u", offer->host,
                         offer->phys_bits, baseline->phys_bits);
    if (baseline->phys_bits == 0 && offer->phys_bits > 0 &&
        featureset_has(&baseline->features, "lm"))
        return error_set(err, STATUS_INCOMPATIBLE,
                         "the guest's physical address bits are not said");
    if (!check_levels(baseline, offer, err) || !check_features(baseline, offer, err) ||
        !check_required(baseline, offer, err))
        return false;
    return identity_is_ours(baseline, offer) ||
           error_set(err, STATUS_INCOMPATIBLE,
                     "the CPU model %s is not known to the QEMU of %s, or is another one there",
                     baseline->model ? baseline->model : "(none)", offer->host);
}
