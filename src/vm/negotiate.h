/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Coming to an agreement with one peer: hello, profile, propose, commit (doc/PROTOCOL.md). When a
 * function here succeeds, this side and the other have the same agreement on disk.
 */
#ifndef QML_VM_NEGOTIATE_H
#define QML_VM_NEGOTIATE_H

#include "base/deadline.h"
#include "vm/exchange.h"

/* What came of it. */
struct negotiated {
    struct exchange exchange; /* agreement, digest, own profile, report */
    char *peer_host;          /* the address under which the peer was reached */
    int listener;             /* what negotiate_listen listened on, still open; -1: it did not */
};

#define NEGOTIATED_INIT                                                                            \
    {                                                                                              \
        .listener = -1                                                                             \
    }

void negotiated_free(struct negotiated *negotiated);
#define autonegotiated __attribute__((cleanup(negotiated_free)))

/* Ask the peer of that trust entry at host:port, which may not listen yet: tried again until
 * self->when. STATUS_UNAVAILABLE, STATUS_INTERRUPTED and what exchange and peer_call report; a
 * peer's own refusal comes with its name and status. */
bool negotiate_with_peer(const struct exchange_self *self, const struct trust_entry *peer,
                         const char *host, uint16_t port, struct negotiated *result,
                         struct error *err);

/* Wait at address:port (NULL: all addresses) for a trusted peer that wants to agree about this VM.
 * Others do not use it up; what went wrong with them is logged. At self->when: the status of the
 * last of these errors if there was one, else STATUS_UNAVAILABLE. */
bool negotiate_listen(const struct exchange_self *self, const struct trust *trust,
                      const char *address, uint16_t port, struct negotiated *result,
                      struct error *err);

#endif
