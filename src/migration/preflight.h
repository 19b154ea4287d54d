/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Before `migrate`: is the machine that waits at the destination the guest's? Pure, from the
 * inventories of both. An extra device, vCPU or piece of memory at the destination is silent in
 * QEMU (measured, 7.2 and 10.0), one at the source fails after all memory was copied.
 */
#ifndef QML_MIGRATION_PREFLIGHT_H
#define QML_MIGRATION_PREFLIGHT_H

#include "migration/inventory.h"

/* Every difference that counts, and what keeps the source's guest from being moved, as a line for a
 * person each, into *findings (emptied first). The inventories must have passed inventory_check or
 * come from inventory_read. names: of the source's and the destination's host.
 *
 * Into *warnings (emptied first): virtio features that only the destination offers, but for those
 * of which a running guest notices at once, which are findings. A running guest
 * keeps what it has accepted, so it can go there; a driver that starts anew there accepts the new
 * ones, too, and the source's host refuses it from then on (virtio_load in QEMU 7.2 and 10.0
 * hw/virtio/virtio.c: "Features … unsupported"). False for want of memory. */
bool preflight_find(const json_t *source, const json_t *destination, const char *const names[2],
                    struct strlist *findings, struct strlist *warnings);

/* The findings as an error: STATUS_INCOMPATIBLE with all of them in one line. */
bool preflight_check(const json_t *source, const json_t *destination, const char *const names[2],
                     struct error *err);

#endif
