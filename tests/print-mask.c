/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What src/vm makes of a QEMU command line when properties of devices are to be off, for
 * tests/e2e/test_devices_mask.py to hold against the real thing:
 *   print-mask CLASS.PROPERTY[,CLASS.PROPERTY…] QEMU ARGS…
 *       {"argv": without QEMU, "said": what a user is told}
 * An error is one line, and its status the exit status.
 */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "device/backend_table.h"
#include "vm/argv_json.h"
#include "vm/config_files.h"
#include "vm/device_mask.h"

#define OFFS_MAX 64

static bool read_offs(const struct strlist *words, struct device_offs *offs, struct error *err)
{
    for (size_t i = 0; i < words->count; i++) {
        char *dot = strchr(words->items[i], '.');
        const struct device_property *property = NULL;
        if (dot && i < OFFS_MAX) {
            *dot = '\0';
            property = device_find_property(words->items[i], dot + 1);
        }
        if (!property)
            return error_set(err, STATUS_USAGE, "%s: no such property", words->items[i]);
        offs->items[offs->count++] =
            (struct device_off){property->class, property->name, property->usual, NULL};
    }
    return true;
}

static bool print_masked(int argc, char **argv, struct error *err)
{
    struct device_off items[OFFS_MAX];
    struct device_offs offs = {.items = items};
    autoarglist struct arglist list = {0}, files = {0};
    autostrlist struct strlist words = {0}, said = {0}, made = {0};
    if (!strlist_split(&words, argv[0], ',') || !read_offs(&words, &offs, err) ||
        !arglist_parse(&list, argc - 1, argv + 1, err) ||
        !config_files_options(&list, &files, err) ||
        !device_mask_write(&offs, &files, &list, &said, err) || !arglist_render(&list, &made, err))
        return false;
    autojson json_t *arguments = argv_to_json(&made);
    json_array_remove(arguments, 0);
    autojson json_t *json =
        json_pack("{s:O, s:o}", "argv", arguments, "said", json_from_names(&said));
    autofree char *text = json ? json_to_text(json) : NULL;
    return text ? puts(text) >= 0 : error_no_memory(err);
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    if (argc >= 3 && print_masked(argc - 1, argv + 1, &err))
        return 0;
    fprintf(stderr, "%s\n", argc >= 3 ? err.message : "print-mask: too few arguments");
    return argc >= 3 ? (int)err.status : STATUS_USAGE;
}
