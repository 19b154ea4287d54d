/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What src/vm makes of two real QEMUs before a migration, for tests/e2e/test_migration.py:
 *   print-migration settle SOURCE DESTINATION PATH WISHES
 *       decide and apply the settings over their QMP sockets; the notes, and the arguments of
 * migrate and migrate-incoming for the Unix socket PATH
 */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "migration/settings.h"
#include "migration/preflight.h"

static const char *const names[] = {"src", "dst"};

static struct qmp *open_monitor(const char *path, struct error *err)
{
    return qmp_connect(path, 10000, err);
}

static bool print(json_t *json, struct error *err)
{
    autojson json_t *owned = json;
    autofree char *text = owned ? json_to_text(owned) : NULL;
    return text ? puts(text) >= 0 : error_no_memory(err);
}

static bool settle(char **argv, bool undo, struct error *err)
{
    struct migration_offer offers[2] = {{0}, {0}};
    automigrationsettings struct migration_settings settings = {0};
    struct migration_wishes wishes;
    autojson json_t *json = json_parse_strict(argv[3], strlen(argv[3]), 4096, err);
    autoqmp struct qmp *source = open_monitor(argv[0], err);
    autoqmp struct qmp *destination = source ? open_monitor(argv[1], err) : NULL;
    bool done = json && destination && migration_wishes_from_json(json, "wishes", &wishes, err) &&
                migration_offer_read(source, MIGRATION_SOURCE, &offers[0], err) &&
                migration_offer_read(destination, MIGRATION_DESTINATION, &offers[1], err) &&
                migration_settings_decide(offers, names, &wishes, &settings, err) &&
                migration_side_apply(source, &settings.ends[0], err) &&
                migration_side_apply(destination, &settings.ends[1], err) &&
                (!undo || (migration_side_undo(source, &settings.ends[0], err) &&
                           migration_side_undo(destination, &settings.ends[1], err)));
    migration_offer_free(&offers[0]);
    migration_offer_free(&offers[1]);
    return done &&
           print(json_pack("{s:o, s:o, s:o}", "notes", json_from_names(&settings.notes), "migrate",
                           migration_arguments(&settings.ends[0], argv[2], 0), "migrate-incoming",
                           migration_arguments(&settings.ends[1], argv[2], 0)),
                 err);
}

static bool inventory(char **argv, struct error *err)
{
    autoqmp struct qmp *qmp = open_monitor(argv[0], err);
    json_t *json = qmp ? inventory_read(qmp, err) : NULL;
    return json && print(json, err);
}

static bool compare(char **argv, struct error *err)
{
    autostrlist struct strlist findings = {0}, warnings = {0};
    autojson json_t *source = NULL, *destination = NULL, *received = NULL;
    json_t **const machines[2] = {&source, &destination};
    for (int end = 0; end < 2; end++) {
        autoqmp struct qmp *qmp = open_monitor(argv[end], err);
        if (!qmp || !(*machines[end] = inventory_read(qmp, err)))
            return false;
    }
    autofree char *text = json_to_text(destination);
    if (!text || !(received = json_parse_strict(text, strlen(text), 1 << 20, err)) ||
        !inventory_check(received, "the destination's machine", err))
        return false;
    if (!preflight_find(source, received, names, &findings, &warnings))
        return error_no_memory(err);
    return print(json_pack("{s:o, s:o}", "findings", json_from_names(&findings), "warnings",
                           json_from_names(&warnings)),
                 err);
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    bool undo = argc == 6 && strcmp(argv[1], "undo") == 0;
    bool done = undo || (argc == 6 && strcmp(argv[1], "settle") == 0) ? settle(argv + 2, undo, &err)
                : argc == 3 && strcmp(argv[1], "inventory") == 0      ? inventory(argv + 2, &err)
                : argc == 4 && strcmp(argv[1], "compare") == 0
                    ? compare(argv + 2, &err)
                    : error_set(&err, STATUS_USAGE, "see %s.c", argv[0]);
    if (!done)
        fprintf(stderr, "%s\n", err.message);
    return done ? 0 : (int)err.status;
}
