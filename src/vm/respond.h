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

/* The parts of commit, for one who may not know its exchange any more. The body's exchange
 * (borrowed), document (borrowed) and what is in that, signed by all; pin: of who proposed it, or
 * NULL. */
bool respond_open_commit(json_t *body, const char **id, json_t **document,
                         struct agreement *agreement, char digest[DIGEST_HEX_SIZE],
                         char pin[PIN_SIZE], struct error *err);
/* Onto the disk with it, if it was approved here within the last hour; one that is there already is
 * good, too. STATUS_PROTOCOL. */
bool respond_keep(const struct paths *paths, const char *vm, json_t *document, const char *digest,
                  struct error *err);
json_t *respond_committed(const char *id, const char *digest, struct error *err);

#endif
