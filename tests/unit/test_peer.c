/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Client and server with each other over real TLS on loopback, and the client with peers that do
 * not do as they should.
 */
#include <check.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/strings.h"
#include "peer_fixture.h"
#include "unit.h"
#include "peer/envelope.h"
#include "peer/message.h"

static void fails(const struct peer_client *client, int limit_ms, enum status status,
                  const char *word)
{
    struct error err = ERROR_INIT;
    autojson json_t *body = json_object();
    json_t *answer = NULL;
    ck_assert(!peer_call(client, "echo", body, deadline_in_ms(limit_ms), &answer, &err));
    ck_assert_msg(err.status == status, "status %d: %s", err.status, err.message);
    ck_assert_msg(strstr(err.message, word) != NULL, "'%s' is not in: %s", word, err.message);
    ck_assert_ptr_null(answer);
}

static struct peer_client client_for(uint16_t port)
{
    return (struct peer_client){
        .identity = alice, .peer = &entry_of_bob, .host = "127.0.0.1", .port = port};
}

START_TEST(calls)
{
    struct bobs_server server;
    struct error err = ERROR_INIT;
    sigset_t before, after;
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    bob_start(&server, DEADLINE_NEVER);
    for (int i = 0; i < 3; i++) {
        autojson json_t *answer = NULL;
        ck_assert_msg(alice_asks(peer_server_port(server.server), "echo", &answer, &err), "%s",
                      err.message);
        const char *said = NULL, *name = NULL;
        ck_assert_int_eq(json_unpack(answer, "{s:s,s:{s:s}}", "name", &name, "body", "say", &said),
                         0);
        ck_assert_str_eq(name, "echo");
        ck_assert_str_eq(said, "hello");
    }
    bob_stop(&server);
    ck_assert_int_eq(server.calls, 3);
    ck_assert_str_eq(server.peer, "alice");
    ck_assert_str_eq(server.remote, "127.0.0.1");
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    ck_assert_int_eq(sigismember(&before, SIGPIPE), sigismember(&after, SIGPIPE));
}
END_TEST

START_TEST(errors_are_handed_over)
{
    struct bobs_server server;
    struct error err = ERROR_INIT;
    bob_start(&server, DEADLINE_NEVER);
    ck_assert(!alice_asks(peer_server_port(server.server), "fail", NULL, &err));
    ck_assert_int_eq(err.status, STATUS_DRIFT);
    ck_assert_str_eq(err.message, "bob: it cannot be");
    ck_assert(!alice_asks(peer_server_port(server.server), "huge", NULL, &err));
    ck_assert_int_eq(err.status, STATUS_INTERNAL);
    ck_assert(!alice_asks(peer_server_port(server.server), "Bad", NULL, &err));
    ck_assert_int_eq(err.status, STATUS_INTERNAL);
    alice_is_served(&server);
    bob_stop(&server);
}
END_TEST

START_TEST(a_large_message)
{
    struct bobs_server server;
    struct error err = ERROR_INIT;
    bob_start(&server, DEADLINE_NEVER);
    struct peer_client client = client_for(peer_server_port(server.server));
    size_t size = 256000;
    char *text = malloc(size + 1);
    memset(text, 'x', size);
    text[size] = '\0';
    autojson json_t *body = json_pack("{s:s}", "text", text), *answer = NULL;
    free(text);
    ck_assert_msg(peer_call(&client, "echo", body, deadline_in_ms(20000), &answer, &err), "%s",
                  err.message);
    ck_assert(json_equal(json_object_get(answer, "body"), body));
    bob_stop(&server);
}
END_TEST

/* The answer is there although the server is gone right after it. */
START_TEST(stops_after_the_answer)
{
    for (int i = 0; i < 20; i++) {
        struct bobs_server server;
        struct error err = ERROR_INIT;
        bob_start(&server, DEADLINE_NEVER);
        ck_assert_msg(alice_asks(peer_server_port(server.server), "stop", NULL, &err), "%s",
                      err.message);
        bob_join(&server);
        ck_assert(server.result);
        ck_assert_int_eq(server.calls, 1);
    }
}
END_TEST

/* Writing to a peer that has gone is an error, not a SIGPIPE. */
START_TEST(closed_while_asking)
{
    struct error err = ERROR_INIT;
    char *text = malloc(256001);
    memset(text, 'x', 256000);
    text[256000] = '\0';
    autojson json_t *body = json_pack("{s:s}", "text", text);
    free(text);
    for (int i = 0; i < 20; i++) {
        struct fake_bob fake = {.reply = "", .deaf = true};
        fake_start(&fake);
        struct peer_client client = client_for(fake.port);
        json_t *answer = NULL;
        ck_assert(!peer_call(&client, "echo", body, deadline_in_ms(5000), &answer, &err));
        ck_assert_msg(err.status == STATUS_UNAVAILABLE, "%d: %s", err.status, err.message);
        fake_join(&fake);
    }
}
END_TEST

