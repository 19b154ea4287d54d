/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a running QEMU has that must be the same where its guest is moved to: machine type, vCPUs,
 * memory, devices. As JSON, so that the destination's can be sent to the source:
 *
 *   {"machine": "pc-q35-7.2", "vcpus": 2, "vcpus_max": 4 (0: not told), "memory": BYTES,
 *    "plugged": BYTES,
 *    "devices": [{"type", "id" (or ""), "at": where it is, as below,
 *                 "features": [virtio features that the device offers], "unknown": how many more}],
 *    "blocks": {name of a RAM block: BYTES}, "blocked": [why it cannot be moved now]}
 *
 * A place does not have names in it that a user may choose: "00:03.0", "00:07.0:03.0" behind a
 * bridge, "00:1f.2 bus 5 unit 0", "" for what has none.
 */
#ifndef QML_MIGRATION_INVENTORY_H
#define QML_MIGRATION_INVENTORY_H

#include "qmp/qmp.h"

/* Read it: a new reference, or NULL with STATUS_UNAVAILABLE or STATUS_PROTOCOL. A few hundred
 * questions, 0.15 s. The guest may run. */
json_t *inventory_read(struct qmp *qmp, struct error *err);

/* Is this, from a peer, exactly such an object, within bounds? STATUS_DATA; `what` is for messages.
 */
bool inventory_check(json_t *json, const char *what, struct error *err);

/* Pure parts, for tests. The blocks of x-query-ramblock's text into an object; false for want of
 * memory. And is this a device whose like must be on the other side? path: in QOM; bus: the path of
 * its bus or "" */
bool inventory_parse_blocks(const char *text, json_t *blocks);
bool inventory_counts(const char *path, const char *type, const char *bus, bool pci);

#endif
