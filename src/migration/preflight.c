/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "migration/preflight.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

struct comparison {
    const json_t *machines[2];
    const char *const *names;
    struct strlist *findings, *warnings;
};

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static long long number_of(const struct comparison *c, int end, const char *name)
{
    return json_integer_value(json_object_get(c->machines[end], name));
}

/* Sizes of memory are told in the largest unit that says them exactly. */
static char *size_text(long long bytes)
{
    if (bytes % (1LL << 20) == 0)
        return string_format("%lld MiB", bytes >> 20);
    return string_format("%lld bytes", bytes);
}

static bool compare_sizes(struct comparison *c, const char *what, long long source,
                          long long destination)
{
    autofree char *one = size_text(source), *other = size_text(destination);
    return source == destination || (one && other &&
                                     strlist_pushf(c->findings, "%s has %s of %s, %s %s",
                                                   c->names[0], one, what, c->names[1], other));
}

static bool compare_machines(struct comparison *c)
{
    const char *one = text_of(c->machines[0], "machine"),
               *other = text_of(c->machines[1], "machine");
    long long vcpus[2], room[2];
    for (int end = 0; end < 2; end++) {
        vcpus[end] = number_of(c, end, "vcpus");
        room[end] = number_of(c, end, "vcpus_max");
    }
    if (strcmp(one, other) != 0 && !strlist_pushf(c->findings, "%s has machine type %s, %s %s",
                                                  c->names[0], one, c->names[1], other))
        return false;
    if (vcpus[0] != vcpus[1] &&
        !strlist_pushf(c->findings, "%s has %lld vCPU%s, %s %lld", c->names[0], vcpus[0],
                       vcpus[0] == 1 ? "" : "s", c->names[1], vcpus[1]))
        return false;
    if (vcpus[0] == vcpus[1] && room[0] != room[1] && room[0] > 0 && room[1] > 0 &&
        !strlist_pushf(c->findings, "%s has room for %lld vCPUs (maxcpus), %s for %lld",
                       c->names[0], room[0], c->names[1], room[1]))
        return false;
    return compare_sizes(c, "memory", number_of(c, 0, "memory"), number_of(c, 1, "memory")) &&
           compare_sizes(c, "memory plugged in", number_of(c, 0, "plugged"),
                         number_of(c, 1, "plugged"));
}

static bool is_same_place(const json_t *one, const json_t *other)
{
    return strcmp(text_of(one, "at"), text_of(other, "at")) == 0;
}

static bool is_same_device(const json_t *one, const json_t *other)
{
    return is_same_place(one, other) && strcmp(text_of(one, "type"), text_of(other, "type")) == 0;
}

/* "a virtio-net-pci at 00:03.0 (net0)" */
static char *device_text(const json_t *device)
{
    const char *type = text_of(device, "type"), *id = text_of(device, "id");
    const char *at = text_of(device, "at");
    return string_format("%s %s%s%s%s%s%s", strchr("aeiou", *type) && *type ? "an" : "a", type,
                         *at ? " at " : "", at, *id ? " (" : "", id, *id ? ")" : "");
}

static bool list_has(const json_t *list, const json_t *name)
{
    size_t i;
    json_t *entry;
    json_array_foreach(list, i, entry)
    {
        if (json_equal(entry, name))
            return true;
    }
    return false;
}

/* Features that say what the device is and not what it can do: a guest notices at once, whichever
 * of the two it comes from, and no driver has a choice. Every QEMU has a name for these. */
static const struct harm {
    const char *feature, *why;
} harms[] = {
    {"VIRTIO_BLK_F_RO", "what the guest writes would fail on the one that has it"},
};

static const struct harm *harm_of(const char *feature)
{
    for (size_t i = 0; i < sizeof(harms) / sizeof(harms[0]); i++)
        if (strcmp(harms[i].feature, feature) == 0)
            return &harms[i];
    return NULL;
}

/* Features that the device of `end` offers and its like on the other side does not, without those
 * that do harm at once: joined, a new string, "" for none. What the other has no name for might be
 * these. NULL: no memory. */
static char *features_beyond(const json_t *const devices[2], int end)
{
    autostrlist struct strlist missing = {0};
    const json_t *lists[2];
    size_t i;
    json_t *name;
    for (int k = 0; k < 2; k++)
        lists[k] = json_object_get(devices[k], "features");
    /* Offers nothing at all: was not asked. */
    if (json_array_size(lists[0]) == 0 || json_array_size(lists[1]) == 0)
        return strdup("");
    json_array_foreach(lists[end], i, name)
    {
        if (!list_has(lists[!end], name) && !harm_of(json_string_value(name)) &&
            !strlist_push(&missing, json_string_value(name)))
            return NULL;
    }
    if ((json_int_t)missing.count <= json_integer_value(json_object_get(devices[!end], "unknown")))
        return strdup("");
    strlist_sort(&missing);
    return strlist_join(&missing, ", ");
}

/* Those that do harm at once, which only the device of `end` has. */
static bool find_harm(struct comparison *c, const json_t *const devices[2], int end)
{
    const json_t *own = json_object_get(devices[end], "features");
    const json_t *their = json_object_get(devices[!end], "features");
    autofree char *device = device_text(devices[end]);
    size_t i;
    json_t *name;
    if (json_array_size(their) == 0) /* was not asked */
        return device != NULL;
    json_array_foreach(own, i, name)
    {
        const struct harm *harm = harm_of(json_string_value(name));
        if (device && harm && !list_has(their, name) &&
            !strlist_pushf(c->findings, "%s has %s with %s, %s without: %s", c->names[end], device,
                           harm->feature, c->names[!end], harm->why))
            return false;
    }
    return device != NULL;
}

