/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Shared by server.c (life and loop), server_listen.c (the socket), server_connection.c (who may
 * stay how long), server_request.c (what is answered), server_deferred.c (what is answered later),
 * server_stream.c (what leaves as a stream) and server_linger.c (who was refused).
 */
#ifndef QML_PEER_SERVER_PRIVATE_H
#define QML_PEER_SERVER_PRIVATE_H

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>

#include "base/digest.h"
#include "base/log.h"
#include "peer/message.h"
#include "peer/server.h"
#include "peer/tls.h"

#define CONNECTION_LIFE_MS 10000 /* to send a request; and again, to take the answer */
#define HEADERS_MAX 8192
#define REQUESTS_MAX 16 /* on a connection that stays; an exchange has 9 at most */
#define LOG_LINES 5     /* about strangers, in each LOG_WINDOW_MS */

/* Who asks: what a connection has to be for a request to count. */
struct asker {
    const struct trust_entry *entry; /* while a request is being read; NULL later */
    char pin[PIN_SIZE];
    char exporter[TLS_EXPORTER_SIZE];
};

struct peer_request {
    struct connection *connection; /* NULL: nobody waits for it any more */
    struct evhttp_request *http;
    struct asker asker;
    char name[MESSAGE_NAME_MAX + 1];
    char digest[DIGEST_HEX_SIZE];
};

struct connection {
    struct tls_session session; /* first: release_connection gets its address */
    struct peer_server *server; /* NULL: it has left as a stream */
    struct connection *newer, *older;
    SSL *ssl;                        /* owned by bufferevent */
    struct bufferevent *bufferevent; /* owned by evhttp */
    struct event *timer;
    deadline life;
    const char *cut;              /* why we cut it, or NULL */
    bool asked;                   /* it has made an authenticated request */
    unsigned requests;            /* how many */
    bool stops_server;            /* its handler called peer_server_stop */
    bool answered;                /* the kernel has the answer to the last one */
    struct peer_request *pending; /* that waits for its answer, or NULL; the handler's */

    json_t *admitted; /* body of its request "stream", until handler.stream or .withdrawn */
    bool taken;       /* the SSL and the socket below are ours; libevent is letting go */
    int socket;       /* under a number that libevent does not know */
    int let_go_fd;    /* readable when it has let go */
    struct event *let_go;
};

struct peer_server {
    struct event_base *base;
    struct evhttp *http;
    struct evhttp_bound_socket *bound;
    SSL_CTX *context;
    struct tls_peers peers;
    const struct identity *identity;
    struct peer_handler handler;
    struct peer_limits limits;
    uint16_t port;

    struct connection *oldest, *newest;
    size_t connection_count;     /* those not cut */
    struct connection *current;  /* whose handler runs */
    size_t stopping;             /* connections with stops_server */
    size_t pending;              /* connections with such a request */
    struct bufferevent *mute;    /* a spare that cannot speak */
    struct lingering *lingering; /* sockets of those who were refused just now */
    size_t lingering_count;

    struct event *tick;
    deadline when;
    const volatile sig_atomic_t *interrupted;
    bool stopped, closing;
    struct error outcome; /* STATUS_OK: none yet */

    struct log_rate log;
};

/* evhttp asks for the bufferevent of each connection that it accepts. Never returns NULL, which
 * would mean plaintext. server_connection.c */
struct bufferevent *server_new_bufferevent(struct event_base *base, void *context);
/* A bufferevent on which nothing can be sent or received; NULL for want of memory. */
struct bufferevent *server_new_mute(struct event_base *base);
/* Give it its time again. */
void connection_restart_life(struct connection *connection);
/* The others could not be served for that long: that is not their fault. */
void server_extend_lives(struct peer_server *server, int64_t milliseconds);
/* One line about a stranger, unless there were many lately. */
void server_log(struct peer_server *server, const char *remote, const char *what);

/* Close it; evhttp frees it then. why: a string constant. */
void connection_cut(struct connection *connection, const char *why);
/* Close those of peers that are not trusted any more. */
void server_close_untrusted(struct peer_server *server);
/* It is no longer one of the server's; what was there for that is freed. */
void connection_detach(struct connection *connection);

/* Keep this socket for a moment, also when fd is closed: its peer has to read why. server_linger.c
 */
void server_linger(struct peer_server *server, int fd);
void server_end_lingering(struct peer_server *server);

/* evhttp's callback for every request. server_request.c */
void server_handle_request(struct evhttp_request *request, void *context);
/* End peer_server_run if this connection's handler wanted that. */
void connection_stop_server(struct connection *connection);
/* Fill asker, whose entry is of now. STATUS_NOT_TRUSTED, STATUS_INTERNAL. */
bool server_identify(struct connection *connection, struct asker *asker, struct error *err);
/* The sealed error, which is small, or NULL for want of memory. */
char *server_seal_error(const struct connection *connection, const struct asker *asker,
                        const char *name, const char *digest, const struct error *problem);
/* The sealed answer, or the sealed error when it cannot be sealed; NULL for want of memory. */
char *server_seal_answer(const struct connection *connection, const struct asker *asker,
                         const char *name, const char *digest, json_t *answer);
/* Send a sealed answer (NULL: there was no memory for it). */
void server_send_sealed(struct evhttp_request *request, struct connection *connection,
                        const char *sealed);

/* Give body (borrowed) to handler.begin, or answer that there is no room. server_deferred.c */
void deferred_begin(struct evhttp_request *http, struct connection *connection,
                    const struct asker *asker, const char *name, const char *digest, json_t *body);
/* The time for the answer is over. */
void deferred_time_out(struct connection *connection);
/* Close a connection that waits for its answer: evhttp does not look at it meanwhile. */
void deferred_drop(struct connection *connection);
/* The connection is going: what waits for it waits in vain. */
void deferred_orphan(struct connection *connection);

/* Whether a list of tokens (RFC 9110 section 5.6.1) has this one, in whatever case; list: NULL:
 * none. server_stream.c */
bool header_has_token(const char *list, const char *token);
/* Whether a request asks for a stream as it should. */
bool stream_is_asked_for(struct evhttp_request *request);
/* The handler has admitted body (borrowed): answer, and make it a stream. */
void stream_start(struct evhttp_request *request, struct connection *connection, json_t *body);
/* Nothing will come of it, if something was to. */
void stream_withdraw(struct connection *connection);
/* Before the server's event base is freed, and after. */
void streams_disarm(struct peer_server *server);
void streams_drop(struct peer_server *server);

#endif
