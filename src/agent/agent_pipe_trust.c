/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The frame that says who is trusted: as the files have it, without what authorities have vouched
 * for since.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/agent_pipe.h"
#include "base/cleanup.h"

#define AUTHORITIES_MAX 4096

/* The place of the authority in the list, which gets it if it is not there; -1: no memory. Entries
 * of one share it. */
static json_int_t place_of(const struct authority *authority, json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_string_value(json_object_get(json_array_get(list, i), "name")),
                   authority->name) == 0)
            return (json_int_t)i;
    autojson json_t *certificates = json_from_names(&authority->certificates);
    if (!certificates ||
        json_array_append_new(list, json_pack("{s:s, s:O}", "name", authority->name, "certificates",
                                              certificates)) != 0)
        return -1;
    return (json_int_t)json_array_size(list) - 1;
}

static json_t *entry_to_json(const struct trust_entry *entry, json_t *authorities)
{
    autojson json_t *pins = json_array();
    json_int_t authority = -1;
    for (size_t i = 0; i < entry->pin_count && !entry->authority; i++)
        if (json_array_append_new(pins, json_string(entry->pins[i])) != 0)
            return NULL;
    if (entry->authority && (authority = place_of(entry->authority, authorities)) < 0)
        return NULL;
    autojson json_t *json =
        json_pack("{s:s, s:O, s:I}", "name", entry->name, "pins", pins, "expires",
                  (json_int_t)(entry->authority ? entry->authority->expires : entry->expires));
    if (json && entry->authority &&
        json_object_set_new(json, "authority", json_integer(authority)) != 0)
        return NULL;
    return STEAL(json);
}

json_t *agent_trust_to_json(const struct trust *trust)
{
    autojson json_t *list = json_array(), *authorities = json_array();
    for (size_t i = 0; i < trust->count; i++)
        if (json_array_append_new(list, entry_to_json(&trust->entries[i], authorities)) != 0)
            return NULL;
    if (!list || !authorities)
        return NULL;
    return json_array_size(authorities) > 0
               ? json_pack("{s:O, s:O}", "trust", list, "authorities", authorities)
               : json_pack("{s:O}", "trust", list);
}

/* Authorities of a frame, while its entries are read. */
struct authorities {
    struct authority **items;
    size_t count;
};

static void authorities_free(struct authorities *authorities)
{
    for (size_t i = 0; i < authorities->count; i++)
        authority_free(authorities->items[i]);
    free(authorities->items);
}

static struct authority *authority_from_json(json_t *json, struct error *err)
{
    const char *name;
    json_t *list;
    autostrlist struct strlist certificates = {0};
    if (!json_take(json, err, "frame", "{s:s, s:o}", "name", &name, "certificates", &list) ||
        !json_take_names(list, "certificates", text_is_plain, &certificates, err))
        return NULL;
    if (!name_is_vm(name)) {
        error_set(err, STATUS_DATA, "frame: not an authority");
        return NULL;
    }
    return authority_new(name, &certificates, TRUST_NEVER, err);
}

/* By their names they are told apart when they are written. */
static bool is_there(const struct authorities *authorities, const char *name)
{
    for (size_t i = 0; i < authorities->count; i++)
        if (strcmp(authorities->items[i]->name, name) == 0)
            return true;
    return false;
}

static bool read_authorities(json_t *list, struct authorities *authorities, struct error *err)
{
    json_t *item;
    size_t i;
    if (!json_is_array(list) || json_array_size(list) < 1 ||
        json_array_size(list) > AUTHORITIES_MAX)
        return error_set(err, STATUS_DATA, "frame: authorities are no list");
    authorities->items = calloc(json_array_size(list) + 1, sizeof(struct authority *));
    if (!authorities->items)
        return error_no_memory(err);
    json_array_foreach(list, i, item)
    {
        struct authority *authority = authority_from_json(item, err);
        if (!authority)
            return false;
        bool twice = is_there(authorities, authority->name);
        authorities->items[authorities->count++] = authority;
        if (twice)
            return error_set(err, STATUS_DATA, "frame: an authority twice");
    }
    return true;
}

static bool entry_from_json(json_t *json, const struct authorities *authorities,
                            struct trust_entry *entry, struct error *err)
{
    const char *name;
    json_t *pins;
    json_int_t expires, place = 0;
    autostrlist struct strlist list = {0};
    if (!json_take(json, err, "frame", "{s:s, s:o, s?I, s:I}", "name", &name, "pins", &pins,
                   "authority", &place, "expires", &expires) ||
        !json_take_names(pins, "pins", pin_is_valid, &list, err))
        return false;
    bool has_authority = json_object_get(json, "authority") != NULL;
    bool has_pins = !has_authority && list.count >= 1 && list.count <= TRUST_PINS_MAX;
    bool is_vouched_for =
        has_authority && place >= 0 && (size_t)place < authorities->count && list.count == 0;
    if (!name_is_vm(name) || (!has_pins && !is_vouched_for) || expires < 0)
        return error_set(err, STATUS_DATA, "frame: not a trust entry");
    for (size_t i = 0; i < list.count; i++)
        memcpy(entry->pins[i], list.items[i], PIN_SIZE);
    entry->pin_count = list.count;
    entry->expires = expires;
    struct authority *authority = has_authority ? authorities->items[place] : NULL;
    if (authority && authority->holders > 1 && authority->expires != expires)
        return error_set(err, STATUS_DATA, "frame: an authority with two ends");
    entry->authority = authority_hold(authority);
    if (authority)
        authority->expires = expires; /* that of all its entries */
    entry->name = strdup(name);
    return entry->name || error_no_memory(err);
}

bool agent_trust_from_json(json_t *frame, struct trust *trust, struct error *err)
{
    autotrust struct trust result = {0};
    struct authorities authorities __attribute__((cleanup(authorities_free))) = {0};
    json_t *list, *vouching = NULL, *item;
    size_t i;
    if (!json_take(frame, err, "frame", "{s:o, s?o}", "trust", &list, "authorities", &vouching))
        return false;
    if (!json_is_array(list))
        return error_set(err, STATUS_DATA, "frame: trust is no list");
    if (vouching && !read_authorities(vouching, &authorities, err))
        return false;
    result.entries = calloc(json_array_size(list) + 1, sizeof(*result.entries));
    if (!result.entries)
        return error_no_memory(err);
    json_array_foreach(list, i, item)
    {
        result.count++; /* also half of one is freed */
        if (!entry_from_json(item, &authorities, &result.entries[i], err))
            return false;
    }
    for (i = 0; i < authorities.count; i++)
        if (authorities.items[i]->holders == 1)
            return error_set(err, STATUS_DATA, "frame: an authority of nobody");
    *trust = result;
    result = (struct trust){0};
    return true;
}
