/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The lease: by example, and for all orders of events in a world where messages are lost, doubled,
 * late and out of order, processes die and come again, and clocks differ in speed.
 */
#include "unit.h"

#include "migration/lease.h"

START_TEST(as_it_should_go)
{
    struct lease_source source = LEASE_SOURCE_INIT;
    struct lease_guardian guardian = {0};
    int64_t stamp = 0, good_until = 0, wait = 0;
    ck_assert(!lease_source_grant(&source, 1000, &stamp)); /* nothing heard */
    ck_assert(!lease_source_tell(&source, 1000, &good_until));
    ck_assert_int_eq(lease_guardian_tick(&guardian, 500000), -1);
    lease_source_heard(&source, 1000, 500000);
    ck_assert(!lease_source_tell(&source, 1000, &good_until)); /* nothing granted */
    ck_assert(lease_source_grant(&source, 1010, &stamp));
    ck_assert_int_eq(stamp, 500000);
    ck_assert(!lease_source_run(&source, 1010 + LEASE_MS + LEASE_MARGIN_MS - 1, &wait));
    ck_assert_int_eq(wait, 1);
    ck_assert(lease_guardian_grant(&guardian, 500020, stamp));
    ck_assert_int_eq(guardian.state, LEASE_HELD);
    ck_assert_int_eq(lease_guardian_tick(&guardian, 500020), LEASE_MS - 20);
    ck_assert(!lease_guardian_run(&guardian)); /* not told */
    ck_assert_int_eq(guardian.state, LEASE_HELD);
    ck_assert(lease_source_tell(&source, 1030, &good_until));
    ck_assert_int_eq(good_until, 500000 + LEASE_MS - LEASE_MARGIN_MS);
    ck_assert(!lease_source_run(&source, INT64_MAX / 2, &wait));
    ck_assert_int_eq(wait, -1);
    ck_assert(lease_guardian_told(&guardian, 500040, good_until));
    ck_assert_int_eq(lease_guardian_tick(&guardian, INT64_MAX / 2), -1); /* nothing runs out now */
    ck_assert(lease_guardian_run(&guardian));
    ck_assert(lease_guardian_told(&guardian, 900000, good_until)); /* again */
    ck_assert_int_eq(guardian.state, LEASE_RUN);
    ck_assert(!lease_guardian_abort(&guardian));
    lease_guardian_qemu_ended(&guardian);
    ck_assert_int_eq(guardian.state, LEASE_RUN); /* it ran: its end gives nothing back */
}
END_TEST

START_TEST(running_out)
{
    struct lease_guardian guardian = {0};
    ck_assert(lease_guardian_grant(&guardian, 100, 50));
    ck_assert(lease_guardian_grant(&guardian, 200, 150));
    ck_assert(lease_guardian_grant(&guardian, 300, 60)); /* an old one does not shorten it */
    ck_assert_int_eq(guardian.until, 150 + LEASE_MS);
    ck_assert_int_eq(lease_guardian_tick(&guardian, 149 + LEASE_MS), 1);
    ck_assert_int_eq(guardian.state, LEASE_HELD);
    ck_assert_int_eq(lease_guardian_tick(&guardian, 150 + LEASE_MS), -1);
    ck_assert_int_eq(guardian.state, LEASE_ENDING);
    ck_assert(!lease_guardian_grant(&guardian, 151 + LEASE_MS, 150 + LEASE_MS));
    ck_assert(!lease_guardian_told(&guardian, 152 + LEASE_MS, INT64_MAX));
    ck_assert_int_eq(guardian.state, LEASE_ENDING);
    /* Nor is it brought to life again by a grant that comes before anybody has looked. */
    guardian = (struct lease_guardian){.state = LEASE_HELD, .until = 1000};
    ck_assert(!lease_guardian_grant(&guardian, 1000, 999));
    ck_assert_int_eq(guardian.state, LEASE_ENDING);
    lease_guardian_qemu_ended(&guardian);
    ck_assert_int_eq(guardian.state, LEASE_ENDED);
    ck_assert(lease_guardian_abort(&guardian));
    ck_assert_int_eq(guardian.state, LEASE_ENDED);
    ck_assert(!lease_guardian_run(&guardian));
    ck_assert(!lease_guardian_grant(&guardian, 152 + LEASE_MS, 150 + LEASE_MS));
}
END_TEST

