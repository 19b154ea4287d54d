/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a person at the destination decides, over the guardian's local socket: `migrate VM
 * --resume-on` there.
 */
#ifndef QML_MIGRATION_GUARDIAN_CONTROL_H
#define QML_MIGRATION_GUARDIAN_CONTROL_H

#include "migration/guardian.h"

/* The guest of the record (role: destination; its lock is held) is to run here (`here`), or this
 * host is to give it up: its QEMU ends, and the source can learn that it has. If the guardian is
 * gone, the record decides, and for giving up a new one is started that can say so. What could
 * double the guest, as far as record and lease tell, is refused: STATUS_DECISION, with what to do.
 * STATUS_UNAVAILABLE: QEMU does not answer. */
bool guardian_decide(const struct paths *paths, struct vm_record *record, bool here,
                     struct error *err);

/* A guardian of this VM that only stays to say that its QEMU has ended is to go, since its port is
 * wanted for the next try; waits a moment until it has. Any other stays. */
void guardian_dismiss(const struct paths *paths, const char *vm);

#endif
