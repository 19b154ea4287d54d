/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/visible.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vm/argv_json.h"
#include "vm/visible_private.h"

#define SHOWN_MAX 100 /* characters of a value or a name */

static const struct visible_option options[] = {
#define VISIBLE(name, kind, text) {name, VISIBLE_##kind, text},
#define KEY(option, key, how)
#define DEFAULT(option, key, value)
#include "vm/visible.def"
#undef VISIBLE
#undef KEY
#undef DEFAULT
};

static const struct {
    const char *option;
    const char *key;
    enum visible_how how;
} keys[] = {
#define VISIBLE(name, kind, text)
#define KEY(option, key, how) {option, key, VISIBLE_##how},
#define DEFAULT(option, key, value)
#include "vm/visible.def"
#undef VISIBLE
#undef KEY
#undef DEFAULT
};

static const struct visible_default defaults[] = {
#define VISIBLE(name, kind, text)
#define KEY(option, key, how)
#define DEFAULT(option, key, value) {option, key, value},
#include "vm/visible.def"
#undef VISIBLE
#undef KEY
#undef DEFAULT
};

const struct visible_option *visible_option_find(const char *name)
{
    for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
        if (strcmp(options[i].name, name) == 0)
            return &options[i];
    return NULL;
}

bool visible_knows(const char *option)
{
    return visible_option_find(option) != NULL;
}

enum visible_how visible_key_how(const char *option, const char *key, enum visible_how otherwise)
{
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
        if (strcmp(keys[i].option, option) == 0 && strcmp(keys[i].key, key) == 0)
            return keys[i].how;
    return otherwise;
}

const struct visible_default *visible_default_next(const char *option, size_t *cursor)
{
    while (*cursor < sizeof(defaults) / sizeof(*defaults)) {
        const struct visible_default *entry = &defaults[(*cursor)++];
        if (strcmp(entry->option, option) == 0)
            return entry;
    }
    return NULL;
}

static void property_free(struct visible_property *property)
{
    free(property->key);
    free(property->value);
    free(property->shown);
}

void visible_list_free(struct visible_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        for (size_t j = 0; j < list->things[i].count; j++)
            property_free(&list->things[i].properties[j]);
        free(list->things[i].properties);
        free(list->things[i].label);
    }
    free(list->things);
    *list = (struct visible_list){0};
}

struct visible_thing *visible_list_add(struct visible_list *list, const char *option,
                                       const char *label, struct error *err)
{
    struct visible_thing *things = reallocarray(list->things, list->count + 1, sizeof(*things));
    char *copy = strdup(label);
    if (things)
        list->things = things;
    if (!things || !copy) {
        free(copy);
        error_no_memory(err);
        return NULL;
    }
    things[list->count] = (struct visible_thing){.option = option, .label = copy};
    return &things[list->count++];
}

/* As people get to see it: escaped, and not too long. NULL for want of memory. */
static char *show(const char *text)
{
    char *shown = argv_word_escape(text);
    if (shown && strlen(shown) > SHOWN_MAX)
        memcpy(shown + SHOWN_MAX - 3, "...", sizeof("..."));
    return shown;
}

bool visible_thing_set(struct visible_thing *thing, const char *key, const char *value,
                       enum visible_how how, struct error *err)
{
    if (how == VISIBLE_IGNORED)
        return true;
    size_t at = 0;
    while (at < thing->count && strcmp(thing->properties[at].key, key) != 0)
        at++;
    if (at == thing->count) {
        struct visible_property *properties =
            reallocarray(thing->properties, thing->count + 1, sizeof(*properties));
        if (!properties)
            return error_no_memory(err);
        thing->properties = properties;
    }
    struct visible_property property = {.key = strdup(key),
                                        .value = visible_canonical(value, how),
                                        .shown = show(value),
                                        .how = how};
    if (!property.key || !property.value || !property.shown) {
        property_free(&property);
        return error_no_memory(err);
    }
    if (at < thing->count)
        property_free(&thing->properties[at]);
    else
        thing->count++;
    thing->properties[at] = property;
    return true;
}

/* A comparison under way. */
struct comparison {
    const char *name; /* of the other host */
    struct strlist *differences;
    struct strlist *doubts;
};

static const struct visible_property *find_property(const struct visible_thing *thing,
                                                    const char *key)
{
    for (size_t i = 0; i < thing->count; i++)
        if (strcmp(thing->properties[i].key, key) == 0)
            return &thing->properties[i];
    return NULL;
}

/* "-device virtio-net-pci,id=n0: mac", "-m", "-machine hpet". What comes first in an option goes
 * without its name. */
static char *name_of(const struct visible_thing *thing, const char *key)
{
    bool plain = !*key || (strcmp(thing->option, "m") == 0 && strcmp(key, "size") == 0) ||
                 (strcmp(thing->option, "smp") == 0 && strcmp(key, "cpus") == 0);
    autofree char *label = show(thing->label);
    autofree char *name = show(key);
    if (!label || !name)
        return NULL;
    return string_format("-%s%s%s%s%s", thing->option, *label ? " " : "", label,
                         plain    ? ""
                         : *label ? ": "
                                  : " ",
                         plain ? "" : name);
}