START_TEST(signs_of_life)
{
    struct lease_guardian guardian = {0};
    lease_guardian_alive(&guardian, 1000); /* nobody has come: nothing to go on with */
    ck_assert_int_eq(guardian.state, LEASE_NONE);
    ck_assert(lease_guardian_grant(&guardian, 100, 50));
    lease_guardian_alive(&guardian, 5000);
    ck_assert_int_eq(guardian.until, 5000 + LEASE_MS);
    ck_assert(lease_guardian_grant(&guardian, 5100, 60)); /* does not shorten it */
    ck_assert_int_eq(guardian.until, 5000 + LEASE_MS);
    /* `told` keeps its own end, which comes from a grant. */
    ck_assert(!lease_guardian_told(&guardian, 5200, 60 + LEASE_MS - LEASE_MS));
    ck_assert(lease_guardian_told(&guardian, 5200, 5201));
    /* What has run out stays so. */
    guardian = (struct lease_guardian){.state = LEASE_HELD, .until = 1000};
    lease_guardian_alive(&guardian, 1000);
    ck_assert_int_eq(guardian.state, LEASE_ENDING);
}
END_TEST

START_TEST(late_and_made_up)
{
    struct lease_guardian guardian = {0};
    ck_assert(!lease_guardian_told(&guardian, 100, INT64_MAX)); /* no lease */
    ck_assert(!lease_guardian_grant(&guardian, 100, 101));
    ck_assert(!lease_guardian_grant(&guardian, 100, -1));
    ck_assert(!lease_guardian_grant(&guardian, LEASE_MS + 50, 50)); /* it lay about */
    ck_assert_int_eq(guardian.state, LEASE_NONE);
    ck_assert(lease_guardian_grant(&guardian, LEASE_MS + 49, 50));
    ck_assert(!lease_guardian_told(&guardian, LEASE_MS + 49, LEASE_MS + 49));
    ck_assert_int_eq(guardian.state, LEASE_HELD);
    ck_assert(lease_guardian_told(&guardian, LEASE_MS + 49, LEASE_MS + 50));
    /* The rest that the message carries is less than the lease. */
    guardian = (struct lease_guardian){.state = LEASE_HELD, .until = 1000};
    ck_assert(!lease_guardian_told(&guardian, 900, 900));
    /* The lease is over, though the message is good and nobody has ticked. */
    ck_assert(!lease_guardian_told(&guardian, 1000, 2000));
    ck_assert_int_eq(guardian.state, LEASE_ENDING);
}
END_TEST

START_TEST(a_stamp_gets_old)
{
    struct lease_source source = LEASE_SOURCE_INIT;
    int64_t stamp, good_until, early = LEASE_MS - LEASE_MARGIN_MS - 1;
    lease_source_heard(&source, 0, 70);
    ck_assert(lease_source_grant(&source, 1, &stamp));
    lease_source_heard(&source, 5, 60); /* an answer that came late */
    ck_assert_int_eq(source.asked_at, 0);
    ck_assert(!lease_source_tell(&source, early + 1, &good_until));
    ck_assert_int_eq(source.state, LEASE_GRANTED);
    ck_assert(lease_source_tell(&source, early, &good_until));
    lease_source_heard(&source, 9000, 9100); /* and can be told again */
    ck_assert(lease_source_tell(&source, 9200, &good_until));
    ck_assert_int_eq(good_until, 9100 + LEASE_MS - LEASE_MARGIN_MS);
}
END_TEST

START_TEST(back_to_the_source)
{
    struct lease_source source = LEASE_SOURCE_INIT;
    struct lease_guardian guardian = {.state = LEASE_TOLD};
    int64_t stamp, good_until, wait;
    /* QEMU there could not run it: a way back. */
    ck_assert(lease_guardian_run(&guardian));
    lease_guardian_did_not_run(&guardian);
    ck_assert(lease_guardian_abort(&guardian));
    ck_assert(!lease_guardian_run(&guardian));
    lease_guardian_qemu_ended(&guardian);
    ck_assert_int_eq(guardian.state, LEASE_ENDED);
    source = lease_source_recover(true, 5000);
    ck_assert(!lease_source_run(&source, 5000000, &wait));
    lease_source_returned(&source);
    ck_assert(lease_source_run(&source, 5001, NULL));
    /* and then this migration is over. */
    lease_source_heard(&source, 5002, 1);
    ck_assert(!lease_source_grant(&source, 5003, &stamp));
    ck_assert(!lease_source_tell(&source, 5003, &good_until));
    source = lease_source_recover(false, 5000);
    ck_assert(!lease_source_run(&source, 4999 + LEASE_MS + LEASE_MARGIN_MS, &wait));
    ck_assert(lease_source_run(&source, 5000 + LEASE_MS + LEASE_MARGIN_MS, &wait));
    ck_assert_int_eq(source.state, LEASE_OVER);
    /* A guest that was never granted to anybody runs at once. */
    source = (struct lease_source)LEASE_SOURCE_INIT;
    ck_assert(lease_source_run(&source, 0, &wait));
}
END_TEST

