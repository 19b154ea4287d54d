/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What QEMU takes where nothing is said, and somebody may have written out: buses, numbers on them,
 * queues.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vm/visible_private.h"

#define TARGET_MAX 256 /* SCSI ids and LUNs that are tried */

enum family { NO_BUS, SCSI, USB, SERIAL, NVME };

/* Drivers that bring a bus, called "ID.0" or "ID". A name that ends in '-' stands for all that
 * begin so. */
static const struct {
    const char *driver;
    enum family family;
} givers[] = {
    {"virtio-scsi-", SCSI}, {"lsi53c895a", SCSI},    {"lsi53c810", SCSI},
    {"megasas", SCSI},      {"megasas-gen2", SCSI},  {"mptsas1068", SCSI},
    {"pvscsi", SCSI},       {"am53c974", SCSI},      {"dc390", SCSI},
    {"usb-bot", SCSI},      {"usb-uas", SCSI},       {"usb-storage", SCSI},
    {"qemu-xhci", USB},     {"nec-usb-xhci", USB},   {"usb-ehci", USB},
    {"pci-ohci", USB},      {"piix3-usb-", USB},     {"piix4-usb-", USB},
    {"ich9-usb-", USB},     {"vt82c686b-usb-", USB}, {"virtio-serial-", SERIAL},
    {"nvme", NVME},
};

static bool is_device(const struct visible_thing *thing)
{
    return strcmp(thing->option, "device") == 0;
}

static enum family family_of(const struct visible_thing *thing)
{
    for (size_t i = 0; is_device(thing) && i < sizeof(givers) / sizeof(*givers); i++)
        if (visible_name_fits(thing->label, givers[i].driver))
            return givers[i].family;
    return NO_BUS;
}

static const char *value_of(const struct visible_thing *thing, const char *key)
{
    const struct visible_property *property = thing ? visible_thing_get(thing, key) : NULL;
    return property ? property->value : NULL;
}

/* The one device that brings such a bus; NULL: there are several, or none, or the board may have
 * one itself. */
static const struct visible_thing *only_giver(const struct visible_reading *reading,
                                              enum family family)
{
    const struct visible_list *list = reading->list;
    const char *usb = value_of(visible_list_find(list, "machine", ""), "usb");
    const struct visible_thing *found = NULL;
    if (family == USB && ((usb && strcmp(usb, "off") != 0) || visible_given(reading, "usbdevice")))
        return NULL;
    for (size_t i = 0; i < list->count; i++) {
        const struct visible_thing *thing = &list->things[i];
        bool drive = strcmp(thing->option, "drive") == 0;
        if (family == SCSI && drive && string_starts_with(thing->label, "if=scsi"))
            return NULL;
        if (family == NO_BUS || family_of(thing) != family)
            continue;
        if (found)
            return NULL;
        found = thing;
    }
    return found;
}

/* The bus that a device without one gets, as qbus_find_recursive in QEMU system/qdev-monitor.c
 * finds it: the board's, or that of the only device that has one. Root buses of pxb come into its
 * way. */
static bool is_usual_bus(const struct visible_reading *reading, const char *bus)
{
    const struct visible_list *list = reading->list;
    if (strcmp(bus, reading->board->root) == 0) {
        for (size_t i = 0; i < list->count; i++)
            if (is_device(&list->things[i]) && string_starts_with(list->things[i].label, "pxb"))
                return false;
        return true;
    }
    for (enum family family = SCSI; family <= NVME; family++) {
        const struct visible_thing *giver = only_giver(reading, family);
        size_t length = giver ? strlen(giver->id) : 0;
        if (length > 0 && strncmp(giver->id, bus, length) == 0 &&
            (!bus[length] || strcmp(bus + length, ".0") == 0))
            return true;
    }
    return false;
}

static void tidy_buses(struct visible_reading *reading)
{
    for (size_t i = 0; i < reading->list->count; i++) {
        struct visible_thing *thing = &reading->list->things[i];
        const char *bus = is_device(thing) ? value_of(thing, "bus") : NULL;
        if (bus && is_usual_bus(reading, bus))
            visible_thing_unset(thing, "bus");
    }
}

static bool set_number(struct visible_thing *thing, const char *key, int64_t value,
                       struct error *err)
{
    char text[32];
    snprintf(text, sizeof(text), "%lld", (long long)value);
    return visible_thing_set(thing, key, text, VISIBLE_SEEN, err);
}

