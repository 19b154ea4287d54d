/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which of the presences that the store handed out count. Pure.
 */
#ifndef QML_POOL_MEMBERS_H
#define QML_POOL_MEMBERS_H

#include "peer/trust.h"
#include "pool/etcd_reply.h"
#include "pool/presence.h"
#include "pool/seen.h"

#define POOL_MEMBERS_MAX 1000

/* A host of the pool that is trusted here and says that it is there. */
struct pool_member {
    const struct trust_entry *entry; /* belongs to the trust that was given */
    char *address;                   /* where to ask it: no brackets */
    uint16_t port;
    struct presence presence;
};

struct pool_members {
    struct pool_member *items; /* by name of the trust entry, none twice */
    size_t count;
    size_t ignored;       /* presences that do not count */
    struct strlist notes; /* why, and who is missing: for the user to read, one line each */
};

void pool_members_free(struct pool_members *members);
#define automembers __attribute__((cleanup(pool_members_free)))

struct members_setup {
    const char *folder;    /* "PREFIX/hosts/" */
    const char *host_name; /* of this host, which is no member */
    const char *pin;
    const struct trust *trust;
    int64_t now; /* Unix seconds */
};

/* Check each as if it came from a stranger, and fill *members, which the caller frees. A presence
 * counts if it is well signed, by a pin that is trusted here now, for the host that its key names,
 * not expired, and not older than one in *seen (which is brought up to date) of the same pin. All
 * others are in ->ignored and ->notes. STATUS_INTERNAL: out of memory. */
bool members_choose(const struct etcd_range *range, const struct members_setup *setup,
                    struct seen *seen, struct pool_members *members, struct error *err);

#endif
