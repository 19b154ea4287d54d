/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What src/guest makes of real QEMUs, for tests/e2e/test_guest.py:
 *   print-guest rom
 *       the built-in guest's image
 *   print-guest json|text|digest QEMU ACCEL MACHINE CPU [SMP [MS]]
 *       the guest CPU table; SMP may be ""
 *   print-guest late|drop MS QEMU ACCEL MACHINE CPU [SMP [MS]]
 *       its digest, asked for only MS milliseconds after the start; never asked for
 *   print-guest compare TABLE TABLE...
 *       what differs between tables in JSON
 *   print-guest shows TABLE
 *       {feature: whether the table shows it}
 *   print-guest contradictions TABLE FEATURES
 *       what it shows against {"features": [...]}
 *   print-guest bytes FILE
 *       whether these are what a guest leaves
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "guest/compare.h"
#include "guest/features.h"
#include "guest/proof_run.h"
#include "guest/rom.h"

/* Of QEMU ACCEL MACHINE CPU [SMP [MS]]. */
static struct guest_proof proof_of(int argc, char **argv)
{
    return (struct guest_proof){.qemu = argv[0],
                                .accel = argv[1],
                                .machine = argv[2],
                                .cpu = argv[3],
                                .smp = argc > 4 && *argv[4] ? argv[4] : NULL,
                                .timeout_ms = argc > 5 ? atoi(argv[5]) : 0};
}

static bool print_digest(const struct guest_table *table, struct error *err)
{
    char hex[DIGEST_HEX_SIZE];
    return guest_table_digest(table, hex, err) && puts(hex) >= 0;
}

static bool prove(const char *form, int argc, char **argv, struct error *err)
{
    struct guest_proof proof = proof_of(argc, argv);
    autoguesttable struct guest_table table = {0};
    if (!guest_proof_run(&proof, &table, err))
        return false;
    if (strcmp(form, "digest") == 0)
        return print_digest(&table, err);
    autojson json_t *json = guest_table_to_json(&table);
    autofree char *text =
        strcmp(form, "text") == 0 ? guest_table_to_text(&table) : json_to_text(json);
    if (!text)
        return error_no_memory(err);
    return puts(text) >= 0;
}

/* Finish, or only forget, some time after the start. */
static bool prove_later(bool finish, int argc, char **argv, struct error *err)
{
    struct guest_proof proof = proof_of(argc - 1, argv + 1);
    autoguesttable struct guest_table table = {0};
    autoguestrun struct guest_run *run = guest_proof_start(&proof, err);
    if (!run)
        return false;
    usleep((useconds_t)atoi(argv[0]) * 1000);
    return !finish || (guest_proof_finish(run, &table, NULL, err) && print_digest(&table, err));
}

static json_t *read_json(const char *path, struct error *err)
{
    autofree char *data = NULL;
    size_t length = 0;
    return file_read(path, 1 << 20, false, &data, &length, err)
               ? json_parse_strict(data, length, 1 << 20, err)
               : NULL;
}

static bool read_table(const char *path, struct guest_table *table, struct error *err)
{
    autojson json_t *json = read_json(path, err);
    return json && guest_table_from_json(json, table, err);
}

static bool compare(int argc, char **argv, struct error *err)
{
    struct guest_table tables[8] = {0};
    struct guest_host hosts[8];
    autoguestdifferences struct guest_differences differences = {0};
    bool good = argc <= 8;
    for (int i = 0; good && i < argc; i++) {
        const char *name = strrchr(argv[i], '/');
        hosts[i] = (struct guest_host){.name = name ? name + 1 : argv[i], .table = &tables[i]};
        good = read_table(argv[i], &tables[i], err);
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

static bool show(const char *path, struct error *err)
{
    autoguesttable struct guest_table table = {0};
    autojson json_t *json = json_object();
    size_t count;
    const struct feature *features = feature_table(&count);
    if (!read_table(path, &table, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        bool shows;
        if (guest_table_shows(&table, &features[i], &shows))
            json_object_set_new(json, features[i].name, json_boolean(shows));
    }
    autofree char *text = json_to_text(json);
    return text ? puts(text) >= 0 : error_no_memory(err);
}

static bool contradict(const char *path, const char *features_path, struct error *err)
{
    autoguesttable struct guest_table table = {0};
    autojson json_t *json = read_json(features_path, err);
    autofeatureset struct featureset features = {0};
    autostrlist struct strlist missing = {0}, extra = {0};
    if (!json || !read_table(path, &table, err) ||
        !featureset_from_json(&features, json_object_get(json, "features"), "features", err) ||
        !guest_table_contradictions(&table, &features, &missing, &extra, err))
        return false;
    for (size_t i = 0; i < missing.count; i++)
        printf("missing %s\n", missing.items[i]);
    for (size_t i = 0; i < extra.count; i++)
        printf("extra %s\n", extra.items[i]);
    return true;
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
    else if (argc == 3 && strcmp(argv[1], "shows") == 0)
        good = show(argv[2], &err);
    else if (argc == 4 && strcmp(argv[1], "contradictions") == 0)
        good = contradict(argv[2], argv[3], &err);
    else if (argc == 3 && strcmp(argv[1], "bytes") == 0)
        good = read_bytes(argv[2], &err);
    else if (argc >= 7 && (strcmp(argv[1], "late") == 0 || strcmp(argv[1], "drop") == 0))
        good = prove_later(argv[1][0] == 'l', argc - 2, argv + 2, &err);
    else if (argc >= 6)
        good = prove(argv[1], argc - 2, argv + 2, &err);
    else
        error_set(&err, STATUS_USAGE, "print-guest: wrong arguments");
    if (good)
        return fflush(stdout) == 0 ? 0 : STATUS_CANNOT_WRITE;
    fprintf(stderr, "%s\n", err.message);
    return err.status;
}
