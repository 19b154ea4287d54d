/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cpu/cpu_request.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cpu/feature_table.h"

void cpu_request_free(struct cpu_request *request)
{
    free(request->model);
    featureset_free(&request->on);
    featureset_free(&request->off);
    for (size_t i = 0; i < request->knob_count; i++) {
        free(request->knobs[i].name);
        free(request->knobs[i].value);
    }
    free(request->knobs);
    *request = (struct cpu_request){0};
}

/* Properties that would take the CPU out of the baseline's hands, with the value that changes
 * nothing. */
static const struct refused_property {
    const char *name;
    const char *harmless; /* NULL: none */
    const char *why;
} refused_properties[] = {
    {"x-force-features", "off", "it switches on what the host cannot give"},
    {"hv-passthrough", "off", "it passes on whatever this host's Hyper-V emulation has"},
    {"migratable", "on", "it passes on what cannot be migrated"},
    {"level", NULL, "the baseline sets it"},
    {"xlevel", NULL, "the baseline sets it"},
    {"min-level", NULL, "the baseline sets it"},
    {"min-xlevel", NULL, "the baseline sets it"},
    {"host-cache-info", "off", "the caches of one host are not those of the other"},
    {"lmce", "off", "it depends on the host"},
    {"pmu", "off", "its counters are those of one host"},
};

static const struct refused_property *find_refused(const char *name)
{
    for (size_t i = 0; i < sizeof(refused_properties) / sizeof(refused_properties[0]); i++)
        if (strcmp(name, refused_properties[i].name) == 0)
            return &refused_properties[i];
    return NULL;
}

static bool set_knob(struct cpu_request *request, const char *name, const char *value)
{
    size_t place = 0;
    while (place < request->knob_count && strcmp(request->knobs[place].name, name) < 0)
        place++;
    autofree char *text = strdup(value);
    if (!text)
        return false;
    if (place < request->knob_count && strcmp(request->knobs[place].name, name) == 0) {
        free(request->knobs[place].value);
        request->knobs[place].value = STEAL(text);
        return true;
    }
    autofree char *key = strdup(name);
    struct cpu_knob *knobs =
        realloc(request->knobs, (request->knob_count + 1) * sizeof(*request->knobs));
    if (knobs)
        request->knobs = knobs;
    if (!knobs || !key)
        return false;
    memmove(knobs + place + 1, knobs + place, (request->knob_count - place) * sizeof(*knobs));
    knobs[place] = (struct cpu_knob){.name = STEAL(key), .value = STEAL(text)};
    request->knob_count++;
    return true;
}

/* A value that may stand in -cpu: no comma, nothing that a shell or terminal would mind. */
static bool value_is_plain(const char *value)
{
    size_t length = strlen(value);
    if (length > 64)
        return false;
    for (size_t i = 0; i < length; i++)
        if (value[i] < 0x20 || value[i] > 0x7e || value[i] == ',')
            return false;
    return true;
}

static bool property_is_knob(const char *name)
{
    static const char *const knobs[] = {"cpuid-0xb",
                                        "family",
                                        "kvm",
                                        "kvm-no-smi-migration",
                                        "l3-cache",
                                        "legacy-cache",
                                        "level-func7",
                                        "model",
                                        "model-id",
                                        "stepping",
                                        "tcg-cpuid",
                                        "tsc-frequency",
                                        "ucode-rev",
                                        "vendor",
                                        "vmware-cpuid-freq",
                                        "xlevel2",
                                        "fill-mtrr-mask",
                                        "full-cpuid-auto-level"};
    for (size_t i = 0; i < sizeof(knobs) / sizeof(knobs[0]); i++)
        if (strcmp(name, knobs[i]) == 0)
            return true;
    return string_starts_with(name, "hv-") || string_starts_with(name, "x-");
}

static bool apply_switch(struct cpu_request *request, const char *name, bool on)
{
    struct featureset *to = on ? &request->on : &request->off;
    featureset_remove(on ? &request->off : &request->on, name);
    return featureset_add(to, name);
}

