/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * How a QEMU that moves its guest is getting on: what query-migrate and query-status tell.
 */
#ifndef QML_MIGRATION_LOOK_H
#define QML_MIGRATION_LOOK_H

#include "base/progress.h"
#include "qmp/qmp.h"

#define LOOK_MS 10000 /* what a QEMU that is well answers a question in */

/* Of its migration. */
struct migration_look {
    char status[32];               /* QEMU's: "active", "completed" …; "" if there was none */
    char reason[512];              /* of a failure: QEMU's words as plain text, or "" */
    struct progress_sample sample; /* its status is not filled */
    int64_t downtime_ms;           /* -1: not known */
    int64_t passes;                /* how often all memory was gone through; 0: not once yet */
};

/* Where that stands, for decisions. */
enum migration_stage {
    STAGE_NONE,       /* there is no migration */
    STAGE_COPYING,    /* the guest runs, or ran before: it can be cancelled */
    STAGE_PAUSED,     /* pre-switchover: QEMU waits for migrate-continue */
    STAGE_SWITCHING,  /* the last state is on its way: it ends by itself */
    STAGE_COMPLETED,  /* all is sent, and the destination has said that it has it */
    STAGE_FAILED,     /* or was cancelled: QEMU goes on with the guest by itself */
    STAGE_CANCELLING, /* will be STAGE_FAILED */
    STAGE_POSTCOPY,   /* the guest is over there, part of its memory here */
    STAGE_BROKEN,     /* the same, and the stream is lost: it waits for a new one */
};

enum migration_stage migration_stage(const struct migration_look *look);

/* Pure, from the reply of query-migrate. STATUS_PROTOCOL. */
bool migration_look_take(const json_t *reply, struct migration_look *look, struct error *err);

/* Ask. STATUS_UNAVAILABLE, STATUS_PROTOCOL. */
bool migration_look(struct qmp *qmp, struct migration_look *look, struct error *err);

/* Wait until QEMU says that the migration or the run state has changed, or so many milliseconds at
 * most. True: among what it said is that the guest has shut down or panicked. That QEMU has gone is
 * for the next question to find out. */
bool migration_wait(struct qmp *qmp, int64_t milliseconds);

#define RUN_STATE_SIZE 32

/* The guest's run state: "running", "paused", "postmigrate" … STATUS_UNAVAILABLE, STATUS_PROTOCOL.
 */
bool run_state_read(struct qmp *qmp, char state[RUN_STATE_SIZE], struct error *err);

/* Whether in this state a guest that was stopped before its migration stands still as it did. QEMU
 * calls it "postmigrate" after a migration that failed late. */
bool run_state_is_paused(const char *state);

/* Whether the guest has come to an end in it, by itself: it is not to be continued. */
bool run_state_is_over(const char *state);

#endif
