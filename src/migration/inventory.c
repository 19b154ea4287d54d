/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The inventory's plain parts: what counts, blocks of RAM, the check of a peer's.
 */
#include "migration/inventory.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

#define DEVICES_MAX 4096
#define NAMES_MAX 256
#define TEXT_MAX_LENGTH 255
#define VCPUS_MAX 65536

/* Made by an option of the user's, not by the machine: a child of these containers. */
static bool is_users(const char *path)
{
    static const char *const containers[] = {"/machine/peripheral/", "/machine/peripheral-anon/"};
    for (size_t i = 0; i < sizeof(containers) / sizeof(containers[0]); i++)
        if (string_starts_with(path, containers[i]))
            return !strchr(path + strlen(containers[i]), '/');
    return false;
}

bool inventory_counts(const char *path, const char *type, const char *bus, bool pci)
{
    /* Those that -serial, -parallel and -drive if=floppy make. The machine's own ISA devices are
     * the same on one machine type, and how QEMU is made up of them changes between versions. */
    static const char *const isa[] = {"isa-serial", "isa-parallel", "isa-fdc"};
    static const char *const inner[] = {"sysbus", "virtio-bus", "i2c"};
    size_t length = strlen(type), end = strlen("-cpu");
    const char *name = strrchr(bus, '/');
    if (length > end && strcmp(type + length - end, "-cpu") == 0)
        return false; /* counted as vCPUs */
    if (pci || is_users(path))
        return true;
    if (!name)
        return false;
    for (size_t i = 0; i < sizeof(inner) / sizeof(inner[0]); i++)
        if (strcmp(name + 1, inner[i]) == 0)
            return false;
    if (!string_starts_with(name + 1, "isa."))
        return true; /* IDE, USB, SCSI: -hda, -usbdevice */
    for (size_t i = 0; i < sizeof(isa) / sizeof(isa[0]); i++)
        if (strcmp(type, isa[i]) == 0)
            return true;
    return false;
}

/* "  NAME    4 KiB  0xOFFSET 0xUSED 0xTOTAL …" (QEMU 7.2 and 10.0 system/physmem.c). */
static bool parse_block(char *line, json_t *blocks)
{
    unsigned long long offset, used, total;
    char *numbers = strstr(line, "  0x");
    if (!numbers || sscanf(numbers, " 0x%llx 0x%llx 0x%llx", &offset, &used, &total) != 3 ||
        used > INT64_MAX)
        return true; /* the heading */
    *numbers = '\0';
    for (int word = 0; word < 2; word++) { /* the page size and its unit */
        char *blank = strrchr(line, ' ');
        if (!blank)
            return true;
        while (blank > line && blank[-1] == ' ')
            blank--;
        *blank = '\0';
    }
    autofree char *name = string_plain(line + strspn(line, " "), TEXT_MAX_LENGTH);
    /* Tables for the firmware: their size is the guest's business, and comes along. */
    if (name && (!*name || string_starts_with(name, "/rom@")))
        return true;
    return name && json_object_set_new(blocks, name, json_integer((json_int_t)used)) == 0;
}

bool inventory_parse_blocks(const char *text, json_t *blocks)
{
    autofree char *copy = strdup(text);
    char *rest = copy;
    if (!copy)
        return false;
    for (char *line; (line = strsep(&rest, "\r\n"));)
        if (!parse_block(line, blocks))
            return false;
    return true;
}

static bool is_text(const json_t *value)
{
    return json_is_plain(value, TEXT_MAX_LENGTH);
}

static bool are_texts(const json_t *array)
{
    size_t i;
    json_t *value;
    if (!json_is_array(array) || json_array_size(array) > NAMES_MAX)
        return false;
    json_array_foreach(array, i, value)
    {
        if (!is_text(value))
            return false;
    }
    return true;
}

static bool check_device(json_t *device, const char *what, struct error *err)
{
    json_t *type, *id, *at, *features;
    json_int_t unknown;
    if (!json_take(device, err, what, "{s:o, s:o, s:o, s:o, s:I}", "type", &type, "id", &id, "at",
                   &at, "features", &features, "unknown", &unknown))
        return false;
    return (is_text(type) && is_text(id) && is_text(at) && are_texts(features) && unknown >= 0 &&
            unknown <= NAMES_MAX) ||
           error_set(err, STATUS_DATA, "%s: a device is not valid", what);
}

bool inventory_check(json_t *json, const char *what, struct error *err)
{
    json_t *machine, *devices, *blocks, *blocked, *value;
    json_int_t vcpus, vcpus_max, memory, plugged;
    size_t i;
    const char *name;
    if (!json_take(json, err, what, "{s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "machine", &machine,
                   "vcpus", &vcpus, "vcpus_max", &vcpus_max, "memory", &memory, "plugged", &plugged,
                   "devices", &devices, "blocks", &blocks, "blocked", &blocked))
        return false;
    if (!is_text(machine) || !name_is_machine(json_string_value(machine)) || vcpus < 1 ||
        vcpus > VCPUS_MAX || vcpus_max < 0 || vcpus_max > VCPUS_MAX || memory < 0 || plugged < 0)
        return error_set(err, STATUS_DATA, "%s: the machine is not valid", what);
    if (!are_texts(blocked) || !json_is_array(devices) || json_array_size(devices) > DEVICES_MAX ||
        !json_is_object(blocks) || json_object_size(blocks) > DEVICES_MAX)
        return error_set(err, STATUS_DATA, "%s: its lists are not valid", what);
    json_array_foreach(devices, i, value)
    {
        if (!check_device(value, what, err))
            return false;
    }
    json_object_foreach(blocks, name, value)
    {
        if (strlen(name) > TEXT_MAX_LENGTH || !json_is_integer(value) ||
            json_integer_value(value) < 0)
            return error_set(err, STATUS_DATA, "%s: a block of memory is not valid", what);
    }
    return true;
}
