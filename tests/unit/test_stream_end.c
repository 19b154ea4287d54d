/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Servers that end while a stream comes about, and what the next one needs to go on.
 */
#include "stream_fixture.h"

#include <poll.h>

/* peer_server_stop in admit: the stream is still handed over. */
START_TEST(stops_after_the_stream)
{
    for (int i = 0; i < 20; i++) {
        struct host host;
        host_start(&host, true);
        host.stop = true;
        struct peer_client client = client_of(&host);
        autopeerstream UNREAD struct peer_stream *stream = must_open(&client);
        pthread_join(host.thread, NULL);
        ck_assert(host.result);
        ck_assert_int_eq(host.streams, 1);
        tls_close(host_takes(&host));
        host_free(&host);
    }
}
END_TEST

static void *interrupt_soon(void *context)
{
    struct host *host = context;
    sem_wait(&host->asked);
    host->interrupted = 1;
    poll(NULL, 0, 120); /* so that the server looks right after the handler */
    sem_post(&host->go_on);
    return NULL;
}

/* The server ends somewhere between admit and stream: whoever admitted hears of it, once. */
START_TEST(ends_in_between)
{
    int before = count_fds();
    for (int i = 0; i < 20; i++) {
        struct host host;
        pthread_t thread;
        host_start(&host, true);
        host.drop = host.hold = true;
        struct peer_client client = client_of(&host);
        autojson json_t *body = json_object();
        ck_assert_int_eq(pthread_create(&thread, NULL, interrupt_soon, &host), 0);
        autopeerstream UNREAD struct peer_stream *stream =
            peer_stream_open(&client, body, deadline_in_ms(i % 2 ? 5000 : 1000), NULL);
        pthread_join(thread, NULL);
        pthread_join(host.thread, NULL);
        host_free(&host);
        ck_assert_int_eq(host.admits, 1);
        ck_assert_int_eq(host.streams + host.withdrawals, 1);
    }
    fds_become(before);
}
END_TEST

/* The server ends when libevent has let go of a connection and nobody has been told yet: while the
 * first request is held, two more come, which go all their way together from then on; the stream of
 * one stops the server. */
START_TEST(ends_at_the_last_moment)
{
    struct host host;
    SSL *ssl[3];
    int alert = 0, before = count_fds();
    host_start(&host, true);
    host.drop = host.hold = true;
    host.last_stream = 2;
    for (size_t i = 0; i < COUNT(ssl); i++)
        ssl[i] = tls_connect(alice, host.port, &alert);
    poll(NULL, 0, 100); /* for the server's end of the handshakes */
    for (size_t i = 0; i < COUNT(ssl); i++) {
        autofree char *request = sealed_request(ssl[i], "stream", UPGRADE, "");
        ck_assert_int_gt(SSL_write(ssl[i], request, (int)strlen(request)), 0);
        if (i == 0)
            sem_wait(&host.asked);
    }
    sem_post(&host.go_on);
    pthread_join(host.thread, NULL);
    ck_assert(host.result);
    ck_assert_int_eq(host.admits, 3);
    ck_assert_int_eq(host.streams, 2);
    ck_assert_int_eq(host.withdrawals, 0);
    host_free(&host);
    ck_assert_int_eq(host.withdrawals, 1);
    for (size_t i = 0; i < COUNT(ssl); i++)
        tls_close(ssl[i]);
    ck_assert_int_eq(count_fds(), before);
}
END_TEST

static void *ask_later_on(void *context)
{
    struct host *host = context;
    host->result = alice_asks(host->port, "echo", NULL, &host->err);
    return NULL;
}

START_TEST(handed_over_socket)
{
    struct host first, second, asker = {0};
    pthread_t thread;
    host_start(&first, true);
    struct peer_client client = client_of(&first);
    int fd = peer_server_dup_socket(first.server, NULL);
    ck_assert_int_ge(fd, 3);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert(alice_asks(client.port, "echo", NULL, NULL));
    host_stop(&first);
    asker.port = client.port;
    ck_assert_int_eq(pthread_create(&thread, NULL, ask_later_on, &asker), 0);
    poll(NULL, 0, 200); /* it waits in the kernel */
    host_start_on(&second, true, fd);
    pthread_join(thread, NULL);
    ck_assert_msg(asker.result, "%s", asker.err.message);
    ck_assert_uint_eq(peer_server_port(second.server), client.port);
    autopeerstream UNREAD struct peer_stream *stream = must_open(&client);
    tls_close(host_takes(&second));
    host_stop(&second);
}
END_TEST

START_TEST(first_free_port)
{
    uint16_t taken, port = 0;
    autoclose UNREAD int other = tcp_listen(&taken);
    autofree char *range = string_format("from %u to %u", taken, taken);
    MUST_FAIL(STATUS_CONFIG, range, peer_listen_range("127.0.0.1", taken, taken, &port, &err) >= 0);
    MUST_FAIL(STATUS_CONFIG, "from 3 to 2", peer_listen_range("127.0.0.1", 3, 2, &port, &err) >= 0);
    MUST_FAIL(STATUS_CONFIG, "192.0.2.1",
              peer_listen_range("192.0.2.1", taken, 65535, &port, &err) >= 0);
    ck_assert_uint_eq(port, 0);
    autoclose int fd = -1;
    MUST((fd = peer_listen_range("127.0.0.1", taken, 65535, &port, &err)) >= 0);
    ck_assert_uint_gt(port, taken);
    close(tcp_connect(port));
}
END_TEST

void add_end_tests(TCase *tcase)
{
    tcase_add_test(tcase, stops_after_the_stream);
    tcase_add_test(tcase, ends_in_between);
    tcase_add_test(tcase, ends_at_the_last_moment);
    tcase_add_test(tcase, handed_over_socket);
    tcase_add_test(tcase, first_free_port);
}
