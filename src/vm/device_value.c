/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/device_value.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "vm/visible_private.h"

#define DEVICE_JSON_MAX ((size_t)256 << 10) /* as visible_keys */

bool device_value_read(const char *value, struct keyval *keys, struct error *err)
{
    return visible_keys(value, "driver", keys, err) ||
           error_wrap(err, "QEMU's option -device %s", value);
}

bool device_value_unread(const struct keyval *keys)
{
    return keyval_get(keys, "") != NULL;
}

static bool value_is(const char *value, const char *wanted)
{
    autofree char *text = value ? visible_canonical(value, VISIBLE_SEEN) : NULL;
    return text && strcmp(text, wanted) == 0;
}

bool device_value_is_on(const char *value)
{
    return value_is(value, "on");
}

bool device_value_is_off(const char *value)
{
    return value_is(value, "off");
}

/* Properties to be switched off. */
struct switches {
    const struct keyval *keys; /* what is given */
    const struct strlist *off;
    const struct strlist *over; /* only if they are given */
};

static bool must_replace(const struct switches *switches, const char *property)
{
    const char *given = keyval_get(switches->keys, property);
    return given && !device_value_is_off(given) &&
           (strlist_contains(switches->off, property) ||
            strlist_contains(switches->over, property));
}

static bool must_change(const struct switches *switches)
{
    for (size_t i = 0; i < switches->off->count; i++)
        if (!keyval_get(switches->keys, switches->off->items[i]))
            return true;
    for (size_t i = 0; i < switches->keys->count; i++)
        if (must_replace(switches, switches->keys->pairs[i].key))
            return true;
    return false;
}

static bool is_first(const struct keyval *keys, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (strcmp(keys->pairs[i].key, keys->pairs[index].key) == 0)
            return false;
    return true;
}

static char *write_pieces(const struct switches *switches)
{
    autostrbuf struct strbuf text = {0};
    for (size_t i = 0; i < switches->keys->count; i++) {
        const struct keyval_pair *pair = &switches->keys->pairs[i];
        const char *comma = text.length > 0 ? "," : "";
        if (!must_replace(switches, pair->key))
            strbuf_printf(&text, "%s%s", comma, pair->raw);
        else if (is_first(switches->keys, i))
            strbuf_printf(&text, "%s%s=off", comma, pair->key);
    }
    for (size_t i = 0; i < switches->off->count; i++)
        if (!keyval_get(switches->keys, switches->off->items[i]))
            strbuf_printf(&text, ",%s=off", switches->off->items[i]);
    return strbuf_steal(&text);
}

/* QEMU does not take the one for the other in JSON. Words, "on", "off" or "auto", and not boolean:
 * DEFINE_PROP_ON_OFF_AUTO in QEMU hw/virtio/vhost-vsock-common.c. */
static bool write_member(json_t *device, const char *property)
{
    const json_t *value = json_object_get(device, property);
    bool is_word = value ? json_is_string(value) : strcmp(property, "seqpacket") == 0;
    return json_object_set_new(device, property, is_word ? json_string("off") : json_false()) == 0;
}

static char *write_members(const char *value, const struct switches *switches)
{
    autojson json_t *device = json_parse_qmp(value, strlen(value), DEVICE_JSON_MAX, NULL);
    bool good = device != NULL;
    for (size_t i = 0; good && i < switches->keys->count; i++)
        if (must_replace(switches, switches->keys->pairs[i].key))
            good = write_member(device, switches->keys->pairs[i].key);
    for (size_t i = 0; good && i < switches->off->count; i++)
        if (!keyval_get(switches->keys, switches->off->items[i]))
            good = write_member(device, switches->off->items[i]);
    return good ? json_dumps(device, JSON_COMPACT) : NULL;
}

char *device_value_switch_off(const char *value, const struct keyval *keys,
                              const struct strlist *off, const struct strlist *over)
{
    struct switches switches = {.keys = keys, .off = off, .over = over};
    if (!must_change(&switches))
        return strdup(value);
    return keyval_is_json(value) ? write_members(value, &switches) : write_pieces(&switches);
}