START_TEST(a_grant_that_was_not_sent)
{
    struct lease_source source = LEASE_SOURCE_INIT;
    int64_t stamp, first, second;
    lease_source_heard(&source, 1000, 7);
    ck_assert(lease_source_grant(&source, 1000, &stamp));
    first = source.until;
    ck_assert(lease_source_grant(&source, 3000, &stamp));
    second = source.until;
    lease_source_unsent(&source, second, first);
    ck_assert_int_eq(source.until, first);
    ck_assert(lease_source_grant(&source, 4000, &stamp));
    lease_source_unsent(&source, second, first); /* not the newest any more */
    ck_assert_int_eq(source.until, 4000 + LEASE_MS);
}
END_TEST

START_TEST(told_nobody)
{
    struct lease_source source = LEASE_SOURCE_INIT;
    int64_t stamp, good_until, wait = 0;
    lease_source_untold(&source); /* nothing to undo */
    ck_assert_int_eq(source.state, LEASE_MINE);
    lease_source_heard(&source, 1000, 7);
    ck_assert(lease_source_grant(&source, 1000, &stamp));
    ck_assert(lease_source_tell(&source, 1500, &good_until));
    lease_source_untold(&source);
    ck_assert_int_eq(source.state, LEASE_GRANTED);
    /* What was granted is waited for. */
    ck_assert(!lease_source_run(&source, 1000 + LEASE_MS + LEASE_MARGIN_MS - 2, &wait));
    ck_assert_int_eq(wait, 2);
    ck_assert(lease_source_run(&source, 1000 + LEASE_MS + LEASE_MARGIN_MS, &wait));
    lease_source_untold(&source); /* nor then */
    ck_assert_int_eq(source.state, LEASE_OVER);
}
END_TEST

/* The world: two hosts and the messages between them. */

enum kind { ASK, STAMP, GRANT, TELL, ABORT, ENDED, KINDS };

struct message {
    enum kind kind;
    int64_t value, asked_at;
};

#define MESSAGES_MAX 2
struct world {
    struct lease_source source;
    struct lease_guardian guardian;
    int64_t source_clock, guardian_clock;
    struct message
        messages[MESSAGES_MAX]; /* under way; one may arrive at any time, or more than once */
    unsigned char count;
    bool told;            /* in the source's record */
    bool source_runs;     /* it runs the guest again */
    bool destination_ran; /* the guest ran there */
    bool lapsed;          /* the source ran with no word from the guardian */
};

static void check_world(const struct world *w)
{
    ck_assert_msg(!w->source_runs || !w->destination_ran, "the guest ran twice");
    ck_assert_msg(!w->destination_ran || w->told, "it ran there, and the source does not know");
    /* With no word from the guardian the lease there must be over: a QEMU that has the disks is
     * none that the source may run beside. */
    ck_assert_msg(!w->lapsed || w->guardian.state != LEASE_HELD ||
                      w->guardian_clock >= w->guardian.until,
                  "the source runs it while there is a lease");
}

static void post(struct world *w, struct message message)
{
    for (size_t i = 0; i < w->count; i++) /* one may arrive twice anyway */
        if (w->messages[i].kind == message.kind && w->messages[i].value == message.value &&
            w->messages[i].asked_at == message.asked_at)
            return;
    if (w->count == MESSAGES_MAX) { /* the oldest is lost */
        memmove(w->messages, w->messages + 1, sizeof(message) * (MESSAGES_MAX - 1));
        w->count--;
    }
    w->messages[w->count++] = message;
}

static void deliver(struct world *w, size_t i, bool keep)
{
    struct message m = w->messages[i];
    if (!keep) {
        memmove(w->messages + i, w->messages + i + 1, sizeof(m) * (w->count - i - 1));
        w->messages[--w->count] = (struct message){0};
    }
    switch (m.kind) {
    case ASK:
        post(w, (struct message){STAMP, w->guardian_clock, m.asked_at});
        break;
    case STAMP:
        lease_source_heard(&w->source, m.asked_at, m.value);
        break;
    case GRANT:
        lease_guardian_grant(&w->guardian, w->guardian_clock, m.value);
        break;
    case TELL:
        lease_guardian_told(&w->guardian, w->guardian_clock, m.value);
        break;
    case ABORT:
        lease_guardian_abort(&w->guardian);
        break;
    default: /* ENDED */
        lease_source_returned(&w->source);
        break;
    }
}

