/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the tests of peer/ share: three identities, a server of bob's in a thread, and a raw TLS
 * client and server that say whatever a test wants.
 */
#ifndef QML_TESTS_PEER_FIXTURE_H
#define QML_TESTS_PEER_FIXTURE_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>

#include "peer/client.h"
#include "peer/server.h"
#include "peer/tls.h"

extern struct identity *alice, *bob, *mallory;
/* bob as alice trusts him, alice as bob trusts her. A test may change them. */
extern struct trust_entry entry_of_bob, entry_of_alice;

void peer_fixture_setup(void); /* unchecked: once a test case */
void peer_fixture_teardown(void);

/* bob's server, in a thread. Requests: echo, fail (status 12), huge, stop, vanish (stop, with a
 * body that is given back). */
struct bobs_server {
    struct peer_server *server;
    struct trust trust;
    pthread_t thread;
    volatile sig_atomic_t interrupted;
    deadline when;
    bool result;
    struct error err;
    volatile int calls;
    volatile unsigned pause_ms; /* between having a request and answering it */
    char remote[64], peer[65];
};

void bob_start(struct bobs_server *bob_, deadline when);
/* Interrupt it, wait for its end and free it. */
void bob_stop(struct bobs_server *bob_);
/* Wait for its own end. */
void bob_join(struct bobs_server *bob_);

/* alice asks; the port is bob's or any. */
bool alice_asks(uint16_t port, const char *name, json_t **answer, struct error *err);
/* It works: alice is still served. */
void alice_is_served(const struct bobs_server *bob_);

/* A TCP connection to 127.0.0.1. */
int tcp_connect(uint16_t port);
/* A listening socket on 127.0.0.1 that nobody accepts from. */
int tcp_listen(uint16_t *port);
/* A TLS connection to bob as `identity` (NULL: without a certificate), or NULL. */
SSL *tls_connect(const struct identity *identity, uint16_t port, int *alert);
void tls_close(SSL *ssl);
/* Write text, read to the end; what was read, for the caller to free; "" for nothing. */
char *tls_talk(SSL *ssl, const char *text);
/* A POST request for a body. */
char *http_post(const char *name, const char *body);

/* One connection to a server with bob's key, which is sent `reply` and closed. %s in reply: the
 * body that `seal` makes, if not NULL. */
struct fake_bob {
    const char *reply;
    char *(*seal)(SSL *ssl, const char *request_body);
    bool deaf; /* close right after the handshake */
    uint16_t port;
    int fd;
    pthread_t thread;
};
void fake_start(struct fake_bob *fake);
void fake_join(struct fake_bob *fake);

#endif
