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

/* Is that one to be written? */
static bool must_write(const struct keyval *keys, const struct strlist *off, const char *property)
{
    return strlist_contains(off, property) && !device_value_is_off(keyval_get(keys, property));
}

static bool is_first(const struct keyval *keys, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (strcmp(keys->pairs[i].key, keys->pairs[index].key) == 0)
            return false;
    return true;
}

static char *write_pieces(const struct keyval *keys, const struct strlist *off)
{
    autostrbuf struct strbuf text = {0};
    for (size_t i = 0; i < keys->count; i++) {
        const struct keyval_pair *pair = &keys->pairs[i];
        const char *comma = text.length > 0 ? "," : "";
        if (!must_write(keys, off, pair->key))
            strbuf_printf(&text, "%s%s", comma, pair->raw);
        else if (is_first(keys, i))
            strbuf_printf(&text, "%s%s=off", comma, pair->key);
    }
    for (size_t i = 0; i < off->count; i++)
        if (!keyval_get(keys, off->items[i]))
            strbuf_printf(&text, ",%s=off", off->items[i]);
    return strbuf_steal(&text);
}

/* Properties that are "on", "off" or "auto" and not boolean, which QEMU does not take for each
 * other in JSON: DEFINE_PROP_ON_OFF_AUTO in QEMU hw/virtio/vhost-vsock-common.c. */
static bool is_word(const json_t *device, const char *property)
{
    const json_t *value = json_object_get(device, property);
    return value ? json_is_string(value) : strcmp(property, "seqpacket") == 0;
}

static char *write_members(const char *value, const struct keyval *keys, const struct strlist *off)
{
    autojson json_t *device = json_parse_qmp(value, strlen(value), DEVICE_JSON_MAX, NULL);
    for (size_t i = 0; device && i < off->count; i++) {
        const char *property = off->items[i];
        if (must_write(keys, off, property) &&
            json_object_set_new(device, property,
                                is_word(device, property) ? json_string("off") : json_false()))
            return NULL;
    }
    return device ? json_dumps(device, JSON_COMPACT) : NULL;
}

char *device_value_switch_off(const char *value, const struct keyval *keys,
                              const struct strlist *off)
{
    bool changes = false;
    for (size_t i = 0; i < off->count; i++)
        changes = changes || must_write(keys, off, off->items[i]);
    if (!changes)
        return strdup(value);
    return keyval_is_json(value) ? write_members(value, keys, off) : write_pieces(keys, off);
}
