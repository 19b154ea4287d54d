/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * No memory, with a peer at the other end: each allocation of one side fails in turn, the other
 * side has what it needs. Who asks gets an error of his own. Who serves may fail that one request,
 * or end with an error, but serves the next one if he goes on.
 */
#include "failing.h"
#include "peer/client_error.h"
#include "peer/client_many.h"
#include "peer/message.h"
#include "stream_fixture.h"

static json_t *question;

static struct peer_client client_at(uint16_t port)
{
    return (struct peer_client){
        .identity = alice, .peer = &entry_of_bob, .host = "127.0.0.1", .port = port};
}

/* The side that asks. */

static uint16_t asked_port;

static bool asks(struct error *err)
{
    autojson json_t *answer = NULL;
    const struct peer_client client = client_at(asked_port);
    return peer_call(&client, "echo", question, deadline_in_ms(20000), &answer, err);
}

static bool asks_many(struct error *err)
{
    struct peer_links *links = peer_links_new();
    if (!links)
        return error_no_memory(err);
    struct peer_ask ask = {.client = client_at(asked_port), .body = json_incref(question)};
    bool good = true;
    for (int i = 0; good && i < 2; i++)
        good = peer_call_many(&ask, 1, "echo", deadline_in_ms(20000), NULL, links);
    *err = ask.error;
    peer_ask_clear(&ask);
    peer_links_free(links);
    return good;
}

static bool opens_stream(struct error *err)
{
    const struct peer_client client = client_at(asked_port);
    autopeerstream struct peer_stream *stream =
        peer_stream_open(&client, question, deadline_in_ms(20000), err);
    return stream != NULL;
}

/* Without a connection: here libcurl may lack memory, too. */
static bool prepares(struct error *err)
{
    struct call call __attribute__((cleanup(call_free))) = {0};
    const struct peer_client client = client_at(1);
    return call_begin(&call, &client, "echo", question, err) &&
           call_prepare(&call, deadline_in_ms(20000), err);
}

static bool makes_links(struct error *err)
{
    struct peer_links *links = peer_links_new();
    peer_links_free(links);
    return links || error_no_memory(err);
}

START_TEST(who_asks)
{
    struct host host;
    host_start(&host, true);
    host.drop = true;
    asked_port = host.port;
    question = json_pack("{s:s}", "say", "hello");
    MUST(asks(&err)); /* what libraries make once is there then */
    failing_play("call", asks);
    failing_play("calls on one connection", asks_many);
    failing_play("stream", opens_stream);
    failing_libcurl = failing_jansson = true;
    failing_play("preparations", prepares);
    failing_play("links", makes_links);
    failing_libcurl = failing_jansson = false;
    MUST(asks(&err));
    json_decref(question);
    host_stop(&host);
}
END_TEST

/* The side that serves, in this thread. */

static struct serving {
    const struct peer_handler *handler;
    struct peer_server *server;
    const char *name; /* of the first request */
    bool served;      /* the last one was */
} serving;

static bool handle(void *context, const struct trust_entry *peer, const char *remote,
                   const char *name, json_t *body, json_t **answer, struct error *err)
{
    if (strcmp(name, "stop") == 0)
        peer_server_stop(serving.server);
    *answer = json_incref(body);
    return true;
}

static void begin(void *context, const struct trust_entry *peer, const char *remote,
                  const char *name, json_t *body, struct peer_request *request)
{
    if (strcmp(name, "stop") == 0)
        peer_server_stop(serving.server);
    peer_request_answer(request, json_incref(body), NULL);
}

static bool admit(void *context, const struct trust_entry *peer, const char *remote, json_t *body,
                  struct error *err)
{
    return true;
}

static void take(void *context, json_t *body, SSL *ssl)
{
    tls_close(ssl);
}

/* One request while memory lacks, one when it lacks no more. */
static void *visit(void *context)
{
    const struct peer_client client = client_at(peer_server_port(serving.server));
    json_t *answer = NULL, *other = NULL;
    if (strcmp(serving.name, STREAM_NAME) == 0)
        peer_stream_free(peer_stream_open(&client, question, deadline_in_ms(20000), NULL));
    else
        peer_call(&client, serving.name, question, deadline_in_ms(20000), &other, NULL);
    failing_stop();
    serving.served = peer_call(&client, "stop", question, deadline_in_ms(20000), &answer, NULL);
    json_decref(answer);
    json_decref(other);
    return NULL;
}

static bool serves(struct error *err)
{
    const struct trust trust = {.entries = &entry_of_alice, .count = 1};
    pthread_t visitor;
    serving.served = false;
    serving.server = peer_server_new(bob, &trust, "127.0.0.1", 0, serving.handler, err);
    if (!serving.server)
        return false;
    ck_assert_int_eq(pthread_create(&visitor, NULL, visit, NULL), 0);
    bool good = peer_server_run(serving.server, deadline_in_ms(60000), NULL, err);
    failing_stop();
    peer_server_free(serving.server); /* a visitor is not left to wait */
    pthread_join(visitor, NULL);
    ck_assert(serving.served == good);
    return good;
}

static bool makes_server(struct error *err)
{
    const struct trust trust = {0};
    autopeerserver struct peer_server *server =
        peer_server_new(bob, &trust, "127.0.0.1", 0, serving.handler, err);
    return server != NULL;
}

START_TEST(who_serves)
{
    static const struct peer_handler answers = {.handle = handle}, later = {.begin = begin},
                                     streams = {.handle = handle, .admit = admit, .stream = take};
    question = json_pack("{s:s}", "say", "hello");
    serving = (struct serving){.handler = &answers, .name = "echo"};
    MUST(serves(&err));
    failing_jansson = true;
    failing_play("server", serves);
    serving = (struct serving){.handler = &later, .name = "echo"};
    failing_play("server that answers later", serves);
    serving = (struct serving){.handler = &streams, .name = STREAM_NAME};
    failing_play("server with streams", serves);
    failing_openssl = true;
    failing_play("new server", makes_server);
    failing_openssl = failing_jansson = false;
    json_decref(question);
}
END_TEST

/* Relays. */

static SSL *session[2];
static int qemu[2];

static void have_ends(void)
{
    tls_pair(session);
    stream_pair(qemu);
}

static bool relays(struct error *err)
{
    const struct relay_ends ends = {.qemu = qemu[1], .ssl = session[0]};
    struct relay_group *group = relay_group_new(-1, err);
    bool good = group && relay_group_add(group, &ends, err);
    failing_stop();
    if (!group) {
        tls_close(session[0]);
        close(qemu[1]);
    }
    relay_group_free(group);
    tls_close(session[1]);
    close(qemu[0]);
    return good;
}

START_TEST(who_relays)
{
    have_ends();
    MUST(relays(&err));
    failing_openssl = true;
    failing_play_with("relay", have_ends, relays);
    failing_openssl = false;
}
END_TEST

int main(void)
{
    static const struct unit_fixture fixture = {
        .setup = peer_fixture_setup, .teardown = peer_fixture_teardown, .once = true};
    const TTest *const tests[] = {who_asks, who_serves, who_relays};
    failing_setup();
    return unit_run_with("peer-memory", tests, COUNT(tests), &fixture);
}
