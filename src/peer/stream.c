/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * libcurl gives no connection away together with its TLS session, so this asks on its own. The
 * errors are those of a call; its words for what went wrong with a connection are libcurl's codes.
 */
#include "peer/stream.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "peer/client_error.h"
#include "peer/message.h"
#include "peer/relay.h"
#include "peer/sigpipe.h"
#include "peer/stream_answer.h"

#define POLL_MS 100 /* how soon an interruption is seen */
#define DEAD_AFTER_MS 120000
#define KEEPALIVE_S 30

struct peer_stream {
    struct call call; /* its peers and session are used by the SSL and its context */
    SSL_CTX *context;
    SSL *ssl;
    int fd; /* that of the SSL, once there is one */
    deadline when;
};

void peer_stream_tune(int fd)
{
    /* TCP_USER_TIMEOUT, tcp(7): "the maximum amount of time in milliseconds that transmitted data
     * may remain unacknowledged, or buffered data may remain untransmitted (due to zero window
     * size) before TCP will forcibly close the corresponding connection and return ETIMEDOUT". So
     * it also ends a stream whose reader stands still, and must be patient with a QEMU that loads
     * a large device. It is the last resort (postcopy has no lease), as is the keepalive when
     * nothing flows: a network that is silently dead would else keep a stream for a quarter of an
     * hour, or two hours. */
    const int on = 1, dead_after = DEAD_AFTER_MS, idle = KEEPALIVE_S;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_after, sizeof(dead_after));
}

static void cleanup_addresses(struct addrinfo **list)
{
    if (*list)
        freeaddrinfo(*list);
}

static deadline sooner(deadline a, deadline b)
{
    return a < b ? a : b;
}

/* Wait until the socket can do that. */
static CURLcode await(const struct peer_stream *stream, int fd, short events, deadline when)
{
    const volatile sig_atomic_t *interrupted = stream->call.client->interrupted;
    for (;;) {
        int left = deadline_left_ms(when);
        if (interrupted && *interrupted)
            return CURLE_ABORTED_BY_CALLBACK;
        if (left == 0)
            return CURLE_OPERATION_TIMEDOUT;
        struct pollfd item = {.fd = fd, .events = events};
        if (poll(&item, 1, left > 0 && left < POLL_MS ? left : POLL_MS) > 0)
            return CURLE_OK;
    }
}

/* A connection to one address. */
static CURLcode connect_to(const struct peer_stream *stream, const struct addrinfo *address,
                           deadline when, int *result)
{
    int problem = 0;
    socklen_t size = sizeof(problem);
    autoclose int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return CURLE_COULDNT_CONNECT;
    if (connect(fd, address->ai_addr, address->ai_addrlen) < 0) {
        if (errno != EINPROGRESS)
            return CURLE_COULDNT_CONNECT;
        CURLcode code = await(stream, fd, POLLOUT, when);
        if (code != CURLE_OK)
            return code;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &size) < 0 || problem != 0)
            return CURLE_COULDNT_CONNECT;
    }
    *result = steal_fd(&fd);
    return CURLE_OK;
}

/* The first address that answers; each has its share of the time. */
static CURLcode connect_socket(struct peer_stream *stream, deadline when)
{
    const struct peer_client *client = stream->call.client;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list __attribute__((cleanup(cleanup_addresses))) = NULL;
    char service[8];
    int count = 0;
    snprintf(service, sizeof(service), "%u", client->port);
    if (getaddrinfo(client->host, service, &hints, &list) != 0)
        return CURLE_COULDNT_RESOLVE_HOST;
    for (const struct addrinfo *item = list; item; item = item->ai_next)
        count++;
    CURLcode code = CURLE_COULDNT_CONNECT;
    for (const struct addrinfo *item = list; item && count > 0; item = item->ai_next) {
        deadline share = sooner(when, deadline_in_ms(deadline_left_ms(when) / count--));
        code = connect_to(stream, item, share, &stream->fd);
        if (code == CURLE_OK || code == CURLE_ABORTED_BY_CALLBACK)
            break;
    }
    if (code == CURLE_OK)
        peer_stream_tune(stream->fd);
    return code;
}

/* What an operation of OpenSSL's that returned `result` comes to: CURLE_OK: wait, and do it again;
 * CURLE_GOT_NOTHING: the connection has ended; CURLE_SSL_CONNECT_ERROR: TLS is broken. */
