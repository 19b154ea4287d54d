/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The source's end of the migration stream: QEMU connects to a local socket here, once for its main
 * channel and then for each one of multifd, and every connection is carried to the guardian in TLS.
 */
#ifndef QML_MIGRATION_STREAMS_H
#define QML_MIGRATION_STREAMS_H

#include "migration/orders.h"
#include "peer/client.h"
#include "peer/relay.h"

struct migration_streams;

/* Listen at path (removed first, and at the end) with a thread that takes QEMU's connections, at
 * most `channels` of them, strictly one after the other: the main channel is to be there first.
 * client and key are borrowed until migration_streams_free; of client, interrupted and retryable do
 * not count. NULL with STATUS_CANNOT_WRITE, STATUS_INTERNAL. */
struct migration_streams *migration_streams_new(const char *path, int channels,
                                                const struct peer_client *client,
                                                const struct order_key *key, struct error *err);

/* Whether one could not be opened, or has failed; err says why then. */
bool migration_streams_failed(struct migration_streams *streams, struct error *err);

/* Cut all of them, without a farewell, and take no more. QEMU learns of it at once. From any
 * thread.
 */
void migration_streams_stop(struct migration_streams *streams);

/* Stops, within a second or so, and frees. NULL is fine. */
void migration_streams_free(struct migration_streams *streams);

#endif
