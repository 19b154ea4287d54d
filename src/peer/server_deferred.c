/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Answers that are given later. While a request waits, evhttp neither reads from its connection nor
 * notices that the peer has gone; so the timer and peer_request_is_awaited look after it.
 */
#include <event2/http.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "peer/server_private.h"

void deferred_orphan(struct connection *connection)
{
    struct peer_request *request = STEAL(connection->pending);
    if (!request)
        return;
    request->connection = NULL;
    request->http = NULL;
    connection->server->pending--;
}

/* libevent calls this before it frees what the request points to. */
static void on_close(struct evhttp_connection *http, void *context)
{
    deferred_orphan(context);
}

/* Give the request back its own time; nobody waits for the handler any more. */
static struct evhttp_request *take_http(struct peer_request *request)
{
    struct evhttp_request *http = request->http;
    evhttp_connection_set_closecb(evhttp_request_get_connection(http), NULL, NULL);
    deferred_orphan(request->connection);
    return http;
}

void deferred_drop(struct connection *connection)
{
    struct evhttp_request *http = take_http(connection->pending);
    evhttp_connection_free(evhttp_request_get_connection(http));
}

/* Answer with an error instead of the handler, whose own answer goes nowhere then. */
static void answer_error(struct connection *connection, const struct error *problem)
{
    const struct peer_request *request = connection->pending;
    autofree char *text =
        server_seal_error(connection, &request->asker, request->name, request->digest, problem);
    server_send_sealed(take_http(connection->pending), connection, text);
}

void deferred_time_out(struct connection *connection)
{
    struct error problem = ERROR_INIT;
    error_set(&problem, STATUS_UNAVAILABLE, "busy: '%s' was not answered within %lld s: try again",
              connection->pending->name, (long long)(connection->server->limits.answer_ms / 1000));
    answer_error(connection, &problem);
}

/* Of this peer, whichever of its keys it used, this one not counted. */
static size_t count_pending(const struct peer_server *server, const struct trust_entry *peer)
{
    size_t count = 0;
    for (const struct connection *item = server->oldest; item; item = item->newer)
        if (item->pending && trust_entry_has_pin(peer, item->pending->asker.pin))
            count++;
    return count;
}

static bool check_room(const struct peer_server *server, const struct trust_entry *peer,
                       struct error *err)
{
    if (server->pending >= server->limits.pending)
        return error_set(err, STATUS_UNAVAILABLE, "busy with %zu requests: try again",
                         server->pending);
    size_t count = count_pending(server, peer);
    if (count >= server->limits.pending_per_peer)
        return error_set(err, STATUS_UNAVAILABLE, "busy with %zu requests of yours: try again",
                         count);
    return true;
}

void deferred_begin(struct evhttp_request *http, struct connection *connection,
                    const struct asker *asker, const char *name, const char *digest, json_t *body)
{
    struct peer_server *server = connection->server;
    struct error problem = ERROR_INIT;
    struct peer_request *request = NULL;
    if (check_room(server, asker->entry, &problem)) {
        request = calloc(1, sizeof(*request));
        if (!request)
            error_no_memory(&problem);
    }
    if (!request) {
        autofree char *text = server_seal_error(connection, asker, name, digest, &problem);
        server_send_sealed(http, connection, text);
        return;
    }
    request->connection = connection;
    request->http = http;
    request->asker = *asker;
    request->asker.entry = NULL;
    snprintf(request->name, sizeof(request->name), "%s", name);
    memcpy(request->digest, digest, DIGEST_HEX_SIZE);
    connection->pending = request;
    server->pending++;
    evhttp_connection_set_closecb(evhttp_request_get_connection(http), on_close, connection);
    connection_restart_life(connection);
    server->current = connection;
    server->handler.begin(server->handler.context, asker->entry, connection->session.remote, name,
                          body, request);
    server->current = NULL;
}

void peer_request_answer(struct peer_request *request, json_t *answer, const struct error *err)
{
    autojson UNREAD json_t *owned = answer;
    autofree UNREAD struct peer_request *done = request;
    struct connection *connection = request->connection;
    if (!connection)
        return;
    const struct peer_server *server = connection->server;
    const struct trust_entry *entry = trust_find_pin(server->peers.any, request->asker.pin);
    if (!entry || trust_entry_is_expired(entry, time(NULL))) {
        deferred_drop(connection);
        return;
    }
    autofree char *text =
        answer || !err
            ? server_seal_answer(connection, &request->asker, request->name, request->digest,
                                 answer)
            : server_seal_error(connection, &request->asker, request->name, request->digest, err);
    server_send_sealed(take_http(request), connection, text);
}

const char *peer_request_pin(const struct peer_request *request)
{
    return request->asker.pin;
}

bool peer_request_is_awaited(const struct peer_request *request)
{
    if (!request->connection)
        return false;
    /* A peer that waits keeps its side open: its end of file means that it has gone. */
    struct pollfd peer = {.fd = bufferevent_getfd(request->connection->bufferevent),
                          .events = POLLRDHUP};
    return poll(&peer, 1, 0) <= 0 || !(peer.revents & (POLLRDHUP | POLLHUP | POLLERR));
}
