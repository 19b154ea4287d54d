/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The same request to several peers at the same time.
 */
#ifndef QML_PEER_CLIENT_MANY_H
#define QML_PEER_CLIENT_MANY_H

#include "peer/client.h"

/* Connections that stay open from one peer_call_many to the next, one for each peer_ask. */
struct peer_links;
/* NULL for want of memory. */
struct peer_links *peer_links_new(void);
/* Close them; the asks that have used them must not use others. NULL is fine. */
void peer_links_free(struct peer_links *links);

/* In the next peer_call_many with these links: work(context) once, when all have been sent what
 * they are asked and are at it; not at all when that does not come about. Nothing is read from them
 * meanwhile. */
void peer_links_meanwhile(struct peer_links *links, void (*work)(void *context), void *context);

/* One peer's part of it. */
struct peer_ask {
    struct peer_client client; /* its `retryable` is not used: see below */
    json_t *body;              /* what is asked, owned */
    bool skip;                 /* it is not asked */
    /* Filled: */
    json_t *answer; /* owned; NULL: there is none, and error says why */
    struct error error;
    bool retryable;       /* no connection came about: it can be asked again */
    struct call_tls *tls; /* of its connection, the links' own; NULL: it has had none */
};

/* Forget body and answer. */
void peer_ask_clear(struct peer_ask *ask);

/* Ask all that are not to be skipped, each as peer_call does, until `when`. True if each has an
 * answer. False, with STATUS_INTERRUPTED in all that have none, when *interrupted (may be NULL) is
 * not 0. links: NULL: each on a connection of its own. */
bool peer_call_many(struct peer_ask *asks, size_t count, const char *name, deadline when,
                    const volatile sig_atomic_t *interrupted, struct peer_links *links);

#endif