static CURLcode wait_for_tls(struct peer_stream *stream, int result, deadline when)
{
    struct call *call = &stream->call;
    int error = SSL_get_error(stream->ssl, result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return await(stream, stream->fd, error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, when);
    unsigned long detail = ERR_peek_last_error();
    const char *reason = detail ? ERR_reason_error_string(detail) : NULL;
    bool ended = error == SSL_ERROR_ZERO_RETURN || error == SSL_ERROR_SYSCALL ||
                 ERR_GET_REASON(detail) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
    snprintf(call->curl_message, sizeof(call->curl_message), "%s",
             reason ? reason : "the connection has ended");
    return ended ? CURLE_GOT_NOTHING : CURLE_SSL_CONNECT_ERROR;
}

static CURLcode connect_tls(struct peer_stream *stream, deadline when)
{
    struct call *call = &stream->call;
    stream->context = tls_context_new(call->client->identity, &call->tls->peers, &call->error);
    if (!stream->context || !relay_prefer_ciphers(stream->context, &call->error))
        return CURLE_SSL_CONNECT_ERROR;
    stream->ssl = SSL_new(stream->context);
    if (!stream->ssl || !tls_session_attach(stream->ssl, &call->tls->session) ||
        SSL_set_fd(stream->ssl, stream->fd) != 1)
        return CURLE_OUT_OF_MEMORY;
    for (;;) {
        ERR_clear_error();
        int result = SSL_connect(stream->ssl);
        if (result == 1)
            return CURLE_OK;
        CURLcode code = wait_for_tls(stream, result, when);
        if (code != CURLE_OK)
            return code == CURLE_GOT_NOTHING ? CURLE_SSL_CONNECT_ERROR : code;
    }
}

/* Bytes of the peer's, up to `size`; *count is 0 at the end of the connection. */
static CURLcode read_some(void *context, void *data, size_t size, size_t *count)
{
    struct peer_stream *stream = context;
    for (;;) {
        ERR_clear_error();
        int result = SSL_read(stream->ssl, data, size > INT_MAX ? INT_MAX : (int)size);
        *count = result > 0 ? (size_t)result : 0;
        if (result > 0)
            return CURLE_OK;
        CURLcode code = wait_for_tls(stream, result, stream->when);
        if (code == CURLE_GOT_NOTHING && stream->call.tls->session.alert_received == 0)
            return CURLE_OK;
        if (code != CURLE_OK)
            return code;
    }
}

static CURLcode write_all(struct peer_stream *stream, const char *data, size_t size)
{
    size_t done = 0;
    while (done < size) {
        size_t count = 0;
        ERR_clear_error();
        if (SSL_write_ex(stream->ssl, data + done, size - done, &count) == 1) {
            done += count;
            continue;
        }
        CURLcode code = wait_for_tls(stream, 0, stream->when);
        if (code == CURLE_GOT_NOTHING) {
            /* The peer may have said why: its alert comes before the end. */
            char byte;
            read_some(stream, &byte, 1, &count);
        }
        if (code != CURLE_OK)
            return code == CURLE_GOT_NOTHING ? CURLE_SEND_ERROR : code;
    }
    return CURLE_OK;
}

static CURLcode send_request(struct peer_stream *stream)
{
    struct call *call = &stream->call;
    if (!tls_exporter(stream->ssl, call->exporter, &call->error) ||
        !message_seal(call->client->identity, call->name, MESSAGE_INITIATOR, call->exporter, "",
                      call->body, &call->request, call->digest, &call->error))
        return CURLE_ABORTED_BY_CALLBACK;
    autofree char *text = string_format("POST /v1/%s HTTP/1.1\r\n"
                                        "Host: %s\r\n"
                                        "Connection: Upgrade\r\n"
                                        "Upgrade: %s\r\n"
                                        "Content-Type: application/jose+json\r\n"
                                        "Content-Length: %zu\r\n\r\n%s",
                                        call->name, call->where, STREAM_PROTOCOL,
                                        strlen(call->request), call->request);
    return text ? write_all(stream, text, strlen(text)) : CURLE_OUT_OF_MEMORY;
}

static CURLcode connect_and_ask(struct peer_stream *stream, struct stream_answer *answer)
{
    deadline connected = sooner(stream->when, deadline_in_ms(CONNECT_TIMEOUT_MS));
    CURLcode code = connect_socket(stream, connected);
    if (code == CURLE_OK)
        code = connect_tls(stream, connected);
    if (code == CURLE_OK)
        code = send_request(stream);
    if (code == CURLE_OK)
        code = stream_answer_read(&stream->call, read_some, stream, answer);
    return code;
}

static bool open_stream(struct peer_stream *stream, struct error *err)
{
    struct call *call = &stream->call;
    struct stream_answer answer = {0};
    autojson json_t *unwanted = NULL;
    if (deadline_left_ms(stream->when) == 0)
        return client_error_no_time(call, err);
    CURLcode code = connect_and_ask(stream, &answer);
    ERR_clear_error();
    if (code != CURLE_OK)
        return client_error_transfer(call, code, err);
    if (answer.status == 101 && answer.upgraded)
        return true;
    if (answer.status != 200)
        return client_error_http(call, answer.status, err);
    return call_open_answer(call, &unwanted, err) &&
           error_set(err, STATUS_PROTOCOL, "%s answered '%s' without making a stream", call->where,
                     call->name);
}

struct peer_stream *peer_stream_open(const struct peer_client *client, json_t *body, deadline when,
                                     struct error *err)
{
    struct error ignored = ERROR_INIT;
    struct sigpipe_guard guard;
    if (!err)
        err = &ignored;
    autopeerstream struct peer_stream *stream = calloc(1, sizeof(*stream));
    if (!stream) {
        error_no_memory(err);
        return NULL;
    }
    stream->fd = -1;
    stream->when = when;
    if (!call_begin(&stream->call, client, STREAM_NAME, body, err))
        return NULL;
    sigpipe_block(&guard);
    bool good = open_stream(stream, err);
    sigpipe_restore(&guard);
    return good ? STEAL(stream) : NULL;
}

SSL *peer_stream_take_ssl(struct peer_stream *stream)
{
    stream->fd = -1;
    return STEAL(stream->ssl);
}

void peer_stream_free(struct peer_stream *stream)
{
    if (!stream)
        return;
    SSL_free(stream->ssl);
    SSL_CTX_free(stream->context);
    if (stream->fd >= 0)
        close(stream->fd);
    call_free(&stream->call);
    free(stream);
}
