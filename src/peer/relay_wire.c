/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "peer/relay_wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

#define RECORD_DATA 16384
#define RECORD_OVERHEAD 256 /* RFC 8446 section 5.2; 22 in fact */
#define OUT_SPARE 4096      /* an alert, a KeyUpdate, close_notify */
#define OUT_SIZE (RELAY_CHUNK + (RELAY_CHUNK / RECORD_DATA + 1) * RECORD_OVERHEAD + OUT_SPARE)
#define EXPLAIN_READS 16

/* The one thing here that belongs to the whole process. */
static CRYPTO_ONCE method_once = CRYPTO_ONCE_STATIC_INIT;
static BIO_METHOD *method;

static int bio_write(BIO *bio, const char *data, int length)
{
    struct wire *wire = BIO_get_data(bio);
    struct relay_buffer *out = &wire->out;
    BIO_clear_retry_flags(bio);
    if (length <= 0 || (size_t)length > out->capacity - out->end)
        return -1;
    memcpy(out->data + out->end, data, (size_t)length);
    out->end += (size_t)length;
    return length;
}

static int bio_read(BIO *bio, char *data, int length)
{
    struct wire *wire = BIO_get_data(bio);
    struct relay_buffer *in = &wire->in;
    BIO_clear_retry_flags(bio);
    if (length <= 0)
        return 0;
    if (buffer_is_empty(in)) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t n = in->end - in->start < (size_t)length ? in->end - in->start : (size_t)length;
    memcpy(data, in->data + in->start, n);
    in->start += n;
    return (int)n;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    const struct wire *wire = BIO_get_data(bio);
    if (command == BIO_CTRL_FLUSH)
        return 1;
    if (command != BIO_C_GET_FD || !wire)
        return 0;
    if (pointer)
        *(int *)pointer = wire->fd;
    return wire->fd;
}

static void make_method(void)
{
    int index = BIO_get_new_index();
    method = index < 0 ? NULL
                       : BIO_meth_new(index | BIO_TYPE_SOURCE_SINK | BIO_TYPE_DESCRIPTOR, "relay");
    if (method && (!BIO_meth_set_write(method, bio_write) || !BIO_meth_set_read(method, bio_read) ||
                   !BIO_meth_set_ctrl(method, bio_control))) {
        BIO_meth_free(method);
        method = NULL;
    }
}

static BIO *new_bio(struct wire *wire)
{
    if (CRYPTO_THREAD_run_once(&method_once, make_method) != 1 || !method)
        return NULL;
    BIO *bio = BIO_new(method);
    if (!bio)
        return NULL;
    BIO_set_data(bio, wire);
    BIO_set_init(bio, 1);
    return bio;
}

bool wire_open(struct wire *wire, SSL *ssl, uint64_t rekey_after, struct error *err)
{
    wire->in.data = malloc(wire->in.capacity = RELAY_CHUNK);
    wire->out.data = malloc(wire->out.capacity = OUT_SIZE);
    BIO *bio = wire->in.data && wire->out.data ? new_bio(wire) : NULL;
    if (!bio) {
        ERR_clear_error();
        return error_no_memory(err);
    }
    wire->fd = SSL_get_fd(ssl);
    wire->rekey_after = rekey_after ? rekey_after : RELAY_REKEY_BYTES;
    /* Whatever the SSL's last owner wanted: here a write is whole, and read-ahead is ours. */
    SSL_clear_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS);
    SSL_set_read_ahead(ssl, 0);
    BIO_set_close(SSL_get_rbio(ssl), BIO_NOCLOSE); /* replaced, it would close our socket */
    BIO_set_close(SSL_get_wbio(ssl), BIO_NOCLOSE);
    SSL_set_bio(ssl, bio, bio);
    wire->ssl = ssl;
    /* TCP's buffers are left to the kernel: a size that is set is a size that no longer grows. The
     * guest stands still while the last small messages go to and fro. Not all sockets are TCP,
     * hence no check. */
    const int on = 1;
    setsockopt(wire->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return true;
}