/* -1: it is not given, or no such number. */
static int64_t number_of(const struct visible_thing *thing, const char *key)
{
    const char *text = value_of(thing, key);
    uint64_t value;
    return text && parse_number(text, 0, 1 << 16, &value) ? (int64_t)value : -1;
}

static bool is_scsi_disk(const struct visible_thing *thing)
{
    return is_device(thing) && string_starts_with(thing->label, "scsi-");
}

/* Whether one of the first `count` things has that place on that bus. */
static bool is_taken(const struct visible_list *list, size_t count, const char *bus,
                     const int64_t place[3])
{
    for (size_t i = 0; i < count; i++) {
        const struct visible_thing *thing = &list->things[i];
        const char *own = value_of(thing, "bus");
        if (is_scsi_disk(thing) && strcmp(own ? own : "", bus) == 0 &&
            number_of(thing, "channel") == place[0] && number_of(thing, "scsi-id") == place[1] &&
            number_of(thing, "lun") == place[2])
            return true;
    }
    return false;
}

/* What is open of channel, target and LUN is the next free one (scsi_qdev_realize in QEMU
 * hw/scsi/scsi-bus.c), on the only controller: of several it is not clear who is on which. */
static bool number_scsi(struct visible_reading *reading, struct error *err)
{
    static const char *const keys[] = {"channel", "scsi-id", "lun"};
    struct visible_list *list = reading->list;
    if (!only_giver(reading, SCSI))
        return true;
    for (size_t i = 0; i < list->count; i++) {
        struct visible_thing *thing = &list->things[i];
        const char *bus = value_of(thing, "bus");
        int64_t place[3];
        if (!is_scsi_disk(thing))
            continue;
        for (int k = 0; k < 3; k++)
            place[k] = number_of(thing, keys[k]);
        place[0] = place[0] < 0 ? 0 : place[0];
        int open = place[1] < 0 ? 1 : place[2] < 0 ? 2 : 0;
        if (open == 1 && place[2] < 0)
            place[2] = 0;
        if (open)
            place[open] = 0;
        while (open && place[open] < TARGET_MAX && is_taken(list, i, bus ? bus : "", place))
            place[open]++;
        for (int k = 0; k < 3; k++)
            if (!value_of(thing, keys[k]) && !set_number(thing, keys[k], place[k], err))
                return false;
    }
    return true;
}

/* Things that count up in the order in which they come (parse_numa_node in QEMU hw/core/numa.c,
 * nvme_ns_realize in hw/nvme/ns.c). */
static bool number_all(struct visible_reading *reading, const char *option, const char *label,
                       const char *key, int64_t first, struct error *err)
{
    int64_t next = first;
    for (size_t i = 0; i < reading->list->count; i++) {
        struct visible_thing *thing = &reading->list->things[i];
        if (strcmp(thing->option, option) != 0 || strcmp(thing->label, label) != 0)
            continue;
        if (!value_of(thing, key) && !set_number(thing, key, next, err))
            return false;
        next++;
    }
    return true;
}

/* As many queues as vCPUs: what these have since 5.2 (virtio_pci_optimal_num_queues in QEMU
 * hw/virtio/virtio-pci.c, hw_compat_5_1). */
static void tidy_queues(struct visible_reading *reading)
{
    static const char *const rows[][2] = {{"virtio-blk-pci", "num-queues"},
                                          {"virtio-scsi-pci", "num_queues"}};
    struct visible_list *list = reading->list;
    const char *cpus = value_of(visible_list_find(list, "smp", ""), "cpus");
    if (!cpus || visible_machine_before(reading->invocation.machine_type, 5, 2))
        return;
    for (size_t i = 0; i < list->count; i++)
        for (size_t k = 0; k < sizeof(rows) / sizeof(*rows); k++) {
            struct visible_thing *thing = &list->things[i];
            const char *queues = value_of(thing, rows[k][1]);
            if (is_device(thing) && strcmp(thing->label, rows[k][0]) == 0 && queues &&
                strcmp(queues, cpus) == 0)
                visible_thing_unset(thing, rows[k][1]);
        }
}

bool visible_tidy_places(struct visible_reading *reading, struct error *err)
{
    bool one_nvme =
        only_giver(reading, NVME) && !visible_list_find(reading->list, "device", "nvme-subsys");
    tidy_buses(reading);
    tidy_queues(reading);
    return number_scsi(reading, err) && number_all(reading, "numa", "node", "nodeid", 0, err) &&
           (!one_nvme || number_all(reading, "device", "nvme-ns", "nsid", 1, err));
}
