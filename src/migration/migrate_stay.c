/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The guest was not moved: it is to be here again as it was.
 */
#include <poll.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "migration/sequence.h"

#define SETTLE_MS 20000 /* for QEMU to cancel a migration */
#define ITSELF_MS 3000  /* for it to go on with the guest by itself */
#define CONT_MS 10000
#define STEP_MS 20
#define ASK_MS 200
#define ABORT_MS 3000
#define REOPEN_MAX 3
#define ENDING_STEPS 50

/* Whether this QEMU's migration does not go on any more; cancels it. */
static bool settle(struct migration *m, struct error *err)
{
    deadline until = deadline_in_ms(SETTLE_MS);
    bool cancelled = false;
    for (;;) {
        if (!migration_look(m->qmp, &m->look, err))
            return false;
        switch (migration_stage(&m->look)) {
        case STAGE_NONE:
        case STAGE_FAILED:
        case STAGE_COMPLETED:
            return true;
        case STAGE_CANCELLING:
            break;
        default:
            if (!cancelled && !migration_command(m, "migrate_cancel", NULL, err))
                return false;
            cancelled = true;
        }
        if (deadline_left_ms(until) == 0)
            return error_set(err, STATUS_DECISION, "QEMU here does not end its migration ('%s')",
                             m->look.status);
        migration_wait(m->qmp, STEP_MS);
    }
}

bool migration_take_back(struct migration *m)
{
    bool told = false;
    guardian_link_cease(m->link);
    /* It was had back already: --resume-on source, after a QEMU there that ran it has ended. */
    if (guardian_link_is_over(m->link))
        return true;
    for (;;) {
        struct error err = ERROR_INIT;
        struct guardian_status status;
        int64_t wait = -1;
        if (guardian_link_order(m->link, ORDER_ABORT, ABORT_MS, &status, &err)) {
            if (status.lease == LEASE_ENDED)
                guardian_link_returned(m->link);
            if (status.lease == LEASE_RUN)
                return false;
        }
        if (guardian_link_may_run_here(m->link, &wait))
            return true;
        if (wait < 0)
            return false;
        if (!told && wait > ASK_MS) {
            migration_make_room(m);
            log_info("waiting %lld s, until %s cannot run %s any more",
                     (long long)(wait / 1000 + 1), m->peer->name, m->record->vm);
        }
        told = true;
        poll(NULL, 0, wait < ASK_MS ? (int)wait : ASK_MS);
    }
}

/* Is the guest as it was, and as it is to be? Who runs although he was stopped was continued by
 * somebody; who has come to his end stays so. */
static bool is_as_before(const struct migration *m, const char *state)
{
    if (strcmp(state, "running") == 0 || run_state_is_over(state))
        return true;
    return !m->record->migration.run && run_state_is_paused(state);
}

static bool wait_as_before(struct migration *m, int64_t milliseconds, char state[RUN_STATE_SIZE],
                           struct error *err)
{
    deadline until = deadline_in_ms(milliseconds);
    for (;;) {
        if (!run_state_read(m->qmp, state, err))
            return false;
        if (is_as_before(m, state) || deadline_left_ms(until) == 0)
            return true;
        migration_wait(m->qmp, STEP_MS);
    }
}

/* QEMU goes on with the guest by itself when its migration fails; when it had completed, or does
 * not, it is told to, as soon as that is safe. */
static bool go_on_here(struct migration *m, struct error *err)
{
    char *state = m->state;
    bool completed = migration_stage(&m->look) == STAGE_COMPLETED;
    if (!wait_as_before(m, completed ? 0 : ITSELF_MS, state, err))
        return false;
    if (is_as_before(m, state) || m->over)
        return true;
    if (!migration_take_back(m))
        return error_set(err, STATUS_DECISION, "it is '%s' here, and may have run on %s", state,
                         m->peer->name);
    if (!migration_command(m, "cont", NULL, err) || !wait_as_before(m, CONT_MS, state, err))
        return false;
    return is_as_before(m, state) ||
           error_set(err, STATUS_DECISION, "it is '%s' here: continue it with 'cont' on %s", state,
                     m->record->socket);
}

