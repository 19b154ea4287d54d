/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Drives with an interface, each in its place; and the flash that firmware is in.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vm/visible_private.h"

#define PLACES_MAX 4096
#define NODES_MAX 8 /* behind each other */

/* The units of a bus (if_max_devs in QEMU blockdev.c; IDE is the board's); 0: there is one bus. */
static unsigned units_of(const struct visible_reading *reading, const char *interface)
{
    if (strcmp(interface, "ide") == 0)
        return reading->board->ide_units;
    return strcmp(interface, "scsi") == 0 ? 7 : 0;
}

static bool is_taken(const struct visible_list *list, const char *interface, uint64_t index)
{
    char label[128];
    snprintf(label, sizeof(label), "if=%s,index=%llu", interface, (unsigned long long)index);
    return visible_list_find(list, "drive", label) != NULL;
}

static bool number_of(const struct keyval *keys, const char *key, uint64_t *value)
{
    const char *text = keyval_get(keys, key);
    return text && parse_number(text, 0, PLACES_MAX, value);
}

/* Where drive_new in QEMU blockdev.c puts it. */
static uint64_t place_of(const struct visible_reading *reading, const char *interface,
                         const struct keyval *keys)
{
    uint64_t index, bus = 0, unit = 0, units = units_of(reading, interface);
    if (number_of(keys, "index", &index))
        return index;
    number_of(keys, "bus", &bus);
    if (number_of(keys, "unit", &unit))
        return bus * units + unit;
    index = bus * units;
    while (index <= PLACES_MAX && is_taken(reading->list, interface, index))
        index++;
    return index;
}

/* "raw" and nothing said: the file's bytes are what the guest sees. */
static bool is_raw(const char *format)
{
    return !format || strcmp(format, "raw") == 0 || strcmp(format, "file") == 0;
}

static bool is_on(const char *value)
{
    return value &&
           (strcmp(value, "on") == 0 || strcmp(value, "true") == 0 || strcmp(value, "yes") == 0);
}

/* What is behind a flash device. */
static bool set_flash(struct visible_thing *thing, const char *file, bool raw, bool read_only,
                      struct error *err)
{
    if (!visible_thing_set(thing, "readonly", read_only ? "on" : "off", VISIBLE_SEEN, err) ||
        !visible_thing_set(thing, "content", file ? file : "", VISIBLE_CONTENT, err))
        return false;
    struct visible_property *content = &thing->properties[thing->count - 1];
    content->writable = !read_only;
    if (!raw || !file) { /* what the guest sees is inside a format of its own */
        free(content->path);
        content->path = NULL;
    }
    return true;
}

static bool add_drive(struct visible_reading *reading, const struct keyval *keys,
                      const char *interface, struct error *err)
{
    const char *file = keyval_get(keys, "file"), *media = keyval_get(keys, "media");
    bool read_only = is_on(keyval_get(keys, "readonly")) || is_on(keyval_get(keys, "read-only"));
    bool cdrom = media && strcmp(media, "cdrom") == 0;
    autofree char *label = string_format("if=%s,index=%llu", interface,
                                         (unsigned long long)place_of(reading, interface, keys));
    struct visible_thing *thing =
        label ? visible_list_add(reading->list, "drive", label, "", err) : NULL;
    if (!thing)
        return label ? false : error_no_memory(err);
    if (strcmp(interface, "pflash") == 0)
        return set_flash(thing, file ? file : keyval_get(keys, "file.filename"),
                         is_raw(keyval_get(keys, "format")), read_only, err);
    return visible_thing_set_keys(thing, keys, VISIBLE_IGNORED, err) &&
           visible_thing_set(thing, "media", cdrom ? "cdrom" : "disk", VISIBLE_SEEN, err) &&
           visible_thing_set(thing, "medium", file ? "on" : "off", VISIBLE_TOLD, err) &&
           visible_thing_set(thing, "readonly", read_only || cdrom ? "on" : "off", VISIBLE_SEEN,
                             err);
}

