/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * TLS on a connected socket that blocks, for what stands opposite of the program.
 */
#ifndef QML_TESTS_WIRE_H
#define QML_TESTS_WIRE_H

#include "home.h"
#include "peer/tls.h"

struct fuzz_wire {
    SSL *ssl;
    int fd;
    struct tls_session session;
    char exporter[TLS_EXPORTER_SIZE], pin[PIN_SIZE];
};

/* A connected socket to 127.0.0.1:port. */
int fuzz_connect(uint16_t port);

/* The handshake, as that identity, with whoever is in trust; false if it fails. fd is the wire's.
 * wire must stay where it is. */
bool fuzz_wire_open(struct fuzz_wire *wire, const struct identity *identity,
                    const struct trust *trust, int fd, bool is_server);
void fuzz_wire_write(struct fuzz_wire *wire, const void *data, size_t size);
/* At most size bytes; 0 at the end. */
size_t fuzz_wire_read(struct fuzz_wire *wire, void *data, size_t size);
/* Says that nothing more comes. */
void fuzz_wire_end(struct fuzz_wire *wire);
/* Forgets the connection at once. */
void fuzz_wire_close(struct fuzz_wire *wire);

#endif