START_TEST(server_ends)
{
    struct bobs_server server;
    int64_t start = clock_now_ms();
    bob_start(&server, deadline_in_ms(300));
    bob_join(&server);
    ck_assert(!server.result);
    ck_assert_int_eq(server.err.status, STATUS_UNAVAILABLE);
    ck_assert_int_lt(clock_now_ms() - start, 5000);
    start = clock_now_ms();
    bob_start(&server, DEADLINE_NEVER);
    bob_stop(&server);
    ck_assert_int_lt(clock_now_ms() - start, 5000);
}
END_TEST

START_TEST(server_addresses)
{
    struct peer_handler handler = {0};
    struct trust trust = {0};
    struct error err = ERROR_INIT;
    autopeerserver struct peer_server *all = peer_server_new(bob, &trust, NULL, 0, &handler, &err);
    ck_assert_msg(all != NULL, "%s", err.message);
    uint16_t port = peer_server_port(all);
    ck_assert_uint_gt(port, 0);
    close(tcp_connect(port));
    ck_assert_ptr_null(peer_server_new(bob, &trust, "", port, &handler, &err));
    ck_assert_int_eq(err.status, STATUS_UNAVAILABLE);
    ck_assert_ptr_null(peer_server_new(bob, &trust, "192.0.2.1", 0, &handler, &err));
    ck_assert_int_eq(err.status, STATUS_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, "192.0.2.1"));
    ck_assert_ptr_null(peer_server_new(bob, &trust, "no such host", 0, &handler, &err));
    ck_assert_int_eq(err.status, STATUS_CONFIG);
    ck_assert_ptr_null(peer_server_new_from_socket(bob, &trust, dup(0), &handler, &err));
    ck_assert_int_eq(err.status, STATUS_CONFIG);
}
END_TEST

START_TEST(nobody_there)
{
    uint16_t port;
    bool retryable = false;
    struct peer_client client;
    int fd = tcp_listen(&port);
    client = client_for(port);
    client.retryable = &retryable;
    fails(&client, 300, STATUS_UNAVAILABLE, "in time"); /* nobody accepts */
    fails(&client, 0, STATUS_UNAVAILABLE, "no time left");
    volatile sig_atomic_t interrupted = 1;
    client.interrupted = &interrupted;
    fails(&client, 5000, STATUS_INTERRUPTED, "interrupted");
    ck_assert(!retryable);
    client.interrupted = NULL;
    close(fd);
    fails(&client, 5000, STATUS_UNAVAILABLE, "cannot connect");
    ck_assert(retryable);
    client.host = "no-such-host.invalid";
    fails(&client, 5000, STATUS_UNAVAILABLE, "no-such-host");
    client.host = "evil@host/../";
    fails(&client, 5000, STATUS_INTERNAL, "evil");
}
END_TEST

/* Accepts one connection, says `words` and ends it. */
struct closer {
    int fd;
    const char *words;
    bool reset;
};

static void *close_at_once(void *context)
{
    const struct closer *closer = context;
    const struct linger linger = {.l_onoff = closer->reset};
    int fd = accept(closer->fd, NULL, NULL);
    if (send(fd, closer->words, strlen(closer->words), MSG_NOSIGNAL) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) != 0)
        abort();
    close(fd);
    return NULL;
}

