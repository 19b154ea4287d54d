/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The same request to several peers at the same time.
 */
#ifndef QML_PEER_CLIENT_MANY_H
#define QML_PEER_CLIENT_MANY_H

#include "peer/client.h"

/* One peer's part of it. */
struct peer_ask {
    struct peer_client client; /* its `retryable` is not used: see below */
    json_t *body;              /* what is asked, owned */
    bool skip;                 /* it is not asked */
    /* Filled: */
    json_t *answer; /* owned; NULL: there is none, and error says why */
    struct error error;
    bool retryable; /* no connection came about: it can be asked again */
};

/* Forget body and answer. */
void peer_ask_clear(struct peer_ask *ask);

/* Ask all that are not to be skipped, each as peer_call does, until `when`. True if each has an
 * answer. False, with STATUS_INTERRUPTED in all that have none, when *interrupted (may be NULL) is
 * not 0. */
bool peer_call_many(struct peer_ask *asks, size_t count, const char *name, deadline when,
                    const volatile sig_atomic_t *interrupted);

#endif
