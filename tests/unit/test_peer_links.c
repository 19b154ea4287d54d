/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Connections that stay open for more than one request: how long, for how many, and for whom.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "peer/client_many.h"
#include "peer/server_private.h"
#include "peer_fixture.h"
#include "unit.h"

static struct peer_ask ask_bob(const struct bobs_server *server)
{
    return (struct peer_ask){.client = {.identity = alice,
                                        .peer = &entry_of_bob,
                                        .host = "127.0.0.1",
                                        .port = peer_server_port(server->server)},
                             .body = json_pack("{s:s}", "say", "hello")};
}

static bool ask_again(struct peer_ask *ask, struct peer_links *links)
{
    return peer_call_many(ask, 1, "echo", deadline_in_ms(20000), NULL, links);
}

static void must_ask(struct peer_ask *ask, struct peer_links *links)
{
    ck_assert_msg(ask_again(ask, links), "%s", ask->error.message);
}

/* Its thread has ended. */
static void bob_pause(struct bobs_server *server)
{
    server->interrupted = 1;
    pthread_join(server->thread, NULL);
}

START_TEST(one_for_all)
{
    struct bobs_server server;
    struct peer_links *links = peer_links_new();
    bob_start(&server, DEADLINE_NEVER);
    struct peer_ask ask = ask_bob(&server);
    must_ask(&ask, links);
    const struct call_tls *tls = ask.tls;
    for (int i = 0; i < 4; i++)
        must_ask(&ask, links);
    ck_assert_ptr_eq(ask.tls, tls);
    bob_pause(&server);
    ck_assert_int_eq(server.calls, 5);
    ck_assert_uint_eq(server.server->connection_count, 1);
    ck_assert_uint_eq(server.server->oldest->requests, 5);
    ck_assert(peer_server_is_idle(server.server));
    peer_links_free(links);
    peer_ask_clear(&ask);
    peer_server_free(server.server);
}
END_TEST

/* What was given to do while those who were asked are at it. */
struct chore {
    struct bobs_server *server;
    int times, calls_then;
};

static void do_chore(void *context)
{
    struct chore *chore = context;
    chore->times++;
    /* He has it: that he comes to it while nobody reads his answer is what it is for. */
    for (deadline when = deadline_in_ms(20000);
         chore->server->calls <= chore->calls_then && deadline_left_ms(when) > 0;)
        usleep(1000);
}

START_TEST(meanwhile)
{
    struct bobs_server server;
    struct peer_links *links = peer_links_new();
    bob_start(&server, DEADLINE_NEVER);
    struct peer_ask ask = ask_bob(&server);
    struct chore chore = {.server = &server};
    peer_links_meanwhile(links, do_chore, &chore);
    server.pause_ms = 300; /* there would be time for it once more */
    must_ask(&ask, links);
    ck_assert_int_eq(chore.times, 1);
    ck_assert_int_eq(server.calls, 1);
    server.pause_ms = 0;
    must_ask(&ask, links); /* only once */
    ck_assert_int_eq(chore.times, 1);
    chore.calls_then = server.calls;
    peer_links_meanwhile(links, do_chore, &chore); /* over a connection that is there */
    must_ask(&ask, links);
    ck_assert_int_eq(chore.times, 2);
    bob_pause(&server);
    ck_assert_int_eq(server.calls, 3);
    /* Who is not reached was not sent anything, and it is forgotten. */
    peer_server_free(server.server);
    peer_links_meanwhile(links, do_chore, &chore);
    ck_assert(!ask_again(&ask, links));
    ck_assert(!ask_again(&ask, links));
    ck_assert_int_eq(chore.times, 2);
    bob_start(&server, DEADLINE_NEVER);
    ask.client.port = peer_server_port(server.server);
    must_ask(&ask, links);
    ck_assert_int_eq(chore.times, 2);
    bob_stop(&server);
    peer_links_free(links);
    peer_ask_clear(&ask);
}
END_TEST

/* After so many requests it is closed, and another one made. */
START_TEST(so_many)
{
    struct bobs_server server;
    struct peer_links *links = peer_links_new();
    bob_start(&server, DEADLINE_NEVER);
    struct peer_ask ask = ask_bob(&server);
    for (int i = 0; i < REQUESTS_MAX + 3; i++)
        must_ask(&ask, links);
    bob_pause(&server);
    ck_assert_int_eq(server.calls, REQUESTS_MAX + 3);
    ck_assert_uint_eq(server.server->newest->requests, 3);
    peer_links_free(links);
    peer_ask_clear(&ask);
    peer_server_free(server.server);
}
END_TEST

