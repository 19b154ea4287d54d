/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Who may stay, and for how long. evhttp's own time-outs are for each read, so a peer that drips
 * bytes would stay for ever; and a plain limit on connections would let strangers lock honest peers
 * out, so the oldest one that has not authenticated makes room.
 */
#include <event2/bufferevent_ssl.h>
#include <event2/http.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "peer/server_private.h"

void server_log(struct peer_server *server, const char *remote, const char *what)
{
    if (log_rate_take(&server->log, LOG_LINES, "connections were refused"))
        log_info("refused a connection from %s: %s", remote[0] ? remote : "(unknown)", what);
}

static void unlink_connection(struct connection *connection)
{
    struct peer_server *server = connection->server;
    *(connection->older ? &connection->older->newer : &server->oldest) = connection->newer;
    *(connection->newer ? &connection->newer->older : &server->newest) = connection->older;
}

static void link_connection(struct peer_server *server, struct connection *connection)
{
    connection->older = server->newest;
    *(server->newest ? &server->newest->newer : &server->oldest) = connection;
    server->newest = connection;
    server->connection_count++;
}

static void log_end(const struct connection *connection)
{
    const struct tls_session *session = &connection->session;
    char text[160];
    if (session->refusal != TLS_REFUSAL_NONE)
        snprintf(text, sizeof(text), "%s%s%s", tls_refusal_text(session->refusal),
                 session->pin[0] ? ": " : "", session->pin);
    else if (session->alert_received)
        snprintf(text, sizeof(text), "it ended the TLS handshake with alert %d (%s)",
                 session->alert_received, SSL_alert_desc_string_long(session->alert_received));
    else
        snprintf(text, sizeof(text), "%s",
                 connection->cut ? connection->cut : "it did not speak our protocol");
    server_log(connection->server, session->remote, text);
}

/* Called by OpenSSL when the SSL is freed, which is when libevent lets go of the connection. */
static void release_connection(struct tls_session *session)
{
    struct connection *connection = (struct connection *)session;
    struct peer_server *server = connection->server;
    if (!server) { /* a stream, in the hands of others, and perhaps in another thread */
        free(connection);
        return;
    }
    stream_withdraw(connection);
    deferred_orphan(connection);
    if (connection->stops_server) {
        server->stopping--;
        log_info("the last answer did not reach %s: waiting for it to ask again", session->remote);
    }
    if (!connection->asked && !server->closing)
        log_end(connection);
    connection_detach(connection);
    free(connection);
}

static void on_refused(struct tls_session *session, const SSL *ssl)
{
    struct connection *connection = (struct connection *)session;
    if (connection->server && !connection->cut)
        server_linger(connection->server, SSL_get_fd(ssl));
}

void connection_detach(struct connection *connection)
{
    if (!connection->cut)
        connection->server->connection_count--;
    unlink_connection(connection);
    if (connection->timer)
        event_free(connection->timer);
    connection->timer = NULL;
    connection->server = NULL;
}

/* evhttp sees the end of file and frees the connection. */
void connection_cut(struct connection *connection, const char *why)
{
    if (connection->cut)
        return;
    connection->cut = why;
    connection->server->connection_count--;
    int fd = bufferevent_getfd(connection->bufferevent);
    tls_session_note_remote(&connection->session, fd);
    if (fd >= 0)
        shutdown(fd, SHUT_RDWR);
}

static void arm_timer(struct connection *connection)
{
    int left = deadline_left_ms(connection->life);
    const struct timeval wait = {.tv_sec = left / 1000, .tv_usec = left % 1000 * 1000};
    if (event_add(connection->timer, &wait) != 0)
        connection_cut(connection, "out of memory");
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct connection *connection = context;
    if (deadline_left_ms(connection->life) > 0)
        arm_timer(connection);
    else if (connection->pending)
        deferred_time_out(connection);
    else
        connection_cut(connection, "it took too long");
}

void connection_restart_life(struct connection *connection)
{
    connection->life = deadline_in_ms(connection->pending ? connection->server->limits.answer_ms
                                                          : CONNECTION_LIFE_MS);
    arm_timer(connection);
}

void server_extend_lives(struct peer_server *server, int64_t milliseconds)
{
    for (struct connection *item = server->oldest; item; item = item->newer)
        item->life += milliseconds;
}

/* Its key is proven only when the handshake is done: a certificate can be shown by anyone. */
static bool is_authenticated(const struct connection *connection)
{
    return SSL_is_init_finished(connection->ssl) && connection->session.refusal == TLS_REFUSAL_NONE;
}

/* Who makes room first: peers that come in crowds and ask nothing, or not to the end; those that
 * stay for a next request, and can come again; strangers; other peers that have asked nothing yet;
 * those that have not taken their answer, and may ask again. */
enum stay { STAY_CROWD, STAY_IDLE, STAY_STRANGER, STAY_SILENT, STAY_ANSWERED, STAY_FOR_GOOD };

static bool is_silent(const struct connection *connection)
{
    return !connection->asked && !connection->cut && is_authenticated(connection);
}

