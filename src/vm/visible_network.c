/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whether the network behind a virtio-net hands over packets with headers (has_vnet_hdr of
 * NetClientInfo in QEMU): the source tells that it has, and a destination without refuses the guest
 * (virtio_net_vnet_post_load). e1000e, igb and vmxnet3 do not mind (measured with 7.2 and 10.0).
 */
#include <string.h>

#include "base/cleanup.h"
#include "device/backend_table.h"
#include "vm/device_use.h"
#include "vm/visible_private.h"

#define WITH "with headers"
#define WITHOUT "without headers"

static bool is_given(const struct keyval *keys, const char *key, const char *wanted)
{
    const char *value = keyval_get(keys, key);
    autofree char *text = value ? visible_canonical(value, VISIBLE_SEEN) : NULL;
    return text && strcmp(text, wanted) == 0;
}

/* net_init_tap and net_init_bridge in QEMU net/tap.c: of one that another program opened QEMU asks
 * the kernel. */
static const char *of_tap(const struct keyval *keys)
{
    if (keyval_get(keys, "fd") || keyval_get(keys, "fds"))
        return VISIBLE_NOT_TOLD;
    return is_given(keys, "vnet_hdr", "off") ? WITHOUT : WITH;
}

static const char *of_passt(const struct keyval *keys)
{
    return is_given(keys, "vhost-user", "on") ? WITH : WITHOUT;
}

static const char *always(const struct keyval *keys)
{
    return WITH;
}

/* Netmap's depend on its port. Of all others (user, socket, stream, dgram, l2tpv3, vde, hubport,
 * af-xdp) none has them. */
static const char *not_known(const struct keyval *keys)
{
    return VISIBLE_NOT_TOLD;
}

static const char *of_network(const struct keyval *keys)
{
    static const struct {
        const char *type;
        const char *(*tell)(const struct keyval *keys);
    } types[] = {{"tap", of_tap},        {"bridge", always},  {"vhost-user", always},
                 {"vhost-vdpa", always}, {"passt", of_passt}, {"netmap", not_known},
                 {"", not_known} /* JSON that cannot be read here */};
    const char *type = keyval_get(keys, "type");
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
        if (strcmp(types[i].type, type ? type : "") == 0)
            return types[i].tell(keys);
    return WITHOUT;
}

/* *headers: of the -netdev of that id. */
static bool find_network(const struct visible_reading *reading, const char *id,
                         const char **headers, struct error *err)
{
    const struct arg_item *item;
    *headers = VISIBLE_NOT_TOLD;
    for (size_t cursor = 0;
         (item = arglist_next(reading->arguments, QEMU_OPTION_NETDEV, &cursor));) {
        autokeyval struct keyval keys = {0};
        if (!visible_keys(item->value, "type", &keys, err))
            return error_wrap(err, "QEMU's option %s %s", item->text, item->value);
        const char *own = keyval_get(&keys, "id");
        if (!own || strcmp(own, id) != 0)
            continue;
        if (!keyval_is_json(item->value) &&
            !device_use_apply_sets(reading->arguments, "netdev", &keys, err))
            return false;
        *headers = of_network(&keys);
    }
    return true;
}

bool visible_set_network(const struct visible_reading *reading, const struct keyval *keys,
                         bool direct, struct visible_thing *thing, struct error *err)
{
    const char *id = keyval_get(keys, "netdev"), *headers = WITHOUT;
    if (id && !find_network(reading, id, &headers, err))
        return false;
    if (!id && direct)
        headers = of_network(keys);
    return visible_thing_set(thing, VISIBLE_NETWORK, headers, VISIBLE_SEEN, err);
}

/* What a card of -nic is, is known when the board is. */
bool visible_end_networks(struct visible_reading *reading, struct error *err)
{
    for (size_t i = 0; i < reading->list->count; i++) {
        struct visible_thing *thing = &reading->list->things[i];
        bool nic = strcmp(thing->option, "nic") == 0;
        const struct visible_property *model = nic ? visible_thing_get(thing, "model") : NULL;
        const char *driver = model ? model->value : nic ? "" : thing->label;
        const char *class = device_class_of(driver);
        if (!nic && strcmp(thing->option, "device") != 0)
            continue;
        if (!class || strcmp(class, "virtio-net") != 0)
            visible_thing_unset(thing, VISIBLE_NETWORK);
        else if (!visible_thing_get(thing, VISIBLE_NETWORK) &&
                 !visible_thing_set(thing, VISIBLE_NETWORK, WITHOUT, VISIBLE_SEEN, err))
            return false;
    }
    return true;
}
