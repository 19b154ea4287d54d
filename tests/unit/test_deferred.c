/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Answers that are given later: to the right one, in any order, to nobody when nobody waits any
 * more, and never more of them than the server takes on.
 */
#include <check.h>
#include <event2/event.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/strings.h"
#include "peer_fixture.h"
#include "unit.h"
#include "peer/message.h"
#include "peer/sigpipe.h"

#define HELD_MAX 64

/* Requests: hold (waits for go), go (answers all that wait, the last one first), count (how many
 * peers still wait), fail (an error, later), none (no answer), now, distrust (everybody). */
static struct {
    struct peer_server *server;
    struct trust trust, nobody;
    struct trust_entry entries[2];
    volatile sig_atomic_t interrupted;
    pthread_t thread;
    struct peer_request *held[HELD_MAX];
    json_t *bodies[HELD_MAX];
    volatile size_t count;
    volatile bool distrusted;
} late;
static char name_of_mallory[] = "mallory";

static void answer_all(const struct error *problem)
{
    while (late.count > 0) {
        size_t last = late.count - 1;
        json_t *body = late.bodies[last];
        peer_request_answer(late.held[last], problem ? NULL : json_incref(body), problem);
        json_decref(body);
        late.count--;
    }
}

static void on_distrust(evutil_socket_t fd, short what, void *context)
{
    peer_server_set_trust(late.server, &late.nobody);
    late.distrusted = true;
}

static void begin(void *context, const struct trust_entry *peer, const char *remote,
                  const char *name, json_t *body, struct peer_request *request)
{
    const struct timeval soon = {.tv_usec = 1000};
    struct error problem = ERROR_INIT;
    if (strcmp(name, "hold") == 0 && late.count < HELD_MAX) {
        late.held[late.count] = request;
        late.bodies[late.count] = json_incref(body);
        late.count++;
        return;
    }
    if (strcmp(name, "go") == 0) {
        answer_all(NULL);
    } else if (strcmp(name, "fail") == 0) {
        error_set(&problem, STATUS_DRIFT, "it cannot be");
        answer_all(&problem);
    } else if (strcmp(name, "distrust") == 0) {
        event_base_once(peer_server_base(late.server), -1, EV_TIMEOUT, on_distrust, NULL, &soon);
    }
    size_t awaited = 0;
    for (size_t i = 0; i < late.count; i++)
        awaited += peer_request_is_awaited(late.held[i]);
    bool none = strcmp(name, "none") == 0;
    peer_request_answer(
        request,
        none ? NULL : json_pack("{s:s,s:I}", "peer", peer->name, "awaited", (json_int_t)awaited),
        NULL);
}

static void *run(void *context)
{
    peer_server_run(late.server, DEADLINE_NEVER, &late.interrupted, NULL);
    return NULL;
}

static void start_with(const struct peer_limits *limits)
{
    static const struct peer_handler handler = {.begin = begin};
    struct error err = ERROR_INIT;
    memset(&late, 0, sizeof(late));
    late.entries[0] = entry_of_alice;
    late.entries[1] =
        (struct trust_entry){.name = name_of_mallory, .pin_count = 1, .expires = TRUST_NEVER};
    memcpy(late.entries[1].pins[0], mallory->pin, PIN_SIZE);
    late.trust = (struct trust){.entries = late.entries, .count = 2};
    late.server = peer_server_new(bob, &late.trust, "127.0.0.1", 0, &handler, &err);
    ck_assert_msg(late.server != NULL, "%s", err.message);
    if (limits)
        peer_server_set_limits(late.server, limits);
    ck_assert_int_eq(pthread_create(&late.thread, NULL, run, NULL), 0);
}

static void end(void)
{
    late.interrupted = 1;
    pthread_join(late.thread, NULL);
}

static bool asks(const struct identity *who, const char *name, int number, json_t **answer,
                 struct error *err)
{
    const struct peer_client client = {.identity = who,
                                       .peer = &entry_of_bob,
                                       .host = "127.0.0.1",
                                       .port = peer_server_port(late.server)};
    autojson json_t *body = json_pack("{s:i}", "number", number);
    autojson json_t *got = NULL;
    bool good = peer_call(&client, name, body, deadline_in_ms(30000), &got, err);
    if (answer)
        *answer = json_incref(got);
    return good;
}

