/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The parts of the receive command.
 */
#ifndef QML_CLI_CMD_RECEIVE_H
#define QML_CLI_CMD_RECEIVE_H

#include "cli/cmd_launch.h"

/* All that receiving a VM gathers; owned. */
struct receive {
    struct launch launch;
    const char *vm;
    const char *from;               /* --from */
    const struct trust_entry *peer; /* borrowed from launch.trust */
    char *peer_host;                /* its agent's address */
    uint16_t peer_port;
    deadline when;               /* of what is asked of the peer */
    struct launch_known fetched; /* the agreement that the peer has */
    struct strlist argv;         /* the peer's command line; empty: not told */
    struct strlist left_out;     /* what is not told of it */
    struct visible_list visible; /* what a guest sees of it */
    char *qemu;                  /* the peer's QEMU version, "" if it does not say */
    bool is_party;               /* this host has signed the agreement */
    bool store;                  /* the agreement is to be stored here */
};

/* cmd_receive_fetch.c: ask the peer for the agreement and its command line. What peer_call reports;
 * STATUS_DATA. */
bool receive_fetch(struct receive *receive, struct error *err);
/* Whether the agreement counts here: who signed it, when, what this host has about the VM already.
 * STATUS_NOT_TRUSTED, STATUS_INCOMPATIBLE. */
bool receive_check(struct receive *receive, struct error *err);
/* Tell the peer that a destination waits here for its guest. */
bool receive_announce(const struct receive *receive, struct error *err);

/* cmd_receive_pool.c: without --from: fill peer, peer_host and peer_port with who has the VM, by
 * the pool and those in it. STATUS_UNAVAILABLE: nobody; STATUS_DECISION: several; STATUS_USAGE:
 * there is no pool; what pool_members reports. */
bool receive_find_in_pool(struct receive *receive, struct error *err);

/* cmd_receive_propose.c: without a command line of this host's own: the one that it might be, to
 * standard output. Always false: STATUS_USAGE with what to do, or why there is none. */
bool receive_propose(struct receive *receive, struct error *err);

#endif
