/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A pool of hosts in an etcd. The store helps hosts to find each other and is not trusted: all that
 * is read is signed by hosts and checked as if it came from a stranger. What a store can do is to
 * be silent, and to hide hosts; the second is said when it is noticed.
 *
 * Keys: PREFIX/hosts/NAME, a presence (pool/presence.h) under a lease; PREFIX/agreements/VM, an
 * agreement's document.
 *
 * A launch with a pool and without --peer, --peer-profile and --listen:
 *   pool_open, pool_members, log each of ->notes, one party for each of ->items (entry, address,
 *   port), pool_close. After the commit: pool_put_agreement; that it failed is a warning.
 */
#ifndef QML_POOL_POOL_H
#define QML_POOL_POOL_H

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>

#include "base/deadline.h"
#include "base/error.h"
#include "host/config.h"
#include "peer/identity.h"
#include "peer/trust.h"
#include "pool/members.h"

#define POOL_DOCUMENT_SIZE_MAX ((size_t)256 << 10)

struct pool;

/* All pointers are borrowed for as long as the pool is open. */
struct pool_setup {
    const struct config *config; /* with a [pool] url: pool_is_configured */
    const struct identity *identity;
    const struct trust *trust;
    const char *state_folder;
    const volatile sig_atomic_t *interrupted; /* not 0: give up; may be NULL */
};

bool pool_is_configured(const struct config *config);

/* Read the files that [pool] names; nothing is asked yet. NULL with STATUS_CONFIG,
 * STATUS_NOT_TRUSTED (a file that others can read or change), STATUS_DATA, STATUS_INTERNAL. */
struct pool *pool_open(const struct pool_setup *setup, struct error *err);
void pool_close(struct pool *pool);

static inline void cleanup_pool(struct pool **pool)
{
    pool_close(*pool);
}
#define autopool __attribute__((cleanup(cleanup_pool)))

/* All live hosts of the pool but this one. *members is for the caller to free with
 * pool_members_free; what was seen is kept in STATE/pool. STATUS_UNAVAILABLE: no endpoint answers
 * until `when`, each is named; STATUS_NOT_TRUSTED: TLS or etcd's own users; STATUS_DATA: what
 * answers is no etcd, more than POOL_MEMBERS_MAX hosts; STATUS_PROTOCOL, STATUS_CANNOT_WRITE,
 * STATUS_CONFIG, STATUS_INTERRUPTED, STATUS_INTERNAL. */
bool pool_members(struct pool *pool, deadline when, struct pool_members *members,
                  struct error *err);

/* Who can tell whether a document from the store is a good one of the VM, and when it was issued
 * (Unix seconds). */
struct pool_judge {
    bool (*good)(void *context, json_t *document, int64_t *issued);
    void *context;
};

/* Put the VM's agreement (borrowed; `issued` says when it was made) into the pool. A good one that
 * is newer stays: STATUS_INCOMPATIBLE. Anything else that is there is replaced. Also what
 * pool_members reports. */
bool pool_put_agreement(struct pool *pool, const char *vm, json_t *document, int64_t issued,
                        struct pool_judge judge, deadline when, struct error *err);

/* The VM's agreement as the store has it: a JSON object and nothing more is known about it; the
 * caller checks it like a stranger's (agreement_document_open, a party that is trusted here, the
 * VM's name in it). *document = NULL and true when there is none. Errors as pool_members. */
bool pool_find_agreement(struct pool *pool, const char *vm, deadline when, json_t **document,
                         struct error *err);

#endif
