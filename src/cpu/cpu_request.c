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
    cpu_knobs_free(&request->knobs);
    *request = (struct cpu_request){0};
}

static bool apply_switch(struct cpu_request *request, const char *name, bool on)
{
    struct featureset *to = on ? &request->on : &request->off;
    featureset_remove(on ? &request->off : &request->on, name);
    return featureset_add(to, name);
}

/* "2G" as 2000000000: a number with a decimal suffix (QEMU 7.2 util/cutils.c qemu_strtosz_metric;
 * fractions, which that takes too, are refused). The caller frees it. */
static char *parse_frequency(const char *text, struct error *err)
{
    static const char suffixes[] = "KMGT";
    autofree char *digits = strdup(text);
    size_t length = strlen(text);
    uint64_t number, factor = 1;
    char last = length > 1 ? text[length - 1] : '\0';
    const char *suffix = last ? strchr(suffixes, last >= 'a' ? last - 'a' + 'A' : last) : NULL;
    if (!digits) {
        error_no_memory(err);
        return NULL;
    }
    if (suffix && *suffix) {
        digits[length - 1] = '\0';
        for (const char *s = suffixes; s <= suffix; s++)
            factor *= 1000;
    }
    if (!parse_number(digits, 0, INT64_MAX / factor, &number)) {
        error_set(err, STATUS_USAGE, "-cpu: tsc-freq=%.60s is not a frequency", text);
        return NULL;
    }
    char *hertz = string_format("%llu", (unsigned long long)number * factor);
    if (!hertz)
        error_no_memory(err);
    return hertz;
}

static bool apply_phys_bits(struct cpu_request *request, const char *name, const char *value,
                            struct error *err)
{
    uint64_t number;
    if (!parse_number(value, 0, 64, &number))
        return error_set(err, STATUS_USAGE, "-cpu: %s=%.60s is not a number of bits", name, value);
    if (number > 0 && (request->phys_bits == 0 || number < request->phys_bits))
        request->phys_bits = (unsigned)number;
    return true;
}

/* One `name=value` (or `name`, which is name=on). */
static bool apply_property(struct cpu_request *request, const char *name, const char *value,
                           struct error *err)
{
    autofree char *hertz = NULL;
    bool on = strcmp(value, "on") == 0, off = strcmp(value, "off") == 0;
    if (strcmp(name, "enforce") == 0 || strcmp(name, "host-phys-bits") == 0) {
        if (strcmp(name, "enforce") == 0)
            request->enforce = on;
        return on || off || error_set(err, STATUS_USAGE, "-cpu: %s must be on or off", name);
    }
    if (strcmp(name, "phys-bits") == 0 || strcmp(name, "host-phys-bits-limit") == 0)
        return apply_phys_bits(request, name, value, err);
    if (strcmp(name, "tsc-freq") == 0) {
        if (!(hertz = parse_frequency(value, err)))
            return false;
        name = "tsc-frequency";
        value = hertz;
    }
    autofree char *plain = knob_plain(name, value);
    if (!plain)
        return error_no_memory(err);
    value = plain;
    switch (knob_check(name, value, err)) {
    case KNOB_HARMLESS:
        return true;
    case KNOB_REFUSED:
        return false;
    case KNOB_CARRIED:
        return cpu_knobs_set(&request->knobs, name, value) || error_no_memory(err);
    case KNOB_NONE:
        break;
    }
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
            if (!feature_canonical_name(left, name))
                return error_set(err, STATUS_USAGE, "-cpu: '%.80s' is not a feature", word);
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

bool cpu_request_check_names(const struct cpu_request *request, const struct featureset *known,
                             struct error *err)
{
    const struct featureset *sets[] = {&request->on, &request->off};
    for (size_t i = 0; i < 2; i++) {
        struct featureset_cursor cursor = {0};
        for (const char *name; (name = featureset_next(sets[i], &cursor));)
            if (!featureset_has(known, name))
                return error_set(err, STATUS_USAGE,
                                 "-cpu (or --deny): this QEMU has no CPU feature or property '%s'",
                                 name);
    }
    return true;
}

json_t *cpu_request_to_json(const struct cpu_request *request)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:i, s:b}", "model",
                     request->model ? request->model : "", "on", featureset_to_json(&request->on),
                     "off", featureset_to_json(&request->off), "knobs",
                     cpu_knobs_to_json(&request->knobs), "phys_bits", (int)request->phys_bits,
                     "enforce", (int)request->enforce);
}

bool cpu_request_from_json(json_t *json, struct cpu_request *out, struct error *err)
{
    autocpurequest struct cpu_request request = {0};
    const char *model;
    json_t *on, *off, *knobs;
    json_int_t phys_bits;
    int enforce;
    if (!json_take(json, err, "the CPU request", "{s:s, s:o, s:o, s:o, s:I, s:b}", "model", &model,
                   "on", &on, "off", &off, "knobs", &knobs, "phys_bits", &phys_bits, "enforce",
                   &enforce) ||
        !featureset_from_json(&request.on, on, "the CPU request: on", err) ||
        !featureset_from_json(&request.off, off, "the CPU request: off", err) ||
        !cpu_knobs_from_json(knobs, "the CPU request: knobs", knob_is_carried, &request.knobs, err))
        return false;
    if ((*model && !name_is_model(model)) || phys_bits < 0 || phys_bits > 64)
        return error_set(err, STATUS_DATA, "the CPU request: not valid");
    request.enforce = enforce;
    request.phys_bits = (unsigned)phys_bits;
    if (*model && !(request.model = strdup(model)))
        return error_no_memory(err);
    cpu_request_free(out);
    *out = request;
    request = (struct cpu_request){0};
    return true;
}

bool cpu_request_copy(const struct cpu_request *request, struct cpu_request *copy,
                      struct error *err)
{
    struct cpu_request made = {.phys_bits = request->phys_bits, .enforce = request->enforce};
    if ((request->model && !(made.model = strdup(request->model))) ||
        !featureset_copy(&made.on, &request->on) || !featureset_copy(&made.off, &request->off) ||
        !cpu_knobs_copy(&made.knobs, &request->knobs)) {
        cpu_request_free(&made);
        return error_no_memory(err);
    }
    *copy = made;
    return true;
}

static bool knobs_are_equal(const struct cpu_knobs *a, const struct cpu_knobs *b,
                            const char *host_a, const char *host_b, struct error *err)
{
    for (size_t i = 0, j = 0;;) {
        const struct cpu_knob *x = i < a->count ? &a->items[i] : NULL;
        const struct cpu_knob *y = j < b->count ? &b->items[j] : NULL;
        if (!x && !y)
            return true;
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
        if (!knobs_are_equal(&requests[0]->knobs, &request->knobs, hosts[0], hosts[i], err))
            return false;
        if (request->phys_bits > 0 &&
            (joined.phys_bits == 0 || request->phys_bits < joined.phys_bits))
            joined.phys_bits = request->phys_bits;
        joined.enforce |= request->enforce;
    }
    if (count > 0 && !cpu_knobs_copy(&joined.knobs, &requests[0]->knobs))
        return error_no_memory(err);
    featureset_subtract(&joined.on, &joined.off);
    cpu_request_free(out);
    *out = joined;
    joined = (struct cpu_request){0};
    return true;
}
