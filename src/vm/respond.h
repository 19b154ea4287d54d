/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The side that is asked: what it answers to each request of one exchange. Used by a launch that
 * listens (negotiate_listen.c) and by the agent (responder.c).
 */
#ifndef QML_VM_RESPOND_H
#define QML_VM_RESPOND_H

#include "vm/exchange.h"

struct respond {
    struct exchange exchange; /* begun, with hello taken or to be taken; self == NULL: none */
    bool fatal;               /* the last failure was this side's own fault: no peer can help */
    bool cancelled;           /* the peer gave up; `reason` says why */
    struct error reason;
};

/* "profile", "prove", "propose", "commit" or "cancel" for this exchange. A new reference, or NULL
 * with what exchange.h says; STATUS_PROTOCOL for other names. */
json_t *respond_to(struct respond *respond, const char *name, json_t *body, struct error *err);

/* commit, whatever is known of its exchange: the agreement that was approved here, and is signed by
 * all, goes to disk before it is acknowledged; one that is there already is acknowledged again.
 * *fresh: it was stored now. *vm (may be NULL) gets the VM's name, for the caller to free.
 * peer: who sends it, NULL if that is known to be the one who proposed it. STATUS_PROTOCOL: it was
 * not approved here; STATUS_NOT_TRUSTED: by one who is no party. */
json_t *respond_to_commit(const struct paths *paths, const struct trust_entry *peer, json_t *body,
                          char **vm, char digest[DIGEST_HEX_SIZE], bool *fresh, struct error *err);

#endif
