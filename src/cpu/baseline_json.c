/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cpu/baseline.h"

json_t *baseline_to_json(const struct baseline *baseline)
{
    return json_pack("{s:o, s:o, s:i, s:s, s:b, s:s, s:o}", "features",
                     featureset_to_json(&baseline->features), "identity",
                     cpu_identity_to_json(&baseline->identity), "phys_bits",
                     (int)baseline->phys_bits, "model", baseline->model ? baseline->model : "",
                     "model_asked_for", (int)baseline->model_asked_for, "accel", baseline->accel,
                     "knobs", cpu_knobs_to_json(&baseline->knobs));
}

bool baseline_from_json(json_t *json, struct baseline *out, struct error *err)
{
    autobaseline struct baseline baseline = {0};
    json_t *features, *identity, *knobs;
    const char *model, *accel;
    json_int_t phys_bits;
    int asked;
    if (!json_take(json, err, "the baseline", "{s:o, s:o, s:I, s:s, s:b, s:s, s:o}", "features",
                   &features, "identity", &identity, "phys_bits", &phys_bits, "model", &model,
                   "model_asked_for", &asked, "accel", &accel, "knobs", &knobs))
        return false;
    if (!featureset_from_json(&baseline.features, features, "the baseline: features", err) ||
        !cpu_identity_from_json(identity, "the baseline", &baseline.identity, err) ||
        !cpu_knobs_from_json(knobs, "the baseline: knobs", knob_is_kept, &baseline.knobs, err))
        return false;
    if ((strcmp(accel, "kvm") != 0 && strcmp(accel, "tcg") != 0) || phys_bits < 0 ||
        phys_bits > 64 || (*model && !name_is_model(model)) ||
        strchr(baseline.identity.model_id, ',') || strchr(baseline.identity.vendor, ','))
        return error_set(err, STATUS_DATA, "the baseline is not valid");
    if (!(baseline.accel = strdup(accel)) || (*model && !(baseline.model = strdup(model))))
        return error_no_memory(err);
    baseline.phys_bits = (unsigned)phys_bits;
    baseline.model_asked_for = asked;
    baseline_free(out);
    *out = baseline;
    baseline = (struct baseline){0};
    return true;
}
