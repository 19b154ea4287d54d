/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The relay: every byte arrives, each direction ends on its own, a failing end is told from the
 * other, a stall holds little memory, takes no time and can be cut.
 */
#include "relay_fixture.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <openssl/err.h>
#include <sys/socket.h>

#include "base/deadline.h"
#include "peer/sigpipe.h"

#define SOON_MS 1000 /* "milliseconds", on a machine that has other things to do */
#define STALL_MS 300

static void nothing_lost_both_ways(uint64_t size, size_t piece, uint64_t rekey_after)
{
    struct bridge bridge;
    struct stream there, back, got_there, got_back;
    bridge_open(&bridge, rekey_after);
    reader_start(&got_there, bridge.far_qemu);
    reader_start(&got_back, bridge.near_qemu);
    sender_start(&there, bridge.near_qemu, size, piece);
    sender_start(&back, bridge.far_qemu, size + 1, piece);
    stream_join(&there);
    stream_join(&back);
    stream_join(&got_there);
    stream_join(&got_back);
    ck_assert_uint_eq(got_there.size_read, size);
    ck_assert_uint_eq(got_back.size_read, size + 1);
    struct relay_counts near = relay_group_counts(bridge.near);
    ck_assert_uint_eq(near.from_peer, size + 1);
    bridge_close(&bridge, RELAY_ENDED, RELAY_ENDED);
}

START_TEST(gigabytes)
{
    nothing_lost_both_ways(2048 * MIB / SLOWER, 0, 0);
}
END_TEST

START_TEST(tiny_writes)
{
    nothing_lost_both_ways(MIB / SLOWER, 30, 0);
}
END_TEST

START_TEST(uneven_writes)
{
    nothing_lost_both_ways(256 * MIB / SLOWER, 100000, 0);
}
END_TEST

START_TEST(new_keys)
{
    nothing_lost_both_ways(128 * MIB / SLOWER, 100000, 50000);
}
END_TEST

START_TEST(nothing_at_all)
{
    nothing_lost_both_ways(0, 0, 0);
}
END_TEST

/* One side ends; the other sends on, and is heard. */
START_TEST(half_closed)
{
    struct bridge bridge;
    bridge_open(&bridge, 0);
    int first = _i == 0 ? bridge.near_qemu : bridge.far_qemu;
    int second = _i == 0 ? bridge.far_qemu : bridge.near_qemu;
    must_send(first, 0, 1000);
    shutdown(first, SHUT_WR);
    must_read(second, 0, 1000, true);
    struct stream back;
    sender_start(&back, second, 50 * MIB, 0);
    must_read(first, 0, 50 * MIB, true);
    stream_join(&back);
    bridge_close(&bridge, RELAY_ENDED, RELAY_ENDED);
}
END_TEST

/* QEMU closes its socket when it has sent everything, as the source does: nobody waits for more. */
START_TEST(closed_after_the_last_byte)
{
    struct bridge bridge;
    bridge_open(&bridge, 0);
    struct stream there;
    sender_start(&there, bridge.near_qemu, 64 * MIB, 0);
    must_read(bridge.far_qemu, 0, 1000, false);
    must_read(bridge.far_qemu, 1000, 10 * MIB, false);
    uint64_t rest = 64 * MIB - 10 * MIB - 1000;
    must_read(bridge.far_qemu, 10 * MIB + 1000, rest, true);
    stream_join(&there);
    close(bridge.near_qemu);
    close(bridge.far_qemu);
    bridge.near_qemu = bridge.far_qemu = -1;
    bridge_close(&bridge, RELAY_ENDED, RELAY_ENDED);
}
END_TEST

/* The far end reads nothing: what the near one can send is bounded, and waiting costs nothing; then
 * it closes, and all of it arrives nevertheless. */
START_TEST(stalled_reader)
{
    struct bridge bridge;
    bridge_open(&bridge, 0);
    uint64_t sent = send_until_blocked(bridge.near_qemu);
    ck_assert_uint_ge(sent, MIB / 2);
    ck_assert_uint_le(sent, 64 * MIB); /* most of it is the kernel's: TCP's buffers */
    close(bridge.near_qemu);
    bridge.near_qemu = -1;
    int64_t before = cpu_ms();
    poll(NULL, 0, STALL_MS);
    ck_assert_int_le(cpu_ms() - before, STALL_MS / 10);
    must_read(bridge.far_qemu, 0, sent, true);
    shutdown(bridge.far_qemu, SHUT_WR);
    bridge_close(&bridge, RELAY_ENDED, RELAY_ENDED);
}
END_TEST