void wire_close(struct wire *wire, bool reset)
{
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    if (wire->fd < 0)
        return;
    if (reset)
        setsockopt(wire->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(wire->fd);
    wire->fd = -1;
}

void wire_free(struct wire *wire)
{
    wire_close(wire, true);
    SSL_free(wire->ssl);
    free(wire->in.data);
    free(wire->out.data);
}

/* What OpenSSL's failure means: the peer's alert, its bytes, or us. */
static enum relay_outcome tls_failure(struct error *err)
{
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_REASON(code);
    bool is_ssl = ERR_GET_LIB(code) == ERR_LIB_SSL;
    const char *text = code ? ERR_reason_error_string(code) : NULL;
    enum relay_outcome outcome = RELAY_PEER_GARBLED;
    if (is_ssl && reason > SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256) {
        int alert = reason - SSL_AD_REASON_OFFSET;
        outcome = RELAY_PEER_ALERT;
        error_set(err, STATUS_PROTOCOL,
                  "the other host ended the migration stream with TLS alert %d (%s)", alert,
                  SSL_alert_desc_string_long(alert));
    } else if (!is_ssl || reason == ERR_R_MALLOC_FAILURE || reason == ERR_R_INTERNAL_ERROR) {
        outcome = RELAY_BROKEN;
        error_set(err, STATUS_INTERNAL, "OpenSSL failed in the migration stream: %s",
                  text ? text : "for no reason given");
    } else {
        error_set(err, STATUS_PROTOCOL, "the migration stream from the other host was damaged: %s",
                  text ? text : "no TLS");
    }
    ERR_clear_error();
    return outcome;
}

/* New keys for our direction; the peer's direction is its own affair. */
static bool rekey(struct wire *wire)
{
    wire->since_rekey = 0;
    return SSL_key_update(wire->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 &&
           SSL_do_handshake(wire->ssl) == 1;
}

enum relay_outcome wire_encrypt(struct wire *wire, const void *data, size_t length,
                                struct error *err)
{
    size_t written = 0;
    ERR_clear_error();
    if (wire->since_rekey >= wire->rekey_after && !rekey(wire))
        return tls_failure(err);
    wire->since_rekey += length;
    if (SSL_write_ex(wire->ssl, data, length, &written) != 1 || written != length)
        return tls_failure(err);
    return RELAY_ENDED;
}

enum relay_outcome wire_end(struct wire *wire, struct error *err)
{
    ERR_clear_error();
    wire->closed = true;
    return SSL_shutdown(wire->ssl) < 0 ? tls_failure(err) : RELAY_ENDED;
}

enum relay_outcome wire_decrypt(struct wire *wire, struct relay_buffer *plain, struct error *err)
{
    ERR_clear_error();
    while (plain->end < plain->capacity) {
        size_t n = 0;
        if (SSL_read_ex(wire->ssl, plain->data + plain->end, plain->capacity - plain->end, &n) ==
            1) {
            plain->end += n;
            continue;
        }
        switch (SSL_get_error(wire->ssl, 0)) {
        case SSL_ERROR_WANT_READ:
            return RELAY_ENDED;
        case SSL_ERROR_ZERO_RETURN:
            wire->ended = true;
            return RELAY_ENDED;
        default:
            return tls_failure(err);
        }
    }
    return RELAY_ENDED;
}

enum relay_outcome wire_receive(struct wire *wire, struct error *err)
{
    struct relay_buffer *in = &wire->in;
    if (buffer_is_empty(in))
        in->start = in->end = 0;
    /* OpenSSL takes all there is before it asks for more, so this is empty. */
    ssize_t n = recv(wire->fd, in->data + in->end, in->capacity - in->end, MSG_DONTWAIT);
    if (n > 0)
        in->end += (size_t)n;
    else if (n == 0) {
        error_set(err, STATUS_UNAVAILABLE,
                  "the other host closed the connection before the migration stream ended");
        return RELAY_PEER_TRUNCATED;
    } else if (errno != EAGAIN && errno != EINTR)
        return wire_lost(wire, errno, err);
    return RELAY_ENDED;
}

int buffer_send(struct relay_buffer *buffer, int fd)
{
    while (!buffer_is_empty(buffer)) {
        ssize_t n = send(fd, buffer->data + buffer->start, buffer->end - buffer->start,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return 0;
        if (n < 0 && errno != EINTR)
            return errno;
        if (n > 0)
            buffer->start += (size_t)n;
    }
    buffer->start = buffer->end = 0;
    return 0;
}

enum relay_outcome wire_lost(struct wire *wire, int errnum, struct error *err)
{
    socklen_t size = sizeof(errnum);
    if (errnum == 0)
        getsockopt(wire->fd, SOL_SOCKET, SO_ERROR, &errnum, &size);
    error_set_errno(err, STATUS_UNAVAILABLE, errnum ? errnum : ECONNRESET,
                    "the connection to the other host was lost");
    return RELAY_PEER_LOST;
}

/* A peer that refuses our bytes sends an alert, closes, and our next write is what fails first. The
 * alert may lie behind data, which is of no use to anybody any more. */
static enum relay_outcome explain(struct wire *wire, int errnum, struct error *err)
{
    enum relay_outcome lost = wire_lost(wire, errnum, err);
    autofree uint8_t *scratch = malloc(RELAY_CHUNK);
    for (int i = 0; scratch && i < EXPLAIN_READS; i++) {
        struct error said = ERROR_INIT;
        struct relay_buffer plain = {.data = scratch, .capacity = RELAY_CHUNK};
        enum relay_outcome outcome = wire_decrypt(wire, &plain, &said);
        if (outcome == RELAY_PEER_ALERT) {
            *err = said;
            return outcome;
        }
        if (outcome != RELAY_ENDED || wire->ended)
            break;
        if (plain.end < plain.capacity) {
            if (wire_receive(wire, &said) != RELAY_ENDED || buffer_is_empty(&wire->in))
                break;
        }
    }
    return lost;
}

enum relay_outcome wire_send(struct wire *wire, struct error *err)
{
    int errnum = buffer_send(&wire->out, wire->fd);
    return errnum == 0 ? RELAY_ENDED : explain(wire, errnum, err);
}
