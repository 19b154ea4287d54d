/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "migration/migrate.h"

#include <poll.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"

#define COMMAND_MS 10000
#define GREETING_MS 2000
#define POLL_MS 100
#define CONNECT_RETRY_MS 8000 /* the destination's QEMU may still be starting */
#define CANCEL_MS 10000

static deadline soon(void)
{
    return deadline_in_ms(COMMAND_MS);
}

/* The guest's run state: "running", "paused", "postmigrate" … */
static bool read_run_state(struct qmp *qmp, char *state, size_t size, struct error *err)
{
    autojson json_t *reply = NULL;
    if (!qmp_execute(qmp, "query-status", NULL, soon(), STATUS_UNAVAILABLE, &reply, err))
        return false;
    const char *status = json_string_value(json_object_get(reply, "status"));
    if (!status || strlen(status) >= size)
        return error_set(err, STATUS_PROTOCOL, "QEMU tells no run state");
    memcpy(state, status, strlen(status) + 1);
    return true;
}

static bool set_up(struct qmp *qmp, const struct migration_options *options, struct error *err)
{
    /* Without return-path the source says "completed" to a destination that failed to load. */
    json_t *capabilities =
        json_pack("{s:[{s:s, s:b}]}", "capabilities", "capability", "return-path", "state", 1);
    autojson json_t *parameters = json_object();
    if (options->bandwidth > 0)
        json_object_set_new(parameters, "max-bandwidth", json_integer(options->bandwidth));
    if (options->downtime_ms > 0)
        json_object_set_new(parameters, "downtime-limit", json_integer(options->downtime_ms));
    if (!capabilities || !parameters) {
        json_decref(capabilities);
        return error_no_memory(err);
    }
    if (!qmp_execute(qmp, "migrate-set-capabilities", capabilities, soon(), STATUS_MIGRATION, NULL,
                     err))
        return false;
    return json_object_size(parameters) == 0 ||
           qmp_execute(qmp, "migrate-set-parameters", json_incref(parameters), soon(),
                       STATUS_MIGRATION, NULL, err);
}

static int64_t number_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? (int64_t)json_number_value(value) : -1;
}

/* One look at the migration: its status into text, its numbers into progress. */
static bool look(struct qmp *qmp, char *status, size_t size, char *reason, size_t reason_size,
                 struct migration_progress *progress, struct error *err)
{
    autojson json_t *reply = NULL;
    if (!qmp_execute(qmp, "query-migrate", NULL, soon(), STATUS_UNAVAILABLE, &reply, err))
        return false;
    const char *word = json_string_value(json_object_get(reply, "status"));
    const char *why = json_string_value(json_object_get(reply, "error-desc"));
    const json_t *ram = json_object_get(reply, "ram");
    size_t length = word ? strlen(word) : 0;
    if (length >= size)
        return error_set(err, STATUS_PROTOCOL, "QEMU tells no status of the migration");
    memcpy(status, word ? word : "", length + 1);
    length = why ? strlen(why) : 0;
    if (length >= reason_size)
        length = reason_size - 1;
    memcpy(reason, why ? why : "", length);
    reason[length] = '\0';
    *progress = (struct migration_progress){
        .total = number_of(ram, "total"),
        .remaining = number_of(ram, "remaining"),
        .transferred = number_of(ram, "transferred"),
        .elapsed_ms = number_of(reply, "total-time"),
        .expected_downtime_ms = number_of(reply, "expected-downtime"),
        .downtime_ms = number_of(reply, "downtime"),
        .megabits_per_second = json_number_value(json_object_get(ram, "mbps")),
    };
    return true;
}

struct outcome {
    char status[32]; /* QEMU's: completed, failed, cancelled */
    char reason[512];
    struct migration_progress progress;
};

/* Until it is over one way or the other. */
static bool follow(struct qmp *qmp, const struct migration_options *options,
                   struct outcome *outcome, struct error *err)
{
    bool cancelled = false;
    for (;;) {
        if (!look(qmp, outcome->status, sizeof(outcome->status), outcome->reason,
                  sizeof(outcome->reason), &outcome->progress, err))
            return false;
        if (strcmp(outcome->status, "completed") == 0 || strcmp(outcome->status, "failed") == 0 ||
            strcmp(outcome->status, "cancelled") == 0)
            return true;
        if (options->report)
            options->report(options->context, &outcome->progress);
        if (options->interrupted && *options->interrupted && !cancelled) {
            log_info("cancelling the migration");
            if (!qmp_execute(qmp, "migrate_cancel", NULL, soon(), STATUS_UNAVAILABLE, NULL, err))
                return false;
            cancelled = true;
        }
        poll(NULL, 0, POLL_MS);
    }
}

/* The destination's QEMU may be a moment behind: a connection refused is tried again. */
static bool run_migration(struct qmp *qmp, const char *uri, const struct migration_options *options,
                          struct outcome *outcome, struct error *err)
{
    deadline retry_until = deadline_in_ms(CONNECT_RETRY_MS);
    for (bool told = false;; told = true) {
        json_t *arguments = json_pack("{s:s}", "uri", uri);
        if (!arguments)
            return error_no_memory(err);
        if (!qmp_execute(qmp, "migrate", arguments, soon(), STATUS_MIGRATION, NULL, err) ||
            !follow(qmp, options, outcome, err))
            return false;
        bool refused = strcmp(outcome->status, "failed") == 0 &&
                       strstr(outcome->reason, "Connection refused") &&
                       deadline_left_ms(retry_until) > 0;
        if (!refused || (options->interrupted && *options->interrupted))
            return true;
        if (!told)
            log_info("waiting for the destination's QEMU at %s", uri);
        poll(NULL, 0, 200);
    }
}

