/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The server against everybody else: no certificate, unknown keys, plaintext, silence, crowds, and
 * trusted peers that send what they should not. An honest peer is served all the while.
 */
#include <check.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/strings.h"
#include "peer_fixture.h"
#include "peer/message.h"
#include "peer/sigpipe.h"

static struct bobs_server server;
static uint16_t port;

static void start(void)
{
    struct sigpipe_guard guard;
    bob_start(&server, DEADLINE_NEVER);
    sigpipe_block(&guard); /* for this thread, not the server's, which must guard itself */
    port = peer_server_port(server.server);
}

static void stop(void)
{
    int calls = server.calls;
    alice_is_served(&server);
    ck_assert_int_eq(server.calls, calls + 1);
    bob_stop(&server);
}

/* What a stranger gets to see of HTTP: nothing. */
static void is_refused(const struct identity *who, int alert_expected)
{
    int alert = 0;
    SSL *ssl = tls_connect(who, port, &alert);
    if (ssl) { /* in TLS 1.3 the client is done first */
        autofree char *request = http_post("echo", "{}");
        autofree char *answer = tls_talk(ssl, request);
        ck_assert_str_eq(answer, "");
        tls_close(ssl);
    }
    ck_assert_int_eq(alert, alert_expected);
    ck_assert_int_eq(server.calls, 0);
}

START_TEST(no_certificate)
{
    is_refused(NULL, SSL_AD_CERTIFICATE_REQUIRED);
}
END_TEST

START_TEST(unknown_key)
{
    is_refused(mallory, SSL_AD_UNKNOWN_CA);
}
END_TEST

/* Who goes on talking when it is refused: what it says arrives, and it can read why. Whether it
 * went well is not known where the machine took too long. */
static bool talks_on(void)
{
    int alert = 0;
    SSL *ssl = tls_connect(mallory, port, &alert);
    ck_assert_ptr_nonnull(ssl);
    struct pollfd refusal = {.fd = SSL_get_fd(ssl), .events = POLLIN};
    ck_assert_int_eq(poll(&refusal, 1, 20000), 1);
    int64_t refused_at = clock_now_ms();
    int said = 0;
    char byte;
    for (; said < 3 && SSL_write(ssl, "x", 1) == 1; said++)
        poll(NULL, 0, 20);
    bool in_time = clock_now_ms() - refused_at < 500;
    ck_assert_int_le(SSL_read(ssl, &byte, 1), 0);
    tls_close(ssl);
    ck_assert_msg(!in_time || said == 3, "the connection was reset after %d words", said);
    ck_assert_int_eq(alert, SSL_AD_UNKNOWN_CA);
    return in_time;
}

START_TEST(refused_while_it_talks)
{
    for (int i = 0; i < 10 && !talks_on(); i++)
        continue;
}
END_TEST

START_TEST(expired_entry)
{
    entry_of_alice.expires = 1000; /* looked up at each handshake */
    is_refused(alice, SSL_AD_CERTIFICATE_EXPIRED);
    entry_of_alice.expires = TRUST_NEVER;
}
END_TEST

/* With a key that is trusted: what is refused is the version, or the key exchange, alone. */
static void cannot_speak(int version, const char *groups)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    ck_assert_int_eq(SSL_CTX_use_certificate(context, alice->certificate), 1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey(context, alice->key), 1);
    ck_assert_int_eq(SSL_CTX_set_max_proto_version(context, version), 1);
    ck_assert_int_eq(SSL_CTX_set1_groups_list(context, groups), 1);
    SSL *ssl = SSL_new(context);
    SSL_set_fd(ssl, tcp_connect(port));
    ck_assert_int_ne(SSL_connect(ssl), 1);
    tls_close(ssl);
    SSL_CTX_free(context);
}

START_TEST(old_tls)
{
    cannot_speak(TLS1_2_VERSION, "X25519:P-256");
    cannot_speak(TLS1_3_VERSION, "P-384:P-521");
}
END_TEST

static int tickets;

static int count_ticket(SSL *ssl, SSL_SESSION *session)
{
    tickets++;
    return 0;
}

/* A session that could be taken up again would be one without a look at trust.d. */
START_TEST(no_second_life)
{
    SSL *ssl = tls_connect(alice, port, NULL);
    SSL_CTX *context = SSL_get_SSL_CTX(ssl);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(context, count_ticket);
    autofree char *request = http_post("echo", "{}");
    autofree char *answer = tls_talk(ssl, request); /* a ticket would come before it */
    ck_assert_str_ne(answer, "");
    ck_assert_int_eq(tickets, 0);
    tls_close(ssl);
}
END_TEST

