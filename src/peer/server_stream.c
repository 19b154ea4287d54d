/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * How a connection leaves evhttp as a stream. libevent 2.1 cannot give an SSL or a socket away:
 * when it frees a connection it shuts the socket down, by number, and closes whatever number the
 * SSL has. So the socket moves to another number, one end of a pipe takes the old one, and once the
 * other end of that pipe tells that libevent has closed it, nobody but us knows the SSL.
 */
#include <event2/buffer.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "peer/server_private.h"
#include "peer/stream.h"

bool header_has_token(const char *list, const char *token)
{
    size_t length = strlen(token);
    while (list && *list) {
        list += strspn(list, " \t,");
        size_t word = strcspn(list, " \t,");
        if (word == length && strncasecmp(list, token, length) == 0)
            return true;
        list += word;
    }
    return false;
}

bool stream_is_asked_for(struct evhttp_request *request)
{
    const struct evkeyvalq *headers = evhttp_request_get_input_headers(request);
    return header_has_token(evhttp_find_header(headers, "Connection"), "upgrade") &&
           header_has_token(evhttp_find_header(headers, "Upgrade"), STREAM_PROTOCOL);
}

/* libevent has freed its part: the SSL is ours alone. */
static void on_let_go(evutil_socket_t fd, short what, void *context)
{
    struct connection *connection = context;
    struct peer_server *server = connection->server;
    SSL *ssl = connection->ssl;
    event_free(STEAL(connection->let_go));
    close(steal_fd(&connection->let_go_fd));
    if (SSL_set_fd(ssl, connection->socket) != 1) { /* for want of memory */
        ERR_clear_error();
        close(connection->socket);
        SSL_free(ssl); /* withdraws it */
        return;
    }
    json_t *body = STEAL(connection->admitted);
    int64_t start = clock_now_ms();
    connection_stop_server(connection);
    connection_detach(connection);
    server->handler.stream(server->handler.context, body, ssl);
    server_extend_lives(server, clock_now_ms() - start);
    json_decref(body);
}

/* Put the connected socket out of libevent's reach. NULL, or why it stays. */
static const char *take_socket(struct connection *connection)
{
    int old = bufferevent_getfd(connection->bufferevent);
    int ends[2];
    if (old < 0 || pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return "out of descriptors";
    autoclose int told = ends[0];
    autoclose int stand_in = ends[1];
    autoclose int socket = fcntl(old, F_DUPFD_CLOEXEC, 3);
    struct event *event = event_new(connection->server->base, told, EV_READ, on_let_go, connection);
    if (socket < 0 || !event || event_add(event, NULL) != 0 || dup3(stand_in, old, O_CLOEXEC) < 0) {
        if (event)
            event_free(event);
        return "out of descriptors or memory";
    }
    SSL_up_ref(connection->ssl);
    connection->socket = steal_fd(&socket);
    connection->let_go_fd = steal_fd(&told);
    connection->let_go = event;
    connection->taken = true;
    return NULL;
}

/* The kernel has the whole answer. evhttp looks at the headers once more when this returns, and
 * frees the connection if they say that it is to be closed. */
static void on_switched(struct evhttp_request *request, void *context)
{
    struct connection *connection = context;
    struct bufferevent *bufferevent = connection->bufferevent;
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    const char *problem = connection->cut;
    /* First of all: epoll must forget the socket while it has its number. */
    bufferevent_disable(bufferevent, EV_READ | EV_WRITE);
    evhttp_remove_header(headers, "Connection");
    if (evhttp_add_header(headers, "Connection", "close") != 0)
        problem = "out of memory";
    else if (evbuffer_get_length(bufferevent_get_input(bufferevent)) > 0 ||
             SSL_pending(connection->ssl) > 0)
        problem = "it sent bytes before its stream was there";
    if (!problem)
        problem = take_socket(connection);
    if (problem) {
        server_log(connection->server, connection->session.remote, problem);
        connection_cut(connection, problem);
        return;
    }
    event_del(connection->timer);
    peer_stream_tune(connection->socket);
}

void stream_start(struct evhttp_request *request, struct connection *connection, json_t *body)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    connection->admitted = json_incref(body);
    if (evhttp_add_header(headers, "Connection", "Upgrade") != 0 ||
        evhttp_add_header(headers, "Upgrade", STREAM_PROTOCOL) != 0) {
        evhttp_connection_free(evhttp_request_get_connection(request)); /* withdraws it */
        return;
    }
    connection_restart_life(connection);
    evhttp_request_set_on_complete_cb(request, on_switched, connection);
    evhttp_send_reply(request, 101, "Switching Protocols", NULL);
}

void stream_withdraw(struct connection *connection)
{
    const struct peer_handler *handler = &connection->server->handler;
    json_t *body = STEAL(connection->admitted);
    if (body && handler->withdrawn)
        handler->withdrawn(handler->context, body);
    json_decref(body);
}

void streams_disarm(struct peer_server *server)
{
    for (struct connection *item = server->oldest; item; item = item->newer) {
        if (!item->taken)
            continue;
        event_free(STEAL(item->let_go));
        close(steal_fd(&item->let_go_fd));
    }
}

void streams_drop(struct peer_server *server)
{
    struct connection *next;
    for (struct connection *item = server->oldest; item; item = next) {
        next = item->newer;
        if (!item->taken)
            continue;
        close(item->socket);
        SSL_free(item->ssl); /* withdraws it */
    }
}
