/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/device_use.h"

#include <string.h>

#include "base/cleanup.h"
#include "vm/config_files.h"
#include "vm/visible_private.h"

static bool is_on(const char *value)
{
    autofree char *text = value ? visible_canonical(value, VISIBLE_SEEN) : NULL;
    return text && strcmp(text, "on") == 0;
}

/* net_init_tap_one in QEMU net/tap.c. */
static bool tap_has_vhost(const struct keyval *keys)
{
    const char *vhost = keyval_get(keys, "vhost");
    return vhost ? is_on(vhost)
                 : keyval_get(keys, "vhostfd") || keyval_get(keys, "vhostfds") ||
                       is_on(keyval_get(keys, "vhostforce"));
}

/* Without headers none of what a kernel can do with them is used. */
static bool tap_has_headers(const struct keyval *keys)
{
    const char *headers = keyval_get(keys, "vnet_hdr");
    return !headers || is_on(headers);
}

/* net_init_passt in QEMU 10.1 net/passt.c. */
static bool passt_has_vhost(const struct keyval *keys)
{
    return is_on(keyval_get(keys, "vhost-user"));
}

/* What a type of network or a driver puts behind it. */
struct use {
    const char *name;
    bool begins; /* with that name */
    const char *backend;
    bool (*applies)(const struct keyval *keys); /* NULL: always */
};

/* enum NetClientDriver in QEMU qapi/net.json. A tap that another program opened (fd=) is one, too,
 * and so is a macvtap, which answers the same questions. */
static const struct use networks[] = {
    {"tap", false, "tun", tap_has_headers},
    {"tap", false, "vhost-net", tap_has_vhost},
    {"bridge", false, "tun", NULL},
    {"vhost-user", false, BACKEND_VHOST_USER, NULL},
    {"passt", false, BACKEND_VHOST_USER, passt_has_vhost},
    {"vhost-vdpa", false, "vhost-vdpa", NULL},
    {0},
};

/* For PCI in its three variants, and for virtio-mmio, of which microvm has slots. */
static const struct use drivers[] = {
    {"vhost-vsock-", true, "vhost-vsock", NULL},
    {"vhost-scsi", true, "vhost-scsi", NULL},
    {"vhost-vdpa-device", true, "vhost-vdpa", NULL},
    {"vhost-user-", true, BACKEND_VHOST_USER, NULL},
    {0},
};

/* The options that may have one. */
struct source {
    const char *option;
    const char *implied;
    const struct use *uses;
};

static const struct source sources[] = {
    {"netdev", "type", networks},
    {"nic", "type", networks},
    {"net", "type", networks},
    {"device", "driver", drivers},
};

static bool use_names(const struct use *use, const char *name)
{
    return use->begins ? string_starts_with(name, use->name) : strcmp(name, use->name) == 0;
}

/* JSON that QEMU's parser takes and ours does not, with single quotes for one. */
static bool check_unread(const struct source *source, const char *text, struct error *err)
{
    bool relevant = strstr(text, "\\u") != NULL;
    for (const struct use *use = source->uses; use->name; use++)
        relevant = relevant || strstr(text, use->name);
    return !relevant || error_set(err, STATUS_USAGE,
                                  "QEMU's option -%s %s: this JSON cannot be read here: write "
                                  "it with double quotes and each member once",
                                  source->option, text);
}

bool device_use_apply_sets(const struct arglist *list, const char *group, struct keyval *keys,
                           struct error *err)
{
    const char *id = keyval_get(keys, "id");
    autofree char *prefix = string_format("%s.%s.", group, id ? id : "");
    const struct arg_item *item;
    if (!prefix)
        return error_no_memory(err);
    for (size_t cursor = 0; id && (item = arglist_next(list, QEMU_OPTION_SET, &cursor));) {
        const char *equals = strchr(item->value, '=');
        size_t length = strlen(prefix);
        if (!equals || !string_starts_with(item->value, prefix) || equals < item->value + length)
            continue;
        autofree char *key = strndup(item->value + length, (size_t)(equals - item->value) - length);
        if (!key)
            return error_no_memory(err);
        if (!keyval_set(keys, key, equals + 1, err))
            return false;
    }
    return true;
}

static bool add_uses(const struct source *source, const struct keyval *keys,
                     struct strlist *backends, struct error *err)
{
    const char *name = keyval_get(keys, source->implied);
    for (const struct use *use = source->uses; name && use->name; use++)
        if (use_names(use, name) && (!use->applies || use->applies(keys)) &&
            !strlist_push(backends, use->backend))
            return error_no_memory(err);
    return true;
}

static bool read_option(const struct arglist *list, const struct arg_item *item,
                        const struct source *source, struct strlist *backends, struct error *err)
{
    autokeyval struct keyval keys = {0};
    if (!visible_keys(item->value, source->implied, &keys, err))
        return error_wrap(err, "QEMU's option %s %s", item->text, item->value);
    if (keyval_is_json(item->value))
        return keyval_get(&keys, "") ? check_unread(source, item->value, err)
                                     : add_uses(source, &keys, backends, err);
    return device_use_apply_sets(list, source->option, &keys, err) &&
           add_uses(source, &keys, backends, err);
}

bool device_use_read(const struct arglist *list, struct strlist *backends, struct error *err)
{
    autoarglist struct arglist expanded = {0};
    autostrlist struct strlist found = {0};
    if (!config_files_expand(list, &expanded, err))
        return false;
    for (size_t i = 0; i < expanded.count; i++) {
        const struct arg_item *item = &expanded.items[i];
        for (size_t j = 0; item->option && j < sizeof(sources) / sizeof(*sources); j++)
            if (strcmp(item->option->name, sources[j].option) == 0 &&
                !read_option(&expanded, item, &sources[j], &found, err))
                return false;
    }
    strlist_sort(&found);
    *backends = found;
    found = (struct strlist){0};
    return true;
}