/* -machine pflash0=NODE: from the node down to the file. */
static bool add_node(struct visible_reading *reading, const char *label, const char *name,
                     struct error *err)
{
    struct visible_thing *thing = visible_list_add(reading->list, "drive", label, "", err);
    autofree char *node = strdup(name), *file = NULL;
    bool raw = true, read_only = false;
    if (!thing || !node)
        return thing ? error_no_memory(err) : false;
    for (int depth = 0; depth < NODES_MAX && !file; depth++) {
        autokeyval struct keyval keys = {0};
        if (!visible_node_find(reading, node, &keys, err))
            return false;
        const char *driver = keyval_get(&keys, "driver");
        raw = raw && is_raw(driver ? driver : keyval_get(&keys, "format")) &&
              is_raw(keyval_get(&keys, "file.driver"));
        read_only = read_only || is_on(keyval_get(&keys, "read-only")) ||
                    is_on(keyval_get(&keys, "readonly"));
        const char *direct = keyval_get(&keys, "filename"), *next = keyval_get(&keys, "file");
        direct = direct ? direct : keyval_get(&keys, "file.filename");
        if (!direct && next && !keyval_get(&keys, "node-name")) /* of -drive it is the file */
            direct = next;
        if (!direct && !next)
            break;
        if (direct && !(file = strdup(direct)))
            return error_no_memory(err);
        if (!direct) {
            char *copy = strdup(next);
            free(node);
            node = copy;
            if (!node)
                return error_no_memory(err);
        }
    }
    return set_flash(thing, file, raw, read_only, err);
}

static bool add_flash(struct visible_reading *reading, struct error *err)
{
    static const char *const keys[] = {"pflash0", "pflash1"};
    for (unsigned i = 0; i < 2; i++) {
        struct visible_thing *machine = visible_list_find(reading->list, "machine", "");
        const struct visible_property *property = visible_thing_get(machine, keys[i]);
        autofree char *node = property ? strdup(property->path) : NULL;
        char label[32];
        snprintf(label, sizeof(label), "if=pflash,index=%u", i);
        if (!property)
            continue;
        if (!node)
            return error_no_memory(err);
        visible_thing_unset(machine, keys[i]);
        if (!add_node(reading, label, node, err))
            return false;
    }
    return true;
}

/* Devices in whose presence the board's own drive is not there (default_list in QEMU's vl.c). */
static bool has_device(const struct visible_list *list, const char *const *drivers)
{
    for (; *drivers; drivers++)
        if (visible_list_find(list, "device", *drivers))
            return true;
    return false;
}

bool visible_add_board_drives(struct visible_reading *reading, struct error *err)
{
    static const char *const cdroms[] = {"ide-cd",  "ide-hd",  "ide-drive",
                                         "scsi-cd", "scsi-hd", NULL};
    static const char *const floppies[] = {"isa-fdc", "floppy", NULL};
    static const struct {
        const char *interface, *keys;
        uint64_t index;
        const char *const *instead;
    } drives[] = {{"ide", "index=2,media=cdrom", 2, cdroms}, {"floppy", "index=0", 0, floppies}};
    const bool has[] = {reading->board->cdrom, reading->board->floppy};
    for (size_t i = 0; i < 2; i++) {
        autokeyval struct keyval keys = {0};
        if (reading->nodefaults || !has[i] || has_device(reading->list, drives[i].instead) ||
            is_taken(reading->list, drives[i].interface, drives[i].index))
            continue;
        if (!keyval_parse(&keys, drives[i].keys, KEYVAL_OPTS, NULL, err) ||
            !add_drive(reading, &keys, drives[i].interface, err))
            return false;
    }
    return true;
}

bool visible_add_drives(struct visible_reading *reading, struct error *err)
{
    for (size_t i = 0; i < reading->drives.count; i++) {
        autokeyval struct keyval keys = {0};
        if (!keyval_parse(&keys, reading->drives.items[i], KEYVAL_OPTS, NULL, err))
            return error_wrap(err, "QEMU's option -drive %s", reading->drives.items[i]);
        const char *given = keyval_get(&keys, "if");
        autofree char *interface = strdup(given ? given : reading->board->interface);
        if (!interface)
            return error_no_memory(err);
        if (strcmp(interface, "none") != 0 && !add_drive(reading, &keys, interface, err))
            return false;
    }
    return add_flash(reading, err);
}
