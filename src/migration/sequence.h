/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A migration under way, as its parts share it: migrate.c (what comes when), migrate_open.c (who
 * and where), migrate_check.c (may it be moved), migrate_copy.c (until the guest stands still),
 * migrate_switch.c (until it runs over there), migrate_postcopy.c, migrate_stay.c (it did not move)
 * and take_up.c (what another `migrate` left).
 */
#ifndef QML_MIGRATION_SEQUENCE_H
#define QML_MIGRATION_SEQUENCE_H

#include "migration/link.h"
#include "migration/look.h"
#include "migration/migrate.h"
#include "migration/streams.h"
#include "peer/identity.h"
#include "peer/trust.h"
#include "vm/record.h"

#define COMMAND_MS 10000
#define POLL_MS 100
#define POLL_QUICK_MS 10

struct migration {
    const struct paths *paths;
    const struct migration_options *options;
    struct vm_record *record;
    struct identity *identity;
    struct trust trust;
    const struct trust_entry *peer;
    char *self;        /* this host's name, by the agreement */
    char *peer_before; /* the record's, before --to named another; NULL: it did not */
    struct peer_client client;
    struct order_key key;
    struct guardian_link *link;
    struct qmp *qmp; /* NULL: QEMU here has ended, or does not answer */
    struct migration_settings settings;
    bool applied; /* QEMU here is set up for it, and is to be set back */
    struct migration_streams *streams;
    struct migration_look look; /* the newest */
    struct error why;           /* the first reason why it cannot go on; STATUS_OK: none */
    bool prepared;              /* the guardian was, or may have been, asked to prepare */
    bool postcopy_begun;        /* migrate-start-postcopy was sent */
    bool continued;             /* migrate-continue was, or may have been, sent */
    bool asked;                 /* the guardian has heard that it is called off: its QEMU ends */
    bool over;                  /* the guest has shut down, or the like, on the way */
    char state[RUN_STATE_SIZE]; /* its run state at the end, when it has not moved */
    int64_t stopped_at;         /* when the guest was seen to stand still; 0: not yet */
    int reopened;               /* how often the conversation with QEMU was */
    int64_t downtime_ms;        /* until it was told to run over there; -1: not known */
};

void migration_free(struct migration *m);
#define automigration __attribute__((cleanup(migration_free)))

/* migrate_open.c */

/* Where it is to go into record->migration.host and .port, and record->peer. STATUS_USAGE,
 * STATUS_NOT_TRUSTED, STATUS_MIGRATION: there is no guardian. */
bool migration_find_destination(struct migration *m, struct error *err);
/* The line to the guardian, by record->peer and record->migration. STATUS_CONFIG, STATUS_DATA,
 * STATUS_NOT_TRUSTED, STATUS_INTERNAL. */
bool migration_open_link(struct migration *m, const struct lease_source *lease, struct error *err);
/* The conversation with QEMU here. STATUS_UNAVAILABLE. */
bool migration_open_qmp(struct migration *m, struct error *err);
/* record->peer as agreed at launch, after --to led to another one. */
void migration_restore_peer(struct migration *m);

/* migrate_check.c: the pre-flight; everything that is in the way is said. *offer: of QEMU here. */
bool migration_check(struct migration *m, struct migration_offer *offer, struct error *err);

/* migrate_copy.c */

/* Prepare both sides and begin. False: m->why says why. */
bool migration_begin(struct migration *m, const struct migration_offer *offer);
/* QEMU's `migrate` to the streams, which are opened for it; resume: postcopy's next one. */
bool migration_send(struct migration *m, bool resume, uint16_t direct_port, struct error *err);
/* Follow it to where there is a decision: completed here; in postcopy; or not to be (m->why). */
enum copy_end { END_COMPLETED, END_POSTCOPY, END_FAILED, END_QEMU_LOST };
enum copy_end migration_follow(struct migration *m);
/* The same, and all that comes of it. */
bool migration_conclude(struct migration *m, struct error *err);
/* Tell m->options->report. */
void migration_report(struct migration *m);
/* Before something is logged in the middle of it. */
void migration_make_room(const struct migration *m);
/* A command to QEMU here. */
bool migration_command(struct migration *m, const char *command, json_t *arguments,
                       struct error *err);
/* Note the first reason. Returns false. */
bool migration_note(struct migration *m, const struct error *why);

/* migrate_switch.c */

/* The guest stands still and all of it is sent: wait until the destination has it, tell it to run
 * it, and finish. */
bool migration_hand_over(struct migration *m, struct error *err);
/* `told` into lease and record. False: m->why. */
bool migration_tell(struct migration *m);
/* After migration_tell: let the destination run the guest, and end as it turns out. said: it may
 * have been told so before. */
bool migration_end_told(struct migration *m, bool said, struct error *err);
/* What to do when that is not known: STATUS_DECISION. Returns false. */
bool migration_unknown(const struct migration *m, struct error *err);
/* The guest is over there: see that it stays so, and end what is here. */
bool migration_finish(struct migration *m, struct error *err);
/* It ran there for a moment, and can be had back: STATUS_DECISION. Returns false. */
bool migration_ran_shortly(const struct migration *m, struct error *err);
bool migration_store(struct migration *m, enum vm_place place, struct error *err);

/* migrate_postcopy.c: from migrate-continue on, or taken up. */
bool migration_postcopy(struct migration *m, struct error *err);

/* migrate_stay.c */

/* It is not to be: undo what was done, until the guest is here as it was before. Always false, with
 * STATUS_MIGRATION, or STATUS_DECISION when it is not. */
bool migration_stay(struct migration *m, struct error *err);
/* QEMU here has ended, or does not answer. */
bool migration_qemu_lost(struct migration *m, struct error *err);
/* End the QEMU there and hear that it has ended: at once if the guardian answers, else when the
 * lease has run out for sure. False: the guest has run there, or it is not known. */
bool migration_take_back(struct migration *m);

/* take_up.c: for a record whose place is PLACE_MOVING or PLACE_TOLD, on the source. */

/* m for that record: paths, options and record are set. STATUS_CONFIG, STATUS_NOT_TRUSTED … */
bool migration_recover(struct migration *m, struct error *err);
/* See what the migration has come to, and to its end: over there, or here (then *here is true). */
bool migration_take_up(struct migration *m, bool *here, struct error *err);
/* --resume-on. */
bool migration_resume_on(struct migration *m, struct error *err);

#endif
