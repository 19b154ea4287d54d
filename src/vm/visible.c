/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The table, and lists of things.
 */
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

static const struct visible_key keys[] = {
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

const struct visible_option *visible_option_rows(size_t *count)
{
    *count = sizeof(options) / sizeof(*options);
    return options;
}

const struct visible_key *visible_key_rows(size_t *count)
{
    *count = sizeof(keys) / sizeof(*keys);
    return keys;
}

const struct visible_default *visible_default_rows(size_t *count)
{
    *count = sizeof(defaults) / sizeof(*defaults);
    return defaults;
}

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
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
        size_t length = strlen(keys[i].key);
        if (strcmp(keys[i].option, option) == 0 && strncmp(keys[i].key, key, length) == 0 &&
            (!key[length] || key[length] == '.'))
            return keys[i].how;
    }
    return otherwise;
}

bool visible_name_fits(const char *name, const char *row)
{
    size_t length = strlen(row);
    bool prefix = length == 0 || row[length - 1] == '-';
    return prefix ? strncmp(name, row, length) == 0 : strcmp(name, row) == 0;
}

const char *visible_default_find(const char *option, const char *label, const char *key)
{
    const char *name = strcmp(option, "device") == 0 ? label : option;
    for (size_t i = 0; i < sizeof(defaults) / sizeof(*defaults); i++)
        if (visible_name_fits(name, defaults[i].option) && strcmp(defaults[i].key, key) == 0)
            return defaults[i].value;
    return NULL;
}

static void property_free(struct visible_property *property)
{
    free(property->key);
    free(property->value);
    free(property->shown);
    free(property->path);
}

void visible_list_free(struct visible_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        for (size_t j = 0; j < list->things[i].count; j++)
            property_free(&list->things[i].properties[j]);
        free(list->things[i].properties);
        free(list->things[i].label);
        free(list->things[i].id);
    }
    free(list->things);
    *list = (struct visible_list){0};
}

struct visible_thing *visible_list_add(struct visible_list *list, const char *option,
                                       const char *label, const char *id, struct error *err)
{
    struct visible_thing *things = reallocarray(list->things, list->count + 1, sizeof(*things));
    autofree char *own_label = strdup(label), *own_id = strdup(id);
    if (things)
        list->things = things;
    if (!things || !own_label || !own_id) {
        error_no_memory(err);
        return NULL;
    }
    things[list->count] =
        (struct visible_thing){.option = option, .label = STEAL(own_label), .id = STEAL(own_id)};
    return &things[list->count++];
}

struct visible_thing *visible_list_find(const struct visible_list *list, const char *option,
                                        const char *label)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->things[i].option, option) == 0 &&
            strcmp(list->things[i].label, label) == 0)
            return &list->things[i];
    return NULL;
}

const struct visible_property *visible_thing_get(const struct visible_thing *thing, const char *key)
{
    for (size_t i = 0; i < thing->count; i++)
        if (strcmp(thing->properties[i].key, key) == 0)
            return &thing->properties[i];
    return NULL;
}

void visible_thing_unset(struct visible_thing *thing, const char *key)
{
    for (size_t i = 0; i < thing->count; i++)
        if (strcmp(thing->properties[i].key, key) == 0) {
            property_free(&thing->properties[i]);
            thing->count--;
            memmove(&thing->properties[i], &thing->properties[i + 1],
                    (thing->count - i) * sizeof(*thing->properties));
            return;
        }
}

char *visible_show(const char *text)
{
    char *shown = argv_word_escape(text);
    if (shown && strlen(shown) > SHOWN_MAX)
        memcpy(shown + SHOWN_MAX - 3, "...", sizeof("..."));
    return shown;
}

/* What stands in messages: of a file its name, of a secret nothing. */
static char *shown_of(const char *value, enum visible_how how)
{
    const char *slash = how == VISIBLE_CONTENT ? strrchr(value, '/') : NULL;
    return how == VISIBLE_SECRET ? strdup(VISIBLE_NOT_TOLD)
                                 : visible_show(slash ? slash + 1 : value);
}

bool visible_thing_set(struct visible_thing *thing, const char *key, const char *value,
                       enum visible_how how, struct error *err)
{
    if (how == VISIBLE_IGNORED)
        return true;
    autofree char *salt = string_format("%s %s", thing->option, key);
    struct visible_property property = {.key = strdup(key), .how = how};
    property.value = how != VISIBLE_SECRET             ? visible_canonical(value, how)
                     : strstr(value, VISIBLE_NOT_TOLD) ? strdup("") /* it is not known */
                     : salt                            ? visible_digest(salt, value)
                                                       : NULL;
    property.shown = shown_of(value, how);
    property.path = how == VISIBLE_CONTENT ? strdup(value) : NULL;
    struct visible_property *properties =
        reallocarray(thing->properties, thing->count + 1, sizeof(*properties));
    if (properties)
        thing->properties = properties;
    if (!properties || !property.key || !property.value || !property.shown ||
        (how == VISIBLE_CONTENT && !property.path)) {
        property_free(&property);
        return error_no_memory(err);
    }
    visible_thing_unset(thing, key);
    thing->properties[thing->count++] = property;
    return true;
}

bool visible_thing_set_keys(struct visible_thing *thing, const struct keyval *all,
                            enum visible_how otherwise, struct error *err)
{
    for (size_t i = 0; i < all->count; i++) {
        const struct keyval_pair *pair = &all->pairs[i];
        enum visible_how how = visible_key_how(thing->option, pair->key, otherwise);
        if (!visible_thing_set(thing, pair->key, pair->value, how, err))
            return false;
    }
    return true;
}