START_TEST(plaintext)
{
    static const char *const words[] = {
        "POST /v1/echo HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}",
        "garbage\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        int fd = tcp_connect(port);
        char answer[4096];
        ck_assert_int_gt(send(fd, words[i], strlen(words[i]), MSG_NOSIGNAL), 0);
        ssize_t n, total = 0;
        while ((n = recv(fd, answer + total, sizeof(answer) - (size_t)total, 0)) > 0)
            total += n;
        ck_assert_int_ge(total, 0);
        ck_assert_int_lt(total, 16); /* a TLS alert record at most */
        ck_assert(total == 0 || answer[0] == 0x15);
        close(fd);
    }
    ck_assert_int_eq(server.calls, 0);
}
END_TEST

/* A crowd of silent strangers larger than the server takes: the oldest make room. */
START_TEST(crowd)
{
    int fds[150];
    for (size_t i = 0; i < 150; i++)
        fds[i] = tcp_connect(port);
    alice_is_served(&server);
    char byte;
    struct pollfd first = {.fd = fds[0], .events = POLLIN};
    ck_assert_int_eq(poll(&first, 1, 3000), 1); /* it was cut, long before its time */
    ck_assert_int_eq(recv(fds[0], &byte, 1, 0), 0);
    ck_assert_int_eq(recv(fds[149], &byte, 1, MSG_DONTWAIT), -1);
    for (size_t i = 0; i < 150; i++)
        close(fds[i]);
}
END_TEST

/* Ten seconds for the whole request, however it is dripped. */
START_TEST(silent_and_slow)
{
    int64_t begun = clock_now_ms();
    int silent = tcp_connect(port);
    SSL *slow = tls_connect(alice, port, NULL);
    ck_assert_ptr_nonnull(slow);
    SSL_write(slow, "POST /v1/echo HTTP/1.1\r\n", 24);
    alice_is_served(&server);
    struct pollfd fds[2] = {{.fd = silent, .events = POLLIN},
                            {.fd = SSL_get_fd(slow), .events = POLLIN}};
    bool ended[2] = {false, false};
    while (!(ended[0] && ended[1]) && clock_now_ms() - begun < 40000) {
        SSL_write(slow, "X", 1);
        poll(fds, 2, 250);
        for (int i = 0; i < 2; i++) {
            ended[i] = ended[i] || (fds[i].revents & (POLLIN | POLLHUP | POLLERR));
            if (ended[i])
                fds[i].fd = -1;
        }
    }
    int64_t took = clock_now_ms() - begun;
    ck_assert_msg(took > 8000 && took < 30000, "%lld ms", (long long)took);
    tls_close(slow);
    close(silent);
}
END_TEST

static char *seal(SSL *ssl)
{
    char exporter[TLS_EXPORTER_SIZE], *text = NULL;
    autojson json_t *body = json_object();
    ck_assert(tls_exporter(ssl, exporter, NULL));
    ck_assert(
        message_seal(alice, "echo", MESSAGE_INITIATOR, exporter, "", body, &text, NULL, NULL));
    return text;
}

static void gets(SSL *ssl, const char *request, const char *expected)
{
    autofree char *answer = tls_talk(ssl, request);
    ck_assert_msg(string_starts_with(answer, expected), "%.200s", answer);
    tls_close(ssl);
}

START_TEST(tampered_and_replayed)
{
    SSL *ssl = tls_connect(alice, port, NULL);
    autofree char *sealed = seal(ssl), *request = http_post("echo", sealed);
    gets(ssl, request, "HTTP/1.1 200 ");
    ck_assert_int_eq(server.calls, 1);
    gets(tls_connect(alice, port, NULL), request, "HTTP/1.1 400 "); /* recorded elsewhere */
    ssl = tls_connect(alice, port, NULL);
    autofree char *fresh = seal(ssl);
    fresh[40] = fresh[40] == 'A' ? 'B' : 'A';
    autofree char *tampered = http_post("echo", fresh);
    gets(ssl, tampered, "HTTP/1.1 400 ");
    ssl = tls_connect(alice, port, NULL);
    autofree char *other = seal(ssl), *elsewhere = http_post("commit", other);
    gets(ssl, elsewhere, "HTTP/1.1 400 ");
    autofree char *empty = http_post("echo", "");
    gets(tls_connect(alice, port, NULL), empty, "HTTP/1.1 400 ");
    ck_assert_int_eq(server.calls, 1);
}
END_TEST

