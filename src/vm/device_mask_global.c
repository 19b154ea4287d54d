/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * -global: the user's, and those that reach devices which have no -device.
 */
#include <string.h>

#include "base/cleanup.h"
#include "device/backend_table.h"
#include "vm/device_mask_private.h"
#include "vm/device_value.h"
#include "vm/visible_private.h"

/* The device behind the PCI variants of a class; class is the class's own name for want of one. */
static const char *inner_driver(const char *class)
{
    static const char *const inner[][2] = {
        {"vhost-scsi", "vhost-scsi"},
        {"vhost-vsock", "vhost-vsock-device"},
        {"virtio-net", "virtio-net-device"},
    };
    for (size_t i = 0; i < sizeof(inner) / sizeof(*inner); i++)
        if (strcmp(inner[i][0], class) == 0)
            return inner[i][1];
    return class;
}

/* DRIVER.PROPERTY=VALUE, or driver=,property=,value= (qemu_global_option in QEMU qdev-monitor.c).
 * Nothing in keys for what QEMU would refuse. */
static bool read_global(const char *text, struct keyval *keys, struct error *err)
{
    size_t driver = strcspn(text, ".="), property = 0;
    if (text[driver] == '.')
        property = strcspn(text + driver + 1, "=");
    if (driver == 0 || property == 0 || text[driver + 1 + property] != '=')
        return keyval_parse(keys, text, KEYVAL_OPTS, NULL, err);
    autofree char *name = strndup(text, driver);
    autofree char *key = strndup(text + driver + 1, property);
    if (!name || !key)
        return error_no_memory(err);
    return keyval_set(keys, "driver", name, err) && keyval_set(keys, "property", key, err) &&
           keyval_set(keys, "value", text + driver + 1 + property + 1, err);
}

static bool add_global(struct masking *masking, const char *driver, const char *property,
                       struct error *err)
{
    autofree char *value = string_format("%s.%s=off", driver, property);
    return value ? arglist_append(masking->list, "-global", value, err) : error_no_memory(err);
}

/* Do drivers of that class inherit from it? */
static bool is_base(const char *driver, const char *class)
{
    autofree char *base = string_format("%s-pci-base", class);
    return strcmp(driver, "virtio-pci") == 0 || strcmp(driver, "virtio-device") == 0 ||
           (base && strcmp(driver, base) == 0);
}

/* Is that a -global which switches the property of the class on? */
static bool global_needs(const struct keyval *keys, const struct device_off *off)
{
    const char *driver = keyval_get(keys, "driver"), *property = keyval_get(keys, "property");
    const char *value = keyval_get(keys, "value");
    if (!driver || !property || !value || strcmp(property, off->property) != 0 ||
        device_value_is_off(value))
        return false;
    const char *class = device_class_of(driver);
    return class ? strcmp(class, off->class) == 0 : is_base(driver, off->class);
}

/* Of two -global only a later one for the same device wins, or one for the device around it: one
 * for each driver. */
static bool add_against(struct masking *masking, const struct device_off *off, struct error *err)
{
    size_t count;
    const struct device_driver *drivers = device_drivers(&count);
    for (size_t i = 0; i < count; i++) {
        const char *driver = drivers[i].driver;
        bool comes_anyway = off->usual && strcmp(driver, inner_driver(off->class)) == 0;
        if (strcmp(drivers[i].class, off->class) == 0 && !comes_anyway &&
            strcmp(visible_driver(driver), driver) == 0 &&
            !add_global(masking, driver, off->property, err))
            return false;
    }
    return true;
}

static bool replace_global(struct masking *masking, size_t index, const char *driver,
                           const char *property, struct error *err)
{
    autofree char *value = string_format("%s.%s=off", driver, property);
    return value ? arglist_set_value(masking->list, index, value, err) : error_no_memory(err);
}

bool device_mask_global(struct masking *masking, const char *value, const size_t *index,
                        struct error *err)
{
    autokeyval struct keyval keys = {0};
    if (!read_global(value, &keys, err))
        return error_wrap(err, "QEMU's option -global %s", value);
    const char *driver = keyval_get(&keys, "driver");
    autofree char *where = string_format("-global %s", driver ? driver : "");
    if (!where)
        return error_no_memory(err);
    for (size_t i = 0; i < masking->count; i++) {
        const struct device_off *off = &masking->off[i];
        if (!global_needs(&keys, off))
            continue;
        bool is_own = index && device_class_of(driver);
        if (!device_mask_note(masking, off, keyval_get(&keys, "value"), where, err) ||
            !(is_own ? replace_global(masking, *index, driver, off->property, err)
                     : add_against(masking, off, err)))
            return false;
    }
    return true;
}

bool device_mask_add_globals(struct masking *masking, struct error *err)
{
    for (size_t i = 0; i < masking->count; i++)
        if (masking->off[i].usual && !add_global(masking, inner_driver(masking->off[i].class),
                                                 masking->off[i].property, err))
            return false;
    return true;
}
