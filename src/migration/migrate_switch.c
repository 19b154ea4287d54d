/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * From the moment on that all of the guest is sent: the destination has it, is told to run it, runs
 * it; and the end of the source.
 */
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/pidfd.h"
#include "migration/sequence.h"

#define LOAD_MS 60000   /* what the destination may take for the devices' state */
#define ANSWER_MS 30000 /* how long to ask what came of `told` */
#define RETRY_MS 100
#define REFUSED_MS 2000 /* QEMU there may need a moment to get at its disks */
#define SURVIVE_MS 300  /* QEMU 10.0 ends just after cont when KVM does not take its registers */
#define SURVIVE_STEP_MS 50
#define DONE_MS 2000
#define QUIT_MS 5000
#define TERM_MS 2000

/* Where the guest is, after `told`. */
enum told { TOLD_THERE, TOLD_BACK, TOLD_UNKNOWN };

bool migration_store(struct migration *m, enum vm_place place, struct error *err)
{
    m->record->place = place;
    return vm_record_store(m->paths, m->record, err);
}

/* "the guardian on PEER is gone" */
static bool note(struct migration *m, const char *before, const char *after)
{
    struct error why = ERROR_INIT;
    error_set(&why, STATUS_MIGRATION, "%s on %s %s", before, m->peer->name, after);
    return migration_note(m, &why);
}

/* Until the destination has all of it. */
static bool wait_there(struct migration *m)
{
    deadline until = deadline_in_ms(LOAD_MS);
    struct link_renewal renewal = {
        .grant = true, .wait_ms = ORDER_WAIT_MAX_MS, .limit_ms = LINK_URGENT_MS};
    guardian_link_cease(m->link);
    while (deadline_left_ms(until) > 0) {
        struct error err = ERROR_INIT;
        struct guardian_status status;
        if (guardian_link_renew(m->link, &renewal, &status, NULL)) {
            if (!guardian_status_check(&status, m->peer->name, &err))
                return migration_note(m, &err);
            if (strcmp(status.migration, "completed") == 0)
                return true;
            renewal.grant = true;
        } else {
            /* A grant that may have been heard is one more lease to wait for, with the guest
             * standing still: none before there is an answer again. */
            renewal.grant = false;
            poll(NULL, 0, RETRY_MS);
        }
        if (!guardian_link_check(m->link, &err))
            return migration_note(m, &err);
    }
    return note(m, "QEMU", "does not come to an end with it");
}

bool migration_tell(struct migration *m)
{
    struct error err = ERROR_INIT;
    const struct link_renewal renewal = {.grant = true, .limit_ms = LINK_URGENT_MS};
    if (!guardian_link_tell(m->link) &&
        (!guardian_link_renew(m->link, &renewal, NULL, &err) || !guardian_link_tell(m->link)))
        return note(m, "the lease", "is over");
    if (migration_store(m, PLACE_TOLD, &err))
        return true;
    guardian_link_untold(m->link); /* it has not been said yet */
    return migration_note(m, &err);
}

/* An answer to resume or to a question after it. */
static bool is_there(const struct migration *m, const struct guardian_status *status)
{
    return status->lease == LEASE_RUN || (status->lease == LEASE_TOLD && !m->record->migration.run);
}

/* Nobody was there to hear it, ever, and what was granted is over: it was never said. */
static enum told take_untold(struct migration *m)
{
    struct error why = ERROR_INIT;
    struct guardian_status last = guardian_link_status(m->link);
    guardian_link_untold(m->link);
    if (!migration_store(m, PLACE_MOVING, &why)) {
        migration_note(m, &why);
        return TOLD_UNKNOWN;
    }
    error_set(&why, STATUS_MIGRATION,
              "its guardian on %s is gone: if QEMU (pid %lld) still is there, it waits paused with "
              "nobody to end it: end it there",
              m->peer->name, (long long)last.pid);
    migration_note(m, &why);
    return TOLD_BACK;
}

/* Until it is known where the guest is; said: it may have been heard before. */
static enum told resume_there(struct migration *m, bool said)
{
    deadline until = deadline_in_ms(ANSWER_MS),
             lease_over = deadline_in_ms(LEASE_MS + LEASE_MARGIN_MS);
    deadline refused_until = DEADLINE_NEVER;
    struct order_resume resume = {.run = m->record->migration.run};
    while (deadline_left_ms(until) > 0) {
        struct error err = ERROR_INIT;
        struct guardian_status status;
        bool retryable = false;
        if (!guardian_link_resume(m->link, &resume, LINK_URGENT_MS, &status, &retryable, &err)) {
            said = said || !retryable;
            log_debug("%s: %s", m->record->vm, err.message);
            if (!said && deadline_left_ms(lease_over) == 0)
                return take_untold(m);
        } else if (is_there(m, &status)) {
            m->downtime_ms = m->stopped_at > 0 ? clock_now_ms() - m->stopped_at : -1;
            return TOLD_THERE;
        } else {
            said = true;
            if (status.lease == LEASE_TOLD && refused_until == DEADLINE_NEVER)
                refused_until = deadline_in_ms(REFUSED_MS);
            bool ended = status.lease == LEASE_ENDING || status.lease == LEASE_ENDED;
            if ((ended || deadline_left_ms(refused_until) == 0) && migration_take_back(m)) {
                note(m, "QEMU",
                     ended ? "has ended, and never ran it"
                           : "does not run it: see what it says there");
                return TOLD_BACK;
            }
        }
        poll(NULL, 0, RETRY_MS);
    }
    return TOLD_UNKNOWN;
}