static bool say(const struct comparison *comparison, const struct visible_thing *thing,
                const struct visible_property *here, const struct visible_property *there,
                struct error *err)
{
    bool untold = there && strstr(there->value, VISIBLE_NOT_TOLD);
    bool content = here && there && here->how == VISIBLE_CONTENT;
    bool policy = visible_option_find(thing->option)->kind == VISIBLE_POLICY;
    struct strlist *list =
        untold || content || policy ? comparison->doubts : comparison->differences;
    autofree char *name = name_of(thing, here ? here->key : there->key);
    if (!name)
        return error_no_memory(err);
    return strlist_pushf(list, "%s is %s here and %s on %s%s", name,
                         here ? here->shown : "not given", there ? there->shown : "not given",
                         comparison->name,
                         content ? ": what is in these files has not been compared" : "") ||
           error_no_memory(err);
}

static bool compare_things(const struct comparison *comparison, const struct visible_thing *here,
                           const struct visible_thing *there, struct error *err)
{
    for (size_t i = 0; i < here->count; i++) {
        const struct visible_property *own = &here->properties[i];
        const struct visible_property *other = find_property(there, own->key);
        if ((!other || strcmp(own->value, other->value) != 0) &&
            !say(comparison, here, own, other, err))
            return false;
    }
    for (size_t i = 0; i < there->count; i++)
        if (!find_property(here, there->properties[i].key) &&
            !say(comparison, there, NULL, &there->properties[i], err))
            return false;
    return true;
}

/* The one of list that stands as often behind its equals as things[index] does; -1: none. */
static ssize_t find_match(const struct visible_list *list, const struct visible_list *of,
                          size_t index)
{
    const struct visible_thing *thing = &of->things[index];
    size_t before = 0;
    for (size_t i = 0; i < index; i++)
        before += strcmp(of->things[i].option, thing->option) == 0 &&
                  strcmp(of->things[i].label, thing->label) == 0;
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->things[i].option, thing->option) == 0 &&
            strcmp(list->things[i].label, thing->label) == 0 && before-- == 0)
            return (ssize_t)i;
    return -1;
}

static bool say_missing(const struct comparison *comparison, const struct visible_thing *thing,
                        bool is_here, struct error *err)
{
    bool policy = visible_option_find(thing->option)->kind == VISIBLE_POLICY;
    const struct visible_property *first = thing->count > 0 ? &thing->properties[0] : NULL;
    autofree char *name = name_of(thing, "");
    /* An option whose value is all that there is to it. */
    bool valued = first && !*first->key && strcmp(first->shown, "on") != 0;
    autofree char *text =
        name ? string_format("%s%s%s", name, valued ? " " : "", valued ? first->shown : "") : NULL;
    if (!text)
        return error_no_memory(err);
    struct strlist *list = policy ? comparison->doubts : comparison->differences;
    return (is_here ? strlist_pushf(list, "%s is here and not on %s", text, comparison->name)
                    : strlist_pushf(list, "%s is on %s and not here", text, comparison->name)) ||
           error_no_memory(err);
}

/* Devices get their places in the order in which they come. */
static bool compare_order(const struct comparison *comparison, const struct visible_list *here,
                          const struct visible_list *there, struct error *err)
{
    ssize_t last = -1;
    for (size_t i = 0; i < here->count; i++) {
        if (strcmp(here->things[i].option, "device") != 0)
            continue;
        ssize_t match = find_match(there, here, i);
        autofree char *label = show(here->things[i].label);
        if (!label)
            return error_no_memory(err);
        if (match >= 0 && match < last)
            return strlist_pushf(comparison->differences,
                                 "the -device options are in another order here than on %s: %s",
                                 comparison->name, label) ||
                   error_no_memory(err);
        last = match >= 0 ? match : last;
    }
    return true;
}

bool visible_compare(const struct arglist *here, const struct arglist *there,
                     const char *there_name, struct strlist *differences, struct strlist *doubts,
                     struct error *err)
{
    autovisiblelist struct visible_list own = {0}, other = {0};
    const struct comparison comparison = {
        .name = there_name, .differences = differences, .doubts = doubts};
    if (!visible_list_read(here, &own, err))
        return false;
    if (!visible_list_read(there, &other, err))
        return error_wrap(err, "the command line of %s", there_name);
    for (size_t i = 0; i < own.count; i++) {
        ssize_t match = find_match(&other, &own, i);
        if (!(match >= 0 ? compare_things(&comparison, &own.things[i], &other.things[match], err)
                         : say_missing(&comparison, &own.things[i], true, err)))
            return false;
    }
    for (size_t i = 0; i < other.count; i++)
        if (find_match(&own, &other, i) < 0 &&
            !say_missing(&comparison, &other.things[i], false, err))
            return false;
    return compare_order(&comparison, &own, &other, err);
}
