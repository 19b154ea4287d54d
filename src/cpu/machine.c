/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cpu/machine.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

void machine_list_free(struct machine_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->types[i].name);
        free(list->types[i].alias);
    }
    free(list->types);
    *list = (struct machine_list){0};
}

bool machine_list_add(struct machine_list *list, const char *name, const char *alias,
                      bool deprecated, bool is_default)
{
    struct machine_type type = {.name = strdup(name),
                                .alias = alias && *alias ? strdup(alias) : NULL,
                                .deprecated = deprecated,
                                .is_default = is_default};
    struct machine_type *types = realloc(list->types, (list->count + 1) * sizeof(*types));
    if (types)
        list->types = types;
    if (!types || !type.name || (alias && *alias && !type.alias)) {
        free(type.name);
        free(type.alias);
        return false;
    }
    size_t place = list->count;
    while (place > 0 && strcmp(types[place - 1].name, name) > 0) {
        types[place] = types[place - 1];
        place--;
    }
    types[place] = type;
    list->count++;
    return true;
}

const struct machine_type *machine_list_find(const struct machine_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct machine_type *type = &list->types[i];
        if (name ? strcmp(type->name, name) == 0 || (type->alias && strcmp(type->alias, name) == 0)
                 : type->is_default)
            return type;
    }
    return NULL;
}

json_t *machine_list_to_json(const struct machine_list *list)
{
    autojson json_t *array = json_array();
    for (size_t i = 0; i < list->count; i++) {
        const struct machine_type *type = &list->types[i];
        if (json_array_append_new(array, json_pack("{s:s, s:s, s:b, s:b}", "name", type->name,
                                                   "alias", type->alias ? type->alias : "",
                                                   "deprecated", (int)type->deprecated, "default",
                                                   (int)type->is_default)) != 0)
            return NULL;
    }
    return STEAL(array);
}

bool machine_list_from_json(const json_t *json, struct machine_list *out, struct error *err)
{
    automachinelist struct machine_list list = {0};
    size_t i;
    json_t *entry;
    if (!json_is_array(json) || json_array_size(json) > 1024)
        return error_set(err, STATUS_DATA, "machine types: not an array");
    json_array_foreach(json, i, entry)
    {
        const char *name, *alias;
        int deprecated, is_default;
        if (!json_take(entry, err, "a machine type", "{s:s, s:s, s:b, s:b}", "name", &name, "alias",
                       &alias, "deprecated", &deprecated, "default", &is_default))
            return false;
        if (!name_is_machine(name) || (*alias && !name_is_machine(alias)))
            return error_set(err, STATUS_DATA, "'%.80s' is not a machine type", name);
        if (!machine_list_add(&list, name, alias, deprecated, is_default))
            return error_no_memory(err);
    }
    machine_list_free(out);
    *out = list;
    list = (struct machine_list){0};
    return true;
}

/* "pc-q35-7.2": length of "pc-q35-", major 7, minor 2; false for a name without a version. Names
 * with a third number ("pc-q35-4.0.1") exist. */
static bool split_version(const char *name, size_t *family, unsigned version[3])
{
    const char *dash = strrchr(name, '-');
    if (!dash)
        return false;
    version[0] = version[1] = version[2] = 0;
    const char *p = dash + 1;
    for (int i = 0; i < 3; i++) {
        if (*p < '0' || *p > '9')
            return false;
        char *end;
        version[i] = (unsigned)strtoul(p, &end, 10);
        if (!*end) {
            *family = (size_t)(dash + 1 - name);
            return i > 0;
        }
        if (*end != '.')
            return false;
        p = end + 1;
    }
    return false;
}

static bool same_family(const char *a, const char *b)
{
    size_t x, y;
    unsigned version[3];
    return split_version(a, &x, version) && split_version(b, &y, version) && x == y &&
           strncmp(a, b, x) == 0;
}

static bool is_newer(const char *a, const char *b)
{
    size_t family;
    unsigned x[3], y[3];
    if (!split_version(a, &family, x) || !split_version(b, &family, y))
        return false;
    for (int i = 0; i < 3; i++)
        if (x[i] != y[i])
            return x[i] > y[i];
    return false;
}