bool migration_unknown(const struct migration *m, struct error *err)
{
    const char *vm = m->record->vm, *peer = m->peer->name;
    return error_set(err, STATUS_DECISION,
                     "%s was told to run %s, and does not answer: it may run there, and stays "
                     "paused here; when %s answers: 'qemu-migrate-launch migrate %s' here; else on "
                     "%s: 'qemu-migrate-launch migrate %s --resume-on destination', or, if that "
                     "is refused there, '--resume-on source' there, then here",
                     peer, vm, peer, vm, peer, vm);
}

/* The guest runs over there: does it last? What QEMU did not get into its vCPUs shows at once. */
static bool survives(struct migration *m)
{
    deadline until = deadline_in_ms(SURVIVE_MS);
    const struct link_renewal question = {.limit_ms = LINK_URGENT_MS};
    for (;;) {
        struct guardian_status status;
        if (!guardian_link_renew(m->link, &question, &status, NULL))
            return true; /* it did run: what is to be known is known */
        if (strcmp(status.run_state, "ended") == 0)
            return false;
        if (deadline_left_ms(until) == 0 || !m->record->migration.run) {
            if (m->record->migration.run && strcmp(status.run_state, "running") != 0 &&
                *status.run_state)
                log_warning("%s: on %s it is '%s'", m->record->vm, m->peer->name, status.run_state);
            return true;
        }
        poll(NULL, 0, SURVIVE_STEP_MS);
    }
}

bool migration_ran_shortly(const struct migration *m, struct error *err)
{
    return error_set(err, STATUS_DECISION,
                     "%s ran on %s for less than a second: its QEMU there has ended (see what it "
                     "says there); here it stands as it was before: 'qemu-migrate-launch migrate "
                     "%s --resume-on source' lets it go on here",
                     m->record->vm, m->peer->name, m->record->vm);
}

/* It is not needed any more; what does not end by itself is ended. */
static void end_source(struct migration *m)
{
    autoclose int pidfd = -1;
    enum vm_life life = vm_record_open_process(m->record, &pidfd);
    if (life == LIFE_UNKNOWN)
        log_warning("%s: it cannot be seen whether its old QEMU here (pid %lld) has ended: it is "
                    "paused",
                    m->record->vm, (long long)m->record->pid);
    if (life != LIFE_RUNS)
        return;
    if (m->qmp &&
        qmp_execute(m->qmp, "quit", NULL, deadline_in_ms(QUIT_MS), STATUS_UNAVAILABLE, NULL,
                    NULL) &&
        pidfd_has_ended(pidfd, QUIT_MS))
        return;
    if (pidfd_has_ended(pidfd, 0))
        return;
    pidfd_signal(pidfd, SIGTERM);
    if (pidfd_has_ended(pidfd, TERM_MS))
        return;
    pidfd_signal(pidfd, SIGKILL);
    if (!pidfd_has_ended(pidfd, TERM_MS))
        log_warning("%s: its old QEMU here (pid %lld) does not end: it is paused", m->record->vm,
                    (long long)m->record->pid);
}

bool migration_finish(struct migration *m, struct error *err)
{
    /* Its QEMU there is gone for good, and this one has all of the guest: the record is as if it
     * had not been told, so that it can be had back. */
    if (!survives(m))
        return migration_store(m, PLACE_MOVING, err) && migration_ran_shortly(m, err);
    if (!migration_store(m, PLACE_MOVED, err))
        return error_set(err, STATUS_DECISION,
                         "%s runs on %s now, but that cannot be written here (%s): end its QEMU "
                         "here (pid %lld) yourself",
                         m->record->vm, m->peer->name, err->message, (long long)m->record->pid);
    guardian_link_order(m->link, ORDER_DONE, DONE_MS, NULL, NULL);
    if (!m->record->migration.keep_source)
        end_source(m);
    return true;
}

bool migration_end_told(struct migration *m, bool said, struct error *err)
{
    switch (resume_there(m, said)) {
    case TOLD_THERE:
        return migration_finish(m, err);
    case TOLD_BACK:
        return migration_stay(m, err);
    default:
        return migration_unknown(m, err);
    }
}

bool migration_hand_over(struct migration *m, struct error *err)
{
    if (!wait_there(m) || !migration_tell(m))
        return migration_stay(m, err);
    return migration_end_told(m, false, err);
}
