/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Many relays as one, and what is refused.
 */
#include "relay_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "peer/sigpipe.h"

#define CHANNELS 16

START_TEST(sixteen_at_once)
{
    struct relay_group *near = relay_group_new(-1, NULL), *far = relay_group_new(-1, NULL);
    struct stream there[CHANNELS], back[CHANNELS], got_there[CHANNELS], got_back[CHANNELS];
    int qemus[CHANNELS][2];
    uint64_t size = 32 * MIB / SLOWER;
    for (size_t i = 0; i < CHANNELS; i++) {
        SSL *tls[2];
        tls_pair(tls);
        qemus[i][0] = relay_of(near, tls[0], NULL, 0);
        qemus[i][1] = relay_of(far, tls[1], NULL, 0);
        reader_start(&got_there[i], qemus[i][1]);
        reader_start(&got_back[i], qemus[i][0]);
        sender_start(&there[i], qemus[i][0], size + i, 0);
        sender_start(&back[i], qemus[i][1], i, 3);
        relay_group_counts(near); /* while they run */
    }
    uint64_t sum = 0, sum_back = 0;
    for (size_t i = 0; i < CHANNELS; i++) {
        stream_join(&there[i]);
        stream_join(&back[i]);
        stream_join(&got_there[i]);
        stream_join(&got_back[i]);
        ck_assert_uint_eq(got_there[i].size_read, size + i);
        ck_assert_uint_eq(got_back[i].size_read, i);
        sum += size + i;
        sum_back += i;
    }
    MUST(relay_group_join(near, &err) == RELAY_ENDED);
    MUST(relay_group_join(far, &err) == RELAY_ENDED);
    ck_assert_uint_eq(relay_group_counts(near).to_peer, sum);
    ck_assert_uint_eq(relay_group_counts(far).from_peer, sum);
    ck_assert_uint_eq(relay_group_counts(near).from_peer, sum_back);
    ck_assert_uint_eq(relay_group_counts(far).to_peer, sum_back);
    group_ends(near, RELAY_ENDED, "");
    group_ends(far, RELAY_ENDED, "");
    for (size_t i = 0; i < CHANNELS; i++) {
        close(qemus[i][0]);
        close(qemus[i][1]);
    }
}
END_TEST

/* A channel breaks: the others end, too, and why is what was first; then nothing starts any more.
 */
START_TEST(one_fails)
{
    struct relay_group *near = relay_group_new(-1, NULL);
    SSL *tls[4][2];
    int qemus[4];
    for (size_t i = 0; i < 3; i++) {
        tls_pair(tls[i]);
        qemus[i] = relay_of(near, tls[i][0], NULL, 0);
    }
    bool failed = true;
    ck_assert_uint_eq(relay_group_running(near, &failed), 3);
    ck_assert(!failed);
    tls_close(tls[1][1]);
    struct pollfd end = {.fd = relay_group_fd(near), .events = POLLIN};
    ck_assert_int_eq(poll(&end, 1, 10000), 1);
    for (size_t i = 0; i < 3; i++)
        must_read(qemus[i], 0, 0, true);
    tls_pair(tls[3]);
    qemus[3] = relay_of(near, tls[3][0], NULL, 0);
    must_read(qemus[3], 0, 0, true);
    group_ends(near, RELAY_PEER_TRUNCATED, "closed the connection");
    for (size_t i = 0; i < 4; i++) {
        close(qemus[i]);
        if (i != 1)
            tls_close(tls[i][1]);
    }
}
END_TEST

/* Whether the relay has taken this end and closed it. */
static void is_closed(int fd)
{
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
    ck_assert_int_eq(errno, EBADF);
}

START_TEST(too_many)
{
    struct relay_group *group = relay_group_new(-1, NULL);
    SSL *tls[2];
    int qemus[RELAY_GROUP_MAX], pair[2];
    SSL *others[RELAY_GROUP_MAX];
    for (size_t i = 0; i < RELAY_GROUP_MAX; i++) {
        tls_pair(tls);
        others[i] = tls[1];
        qemus[i] = relay_of(group, tls[0], NULL, 0);
    }
    tls_pair(tls);
    stream_pair(pair);
    int wire = SSL_get_fd(tls[0]);
    struct relay_ends ends = {.qemu = pair[1], .ssl = tls[0]};
    MUST_FAIL(STATUS_INTERNAL, "more than 64", relay_group_add(group, &ends, &err));
    is_closed(pair[1]);
    is_closed(wire);
    relay_group_free(group);
    for (size_t i = 0; i < RELAY_GROUP_MAX; i++) {
        close(qemus[i]);
        tls_close(others[i]);
    }
    close(pair[0]);
    tls_close(tls[1]);
}
END_TEST