/* Nobody else's requests come over a connection, also when they are for the same place. */
START_TEST(of_one_peer)
{
    struct bobs_server server;
    struct trust_entry other = entry_of_bob;
    struct peer_links *links = peer_links_new();
    bob_start(&server, DEADLINE_NEVER);
    struct peer_ask asks[2] = {ask_bob(&server), ask_bob(&server)};
    must_ask(&asks[0], links);
    memcpy(other.pins[0], mallory->pin, PIN_SIZE);
    other.pin_count = 1;
    asks[1].client.peer = &other;
    ck_assert(!ask_again(&asks[1], links));
    ck_assert_int_eq(asks[1].error.status, STATUS_NOT_TRUSTED);
    must_ask(&asks[0], links);
    ck_assert_int_eq(server.calls, 2);
    peer_links_free(links);
    for (int i = 0; i < 2; i++)
        peer_ask_clear(&asks[i]);
    bob_stop(&server);
}
END_TEST

/* The server closes it in between: the next request makes another one. */
START_TEST(closed_in_between)
{
    struct bobs_server server;
    struct peer_links *links = peer_links_new();
    bob_start(&server, DEADLINE_NEVER);
    struct peer_ask ask = ask_bob(&server);
    for (int i = 0; i < 3; i++) {
        must_ask(&ask, links);
        shutdown(bufferevent_getfd(server.server->newest->bufferevent), SHUT_RDWR);
    }
    must_ask(&ask, links);
    ck_assert_int_eq(server.calls, 4);
    peer_links_free(links);
    peer_ask_clear(&ask);
    bob_stop(&server);
}
END_TEST

/* A trust entry that ends, ends it. */
START_TEST(trust_ends)
{
    struct bobs_server server;
    struct peer_links *links = peer_links_new();
    int64_t expires = entry_of_alice.expires;
    bob_start(&server, DEADLINE_NEVER);
    struct peer_ask ask = ask_bob(&server);
    must_ask(&ask, links);
    entry_of_alice.expires = 1;
    ck_assert(!ask_again(&ask, links));
    entry_of_alice.expires = expires;
    ck_assert_int_eq(server.calls, 1);
    must_ask(&ask, links);
    peer_links_free(links);
    peer_ask_clear(&ask);
    bob_stop(&server);
}
END_TEST

/* One that only waits for more makes room for those who come, strangers too. */
START_TEST(makes_room)
{
    struct bobs_server server;
    struct peer_links *links = peer_links_new();
    const struct peer_limits one = {
        .connections = 1, .pending = 1, .pending_per_peer = 1, .answer_ms = 10000};
    bob_start(&server, DEADLINE_NEVER);
    peer_server_set_limits(server.server, &one);
    struct peer_ask ask = ask_bob(&server);
    for (int i = 0; i < 3; i++) {
        must_ask(&ask, links);
        alice_is_served(&server);
    }
    ck_assert_int_eq(server.calls, 6);
    peer_links_free(links);
    peer_ask_clear(&ask);
    bob_stop(&server);
}
END_TEST

/* Who does not wish it is not kept. */
START_TEST(not_asked_for)
{
    struct bobs_server server;
    bob_start(&server, DEADLINE_NEVER);
    struct peer_ask ask = ask_bob(&server);
    must_ask(&ask, NULL);
    must_ask(&ask, NULL);
    ck_assert_ptr_null(ask.tls);
    ck_assert_int_eq(server.calls, 2);
    SSL *ssl = tls_connect(alice, peer_server_port(server.server), NULL);
    struct error err = ERROR_INIT;
    char exporter[TLS_EXPORTER_SIZE];
    autofree char *sealed = NULL;
    autojson json_t *body = json_object();
    ck_assert(
        tls_exporter(ssl, exporter, &err) &&
        message_seal(alice, "echo", MESSAGE_INITIATOR, exporter, "", body, &sealed, NULL, &err));
    autofree char *request = http_post("echo", sealed);
    autofree char *answer = tls_talk(ssl, request);
    ck_assert(strstr(answer, "HTTP/1.1 200") && strstr(answer, "Connection: close"));
    tls_close(ssl);
    peer_ask_clear(&ask);
    bob_stop(&server);
}
END_TEST

int main(void)
{
    static const struct unit_fixture fixture = {
        .setup = peer_fixture_setup, .teardown = peer_fixture_teardown, .once = true};
    const TTest *const tests[] = {one_for_all,       meanwhile,  so_many,    of_one_peer,
                                  closed_in_between, trust_ends, makes_room, not_asked_for};
    return unit_run_with("peer-links", tests, COUNT(tests), &fixture);
}
