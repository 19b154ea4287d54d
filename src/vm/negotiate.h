/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Coming to an agreement with all other parties: hello, profile, prove, propose, commit
 * (doc/PROTOCOL.md). When a function here succeeds, this side and all others have the same
 * agreement on disk.
 */
#ifndef QML_VM_NEGOTIATE_H
#define QML_VM_NEGOTIATE_H

#include "base/deadline.h"
#include "vm/exchange.h"

/* A party that is asked, and where; all borrowed. */
struct negotiate_target {
    const struct trust_entry *entry;
    const char *host;
    uint16_t port;
};

/* A host that is not asked: its stored profile counts. All borrowed. */
struct negotiate_stored {
    const struct trust_entry *entry;
    const char *text; /* the envelope */
    const char *what; /* where it comes from: "FILE", "the stored profile of c" */
};

struct negotiate_others {
    const struct negotiate_target *targets;
    size_t target_count;
    const struct negotiate_stored *stored;
    size_t stored_count;
    bool offline_ok; /* the last profile of a target that cannot be reached is good enough */
};

/* What came of it. */
struct negotiated {
    struct exchange exchange; /* agreement, digest, own profile, report */
    char **addresses;         /* under which each of exchange.peers was reached */
    int listener;             /* what negotiate_listen listened on, still open; -1: it did not */
};

#define NEGOTIATED_INIT                                                                            \
    {                                                                                              \
        .listener = -1                                                                             \
    }

void negotiated_free(struct negotiated *negotiated);
#define autonegotiated __attribute__((cleanup(negotiated_free)))

/* Ask all targets, which may not listen yet: tried again until self->when. All or nothing: if one
 * fails, none has an agreement by this, and all that failed are named (in the log, if it is more
 * than one). STATUS_UNAVAILABLE, STATUS_INTERRUPTED and what exchange and peer_call report; a
 * peer's own refusal comes with its name and status. */
bool negotiate_with_peers(const struct exchange_self *self, const struct negotiate_others *others,
                          struct negotiated *result, struct error *err);

/* An agreement that was signed by all and not acknowledged by all, because this side was ended
 * then: send it to each again. True: all have it now, and it is kept here as the agreement.
 * STATUS_UNAVAILABLE and so on: somebody has not, who is named. */
bool negotiate_commit_again(const struct exchange_self *self, json_t *document,
                            const struct negotiate_target *targets, size_t count,
                            struct error *err);

/* Wait at address:port (NULL: all addresses) for a trusted peer that wants to agree about this VM.
 * Others do not use it up; what went wrong with them is logged. At self->when: the status of the
 * last of these errors if there was one, else STATUS_UNAVAILABLE. */
bool negotiate_listen(const struct exchange_self *self, const struct trust *trust,
                      const char *address, uint16_t port, struct negotiated *result,
                      struct error *err);

#endif
