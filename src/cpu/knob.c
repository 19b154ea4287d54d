/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cpu/knob.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/strings.h"

#define KNOBS_MAX 128 /* that are taken from a statement */

void cpu_knobs_free(struct cpu_knobs *knobs)
{
    for (size_t i = 0; i < knobs->count; i++) {
        free(knobs->items[i].name);
        free(knobs->items[i].value);
    }
    free(knobs->items);
    *knobs = (struct cpu_knobs){0};
}

const char *cpu_knobs_get(const struct cpu_knobs *knobs, const char *name)
{
    for (size_t i = 0; i < knobs->count; i++)
        if (strcmp(knobs->items[i].name, name) == 0)
            return knobs->items[i].value;
    return NULL;
}

bool cpu_knobs_set(struct cpu_knobs *knobs, const char *name, const char *value)
{
    size_t place = 0;
    while (place < knobs->count && strcmp(knobs->items[place].name, name) < 0)
        place++;
    autofree char *text = strdup(value);
    if (!text)
        return false;
    if (place < knobs->count && strcmp(knobs->items[place].name, name) == 0) {
        free(knobs->items[place].value);
        knobs->items[place].value = STEAL(text);
        return true;
    }
    autofree char *key = strdup(name);
    struct cpu_knob *items = realloc(knobs->items, (knobs->count + 1) * sizeof(*items));
    if (items)
        knobs->items = items;
    if (!items || !key)
        return false;
    memmove(items + place + 1, items + place, (knobs->count - place) * sizeof(*items));
    items[place] = (struct cpu_knob){.name = STEAL(key), .value = STEAL(text)};
    knobs->count++;
    return true;
}

void cpu_knobs_remove(struct cpu_knobs *knobs, const char *name)
{
    for (size_t i = 0; i < knobs->count; i++) {
        if (strcmp(knobs->items[i].name, name) != 0)
            continue;
        free(knobs->items[i].name);
        free(knobs->items[i].value);
        knobs->count--;
        memmove(&knobs->items[i], &knobs->items[i + 1], (knobs->count - i) * sizeof(*knobs->items));
        return;
    }
}

bool cpu_knobs_copy(struct cpu_knobs *copy, const struct cpu_knobs *knobs)
{
    for (size_t i = 0; i < knobs->count; i++)
        if (!cpu_knobs_set(copy, knobs->items[i].name, knobs->items[i].value))
            return false;
    return true;
}

enum knob_kind {
    BOOL,   /* on or off */
    NUMBER, /* 0 to max */
    TEXT,   /* up to max characters of printable ASCII without a comma */
    REFUSE, /* only the harmless value is taken */
};

