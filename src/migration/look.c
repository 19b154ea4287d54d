/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "migration/look.h"

#include <string.h>

#include "base/cleanup.h"

/* MigrationStatus of QEMU 7.2 to 10.2 (qapi/migration.json). */
static const struct {
    const char *name;
    enum migration_stage stage;
} stages[] = {
    {"", STAGE_NONE},
    {"none", STAGE_NONE},
    {"setup", STAGE_COPYING},
    {"wait-unplug", STAGE_COPYING},
    {"active", STAGE_COPYING},
    {"pre-switchover", STAGE_PAUSED},
    {"device", STAGE_SWITCHING},
    {"colo", STAGE_SWITCHING},
    {"completed", STAGE_COMPLETED},
    {"failed", STAGE_FAILED},
    {"failing", STAGE_CANCELLING},
    {"cancelled", STAGE_FAILED},
    {"cancelling", STAGE_CANCELLING},
    {"postcopy-device", STAGE_POSTCOPY},
    {"postcopy-active", STAGE_POSTCOPY},
    {"postcopy-recover-setup", STAGE_POSTCOPY},
    {"postcopy-recover", STAGE_POSTCOPY},
    {"postcopy-paused", STAGE_BROKEN},
};

enum migration_stage migration_stage(const struct migration_look *look)
{
    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++)
        if (strcmp(stages[i].name, look->status) == 0)
            return stages[i].stage;
    return STAGE_SWITCHING; /* a newer one: it is waited for */
}

/* -1 when it is not there. */
static int64_t number_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    double number = json_number_value(value);
    return json_is_number(value) && number >= 0 && number < 9e18 ? (int64_t)number : -1;
}

bool migration_look_take(const json_t *reply, struct migration_look *out, struct error *err)
{
    const json_t *ram = json_object_get(reply, "ram");
    const char *status = json_string_value(json_object_get(reply, "status"));
    const char *reason = json_string_value(json_object_get(reply, "error-desc"));
    double megabits = json_number_value(json_object_get(ram, "mbps"));
    int64_t dirty = number_of(ram, "dirty-pages-rate"), page = number_of(ram, "page-size");
    int64_t throttle = number_of(reply, "cpu-throttle-percentage");
    int64_t passes = number_of(ram, "dirty-sync-count");
    struct migration_look look;
    autofree char *plain = string_plain(reason, sizeof(look.reason) - 1);
    if (!plain)
        return error_no_memory(err);
    if (!json_is_object(reply) || (status && strlen(status) >= sizeof(look.status)))
        return error_set(err, STATUS_PROTOCOL, "QEMU tells no status of the migration");
    memset(&look, 0, sizeof(look));
    memcpy(look.status, status ? status : "", status ? strlen(status) : 0);
    memcpy(look.reason, plain, strlen(plain));
    look.sample = (struct progress_sample){
        .total = number_of(ram, "total"),
        .remaining = number_of(ram, "remaining"),
        .transferred = number_of(ram, "transferred"),
        .rate = megabits > 0 && megabits < 1e9 ? (int64_t)(megabits * 125000) : -1,
        .dirty_rate = dirty >= 0 && page > 0 && dirty < INT64_MAX / page ? dirty * page : -1,
        .elapsed_ms = number_of(reply, "total-time"),
        .expected_downtime_ms = number_of(reply, "expected-downtime"),
        .throttle = throttle > 0 && throttle <= 100 ? (int)throttle : 0,
    };
    look.downtime_ms = number_of(reply, "downtime");
    look.passes = passes > 0 ? passes : 0;
    *out = look;
    return true;
}

bool migration_look(struct qmp *qmp, struct migration_look *look, struct error *err)
{
    autojson json_t *reply = NULL;
    return qmp_execute(qmp, "query-migrate", NULL, deadline_in_ms(LOOK_MS), STATUS_PROTOCOL, &reply,
                       err) &&
           migration_look_take(reply, look, err);
}

bool migration_wait(struct qmp *qmp, int64_t milliseconds)
{
    deadline until = deadline_in_ms(milliseconds);
    bool closed = false, over = false;
    for (;;) {
        autojson json_t *event = qmp_next_event(qmp, until, &closed);
        const char *name = json_string_value(json_object_get(event, "event"));
        if (!event)
            return over;
        over = over ||
               (name && (strcmp(name, "SHUTDOWN") == 0 || strcmp(name, "GUEST_PANICKED") == 0));
        if (name && (strcmp(name, "MIGRATION") == 0 || strcmp(name, "STOP") == 0 ||
                     strcmp(name, "RESUME") == 0))
            return over;
    }
}

bool run_state_read(struct qmp *qmp, char state[RUN_STATE_SIZE], struct error *err)
{
    autojson json_t *reply = NULL;
    if (!qmp_execute(qmp, "query-status", NULL, deadline_in_ms(LOOK_MS), STATUS_PROTOCOL, &reply,
                     err))
        return false;
    const char *status = json_string_value(json_object_get(reply, "status"));
    if (!status || strlen(status) >= RUN_STATE_SIZE || !text_is_plain(status))
        return error_set(err, STATUS_PROTOCOL, "QEMU tells no run state");
    memcpy(state, status, strlen(status) + 1);
    return true;
}

bool run_state_is_paused(const char *state)
{
    static const char *const names[] = {"paused", "prelaunch", "postmigrate", "finish-migrate"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i], state) == 0)
            return true;
    return false;
}

bool run_state_is_over(const char *state)
{
    static const char *const names[] = {"shutdown", "guest-panicked", "internal-error", "io-error",
                                        "watchdog"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i], state) == 0)
            return true;
    return false;
}
