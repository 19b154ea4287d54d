/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The same request to several peers at once: each answers, fails or is not there for itself, and
 * the time of many is the time of one.
 */
#include <arpa/inet.h>
#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "peer/client_many.h"
#include "peer_fixture.h"
#include "unit.h"

#define SERVERS 4
#define MANY 100

static struct bobs_server servers[SERVERS];

static void servers_start(void)
{
    for (size_t i = 0; i < SERVERS; i++)
        bob_start(&servers[i], DEADLINE_NEVER);
}

static void servers_stop(void)
{
    for (size_t i = 0; i < SERVERS; i++)
        bob_stop(&servers[i]);
}

static uint16_t port_of(size_t i)
{
    return peer_server_port(servers[i % SERVERS].server);
}

static struct peer_ask ask_of(uint16_t port, int number)
{
    return (struct peer_ask){
        .client = {.identity = alice, .peer = &entry_of_bob, .host = "127.0.0.1", .port = port},
        .body = json_pack("{s:i}", "number", number)};
}

static void clear(struct peer_ask *asks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        peer_ask_clear(&asks[i]);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void has_answer(const struct peer_ask *ask, int number)
{
    int got = -1;
    ck_assert_msg(ask->answer != NULL, "%d: %s", number, ask->error.message);
    ck_assert_int_eq(ask->error.status, STATUS_OK);
    ck_assert_int_eq(json_unpack(ask->answer, "{s:{s:i}}", "body", "number", &got), 0);
    ck_assert_int_eq(got, number);
}

static void has_failed(const struct peer_ask *ask, enum status status, const char *words)
{
    ck_assert_ptr_null(ask->answer);
    ck_assert_msg(ask->error.status == status && strstr(ask->error.message, words), "%d: %s",
                  ask->error.status, ask->error.message);
}

START_TEST(all_answer)
{
    struct peer_ask asks[SERVERS];
    servers_start();
    for (int i = 0; i < SERVERS; i++)
        asks[i] = ask_of(port_of((size_t)i), i);
    ck_assert(peer_call_many(asks, SERVERS, "echo", deadline_in_ms(20000), NULL, NULL));
    for (int i = 0; i < SERVERS; i++)
        has_answer(&asks[i], i);
    /* Again, and with one left out: its answer stays as it was. */
    asks[1].skip = true;
    json_t *before = asks[1].answer;
    ck_assert(peer_call_many(asks, SERVERS, "echo", deadline_in_ms(20000), NULL, NULL));
    ck_assert_ptr_eq(asks[1].answer, before);
    has_answer(&asks[3], 3);
    ck_assert(peer_call_many(asks, 0, "echo", deadline_in_ms(20000), NULL, NULL));
    clear(asks, SERVERS);
    servers_stop();
    ck_assert_int_eq(servers[0].calls, 2);
    ck_assert_int_eq(servers[1].calls, 1);
}
END_TEST

/* Each fails in its own way, and the others have their answers. */
START_TEST(each_for_itself)
{
    struct peer_ask asks[6];
    struct trust_entry stranger = entry_of_bob;
    uint16_t closed;
    servers_start();
    int fd = tcp_listen(&closed);
    close(fd);
    for (int i = 0; i < 6; i++)
        asks[i] = ask_of(port_of((size_t)i), i);
    asks[1].client.port = closed;
    memcpy(stranger.pins[0], mallory->pin, PIN_SIZE);
    asks[2].client.peer = &stranger;   /* another key is there */
    asks[3].client.identity = mallory; /* not trusted there */
    asks[5].client.host = "no-such-host.invalid";
    ck_assert(!peer_call_many(asks, 6, "echo", deadline_in_ms(20000), NULL, NULL));
    has_answer(&asks[0], 0);
    has_failed(&asks[1], STATUS_UNAVAILABLE, "cannot connect");
    ck_assert(asks[1].retryable);
    has_failed(&asks[2], STATUS_NOT_TRUSTED, "bob");
    ck_assert(!asks[2].retryable);
    has_failed(&asks[3], STATUS_NOT_TRUSTED, "");
    ck_assert(!asks[3].retryable);
    has_answer(&asks[4], 4);
    ck_assert(!asks[4].retryable);
    has_failed(&asks[5], STATUS_UNAVAILABLE, "");
    ck_assert(asks[5].retryable);
    clear(asks, 6);
    servers_stop();
}
END_TEST

START_TEST(errors_of_peers)
{
    struct peer_ask asks[2] = {{.skip = true}, {.skip = true}};
    servers_start();
    for (int i = 0; i < 2; i++)
        asks[i] = ask_of(port_of((size_t)i), i);
    ck_assert(!peer_call_many(asks, 2, "fail", deadline_in_ms(20000), NULL, NULL));
    for (int i = 0; i < 2; i++) {
        has_failed(&asks[i], STATUS_DRIFT, "bob: it cannot be");
        ck_assert(!asks[i].retryable);
    }
    /* What went wrong before is forgotten. */
    ck_assert(peer_call_many(asks, 2, "echo", deadline_in_ms(20000), NULL, NULL));
    has_answer(&asks[0], 0);
    clear(asks, 2);
    /* Nothing to ask. */
    ck_assert(!peer_call_many(asks, 2, "echo", deadline_in_ms(20000), NULL, NULL));
    has_failed(&asks[0], STATUS_INTERNAL, "");
    servers_stop();
}
END_TEST

/* One that takes the connection and says nothing holds up nobody; the deadline ends it. */
START_TEST(deadline_of_all)
{
    struct peer_ask asks[3];
    uint16_t mute;
    servers_start();
    int fd = tcp_listen(&mute);
    for (int i = 0; i < 3; i++)
        asks[i] = ask_of(port_of((size_t)i), i);
    asks[1].client.port = mute;
    int64_t before = now_ms();
    ck_assert(!peer_call_many(asks, 3, "echo", deadline_in_ms(1500), NULL, NULL));
    int64_t took = now_ms() - before;
    ck_assert_msg(took >= 1400 && took < 15000, "%lld ms", (long long)took);
    has_answer(&asks[0], 0);
    has_answer(&asks[2], 2);
    has_failed(&asks[1], STATUS_UNAVAILABLE, "in time");
    clear(asks, 3);
    close(fd);
    servers_stop();
}
END_TEST

static volatile sig_atomic_t interrupted;

static void *interrupt_soon(void *context)
{
    usleep(2000000);
    interrupted = 1;
    return context;
}

START_TEST(interrupted_call)
{
    struct peer_ask asks[3];
    pthread_t thread;
    uint16_t mute;
    servers_start();
    int fd = tcp_listen(&mute);
    for (int i = 0; i < 3; i++)
        asks[i] = ask_of(i == 0 ? port_of(0) : mute, i);
    interrupted = 0;
    ck_assert_int_eq(pthread_create(&thread, NULL, interrupt_soon, NULL), 0);
    int64_t before = now_ms();
    ck_assert(!peer_call_many(asks, 3, "echo", deadline_in_ms(30000), &interrupted, NULL));
    ck_assert_int_lt(now_ms() - before, 10000);
    pthread_join(thread, NULL);
    has_answer(&asks[0], 0);
    has_failed(&asks[1], STATUS_INTERRUPTED, "interrupted");
    has_failed(&asks[2], STATUS_INTERRUPTED, "interrupted");
    clear(asks, 3);
    close(fd);
    servers_stop();
}
END_TEST

START_TEST(a_hundred)
{
    struct peer_ask asks[MANY];
    servers_start();
    for (int i = 0; i < MANY; i++)
        asks[i] = ask_of(port_of((size_t)i), i);
    ck_assert(peer_call_many(asks, MANY, "echo", deadline_in_ms(60000), NULL, NULL));
    for (int i = 0; i < MANY; i++)
        has_answer(&asks[i], i);
    clear(asks, MANY);
    servers_stop();
    for (size_t i = 0; i < SERVERS; i++)
        ck_assert_int_eq(servers[i].calls, MANY / SERVERS);
}
END_TEST

/* A server that answers after 2 s with a TLS alert is as good as one that thinks: what counts is
 * that nobody waits for another's turn. */
static void *slow_server(void *context)
{
    int fd = accept(*(int *)context, NULL, NULL);
    usleep(2000000);
    close(fd);
    return NULL;
}

START_TEST(slow_ones_together)
{
    enum { SLOW = 8 };
    struct peer_ask asks[SLOW];
    pthread_t threads[SLOW];
    int sockets[SLOW];
    for (int i = 0; i < SLOW; i++) {
        uint16_t port;
        sockets[i] = tcp_listen(&port);
        ck_assert_int_eq(pthread_create(&threads[i], NULL, slow_server, &sockets[i]), 0);
        asks[i] = ask_of(port, i);
    }
    int64_t before = now_ms();
    ck_assert(!peer_call_many(asks, SLOW, "echo", deadline_in_ms(20000), NULL, NULL));
    int64_t took = now_ms() - before;
    ck_assert_msg(took >= 1900 && took < 2000 * SLOW / 2, "%lld ms", (long long)took);
    for (int i = 0; i < SLOW; i++) {
        ck_assert_ptr_null(asks[i].answer);
        pthread_join(threads[i], NULL);
        close(sockets[i]);
    }
    clear(asks, SLOW);
}
END_TEST

int main(void)
{
    static const struct unit_fixture fixture = {
        .setup = peer_fixture_setup, .teardown = peer_fixture_teardown, .once = true};
    const TTest *const tests[] = {all_answer,        each_for_itself,  errors_of_peers,
                                  deadline_of_all,   interrupted_call, a_hundred,
                                  slow_ones_together};
    return unit_run_with("peer-many", tests, COUNT(tests), &fixture);
}