START_TEST(other_requests)
{
    static const struct {
        const char *line, *expected;
    } rows[] = {
        {"GET /v1/echo", "HTTP/1.1 405 "},    {"PUT /v1/echo", "HTTP/1.1 405 "},
        {"DELETE /v1/echo", "HTTP/1.1 405 "}, {"GET /", "HTTP/1.1 404 "},
        {"POST /v1/", "HTTP/1.1 404 "},       {"POST /v1/ECHO", "HTTP/1.1 404 "},
        {"POST /v1/echo/x", "HTTP/1.1 404 "}, {"POST /v1/echo?x", "HTTP/1.1 404 "},
        {"POST /v2/echo", "HTTP/1.1 404 "},   {"POST http://x/v1/echo", "HTTP/1.1 404 "},
    };
    int64_t start_ms = clock_now_ms();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        autofree char *request =
            string_format("%s HTTP/1.1\r\nHost: b\r\nContent-Length: 0\r\n\r\n", rows[i].line);
        gets(tls_connect(alice, port, NULL), request, rows[i].expected);
    }
    /* One request a connection, also where evhttp would keep it open: after CONNECT. */
    SSL *ssl = tls_connect(alice, port, NULL);
    autofree char *sealed = seal(ssl), *second = http_post("echo", sealed);
    autofree char *tunnel = string_format("CONNECT /v1/echo HTTP/1.1\r\n\r\n%s", second);
    autofree char *nothing = tls_talk(ssl, tunnel);
    tls_close(ssl);
    ck_assert_str_eq(nothing, "");
    ssl = tls_connect(alice, port, NULL);
    autofree char *again = seal(ssl), *one = http_post("none", ""), *two = http_post("echo", again);
    autofree char *pipelined = string_format("%s%s", one, two);
    gets(ssl, pipelined, "HTTP/1.1 400 ");
    ck_assert_int_eq(server.calls, 0);
    ck_assert_int_lt(clock_now_ms() - start_ms, 8000); /* closed by us, not by the limit of time */
}
END_TEST

START_TEST(oversize)
{
    size_t size = MESSAGE_MAX + 1;
    autofree char *body = malloc(size + 1);
    memset(body, 'a', size);
    body[size] = '\0';
    autofree char *request = http_post("echo", body);
    autofree char *header =
        string_format("POST /v1/echo HTTP/1.1\r\nX: %.9000s\r\nContent-Length: 0\r\n\r\n", body);
    autofree char *chunked = string_format(
        "POST /v1/echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n%s", body);
    SSL *ssl = tls_connect(alice, port, NULL);
    autofree char *one = tls_talk(ssl, request);
    tls_close(ssl);
    ssl = tls_connect(alice, port, NULL);
    autofree char *two = tls_talk(ssl, header);
    tls_close(ssl);
    ssl = tls_connect(alice, port, NULL);
    autofree char *three = tls_talk(ssl, chunked);
    tls_close(ssl);
    ck_assert_msg(!*one || string_starts_with(one, "HTTP/1.1 413 "), "%s", one);
    ck_assert_msg(!*two || string_starts_with(two, "HTTP/1.1 4"), "%s", two);
    ck_assert_msg(!*three || string_starts_with(three, "HTTP/1.1 413 "), "%s", three);
    ck_assert_int_eq(server.calls, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stranger");
    TCase *tcase = tcase_create("stranger");
    tcase_add_unchecked_fixture(tcase, peer_fixture_setup, peer_fixture_teardown);
    tcase_add_checked_fixture(tcase, start, stop);
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, no_certificate);
    tcase_add_test(tcase, unknown_key);
    tcase_add_test(tcase, refused_while_it_talks);
    tcase_add_test(tcase, old_tls);
    tcase_add_test(tcase, no_second_life);
    tcase_add_test(tcase, plaintext);
    tcase_add_test(tcase, crowd);
    tcase_add_test(tcase, silent_and_slow);
    tcase_add_test(tcase, tampered_and_replayed);
    tcase_add_test(tcase, other_requests);
    tcase_add_test(tcase, oversize);
    tcase_add_test(tcase, expired_entry);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
