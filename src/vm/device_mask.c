/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/device_mask.h"

#include <string.h>

#include "base/cleanup.h"
#include "device/backend_table.h"
#include "vm/device_mask_private.h"
#include "vm/device_value.h"

static const struct device_off *find_off(const struct masking *masking, const char *class,
                                         const char *property)
{
    for (size_t i = 0; class && i < masking->count; i++)
        if (strcmp(masking->off[i].class, class) == 0 &&
            strcmp(masking->off[i].property, property) == 0)
            return &masking->off[i];
    return NULL;
}

static bool class_is_masked(const struct masking *masking, const char *class)
{
    for (size_t i = 0; class && i < masking->count; i++)
        if (strcmp(masking->off[i].class, class) == 0)
            return true;
    return false;
}

/* The properties of a class that are on by themselves, or those that are not. */
static bool list_off(const struct masking *masking, const char *class, bool usual,
                     struct strlist *list, struct error *err)
{
    for (size_t i = 0; i < masking->count; i++)
        if (strcmp(masking->off[i].class, class) == 0 && masking->off[i].usual == usual &&
            !strlist_push(list, masking->off[i].property))
            return error_no_memory(err);
    return true;
}

bool device_mask_note(struct masking *masking, const struct device_off *off, const char *value,
                      const char *where, struct error *err)
{
    if (!device_value_is_on(value))
        return true;
    bool good = off->why
                    ? strlist_pushf(masking->overruled, "%s=on of %s is switched off: %s",
                                    off->property, where, off->why)
                    : strlist_pushf(masking->overruled, "%s=on of %s is switched off, as agreed",
                                    off->property, where);
    return good || error_no_memory(err);
}

/* "-device virtio-net-pci" or "device n0" for people. */
static char *describe(const struct keyval *keys)
{
    const char *id = keyval_get(keys, "id");
    return id ? string_format("device %s", id)
              : string_format("-device %s", keyval_get(keys, "driver"));
}

/* What a device says of the properties of its class. */
static bool note_device(struct masking *masking, const char *class, const struct keyval *keys,
                        struct error *err)
{
    autofree char *where = describe(keys);
    if (!where)
        return error_no_memory(err);
    for (size_t i = 0; i < masking->count; i++) {
        const struct device_off *off = &masking->off[i];
        if (strcmp(off->class, class) == 0 &&
            !device_mask_note(masking, off, keyval_get(keys, off->property), where, err))
            return false;
    }
    return true;
}

static const char *class_of(const struct keyval *keys)
{
    const char *driver = keyval_get(keys, "driver");
    return driver ? device_class_of(driver) : NULL;
}

/* JSON that QEMU's parser takes and ours does not: refused if it may be such a device. */
static bool check_unread(const struct masking *masking, const char *value, struct error *err)
{
    size_t count;
    const struct device_driver *drivers = device_drivers(&count);
    bool relevant = strstr(value, "\\u") != NULL;
    for (size_t i = 0; i < count; i++)
        relevant = relevant ||
                   (class_is_masked(masking, drivers[i].class) && strstr(value, drivers[i].driver));
    return !relevant || error_set(err, STATUS_USAGE,
                                  "QEMU's option -device %s: this JSON cannot be read here: write "
                                  "it with double quotes and each member once",
                                  value);
}

static bool mask_device(struct masking *masking, size_t index, struct error *err)
{
    const char *value = masking->list->items[index].value;
    autokeyval struct keyval keys = {0};
    autostrlist struct strlist off = {0}, over = {0};
    if (!device_value_read(value, &keys, err))
        return false;
    if (device_value_unread(&keys))
        return check_unread(masking, value, err);
    const char *class = class_of(&keys);
    if (!class_is_masked(masking, class))
        return true;
    if (!note_device(masking, class, &keys, err) || !list_off(masking, class, true, &off, err) ||
        !list_off(masking, class, false, &over, err))
        return false;
    autofree char *masked = device_value_switch_off(value, &keys, &off, &over);
    return masked ? arglist_set_value(masking->list, index, masked, err) : error_no_memory(err);
}