/* Whether its peer has more silent connections than it may have requests, with all its keys. */
static bool is_one_of_a_crowd(const struct connection *connection)
{
    const struct peer_server *server = connection->server;
    const struct trust_entry *peer =
        server->peers.any ? trust_find_pin(server->peers.any, connection->session.pin) : NULL;
    size_t count = 0;
    for (const struct connection *item = server->oldest;
         peer && item && count <= server->limits.pending_per_peer; item = item->newer)
        count += is_silent(item) && trust_entry_has_pin(peer, item->session.pin);
    return count > server->limits.pending_per_peer;
}

static enum stay stay_of(const struct connection *connection)
{
    if (connection->pending || connection->admitted || connection->stops_server || connection->cut)
        return STAY_FOR_GOOD;
    if (connection->asked)
        return connection->answered ? STAY_IDLE : STAY_ANSWERED;
    if (!is_authenticated(connection))
        return STAY_STRANGER;
    return is_one_of_a_crowd(connection) ? STAY_CROWD : STAY_SILENT;
}

/* False if there is no room, and nobody who must make it. */
static bool make_room(struct peer_server *server)
{
    struct connection *leaves = NULL;
    enum stay least = STAY_FOR_GOOD;
    if (server->connection_count < server->limits.connections)
        return true;
    for (struct connection *item = server->oldest; item && least != STAY_CROWD;
         item = item->newer) {
        enum stay stay = stay_of(item);
        if (stay < least) {
            least = stay;
            leaves = item;
        }
    }
    if (leaves)
        connection_cut(leaves, "it had to make room for others");
    return leaves != NULL;
}

void server_close_untrusted(struct peer_server *server)
{
    struct connection *next;
    for (struct connection *item = server->oldest; item; item = next) {
        next = item->newer;
        if (item->admitted || item->cut || !is_authenticated(item))
            continue;
        const struct trust_entry *entry =
            server->peers.any ? trust_find_pin(server->peers.any, item->session.pin) : NULL;
        if (entry && !trust_entry_is_expired(entry, time(NULL)))
            continue;
        if (item->pending)
            deferred_drop(item);
        else
            connection_cut(item, "its key is no longer trusted here");
    }
}

#define BUFFEREVENT_MEMORY 16384 /* more than one takes */

/* libevent 2.1 does not survive it when memory lacks in the middle of making a bufferevent. That it
 * is there is seen before: what is given back at once is what it takes next. */
static bool has_memory(void)
{
    void *volatile room = malloc(BUFFEREVENT_MEMORY); /* volatile: or the compiler leaves it out */
    bool good = room != NULL;
    free(room);
    return good;
}

static struct bufferevent *new_connection(struct peer_server *server)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    SSL *ssl = SSL_new(server->context);
    if (connection)
        connection->timer = evtimer_new(server->base, on_timer, connection);
    if (!connection || !ssl || !connection->timer || !has_memory() ||
        !tls_session_attach(ssl, &connection->session)) {
        if (connection && connection->timer)
            event_free(connection->timer);
        free(connection);
        SSL_free(ssl);
        ERR_clear_error();
        return NULL;
    }
    /* From here on, freeing the SSL frees the connection. */
    connection->session.release = release_connection;
    connection->session.refused = on_refused;
    connection->server = server;
    connection->ssl = ssl;
    link_connection(server, connection);
    connection->bufferevent = bufferevent_openssl_socket_new(
        server->base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    if (!connection->bufferevent)
        return NULL; /* libevent has freed the SSL */
    /* What a peer sends while it does not take its answer must not pile up. */
    bufferevent_setwatermark(connection->bufferevent, EV_READ, 0, MESSAGE_MAX + 2 * HEADERS_MAX);
    connection_restart_life(connection);
    return connection->bufferevent;
}

struct bufferevent *server_new_mute(struct event_base *base)
{
    struct bufferevent *pair[2];
    if (!has_memory() || bufferevent_pair_new(base, BEV_OPT_CLOSE_ON_FREE, pair) != 0)
        return NULL;
    bufferevent_free(pair[1]);
    return pair[0];
}

/* libevent 2.1: where this returns NULL, evhttp speaks plaintext on the socket. A pair without its
 * other end takes no socket at all (it has no BEV_CTRL_SET_FD), and evhttp closes the connection.
 * The spare is made in advance, since memory is what is short then. */
struct bufferevent *server_new_bufferevent(struct event_base *base, void *context)
{
    struct peer_server *server = context;
    bool room = make_room(server);
    struct bufferevent *bufferevent = room ? new_connection(server) : NULL;
    if (bufferevent)
        return bufferevent;
    server_log(server, "", room ? "out of memory" : "too many connections");
    bufferevent = STEAL(server->mute);
    server->mute = server_new_mute(base);
    if (!server->mute) {
        evhttp_del_accept_socket(server->http, STEAL(server->bound));
        error_no_memory(&server->outcome);
        event_base_loopbreak(base);
    }
    return bufferevent;
}