static bool all_know(const struct machine_wish *wishes, size_t count, const char *name,
                     const char **lacking)
{
    for (size_t i = 0; i < count; i++) {
        const struct machine_type *type = machine_list_find(wishes[i].types, name);
        if (type && strcmp(type->name, name) == 0)
            continue;
        *lacking = wishes[i].host;
        return false;
    }
    return true;
}

static bool any_deprecates(const struct machine_wish *wishes, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        const struct machine_type *type = machine_list_find(wishes[i].types, name);
        if (type && type->deprecated)
            return true;
    }
    return false;
}

/* The newest type of `like`'s family that all know and none deprecates. */
static const char *newest_common(const struct machine_wish *wishes, size_t count, const char *like)
{
    const char *best = NULL;
    for (size_t i = 0; i < wishes[0].types->count; i++) {
        const char *name = wishes[0].types->types[i].name, *lacking;
        if (same_family(name, like) && all_know(wishes, count, name, &lacking) &&
            !any_deprecates(wishes, count, name) && (!best || is_newer(name, best)))
            best = name;
    }
    return best;
}

static char *copy_name(const char *name, struct error *err)
{
    char *copy = strdup(name);
    if (!copy)
        error_no_memory(err);
    return copy;
}

static int compare_hosts(const void *a, const void *b)
{
    return strcmp(((const struct machine_wish *)a)->host, ((const struct machine_wish *)b)->host);
}

void machine_wishes_sort(struct machine_wish *wishes, size_t count)
{
    qsort(wishes, count, sizeof(*wishes), compare_hosts);
}

char *machine_choose(const struct machine_wish *wishes, size_t count, struct error *err)
{
    const struct machine_type *first = NULL;
    const struct machine_wish *first_wish = NULL;
    const char *named = NULL, *named_by = NULL, *lacking;
    for (size_t i = 0; i < count; i++) {
        const struct machine_wish *wish = &wishes[i];
        const struct machine_type *type = machine_list_find(wish->types, wish->machine);
        if (!type) {
            error_set(err, STATUS_INCOMPATIBLE, "the QEMU of %s has no machine type %s", wish->host,
                      wish->machine ? wish->machine : "by default");
            return NULL;
        }
        if (first && strcmp(type->name, first->name) != 0 &&
            !same_family(type->name, first->name)) {
            error_set(err, STATUS_INCOMPATIBLE,
                      "%s has the machine type %s and %s has %s: give the same -machine on all",
                      first_wish->host, first->name, wish->host, type->name);
            return NULL;
        }
        size_t family;
        unsigned version[3];
        bool is_versioned = split_version(type->name, &family, version);
        if (!is_versioned && first && strcmp(wish->qemu_version, first_wish->qemu_version) != 0) {
            error_set(
                err, STATUS_INCOMPATIBLE,
                "machine type %s has no versions, and %s has QEMU %s where %s has %s: a guest "
                "cannot move between them",
                type->name, first_wish->host, first_wish->qemu_version, wish->host,
                wish->qemu_version);
            return NULL;
        }
        bool by_name = is_versioned && wish->machine && strcmp(wish->machine, type->name) == 0;
        if (by_name && named && strcmp(named, type->name) != 0) {
            error_set(err, STATUS_INCOMPATIBLE,
                      "%s asks for the machine type %s and %s for %s: give the same on all",
                      named_by, named, wish->host, type->name);
            return NULL;
        }
        if (by_name && (!named || !wish->follows)) {
            named = type->name;
            named_by = wish->host;
        }
        if (!first) {
            first = type;
            first_wish = wish;
        }
    }
    size_t family;
    unsigned version[3];
    if (!first) {
        error_set(err, STATUS_INTERNAL, "a machine type needs a party");
        return NULL;
    }
    if (!split_version(first->name, &family, version))
        return copy_name(first->name, err);
    if (named && all_know(wishes, count, named, &lacking))
        return copy_name(named, err);
    const char *best = named ? NULL : newest_common(wishes, count, first->name);
    if (best)
        return copy_name(best, err);
    if (named)
        error_set(err, STATUS_INCOMPATIBLE,
                  "the QEMU of %s has no machine type %s, which %s asks for", lacking, named,
                  named_by);
    else
        error_set(err, STATUS_INCOMPATIBLE,
                  "no machine type like %s is known to all QEMUs and deprecated by none",
                  first->name);
    return NULL;
}