/* Undo what is set; the guest is here. */
static void clean_up(struct migration *m)
{
    struct error err = ERROR_INIT;
    if (m->prepared)
        m->asked = guardian_link_order(m->link, ORDER_ABORT, ABORT_MS, NULL, NULL);
    if (m->applied && !migration_side_undo(m->qmp, &m->settings.ends[MIGRATION_SOURCE], &err))
        log_warning("%s: its QEMU's settings for migrations are not as before: %s", m->record->vm,
                    err.message);
    if (m->options->to)
        migration_restore_peer(m);
}

/* All was sent, and QEMU here is not needed any more. */
static bool is_complete_there(struct migration *m)
{
    struct guardian_status status;
    const struct link_renewal renewal = {
        .grant = true, .wait_ms = ORDER_WAIT_MAX_MS, .limit_ms = LINK_URGENT_MS};
    return m->continued && guardian_link_renew(m->link, &renewal, &status, NULL) &&
           strcmp(status.migration, "completed") == 0;
}

static bool is_gone(struct migration *m, struct error *err)
{
    const struct vm_record *record = m->record;
    const char *peer = m->peer->name;
    bool told = record->place == PLACE_TOLD;
    if (m->prepared)
        guardian_link_order(m->link, ORDER_ABORT, ABORT_MS, NULL, NULL);
    if (told)
        return error_set(
            err, STATUS_DECISION,
            "%s: its QEMU here has ended (pid %lld) while a part of it was still here: "
            "what is on %s cannot go on: end it there, and start it anew with launch "
            "--renegotiate --here",
            record->vm, (long long)record->pid, peer);
    if (m->options->to)
        migration_restore_peer(m);
    migration_store(m, PLACE_HERE, NULL);
    return error_set(err, STATUS_DECISION,
                     "%s was not moved to %s: its QEMU here has ended (pid %lld), so that it runs "
                     "nowhere: start it anew with launch --renegotiate --here",
                     record->vm, peer, (long long)record->pid);
}

bool migration_stay(struct migration *m, struct error *err)
{
    struct error failure = ERROR_INIT;
    autofree char *peer = string_format("%s", m->peer->name);
    struct error why = m->why;
    if (!m->qmp)
        return is_gone(m, err);
    if (why.status == STATUS_OK)
        error_set(&why, STATUS_MIGRATION, "QEMU does not say why");
    guardian_link_cease(m->link);
    if (m->streams)
        migration_streams_stop(m->streams);
    /* Told for postcopy, but what it would run there never left: nobody can have run it. */
    if (m->postcopy_begun && !m->continued)
        guardian_link_untold(m->link);
    if (!settle(m, &failure) && failure.status != STATUS_DECISION)
        return migration_qemu_lost(m, err);
    /* A guest that stands still waits for this; one that runs does not. */
    if (failure.status != STATUS_OK || !go_on_here(m, &failure))
        return error_set(err, STATUS_DECISION, "%s was not moved to %s (%s), and %s", m->record->vm,
                         peer, why.message, failure.message);
    clean_up(m);
    if (!migration_store(m, PLACE_HERE, &failure))
        log_error("%s: %s", m->record->vm, failure.message);
    autofree char *other = string_format("is '%s'", m->state);
    const char *how = strcmp(m->state, "running") == 0 ? "runs on"
                      : run_state_is_paused(m->state)  ? "stays paused"
                                                       : other;
    return error_set(err, STATUS_MIGRATION, "%s was not moved to %s and %s here: %s%s",
                     m->record->vm, peer, how ? how : "is", why.message,
                     m->asked ? "; the next try needs a new destination there: 'receive', or "
                                "launch it with --incoming --agreement"
                              : "");
}

bool migration_qemu_lost(struct migration *m, struct error *err)
{
    const struct vm_record *record = m->record;
    qmp_close(STEAL(m->qmp));
    /* One that is just ending hangs up first. */
    for (int i = 0; i < ENDING_STEPS && vm_record_is_running(m->record); i++)
        poll(NULL, 0, STEP_MS);
    if (vm_record_is_running(m->record) && m->reopened++ < REOPEN_MAX &&
        migration_open_qmp(m, NULL))
        return migration_stay(m, err);
    if (vm_record_is_running(m->record))
        return error_set(err, STATUS_DECISION,
                         "%s: its QEMU here (pid %lld) does not answer any more; when it does: "
                         "'qemu-migrate-launch migrate %s' again",
                         record->vm, (long long)record->pid, record->vm);
    if (is_complete_there(m))
        return migration_hand_over(m, err);
    return is_gone(m, err);
}