static bool compare_features(struct comparison *c, const json_t *source, const json_t *destination)
{
    const json_t *const devices[2] = {source, destination};
    autofree char *lost = features_beyond(devices, 0), *gained = features_beyond(devices, 1);
    autofree char *here = device_text(source), *there = device_text(destination);
    if (!lost || !gained || !here || !there || !find_harm(c, devices, 0) ||
        !find_harm(c, devices, 1))
        return false;
    return (!*lost || strlist_pushf(c->findings, "%s has %s with %s, %s without", c->names[0], here,
                                    lost, c->names[1])) &&
           (!*gained ||
            strlist_pushf(c->warnings,
                          "%s has %s with %s, %s without: a guest that restarts on %s uses that, "
                          "and can then not come back to %s",
                          c->names[1], there, gained, c->names[0], c->names[1], c->names[0]));
}

/* Pair off equal devices; what is left over is a finding. */
static bool compare_devices(struct comparison *c)
{
    const json_t *lists[2] = {json_object_get(c->machines[0], "devices"),
                              json_object_get(c->machines[1], "devices")};
    const size_t counts[2] = {json_array_size(lists[0]), json_array_size(lists[1])};
    autofree bool *paired = calloc(counts[0] + counts[1] + 1, sizeof(bool));
    if (!paired)
        return false;
    for (size_t i = 0; i < counts[0]; i++)
        for (size_t k = 0; k < counts[1] && !paired[i]; k++) {
            const json_t *one = json_array_get(lists[0], i), *other = json_array_get(lists[1], k);
            if (paired[counts[0] + k] || !is_same_device(one, other))
                continue;
            paired[i] = paired[counts[0] + k] = true;
            if (!compare_features(c, one, other))
                return false;
        }
    /* Something else in its place is one finding, not two. */
    for (size_t i = 0; i < counts[0]; i++)
        for (size_t k = 0; k < counts[1] && !paired[i]; k++) {
            const json_t *one = json_array_get(lists[0], i), *other = json_array_get(lists[1], k);
            if (paired[counts[0] + k] || !is_same_place(one, other) || !*text_of(one, "at"))
                continue;
            paired[i] = paired[counts[0] + k] = true;
            autofree char *here = device_text(one);
            if (!here || !strlist_pushf(c->findings, "%s has %s, %s has %s there", c->names[0],
                                        here, c->names[1], text_of(other, "type")))
                return false;
        }
    for (int end = 0; end < 2; end++)
        for (size_t i = 0; i < counts[end]; i++) {
            if (paired[end ? counts[0] + i : i])
                continue;
            autofree char *device = device_text(json_array_get(lists[end], i));
            if (!device || !strlist_pushf(c->findings, "%s has %s that %s has not", c->names[end],
                                          device, c->names[!end]))
                return false;
        }
    return true;
}

/* Memory of devices and firmware: a ROM of another size, from another package of firmware, fails at
 * the end of a migration. Named in order. */
static bool compare_blocks(struct comparison *c)
{
    const json_t *blocks[2] = {json_object_get(c->machines[0], "blocks"),
                               json_object_get(c->machines[1], "blocks")};
    autostrlist struct strlist names = {0};
    const char *name;
    json_t *value;
    if (json_object_size(blocks[0]) == 0 || json_object_size(blocks[1]) == 0)
        return true; /* one does not tell */
    for (int end = 0; end < 2; end++)
        json_object_foreach((json_t *)blocks[end], name, value)
        {
            if (!strlist_push(&names, name))
                return false;
        }
    strlist_sort(&names);
    for (size_t i = 0; i < names.count; i++) {
        const json_t *one = json_object_get(blocks[0], names.items[i]);
        const json_t *other = json_object_get(blocks[1], names.items[i]);
        if (one && other && json_equal(one, other))
            continue;
        if (one && other
                ? !strlist_pushf(c->findings, "%s: %lld bytes on %s, %lld on %s", names.items[i],
                                 (long long)json_integer_value(one), c->names[0],
                                 (long long)json_integer_value(other), c->names[1])
                : !strlist_pushf(c->findings, "%s has memory called %s that %s has not",
                                 c->names[one ? 0 : 1], names.items[i], c->names[one ? 1 : 0]))
            return false;
    }
    return true;
}

bool preflight_find(const json_t *source, const json_t *destination, const char *const names[2],
                    struct strlist *findings, struct strlist *warnings)
{
    struct comparison c = {{source, destination}, names, findings, warnings};
    size_t i;
    json_t *reason;
    strlist_free(findings);
    strlist_free(warnings);
    json_array_foreach(json_object_get(source, "blocked"), i, reason)
    {
        if (!strlist_pushf(findings, "the guest cannot leave %s now: %s", names[0],
                           json_string_value(reason)))
            return false;
    }
    size_t reasons = findings->count;
    if (!compare_machines(&c) || !compare_devices(&c))
        return false;
    /* What follows from those differences need not be said again. */
    return findings->count > reasons || compare_blocks(&c);
}

bool preflight_check(const json_t *source, const json_t *destination, const char *const names[2],
                     struct error *err)
{
    autostrlist struct strlist findings = {0}, warnings = {0};
    if (!preflight_find(source, destination, names, &findings, &warnings))
        return error_no_memory(err);
    autofree char *text = strlist_join(&findings, "; ");
    if (!text)
        return error_no_memory(err);
    return findings.count == 0 ||
           error_set(err, STATUS_INCOMPATIBLE, "the two machines are not the same: %s", text);
}