/* The peer has ended and gone; what it sent still waits for a slow QEMU. */
START_TEST(slow_to_the_last)
{
    struct bridge bridge;
    bridge_open(&bridge, 0);
    shutdown(bridge.far_qemu, SHUT_WR);
    must_read(bridge.near_qemu, 0, 0, true);
    must_send(bridge.near_qemu, 0, MIB);
    shutdown(bridge.near_qemu, SHUT_WR);
    group_ends(bridge.near, RELAY_ENDED, "");
    int64_t before = cpu_ms();
    poll(NULL, 0, STALL_MS);
    ck_assert_int_le(cpu_ms() - before, STALL_MS / 10);
    must_read(bridge.far_qemu, 0, MIB, true);
    group_ends(bridge.far, RELAY_ENDED, "");
    close(bridge.near_qemu);
    close(bridge.far_qemu);
}
END_TEST

/* A stall is cut: by a call (0) or a descriptor (1); and the peer, which stalls, too, is told. */
START_TEST(stopped)
{
    SSL *tls[2];
    tls_pair(tls);
    int stop = eventfd(0, EFD_CLOEXEC);
    struct relay_group *near = relay_group_new(stop, NULL), *far = relay_group_new(-1, NULL);
    int near_qemu = relay_of(near, tls[0], NULL, 0), far_qemu = relay_of(far, tls[1], NULL, 0);
    send_until_blocked(near_qemu);
    int64_t start = clock_now_ms();
    if (_i == 0)
        relay_group_stop(near);
    else
        ck_assert_int_eq(eventfd_write(stop, 1), 0);
    group_ends(near, RELAY_STOPPED, "stopped");
    group_ends(far, RELAY_PEER_LOST, "the connection to the other host was lost: Connection reset");
    ck_assert_int_le(clock_now_ms() - start, SOON_MS);
    close(near_qemu);
    close(far_qemu);
    close(stop);
}
END_TEST

/* QEMU dies with bytes unread. */
START_TEST(qemu_reset)
{
    struct bridge bridge;
    bridge_open(&bridge, 0);
    must_send(bridge.far_qemu, 0, 100);
    struct pollfd in = {.fd = bridge.near_qemu, .events = POLLIN};
    ck_assert_int_eq(poll(&in, 1, 5000), 1);
    close(bridge.near_qemu);
    bridge.near_qemu = -1;
    group_ends(bridge.near, RELAY_QEMU_FAILED, "QEMU's migration socket failed: Connection reset");
    group_ends(bridge.far, RELAY_PEER_LOST, "the connection to the other host was lost");
    char byte; /* and the other QEMU hears of it */
    ck_assert_int_le(recv(bridge.far_qemu, &byte, 1, 0), 0);
    close(bridge.far_qemu);
}
END_TEST

/* The same while the peer stalls, and nothing is read from QEMU any more. */
START_TEST(qemu_reset_in_a_stall)
{
    struct bridge bridge;
    bridge_open(&bridge, 0);
    must_send(bridge.far_qemu, 0, 100);
    send_until_blocked(bridge.near_qemu);
    close(bridge.near_qemu);
    bridge.near_qemu = -1;
    group_ends(bridge.near, RELAY_QEMU_FAILED, "QEMU's migration socket failed: Connection reset");
    group_ends(bridge.far, RELAY_PEER_LOST, "the connection to the other host was lost");
    close(bridge.far_qemu);
}
END_TEST

/* A channel of multifd's: QEMU closes it with bytes unread, and both relays end well; what the
 * other side still sends is taken and dropped. */
