/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "peer/server.h"

#include <event2/listener.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "peer/relay.h"
#include "peer/server_private.h"
#include "peer/sigpipe.h"

#define TICK_MS 100       /* how soon an interruption is seen */
#define SLOW_TICK_MS 1000 /* how often the deadline is looked at before it is near */
#define EVHTTP_TIMEOUT_S                                                                           \
    86400 /* for each read; the total in server_connection.c is what counts                        \
           */

static struct timeval to_timeval(int milliseconds)
{
    return (struct timeval){.tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000};
}

/* libevent would print on its own. */
static void log_libevent(int severity, const char *message)
{
    log_debug("libevent: %s", message);
}

/* accept() failed, for want of descriptors most likely: it would fail again at once, and again.
 * It listens again from the next tick on. The context is evhttp's. */
static void on_accept_error(struct evconnlistener *listener, void *context)
{
    evconnlistener_disable(listener);
}

static void arm_tick(struct peer_server *server)
{
    int left = deadline_left_ms(server->when);
    int wait = server->interrupted ? TICK_MS : SLOW_TICK_MS;
    struct timeval time = to_timeval(left >= 0 && left < wait ? left : wait);
    if (event_add(server->tick, &time) != 0) {
        error_no_memory(&server->outcome);
        event_base_loopbreak(server->base);
    }
}

static void on_tick(evutil_socket_t fd, short what, void *context)
{
    struct peer_server *server = context;
    /* An answer after which we stop is under way: what was decided is decided. Its own connection's
     * life is limited. */
    if (server->stopping == 0) {
        if (server->interrupted && *server->interrupted)
            error_set(&server->outcome, STATUS_INTERRUPTED, "interrupted");
        else if (deadline_left_ms(server->when) == 0)
            error_set(&server->outcome, STATUS_UNAVAILABLE,
                      "no peer has completed an exchange on port %u in time", server->port);
    }
    if (server->outcome.status != STATUS_OK)
        event_base_loopbreak(server->base);
    else
        arm_tick(server);
    if (server->bound)
        evconnlistener_enable(evhttp_bound_socket_get_listener(server->bound));
}

static bool fill_port(struct peer_server *server, int fd, struct error *err)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof(address);
    int listening = 0;
    socklen_t listening_size = sizeof(listening);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &listening_size) < 0 || !listening ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0 ||
        (address.ss_family != AF_INET && address.ss_family != AF_INET6))
        return error_set(err, STATUS_CONFIG, "descriptor %d is not a listening TCP socket", fd);
    if (address.ss_family == AF_INET6)
        server->port = ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    else
        server->port = ntohs(((struct sockaddr_in *)&address)->sin_port);
    return true;
}

/* Takes the socket over if it succeeds. */
static bool set_up_http(struct peer_server *server, int fd, struct error *err)
{
    server->base = event_base_new();
    server->http = server->base ? evhttp_new(server->base) : NULL;
    server->tick = server->base ? evtimer_new(server->base, on_tick, server) : NULL;
    server->mute = server->base ? server_new_mute(server->base) : NULL;
    if (!server->http || !server->tick || !server->mute)
        return error_no_memory(err);
    evhttp_set_bevcb(server->http, server_new_bufferevent, server);
    evhttp_set_gencb(server->http, server_handle_request, server);
    evhttp_set_timeout(server->http, EVHTTP_TIMEOUT_S);
    evhttp_set_max_headers_size(server->http, HEADERS_MAX);
    evhttp_set_max_body_size(server->http, MESSAGE_MAX);
    evhttp_set_default_content_type(server->http, NULL);
    /* All of them come to us, for a 405. */
    evhttp_set_allowed_methods(server->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD |
                                                 EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
                                                 EVHTTP_REQ_OPTIONS | EVHTTP_REQ_TRACE |
                                                 EVHTTP_REQ_CONNECT | EVHTTP_REQ_PATCH);
    server->bound = evhttp_accept_socket_with_handle(server->http, fd);
    if (!server->bound)
        return error_no_memory(err);
    evconnlistener_set_error_cb(evhttp_bound_socket_get_listener(server->bound), on_accept_error);
    return true;
}

