/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Postcopy: the guest is over there, and what it still lacks is here. There is no way back: what
 * breaks is mended, for as long as it takes.
 */
#include <poll.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "migration/sequence.h"

#define MEND_MS 60000 /* how long it is tried by itself */
#define MEND_STEP_MS 1000
#define RECOVER_LIMIT_MS 4000
#define TAKE_UP_MS 10000
#define ASK_MS 500
#define ASK_LIMIT_MS 2000
#define CUT_OFF_MS 3000 /* the destination has lost the stream, and QEMU here not noticed */

struct postcopy {
    deadline mend_until; /* 0: nothing is broken */
    int64_t asked_at, cut_off_at;
    struct guardian_status status; /* of the last answer */
    struct error trouble;
};

static bool refuse(const struct migration *m, const struct postcopy *state, struct error *err)
{
    const char *vm = m->record->vm, *peer = m->peer->name;
    if (strcmp(state->status.run_state, "ended") == 0)
        return error_set(err, STATUS_DECISION,
                         "%s: its QEMU on %s has ended before it had all of it: what is here is "
                         "older, if it ran there; if the guest there said that it never ran, "
                         "'qemu-migrate-launch migrate %s --resume-on source' lets it go on here; "
                         "else end QEMU here (pid %lld) and start it anew with launch "
                         "--renegotiate --here",
                         vm, peer, vm, (long long)m->record->pid);
    return error_set(err, STATUS_DECISION,
                     "%s is on %s, and a part of its memory still here, but the stream is lost "
                     "(%s): leave both QEMUs as they are, and when %s answers again: "
                     "'qemu-migrate-launch migrate %s' here",
                     vm, peer, state->trouble.message, peer, vm);
}

/* Ask the guardian now and then. */
static void ask(struct migration *m, struct postcopy *state)
{
    const struct link_renewal question = {.limit_ms = ASK_LIMIT_MS};
    int64_t now = clock_now_ms();
    if (now - state->asked_at < ASK_MS)
        return;
    state->asked_at = now;
    if (!guardian_link_renew(m->link, &question, &state->status, &state->trouble))
        return;
    if (m->downtime_ms < 0 && m->stopped_at > 0 && state->status.lease == LEASE_RUN)
        m->downtime_ms = now - m->stopped_at;
    if (strcmp(state->status.migration, "postcopy-paused") != 0)
        state->cut_off_at = 0;
    else if (state->cut_off_at == 0)
        state->cut_off_at = now;
}

/* A new stream in place of the lost one. QEMU takes it up a moment after it was told to: until then
 * it says of the old one that it is lost. */
static bool mend(struct migration *m, struct postcopy *state)
{
    struct guardian_status status;
    deadline until = deadline_in_ms(TAKE_UP_MS);
    migration_streams_free(STEAL(m->streams));
    if (!guardian_link_order(m->link, ORDER_RECOVER, RECOVER_LIMIT_MS, &status, &state->trouble) ||
        !migration_send(m, true, 0, &state->trouble))
        return false;
    while (deadline_left_ms(until) > 0 && !migration_streams_failed(m->streams, &state->trouble)) {
        if (!migration_look(m->qmp, &m->look, &state->trouble))
            return false;
        if (migration_stage(&m->look) != STAGE_BROKEN) {
            migration_make_room(m);
            log_info("%s: a new stream to %s", m->record->vm, m->peer->name);
            return true;
        }
        migration_wait(m->qmp, POLL_QUICK_MS);
    }
    return false;
}

/* QEMU has settled on how to be told an address: the same words as at first, if this is another
 * process. */
static bool read_offer(struct migration *m, struct error *err)
{
    automigrationoffer struct migration_offer offer = {0};
    struct migration_side *side = &m->settings.ends[MIGRATION_SOURCE];
    if (side->uri || side->channels)
        return true;
    if (!migration_offer_read(m->qmp, MIGRATION_SOURCE, &offer, err))
        return false;
    side->uri = offer.uri;
    side->channels = offer.channels;
    return true;
}

/* Broken: try again for a while. False: the while is over, or nothing can be mended. */
static bool mend_for_a_while(struct migration *m, struct postcopy *state)
{
    if (state->mend_until == 0) {
        migration_make_room(m);
        log_warning("%s: the stream to %s is lost: trying to mend it", m->record->vm,
                    m->peer->name);
        state->mend_until = deadline_in_ms(MEND_MS);
    }
    state->asked_at = 0;
    ask(m, state);
    if (strcmp(state->status.run_state, "ended") == 0 || deadline_left_ms(state->mend_until) == 0)
        return false;
    if (read_offer(m, &state->trouble) && mend(m, state))
        return true;
    poll(NULL, 0, MEND_STEP_MS);
    return true;
}

/* It was a precopy, and has failed at its end: QEMU lets the guest go on by itself, and whether it
 * was run over there is to be heard first. */
static bool failed(struct migration *m, struct error *err)
{
    migration_command(m, "stop", NULL, NULL);
    return migration_take_back(m) ? migration_stay(m, err) : migration_unknown(m, err);
}

bool migration_postcopy(struct migration *m, struct error *err)
{
    struct postcopy state = {.trouble = {.status = STATUS_OK, .message = "no answer"}};
    for (;;) {
        if (!migration_look(m->qmp, &m->look, err))
            return migration_qemu_lost(m, err);
        migration_report(m);
        switch (migration_stage(&m->look)) {
        case STAGE_COMPLETED:
            /* The destination runs it already, unless it was a precopy to its end after all: QEMU
             * decides that between migrate-start-postcopy and the switchover. */
            return migration_end_told(m, true, err);
        case STAGE_BROKEN:
            if (!mend_for_a_while(m, &state))
                return refuse(m, &state, err);
            break;
        case STAGE_FAILED:
        case STAGE_NONE:
            return failed(m, err);
        default:
            ask(m, &state);
            if (strcmp(state.status.migration, "postcopy-active") == 0)
                state.mend_until = 0;
            if (strcmp(state.status.run_state, "ended") == 0)
                return refuse(m, &state, err);
            /* Only we can cut our end: QEMU here would wait for ever. */
            if (m->streams && state.cut_off_at > 0 &&
                clock_now_ms() - state.cut_off_at > CUT_OFF_MS)
                migration_streams_stop(m->streams);
        }
        migration_wait(m->qmp, POLL_MS);
    }
}