START_TEST(empty_groups)
{
    struct relay_group *group = relay_group_new(-1, NULL);
    bool failed = true;
    ck_assert_uint_eq(relay_group_running(group, &failed), 0);
    ck_assert(!failed);
    ck_assert_int_eq(relay_group_join(group, NULL), RELAY_ENDED);
    ck_assert_int_eq(relay_group_join(group, NULL), RELAY_ENDED);
    SSL *tls[2];
    int pair[2];
    tls_pair(tls);
    stream_pair(pair);
    struct relay_ends ends = {.qemu = pair[1], .ssl = tls[0]};
    MUST_FAIL(STATUS_INTERNAL, "have ended", relay_group_add(group, &ends, &err));
    relay_group_free(group);
    relay_group_free(NULL);
    relay_free(NULL);
    tls_close(tls[1]);
    close(pair[0]);
}
END_TEST

START_TEST(wrong_ends)
{
    SSL *tls[2];
    int pair[2], datagrams[2];
    tls_pair(tls);
    stream_pair(pair);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, datagrams), 0);
    struct relay_ends ends = {.qemu = -1, .ssl = tls[0]};
    int wire = SSL_get_fd(tls[0]);
    MUST_FAIL(STATUS_INTERNAL, "a stream socket", relay_new(&ends, -1, &err));
    is_closed(wire);
    ends = (struct relay_ends){.qemu = datagrams[0]};
    MUST_FAIL(STATUS_INTERNAL, "a stream socket", relay_new(&ends, -1, &err));
    is_closed(datagrams[0]);
    ends = (struct relay_ends){.qemu = pair[0]};
    MUST_FAIL(STATUS_INTERNAL, "handshake is done", relay_new(&ends, -1, &err));
    is_closed(pair[0]);
    ends = (struct relay_ends){.qemu = pair[1], .ssl = tls[1], .early_size = 1};
    MUST_FAIL(STATUS_INTERNAL, "without bytes", relay_new(&ends, -1, &err));
    is_closed(pair[1]);
    stream_pair(pair);
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    ends = (struct relay_ends){.qemu = pair[1], .ssl = SSL_new(context)};
    SSL_CTX_free(context);
    MUST_FAIL(STATUS_INTERNAL, "handshake is done", relay_new(&ends, -1, &err));
    close(pair[0]);
    close(datagrams[1]);
}
END_TEST

START_TEST(no_descriptors)
{
    SSL *tls[2];
    int pair[2];
    tls_pair(tls);
    stream_pair(pair);
    int wire = SSL_get_fd(tls[0]);
    struct relay_ends ends = {.qemu = pair[1], .ssl = tls[0]};
    struct rlimit limit, none;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = limit.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    MUST_FAIL(STATUS_INTERNAL, "cannot make an eventfd", relay_new(&ends, -1, &err));
    MUST_FAIL(STATUS_INTERNAL, "cannot make an eventfd", relay_group_new(-1, &err));
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    is_closed(pair[1]);
    is_closed(wire);
    close(pair[0]);
    tls_close(tls[1]);
}
END_TEST

START_TEST(stopped_before_it_runs)
{
    SSL *tls[2];
    int pair[2];
    tls_pair(tls);
    stream_pair(pair);
    struct relay_ends ends = {.qemu = pair[1], .ssl = tls[0]};
    struct relay *relay = relay_new(&ends, -1, NULL);
    ck_assert_ptr_nonnull(relay);
    relay_stop(relay);
    relay_stop(relay);
    MUST_FAIL(STATUS_INTERRUPTED, "stopped", relay_run(relay, &err) != RELAY_STOPPED);
    MUST_FAIL(STATUS_INTERNAL, "runs once", relay_run(relay, &err) != RELAY_BROKEN);
    relay_stop(relay);
    relay_free(relay);
    close(pair[0]);
    tls_close(tls[1]);
}
END_TEST

START_TEST(never_run)
{
    SSL *tls[2];
    int pair[2];
    tls_pair(tls);
    stream_pair(pair);
    struct relay_ends ends = {.qemu = pair[1], .ssl = tls[0]};
    relay_free(relay_new(&ends, -1, NULL));
    is_closed(pair[1]);
    close(pair[0]);
    tls_close(tls[1]);
}
END_TEST

int main(void)
{
    static const struct unit_fixture fixture = {
        .setup = peer_fixture_setup, .teardown = peer_fixture_teardown, .once = true};
    const TTest *const tests[] = {sixteen_at_once,        one_fails,  too_many,
                                  empty_groups,           wrong_ends, no_descriptors,
                                  stopped_before_it_runs, never_run};
    return unit_run_with("relay-group", tests, COUNT(tests), &fixture);
}