static json_int_t awaited(void)
{
    autojson json_t *answer = NULL;
    struct error err = ERROR_INIT;
    ck_assert_msg(asks(alice, "count", 0, &answer, &err), "%s", err.message);
    return json_integer_value(json_object_get(answer, "awaited"));
}

/* One that asks "hold" in a thread of its own. */
struct asker {
    pthread_t thread;
    const struct identity *who;
    int number;
    bool good;
    json_t *answer;
    struct error err;
    int64_t took;
};

static void *ask(void *context)
{
    struct asker *asker = context;
    int64_t begun = clock_now_ms();
    asker->good = asks(asker->who, "hold", asker->number, &asker->answer, &asker->err);
    asker->took = clock_now_ms() - begun;
    return NULL;
}

static void askers_start(struct asker *askers, size_t count, const struct identity *who)
{
    for (size_t i = 0; i < count; i++) {
        size_t before = late.count;
        askers[i] = (struct asker){.who = who, .number = 100 + (int)i};
        ck_assert_int_eq(pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
        for (deadline when = deadline_in_ms(10000); late.count == before && deadline_left_ms(when);)
            usleep(1000);
        ck_assert_uint_eq(late.count, before + 1);
    }
}

static void asker_is_answered(struct asker *asker)
{
    pthread_join(asker->thread, NULL);
    ck_assert_msg(asker->good, "%s", asker->err.message);
    ck_assert_int_eq(json_integer_value(json_object_get(asker->answer, "number")), asker->number);
    json_decref(asker->answer);
}

static void asker_fails(struct asker *asker, enum status status, const char *word)
{
    pthread_join(asker->thread, NULL);
    ck_assert(!asker->good);
    ck_assert_msg(asker->err.status == status, "%d: %s", asker->err.status, asker->err.message);
    ck_assert_msg(strstr(asker->err.message, word) != NULL, "%s", asker->err.message);
}

START_TEST(each_its_own)
{
    struct asker askers[12];
    start_with(NULL);
    askers_start(askers, 12, alice);
    ck_assert(!peer_server_is_idle(late.server));
    ck_assert_int_eq(awaited(), 12);
    ck_assert(asks(mallory, "go", 0, NULL, NULL));
    for (size_t i = 0; i < 12; i++)
        asker_is_answered(&askers[i]);
    askers_start(askers, 2, alice);
    ck_assert(asks(alice, "fail", 0, NULL, NULL));
    for (size_t i = 0; i < 2; i++)
        asker_fails(&askers[i], STATUS_DRIFT, "bob: it cannot be");
    end();
    ck_assert(peer_server_is_idle(late.server));
    peer_server_free(late.server);
}
END_TEST

START_TEST(no_answer_is_our_fault)
{
    struct error err = ERROR_INIT;
    start_with(NULL);
    ck_assert(!asks(alice, "none", 0, NULL, &err));
    ck_assert_int_eq(err.status, STATUS_INTERNAL);
    ck_assert_ptr_nonnull(strstr(err.message, "has no answer"));
    end();
    peer_server_free(late.server);
}
END_TEST

/* A request of alice's, sent and left alone. */
static SSL *hold_and_leave(void)
{
    SSL *ssl = tls_connect(alice, peer_server_port(late.server), NULL);
    char exporter[TLS_EXPORTER_SIZE];
    autojson json_t *body = json_object();
    autofree char *text = NULL;
    size_t before = late.count;
    ck_assert(tls_exporter(ssl, exporter, NULL));
    ck_assert(
        message_seal(alice, "hold", MESSAGE_INITIATOR, exporter, "", body, &text, NULL, NULL));
    autofree char *request = http_post("hold", text);
    ck_assert_int_gt(SSL_write(ssl, request, (int)strlen(request)), 0);
    for (deadline when = deadline_in_ms(10000); late.count == before && deadline_left_ms(when);)
        usleep(1000);
    ck_assert_uint_eq(late.count, before + 1);
    return ssl;
}

START_TEST(the_peer_has_gone)
{
    start_with(NULL);
    for (int i = 0; i < 6; i++) {
        SSL *ssl = hold_and_leave();
        ck_assert_int_eq(awaited(), 1);
        if (i % 2) { /* a reset */
            struct linger now = {.l_onoff = 1};
            setsockopt(SSL_get_fd(ssl), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        }
        tls_close(ssl);
        for (deadline when = deadline_in_ms(5000); awaited() && deadline_left_ms(when);)
            usleep(1000);
        ck_assert_int_eq(awaited(), 0);
        ck_assert(asks(alice, "go", 0, NULL, NULL));
        ck_assert_int_eq(awaited(), 0);
    }
    end();
    peer_server_free(late.server);
}
END_TEST

START_TEST(the_server_has_gone)
{
    struct asker askers[3];
    struct sigpipe_guard guard;
    sigpipe_block(&guard);
    start_with(NULL);
    askers_start(askers, 3, alice);
    end();
    peer_server_free(late.server);
    for (size_t i = 0; i < 3; i++) {
        asker_fails(&askers[i], STATUS_UNAVAILABLE, "closed the connection");
        ck_assert(!peer_request_is_awaited(late.held[i]));
    }
    answer_all(NULL);
}
END_TEST

/* The limit for requests is not one for answers. */
START_TEST(a_long_wait)
{
    struct asker asker;
    start_with(NULL);
    askers_start(&asker, 1, alice);
    usleep(11500000);
    ck_assert_int_eq(awaited(), 1);
    ck_assert(asks(alice, "go", 0, NULL, NULL));
    asker_is_answered(&asker);
    ck_assert_int_gt(asker.took, 11000);
    end();
    peer_server_free(late.server);
}
END_TEST

START_TEST(too_long_a_wait)
{
    struct peer_limits limits = PEER_LIMITS_DEFAULT;
    struct asker asker;
    limits.answer_ms = 1000;
    start_with(&limits);
    askers_start(&asker, 1, alice);
    asker_fails(&asker, STATUS_UNAVAILABLE, "not answered within 1 s");
    ck_assert_int_gt(asker.took, 900);
    ck_assert_int_eq(awaited(), 0);
    ck_assert(asks(alice, "go", 0, NULL, NULL)); /* its own answer goes nowhere */
    end();
    peer_server_free(late.server);
}
END_TEST

static void is_busy(const struct identity *who, const char *word)
{
    struct error err = ERROR_INIT;
    ck_assert(!asks(who, "hold", 0, NULL, &err));
    ck_assert_int_eq(err.status, STATUS_UNAVAILABLE);
    ck_assert_msg(strstr(err.message, word) != NULL, "%s", err.message);
}

START_TEST(busy)
{
    struct peer_limits limits = PEER_LIMITS_DEFAULT;
    struct asker alices[3], mallorys[2];
    limits.pending = 5;
    limits.pending_per_peer = 3;
    start_with(&limits);
    askers_start(alices, 3, alice);
    is_busy(alice, "busy with 3 requests of yours: try again");
    askers_start(mallorys, 2, mallory); /* there is room for others */
    is_busy(mallory, "busy with 5 requests: try again");
    is_busy(alice, "busy with 5 requests: try again");
    end();
    pthread_create(&late.thread, NULL, run, NULL); /* it can be run again */
    late.interrupted = 0;
    end();
    answer_all(NULL); /* between two runs */
    late.interrupted = 0;
    pthread_create(&late.thread, NULL, run, NULL);
    for (size_t i = 0; i < 3; i++)
        asker_is_answered(&alices[i]);
    for (size_t i = 0; i < 2; i++)
        asker_is_answered(&mallorys[i]);
    ck_assert_int_eq(awaited(), 0);
    end();
    peer_server_free(late.server);
}
END_TEST

/* A peer with two keys, while it changes from one to the other, is still one peer. */
START_TEST(two_keys_of_one)
{
    struct peer_limits limits = PEER_LIMITS_DEFAULT;
    struct asker asker;
    limits.pending_per_peer = 1;
    limits.connections = 4;
    start_with(&limits);
    late.entries[0].pin_count = 2;
    memcpy(late.entries[0].pins[1], mallory->pin, PIN_SIZE);
    memcpy(late.entries[1].pins[0], bob->pin, PIN_SIZE); /* a third one */
    uint16_t port = peer_server_port(late.server);
    askers_start(&asker, 1, alice);
    is_busy(mallory, "busy with 1 requests of yours: try again");
    /* Two that say nothing are a crowd, which makes room before a stranger; as long as the server
     * has not seen the end of their handshakes they are strangers themselves. */
    struct pollfd leaves = {.events = POLLIN};
    for (int i = 0; i < 100 && !leaves.revents; i++) {
        int stranger = tcp_connect(port);
        SSL *one = tls_connect(alice, port, NULL), *other = tls_connect(mallory, port, NULL);
        ck_assert(one && other);
        usleep(1000 * i);
        ck_assert(asks(bob, "now", 0, NULL, NULL));
        leaves.fd = SSL_get_fd(one);
        ck_assert_int_ge(poll(&leaves, 1, 0), 0);
        close(stranger);
        tls_close(one);
        tls_close(other);
    }
    ck_assert(leaves.revents);
    ck_assert(asks(bob, "go", 0, NULL, NULL));
    asker_is_answered(&asker);
    end();
    peer_server_free(late.server);
}
END_TEST

START_TEST(trust_ends_meanwhile)
{
    struct asker asker;
    start_with(NULL);
    askers_start(&asker, 1, alice);
    SSL *idle = tls_connect(alice, peer_server_port(late.server), NULL);
    ck_assert(asks(mallory, "distrust", 0, NULL, NULL));
    asker_fails(&asker, STATUS_UNAVAILABLE, "closed the connection");
    for (deadline when = deadline_in_ms(5000); !late.distrusted && deadline_left_ms(when);)
        usleep(1000);
    ck_assert(late.distrusted);
    autofree char *nothing = tls_talk(idle, "");
    ck_assert_str_eq(nothing, "");
    tls_close(idle);
    ck_assert(!asks(alice, "count", 0, NULL, NULL));
    end();
    answer_all(NULL);
    peer_server_free(late.server);
}
END_TEST

START_TEST(trust_expires_meanwhile)
{
    struct asker asker;
    start_with(NULL);
    askers_start(&asker, 1, alice);
    late.entries[0].expires = 1000;
    ck_assert(asks(mallory, "go", 0, NULL, NULL));
    asker_fails(&asker, STATUS_UNAVAILABLE, "closed the connection");
    end();
    peer_server_free(late.server);
}
END_TEST

/* Peers that say nothing make room, too; those that wait for an answer do not. */
START_TEST(crowd_of_peers)
{
    struct peer_limits limits = PEER_LIMITS_DEFAULT;
    SSL *crowd[60];
    struct asker asker;
    struct error err = ERROR_INIT;
    limits.connections = 20;
    start_with(&limits);
    askers_start(&asker, 1, alice);
    for (size_t i = 0; i < 60; i++)
        crowd[i] = tls_connect(mallory, peer_server_port(late.server), NULL);
    ck_assert_msg(asks(alice, "go", 0, NULL, &err), "%s", err.message);
    asker_is_answered(&asker);
    for (size_t i = 0; i < 60; i++)
        if (crowd[i])
            tls_close(crowd[i]);
    end();
    peer_server_free(late.server);
}
END_TEST

/* With nobody who must make room one more gets nothing: libevent would talk to it in plain text. */
START_TEST(no_room_for_anybody)
{
    struct peer_limits limits = PEER_LIMITS_DEFAULT;
    struct asker askers[2];
    struct error err = ERROR_INIT;
    static const char words[] = "garbage\r\n\r\n";
    limits.connections = 2;
    start_with(&limits);
    askers_start(askers, 2, alice);
    for (int i = 0; i < 3; i++) {
        char answer[64];
        int fd = tcp_connect(peer_server_port(late.server));
        ck_assert(send(fd, words, strlen(words), MSG_NOSIGNAL) != 0);
        ck_assert_int_le(recv(fd, answer, sizeof(answer), 0), 0); /* closed, or reset */
        close(fd);
    }
    end();
    answer_all(NULL);
    late.interrupted = 0;
    pthread_create(&late.thread, NULL, run, NULL);
    asker_is_answered(&askers[0]);
    asker_is_answered(&askers[1]);
    ck_assert_msg(asks(alice, "now", 0, NULL, &err), "%s", err.message);
    end();
    peer_server_free(late.server);
}
END_TEST

int main(void)
{
    static const struct unit_fixture fixture = {
        .setup = peer_fixture_setup, .teardown = peer_fixture_teardown, .once = true};
    const TTest *const tests[] = {each_its_own,
                                  no_answer_is_our_fault,
                                  the_peer_has_gone,
                                  the_server_has_gone,
                                  a_long_wait,
                                  too_long_a_wait,
                                  busy,
                                  two_keys_of_one,
                                  trust_ends_meanwhile,
                                  trust_expires_meanwhile,
                                  crowd_of_peers,
                                  no_room_for_anybody};
    return unit_run_with("deferred", tests, COUNT(tests), &fixture);
}
