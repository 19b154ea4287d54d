/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Request "stream": a connection leaves the real server and carries bytes between two relays; or it
 * does not, and then both sides know, nobody is told twice and nothing leaks.
 */
#include "stream_fixture.h"

#include <netinet/tcp.h>
#include <poll.h>

#include "peer/sigpipe.h"

static int option_of(int fd, int level, int option)
{
    int value = 0;
    socklen_t size = sizeof(value);
    ck_assert_int_eq(getsockopt(fd, level, option, &value, &size), 0);
    return value;
}

static void is_tuned(const SSL *ssl)
{
    int fd = SSL_get_fd(ssl);
    ck_assert_int_ne(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 0);
    ck_assert_int_ne(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
    ck_assert_int_eq(option_of(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 120000);
    ck_assert_int_eq(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), 30);
    const char *cipher = SSL_get_cipher_name(ssl);
    ck_assert_msg(strstr(cipher, "AES_128") || strstr(cipher, "CHACHA"), "%s", cipher);
}

/* Both relays, and a "QEMU" at each end. */
static struct bridge bridge_between(SSL *near, SSL *far)
{
    struct bridge bridge = {.near = relay_group_new(-1, NULL), .far = relay_group_new(-1, NULL)};
    bridge.near_qemu = relay_of(bridge.near, near, NULL, 0);
    bridge.far_qemu = relay_of(bridge.far, far, NULL, 0);
    return bridge;
}

static void carries(struct bridge *bridge, uint64_t size)
{
    struct stream there, back, got_there, got_back;
    reader_start(&got_there, bridge->far_qemu);
    reader_start(&got_back, bridge->near_qemu);
    sender_start(&there, bridge->near_qemu, size, 100000);
    sender_start(&back, bridge->far_qemu, size + 1, 100000);
    stream_join(&there);
    stream_join(&back);
    stream_join(&got_there);
    stream_join(&got_back);
    ck_assert_uint_eq(got_there.size_read, size);
    ck_assert_uint_eq(got_back.size_read, size + 1);
    bridge_close(bridge, RELAY_ENDED, RELAY_ENDED);
}

/* The connection is not the server's any more: it may be freed (1). */
START_TEST(carries_megabytes)
{
    struct host host;
    bool retryable = true;
    host_start(&host, true);
    struct peer_client client = client_of(&host);
    client.retryable = &retryable;
    autopeerstream struct peer_stream *stream = must_open(&client);
    ck_assert(!retryable);
    SSL *far = host_takes(&host);
    SSL *near = peer_stream_take_ssl(stream);
    is_tuned(near);
    is_tuned(far);
    ck_assert_str_eq(host.peer, "alice");
    ck_assert_str_eq(host.remote, "127.0.0.1");
    if (_i == 1)
        host_stop(&host);
    struct bridge bridge = bridge_between(near, far);
    carries(&bridge, 64 * MIB / SLOWER);
    if (_i == 0)
        host_stop(&host);
    ck_assert_int_eq(host.streams, 1);
    ck_assert_int_eq(host.withdrawals, 0);
}
END_TEST

/* Requests have ten seconds; a stream has as long as it takes, and others are served meanwhile. */
START_TEST(outlives_the_time_of_a_request)
{
    struct host host;
    host_start(&host, true);
    struct peer_client client = client_of(&host);
    autopeerstream struct peer_stream *stream = must_open(&client);
    SSL *far = host_takes(&host);
    poll(NULL, 0, 11000);
    ck_assert(alice_asks(client.port, "echo", NULL, NULL));
    struct bridge bridge = bridge_between(peer_stream_take_ssl(stream), far);
    carries(&bridge, MIB);
    host_stop(&host);
}
END_TEST

START_TEST(refused_by_the_handler)
{
    struct host host;
    bool retryable = true;
    host_start(&host, true);
    struct peer_client client = client_of(&host);
    client.retryable = &retryable;
    autojson json_t *body = json_pack("{s:b}", "refuse", true);
    MUST_FAIL(STATUS_DRIFT, "bob: not this one",
              peer_stream_open(&client, body, deadline_in_ms(5000), &err));
    ck_assert(!retryable);
    host_stop(&host);
    ck_assert_int_eq(host.admits, 1);
    ck_assert_int_eq(host.streams + host.withdrawals, 0);
}
END_TEST

START_TEST(none_here)
{
    struct host host;
    host_start(&host, false);
    struct peer_client client = client_of(&host);
    autojson json_t *body = json_object(), *refuse = json_pack("{s:b}", "refuse", true);
    MUST_FAIL(STATUS_PROTOCOL, "without making a stream",
              peer_stream_open(&client, body, deadline_in_ms(5000), &err));
    MUST_FAIL(STATUS_PROTOCOL, "bob: what is 'stream'?",
              peer_stream_open(&client, refuse, deadline_in_ms(5000), &err));
    host_stop(&host);
    ck_assert_int_eq(host.streams + host.withdrawals + host.admits, 0);
}
END_TEST

/* What bob answers to alice's sealed request with these headers, with bytes behind it. */
static char *answer_to(const struct host *host, const char *name, const char *headers,
                       const char *behind)
{
    struct sigpipe_guard guard;
    int alert = 0;
    sigpipe_block(&guard);
    SSL *ssl = tls_connect(alice, peer_server_port(host->server), &alert);
    ck_assert_ptr_nonnull(ssl);
    autofree char *request = sealed_request(ssl, name, headers, behind);
    char *answer = tls_talk(ssl, request);
    tls_close(ssl);
    sigpipe_restore(&guard);
    return answer;
}

static void answers(const struct host *host, const char *name, const char *headers,
                    const char *words)
{
    autofree char *answer = answer_to(host, name, headers, "");
    ck_assert_msg(string_starts_with(answer, "HTTP/1.1 ") && strstr(answer, words), "%s: %s",
                  headers, answer);
}

START_TEST(headers)
{
    struct host host;
    host_start(&host, true);
    answers(&host, "stream", "", "426 Upgrade Required");
    answers(&host, "stream", "", "\r\nUpgrade: qemu-migration-stream\r\n");
    answers(&host, "stream", "Connection: Upgrade\r\n", "426 Upgrade Required");
    answers(&host, "stream", "Upgrade: qemu-migration-stream\r\n", "426 Upgrade Required");
    answers(&host, "stream", "Connection: close\r\nUpgrade: qemu-migration-stream\r\n",
            "426 Upgrade Required");
    answers(&host, "stream", "Connection: Upgrade\r\nUpgrade: websocket\r\n",
            "426 Upgrade Required");
    answers(&host, "stream", "Connection: Upgraded\r\nUpgrade: qemu-migration-streams\r\n",
            "426 Upgrade Required");
    answers(&host, "echo", UPGRADE, "200 OK");
    ck_assert_int_eq(host.admits, 0);
    host_stop(&host);
    ck_assert_int_eq(host.streams + host.withdrawals, 0);
    /* Names of protocols and options in any case, and in lists. */
    host_start(&host, true);
    host.drop = true;
    answers(&host, "stream",
            "Connection: keep-alive, upgrade\r\nUpgrade: h2c, QEMU-migration-stream\r\n",
            "101 Switching Protocols\r\n");
    answers(&host, "stream", UPGRADE, "\r\nUpgrade: qemu-migration-stream\r\n");
    answers(&host, "stream", UPGRADE, "\r\nConnection: Upgrade\r\n");
    host_waits(&host, 3);
    host_stop(&host);
    ck_assert_int_eq(host.streams, 3);
}
END_TEST

START_TEST(strangers)
{
    struct host host;
    bool retryable = true;
    autojson json_t *body = json_object();
    host_start(&host, true);
    struct peer_client client = client_of(&host);
    client.retryable = &retryable;
    client.identity = mallory;
    for (int i = 0; i < 20; i++) /* the alert and the end of the connection are in a race */
        MUST_FAIL(STATUS_NOT_TRUSTED, "does not trust this host's key",
                  peer_stream_open(&client, body, deadline_in_ms(5000), &err));
    ck_assert(!retryable);
    struct trust_entry other = entry_of_bob;
    client = client_of(&host);
    client.peer = &other;
    memcpy(other.pins[0], mallory->pin, PIN_SIZE);
    MUST_FAIL(STATUS_NOT_TRUSTED, bob->pin,
              peer_stream_open(&client, body, deadline_in_ms(5000), &err));
    other.expires = 1;
    MUST_FAIL(STATUS_NOT_TRUSTED, "expired",
              peer_stream_open(&client, body, deadline_in_ms(5000), &err));
    host_stop(&host);
    ck_assert_int_eq(host.admits, 0);
}
END_TEST

/* A client that does not wait for the 101 has another protocol in mind, or nothing good. */
START_TEST(bytes_before_the_answer)
{
    struct host host;
    host_start(&host, true);
    int before = count_fds();
    autofree UNREAD char *answer = answer_to(&host, "stream", UPGRADE, "hello");
    host_waits(&host, 1);
    ck_assert(alice_asks(peer_server_port(host.server), "echo", NULL, NULL));
    fds_become(before);
    host_stop(&host);
    ck_assert_int_eq(host.admits, 1);
    ck_assert_int_eq(host.streams, 0);
    ck_assert_int_eq(host.withdrawals, 1);
}
END_TEST

START_TEST(gone_before_the_answer)
{
    struct host host;
    int alert = 0;
    host_start(&host, true);
    int before = count_fds();
    host.hold = true;
    SSL *ssl = tls_connect(alice, peer_server_port(host.server), &alert);
    autofree char *request = sealed_request(ssl, "stream", UPGRADE, "");
    ck_assert_int_gt(SSL_write(ssl, request, (int)strlen(request)), 0);
    sem_wait(&host.asked);
    struct linger reset = {.l_onoff = 1};
    setsockopt(SSL_get_fd(ssl), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    tls_close(ssl);
    sem_post(&host.go_on);
    host_waits(&host, 1);
    fds_become(before);
    ck_assert(alice_asks(peer_server_port(host.server), "echo", NULL, NULL));
    host_stop(&host);
    ck_assert_int_eq(host.streams, 0);
    ck_assert_int_eq(host.withdrawals, 1);
}
END_TEST

/* What comes on a stream that nobody reads does not wake the server. */
START_TEST(leaves_the_server_idle)
{
    struct host host;
    host_start(&host, true);
    struct peer_client client = client_of(&host);
    autopeerstream struct peer_stream *stream = must_open(&client);
    SSL *far = host_takes(&host);
    SSL *near = peer_stream_take_ssl(stream);
    ck_assert_int_eq(SSL_write(near, "hello", 5), 5);
    int64_t before = cpu_ms();
    poll(NULL, 0, 500);
    ck_assert_int_le(cpu_ms() - before, 100);
    tls_close(near);
    tls_close(far);
    host_stop(&host);
}
END_TEST

/* Streams do not count among the connections of the server, neither one after another nor at once,
 * and leave nothing behind. */
START_TEST(many)
{
    struct host host;
    struct peer_stream *streams[80];
    SSL *taken[COUNT(streams)];
    host_start(&host, true);
    struct peer_client client = client_of(&host);
    int before = count_fds();
    ck_assert(alice_asks(client.port, "echo", NULL, NULL));
    fds_become(before);
    for (int i = 0; i < 100; i++) {
        struct peer_stream *stream = must_open(&client);
        SSL *far = host_takes(&host);
        peer_stream_free(stream);
        tls_close(far);
        ck_assert_int_eq(count_fds(), before);
    }
    for (size_t i = 0; i < COUNT(streams); i++) {
        streams[i] = must_open(&client);
        taken[i] = host_takes(&host);
    }
    ck_assert(alice_asks(client.port, "echo", NULL, NULL));
    for (size_t i = 0; i < COUNT(streams); i++) {
        char byte = 0;
        ck_assert_int_eq(SSL_write(taken[i], "x", 1), 1);
        SSL *near = peer_stream_take_ssl(streams[i]);
        struct pollfd item = {.fd = SSL_get_fd(near), .events = POLLIN};
        ck_assert_int_eq(poll(&item, 1, 5000), 1);
        ck_assert_int_eq(SSL_read(near, &byte, 1), 1);
        ck_assert_int_eq(byte, 'x');
        tls_close(near);
        peer_stream_free(streams[i]);
        tls_close(taken[i]);
    }
    fds_become(before);
    host_stop(&host);
    ck_assert_int_eq(host.withdrawals, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stream");
    TCase *tcase = tcase_create("stream");
    tcase_add_unchecked_fixture(tcase, peer_fixture_setup, peer_fixture_teardown);
    tcase_set_timeout(tcase, 300);
    tcase_add_loop_test(tcase, carries_megabytes, 0, 2);
    tcase_add_test(tcase, outlives_the_time_of_a_request);
    tcase_add_test(tcase, refused_by_the_handler);
    tcase_add_test(tcase, none_here);
    tcase_add_test(tcase, headers);
    tcase_add_test(tcase, strangers);
    tcase_add_test(tcase, bytes_before_the_answer);
    tcase_add_test(tcase, gone_before_the_answer);
    tcase_add_test(tcase, leaves_the_server_idle);
    tcase_add_test(tcase, many);
    add_end_tests(tcase);
    add_answer_tests(tcase);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
