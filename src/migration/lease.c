/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "migration/lease.h"

#include <limits.h>

/* The guardian's. */

/* Stamps are this guardian's own clock, given away earlier. */
static bool is_stamp(int64_t now, int64_t stamp)
{
    return stamp >= 0 && stamp <= now;
}

int lease_guardian_tick(struct lease_guardian *lease, int64_t now)
{
    if (lease->state != LEASE_HELD)
        return -1;
    if (now < lease->until)
        return lease->until - now > INT_MAX ? INT_MAX : (int)(lease->until - now);
    lease->state = LEASE_ENDING;
    return -1;
}

bool lease_guardian_grant(struct lease_guardian *lease, int64_t now, int64_t stamp)
{
    lease_guardian_tick(lease, now);
    if (!is_stamp(now, stamp))
        return false;
    if (lease->state == LEASE_TOLD || lease->state == LEASE_RUN)
        return true; /* it needs none any more */
    if ((lease->state != LEASE_NONE && lease->state != LEASE_HELD) || now - stamp >= LEASE_MS)
        return false;
    if (lease->state == LEASE_NONE || lease->until < stamp + LEASE_MS)
        lease->until = stamp + LEASE_MS;
    lease->state = LEASE_HELD;
    return true;
}

void lease_guardian_alive(struct lease_guardian *lease, int64_t now)
{
    lease_guardian_tick(lease, now);
    if (lease->state == LEASE_HELD && lease->until < now + LEASE_MS)
        lease->until = now + LEASE_MS;
}

bool lease_guardian_told(struct lease_guardian *lease, int64_t now, int64_t good_until)
{
    lease_guardian_tick(lease, now);
    if (lease->state == LEASE_TOLD || lease->state == LEASE_RUN)
        return true;
    if (lease->state != LEASE_HELD || now >= good_until)
        return false;
    lease->state = LEASE_TOLD;
    return true;
}

bool lease_guardian_run(struct lease_guardian *lease)
{
    if (lease->state != LEASE_TOLD && lease->state != LEASE_RUN)
        return false;
    lease->state = LEASE_RUN;
    return true;
}

void lease_guardian_did_not_run(struct lease_guardian *lease)
{
    if (lease->state == LEASE_RUN)
        lease->state = LEASE_TOLD;
}

bool lease_guardian_abort(struct lease_guardian *lease)
{
    if (lease->state == LEASE_RUN)
        return false;
    if (lease->state != LEASE_ENDED)
        lease->state = LEASE_ENDING;
    return true;
}

void lease_guardian_qemu_ended(struct lease_guardian *lease)
{
    if (lease->state != LEASE_RUN)
        lease->state = LEASE_ENDED;
}

/* The source's. */

struct lease_source lease_source_recover(bool told, int64_t now)
{
    return (struct lease_source){
        .state = told ? LEASE_GIVEN : LEASE_GRANTED, .until = now + LEASE_MS, .stamp = -1};
}

void lease_source_heard(struct lease_source *lease, int64_t asked_at, int64_t stamp)
{
    if (stamp <= lease->stamp)
        return;
    lease->stamp = stamp;
    lease->asked_at = asked_at;
}

bool lease_source_grant(struct lease_source *lease, int64_t now, int64_t *stamp)
{
    if (lease->state == LEASE_OVER || lease->stamp < 0)
        return false;
    if (lease->state == LEASE_MINE)
        lease->state = LEASE_GRANTED;
    /* The stamp is older than now, so this is no less than what the guardian makes of it. */
    lease->until = now + LEASE_MS;
    *stamp = lease->stamp;
    return true;
}

void lease_source_unsent(struct lease_source *lease, int64_t granted, int64_t before)
{
    /* Another one may have been sent meanwhile: that counts. */
    if (lease->state != LEASE_OVER && lease->until == granted)
        lease->until = before;
}

bool lease_source_tell(struct lease_source *lease, int64_t now, int64_t *good_until)
{
    /* The stamp is younger than the question, so that the guardian has no less of it left. */
    if ((lease->state != LEASE_GRANTED && lease->state != LEASE_GIVEN) || lease->stamp < 0 ||
        now - lease->asked_at >= LEASE_MS - LEASE_MARGIN_MS)
        return false;
    lease->state = LEASE_GIVEN;
    *good_until = lease->stamp + LEASE_MS - LEASE_MARGIN_MS;
    return true;
}

void lease_source_returned(struct lease_source *lease)
{
    lease->state = LEASE_OVER;
}

void lease_source_untold(struct lease_source *lease)
{
    if (lease->state == LEASE_GIVEN)
        lease->state = LEASE_GRANTED;
}

bool lease_source_run(struct lease_source *lease, int64_t now, int64_t *wait)
{
    int64_t left = lease->until + LEASE_MARGIN_MS - now;
    if (lease->state == LEASE_MINE || lease->state == LEASE_OVER ||
        (lease->state == LEASE_GRANTED && left <= 0)) {
        lease->state = LEASE_OVER;
        return true;
    }
    if (wait)
        *wait = lease->state == LEASE_GRANTED ? left : -1;
    return false;
}
