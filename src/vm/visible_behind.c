/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a guest sees of that which stands behind a device: that its disk cannot be written to, and
 * how many queues its network card has.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vm/visible_private.h"

#define NODES_MAX 8 /* behind each other */

static bool is_on(const struct keyval *keys, const char *key, bool *on, struct error *err)
{
    const char *value = keyval_get(keys, key);
    autofree char *plain = value ? visible_canonical(value, VISIBLE_SEEN) : NULL;
    *on = *on || (plain && strcmp(plain, "on") == 0);
    return !value || plain || error_no_memory(err);
}

/* OPTION.NAME.KEY=VALUE of -set. */
static bool apply_set(const struct visible_reading *reading, const char *option, const char *name,
                      struct keyval *keys, struct error *err)
{
    autofree char *prefix = string_format("%s.%s.", option, name);
    if (!prefix)
        return error_no_memory(err);
    for (size_t i = 0; i < reading->arguments->count; i++) {
        const struct arg_item *item = &reading->arguments->items[i];
        if (!item->option || strcmp(item->option->name, "set") != 0 ||
            !string_starts_with(item->value, prefix))
            continue;
        const char *at = item->value + strlen(prefix), *equals = strchr(at, '=');
        autofree char *key = equals ? strndup(at, (size_t)(equals - at)) : NULL;
        if (equals && !(key ? keyval_set(keys, key, equals + 1, err) : error_no_memory(err)))
            return false;
    }
    return true;
}

static bool find(const struct visible_reading *reading, const char *option, const char *id_key,
                 const char *name, struct keyval *keys, struct error *err)
{
    for (size_t i = 0; i < reading->arguments->count && keys->count == 0; i++) {
        const struct arg_item *item = &reading->arguments->items[i];
        autokeyval struct keyval found = {0};
        if (!item->option || strcmp(item->option->name, option) != 0)
            continue;
        if (!visible_keys(item->value, NULL, &found, err))
            return error_wrap(err, "QEMU's option %s", item->text);
        const char *own = keyval_get(&found, id_key);
        if (!own || strcmp(own, name) != 0)
            continue;
        if (!apply_set(reading, option, name, &found, err))
            return false;
        *keys = found;
        found = (struct keyval){0};
    }
    return true;
}

bool visible_node_find(const struct visible_reading *reading, const char *name, struct keyval *keys,
                       struct error *err)
{
    return find(reading, "drive", "id", name, keys, err) &&
           find(reading, "blockdev", "node-name", name, keys, err);
}

/* What is read-only anywhere down to the file is that for the device, or QEMU does not start: it
 * does not let a device write through a node to one that is read-only (QEMU block.c). */
static bool add_read_only(struct visible_reading *reading, struct visible_thing *thing,
                          const char *name, struct error *err)
{
    static const char *const keys_of[] = {"readonly", "read-only", "file.read-only"};
    /* They play what cannot be written to, whatever is behind them. */
    static const char *const others[] = {"ide-cd", "scsi-cd"};
    autofree char *node = strdup(name);
    bool read_only = false, end = false;
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
        if (strcmp(thing->label, others[i]) == 0)
            return true;
    for (int depth = 0; depth < NODES_MAX && node && !end && !read_only; depth++) {
        autokeyval struct keyval keys = {0};
        if (!visible_node_find(reading, node, &keys, err))
            return false;
        for (size_t i = 0; i < sizeof(keys_of) / sizeof(*keys_of); i++)
            if (!is_on(&keys, keys_of[i], &read_only, err))
                return false;
        const char *media = keyval_get(&keys, "media"), *next = keyval_get(&keys, "file");
        bool is_node = keyval_get(&keys, "node-name") != NULL; /* of -drive, file is a file */
        read_only = read_only || (!is_node && media && strcmp(media, "cdrom") == 0);
        end = !next || !is_node;
        free(node);
        node = end ? NULL : strdup(next);
        if (!end && !node)
            return error_no_memory(err);
    }
    return visible_thing_set(thing, "drive.read-only", read_only ? "on" : "off", VISIBLE_SEEN, err);
}

/* Pairs of queues: "queues", or one for each of the descriptors in "fds" (net_init_tap in QEMU
 * net/tap.c); else one. */
static bool set_queues(struct visible_thing *thing, const struct keyval *keys, struct error *err)
{
    const char *queues = keyval_get(keys, "queues"), *fds = keyval_get(keys, "fds");
    size_t count = 1;
    for (const char *p = fds; p && (p = strchr(p, ':')); p++)
        count++;
    autofree char *counted = string_format("%zu", count);
    return counted ? visible_thing_set(thing, "netdev.queues", queues ? queues : counted,
                                       VISIBLE_SEEN, err)
                   : error_no_memory(err);
}

/* Only of cards that have several: hw/net/virtio-net.c takes max_queue_pairs from the netdev,
 * whether mq is on or not, and refuses a stream with another number. */
static bool add_queues(struct visible_reading *reading, struct visible_thing *thing,
                       const char *name, struct error *err)
{
    autokeyval struct keyval keys = {0};
    if (!string_starts_with(thing->label, "virtio-net"))
        return true;
    return find(reading, "netdev", "id", name, &keys, err) && set_queues(thing, &keys, err);
}

bool visible_add_behind(struct visible_reading *reading, struct visible_thing *thing,
                        const struct keyval *keys, struct error *err)
{
    static const struct {
        const char *key;
        bool (*add)(struct visible_reading *reading, struct visible_thing *thing, const char *name,
                    struct error *err);
    } rows[] = {{"drive", add_read_only}, {"netdev", add_queues}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const char *name = keyval_get(keys, rows[i].key);
        if (name && !rows[i].add(reading, thing, name, err))
            return false;
    }
    return true;
}

bool visible_add_nic_queues(struct visible_reading *reading, struct visible_thing *thing,
                            const struct keyval *keys, struct error *err)
{
    const char *model = keyval_get(keys, "model"), *name = keyval_get(keys, "netdev");
    autokeyval struct keyval found = {0};
    if (!string_starts_with(model ? visible_nic_model(model) : reading->board->nic, "virtio-net"))
        return true;
    return (!name || find(reading, "netdev", "id", name, &found, err)) &&
           set_queues(thing, name ? &found : keys, err);
}
