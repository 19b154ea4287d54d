/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Taking up a migration that another `migrate` began and did not see the end of, from the record
 * and from what both QEMUs say; and --resume-on, for people who decide.
 */
#include <poll.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "migration/sequence.h"

#define PATIENCE_MS 10000 /* for the guardian to answer */
#define RETRY_MS 200

bool migration_recover(struct migration *m, struct error *err)
{
    struct lease_source lease =
        lease_source_recover(m->record->place == PLACE_TOLD, clock_now_ms());
    struct migration_side *side = &m->settings.ends[MIGRATION_SOURCE];
    json_t *undo = m->record->migration.undo;
    m->prepared = true;
    side->undo_capabilities = json_incref(json_object_get(undo, "capabilities"));
    side->undo_parameters = json_incref(json_object_get(undo, "parameters"));
    m->applied = side->undo_capabilities && side->undo_parameters;
    m->downtime_ms = -1;
    if (!migration_open_link(m, &lease, err))
        return false;
    if (!vm_record_is_running(m->record))
        return true;
    return migration_open_qmp(m, err) &&
           (migration_look(m->qmp, &m->look, err) || error_wrap(err, "%s", m->record->vm));
}

static bool note_broken_off(struct migration *m)
{
    struct error why = ERROR_INIT;
    error_set(&why, STATUS_MIGRATION, "the migration was broken off");
    return migration_note(m, &why);
}

/* How is it there? False when nobody answers for a while. */
static bool ask(struct migration *m, bool grant, struct guardian_status *status, struct error *err)
{
    deadline until = deadline_in_ms(PATIENCE_MS);
    const struct link_renewal question = {.limit_ms = LINK_URGENT_MS};
    const struct link_renewal renewal = {.grant = true, .limit_ms = LINK_URGENT_MS};
    while (!guardian_link_renew(m->link, &question, status, err)) {
        if (err->status != STATUS_UNAVAILABLE || deadline_left_ms(until) == 0)
            return false;
        poll(NULL, 0, RETRY_MS);
    }
    /* The first grant needs the stamp of an answer. */
    return !grant || guardian_link_renew(m->link, &renewal, status, err);
}

static bool is_complete(const struct guardian_status *status)
{
    return strcmp(status->migration, "completed") == 0;
}

static bool is_ended(const struct guardian_status *status)
{
    return strcmp(status->run_state, "ended") == 0;
}

/* Not told. Nothing but this QEMU may run it, unless all of it is over there already. */
static bool take_up_moving(struct migration *m, struct error *err)
{
    struct error why = ERROR_INIT;
    struct guardian_status status;
    enum migration_stage stage = m->qmp ? migration_stage(&m->look) : STAGE_COMPLETED;
    bool relayed = !m->record->migration.direct;
    note_broken_off(m);
    if (stage == STAGE_SWITCHING || (!relayed && stage == STAGE_COPYING) ||
        (!relayed && stage == STAGE_PAUSED)) {
        m->why.status = STATUS_OK;
        m->continued = stage == STAGE_SWITCHING;
        return ask(m, true, &status, &why) && guardian_link_start(m->link, &why)
                   ? migration_conclude(m, err)
                   : migration_stay(m, err);
    }
    if (stage != STAGE_COMPLETED)
        return migration_stay(m, err);
    m->continued = true;
    if (!ask(m, true, &status, &why))
        return migration_stay(m, err);
    if (status.lease == LEASE_RUN && is_ended(&status))
        return migration_ran_shortly(m, err);
    if (status.lease == LEASE_HELD && is_complete(&status)) {
        m->why.status = STATUS_OK;
        return migration_hand_over(m, err);
    }
    return migration_stay(m, err);
}

static bool refuse_ended(const struct migration *m, struct error *err)
{
    return error_set(err, STATUS_DECISION,
                     "%s ran on %s, and its QEMU there has ended: it runs nowhere, and what stands "
                     "here is as old as its move: end QEMU here (pid %lld), and start it anew with "
                     "launch --renegotiate --here",
                     m->record->vm, m->peer->name, (long long)m->record->pid);
}

static bool refuse_stranger(const struct migration *m, struct error *err)
{
    return error_set(err, STATUS_DECISION,
                     "%s was told to run %s, and who answers there knows nothing of it: look "
                     "whether it runs there",
                     m->peer->name, m->record->vm);
}