/* Sorted by name. */
static const struct knob {
    const char *name;
    enum knob_kind kind;
    uint64_t max;
    const char *harmless; /* a value that changes nothing */
    const char *why;      /* REFUSE: the reason */
} knobs[] = {
    {"check", BOOL, 0, "*", NULL},
    {"cpuid-0xb", BOOL, 0, NULL, NULL},
    {"family", NUMBER, 0xff + 0xf, NULL, NULL},
    {"fill-mtrr-mask", BOOL, 0, NULL, NULL},
    {"full-cpuid-auto-level", BOOL, 0, NULL, NULL},
    {"host-cache-info", REFUSE, 0, "off", "the caches of one host are not those of the other"},
    {"hv-apicv", BOOL, 0, NULL, NULL},
    {"hv-avic", BOOL, 0, NULL, NULL},
    {"hv-crash", BOOL, 0, NULL, NULL},
    {"hv-emsr-bitmap", BOOL, 0, NULL, NULL},
    {"hv-enforce-cpuid", BOOL, 0, NULL, NULL},
    {"hv-evmcs", BOOL, 0, NULL, NULL},
    {"hv-frequencies", BOOL, 0, NULL, NULL},
    {"hv-ipi", BOOL, 0, NULL, NULL},
    {"hv-no-nonarch-coresharing", BOOL, 0, NULL, NULL}, /* not "auto", which asks the host */
    {"hv-passthrough", REFUSE, 0, "off", "it passes on whatever this host's Hyper-V emulation has"},
    {"hv-reenlightenment", BOOL, 0, NULL, NULL},
    {"hv-relaxed", BOOL, 0, NULL, NULL},
    {"hv-reset", BOOL, 0, NULL, NULL},
    {"hv-runtime", BOOL, 0, NULL, NULL},
    {"hv-spinlocks", NUMBER, UINT32_MAX, NULL, NULL},
    {"hv-stimer", BOOL, 0, NULL, NULL},
    {"hv-stimer-direct", BOOL, 0, NULL, NULL},
    {"hv-syndbg", BOOL, 0, NULL, NULL},
    {"hv-synic", BOOL, 0, NULL, NULL},
    {"hv-time", BOOL, 0, NULL, NULL},
    {"hv-tlbflush", BOOL, 0, NULL, NULL},
    {"hv-tlbflush-direct", BOOL, 0, NULL, NULL},
    {"hv-tlbflush-ext", BOOL, 0, NULL, NULL},
    {"hv-vapic", BOOL, 0, NULL, NULL},
    {"hv-vendor-id", TEXT, 12, NULL, NULL},
    {"hv-version-id-build", NUMBER, UINT32_MAX, NULL, NULL},
    {"hv-version-id-major", NUMBER, UINT16_MAX, NULL, NULL},
    {"hv-version-id-minor", NUMBER, UINT16_MAX, NULL, NULL},
    {"hv-version-id-sbranch", NUMBER, UINT8_MAX, NULL, NULL},
    {"hv-version-id-snumber", NUMBER, UINT32_MAX, NULL, NULL},
    {"hv-version-id-spack", NUMBER, UINT32_MAX, NULL, NULL},
    {"hv-vpindex", BOOL, 0, NULL, NULL},
    {"hv-xmm-input", BOOL, 0, NULL, NULL},
    {"kvm", BOOL, 0, NULL, NULL},
    {"kvm-no-smi-migration", BOOL, 0, NULL, NULL},
    {"l3-cache", BOOL, 0, NULL, NULL},
    {"legacy-cache", BOOL, 0, NULL, NULL},
    {"legacy-multi-node", BOOL, 0, NULL, NULL},
    {"level", REFUSE, 0, NULL, "the baseline sets it"},
    {"level-func7", REFUSE, 0, NULL, "it follows from the features"},
    {"lmce", REFUSE, 0, "off", "it depends on the host"},
    {"migratable", REFUSE, 0, "on", "it passes on what cannot be migrated"},
    {"min-level", REFUSE, 0, NULL, "the baseline sets it"},
    {"min-xlevel", REFUSE, 0, NULL, "the baseline sets it"},
    {"min-xlevel2", REFUSE, 0, NULL, "the baseline sets it"},
    {"model", NUMBER, 0xff, NULL, NULL},
    {"model-id", TEXT, 48, NULL, NULL},
    {"pmu", REFUSE, 0, "off", "its counters are those of one host"},
    {"stepping", NUMBER, 0xf, NULL, NULL},
    {"tcg-cpuid", BOOL, 0, NULL, NULL},
    {"tsc-frequency", NUMBER, INT64_MAX, NULL, NULL},
    {"ucode-rev", NUMBER, INT64_MAX, NULL, NULL},
    {"vendor", TEXT, 12, NULL, NULL},
    {"vmware-cpuid-freq", BOOL, 0, NULL, NULL},
    {"x-force-features", REFUSE, 0, "off", "it switches on what the host cannot give"},
    {"xlevel", REFUSE, 0, NULL, "the baseline sets it"},
    {"xlevel2", REFUSE, 0, NULL, "the baseline sets it"},
};

static int compare_knob(const void *name, const void *entry)
{
    return strcmp(name, ((const struct knob *)entry)->name);
}

/* A value that may stand in -cpu. */
static bool is_text(const char *value, uint64_t max)
{
    size_t length = strlen(value);
    if (length > max)
        return false;
    for (size_t i = 0; i < length; i++)
        if (value[i] < 0x20 || value[i] > 0x7e || value[i] == ',')
            return false;
    return true;
}

static bool is_switch(const char *value)
{
    return strcmp(value, "on") == 0 || strcmp(value, "off") == 0;
}

