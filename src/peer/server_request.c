/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/http.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"
#include "peer/server_private.h"
#include "peer/stream.h"

#define PATH_PREFIX "/v1/"

static void cleanup_evbuffer(struct evbuffer **buffer)
{
    if (*buffer)
        evbuffer_free(*buffer);
}

/* The kernel has the whole answer. */
static void on_answered(struct evhttp_request *request, void *context)
{
    struct connection *connection = context;
    connection->answered = true;
    connection_restart_life(connection); /* for its next request, if it stays */
    connection_stop_server(connection);
}

void connection_stop_server(struct connection *connection)
{
    struct peer_server *server = connection->server;
    if (!connection->stops_server)
        return;
    connection->stops_server = false;
    server->stopping--;
    server->stopped = true;
    event_base_loopbreak(server->base);
}

/* Whether more may come on the connection: its peer wishes that, and was not refused anything. */
static bool may_stay(struct evhttp_request *request, const struct connection *connection,
                     int status)
{
    const struct evkeyvalq *headers = evhttp_request_get_input_headers(request);
    return status == 200 && connection->requests < REQUESTS_MAX && !connection->stops_server &&
           connection->server->bound && /* it is not being ended */
           header_has_token(evhttp_find_header(headers, "Connection"), "keep-alive");
}

static void send_text(struct evhttp_request *request, struct connection *connection, int status,
                      const char *reason, const char *type, const char *text)
{
    struct evbuffer *buffer __attribute__((cleanup(cleanup_evbuffer))) = evbuffer_new();
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    if (!buffer || evbuffer_add(buffer, text, strlen(text)) != 0 ||
        evhttp_add_header(headers, "Connection",
                          may_stay(request, connection, status) ? "keep-alive" : "close") != 0 ||
        evhttp_add_header(headers, "Content-Type", type) != 0) {
        evhttp_connection_free(evhttp_request_get_connection(request));
        return;
    }
    connection_restart_life(connection);
    evhttp_request_set_on_complete_cb(request, on_answered, connection);
    evhttp_send_reply(request, status, reason, buffer);
}

static void refuse(struct evhttp_request *request, struct connection *connection, int status,
                   const char *reason, const char *text)
{
    server_log(connection->server, connection->session.remote, text);
    send_text(request, connection, status, reason, "text/plain", text);
}

bool server_identify(struct connection *connection, struct asker *asker, struct error *err)
{
    const struct peer_server *server = connection->server;
    if (!tls_peer_pin(connection->ssl, asker->pin, err) ||
        !tls_exporter(connection->ssl, asker->exporter, err))
        return false;
    /* Looked up again: it may have expired, or been removed, since the handshake. */
    asker->entry = trust_find_pin(server->peers.any, asker->pin);
    if (!asker->entry || trust_entry_is_expired(asker->entry, time(NULL)))
        return error_set(err, STATUS_NOT_TRUSTED, "its key is no longer trusted here");
    return true;
}

/* Run the handler, for an answer or (answer is NULL) for a stream; the time it takes is taken from
 * nobody. */
static bool call_handler(struct connection *connection, const struct asker *asker, const char *name,
                         json_t *body, json_t **answer, struct error *err)
{
    struct peer_server *server = connection->server;
    int64_t start = clock_now_ms();
    server->current = connection;
    const struct peer_handler *handler = &server->handler;
    bool good = answer ? handler->handle(handler->context, asker->entry, connection->session.remote,
                                         name, body, answer, err)
                       : handler->admit(handler->context, asker->entry, connection->session.remote,
                                        body, err);
    server->current = NULL;
    server_extend_lives(server, clock_now_ms() - start);
    return good;
}

char *server_seal_error(const struct connection *connection, const struct asker *asker,
                        const char *name, const char *digest, const struct error *problem)
{
    autojson json_t *words = message_error_new(problem);
    char *text = NULL;
    if (!words || !message_seal(connection->server->identity, name, MESSAGE_RESPONDER,
                                asker->exporter, digest, words, &text, NULL, NULL))
        return NULL;
    return text;
}

char *server_seal_answer(const struct connection *connection, const struct asker *asker,
                         const char *name, const char *digest, json_t *answer)
{
    struct error problem = ERROR_INIT;
    char *text = NULL;
    if (!json_is_object(answer))
        error_set(&problem, STATUS_INTERNAL, "request '%s' has no answer", name);
    else if (message_seal(connection->server->identity, name, MESSAGE_RESPONDER, asker->exporter,
                          digest, answer, &text, NULL, &problem))
        return text;
    return server_seal_error(connection, asker, name, digest, &problem);
}

static char *make_answer(struct connection *connection, const struct asker *asker, const char *name,
                         const char *digest, json_t *body)
{
    autojson json_t *answer = NULL;
    struct error problem = ERROR_INIT;
    if (call_handler(connection, asker, name, body, &answer, &problem))
        return server_seal_answer(connection, asker, name, digest, answer);
    return server_seal_error(connection, asker, name, digest, &problem);
}

