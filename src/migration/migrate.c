/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "migration/migrate.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/log.h"
#include "migration/guardian_control.h"
#include "migration/sequence.h"
#include "migration/watcher.h"

#define WATCHER_MS 30000 /* how long a watcher at work is waited for */
#define LOCK_STEP_MS 100

/* The VM's lock; a watcher that is seeing to it is waited for, and the guardian's short moments. */
static int lock_vm(const struct paths *paths, const char *vm, struct error *err)
{
    deadline until = deadline_in_ms(WATCHER_MS);
    for (bool told = false;; told = true) {
        int lock = vm_record_lock_soon(paths, vm, err);
        if (lock >= 0 || err->status != STATUS_DECISION || !watcher_works(paths, vm) ||
            deadline_left_ms(until) == 0)
            return lock;
        if (!told)
            log_info("%s: waiting for the watcher, who takes up what another migrate has left", vm);
        poll(NULL, 0, LOCK_STEP_MS);
    }
}

static void fill_result(const struct migration *m, struct migration_result *result)
{
    *result = (struct migration_result){.transferred = m->look.sample.transferred,
                                        .elapsed_ms = m->look.sample.elapsed_ms,
                                        .downtime_ms = m->downtime_ms >= 0 ? m->downtime_ms
                                                                           : m->look.downtime_ms};
    snprintf(result->peer, sizeof(result->peer), "%s", m->peer->name);
}

/* Into m->record->migration, with where it goes. */
static bool plan(struct migration *m, struct error *err)
{
    const struct migration_options *options = m->options;
    struct vm_migration *migration = &m->record->migration;
    char state[RUN_STATE_SIZE];
    if (!migration_open_qmp(m, err) || !run_state_read(m->qmp, state, err))
        return false;
    if (strcmp(state, "inmigrate") == 0)
        return error_set(err, STATUS_USAGE,
                         "%s waits here to be moved here: run 'migrate %s' on %s", m->record->vm,
                         m->record->vm, m->record->peer);
    if (strcmp(state, "postmigrate") == 0)
        return error_set(err, STATUS_DECISION,
                         "%s is paused since a migration failed: QEMU moves it only after a 'cont' "
                         "on %s",
                         m->record->vm, m->record->socket);
    if (strcmp(state, "running") != 0 && !run_state_is_paused(state))
        return error_set(err, STATUS_DECISION, "%s is '%s' here: there is nothing to move",
                         m->record->vm, state);
    migration->run = strcmp(state, "running") == 0;
    migration->keep_source = options->keep_source;
    migration->direct = options->wishes.direct;
    migration->postcopy = options->wishes.postcopy;
    return migration_find_destination(m, err) &&
           random_hex((MIGRATION_ID_SIZE - 1) / 2, migration->id, err);
}

static bool not_begun(const struct migration *m, struct error *err)
{
    static const enum status as_they_are[] = {
        STATUS_USAGE,    STATUS_DATA,         STATUS_PROTOCOL,  STATUS_NOT_TRUSTED,
        STATUS_INTERNAL, STATUS_CANNOT_WRITE, STATUS_MIGRATION, STATUS_CONFIG};
    struct error why = *err;
    enum status status = STATUS_MIGRATION;
    for (size_t i = 0; i < sizeof(as_they_are) / sizeof(as_they_are[0]); i++)
        if (why.status == as_they_are[i])
            status = why.status;
    return error_set(err, status, "%s was not moved to %s and %s here: %s", m->record->vm,
                     m->peer->name, m->record->migration.run ? "runs on" : "stays paused",
                     why.message);
}

bool migration_conclude(struct migration *m, struct error *err)
{
    switch (migration_follow(m)) {
    case END_COMPLETED:
        return migration_hand_over(m, err);
    case END_POSTCOPY:
        return migration_postcopy(m, err);
    case END_QEMU_LOST:
        return migration_qemu_lost(m, err);
    default:
        return migration_stay(m, err);
    }
}

/* Where it is stays as it is until the pre-flight is through; then nothing is done that is not in
 * the record. */
static bool move(struct migration *m, struct error *err)
{
    automigrationoffer struct migration_offer offer = {0};
    const struct lease_source lease = LEASE_SOURCE_INIT;
    if (!plan(m, err) || !migration_open_link(m, &lease, err))
        return false;
    if (!migration_check(m, &offer, err))
        return not_begun(m, err);
    const struct migration_side *side = &m->settings.ends[MIGRATION_SOURCE];
    json_decref(m->record->migration.undo);
    m->record->migration.undo = json_pack("{s:O, s:O}", "capabilities", side->undo_capabilities,
                                          "parameters", side->undo_parameters);
    if (!m->record->migration.undo) {
        error_no_memory(err);
        return not_begun(m, err);
    }
    m->record->role = ROLE_SOURCE;
    if (!migration_store(m, PLACE_MOVING, err))
        return not_begun(m, err);
    return migration_begin(m, &offer) ? migration_conclude(m, err) : migration_stay(m, err);
}

static bool load(const struct paths *paths, const char *vm, struct vm_record *record,
                 struct error *err)
{
    vm_record_free(record);
    if (!vm_record_load(paths, vm, record, err))
        return false;
    return record->vm ||
           error_set(err, STATUS_USAGE,
                     "no VM %s was launched here ('agreement list' shows those that are known)",
                     vm);
}

