/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Private to the relay: a TLS session on a socket that never blocks. OpenSSL is given a BIO that
 * reads and writes memory, so that many records go in one system call, an encryption never stops
 * half-way, and the end of the connection is seen here and not guessed from error codes.
 */
#ifndef QML_PEER_RELAY_WIRE_H
#define QML_PEER_RELAY_WIRE_H

#include "peer/relay.h"

/* Bytes read at once; a relay has four buffers of about this size. Seconds of CPU a GB of the near
 * and the far relay, OpenSSL 3.0, AES-128-GCM at 5 GB/s, loopback (bench-relay): 16 KiB 0.66 and
 * 0.80, 64 KiB 0.43 and 0.46, 128 KiB 0.40 and 0.44, 256 KiB 0.39 and 0.43, 512 KiB 0.39 and 0.39,
 * 1 MiB 0.41 and 0.38. Records written one by one instead: 0.54 and 0.57. */
#define RELAY_CHUNK ((size_t)512 * 1024)

/* Bytes [start, end) are waiting. */
struct relay_buffer {
    uint8_t *data;
    size_t capacity, start, end;
};

static inline bool buffer_is_empty(const struct relay_buffer *buffer)
{
    return buffer->start == buffer->end;
}

/* Send what waits, as far as the socket takes it now. 0, or errno. */
int buffer_send(struct relay_buffer *buffer, int fd);

struct wire {
    SSL *ssl;
    int fd;
    struct relay_buffer in, out; /* encrypted: received, to be sent */
    uint64_t rekey_after, since_rekey;
    bool ended;  /* close_notify has come: no more from the peer */
    bool closed; /* ours is in `out` or sent */
};

/* Take ssl over; out->ssl stays NULL when it fails, and ssl as it was. STATUS_INTERNAL. */
bool wire_open(struct wire *wire, SSL *ssl, uint64_t rekey_after, struct error *err);
/* Closes the descriptor, by reset if so wanted. */
void wire_close(struct wire *wire, bool reset);
/* Frees all. */
void wire_free(struct wire *wire);

/* Each returns RELAY_ENDED when it could do its part, or what went wrong, with err filled. */

/* Encrypt into `out`, which is empty; length <= RELAY_CHUNK. */
enum relay_outcome wire_encrypt(struct wire *wire, const void *data, size_t length,
                                struct error *err);
/* Put close_notify into `out`, which is empty. */
enum relay_outcome wire_end(struct wire *wire, struct error *err);
/* Decrypt as much as there is room for into plain; sets `ended`. */
enum relay_outcome wire_decrypt(struct wire *wire, struct relay_buffer *plain, struct error *err);
/* Read once from the socket. */
enum relay_outcome wire_receive(struct wire *wire, struct error *err);
/* Write to the socket what it takes. If that fails and the peer has said why, it says that. */
enum relay_outcome wire_send(struct wire *wire, struct error *err);
/* The connection has failed with errnum (0: ask the socket): what is to be said about it. */
enum relay_outcome wire_lost(struct wire *wire, int errnum, struct error *err);

#endif
