/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the tests of streams share: bob's server with a handler that admits.
 */
#ifndef QML_TESTS_STREAM_FIXTURE_H
#define QML_TESTS_STREAM_FIXTURE_H

#include <fcntl.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "base/json.h"
#include "peer/stream.h"
#include "relay_fixture.h"

#define UPGRADE "Connection: Upgrade\r\nUpgrade: qemu-migration-stream\r\n"

/* bob, in a thread; a body with "refuse" is refused. */
struct host {
    struct peer_server *server;
    struct trust trust;
    pthread_t thread;
    volatile sig_atomic_t interrupted;
    uint16_t port;
    bool result;
    struct error err;
    char remote[64], peer[65];

    volatile bool hold; /* the next admit posts `asked` and waits for `go_on` */
    volatile bool stop; /* admit calls peer_server_stop */
    volatile bool drop; /* streams are closed at once */
    int last_stream;    /* after so many, peer_server_stop; 0: never */
    sem_t asked, go_on;
    sem_t over; /* posted for each stream and withdrawal */
    SSL *ssl;   /* the last stream, for host_takes */
    _Atomic int admits, streams, withdrawals;
};

/* admits: whether it has streams. */
void host_start(struct host *host, bool admits);
/* The same with a listening socket, which it owns. */
void host_start_on(struct host *host, bool admits, int fd);
/* Interrupt it, wait for its end and free it. */
void host_stop(struct host *host);
/* Free a server that has ended. */
void host_free(struct host *host);
/* Wait for so many streams and withdrawals. */
void host_waits(struct host *host, int count);
/* The next stream. */
SSL *host_takes(struct host *host);

/* alice as a client of it. */
struct peer_client client_of(const struct host *host);
struct peer_stream *must_open(const struct peer_client *client);

/* alice's sealed POST with more headers, and with bytes behind it. */
char *sealed_request(SSL *ssl, const char *name, const char *headers, const char *behind);

int count_fds(void);
/* There are so many again within seconds: the server's thread lets go of its own. */
void fds_become(int count);

/* Each file adds its tests. */
void add_end_tests(TCase *tcase);
void add_answer_tests(TCase *tcase);

#endif
