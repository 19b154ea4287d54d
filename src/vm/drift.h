/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Drift: whether this host can still give a VM the CPU that it agreed on.
 */
#ifndef QML_VM_DRIFT_H
#define QML_VM_DRIFT_H

#include "base/paths.h"
#include "host/config.h"
#include "vm/record.h"

/* Look at this host as it is now, and prove the agreement on it; earlier proofs do not count.
 * record: with which QEMU and arguments it was proven when the VM was launched. Fills *reasons, one
 * line each, empty when the agreement holds; false when that could not be found out: STATUS_CONFIG,
 * STATUS_DATA (the agreement has no proof to compare with, or the record is of another one).
 * digest: of the agreement. *cpu (may be NULL) gets its -cpu for this host, for the caller to free;
 * NULL if there are reasons. */
bool drift_check(const struct paths *paths, const struct config *config,
                 const struct agreement *agreement, const char *digest,
                 const struct vm_record *record, struct strlist *reasons, char **cpu,
                 struct error *err);

#endif