/* The class of the device with that id in a list, or NULL: of none, or it is in JSON. */
static const char *class_of_id(const struct arglist *list, const char *id)
{
    const struct arg_item *item;
    for (size_t cursor = 0; (item = arglist_next(list, QEMU_OPTION_DEVICE, &cursor));) {
        autokeyval struct keyval keys = {0};
        if (keyval_is_json(item->value) || !device_value_read(item->value, &keys, NULL))
            continue;
        const char *found = keyval_get(&keys, "id");
        if (found && strcmp(found, id) == 0)
            return class_of(&keys);
    }
    return NULL;
}

/* -set device.ID.PROPERTY=VALUE (qemu_set_option in QEMU's vl.c: no dots in an id). */
static bool mask_set(struct masking *masking, size_t index, struct error *err)
{
    const char *value = masking->list->items[index].value, *equals = strchr(value, '=');
    if (!string_starts_with(value, "device.") || !equals)
        return true;
    const char *id = value + strlen("device.");
    autofree char *name = strndup(id, strcspn(id, "."));
    const char *key = id + strcspn(id, ".") + 1;
    if (!name)
        return error_no_memory(err);
    if (key >= equals)
        return true;
    autofree char *property = strndup(key, (size_t)(equals - key));
    autofree char *where = string_format("device %s", name);
    if (!property || !where)
        return error_no_memory(err);
    const char *class = class_of_id(masking->list, name);
    const struct device_off *off =
        find_off(masking, class ? class : class_of_id(masking->files, name), property);
    if (!off || device_value_is_off(equals + 1))
        return true;
    autofree char *changed = string_format("%.*s=off", (int)(equals - value), value);
    return changed ? device_mask_note(masking, off, equals + 1, where, err) &&
                         arglist_set_value(masking->list, index, changed, err)
                   : error_no_memory(err);
}

/* What stands in files stays there: it is overruled from behind. */
static bool mask_file_device(struct masking *masking, const char *value, struct error *err)
{
    autokeyval struct keyval keys = {0};
    if (!device_value_read(value, &keys, err))
        return false;
    const char *class = class_of(&keys), *id = keyval_get(&keys, "id");
    if (!class_is_masked(masking, class))
        return true;
    if (!note_device(masking, class, &keys, err))
        return false;
    for (size_t i = 0; i < masking->count; i++) {
        const struct device_off *off = &masking->off[i];
        const char *given = keyval_get(&keys, off->property);
        if (strcmp(off->class, class) != 0 || device_value_is_off(given) || (!given && !off->usual))
            continue;
        if ((!id || strchr(id, '.')) && given)
            return error_set(err, STATUS_USAGE,
                             "[device] %s in a configuration file has %s=%s, which not all hosts "
                             "can give: take that out, or give the device an id",
                             keyval_get(&keys, "driver"), off->property, given);
        if (!id || strchr(id, '.'))
            continue;
        autofree char *set = string_format("device.%s.%s=off", id, off->property);
        if (!set)
            return error_no_memory(err);
        if (!arglist_append(masking->list, "-set", set, err))
            return false;
    }
    return true;
}

static bool mask_items(struct masking *masking, size_t count, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct arg_item *item = &masking->list->items[i];
        enum qemu_option_id id = item->option ? item->option->id : QEMU_OPTION_UNNAMED;
        if ((id == QEMU_OPTION_DEVICE && !mask_device(masking, i, err)) ||
            (id == QEMU_OPTION_SET && !mask_set(masking, i, err)) ||
            (id == QEMU_OPTION_GLOBAL && !device_mask_global(masking, item->value, &i, err)))
            return false;
    }
    return true;
}

static bool mask_files(struct masking *masking, struct error *err)
{
    for (size_t i = 0; i < masking->files->count; i++) {
        const struct arg_item *item = &masking->files->items[i];
        if ((item->option->id == QEMU_OPTION_DEVICE &&
             !mask_file_device(masking, item->value, err)) ||
            (item->option->id == QEMU_OPTION_GLOBAL &&
             !device_mask_global(masking, item->value, NULL, err)))
            return false;
    }
    return true;
}

bool device_mask_write(const struct device_offs *offs, const struct arglist *files,
                       struct arglist *list, struct strlist *overruled, struct error *err)
{
    struct masking masking = {.off = offs->items,
                              .count = offs->count,
                              .files = files,
                              .list = list,
                              .overruled = overruled};
    if (offs->count == 0)
        return true;
    return mask_items(&masking, list->count, err) && mask_files(&masking, err) &&
           device_mask_add_globals(&masking, err);
}
