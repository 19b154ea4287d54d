/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which thing of one list is which of another; and where their order counts.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/strings.h"
#include "vm/visible_private.h"

/* On what kind of bus a driver's devices take places by themselves, and which keys give them one. A
 * name that ends in '-' stands for all that begin so; the first row counts. */
static const struct {
    const char *driver, *bus;
    const char *places[2];
} families[] = {
    {"usb-ehci", "pci", {"addr"}},
    {"usb-", "usb", {"port"}},
    {"u2f-", "usb", {"port"}},
    {"scsi-", "scsi", {"scsi-id", "lun"}},
    {"ide-", "ide", {"unit"}},
    {"virtserialport", "serial", {"nr"}},
    {"virtconsole", "serial", {"nr"}},
    {"pc-dimm", "memory", {"slot", "addr"}},
    {"nvdimm", "memory", {"slot", "addr"}},
    {"isa-", NULL, {NULL}},
    {"tpm-", NULL, {NULL}},
    {"pvpanic", NULL, {NULL}},
    {"vmgenid", NULL, {NULL}},
    {"vmcoreinfo", NULL, {NULL}},
    {"vmclock", NULL, {NULL}},
    {"floppy", NULL, {NULL}},
    {"ib700", NULL, {NULL}},
    {"ipmi-", NULL, {NULL}},
    {"isa-ipmi-", NULL, {NULL}},
    {"smbus-", NULL, {NULL}},
    {"loader", NULL, {NULL}},
    {"guest-loader", NULL, {NULL}},
    {"sb16", NULL, {NULL}},
    {"adlib", NULL, {NULL}},
    {"ne2k_isa", NULL, {NULL}},
    {"ccid-card-", "ccid", {NULL}},
    {"", "pci", {"addr"}},
};

/* The bus on which the thing takes the next free place, as a new text; "": it does not. NULL for
 * want of memory. */
static char *place_taking(const struct visible_thing *thing)
{
    static const char *const roots[] = {"pci.0", "pcie.0", ""};
    const char *driver = thing->label, *bus = "";
    size_t i = 0;
    if (strcmp(thing->option, "device") != 0) {
        bool pci =
            strcmp(thing->option, "virtfs") == 0 ||
            (strcmp(thing->option, "drive") == 0 && string_starts_with(thing->label, "if=virtio") &&
             !visible_thing_get(thing, "addr"));
        return strdup(pci ? "pci " : "");
    }
    size_t length = strlen(driver);
    while (!visible_name_fits(driver, families[i].driver))
        i++;
    const char *family = families[i].bus;
    if (*families[i].driver == '\0' && length > 7 && strcmp(driver + length - 7, "-device") == 0)
        family = "mmio"; /* virtio-net-device and so on: of microvm */
    for (size_t k = 0; k < 2 && family; k++)
        if (families[i].places[k] && visible_thing_get(thing, families[i].places[k]))
            return strdup("");
    const struct visible_property *property = visible_thing_get(thing, "bus");
    bus = property ? property->value : "";
    for (size_t k = 0; k < sizeof(roots) / sizeof(*roots); k++)
        if (strcmp(bus, roots[k]) == 0)
            bus = "";
    return family ? string_format("%s %s", family, bus) : strdup("");
}

/* By what the i-th of one and the j-th of the other are the same thing, the best first. */
typedef bool matcher(const struct visible_thing *one, const struct visible_thing *other);

static bool same_id(const struct visible_thing *one, const struct visible_thing *other)
{
    return *one->id && strcmp(one->id, other->id) == 0;
}

static bool same_value(const struct visible_thing *one, const struct visible_thing *other,
                       const char *key)
{
    const struct visible_property *own = visible_thing_get(one, key),
                                  *their = visible_thing_get(other, key);
    return own && their && strcmp(own->value, their->value) == 0;
}

static bool same_place(const struct visible_thing *one, const struct visible_thing *other)
{
    static const char *const keys[] = {"addr", "port", "mac", "serial", "nodeid"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
        if (same_value(one, other, keys[i]))
            return true;
    return false;
}

static bool same_kind(const struct visible_thing *one, const struct visible_thing *other)
{
    return true;
}

bool visible_match(const struct visible_list *one, const struct visible_list *other, ssize_t *match,
                   ssize_t *back)
{
    static matcher *const matchers[] = {same_id, same_place, same_kind};
    for (size_t i = 0; i < one->count; i++)
        match[i] = -1;
    for (size_t k = 0; k < other->count; k++)
        back[k] = -1;
    for (size_t m = 0; m < sizeof(matchers) / sizeof(*matchers); m++)
        for (size_t i = 0; i < one->count; i++)
            for (size_t k = 0; k < other->count && match[i] < 0; k++) {
                const struct visible_thing *own = &one->things[i], *their = &other->things[k];
                if (back[k] >= 0 || strcmp(own->option, their->option) != 0 ||
                    strcmp(own->label, their->label) != 0 || !matchers[m](own, their))
                    continue;
                match[i] = (ssize_t)k;
                back[k] = (ssize_t)i;
            }
    return true;
}

const struct visible_thing *visible_out_of_order(const struct visible_list *one,
                                                 const struct visible_list *other,
                                                 const ssize_t *match)
{
    const struct visible_thing *found = NULL;
    char **buses = calloc(one->count + 1, sizeof(*buses));
    for (size_t i = 0; buses && i < one->count; i++)
        buses[i] = place_taking(&one->things[i]);
    for (size_t i = 0; buses && !found && i < one->count; i++)
        for (size_t k = i + 1; k < one->count && !found; k++)
            if (buses[i] && buses[k] && *buses[i] && strcmp(buses[i], buses[k]) == 0 &&
                match[i] >= 0 && match[k] >= 0 && match[k] < match[i])
                found = &one->things[k];
    for (size_t i = 0; buses && i < one->count; i++)
        free(buses[i]);
    free(buses);
    return found;
}
