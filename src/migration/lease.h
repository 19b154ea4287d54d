/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Who may run the guest: the lease between `migrate` on the source and the guardian on the
 * destination (DESIGN 10). Pure: times are milliseconds of the own host's CLOCK_BOOTTIME, given by
 * the caller; the two clocks need not agree, only go at about the same speed.
 *
 * The guardian's answers carry a stamp, its clock. A grant echoes the newest one, and the lease
 * lasts LEASE_MS from that stamp, so that a grant that lay in a queue for an hour is worth nothing;
 * the source, who counts from sending the grant, always counts longer. Before `told` leaves the
 * source, that is in its record: from then on the source does not run the guest unless the guardian
 * says that its QEMU has ended and never ran it.
 */
#ifndef QML_MIGRATION_LEASE_H
#define QML_MIGRATION_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#define LEASE_MS 10000      /* how long one grant lasts */
#define LEASE_RENEW_MS 2000 /* how often the source renews it */
#define LEASE_MARGIN_MS                                                                            \
    3000 /* what the source waits beyond: clocks that differ by a quarter in                       \
            speed, or by less and the time to end a QEMU */

/* The guardian. */
enum lease_guardian_state {
    LEASE_NONE,   /* nobody has come yet */
    LEASE_HELD,   /* the guest is on its way */
    LEASE_TOLD,   /* only the guest here may run, but it has not yet */
    LEASE_RUN,    /* and it has, or may have */
    LEASE_ENDING, /* the QEMU here is to be ended */
    LEASE_ENDED,  /* it has ended, and never ran the guest: the source may */
};

struct lease_guardian {
    enum lease_guardian_state state;
    int64_t until;
};

/* A grant, which echoes a stamp, came: LEASE_NONE and LEASE_HELD last until stamp + LEASE_MS at the
 * least. False: it is refused, as too late (the state may be LEASE_ENDING then) or as made up. */
bool lease_guardian_grant(struct lease_guardian *lease, int64_t now, int64_t stamp);

/* The source is alive: bytes of its stream come, or it asks something. LEASE_HELD lasts LEASE_MS
 * from now at the least, so that a copy that leaves no room on the network for anything else is not
 * given up. This costs no safety: what lets the guest run is `told`, and that has an end of its
 * own, which comes from a grant; the source counts from grants alone. */
void lease_guardian_alive(struct lease_guardian *lease, int64_t now);

/* `told` came, with the moment of this clock from which on it is void. True: the state is
 * LEASE_TOLD, or was already (it may come twice); else it is refused, as too late or as never
 * granted. */
bool lease_guardian_told(struct lease_guardian *lease, int64_t now, int64_t good_until);

/* Call before `cont`, and send that only if true. */
bool lease_guardian_run(struct lease_guardian *lease);
/* QEMU refused the `cont`: the guest did not run. */
void lease_guardian_did_not_run(struct lease_guardian *lease);

/* The source wants its guest back. True: LEASE_ENDING or LEASE_ENDED; false: it has run here. */
bool lease_guardian_abort(struct lease_guardian *lease);

/* Time passes: the state becomes LEASE_ENDING when the lease has run out. Milliseconds until the
 * next call is due, -1 for never: as poll() takes it. */
int lease_guardian_tick(struct lease_guardian *lease, int64_t now);

/* QEMU has ended for certain, by us or by itself: LEASE_ENDED unless it ran the guest. */
void lease_guardian_qemu_ended(struct lease_guardian *lease);

/* The source. */
enum lease_source_state {
    LEASE_MINE,    /* nobody else may run the guest */
    LEASE_GRANTED, /* the guardian holds, or may hold, a lease */
    LEASE_GIVEN,   /* told, or about to be: not ours any more */
    LEASE_OVER,    /* it is ours for good: this migration is over */
};

struct lease_source {
    enum lease_source_state state;
    int64_t until;    /* LEASE_GRANTED: no grant lasts longer */
    int64_t stamp;    /* the newest; -1: none yet. Start with LEASE_SOURCE_INIT */
    int64_t asked_at; /* when that was asked for */
};

#define LEASE_SOURCE_INIT                                                                          \
    {                                                                                              \
        .state = LEASE_MINE, .stamp = -1                                                           \
    }

/* As it is when `migrate` begins anew with what another one left: from the record, whether it was
 * told. What it granted last is not in the record: it may have been just now. */
struct lease_source lease_source_recover(bool told, int64_t now);

/* An answer of the guardian to a question asked at asked_at carried this stamp. */
void lease_source_heard(struct lease_source *lease, int64_t asked_at, int64_t stamp);

/* Call before a grant is sent. False: no stamp has been heard yet, so ask first; or the
 * migration is over. Else *stamp is what the grant echoes. */
bool lease_source_grant(struct lease_source *lease, int64_t now, int64_t *stamp);

/* A grant was not sent after all: no connection came about. `until` of the lease is as it was
 * before it then, unless it is not that grant's any more. */
void lease_source_unsent(struct lease_source *lease, int64_t granted, int64_t before);

/* Call before `told` is written to the record, then send it. False: there is no lease, or too
 * little of it is left: renew it first. Else the message carries *good_until, of the guardian's
 * clock: the rest of the lease, less the margin. */
bool lease_source_tell(struct lease_source *lease, int64_t now, int64_t *good_until);

/* The guardian says that its QEMU has ended and never ran the guest (LEASE_ENDED): LEASE_OVER. */
void lease_source_returned(struct lease_source *lease);

/* No `told` has left this host: of every attempt to send it, no connection came about. Then nobody
 * can have heard it, and nobody ever will, since the message was bound to a connection; so that
 * what lease_source_tell has done is undone: LEASE_GIVEN becomes LEASE_GRANTED, and what was
 * granted last is waited for as ever. Not after a call that may have been heard, nor in another
 * process than the one that told (it cannot know); and the record is to say so before anything else
 * is done. */
void lease_source_untold(struct lease_source *lease);

/* May the guest, stopped here since the switchover, run here again? Call before `cont`: with true
 * the state is LEASE_OVER. With false, *wait (may be NULL) gets the milliseconds after which it may
 * with no word from the guardian, or -1: never. */
bool lease_source_run(struct lease_source *lease, int64_t now, int64_t *wait);

#endif