/* What can happen, besides messages and time. False: this cannot now. */
enum happening {
    ASKS,
    GRANTS,
    TELLS,
    TELLS_NOBODY,
    ABORTS,
    RUNS_HERE,
    RECOVERS,
    TICKS,
    RUNS_THERE,
    FAILS_THERE,
    DIES_THERE,
    SAYS_ENDED,
    HAPPENINGS
};

static bool happen(struct world *w, enum happening what)
{
    int64_t value;
    enum lease_guardian_state before = w->guardian.state;
    switch (what) {
    case ASKS:
        post(w, (struct message){ASK, 0, w->source_clock});
        return true;
    case GRANTS:
        if (!lease_source_grant(&w->source, w->source_clock, &value))
            return false;
        post(w, (struct message){GRANT, value, 0});
        return true;
    case TELLS:
        if (!lease_source_tell(&w->source, w->source_clock, &value))
            return false;
        w->told = true;
        post(w, (struct message){TELL, value, 0});
        return true;
    case TELLS_NOBODY: /* no connection comes about */
        if (w->told || !lease_source_tell(&w->source, w->source_clock, &value))
            return false;
        lease_source_untold(&w->source);
        return true;
    case ABORTS:
        post(w, (struct message){ABORT, 0, 0});
        return true;
    case RUNS_HERE: {
        bool granted = w->source.state == LEASE_GRANTED;
        if (w->source_runs || !lease_source_run(&w->source, w->source_clock, NULL))
            return false;
        w->source_runs = true;
        w->lapsed = granted;
        return true;
    }
    case RECOVERS: /* `migrate` was killed, anywhere, and another one takes up from the record */
        if (w->source_runs)
            return false;
        w->source = lease_source_recover(w->told, w->source_clock);
        return true;
    case TICKS:
        lease_guardian_tick(&w->guardian, w->guardian_clock);
        return w->guardian.state != before;
    case RUNS_THERE:
        if (!lease_guardian_run(&w->guardian))
            return false;
        w->destination_ran = true;
        return before != LEASE_RUN;
    case FAILS_THERE: /* it was about to, and QEMU refused */
        if (before != LEASE_TOLD || !lease_guardian_run(&w->guardian))
            return false;
        lease_guardian_did_not_run(&w->guardian);
        return false;
    case DIES_THERE:
        lease_guardian_qemu_ended(&w->guardian);
        return w->guardian.state != before;
    default: /* SAYS_ENDED */
        if (before != LEASE_ENDED)
            return false;
        post(w, (struct message){ENDED, 0, 0});
        return true;
    }
}

/* Clocks that differ by a quarter, either way. */
static const int speeds[][2] = {{100, 100}, {125, 100}, {100, 125}};

static void pass(struct world *w, const int *speed, int64_t hundredths)
{
    w->source_clock += hundredths * speed[0];
    w->guardian_clock += hundredths * speed[1];
}

START_TEST(orders_at_random)
{
    static const int weights[HAPPENINGS] = {
        [ASKS] = 6,         [GRANTS] = 6,      [TELLS] = 2,      [ABORTS] = 1,
        [TELLS_NOBODY] = 1, [RUNS_HERE] = 4,   [RECOVERS] = 1,   [TICKS] = 4,
        [RUNS_THERE] = 2,   [FAILS_THERE] = 1, [DIES_THERE] = 1, [SAYS_ENDED] = 2};
    unsigned long ran[2] = {0}, lapsed = 0, lost = 0;
    srandom(20240805);
    for (int round = 0; round < 20000; round++) {
        const int *speed = speeds[random() % 3];
        struct world w = {.source = LEASE_SOURCE_INIT, .guardian_clock = 77};
        for (int step = 0; step < 60; step++) {
            long what = random() % 61, sum = 0;
            if (what < 10) {
                pass(&w, speed, random() % (random() % 4 ? 10 : 60));
            } else if (what < 30) {
                if (w.count > 0)
                    deliver(&w, (size_t)random() % w.count, random() % 8 == 0);
            } else {
                for (int i = 0; i < HAPPENINGS; i++)
                    if (what - 30 >= sum && what - 30 < (sum += weights[i]))
                        happen(&w, i);
            }
            check_world(&w);
        }
        ran[0] += w.source_runs;
        ran[1] += w.destination_ran;
        lapsed += w.lapsed;
        lost += !w.source_runs && !w.destination_ran;
    }
    /* Everything of interest was in it. */
    ck_assert_msg(ran[0] > 50 && ran[1] > 50 && lapsed > 50 && lost > 50, "%lu %lu %lu %lu", ran[0],
                  ran[1], lapsed, lost);
}
END_TEST