/* Start the stream and return NULL with *started, or as make_answer. */
static char *admit_stream(struct evhttp_request *request, struct connection *connection,
                          const struct asker *asker, const char *digest, json_t *body,
                          bool *started)
{
    struct error problem = ERROR_INIT;
    *started = call_handler(connection, asker, STREAM_NAME, body, NULL, &problem);
    if (!*started)
        return server_seal_error(connection, asker, STREAM_NAME, digest, &problem);
    stream_start(request, connection, body);
    return NULL;
}

void server_send_sealed(struct evhttp_request *request, struct connection *connection,
                        const char *sealed)
{
    if (sealed)
        send_text(request, connection, 200, "OK", "application/jose+json", sealed);
    else
        refuse(request, connection, 500, "Internal Server Error", "out of memory");
}

/* NAME of /v1/NAME, or NULL. */
static const char *take_name(const struct evhttp_request *request)
{
    const char *uri = evhttp_request_get_uri(request);
    if (!uri || !string_starts_with(uri, PATH_PREFIX))
        return NULL;
    const char *name = uri + strlen(PATH_PREFIX);
    return message_name_is_valid(name) ? name : NULL;
}

static void answer_request(struct evhttp_request *request, struct connection *connection,
                           const struct asker *asker, const char *name)
{
    bool streams = connection->server->handler.admit && strcmp(name, STREAM_NAME) == 0;
    bool started = false;
    struct evbuffer *input = evhttp_request_get_input_buffer(request);
    size_t length = evbuffer_get_length(input);
    struct error err = ERROR_INIT;
    char digest[DIGEST_HEX_SIZE];
    autojson json_t *body = NULL;
    if (streams && !stream_is_asked_for(request)) {
        evhttp_add_header(evhttp_request_get_output_headers(request), "Upgrade", STREAM_PROTOCOL);
        refuse(request, connection, 426, "Upgrade Required", "a stream needs an upgrade");
        return;
    }
    const char *text = length > 0 ? (const char *)evbuffer_pullup(input, -1) : "";
    if (!text) {
        refuse(request, connection, 500, "Internal Server Error", "out of memory");
        return;
    }
    if (!message_open(text, length, name, MESSAGE_INITIATOR, asker->exporter, "", asker->pin, &body,
                      digest, &err)) {
        refuse(request, connection, 400, "Bad Request", err.message);
        return;
    }
    if (!streams && connection->server->handler.begin) {
        deferred_begin(request, connection, asker, name, digest, body);
        return;
    }
    autofree char *answer = streams
                                ? admit_stream(request, connection, asker, digest, body, &started)
                                : make_answer(connection, asker, name, digest, body);
    if (!started)
        server_send_sealed(request, connection, answer);
}

/* Headers and body leave in two writes: on a connection that stays, Nagle's algorithm would hold
 * the second back until the peer acknowledges the first, which it delays by 40 ms. */
static void send_at_once(const struct connection *connection)
{
    const int on = 1;
    setsockopt(bufferevent_getfd(connection->bufferevent), IPPROTO_TCP, TCP_NODELAY, &on,
               sizeof(on));
}

void server_handle_request(struct evhttp_request *request, void *context)
{
    struct evhttp_connection *http = evhttp_request_get_connection(request);
    SSL *ssl = bufferevent_openssl_get_ssl(evhttp_connection_get_bufferevent(http));
    struct connection *connection = ssl ? (struct connection *)tls_session_of(ssl) : NULL;
    struct asker asker = {0};
    struct error err = ERROR_INIT;
    /* libevent 2.1 keeps a connection open after CONNECT, whatever the headers of the answer say.
     * One without TLS cannot be, and must not be answered. */
    if (!connection || (connection->asked && !connection->answered) ||
        evhttp_request_get_command(request) == EVHTTP_REQ_CONNECT) {
        evhttp_connection_free(http);
        return;
    }
    connection->asked = true;
    connection->answered = false;
    connection->requests++;
    send_at_once(connection);
    if (!server_identify(connection, &asker, &err)) {
        refuse(request, connection, 403, "Forbidden", err.message);
        return;
    }
    const char *name = take_name(request);
    if (!name) {
        refuse(request, connection, 404, "Not Found", "it asked for something that is not here");
    } else if (evhttp_request_get_command(request) != EVHTTP_REQ_POST) {
        evhttp_add_header(evhttp_request_get_output_headers(request), "Allow", "POST");
        refuse(request, connection, 405, "Method Not Allowed", "only POST is answered");
    } else {
        log_debug("request '%s' from %s (%s)", name, asker.entry->name, connection->session.remote);
        answer_request(request, connection, &asker, name);
    }
}
