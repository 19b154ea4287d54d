/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cpu/featureset.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cpu/feature_table.h"

#define WORD_BITS 64

void featureset_free(struct featureset *set)
{
    strlist_free(&set->others);
    memset(set->bits, 0, sizeof(set->bits));
}

/* The place of a name in the table, or -1. */
static long table_index(const char *name)
{
    size_t count;
    const struct feature *table = feature_table(&count), *feature = feature_find(name);
    _Static_assert(FEATURE_COUNT <= (size_t)FEATURESET_WORDS * WORD_BITS,
                   "FEATURESET_WORDS is too small for the feature table");
    return feature ? feature - table : -1;
}

static bool has_bit(const struct featureset *set, size_t index)
{
    return set->bits[index / WORD_BITS] >> (index % WORD_BITS) & 1;
}

/* The index of name among the others, or of the place where it would be. */
static size_t find_other(const struct featureset *set, const char *name, bool *found)
{
    size_t low = 0, high = set->others.count;
    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(set->others.items[middle], name);
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

size_t featureset_count(const struct featureset *set)
{
    size_t count = set->others.count;
    for (size_t i = 0; i < FEATURESET_WORDS; i++)
        count += (size_t)__builtin_popcountll(set->bits[i]);
    return count;
}

size_t featureset_count_missing(const struct featureset *set, const struct featureset *other)
{
    size_t count = 0;
    for (size_t i = 0; i < FEATURESET_WORDS; i++)
        count += (size_t)__builtin_popcountll(set->bits[i] & ~other->bits[i]);
    for (size_t i = 0; i < set->others.count; i++)
        count += !featureset_has(other, set->others.items[i]);
    return count;
}

const char *featureset_next(const struct featureset *set, struct featureset_cursor *cursor)
{
    size_t count;
    const struct feature *table = feature_table(&count);
    while (cursor->index < count && !has_bit(set, cursor->index))
        cursor->index++;
    const char *known = cursor->index < count ? table[cursor->index].name : NULL;
    const char *other = cursor->other < set->others.count ? set->others.items[cursor->other] : NULL;
    if (known && (!other || strcmp(known, other) < 0)) {
        cursor->index++;
        return known;
    }
    if (other)
        cursor->other++;
    return other;
}

bool featureset_has(const struct featureset *set, const char *name)
{
    long index = table_index(name);
    bool found;
    if (index >= 0)
        return has_bit(set, (size_t)index);
    find_other(set, name, &found);
    return found;
}

bool featureset_add(struct featureset *set, const char *name)
{
    long index = table_index(name);
    bool found;
    if (index >= 0) {
        set->bits[index / WORD_BITS] |= (uint64_t)1 << (index % WORD_BITS);
        return true;
    }
    size_t place = find_other(set, name, &found);
    if (found)
        return true;
    if (!strlist_push(&set->others, name))
        return false;
    char **items = set->others.items;
    char *added = items[set->others.count - 1];
    memmove(items + place + 1, items + place, (set->others.count - 1 - place) * sizeof(*items));
    items[place] = added;
    return true;
}

void featureset_remove(struct featureset *set, const char *name)
{
    long index = table_index(name);
    bool found;
    if (index >= 0) {
        set->bits[index / WORD_BITS] &= ~((uint64_t)1 << (index % WORD_BITS));
        return;
    }
    size_t place = find_other(set, name, &found);
    if (!found)
        return;
    struct strlist *others = &set->others;
    free(others->items[place]);
    /* The NULL at the end moves along. */
    memmove(others->items + place, others->items + place + 1,
            (others->count - place) * sizeof(*others->items));
    others->count--;
}

/* Keep the names outside the table whose being in other is as wanted. */
static void filter_others(struct featureset *set, const struct featureset *other, bool wanted)
{
    struct strlist *names = &set->others;
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
    for (size_t i = 0; i < FEATURESET_WORDS; i++)
        set->bits[i] &= other->bits[i];
    filter_others(set, other, true);
}

void featureset_subtract(struct featureset *set, const struct featureset *other)
{
    for (size_t i = 0; i < FEATURESET_WORDS; i++)
        set->bits[i] &= ~other->bits[i];
    filter_others(set, other, false);
}

bool featureset_unite(struct featureset *set, const struct featureset *other)
{
    for (size_t i = 0; i < FEATURESET_WORDS; i++)
        set->bits[i] |= other->bits[i];
    for (size_t i = 0; i < other->others.count; i++)
        if (!featureset_add(set, other->others.items[i]))
            return false;
    return true;
}

bool featureset_copy(struct featureset *copy, const struct featureset *set)
{
    struct featureset made = {0};
    if (!featureset_unite(&made, set)) {
        featureset_free(&made);
        return false;
    }
    *copy = made;
    return true;
}

bool featureset_equal(const struct featureset *a, const struct featureset *b)
{
    if (memcmp(a->bits, b->bits, sizeof(a->bits)) != 0 || a->others.count != b->others.count)
        return false;
    for (size_t i = 0; i < a->others.count; i++)
        if (strcmp(a->others.items[i], b->others.items[i]) != 0)
            return false;
    return true;
}

bool featureset_parse(struct featureset *set, const char *text, const char *what,
                      enum status refused, struct error *err)
{
    autostrlist struct strlist names = {0};
    char name[FEATURE_NAME_SIZE];
    if (!strlist_split(&names, text, ','))
        return error_no_memory(err);
    if (names.count == 0 && refused == STATUS_USAGE)
        return error_set(err, refused, "%s: no feature is named", what);
    for (size_t i = 0; i < names.count; i++) {
        if (!feature_canonical_name(names.items[i], name))
            return error_set(err, refused, "%s: '%.80s' is not a feature", what, names.items[i]);
        if (!featureset_add(set, name))
            return error_no_memory(err);
    }
    return true;
}

bool featureset_from_json(struct featureset *set, const json_t *array, const char *what,
                          struct error *err)
{
    autofeatureset struct featureset made = {0};
    size_t i;
    json_t *value;
    if (!json_is_array(array))
        return error_set(err, STATUS_DATA, "%s: not an array", what);
    if (json_array_size(array) > FEATURESET_NAMES_MAX)
        return error_set(err, STATUS_DATA, "%s: more than %d names", what, FEATURESET_NAMES_MAX);
    json_array_foreach(array, i, value)
    {
        const char *name = json_string_value(value);
        if (!name || !name_is_feature(name))
            return error_set(err, STATUS_DATA, "%s: '%.80s' is not a valid name", what,
                             name ? name : "(not a string)");
        if (featureset_has(&made, name))
            return error_set(err, STATUS_DATA, "%s: '%s' stands there twice", what, name);
        if (!featureset_add(&made, name))
            return error_no_memory(err);
    }
    featureset_free(set);
    *set = made;
    made = (struct featureset){0};
    return true;
}

json_t *featureset_to_json(const struct featureset *set)
{
    autojson json_t *array = json_array();
    struct featureset_cursor cursor = {0};
    for (const char *name; (name = featureset_next(set, &cursor));)
        if (json_array_append_new(array, json_string(name)) != 0)
            return NULL;
    return STEAL(array);
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
        struct featureset_cursor cursor = {0};
        changed = false;
        for (const char *name; (name = featureset_next(set, &cursor));) {
            if (requirements_hold(set, name, known))
                continue;
            featureset_remove(set, name); /* others have no requirements: name is the table's */
            changed = true;
        }
    }
}
