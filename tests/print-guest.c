/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What src/guest makes of real QEMUs, for tests/e2e/test_guest.py:
 *   print-guest rom                                         the built-in guest's image
 *   print-guest json|text|digest QEMU ACCEL MACHINE CPU [SMP [MS]]   the guest CPU table; SMP may
 * be "" print-guest compare FILE FILE…                          what differs between tables in JSON
 *   print-guest bytes FILE                                  whether these are what a guest leaves
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "guest/compare.h"
#include "guest/proof_run.h"
#include "guest/rom.h"

static bool prove(const char *form, int argc, char **argv, struct error *err)
{
    struct guest_proof proof = {.qemu = argv[0],
                                .accel = argv[1],
                                .machine = argv[2],
                                .cpu = argv[3],
                                .smp = argc > 4 && *argv[4] ? argv[4] : NULL,
                                .timeout_ms = argc > 5 ? atoi(argv[5]) : 0};
    autoguesttable struct guest_table table = {0};
    if (!guest_proof_run(&proof, &table, err))
        return false;
    if (strcmp(form, "digest") == 0) {
        char hex[DIGEST_HEX_SIZE];
        return guest_table_digest(&table, hex, err) && puts(hex) >= 0;
    }
    autojson json_t *json = guest_table_to_json(&table);
    autofree char *text =
        strcmp(form, "text") == 0 ? guest_table_to_text(&table) : json_to_text(json);
    if (!text)
        return error_no_memory(err);
    return puts(text) >= 0;
}

static bool compare(int argc, char **argv, struct error *err)
{
    struct guest_table tables[8] = {0};
    struct guest_host hosts[8];
    autoguestdifferences struct guest_differences differences = {0};
    bool good = argc <= 8;
    for (int i = 0; good && i < argc; i++) {
        autofree char *data = NULL;
        autojson json_t *json = NULL;
        size_t length = 0;
        const char *name = strrchr(argv[i], '/');
        hosts[i] = (struct guest_host){.name = name ? name + 1 : argv[i], .table = &tables[i]};
        good = file_read(argv[i], 1 << 20, false, &data, &length, err) &&
               (json = json_parse_strict(data, length, 1 << 20, err)) &&
               guest_table_from_json(json, &tables[i], err);
    }
    good = good && guest_tables_compare(hosts, (size_t)argc, NULL, &differences, err);
    for (size_t i = 0; good && i < differences.count; i++) {
        const struct guest_difference *one = &differences.items[i];
        autofree char *features = strlist_join(&one->features, " ");
        printf("%s%s%s%s%s%s\n", one->advisory ? "(advice) " : "", one->text,
               one->features.count ? " [" : "", features ? features : "",
               one->features.count ? "]" : "", one->help ? " [-]" : "");
    }
    for (int i = 0; i < argc && i < 8; i++)
        guest_table_free(&tables[i]);
    return good;
}

static bool read_bytes(const char *path, struct error *err)
{
    autofree char *data = NULL;
    autoguesttable struct guest_table table = {0};
    size_t length = 0;
    return file_read(path, 1 << 21, false, &data, &length, err) &&
           guest_table_read(data, length, &table, err) && printf("%zu rows\n", table.count) > 0;
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    bool good = false;
    if (argc == 2 && strcmp(argv[1], "rom") == 0)
        good = fwrite(guest_rom, 1, GUEST_ROM_SIZE, stdout) == GUEST_ROM_SIZE;
    else if (argc >= 3 && strcmp(argv[1], "compare") == 0)
        good = compare(argc - 2, argv + 2, &err);
    else if (argc == 3 && strcmp(argv[1], "bytes") == 0)
        good = read_bytes(argv[2], &err);
    else if (argc >= 6)
        good = prove(argv[1], argc - 2, argv + 2, &err);
    else
        error_set(&err, STATUS_USAGE, "print-guest: wrong arguments");
    if (good)
        return fflush(stdout) == 0 ? 0 : STATUS_CANNOT_WRITE;
    fprintf(stderr, "%s\n", err.message);
    return err.status;
}