static const struct knob *find_knob(const char *name)
{
    static const struct knob unstable = {"", BOOL, 0, NULL, NULL};
    const struct knob *knob =
        bsearch(name, knobs, sizeof(knobs) / sizeof(knobs[0]), sizeof(knobs[0]), compare_knob);
    /* QEMU's experimental ones come and go; all known are switches. The name may be a peer's: it is
     * of the form that names have, and canonical (QEMU takes '_' for '-'). */
    return !knob && string_starts_with(name, "x-") && name_is_feature(name) && !strchr(name, '_')
               ? &unstable
               : knob;
}

char *knob_plain(const char *name, const char *value)
{
    const struct knob *knob = find_knob(name);
    if (!knob || knob->kind != NUMBER || value[0] != '0' || (value[1] | 0x20) != 'x')
        return strdup(value);
    size_t digits = strspn(value + 2, "0123456789abcdefABCDEF");
    if (digits == 0 || digits > 16 || value[2 + digits])
        return strdup(value);
    return string_format("%llu", strtoull(value, NULL, 16));
}

enum knob_verdict knob_check(const char *name, const char *value, struct error *err)
{
    const struct knob *knob = find_knob(name);
    if (!knob)
        return KNOB_NONE;
    if (knob->harmless &&
        (strcmp(knob->harmless, value) == 0 || (*knob->harmless == '*' && is_switch(value))))
        return KNOB_HARMLESS;
    uint64_t number;
    switch (knob->kind) {
    case REFUSE:
        error_set(err, STATUS_USAGE, "-cpu: %s=%.60s cannot be used with a baseline: %s", name,
                  value, knob->why);
        return KNOB_REFUSED;
    case BOOL:
        if (is_switch(value))
            return KNOB_CARRIED;
        error_set(err, STATUS_USAGE, "-cpu: %s=%.60s: it must be on or off", name, value);
        return KNOB_REFUSED;
    case NUMBER:
        if (parse_number(value, 0, knob->max, &number))
            return KNOB_CARRIED;
        error_set(err, STATUS_USAGE, "-cpu: %s=%.60s: it must be a number up to %llu", name, value,
                  (unsigned long long)knob->max);
        return KNOB_REFUSED;
    case TEXT:
        if (is_text(value, knob->max))
            return KNOB_CARRIED;
        break;
    }
    error_set(err, STATUS_USAGE, "-cpu: %s: it must be at most %llu printable characters", name,
              (unsigned long long)knob->max);
    return KNOB_REFUSED;
}

bool knob_is_carried(const char *name, const char *value)
{
    return knob_check(name, value, NULL) == KNOB_CARRIED;
}

bool knob_is_kept(const char *name, const char *value)
{
    /* On by default in `max` and `host`. */
    static const char *const names[] = {"lmce", "pmu"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i], name) == 0)
            return strcmp(value, "on") == 0;
    return knob_is_carried(name, value);
}

json_t *cpu_knobs_to_json(const struct cpu_knobs *set)
{
    autojson json_t *object = json_object();
    for (size_t i = 0; i < set->count; i++)
        if (json_object_set_new(object, set->items[i].name, json_string(set->items[i].value)) != 0)
            return NULL;
    return STEAL(object);
}

bool cpu_knobs_from_json(json_t *json, const char *what,
                         bool (*is_good)(const char *name, const char *value),
                         struct cpu_knobs *out, struct error *err)
{
    struct cpu_knobs made = {0};
    const char *name;
    json_t *value;
    bool good = (json_is_object(json) && json_object_size(json) <= KNOBS_MAX) ||
                error_set(err, STATUS_DATA, "%s: not an object of at most %d", what, KNOBS_MAX);
    json_object_foreach(json, name, value)
    {
        const char *text = json_string_value(value);
        if (good && (!text || !is_good(name, text)))
            good = error_set(err, STATUS_DATA, "%s: '%.80s' is not valid", what, name);
        if (good && !cpu_knobs_set(&made, name, text))
            good = error_no_memory(err);
    }
    if (!good) {
        cpu_knobs_free(&made);
        return false;
    }
    cpu_knobs_free(out);
    *out = made;
    return true;
}