START_TEST(qemu_that_may_close)
{
    SSL *tls[2];
    int pair[2];
    tls_pair(tls);
    stream_pair(pair);
    struct relay_group *near = relay_group_new(-1, NULL), *far = relay_group_new(-1, NULL);
    struct relay_ends ends = {.qemu = pair[1], .ssl = tls[0], .qemu_may_close = true};
    MUST(relay_group_add(near, &ends, &err));
    int far_qemu = relay_of(far, tls[1], NULL, 0);
    must_send(far_qemu, 0, 100);
    struct pollfd in = {.fd = pair[0], .events = POLLIN};
    ck_assert_int_eq(poll(&in, 1, 5000), 1);
    close(pair[0]);
    must_read(far_qemu, 0, 0, true);
    must_send(far_qemu, 100, 3000000);
    close(far_qemu);
    group_ends(near, RELAY_ENDED, "");
    group_ends(far, RELAY_ENDED, "");
}
END_TEST

/* QEMU closes, with nothing unread, while the peer still has something to say. */
START_TEST(qemu_closed_too_early)
{
    struct bridge bridge;
    bridge_open(&bridge, 0);
    close(bridge.near_qemu);
    must_read(bridge.far_qemu, 0, 0, true);
    must_send(bridge.far_qemu, 0, 100);
    group_ends(bridge.near, RELAY_QEMU_FAILED, "before it had read everything");
    group_ends(bridge.far, RELAY_PEER_LOST, "was lost");
    close(bridge.far_qemu);
}
END_TEST

static const char *const ends_of_connection[] = {
    "closed the connection before the migration stream ended",
    "the connection to the other host was lost: Connection reset by peer",
    "ended the migration stream with TLS alert 20 (bad record mac)",
    "the migration stream from the other host was damaged: ",
};
static const enum relay_outcome outcomes_of_connection[] = {RELAY_PEER_TRUNCATED, RELAY_PEER_LOST,
                                                            RELAY_PEER_ALERT, RELAY_PEER_GARBLED};

/* A record of application data, of 32 bytes that nobody has encrypted. */
static const uint8_t garbage[37] = {23, 3, 3, 0, 32};

static void end_connection(SSL *ssl, int how)
{
    const struct linger now = {.l_onoff = 1};
    int fd = SSL_get_fd(ssl);
    uint8_t byte;
    if (how == 1)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    if (how == 2) { /* it is made to believe that we sent garbage */
        BIO *wrong = BIO_new(BIO_s_mem());
        BIO_write(wrong, garbage, sizeof(garbage));
        SSL_set0_rbio(ssl, wrong);
        ck_assert_int_le(SSL_read(ssl, &byte, 1), 0);
    }
    if (how == 3) {
        ck_assert_int_eq(send(fd, garbage, sizeof(garbage), MSG_NOSIGNAL), sizeof(garbage));
        ck_assert_int_le(SSL_read(ssl, &byte, 1), 0); /* we hear it, too */
        int reason = ERR_GET_REASON(ERR_peek_error());
        ck_assert_int_eq(reason, SSL_AD_REASON_OFFSET + SSL_AD_BAD_RECORD_MAC);
    }
    SSL_free(ssl);
    close(fd);
}

START_TEST(connection_ends_badly)
{
    SSL *tls[2];
    tls_pair(tls);
    struct relay_group *group = relay_group_new(-1, NULL);
    int qemu = relay_of(group, tls[0], NULL, 0);
    uint8_t data[10000];
    pattern_fill(data, sizeof(data), 0);
    ck_assert_int_eq(SSL_write(tls[1], data, sizeof(data)), sizeof(data));
    must_read(qemu, 0, sizeof(data), false); /* what came before was good */
    end_connection(tls[1], _i);
    group_ends(group, outcomes_of_connection[_i], ends_of_connection[_i]);
    ck_assert_int_eq(recv(qemu, data, 1, 0), 0);
    close(qemu);
}
END_TEST

/* The same while we send: the write fails first, and what the peer said must not be lost. */
START_TEST(connection_ends_badly_while_sending)
{
    SSL *tls[2];
    tls_pair(tls);
    struct relay_group *group = relay_group_new(-1, NULL);
    int qemu = relay_of(group, tls[0], NULL, 0);
    send_until_blocked(qemu);
    int fd = dup(SSL_get_fd(tls[1]));
    end_connection(tls[1], 2);
    shutdown(fd, SHUT_RDWR);
    close(fd); /* unread bytes: this is a reset */
    struct error err = ERROR_INIT;
    enum relay_outcome outcome = relay_group_join(group, &err);
    ck_assert_msg(outcome == RELAY_PEER_ALERT, "%s", err.message);
    relay_group_free(group);
    close(qemu);
}
END_TEST