/* One `name=value` (or `name`, which is name=on). */
static bool apply_property(struct cpu_request *request, const char *name, const char *value,
                           struct error *err)
{
    const struct refused_property *refused = find_refused(name);
    if (refused && (!refused->harmless || strcmp(value, refused->harmless) != 0))
        return error_set(err, STATUS_USAGE, "-cpu: %s=%.60s cannot be used with a baseline: %s",
                         name, value, refused->why);
    if (refused)
        return true; /* what the baseline does anyway */
    bool on = strcmp(value, "on") == 0, off = strcmp(value, "off") == 0;
    uint64_t number;
    if (strcmp(name, "check") == 0)
        return on || off || error_set(err, STATUS_USAGE, "-cpu: %s must be on or off", name);
    if (strcmp(name, "enforce") == 0) {
        request->enforce = on;
        return on || off || error_set(err, STATUS_USAGE, "-cpu: enforce must be on or off");
    }
    if (strcmp(name, "host-phys-bits") == 0)
        return on || off || error_set(err, STATUS_USAGE, "-cpu: host-phys-bits must be on or off");
    if (strcmp(name, "phys-bits") == 0 || strcmp(name, "host-phys-bits-limit") == 0) {
        if (!parse_number(value, 0, 64, &number))
            return error_set(err, STATUS_USAGE, "-cpu: %s=%.60s is not a number of bits", name,
                             value);
        if (number > 0 && (request->phys_bits == 0 || number < request->phys_bits))
            request->phys_bits = (unsigned)number;
        return true;
    }
    if (property_is_knob(name))
        return set_knob(request, name, value) || error_no_memory(err);
    if (!on && !off)
        return error_set(err, STATUS_USAGE, "-cpu: %s=%.60s: a feature is on or off", name, value);
    return apply_switch(request, name, on) || error_no_memory(err);
}

static bool parse_words(struct strlist *words, struct cpu_request *request, struct error *err)
{
    char name[FEATURE_NAME_SIZE];
    /* First `name=value`, then `+f`, then `-f`: the order in which QEMU applies them. */
    for (int pass = 0; pass < 3; pass++) {
        for (size_t i = 1; i < words->count; i++) {
            char *word = words->items[i];
            int kind = word[0] == '+' ? 1 : word[0] == '-' ? 2 : 0;
            if (kind != pass)
                continue;
            autofree char *left = strdup(kind ? word + 1 : word);
            if (!left)
                return error_no_memory(err);
            char *value = kind ? NULL : strchr(left, '=');
            if (value)
                *value++ = '\0';
            /* `tsc-freq=2G`: its value has a suffix (QEMU 7.2 x86_cpu_parse_featurestr). */
            if (!feature_canonical_name(left, name))
                return error_set(err, STATUS_USAGE, "-cpu: '%.80s' is not a feature", word);
            if (strcmp(name, "tsc-freq") == 0)
                return error_set(err, STATUS_USAGE,
                                 "-cpu: write tsc-frequency=HZ instead of '%.60s'", word);
            if (value && !value_is_plain(value))
                return error_set(err, STATUS_USAGE, "-cpu: the value of %s cannot be used", name);
            if (kind == 0 ? !apply_property(request, name, value ? value : "on", err)
                          : !apply_property(request, name, kind == 1 ? "on" : "off", err))
                return false;
        }
    }
    return true;
}

bool cpu_request_parse(const char *text, struct cpu_request *out, struct error *err)
{
    autocpurequest struct cpu_request request = {0};
    autostrlist struct strlist words = {0};
    if (text && !strlist_split(&words, text, ','))
        return error_no_memory(err);
    if (text && words.count == 0)
        return error_set(err, STATUS_USAGE, "-cpu: no CPU model is named");
    const char *model = text ? words.items[0] : "max";
    if (!name_is_model(model))
        return error_set(err, STATUS_USAGE, "-cpu: '%.80s' is not a CPU model", model);
    if (strcmp(model, "base") == 0)
        return error_set(err, STATUS_USAGE,
                         "-cpu base has no vendor and no family: name a CPU model, "
                         "or host");
    if (strcmp(model, "host") != 0 && strcmp(model, "max") != 0) {
        request.model = strdup(model);
        if (!request.model)
            return error_no_memory(err);
    }
    if (!parse_words(&words, &request, err))
        return false;
    cpu_request_free(out);
    *out = request;
    request = (struct cpu_request){0};
    return true;
}

json_t *cpu_request_to_json(const struct cpu_request *request)
{
    autojson json_t *knobs = json_object();
    for (size_t i = 0; i < request->knob_count; i++)
        if (json_object_set_new(knobs, request->knobs[i].name,
                                json_string(request->knobs[i].value)) != 0)
            return NULL;
    return json_pack("{s:s, s:o, s:o, s:O, s:i, s:b}", "model",
                     request->model ? request->model : "", "on", featureset_to_json(&request->on),
                     "off", featureset_to_json(&request->off), "knobs", knobs, "phys_bits",
                     (int)request->phys_bits, "enforce", (int)request->enforce);
}

