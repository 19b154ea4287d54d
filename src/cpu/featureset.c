/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cpu/featureset.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cpu/feature_table.h"

void featureset_free(struct featureset *set)
{
    strlist_free(&set->names);
}

/* The index of name, or of the place where it would be. */
static size_t find_place(const struct featureset *set, const char *name, bool *found)
{
    size_t low = 0, high = set->names.count;
    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(set->names.items[middle], name);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool featureset_has(const struct featureset *set, const char *name)
{
    bool found;
    find_place(set, name, &found);
    return found;
}

bool featureset_add(struct featureset *set, const char *name)
{
    bool found;
    size_t place = find_place(set, name, &found);
    if (found)
        return true;
    if (!strlist_push(&set->names, name))
        return false;
    char **items = set->names.items;
    char *added = items[set->names.count - 1];
    memmove(items + place + 1, items + place, (set->names.count - 1 - place) * sizeof(*items));
    items[place] = added;
    return true;
}

static void remove_at(struct featureset *set, size_t place)
{
    struct strlist *names = &set->names;
    free(names->items[place]);
    /* The NULL at the end moves along. */
    memmove(names->items + place, names->items + place + 1,
            (names->count - place) * sizeof(*names->items));
    names->count--;
}

void featureset_remove(struct featureset *set, const char *name)
{
    bool found;
    size_t place = find_place(set, name, &found);
    if (found)
        remove_at(set, place);
}

/* Keep the names whose being in other is as wanted. */
static void filter(struct featureset *set, const struct featureset *other, bool wanted)
{
    struct strlist *names = &set->names;
    size_t kept = 0;
    for (size_t i = 0; i < names->count; i++) {
        if (featureset_has(other, names->items[i]) == wanted)
            names->items[kept++] = names->items[i];
        else
            free(names->items[i]);
    }
    names->count = kept;
    if (names->items)
        names->items[kept] = NULL;
}

void featureset_intersect(struct featureset *set, const struct featureset *other)
{
    filter(set, other, true);
}

void featureset_subtract(struct featureset *set, const struct featureset *other)
{
    filter(set, other, false);
}

bool featureset_unite(struct featureset *set, const struct featureset *other)
{
    for (size_t i = 0; i < other->names.count; i++)
        if (!featureset_add(set, other->names.items[i]))
            return false;
    return true;
}

bool featureset_copy(struct featureset *copy, const struct featureset *set)
{
    struct featureset made = {0};
    for (size_t i = 0; i < set->names.count; i++) {
        if (!strlist_push(&made.names, set->names.items[i])) {
            featureset_free(&made);
            return false;
        }
    }
    *copy = made;
    return true;
}

bool featureset_equal(const struct featureset *a, const struct featureset *b)
{
    if (a->names.count != b->names.count)
        return false;
    for (size_t i = 0; i < a->names.count; i++)
        if (strcmp(a->names.items[i], b->names.items[i]) != 0)
            return false;
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

bool featureset_from_json(struct featureset *set, const json_t *array, const char *what,
                          struct error *err)
{
    autofeatureset struct featureset made = {0};
    if (!json_take_names(array, what, name_is_feature, &made.names, err))
        return false;
    struct strlist *names = &made.names;
    if (names->count > 0)
        qsort(names->items, names->count, sizeof(*names->items), compare_names);
    for (size_t i = 1; i < names->count; i++)
        if (strcmp(names->items[i - 1], names->items[i]) == 0)
            return error_set(err, STATUS_DATA, "%s: '%s' stands there twice", what,
                             names->items[i]);
    featureset_free(set);
    *set = made;
    made = (struct featureset){0};
    return true;
}

json_t *featureset_to_json(const struct featureset *set)
{
    return json_from_names(&set->names);
}

static bool requirements_hold(const struct featureset *set, const char *name,
                              const struct featureset *known)
{
    for (const char *need = feature_requires(name); need && *need;) {
        char one[FEATURE_NAME_SIZE];
        need = feature_next_name(need, one);
        if ((!known || featureset_has(known, one)) && !featureset_has(set, one))
            return false;
    }
    return true;
}

void featureset_close(struct featureset *set, const struct featureset *known)
{
    bool changed = true;
    while (changed) {
        changed = false;
        for (size_t i = set->names.count; i-- > 0;) {
            if (requirements_hold(set, set->names.items[i], known))
                continue;
            remove_at(set, i);
            changed = true;
        }
    }
}