/* Every order: all worlds that can be reached, until there is no new one. Time goes in steps, at
 * one of which the lease is all but over. Worlds are the same when they are from now on: what is
 * too old to count is as old as any. */

#define STEP 32 /* hundredths of the lease: three are less than it, and four more */
#define WORLDS_MAX (1U << 18)

struct key {
    int16_t at[8 + 3 * MESSAGES_MAX];
};

static struct seen {
    struct key *keys; /* a hash table of 2 * WORLDS_MAX; at[0] is 0 where it is empty */
    struct world *worlds;
    size_t count;
} seen;

static int16_t clip(int64_t value, int64_t most)
{
    return (int16_t)(value < 0 ? 0 : value > most ? most : value);
}

static struct key key_of(const struct world *w)
{
    bool over = w->source.state == LEASE_OVER, heard = !over && w->source.stamp >= 0;
    struct key key = {{0}};
    size_t n = 0;
    key.at[n++] = (int16_t)(1 + w->source.state + 8 * w->guardian.state + 64 * w->told +
                            128 * w->source_runs + 256 * w->destination_ran + 512 * w->lapsed);
    key.at[n++] = w->source.state == LEASE_GRANTED
                      ? clip(w->source.until + LEASE_MARGIN_MS - w->source_clock, INT16_MAX)
                      : 0;
    key.at[n++] = heard ? clip(w->guardian_clock - w->source.stamp, LEASE_MS) : -1;
    key.at[n++] = heard ? clip(w->source_clock - w->source.asked_at, LEASE_MS) : -1;
    key.at[n++] = w->guardian.state == LEASE_HELD
                      ? clip(w->guardian.until - w->guardian_clock, INT16_MAX)
                      : 0;
    for (size_t i = 0; i < w->count; i++) {
        const struct message *m = &w->messages[i];
        key.at[n++] = (int16_t)(1 + m->kind);
        key.at[n++] = m->kind == TELL ? clip(m->value - w->guardian_clock, LEASE_MS)
                      : m->kind == STAMP || m->kind == GRANT
                          ? clip(w->guardian_clock - m->value, LEASE_MS)
                          : 0;
        key.at[n++] =
            m->kind == ASK || m->kind == STAMP ? clip(w->source_clock - m->asked_at, LEASE_MS) : 0;
    }
    return key;
}

static void note(const struct world *w)
{
    struct key key = key_of(w);
    uint64_t hash = 1469598103934665603U;
    for (size_t i = 0; i < COUNT(key.at); i++)
        hash = (hash ^ (uint16_t)key.at[i]) * 1099511628211U;
    size_t at = (hash ^ hash >> 32) % (2 * WORLDS_MAX);
    for (; seen.keys[at].at[0]; at = (at + 1) % (2 * WORLDS_MAX))
        if (memcmp(&seen.keys[at], &key, sizeof(key)) == 0)
            return;
    ck_assert_uint_lt(seen.count, WORLDS_MAX);
    seen.keys[at] = key;
    seen.worlds[seen.count++] = *w;
}

static void go_on(struct world w, int what, const int *speed)
{
    if (what < HAPPENINGS) {
        if (!happen(&w, what))
            return;
    } else if (what == HAPPENINGS) {
        pass(&w, speed, STEP);
    } else {
        size_t i = (size_t)(what - HAPPENINGS - 1) / 2;
        if (i >= w.count)
            return;
        deliver(&w, i, what % 2);
    }
    check_world(&w);
    note(&w);
}

START_TEST(every_order)
{
    seen.keys = calloc(2 * WORLDS_MAX, sizeof(struct key));
    seen.worlds = calloc(WORLDS_MAX, sizeof(struct world));
    ck_assert(seen.keys && seen.worlds);
    for (size_t i = 0; i < COUNT(speeds); i++) {
        struct world first = {.source = LEASE_SOURCE_INIT, .guardian_clock = 77};
        memset(seen.keys, 0, 2 * WORLDS_MAX * sizeof(struct key));
        seen.count = 0;
        note(&first);
        for (size_t at = 0; at < seen.count; at++)
            for (int what = 0; what <= HAPPENINGS + 2 * MESSAGES_MAX; what++)
                go_on(seen.worlds[at], what, speeds[i]);
        ck_assert_uint_gt(seen.count, 50000);
    }
    free(seen.keys);
    free(seen.worlds);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        as_it_should_go,  running_out,        signs_of_life, late_and_made_up,
        a_stamp_gets_old, back_to_the_source, told_nobody,   a_grant_that_was_not_sent,
        orders_at_random, every_order};
    return unit_run("lease", tests, COUNT(tests));
}
