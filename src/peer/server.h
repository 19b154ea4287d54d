/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The listening side: POST /v1/NAME over mutual TLS 1.3, on a connection of its own or, where the
 * peer wishes that, one after the other (doc/PROTOCOL.md, HTTP). Request "stream"
 * (doc/PROTOCOL.md) makes its connection a stream of bytes, which leaves the server.
 *
 * One thread: handlers run inside peer_server_run, one at a time, and everyone else waits for them;
 * a server that must not wait gives its answers later (peer_handler.begin). A stranger gets our
 * public key and a TLS alert, and costs one of the places for at most 10 s.
 */
#ifndef QML_PEER_SERVER_H
#define QML_PEER_SERVER_H

#include <jansson.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/deadline.h"
#include "base/error.h"
#include "peer/identity.h"
#include "peer/trust.h"

/* A request that waits for its answer. It belongs to the handler from begin until
 * peer_request_answer; its connection may be gone long before, and so may the server. */
struct peer_request;

struct peer_handler {
    /* Answer request `name` of `peer`, who has proven to be the one in that trust entry, unexpired,
     * and has signed body (borrowed, an object) for this connection. remote_address is numeric.
     * True with *answer (a new reference to an object), or false with err, which is sent as a
     * signed error message. Requests may come twice: an answer can be lost on its way. */
    bool (*handle)(void *context, const struct trust_entry *peer, const char *remote_address,
                   const char *name, json_t *body, json_t **answer, struct error *err);
    void *context;

    /* Instead of handle, for answers that take their time: all is as for handle, but peer,
     * remote_address, name and body are the handler's for this call only, and the answer is given
     * by one call of peer_request_answer, from here or later, in the server's thread. */
    void (*begin)(void *context, const struct trust_entry *peer, const char *remote_address,
                  const char *name, json_t *body, struct peer_request *request);

    /* The three below are about request "stream"; all NULL: there are none here. They are called
     * from peer_server_run, one at a time, like handle.
     *
     * Whether this connection of `peer` may become a stream; all is as for handle. False with err,
     * which is sent as a signed error message. True: exactly one of the two below follows, if not
     * before, then from peer_server_free. */
    bool (*admit)(void *context, const struct trust_entry *peer, const char *remote_address,
                  json_t *body, struct error *err);
    /* The connection that was admitted for body (borrowed), now a stream: the last byte of the
     * answer is the kernel's, nothing of the peer's has been read. ssl, its session and the
     * connected socket SSL_get_fd, which does not block, are the callee's from now on, to be used
     * and freed in any thread, also after the server. May not be NULL if admit is not. */
    void (*stream)(void *context, json_t *body, SSL *ssl);
    /* The connection that was admitted for body (borrowed) has broken before, or the server is
     * being freed. May be NULL. */
    void (*withdrawn)(void *context, json_t *body);
};

/* A listening TCP socket, close-on-exec and non-blocking, or -1. Errors as peer_server_new. */
int peer_listen(const char *address, uint16_t port, struct error *err);

/* The same on the first free port of first..last, which is filled into *port. STATUS_CONFIG also if
 * all are taken, or there are none. */
int peer_listen_range(const char *address, uint16_t first, uint16_t last, uint16_t *port,
                      struct error *err);

struct peer_server;

/* Listen on address (a numeric one or a name; NULL or "": all, IPv6 and IPv4) and port (0: any free
 * one). identity and trust are borrowed; handler is copied. STATUS_CONFIG: there is no such address
 * here, or it may not be used; STATUS_UNAVAILABLE: it is in use; STATUS_INTERNAL. */
struct peer_server *peer_server_new(const struct identity *identity, const struct trust *trust,
                                    const char *address, uint16_t port,
                                    const struct peer_handler *handler, struct error *err);

/* The same with a listening TCP socket (from systemd, say), which it owns from now on, also if this
 * fails. STATUS_CONFIG: it is not one; STATUS_INTERNAL. */
struct peer_server *peer_server_new_from_socket(const struct identity *identity,
                                                const struct trust *trust, int fd,
                                                const struct peer_handler *handler,
                                                struct error *err);

/* How much a server takes on. */
struct peer_limits {
    size_t connections; /* at a time; when all are taken, the oldest stranger makes room */
    size_t pending; /* requests that wait for peer_request_answer; more are answered "busy" (69) */
    size_t pending_per_peer; /* and of one peer */
    int64_t answer_ms;       /* for how long; then the answer is an error (69) */
};
#define PEER_LIMITS_DEFAULT                                                                        \
    {                                                                                              \
        .connections = 64, .pending = 64, .pending_per_peer = 16, .answer_ms = 60000               \
    }

/* Use other limits than PEER_LIMITS_DEFAULT from now on. */
void peer_server_set_limits(struct peer_server *server, const struct peer_limits *limits);

/* Answer: with an object, which is used up, or, if that is NULL, with err, which is sent as a
 * signed error message. Frees request. Where nobody waits for it any more, or may not, nothing is
 * sent. */
void peer_request_answer(struct peer_request *request, json_t *answer, const struct error *err);

/* The pin of the key that signed it. */
const char *peer_request_pin(const struct peer_request *request);

/* Whether the peer still waits, as far as the kernel knows. */
bool peer_request_is_awaited(const struct peer_request *request);

/* The port it listens on. */
uint16_t peer_server_port(const struct peer_server *server);

/* A copy of the listening socket, close-on-exec: whoever has it can go on listening with
 * peer_server_new_from_socket after this server was freed; connections that come in between wait in
 * the kernel. -1 with STATUS_INTERNAL. Two servers at a time would share the connections. */
int peer_server_dup_socket(const struct peer_server *server, struct error *err);

/* Use another set of trust entries (borrowed) from now on. Not from within a handler. Connections
 * of peers that are not in it are closed, requests that wait dropped; streams go on. */
void peer_server_set_trust(struct peer_server *server, const struct trust *trust);

/* Serve. True: a handler called peer_server_stop, and the answer it gave then has been handed to
 * the kernel (if its connection breaks before, it goes on serving: the peer will ask again). False
 * with STATUS_UNAVAILABLE at the deadline; STATUS_INTERRUPTED when *interrupted (may be NULL;
 * looked at ten times a second) is not 0; STATUS_INTERNAL. It can be run again. */
bool peer_server_run(struct peer_server *server, deadline when,
                     const volatile sig_atomic_t *interrupted, struct error *err);

/* End peer_server_run: from a handler, after its answer; from elsewhere in its thread, at once. */
void peer_server_stop(struct peer_server *server);

/* Whether the answer that will end peer_server_run is on its way: it will, unless that connection
 * breaks first. */
bool peer_server_is_stopping(const struct peer_server *server);

/* Take no new connections; those that are there go on. For good. */
void peer_server_stop_listening(struct peer_server *server);

/* Whether no request waits for its answer and no answer is on its way. */
bool peer_server_is_idle(const struct peer_server *server);

/* The event loop that peer_server_run runs, for what else its thread has to do. */
struct event_base *peer_server_base(const struct peer_server *server);

/* Close everything. NULL is fine. Not from within a handler. */
void peer_server_free(struct peer_server *server);

static inline void cleanup_peer_server(struct peer_server **server)
{
    peer_server_free(*server);
}
#define autopeerserver __attribute__((cleanup(cleanup_peer_server)))

#endif
