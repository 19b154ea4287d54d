/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One request to a peer: POST https://HOST:PORT/v1/NAME over a TLS connection of its own.
 */
#ifndef QML_PEER_CLIENT_H
#define QML_PEER_CLIENT_H

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/deadline.h"
#include "base/error.h"
#include "peer/identity.h"
#include "peer/trust.h"

/* Whom to ask, and as whom. All pointers are borrowed. */
struct peer_client {
    const struct identity *identity;
    const struct trust_entry *peer; /* the only one that may answer */
    const char *host;               /* name or literal, IPv6 without brackets */
    uint16_t port;
    const volatile sig_atomic_t *interrupted; /* not 0: give up; may be NULL */
    /* Filled by every call if not NULL: whether no connection came about (refused, no route,
     * name unknown, no answer to the handshake): nothing was asked, the call can be made again. */
    bool *retryable;
};

/* Send body (borrowed) as request name ([a-z]{1,16}) and wait for the answer until `when`. *answer
 * is a new reference. STATUS_UNAVAILABLE: not reachable, gone before it answered, or not in
 * time; STATUS_NOT_TRUSTED: the key there is not the trusted one (or its entry has expired), or the
 * peer does not trust ours; STATUS_PROTOCOL: what is there does not speak our protocol;
 * STATUS_DATA: the answer is malformed or badly signed; STATUS_INTERRUPTED; STATUS_INTERNAL. A peer
 * that answers with an error: its status, and its words after the name of its trust entry. */
bool peer_call(const struct peer_client *client, const char *name, json_t *body, deadline when,
               json_t **answer, struct error *err);

/* The pin of the certificate that is shown at that address: to be shown to a person, for the key
 * has not proven itself, nor is it trusted. client->peer is not used. Nothing is sent but the
 * beginning of a TLS handshake, without a certificate of ours. Errors as peer_call. */
bool peer_learn_pin(const struct peer_client *client, deadline when, char pin[PIN_SIZE],
                    struct error *err);

#endif
