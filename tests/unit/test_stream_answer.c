/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The client's side of request "stream" with nobody there, and with peers that do not do as they
 * should.
 */
#include "stream_fixture.h"

#include <poll.h>

#define OK_101 "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n"

static void fails(const struct peer_client *client, int limit_ms, enum status status,
                  const char *words)
{
    autojson json_t *body = json_object();
    MUST_FAIL(status, words, peer_stream_open(client, body, deadline_in_ms(limit_ms), &err));
}

static struct peer_client client_for(uint16_t port)
{
    return (struct peer_client){
        .identity = alice, .peer = &entry_of_bob, .host = "127.0.0.1", .port = port};
}

static void *interrupt(void *context)
{
    volatile sig_atomic_t *interrupted = context;
    poll(NULL, 0, 200);
    *interrupted = 1;
    return NULL;
}

START_TEST(nobody_there)
{
    uint16_t port;
    bool retryable = false;
    volatile sig_atomic_t interrupted = 0;
    pthread_t thread;
    int fd = tcp_listen(&port);
    struct peer_client client = client_for(port);
    client.retryable = &retryable;
    fails(&client, 300, STATUS_UNAVAILABLE, "did not answer 'stream' in time");
    ck_assert(retryable);
    fails(&client, 0, STATUS_UNAVAILABLE, "no time left");
    ck_assert(!retryable);
    client.interrupted = &interrupted;
    ck_assert_int_eq(pthread_create(&thread, NULL, interrupt, (void *)&interrupted), 0);
    int64_t start = clock_now_ms();
    fails(&client, 20000, STATUS_INTERRUPTED, "interrupted");
    ck_assert_int_lt(clock_now_ms() - start, 2000);
    ck_assert(!retryable);
    pthread_join(thread, NULL);
    client.interrupted = NULL;
    close(fd);
    fails(&client, 5000, STATUS_UNAVAILABLE, "cannot connect");
    ck_assert(retryable);
    client.host = "no-such-host.invalid";
    fails(&client, 5000, STATUS_UNAVAILABLE, "no-such-host.invalid");
    ck_assert(retryable);
    client.host = "evil@host/../";
    fails(&client, 5000, STATUS_INTERNAL, "evil");
    ck_assert(!retryable);
}
END_TEST

/* bob listens on IPv4 only, and the name may mean IPv6, too. */
START_TEST(all_addresses)
{
    struct host host;
    host_start(&host, true);
    struct peer_client client = client_of(&host);
    client.host = "localhost";
    peer_stream_free(must_open(&client));
    tls_close(host_takes(&host));
    host_stop(&host);
}
END_TEST

static void fake_fails(const char *reply, enum status status, const char *words)
{
    struct fake_bob fake = {.reply = reply};
    fake_start(&fake);
    struct peer_client client = client_for(fake.port);
    int before = count_fds();
    fails(&client, 5000, status, words);
    fake_join(&fake);
    ck_assert_int_eq(count_fds(), before - 1); /* that one listened */
}

START_TEST(odd_answers)
{
    fake_fails("", STATUS_UNAVAILABLE, "closed the connection");
    fake_fails("HTTP/1.1 101 Switching", STATUS_UNAVAILABLE, "closed the connection");
    fake_fails("hello\r\n\r\n", STATUS_PROTOCOL, "not HTTP");
    fake_fails("HTTP/1.1 1010 X\r\n\r\n", STATUS_PROTOCOL, "not HTTP");
    fake_fails("HTTP/2 101 X\r\n\r\n", STATUS_PROTOCOL, "not HTTP");
    fake_fails("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", STATUS_PROTOCOL, "not HTTP");
    fake_fails("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
               STATUS_PROTOCOL, "not HTTP");
    fake_fails(OK_101 "\r\n", STATUS_PROTOCOL, "101");
    fake_fails(OK_101 "Upgrade: websocket\r\n\r\n", STATUS_PROTOCOL, "101");
    fake_fails("HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\na\x1b[2J", STATUS_PROTOCOL,
               "404: a?[2J");
    fake_fails("HTTP/1.1 426 Upgrade Required\r\nUpgrade: qemu-migration-stream\r\n\r\n",
               STATUS_PROTOCOL, "426");
    fake_fails("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", STATUS_PROTOCOL, "not JSON");
    fake_fails("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", STATUS_DATA, "answer");
    fake_fails("HTTP/1.1 200 OK\r\n\r\n{}", STATUS_DATA, "answer");
    fake_fails("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", STATUS_UNAVAILABLE, "closed");
    fake_fails("HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n\r\n{", STATUS_PROTOCOL, "more than");
    autofree char *huge = malloc(600000);
    memset(huge, 'a', 599999);
    huge[599999] = '\0';
    autofree char *body = string_format("HTTP/1.1 200 OK\r\n\r\n%s", huge);
    fake_fails(body, STATUS_PROTOCOL, "more than");
    autofree char *head = string_format("HTTP/1.1 101 OK\r\nX: %.60000s\r\n\r\n", huge);
    fake_fails(head, STATUS_PROTOCOL, "more than");
}
END_TEST

/* What follows the 101, in the same record even, is the stream's. */
START_TEST(not_a_byte_too_many)
{
    struct fake_bob fake = {.reply = OK_101 "upgrade: qemu-migration-stream\r\n\r\nHTTP\r\n\r\nab"};
    char bytes[64];
    fake_start(&fake);
    struct peer_client client = client_for(fake.port);
    autopeerstream struct peer_stream *stream = must_open(&client);
    fake_join(&fake);
    SSL *ssl = peer_stream_take_ssl(stream);
    ck_assert_int_eq(SSL_read(ssl, bytes, sizeof(bytes)), 10);
    ck_assert_int_eq(memcmp(bytes, "HTTP\r\n\r\nab", 10), 0);
    tls_close(ssl);
}
END_TEST

/* What follows, goes through the relay, too. */
START_TEST(early_bytes_through_the_relay)
{
    struct fake_bob fake = {.reply = OK_101 "Upgrade: qemu-migration-stream\r\n\r\nhello"};
    char bytes[64];
    fake_start(&fake);
    struct peer_client client = client_for(fake.port);
    autopeerstream struct peer_stream *stream = must_open(&client);
    fake_join(&fake);
    struct relay_group *group = relay_group_new(-1, NULL);
    int qemu = relay_of(group, peer_stream_take_ssl(stream), NULL, 0);
    ck_assert_int_eq(recv(qemu, bytes, 5, MSG_WAITALL), 5);
    ck_assert_int_eq(memcmp(bytes, "hello", 5), 0);
    close(qemu);
    relay_group_free(group);
}
END_TEST

void add_answer_tests(TCase *tcase)
{
    tcase_add_test(tcase, nobody_there);
    tcase_add_test(tcase, all_addresses);
    tcase_add_test(tcase, odd_answers);
    tcase_add_test(tcase, not_a_byte_too_many);
    tcase_add_test(tcase, early_bytes_through_the_relay);
}
