/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The process that keeps this host's presence in the pool: under a lease that it keeps alive, so
 * that a host that is gone is gone from the pool too. The agent starts it and restarts it.
 */
#ifndef QML_POOL_PUBLISHER_H
#define QML_POOL_PUBLISHER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/strings.h"
#include "host/config.h"
#include "peer/identity.h"

#define PUBLISHER_LEASE_S 20

/* What is published. All pointers are borrowed for the call. */
struct publisher_setup {
    const struct config *config; /* [host] name, [pool] */
    const struct identity *identity;
    const char *address;          /* of this host's agent, or NULL: not known */
    uint16_t port;                /* [pool] address comes before these two */
    const struct strlist *accels; /* "kvm", "tcg" */
    const struct strlist *qemu;   /* versions */
};

struct pool_publisher {
    pid_t pid; /* -1: none */
    int pidfd; /* readable when it has ended: start another after a while */
};

#define POOL_PUBLISHER_INIT                                                                        \
    {                                                                                              \
        .pid = -1, .pidfd = -1                                                                     \
    }

/* Start it. It logs to our standard error, holds none of our other descriptors, tries again for
 * ever when the store is down, and ends on SIGTERM or when we end, with its lease revoked. Only for
 * a process with one thread. STATUS_CONFIG, STATUS_NOT_TRUSTED (files that [pool] names),
 * STATUS_DATA, STATUS_INTERNAL. */
bool pool_publisher_start(const struct publisher_setup *setup, struct pool_publisher *publisher,
                          struct error *err);

/* End it: gracefully, up to 5 s, then for sure. Fine if there is none or it has ended. */
void pool_publisher_stop(struct pool_publisher *publisher);

#endif
