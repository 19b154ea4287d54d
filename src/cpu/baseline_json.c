/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cpu/baseline.h"

/* A baseline's model and knobs are a request's: one reader knows what they may be. */
json_t *baseline_to_json(const struct baseline *baseline)
{
    struct cpu_request request = {
        .model = baseline->model, .knobs = baseline->knobs, .knob_count = baseline->knob_count};
    autojson json_t *as_request = cpu_request_to_json(&request);
    json_t *knobs = json_object_get(as_request, "knobs");
    if (!knobs)
        return NULL;
    return json_pack("{s:o, s:o, s:i, s:s, s:s, s:O}", "features",
                     featureset_to_json(&baseline->features), "identity",
                     cpu_identity_to_json(&baseline->identity), "phys_bits",
                     (int)baseline->phys_bits, "model", baseline->model ? baseline->model : "",
                     "accel", baseline->accel, "knobs", knobs);
}

bool baseline_from_json(json_t *json, struct baseline *out, struct error *err)
{
    autobaseline struct baseline baseline = {0};
    autocpurequest struct cpu_request request = {0};
    json_t *features, *identity, *knobs;
    const char *model, *accel;
    int phys_bits;
    if (!json_take(json, err, "the baseline", "{s:o, s:o, s:i, s:s, s:s, s:o}", "features",
                   &features, "identity", &identity, "phys_bits", &phys_bits, "model", &model,
                   "accel", &accel, "knobs", &knobs))
        return false;
    autojson json_t *as_request =
        json_pack("{s:s, s:[], s:[], s:O, s:i, s:b}", "model", model, "on", "off", "knobs", knobs,
                  "phys_bits", phys_bits, "enforce", 0);
    if (!as_request)
        return error_no_memory(err);
    if (!cpu_request_from_json(as_request, &request, err) ||
        !featureset_from_json(&baseline.features, features, "the baseline: features", err) ||
        !cpu_identity_from_json(identity, "the baseline", &baseline.identity, err))
        return error_wrap(err, "the baseline");
    if (strcmp(accel, "kvm") != 0 && strcmp(accel, "tcg") != 0)
        return error_set(err, STATUS_DATA, "the baseline: '%.20s' is not an accelerator", accel);
    if (!(baseline.accel = strdup(accel)))
        return error_no_memory(err);
    baseline.phys_bits = (unsigned)phys_bits;
    baseline.model = STEAL(request.model);
    baseline.knobs = STEAL(request.knobs);
    baseline.knob_count = request.knob_count;
    request.knob_count = 0;
    baseline_free(out);
    *out = baseline;
    baseline = (struct baseline){0};
    return true;
}