static bool store_place(const struct paths *paths, struct vm_record *record, enum vm_place place,
                        struct error *err)
{
    record->place = place;
    return vm_record_store(paths, record, err);
}

/* It did not move. Does the guest run on here? */
static bool report_failure(struct qmp *qmp, const char *before, const struct outcome *outcome,
                           const struct vm_record *record, struct error *err)
{
    char state[32];
    const char *reason = *outcome->reason ? outcome->reason : outcome->status;
    deadline until = deadline_in_ms(CANCEL_MS);
    do {
        if (!read_run_state(qmp, state, sizeof(state), err))
            return error_set(err, STATUS_DECISION,
                             "%s: migration failed (%s), and the QEMU here does not answer",
                             record->vm, reason);
        if (strcmp(state, before) == 0)
            return error_set(err, STATUS_MIGRATION, "%s was not moved to %s and %s here: %s",
                             record->vm, record->peer,
                             strcmp(before, "running") == 0 ? "runs on" : "stays paused", reason);
        poll(NULL, 0, POLL_MS);
    } while (deadline_left_ms(until) > 0);
    return error_set(
        err, STATUS_DECISION,
        "%s was not moved to %s (%s), and is '%s' here: if it does not run there, continue "
        "it here with 'cont' on %s",
        record->vm, record->peer, reason, state, record->socket);
}

/* A migration that an earlier `migrate` began and did not see the end of: still under way, or done.
 * true: it is taken up, *outcome is of its end then. */
static bool take_up(struct qmp *qmp, const struct vm_record *record,
                    const struct migration_options *options, struct outcome *outcome,
                    struct error *failure, bool *ran)
{
    static const char *const going[] = {"setup", "active", "device", "pre-switchover", "completed"};
    if (record->place != PLACE_MOVING ||
        !look(qmp, outcome->status, sizeof(outcome->status), outcome->reason,
              sizeof(outcome->reason), &outcome->progress, NULL))
        return false;
    for (size_t i = 0; i < sizeof(going) / sizeof(going[0]); i++) {
        if (strcmp(outcome->status, going[i]) != 0)
            continue;
        log_info("taking up the migration of %s to %s", record->vm, record->peer);
        *ran = follow(qmp, options, outcome, failure);
        return true;
    }
    return false;
}

/* Set up and begin a migration, and see it end. */
static bool begin(const struct paths *paths, struct qmp *qmp, struct vm_record *record,
                  const char *before, const char *uri, const struct migration_options *options,
                  struct outcome *outcome, struct error *failure, bool *ran, struct error *err)
{
    if (strcmp(before, "running") != 0 && strcmp(before, "paused") != 0)
        return error_set(err, STATUS_DECISION, "%s is '%s' here: there is nothing to move",
                         record->vm, before);
    if (!set_up(qmp, options, err) || !store_place(paths, record, PLACE_MOVING, err))
        return false;
    *ran = run_migration(qmp, uri, options, outcome, failure);
    return true;
}

bool migrate_vm(const struct paths *paths, struct vm_record *record, const char *host,
                uint16_t port, const struct migration_options *options,
                struct migration_progress *final, struct error *err)
{
    char before[32];
    struct outcome outcome = {.status = ""};
    struct error failure = ERROR_INIT;
    bool ran = false;
    autofree char *uri = strchr(host, ':') ? string_format("tcp:[%s]:%u", host, port)
                                           : string_format("tcp:%s:%u", host, port);
    autoqmp struct qmp *qmp = qmp_connect(record->socket, GREETING_MS, err);
    if (!qmp || !uri)
        return qmp ? error_no_memory(err) : error_wrap(err, "%s: its QEMU", record->vm);
    if (!read_run_state(qmp, before, sizeof(before), err))
        return false;
    if (!take_up(qmp, record, options, &outcome, &failure, &ran) &&
        !begin(paths, qmp, record, before, uri, options, &outcome, &failure, &ran, err))
        return false;
    if (!ran && failure.status != STATUS_MIGRATION)
        return error_set(
            err, STATUS_DECISION,
            "%s: lost its QEMU here during the migration (%s): look whether it runs on %s",
            record->vm, failure.message, record->peer);
    if (!ran || strcmp(outcome.status, "completed") != 0) {
        if (!ran)
            memcpy(outcome.reason, failure.message, sizeof(outcome.reason) - 1);
        if (report_failure(qmp, before, &outcome, record, err) || err->status == STATUS_MIGRATION)
            store_place(paths, record, PLACE_HERE, NULL);
        return false;
    }
    if (final)
        *final = outcome.progress;
    if (!store_place(paths, record, PLACE_MOVED, err))
        return false;
    if (!options->keep_source)
        qmp_execute(qmp, "quit", NULL, soon(), STATUS_UNAVAILABLE, NULL, NULL);
    return true;
}
