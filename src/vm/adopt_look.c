/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/adopt_look.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vm/adopt.h"

#define COMMAND_MS 10000
#define REASON_MAX 200

void adopt_look_free(struct adopt_look *look)
{
    free(look->model);
    strlist_free(&look->blocked);
    *look = (struct adopt_look){0};
}

static bool ask(struct qmp *qmp, const char *command, json_t *arguments, json_t **reply,
                struct error *err)
{
    return qmp_execute(qmp, command, arguments, deadline_in_ms(COMMAND_MS), STATUS_PROTOCOL, reply,
                       err);
}

/* Run states in which the guest is not only here (QEMU qapi/run-state.json). */
static bool check_state(struct qmp *qmp, struct error *err)
{
    static const struct {
        const char *state, *what;
    } states[] = {
        {"inmigrate", "waits for a guest that comes from elsewhere: adopt it where it runs"},
        {"finish-migrate", "is sending its guest away: wait for the end"},
        {"postmigrate", "has sent its guest away: adopt it where it runs now"},
        {"restore-vm", "is loading its guest: wait for the end"},
        {"colo", "runs one of two copies of its guest"},
    };
    autojson json_t *reply = NULL;
    if (!ask(qmp, "query-status", NULL, &reply, err))
        return false;
    const char *state = json_string_value(json_object_get(reply, "status"));
    if (!state)
        return error_set(err, STATUS_PROTOCOL, "QEMU tells no run state");
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        if (strcmp(states[i].state, state) == 0)
            return error_set(err, STATUS_DECISION, "this QEMU %s", states[i].what);
    return true;
}

/* QEMU qapi/migration.json, MigrationStatus: all but these are of a migration under way. */
static bool is_over(const char *status)
{
    static const char *const over[] = {"none", "cancelled", "completed", "failed"};
    for (size_t i = 0; i < sizeof(over) / sizeof(over[0]); i++)
        if (strcmp(over[i], status) == 0)
            return true;
    return false;
}

static bool read_migration(struct qmp *qmp, struct strlist *blocked, struct error *err)
{
    autojson json_t *reply = NULL;
    size_t i;
    json_t *entry;
    if (!ask(qmp, "query-migrate", NULL, &reply, err))
        return false;
    const char *status = json_string_value(json_object_get(reply, "status"));
    if (status && !is_over(status))
        return error_set(err, STATUS_DECISION,
                         "this QEMU is migrating its guest (%.30s): wait for the end, or cancel it",
                         status);
    json_array_foreach(json_object_get(reply, "blocked-reasons"), i, entry)
    {
        autofree char *text = string_plain(json_string_value(entry), REASON_MAX);
        if (!text || !strlist_push(blocked, text))
            return error_no_memory(err);
    }
    return true;
}

static bool read_type(struct qmp *qmp, struct adopt_look *look, struct error *err)
{
    autojson json_t *list = NULL, *value = NULL;
    if (!ask(qmp, "query-cpus-fast", NULL, &list, err))
        return false;
    const char *path = json_string_value(json_object_get(json_array_get(list, 0), "qom-path"));
    if (!path)
        return error_set(err, STATUS_PROTOCOL, "QEMU's list of CPUs is not valid");
    json_t *arguments = json_pack("{s:s, s:s}", "path", path, "property", "type");
    if (!arguments)
        return error_no_memory(err);
    return ask(qmp, "qom-get", arguments, &value, err) &&
           adopt_read_model(json_string_value(value), &look->model, err);
}

bool adopt_look_read(struct qmp *qmp, struct adopt_look *out, struct error *err)
{
    autoadoptlook struct adopt_look look = {0};
    if (!check_state(qmp, err) || !read_migration(qmp, &look.blocked, err) ||
        !read_type(qmp, &look, err))
        return false;
    *out = look;
    look = (struct adopt_look){0};
    return true;
}