/* Told: the guardian says who may run it. */
static bool take_up_told(struct migration *m, struct error *err)
{
    struct error why = ERROR_INIT;
    struct guardian_status status;
    enum migration_stage stage = m->qmp ? migration_stage(&m->look) : STAGE_COMPLETED;
    bool was_paused = stage == STAGE_COPYING || stage == STAGE_PAUSED;
    bool in_postcopy = stage == STAGE_POSTCOPY || stage == STAGE_BROKEN ||
                       stage == STAGE_SWITCHING || stage == STAGE_FAILED || stage == STAGE_NONE;
    if (!ask(m, false, &status, &why))
        return migration_unknown(m, err);
    m->continued = !was_paused;
    m->postcopy_begun = m->record->migration.postcopy;
    if (status.lease == LEASE_NONE)
        return refuse_stranger(m, err);
    if (status.lease == LEASE_RUN && is_ended(&status))
        return refuse_ended(m, err);
    if (status.lease == LEASE_ENDING || status.lease == LEASE_ENDED || was_paused) {
        note_broken_off(m);
        return migration_stay(m, err);
    }
    if (in_postcopy && m->record->migration.postcopy)
        return migration_postcopy(m, err);
    return migration_end_told(m, true, err);
}

bool migration_take_up(struct migration *m, bool *here, struct error *err)
{
    log_info("taking up the migration of %s to %s", m->record->vm, m->peer->name);
    bool moved = m->record->place == PLACE_TOLD ? take_up_told(m, err) : take_up_moving(m, err);
    *here = !moved && err->status == STATUS_MIGRATION;
    return moved || *here;
}

/* The guest is to go on here: unless it may run there. */
static bool resume_on_source(struct migration *m, struct error *err)
{
    struct error why = ERROR_INIT;
    struct guardian_status status;
    const char *vm = m->record->vm, *peer = m->peer->name;
    bool told = m->record->place == PLACE_TOLD, answered = ask(m, false, &status, &why);
    if (!m->qmp)
        return migration_qemu_lost(m, err);
    if (told && !answered)
        return error_set(
            err, STATUS_DECISION,
            "%s was told to run %s, and does not answer (%s): it may run there. On %s: "
            "'qemu-migrate-launch migrate %s --resume-on source' gives it up, if it "
            "has not run; then this again",
            peer, vm, why.message, peer, vm);
    if (told && status.lease == LEASE_NONE)
        return refuse_stranger(m, err);
    if (answered && status.lease == LEASE_RUN && !is_ended(&status))
        return error_set(err, STATUS_DECISION, "%s runs on %s: it cannot run here, too", vm, peer);
    if (told && status.lease == LEASE_RUN)
        return refuse_ended(m, err);
    /* It ran there for a moment only, and QEMU there is gone: the record says so by its place. */
    if (answered && status.lease == LEASE_RUN)
        guardian_link_returned(m->link);
    if (told && !migration_take_back(m))
        return migration_unknown(m, err);
    note_broken_off(m);
    migration_stay(m, err);
    return err->status == STATUS_MIGRATION;
}

static bool resume_on_destination(struct migration *m, struct error *err)
{
    struct guardian_status status;
    struct error why = ERROR_INIT;
    const char *vm = m->record->vm, *peer = m->peer->name;
    bool told = m->record->place == PLACE_TOLD;
    if (!ask(m, !told, &status, &why))
        return error_set(err, STATUS_DECISION, "%s: %s does not answer: %s", vm, peer, why.message);
    if (status.lease == LEASE_RUN && !is_ended(&status))
        return m->record->migration.postcopy && m->qmp &&
                       migration_stage(&m->look) != STAGE_COMPLETED
                   ? migration_postcopy(m, err)
                   : migration_finish(m, err);
    if (!is_complete(&status))
        return error_set(err, STATUS_DECISION,
                         "%s is not all on %s (its migration there is '%s', its QEMU '%s'): it "
                         "cannot run there; 'qemu-migrate-launch migrate %s' sees to it",
                         vm, peer, status.migration, status.run_state, vm);
    m->continued = true;
    return told ? migration_end_told(m, true, err) : migration_hand_over(m, err);
}

bool migration_resume_on(struct migration *m, struct error *err)
{
    return m->options->resume_on == RESUME_ON_SOURCE ? resume_on_source(m, err)
                                                     : resume_on_destination(m, err);
}