struct peer_server *peer_server_new_from_socket(const struct identity *identity,
                                                const struct trust *trust, int fd,
                                                const struct peer_handler *handler,
                                                struct error *err)
{
    autoclose int owned = fd;
    autopeerserver struct peer_server *server = calloc(1, sizeof(*server));
    if (!server) {
        error_no_memory(err);
        return NULL;
    }
    server->identity = identity;
    server->peers.any = trust;
    server->handler = *handler;
    server->limits = (struct peer_limits)PEER_LIMITS_DEFAULT;
    event_set_log_callback(log_libevent);
    server->context = tls_context_new(identity, &server->peers, err);
    if (!server->context || !fill_port(server, fd, err))
        return NULL;
    if (handler->admit && !relay_prefer_ciphers(server->context, err))
        return NULL;
    if (!handler->admit) /* 34 KiB less for each connection that waits; streams are busy */
        SSL_CTX_set_mode(server->context, SSL_MODE_RELEASE_BUFFERS);
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
        error_set(err, STATUS_CONFIG, "descriptor %d cannot be used", fd);
        return NULL;
    }
    if (!set_up_http(server, fd, err))
        return NULL;
    steal_fd(&owned);
    return STEAL(server);
}

struct peer_server *peer_server_new(const struct identity *identity, const struct trust *trust,
                                    const char *address, uint16_t port,
                                    const struct peer_handler *handler, struct error *err)
{
    int fd = peer_listen(address, port, err);
    return fd < 0 ? NULL : peer_server_new_from_socket(identity, trust, fd, handler, err);
}

uint16_t peer_server_port(const struct peer_server *server)
{
    return server->port;
}

void peer_server_set_trust(struct peer_server *server, const struct trust *trust)
{
    server->peers.any = trust;
    server_close_untrusted(server);
}

void peer_server_set_limits(struct peer_server *server, const struct peer_limits *limits)
{
    server->limits = *limits;
}

void peer_server_stop_listening(struct peer_server *server)
{
    if (server->bound)
        evhttp_del_accept_socket(server->http, STEAL(server->bound));
}

bool peer_server_is_idle(const struct peer_server *server)
{
    for (const struct connection *item = server->oldest; item; item = item->newer)
        if (item->asked && !item->answered && !item->cut)
            return false;
    return true;
}

struct event_base *peer_server_base(const struct peer_server *server)
{
    return server->base;
}

void peer_server_stop(struct peer_server *server)
{
    if (!server->current) {
        server->stopped = true;
        event_base_loopbreak(server->base);
    } else if (!server->current->stops_server) {
        server->current->stops_server = true;
        server->stopping++;
    }
}

bool peer_server_is_stopping(const struct peer_server *server)
{
    return server->stopped || server->stopping > 0;
}

bool peer_server_run(struct peer_server *server, deadline when,
                     const volatile sig_atomic_t *interrupted, struct error *err)
{
    struct sigpipe_guard guard;
    if (!server->bound)
        return error_no_memory(err); /* it had to close its socket in an earlier run */
    server->when = when;
    server->interrupted = interrupted;
    server->stopped = false;
    server->outcome.status = STATUS_OK;
    arm_tick(server);
    sigpipe_block(&guard);
    int result = 0;
    if (server->outcome.status == STATUS_OK)
        result = event_base_dispatch(server->base);
    sigpipe_restore(&guard);
    event_del(server->tick);
    server->interrupted = NULL;
    if (server->stopped)
        return true;
    if (server->outcome.status == STATUS_OK)
        return error_set(err, STATUS_INTERNAL, "the event loop ended (%d)", result);
    if (err)
        *err = server->outcome;
    return false;
}

void peer_server_free(struct peer_server *server)
{
    struct sigpipe_guard guard;
    if (!server)
        return;
    sigpipe_block(&guard);
    server->closing = true;
    for (struct connection *item = server->oldest; item; item = item->newer) {
        event_free(item->timer);
        item->timer = NULL;
    }
    streams_disarm(server);
    server_end_lingering(server);
    if (server->http)
        evhttp_free(server->http);
    if (server->mute)
        bufferevent_free(server->mute);
    if (server->tick)
        event_free(server->tick);
    /* libevent 2.1: callbacks of connections that it has deferred hold on to them, and are dropped,
     * not run, with the base. They call nothing of ours any more. */
    if (server->base)
        event_base_loop(server->base, EVLOOP_NONBLOCK);
    if (server->base)
        event_base_free(server->base); /* lets go of the connections for good */
    streams_drop(server);
    SSL_CTX_free(server->context);
    sigpipe_restore(&guard);
    free(server);
}