bool cpu_request_from_json(json_t *json, struct cpu_request *out, struct error *err)
{
    autocpurequest struct cpu_request request = {0};
    const char *model, *key;
    json_t *on, *off, *knobs, *value;
    int enforce, phys_bits;
    if (!json_take(json, err, "the CPU request", "{s:s, s:o, s:o, s:o, s:i, s:b}", "model", &model,
                   "on", &on, "off", &off, "knobs", &knobs, "phys_bits", &phys_bits, "enforce",
                   &enforce) ||
        !featureset_from_json(&request.on, on, "the CPU request: on", err) ||
        !featureset_from_json(&request.off, off, "the CPU request: off", err))
        return false;
    if ((*model && !name_is_model(model)) || !json_is_object(knobs) || phys_bits < 0 ||
        phys_bits > 64)
        return error_set(err, STATUS_DATA, "the CPU request: not valid");
    json_object_foreach(knobs, key, value)
    {
        const char *text = json_string_value(value);
        if (!name_is_feature(key) || !property_is_knob(key) || !text || !value_is_plain(text))
            return error_set(err, STATUS_DATA, "the CPU request: '%.80s' is not valid", key);
        if (!set_knob(&request, key, text))
            return error_no_memory(err);
    }
    request.enforce = enforce;
    request.phys_bits = (unsigned)phys_bits;
    if (*model && !(request.model = strdup(model)))
        return error_no_memory(err);
    cpu_request_free(out);
    *out = request;
    request = (struct cpu_request){0};
    return true;
}

static bool knobs_are_equal(const struct cpu_request *a, const struct cpu_request *b,
                            const char *host_a, const char *host_b, struct error *err)
{
    for (size_t i = 0, j = 0; i < a->knob_count || j < b->knob_count;) {
        const struct cpu_knob *x = i < a->knob_count ? &a->knobs[i] : NULL;
        const struct cpu_knob *y = j < b->knob_count ? &b->knobs[j] : NULL;
        int order = !x ? 1 : !y ? -1 : strcmp(x->name, y->name);
        if (order == 0 && strcmp(x->value, y->value) == 0) {
            i++, j++;
            continue;
        }
        const char *name = order <= 0 ? x->name : y->name;
        return error_set(err, STATUS_INCOMPATIBLE,
                         "-cpu: %s is %s on %s and %s on %s: give it the same value on all", name,
                         order <= 0 ? x->value : "not given", host_a,
                         order >= 0 ? y->value : "not given", host_b);
    }
    return true;
}

bool cpu_request_join(const struct cpu_request *const requests[], const char *const hosts[],
                      size_t count, struct cpu_request *out, struct error *err)
{
    autocpurequest struct cpu_request joined = {0};
    const char *named_by = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct cpu_request *request = requests[i];
        if (request->model && joined.model && strcmp(request->model, joined.model) != 0)
            return error_set(err, STATUS_INCOMPATIBLE,
                             "%s asks for -cpu %s and %s for -cpu %s: ask for the same model",
                             named_by, joined.model, hosts[i], request->model);
        if (request->model && !joined.model) {
            joined.model = strdup(request->model);
            named_by = hosts[i];
            if (!joined.model)
                return error_no_memory(err);
        }
        if (!featureset_unite(&joined.on, &request->on) ||
            !featureset_unite(&joined.off, &request->off))
            return error_no_memory(err);
        if (!knobs_are_equal(requests[0], request, hosts[0], hosts[i], err))
            return false;
        if (request->phys_bits > 0 &&
            (joined.phys_bits == 0 || request->phys_bits < joined.phys_bits))
            joined.phys_bits = request->phys_bits;
        joined.enforce |= request->enforce;
    }
    for (size_t i = 0; count > 0 && i < requests[0]->knob_count; i++)
        if (!set_knob(&joined, requests[0]->knobs[i].name, requests[0]->knobs[i].value))
            return error_no_memory(err);
    featureset_subtract(&joined.on, &joined.off);
    cpu_request_free(out);
    *out = joined;
    joined = (struct cpu_request){0};
    return true;
}