/* The peer says that it has ended, and goes without waiting for our end. */
START_TEST(peer_goes_too_early)
{
    SSL *tls[2];
    tls_pair(tls);
    struct relay_group *group = relay_group_new(-1, NULL);
    int qemu = relay_of(group, tls[0], NULL, 0);
    ck_assert_int_eq(SSL_shutdown(tls[1]), 0);
    must_read(qemu, 0, 0, true);
    tls_close(tls[1]);
    group_ends(group, RELAY_PEER_TRUNCATED, "before it had taken all");
    close(qemu);
}
END_TEST

/* Somebody has read from the session before: some of it he has decrypted, some is in OpenSSL. */
START_TEST(bytes_read_ahead)
{
    SSL *tls[2];
    size_t size = 12000, total = _i == 0 ? 5 : 10000;
    autofree uint8_t *data = malloc(size), *early = malloc(total);
    tls_pair(tls);
    pattern_fill(data, size, 0);
    for (size_t at = 0; at < size; at += 3000)
        ck_assert_int_eq(SSL_write(tls[0], data + at, 3000), 3000);
    SSL_set_read_ahead(tls[1], 1);
    for (size_t got = 0, n; got < total; got += n)
        ck_assert_int_eq(SSL_read_ex(tls[1], early + got, total - got, &n), 1);
    ck_assert(SSL_has_pending(tls[1]));
    struct relay_group *group = relay_group_new(-1, NULL);
    int qemu = relay_of(group, tls[1], early, total);
    must_read(qemu, 0, size, false);
    ck_assert_int_eq(SSL_shutdown(tls[0]), 0);
    must_read(qemu, size, 0, true);
    shutdown(qemu, SHUT_WR);
    group_ends(group, RELAY_ENDED, "");
    tls_close(tls[0]);
    close(qemu);
}
END_TEST

START_TEST(much_read_ahead)
{
    SSL *tls[2];
    size_t size = 3 * MIB;
    autofree uint8_t *data = malloc(size);
    tls_pair(tls);
    pattern_fill(data, size, 0);
    /* A BIO that closes the socket when it goes. */
    BIO *closing = BIO_new_socket(SSL_get_fd(tls[0]), BIO_CLOSE);
    SSL_set_bio(tls[0], closing, closing);
    struct relay_group *group = relay_group_new(-1, NULL);
    int qemu = relay_of(group, tls[0], data, size);
    must_read(qemu, 0, size, false);
    must_send(qemu, 0, 1000);
    uint8_t byte;
    ck_assert_int_eq(SSL_read(tls[1], &byte, 1), 1); /* the connection is still there */
    ck_assert_uint_eq(relay_group_counts(group).from_peer, size);
    relay_group_free(group); /* stops it */
    tls_close(tls[1]);
    close(qemu);
}
END_TEST

int main(void)
{
    struct sigpipe_guard guard;
    sigpipe_block(&guard); /* the tests' own SSL_write */
    Suite *suite = suite_create("relay");
    TCase *tcase = tcase_create("relay");
    tcase_add_unchecked_fixture(tcase, peer_fixture_setup, peer_fixture_teardown);
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, gigabytes);
    tcase_add_test(tcase, tiny_writes);
    tcase_add_test(tcase, uneven_writes);
    tcase_add_test(tcase, new_keys);
    tcase_add_test(tcase, nothing_at_all);
    tcase_add_loop_test(tcase, half_closed, 0, 2);
    tcase_add_test(tcase, closed_after_the_last_byte);
    tcase_add_test(tcase, stalled_reader);
    tcase_add_test(tcase, slow_to_the_last);
    tcase_add_loop_test(tcase, stopped, 0, 2);
    tcase_add_test(tcase, qemu_reset);
    tcase_add_test(tcase, qemu_reset_in_a_stall);
    tcase_add_test(tcase, qemu_closed_too_early);
    tcase_add_test(tcase, qemu_that_may_close);
    tcase_add_loop_test(tcase, connection_ends_badly, 0, 4);
    tcase_add_test(tcase, connection_ends_badly_while_sending);
    tcase_add_test(tcase, peer_goes_too_early);
    tcase_add_loop_test(tcase, bytes_read_ahead, 0, 2);
    tcase_add_test(tcase, much_read_ahead);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