static bool is_under_way(const struct vm_record *record)
{
    return record->place == PLACE_MOVING ||
           (record->place == PLACE_TOLD && record->role == ROLE_SOURCE);
}

/* What an earlier one has left comes first. */
static bool run(const struct paths *paths, const char *vm, const struct migration_options *options,
                struct migration_result *result, struct error *err)
{
    autovmrecord struct vm_record record = {0};
    if (!load(paths, vm, &record, err))
        return false;
    if (is_under_way(&record)) {
        automigration struct migration m = {.paths = paths, .options = options, .record = &record};
        bool here = false;
        if (!migration_recover(&m, err) || !migration_take_up(&m, &here, err))
            return false;
        if (!here) {
            fill_result(&m, result);
            return true;
        }
        log_info("%s", err->message);
        if (!load(paths, vm, &record, err))
            return false;
    }
    automigration struct migration m = {
        .paths = paths, .options = options, .record = &record, .downtime_ms = -1};
    if (!move(&m, err))
        return false;
    fill_result(&m, result);
    return true;
}

/* The cases that need no migration, or can have none. */
static bool check_place(struct vm_record *record, struct error *err)
{
    bool running = vm_record_is_running(record);
    if (record->place == PLACE_MOVED)
        return error_set(err, STATUS_DECISION, "%s has moved to %s already", record->vm,
                         record->peer);
    if (record->place == PLACE_ELSEWHERE)
        return error_set(err, STATUS_DECISION, "%s lives on %s: run 'migrate %s' there", record->vm,
                         record->peer, record->vm);
    if (is_under_way(record))
        return true;
    if (!running)
        return error_set(err, STATUS_DECISION, "%s does not run here any more: launch it again",
                         record->vm);
    bool waits = record->place == PLACE_INCOMING || record->place == PLACE_TOLD;
    if (waits && record->guardian_port > 0)
        return error_set(err, STATUS_USAGE,
                         "%s was started here to be moved here: run 'migrate %s' on %s", record->vm,
                         record->vm, record->peer);
    return true;
}

/* --resume-on, on either host. */
static bool decide(const struct paths *paths, struct vm_record *record,
                   const struct migration_options *options, struct migration_result *result,
                   struct error *err)
{
    bool here = options->resume_on == RESUME_ON_DESTINATION;
    automigration struct migration m = {.paths = paths, .options = options, .record = record};
    if (record->place == PLACE_MOVED || record->place == PLACE_ELSEWHERE)
        return error_set(err, STATUS_DECISION, "%s %s %s: there is nothing to decide here",
                         record->vm, record->place == PLACE_MOVED ? "has moved to" : "lives on",
                         record->peer);
    if (!is_under_way(record) && record->guardian_port > 0)
        return guardian_decide(paths, record, here, err);
    if (!is_under_way(record))
        return error_set(err, STATUS_USAGE, "%s is not being moved: there is nothing to decide",
                         record->vm);
    if (!migration_recover(&m, err) || !migration_resume_on(&m, err))
        return false;
    if (record->place == PLACE_MOVED) {
        fill_result(&m, result);
        return true;
    }
    log_info("%s %s here", record->vm, record->migration.run ? "runs on" : "stays paused");
    return true;
}

/* The watcher's work: what `migrate VM` would do about it, and no more. */
static void watch(const struct paths *paths, const char *vm)
{
    const struct migration_options options = {0};
    autovmrecord struct vm_record record = {0};
    struct error err = ERROR_INIT;
    bool here = false;
    log_set_level(LOG_LEVEL_INFO);
    log_set_time(true);
    autoclose UNREAD int announced = watcher_announce(paths, vm);
    autoclose int lock = -1;
    while ((lock = vm_record_lock(paths, vm, &err)) < 0 && err.status == STATUS_DECISION)
        poll(NULL, 0, LOCK_STEP_MS);
    if (lock < 0 || !load(paths, vm, &record, &err)) {
        log_error("%s", err.message);
        return;
    }
    if (!is_under_way(&record))
        return;
    log_info("%s: 'migrate' was killed", vm);
    automigration struct migration m = {.paths = paths, .options = &options, .record = &record};
    if (!migration_recover(&m, &err) || !migration_take_up(&m, &here, &err) || here)
        log_error("%s", err.message);
    else
        log_info("%s has moved to %s", vm, m.peer->name);
}

bool migrate_vm(const struct paths *paths, const char *vm, const struct migration_options *options,
                struct migration_result *result, struct error *err)
{
    struct watcher watcher = {.fd = -1};
    autovmrecord struct vm_record record = {0};
    autoclose int lock = lock_vm(paths, vm, err);
    if (lock < 0 || !load(paths, vm, &record, err))
        return false;
    if (options->resume_on == RESUME_BY_ITSELF && !check_place(&record, err))
        return false;
    if (!watcher_start(paths, vm, watch, &watcher, err))
        return false;
    bool good = options->resume_on == RESUME_BY_ITSELF
                    ? run(paths, vm, options, result, err)
                    : decide(paths, &record, options, result, err);
    watcher_dismiss(&watcher);
    return good;
}