/* Nobody behind a port forward, which takes connections all the same; and other services. */
START_TEST(closed_at_once)
{
    static const struct {
        const char *words;
        bool reset, retryable;
        enum status status;
        const char *said;
    } rows[] = {
        {"", false, true, STATUS_UNAVAILABLE, "closed it at once"},
        {"", true, true, STATUS_UNAVAILABLE, "what should answer there"} /* or: cannot connect */,
        {"SSH-2.0-OpenSSH_9.2p1\r\n", false, false, STATUS_PROTOCOL, "no TLS 1.3 connection"},
        {"x", false, false, STATUS_PROTOCOL, "no TLS 1.3 connection"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint16_t port;
        pthread_t thread;
        struct closer closer = {tcp_listen(&port), rows[i].words, rows[i].reset};
        bool retryable = !rows[i].retryable;
        struct peer_client client = client_for(port);
        client.retryable = &retryable;
        ck_assert_int_eq(pthread_create(&thread, NULL, close_at_once, &closer), 0);
        fails(&client, 5000, rows[i].status, rows[i].said);
        ck_assert_msg(retryable == rows[i].retryable, "row %zu", i);
        pthread_join(thread, NULL);
        close(closer.fd);
    }
}
END_TEST

/* --tofu: the key is told, and nothing is asked, nor whose it is proven. */
START_TEST(whose_key_is_there)
{
    struct bobs_server server;
    struct error err = ERROR_INIT;
    char pin[PIN_SIZE] = "";
    uint16_t port;
    bob_start(&server, DEADLINE_NEVER);
    struct peer_client client = client_for(peer_server_port(server.server));
    client.peer = NULL;
    ck_assert_msg(peer_learn_pin(&client, deadline_in_ms(5000), pin, &err), "%s", err.message);
    ck_assert_str_eq(pin, bob->pin);
    bob_stop(&server);
    ck_assert_int_eq(server.calls, 0);
    int fd = tcp_listen(&port);
    client.port = port;
    *pin = '\0';
    ck_assert(!peer_learn_pin(&client, deadline_in_ms(300), pin, &err));
    ck_assert_int_eq(err.status, STATUS_UNAVAILABLE);
    close(fd);
    ck_assert(!peer_learn_pin(&client, deadline_in_ms(5000), pin, NULL) && !*pin);
}
END_TEST

START_TEST(wrong_key_there)
{
    struct bobs_server server;
    bob_start(&server, DEADLINE_NEVER);
    struct peer_client client = client_for(peer_server_port(server.server));
    bool retryable = true;
    client.retryable = &retryable;
    struct trust_entry other = entry_of_bob;
    client.peer = &other;
    memcpy(other.pins[0], mallory->pin, PIN_SIZE);
    fails(&client, 5000, STATUS_NOT_TRUSTED, bob->pin);
    fails(&client, 5000, STATUS_NOT_TRUSTED, mallory->pin);
    ck_assert(!retryable);
    /* A second pin, for rotation, is as good. */
    memcpy(other.pins[1], bob->pin, PIN_SIZE);
    other.pin_count = 2;
    json_t *answer = NULL;
    autojson json_t *body = json_object();
    ck_assert(peer_call(&client, "echo", body, deadline_in_ms(5000), &answer, NULL));
    json_decref(answer);
    other.expires = 1;
    fails(&client, 5000, STATUS_NOT_TRUSTED, "expired");
    ck_assert_int_eq(server.calls, 1);
    bob_stop(&server);
}
END_TEST

START_TEST(not_trusted_there)
{
    struct bobs_server server;
    bob_start(&server, DEADLINE_NEVER);
    struct peer_client client = client_for(peer_server_port(server.server));
    client.identity = mallory;
    for (int i = 0; i < 20; i++) { /* the alert and the end of the connection are in a race */
        fails(&client, 5000, STATUS_NOT_TRUSTED, "does not trust");
        fails(&client, 5000, STATUS_NOT_TRUSTED, mallory->pin);
    }
    ck_assert_int_eq(server.calls, 0);
    alice_is_served(&server);
    bob_stop(&server);
    entry_of_alice.expires = 1000;
    bob_start(&server, DEADLINE_NEVER);
    client.identity = alice;
    client.port = peer_server_port(server.server);
    fails(&client, 5000, STATUS_NOT_TRUSTED, "expired");
    ck_assert_int_eq(server.calls, 0);
    bob_stop(&server);
}
END_TEST

static void fake_fails(const char *reply, char *(*seal)(SSL *, const char *), enum status status,
                       const char *word)
{
    struct fake_bob fake = {.reply = reply, .seal = seal};
    fake_start(&fake);
    struct peer_client client = client_for(fake.port);
    fails(&client, 5000, status, word);
    fake_join(&fake);
}

START_TEST(odd_answers)
{
    fake_fails("", NULL, STATUS_UNAVAILABLE, "closed the connection");
    fake_fails("hello\r\n", NULL, STATUS_PROTOCOL, "");
    fake_fails("HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\na\x1b[2J", NULL, STATUS_PROTOCOL,
               "404: a?[2J");
    fake_fails("HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
               NULL, STATUS_PROTOCOL, "302");
    fake_fails("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", NULL, STATUS_PROTOCOL,
               "not JSON");
    fake_fails("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", NULL, STATUS_DATA, "answer");
    fake_fails("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", NULL, STATUS_UNAVAILABLE,
               "closed");
    fake_fails("HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n\r\n{", NULL, STATUS_PROTOCOL,
               "more than");
    autofree char *huge = malloc(600000);
    memset(huge, 'a', 599999);
    huge[599999] = '\0';
    autofree char *reply = string_format("HTTP/1.1 200 OK\r\n\r\n%s", huge);
    fake_fails(reply, NULL, STATUS_PROTOCOL, "more than");
    autofree char *headers = string_format("HTTP/1.1 200 OK\r\nX: %.60000s\r\n\r\n", huge);
    fake_fails(headers, NULL, STATUS_PROTOCOL, "");
}
END_TEST

static char *seal_as(SSL *ssl, const char *request, const struct identity *who, const char *role,
                     const char *answers)
{
    struct envelope envelope = {.payload = NULL};
    char exporter[TLS_EXPORTER_SIZE], *text = NULL;
    autojson json_t *body = json_object();
    if (!envelope_open(request, strlen(request), MESSAGE_MAX, MESSAGE_TYP, &envelope, NULL) ||
        !tls_exporter(ssl, exporter, NULL) ||
        !message_seal(who, "echo", role, exporter, answers ? answers : envelope.digest, body, &text,
                      NULL, NULL))
        text = NULL;
    envelope_free(&envelope);
    return text;
}

static char *seal_wrong_key(SSL *ssl, const char *request)
{
    return seal_as(ssl, request, mallory, MESSAGE_RESPONDER, NULL);
}

static char *seal_wrong_role(SSL *ssl, const char *request)
{
    return seal_as(ssl, request, bob, MESSAGE_INITIATOR, NULL);
}

static char *seal_wrong_request(SSL *ssl, const char *request)
{
    return seal_as(ssl, request, bob, MESSAGE_RESPONDER, "");
}

static char *reflect(SSL *ssl, const char *request)
{
    return strdup(request);
}

START_TEST(answers_of_others)
{
    fake_fails("", seal_wrong_key, STATUS_NOT_TRUSTED, mallory->pin);
    fake_fails("", seal_wrong_role, STATUS_NOT_TRUSTED, "direction");
    fake_fails("", seal_wrong_request, STATUS_NOT_TRUSTED, "another request");
    fake_fails("", reflect, STATUS_NOT_TRUSTED, alice->pin);
}
END_TEST

/* What libcurl and OpenSSL would do for their environment's sake: go to a proxy, write the keys of
 * the connection down. */
START_TEST(environment)
{
    static const char *const proxies[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
    struct bobs_server server;
    struct error err = ERROR_INIT;
    uint16_t nobody;
    struct stat st;
    char keys[] = "/tmp/qml-keys-XXXXXX";
    int fd = mkstemp(keys);
    ck_assert_int_ge(fd, 0);
    autofree char *proxy = NULL;
    int listener = tcp_listen(&nobody);
    close(listener);
    proxy = string_format("http://127.0.0.1:%u", nobody);
    for (size_t i = 0; i < sizeof(proxies) / sizeof(proxies[0]); i++)
        setenv(proxies[i], proxy, 1);
    unsetenv("no_proxy");
    unsetenv("NO_PROXY");
    setenv("SSLKEYLOGFILE", keys, 1);
    bob_start(&server, DEADLINE_NEVER);
    ck_assert_msg(alice_asks(peer_server_port(server.server), "echo", NULL, &err), "%s",
                  err.message);
    bob_stop(&server);
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_eq(st.st_size, 0);
    close(fd);
    unlink(keys);
}
END_TEST

/* A redirect would have the request, or another connection, go to where the peer says. */
START_TEST(redirects)
{
    uint16_t port;
    struct pollfd caller = {.fd = tcp_listen(&port), .events = POLLIN};
    autofree char *reply = string_format(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: https://127.0.0.1:%u/v1/echo\r\n"
        "Content-Length: 0\r\n\r\n",
        port);
    fake_fails(reply, NULL, STATUS_PROTOCOL, "307");
    ck_assert_int_eq(poll(&caller, 1, 0), 0); /* nobody has come */
    close(caller.fd);
}
END_TEST

int main(void)
{
    static const struct unit_fixture fixture = {
        .setup = peer_fixture_setup, .teardown = peer_fixture_teardown, .once = true};
    const TTest *const tests[] = {calls,
                                  errors_are_handed_over,
                                  a_large_message,
                                  stops_after_the_answer,
                                  closed_while_asking,
                                  server_ends,
                                  server_addresses,
                                  nobody_there,
                                  closed_at_once,
                                  whose_key_is_there,
                                  wrong_key_there,
                                  not_trusted_there,
                                  odd_answers,
                                  answers_of_others,
                                  environment,
                                  redirects};
    return unit_run_with("peer", tests, COUNT(tests), &fixture);
}
