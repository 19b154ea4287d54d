/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A list of what a guest sees for a peer, or a file:
 *
 *   {"version": 1, "things": [{"option", "label", "id",
 *                              "properties": [{"key", "value", "shown", "how"}]}]}
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "vm/argv_json.h"
#include "vm/visible_private.h"

#define PROPERTIES_MAX 256
#define TEXT_MAX 512 /* characters */

/* How a property is compared once its value is canonical: the rest is "seen". */
static const char *const hows[VISIBLE_HOW_COUNT] = {
    [VISIBLE_SEEN] = "seen",     [VISIBLE_BUS] = "bus",   [VISIBLE_CONTENT] = "content",
    [VISIBLE_SECRET] = "secret", [VISIBLE_TOLD] = "told",
};

static bool escape(char **text)
{
    char *escaped = argv_word_escape(*text);
    if (!escaped)
        return false;
    if (strlen(escaped) > TEXT_MAX)
        escaped[TEXT_MAX] = '\0';
    free(*text);
    *text = escaped;
    return true;
}

bool visible_escape_names(struct visible_list *list, struct error *err)
{
    bool good = true;
    for (size_t i = 0; i < list->count && good; i++) {
        struct visible_thing *thing = &list->things[i];
        good = escape(&thing->label) && escape(&thing->id);
        for (size_t k = 0; k < thing->count && good; k++)
            good = escape(&thing->properties[k].key);
    }
    return good || error_no_memory(err);
}

static json_t *property_to_json(const struct visible_property *property)
{
    const char *how = hows[property->how] ? hows[property->how] : hows[VISIBLE_SEEN];
    return json_pack("{s:s, s:s, s:s, s:s}", "key", property->key, "value", property->value,
                     "shown", property->shown, "how", how);
}

static json_t *thing_to_json(const struct visible_thing *thing)
{
    json_t *properties = json_array();
    for (size_t i = 0; i < thing->count && properties; i++)
        if (json_array_append_new(properties, property_to_json(&thing->properties[i])) != 0) {
            json_decref(properties);
            properties = NULL;
        }
    return json_pack("{s:s, s:s, s:s, s:o}", "option", thing->option, "label", thing->label, "id",
                     thing->id, "properties", properties);
}

json_t *visible_to_json(const struct visible_list *list)
{
    json_t *things = json_array();
    for (size_t i = 0; i < list->count && things; i++)
        if (json_array_append_new(things, thing_to_json(&list->things[i])) != 0) {
            json_decref(things);
            things = NULL;
        }
    return json_pack("{s:i, s:o}", "version", (int)list->version, "things", things);
}

static bool is_text(const char *text)
{
    return strlen(text) <= TEXT_MAX && (!*text || text_is_plain(text));
}

/* "sha256:HEX", "size:DIGITS" or "name:…". */
static bool is_content(const char *value)
{
    const char *rest = strchr(value, ':');
    size_t length = rest ? strlen(rest + 1) : 0;
    if (string_starts_with(value, "sha256:"))
        return length == 64 && strspn(rest + 1, "0123456789abcdef") == 64;
    if (string_starts_with(value, "size:"))
        return length > 0 && length < 20 && strspn(rest + 1, "0123456789") == length;
    return string_starts_with(value, "name:");
}

static bool take_property(json_t *json, const char *what, struct visible_thing *thing,
                          struct error *err)
{
    const char *key, *value, *shown, *how;
    if (!json_take(json, err, what, "{s:s, s:s, s:s, s:s}", "key", &key, "value", &value, "shown",
                   &shown, "how", &how))
        return false;
    enum visible_how kind = 0;
    while (kind < VISIBLE_HOW_COUNT && !(hows[kind] && strcmp(hows[kind], how) == 0))
        kind++;
    if (kind == VISIBLE_HOW_COUNT || !is_text(key) || !is_text(value) || !is_text(shown) ||
        (kind == VISIBLE_CONTENT && !is_content(value)) || visible_thing_get(thing, key))
        return error_set(err, STATUS_DATA, "%s is not what a guest sees", what);
    struct visible_property *properties =
        reallocarray(thing->properties, thing->count + 1, sizeof(*properties));
    if (!properties)
        return error_no_memory(err);
    thing->properties = properties;
    struct visible_property *property = &properties[thing->count++];
    *property = (struct visible_property){
        .key = strdup(key), .value = strdup(value), .shown = strdup(shown), .how = kind};
    return (property->key && property->value && property->shown) || error_no_memory(err);
}

static bool take_thing(json_t *json, const char *what, struct visible_list *list, struct error *err)
{
    const char *name, *label, *id;
    json_t *properties, *entry;
    size_t i;
    if (!json_take(json, err, what, "{s:s, s:s, s:s, s:o}", "option", &name, "label", &label, "id",
                   &id, "properties", &properties))
        return false;
    const struct visible_option *option = visible_option_find(name);
    if (!option || !is_text(label) || !is_text(id) || !json_is_array(properties) ||
        json_array_size(properties) > PROPERTIES_MAX)
        return error_set(err, STATUS_DATA, "%s is not what a guest sees", what);
    struct visible_thing *thing = visible_list_add(list, option->name, label, id, err);
    if (!thing)
        return false;
    json_array_foreach(properties, i, entry)
    {
        if (!take_property(entry, what, thing, err))
            return false;
    }
    return true;
}

bool visible_from_json(json_t *json, const char *what, struct visible_list *out, struct error *err)
{
    autovisiblelist struct visible_list list = {0};
    json_int_t version;
    json_t *things, *entry;
    size_t i;
    if (!json_take(json, err, what, "{s:I, s:o}", "version", &version, "things", &things))
        return false;
    if (version < 0 || version > 65535 || !json_is_array(things) ||
        json_array_size(things) > VISIBLE_THINGS_MAX)
        return error_set(err, STATUS_DATA, "%s is not what a guest sees", what);
    list.version = (unsigned)version;
    /* Of another version the options may be others, too; it is not compared. */
    if (list.version == VISIBLE_TABLE_VERSION)
        json_array_foreach(things, i, entry)
        {
            if (!take_thing(entry, what, &list, err))
                return false;
        }
    *out = list;
    list = (struct visible_list){0};
    return true;
}
