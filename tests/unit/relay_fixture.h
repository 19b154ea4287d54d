/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the tests of the relay share: a TLS session over loopback, two relays back to back with a
 * "QEMU" at each end, and streams whose every byte is checked.
 */
#ifndef QML_TESTS_RELAY_FIXTURE_H
#define QML_TESTS_RELAY_FIXTURE_H

#include <pthread.h>

#include "peer/relay.h"
#include "peer_fixture.h"
#include "unit.h"

#define MIB ((uint64_t)1024 * 1024)
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOWER 8 /* times */
#else
#define SLOWER 1
#endif

/* Both ends of one TLS session, handshake done; [0] is the client's, alice's. */
void tls_pair(SSL *pair[2]);
void stream_pair(int pair[2]);

/* One relay in a group of its own between ssl and a new "QEMU", whose socket it returns. */
int relay_of(struct relay_group *group, SSL *ssl, const void *early, size_t early_size);

/* Two of them, back to back. */
struct bridge {
    struct relay_group *near, *far;
    int near_qemu, far_qemu;
};
void bridge_open(struct bridge *bridge, uint64_t rekey_after);
/* Both groups end so within seconds; frees all. */
void bridge_close(struct bridge *bridge, enum relay_outcome near, enum relay_outcome far);
/* The group ends so within seconds, with words in its error; frees it. */
void group_ends(struct relay_group *group, enum relay_outcome wanted, const char *words);

/* Bytes of a stream from offset on. */
void pattern_fill(void *data, size_t length, uint64_t offset);

/* A thread that sends size bytes in pieces of at most `piece` bytes and ends the stream, or that
 * reads and checks until the end. size_read is what it read. */
struct stream {
    int fd;
    uint64_t size, size_read;
    size_t piece;
    pthread_t thread;
};
void sender_start(struct stream *stream, int fd, uint64_t size, size_t piece);
void reader_start(struct stream *stream, int fd);
void stream_join(struct stream *stream);
/* Reads and checks size bytes and then the end, in this thread. */
void must_read(int fd, uint64_t offset, uint64_t size, bool end);
void must_send(int fd, uint64_t offset, uint64_t size);
/* Fill the pipe: send until nothing has been taken for a while. How much was. */
uint64_t send_until_blocked(int fd);

/* What this process has computed, in milliseconds. */
int64_t cpu_ms(void);

#endif
