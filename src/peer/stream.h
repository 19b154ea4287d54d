/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A connection to a peer that request "stream" has made a stream of bytes in TLS, for the relay.
 */
#ifndef QML_PEER_STREAM_H
#define QML_PEER_STREAM_H

#include <jansson.h>
#include <openssl/ssl.h>

#include "base/deadline.h"
#include "base/error.h"
#include "peer/client.h"

/* The request, and what its headers call the protocol that the connection is upgraded to. */
#define STREAM_NAME "stream"
#define STREAM_PROTOCOL "qemu-migration-stream"

struct peer_stream;

/* Connect and send body (borrowed) as request "stream"; the peer has admitted it when this returns.
 * Errors as peer_call, also that peer's own, and *client->retryable is filled likewise. The name is
 * looked up without regard to the deadline (getaddrinfo). */
struct peer_stream *peer_stream_open(const struct peer_client *client, json_t *body, deadline when,
                                     struct error *err);

/* The TLS session and with it its connected, non-blocking socket (SSL_get_fd), from which nothing
 * has been read beyond the answer: both are the caller's, who calls this once. The stream must
 * outlive the SSL, which uses what lies in it. */
SSL *peer_stream_take_ssl(struct peer_stream *stream);

/* Close what was not taken. NULL is fine. */
void peer_stream_free(struct peer_stream *stream);

/* What a socket that carries a migration needs, on either side. Best effort. */
void peer_stream_tune(int fd);

static inline void cleanup_peer_stream(struct peer_stream **stream)
{
    peer_stream_free(*stream);
}
#define autopeerstream __attribute__((cleanup(cleanup_peer_stream)))

#endif
