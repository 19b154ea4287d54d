/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Client and server where something ends: descriptors, the listening socket, a connection whose
 * answer is on its way, the versions of TLS that one side speaks.
 */
#include <sys/resource.h>

#include "stream_fixture.h"

/* The server's thread is this process's, too: nobody gets a new descriptor. */
static void allow_descriptors(bool allowed)
{
    static rlim_t before;
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (!allowed)
        before = limit.rlim_cur;
    limit.rlim_cur = allowed ? before : 0;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* A request for a stream whose handler has begun and waits. */
static SSL *ask_and_wait(struct host *host)
{
    host->hold = true;
    SSL *ssl = tls_connect(alice, host->port, NULL);
    ck_assert_ptr_nonnull(ssl);
    autofree char *request = sealed_request(ssl, STREAM_NAME, UPGRADE, "");
    ck_assert_int_gt(SSL_write(ssl, request, (int)strlen(request)), 0);
    sem_wait(&host->asked);
    return ssl;
}

/* The handler has ended the server with an answer, but nobody is there to take it: the peer will
 * ask again. */
START_TEST(an_answer_is_lost)
{
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    struct host host;
    host_start(&host, true);
    host.stop = true;
    SSL *ssl = ask_and_wait(&host);
    setsockopt(SSL_get_fd(ssl), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    tls_close(ssl);
    sem_post(&host.go_on);
    host_waits(&host, 1);
    ck_assert_int_eq(host.withdrawals, 1);
    MUST(alice_asks(host.port, "echo", NULL, &err));
    host_stop(&host);
}
END_TEST

/* A stream needs a number of its own for its socket. */
START_TEST(no_descriptor_for_a_stream)
{
    struct host host;
    host_start(&host, true);
    SSL *ssl = ask_and_wait(&host);
    allow_descriptors(false);
    sem_post(&host.go_on);
    host_waits(&host, 1);
    allow_descriptors(true);
    ck_assert_int_eq(host.withdrawals, 1);
    ck_assert_int_eq(host.streams, 0);
    tls_close(ssl);
    MUST(alice_asks(host.port, "echo", NULL, &err));
    host_stop(&host);
}
END_TEST

START_TEST(no_descriptor_for_a_call)
{
    struct host host;
    autojson json_t *body = json_object();
    host_start(&host, true);
    const struct peer_client client = client_of(&host);
    allow_descriptors(false);
    MUST_FAIL(STATUS_UNAVAILABLE, "cannot connect",
              peer_stream_open(&client, body, deadline_in_ms(20000), &err));
    MUST_FAIL(STATUS_INTERNAL, "hand the listening socket",
              peer_server_dup_socket(host.server, &err) >= 0);
    allow_descriptors(true);
    host_stop(&host);
}
END_TEST

/* Who was there stays, nobody comes any more, and there is nothing to hand over. */
START_TEST(listens_no_more)
{
    struct peer_handler handler = {0};
    struct trust trust = {0};
    autopeerserver struct peer_server *server = NULL;
    MUST((server = peer_server_new(bob, &trust, "127.0.0.1", 0, &handler, &err)) != NULL);
    uint16_t port = peer_server_port(server);
    close(tcp_connect(port));
    peer_server_stop_listening(server);
    peer_server_stop_listening(server);
    MUST_FAIL(STATUS_UNAVAILABLE, "cannot connect", alice_asks(port, "echo", NULL, &err));
    MUST_FAIL(STATUS_INTERNAL, "hand the listening socket",
              peer_server_dup_socket(server, &err) >= 0);
    MUST_FAIL(STATUS_INTERNAL, "", peer_server_run(server, deadline_in_ms(20000), NULL, &err));
}
END_TEST

/* IPv4 on a socket for both is not told as ::ffff:127.0.0.1. */
START_TEST(where_they_come_from)
{
    static const char *const hosts[] = {"127.0.0.1", "::1"};
    struct host host;
    int fd = -1;
    MUST((fd = peer_listen(NULL, 0, &err)) >= 0);
    host_start_on(&host, true, fd);
    host.drop = true;
    for (size_t i = 0; i < COUNT(hosts); i++) {
        struct error err = ERROR_INIT;
        struct peer_client client = client_of(&host);
        client.host = hosts[i];
        autojson json_t *body = json_object();
        autopeerstream struct peer_stream *stream =
            peer_stream_open(&client, body, deadline_in_ms(20000), &err);
        if (!stream && i > 0 && strstr(err.message, "cannot connect"))
            break; /* a kernel without IPv6 */
        ck_assert_msg(stream != NULL, "%s", err.message);
        ck_assert_str_eq(host.remote, hosts[i]);
    }
    host_stop(&host);
}
END_TEST

static void *speak_old_tls(void *context)
{
    const int *listener = context;
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_max_proto_version(tls, TLS1_2_VERSION);
    SSL_CTX_use_certificate(tls, bob->certificate);
    SSL_CTX_use_PrivateKey(tls, bob->key);
    for (int i = 0; i < 2; i++) {
        SSL *ssl = SSL_new(tls);
        SSL_set_fd(ssl, accept(*listener, NULL, NULL));
        ck_assert_int_ne(SSL_accept(ssl), 1);
        tls_close(ssl);
    }
    SSL_CTX_free(tls);
    return NULL;
}

/* An alert that is about TLS and not about trust. */
START_TEST(an_old_server)
{
    struct host host;
    pthread_t thread;
    autojson json_t *body = json_object();
    int listener = tcp_listen(&host.port);
    ck_assert_int_eq(pthread_create(&thread, NULL, speak_old_tls, &listener), 0);
    MUST_FAIL(STATUS_PROTOCOL, "TLS alert 70", alice_asks(host.port, "echo", NULL, &err));
    const struct peer_client client = client_of(&host);
    MUST_FAIL(STATUS_PROTOCOL, "TLS alert 70",
              peer_stream_open(&client, body, deadline_in_ms(20000), &err));
    pthread_join(thread, NULL);
    close(listener);
}
END_TEST

/* The server ends while some who were refused still have a moment to read why. */
START_TEST(ends_with_the_refused)
{
    enum { REFUSED = 20 }; /* more than may have that moment */
    struct host host;
    SSL *ssl[REFUSED];
    char byte;
    int before = count_fds();
    host_start(&host, true);
    for (int i = 0; i < REFUSED; i++) {
        ssl[i] = tls_connect(mallory, host.port, NULL);
        ck_assert_ptr_nonnull(ssl[i]);
        ck_assert_int_le(SSL_read(ssl[i], &byte, 1), 0);
    }
    host_stop(&host);
    for (int i = 0; i < REFUSED; i++)
        tls_close(ssl[i]);
    ck_assert_int_eq(count_fds(), before);
}
END_TEST

START_TEST(why_refused)
{
    const enum tls_refusal last = TLS_REFUSAL_NO_MEMORY;
    for (enum tls_refusal one = TLS_REFUSAL_NONE; one <= last + 1; one++)
        for (enum tls_refusal other = TLS_REFUSAL_NONE; other < one; other++)
            ck_assert_str_ne(tls_refusal_text(one), tls_refusal_text(other));
}
END_TEST

/* Nothing is known of a connection whose handshake is not done. */
START_TEST(before_the_handshake)
{
    const struct tls_peers peers = {.only = &entry_of_bob};
    char exporter[TLS_EXPORTER_SIZE], pin[PIN_SIZE];
    SSL_CTX *context = NULL;
    MUST((context = tls_context_new(alice, &peers, &err)) != NULL);
    SSL *ssl = SSL_new(context);
    ck_assert_ptr_null(tls_session_of(ssl));
    MUST_FAIL(STATUS_INTERNAL, "exporter", tls_exporter(ssl, exporter, &err));
    MUST_FAIL(STATUS_NOT_TRUSTED, "no key", tls_peer_pin(ssl, pin, &err));
    SSL_free(ssl);
    SSL_CTX_free(context);
}
END_TEST

/* An identity whose two halves do not fit together cannot be used. */
START_TEST(half_an_identity)
{
    const struct tls_peers peers = {.only = &entry_of_bob};
    struct identity mixed = *alice;
    mixed.key = mallory->key;
    MUST_FAIL(STATUS_INTERNAL, "TLS 1.3", tls_context_new(&mixed, &peers, &err));
}
END_TEST

START_TEST(nowhere)
{
    autojson json_t *body = json_object();
    struct peer_client client = {.identity = alice, .peer = &entry_of_bob, .port = 1};
    MUST_FAIL(STATUS_INTERNAL, "no such request",
              peer_stream_open(&client, body, deadline_in_ms(20000), &err));
    client.host = "";
    MUST_FAIL(STATUS_INTERNAL, "no such request",
              peer_stream_open(&client, body, deadline_in_ms(20000), &err));
}
END_TEST

int main(void)
{
    static const struct unit_fixture fixture = {
        .setup = peer_fixture_setup, .teardown = peer_fixture_teardown, .once = true};
    const TTest *const tests[] = {an_answer_is_lost,
                                  no_descriptor_for_a_stream,
                                  no_descriptor_for_a_call,
                                  listens_no_more,
                                  where_they_come_from,
                                  an_old_server,
                                  ends_with_the_refused,
                                  why_refused,
                                  before_the_handshake,
                                  half_an_identity,
                                  nowhere};
    return unit_run_with("peer-limits", tests, COUNT(tests), &fixture);
}
