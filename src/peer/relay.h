/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The relay: carries one channel of a migration both ways between QEMU, on a local socket, and the
 * peer, in TLS. Each direction ends on its own (shutdown(SHUT_WR) here, close_notify there), and
 * bytes wait in a bounded buffer while the end that should take them does not.
 *
 * What QEMU made of the stream only QEMU can say (QMP): that a relay has ended well means that all
 * bytes were handed over in both directions, no more.
 */
#ifndef QML_PEER_RELAY_H
#define QML_PEER_RELAY_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Relays in one group: QEMU's main channel, and as many for multifd as anybody uses. */
#define RELAY_GROUP_MAX 64

struct relay_ends {
    int qemu; /* a connected stream socket */
    SSL *ssl; /* on a connected socket (SSL_get_fd), handshake done, nothing half written */
    /* What was decrypted of the peer's stream before, such as what followed an HTTP upgrade; NULL
     * if nothing was. What the SSL itself has read ahead stays in it and is not lost. */
    const void *early;
    size_t early_size; /* bytes */
    /* QEMU may close its end before it has taken everything, and that is its end: what still comes
     * from the peer is read and dropped. A destination does so with multifd's channels (10.0, from
     * 7.2: one migration in twenty). */
    bool qemu_may_close;
    uint64_t rekey_after; /* new TLS keys after so many bytes sent; 0: RELAY_REKEY_BYTES */
};

/* AES-GCM is good for 2^24.5 records of 16 KiB, 388 GB (RFC 8446 section 5.5), and OpenSSL does not
 * count; a guest may be larger than that. */
#define RELAY_REKEY_BYTES (UINT64_C(64) << 30)

enum relay_outcome {
    RELAY_ENDED,          /* both ends have ended and everything was handed over */
    RELAY_STOPPED,        /* by relay_stop or the descriptor */
    RELAY_QEMU_FAILED,    /* QEMU's socket: reset, or closed before it took everything */
    RELAY_PEER_TRUNCATED, /* the peer closed the connection without close_notify */
    RELAY_PEER_LOST,      /* the connection was reset or timed out */
    RELAY_PEER_ALERT,     /* the peer sent a fatal TLS alert */
    RELAY_PEER_GARBLED,   /* the peer sent what is no TLS of this session; it was sent an alert */
    RELAY_BROKEN,         /* our own fault, or out of memory */
};

/* Bytes of QEMU's stream that were handed over to the other end's socket. */
struct relay_counts {
    uint64_t to_peer, from_peer;
};

struct relay;

/* A relay between two ends. It owns both descriptors and the SSL, whose BIO it replaces, and closes
 * them also when this fails; they are blocking or not, as you like. stop_fd (or -1) is borrowed
 * until relay_run returns: the relay stops when it becomes readable, and does not read it. The
 * SSL's session (tls.h) must live until relay_free. NULL with STATUS_INTERNAL for wrong ends or
 * want of memory or descriptors. */
struct relay *relay_new(const struct relay_ends *ends, int stop_fd, struct error *err);

/* Carry bytes until both ends have ended, one has failed, or a stop. To be called once. Both
 * descriptors are closed at the end: by reset after a stop or when QEMU failed, so that the peer
 * learns of it also while its own QEMU stalls. err: for RELAY_ENDED nothing, for RELAY_STOPPED
 * STATUS_INTERRUPTED, if TLS was broken STATUS_PROTOCOL, for RELAY_BROKEN STATUS_INTERNAL, else
 * STATUS_UNAVAILABLE. */
enum relay_outcome relay_run(struct relay *relay, struct error *err);

/* Make relay_run return within milliseconds, or at once if it comes later. From any thread or
 * signal handler, any number of times, until relay_free. */
void relay_stop(struct relay *relay);

/* How far it is; from any thread, until relay_free. */
struct relay_counts relay_counts(const struct relay *relay);

/* Free a relay that does not run; NULL is nothing. */
void relay_free(struct relay *relay);

/* Prefer the cipher that is fastest for much data, on either side and before the handshake:
 * AES-128-GCM if both CPUs have instructions for it, else ChaCha20. STATUS_INTERNAL. */
bool relay_prefer_ciphers(SSL_CTX *context, struct error *err);

/* A group: the relays of one migration, a thread each. One that fails stops all others, since QEMU
 * can do nothing with the rest and could wait for it for ever. */
struct relay_group;

/* An empty group; stop_fd (or -1) is borrowed until relay_group_free. NULL with STATUS_INTERNAL. */
struct relay_group *relay_group_new(int stop_fd, struct error *err);

/* Start one more relay; the ends are taken as by relay_new, also when it fails. In a group that has
 * been stopped or where one has failed it ends at once. STATUS_INTERNAL, also if there are
 * RELAY_GROUP_MAX. */
bool relay_group_add(struct relay_group *group, const struct relay_ends *ends, struct error *err);

/* A descriptor to poll: readable when a relay has ended, for whatever reason, since the last
 * relay_group_running. It belongs to the group; not to be read. */
int relay_group_fd(const struct relay_group *group);

/* How many relays still run; *failed becomes true if one has not ended well. */
size_t relay_group_running(struct relay_group *group, bool *failed);

/* The sums; from any thread. */
struct relay_counts relay_group_counts(struct relay_group *group);

/* Stop all, those that are added later too. From any thread. */
void relay_group_stop(struct relay_group *group);

/* Wait until all have ended. What ended first without success is the outcome, and err says why;
 * RELAY_ENDED if all ended well. Once this has returned, nothing may be added. */
enum relay_outcome relay_group_join(struct relay_group *group, struct error *err);

/* Stops and joins what still runs; NULL is nothing. */
void relay_group_free(struct relay_group *group);

#endif
