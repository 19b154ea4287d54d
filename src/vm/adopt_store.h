/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The end of an adoption: an agreement with one party, this host, and the record of where the VM
 * is; and before it, whether there may be one.
 */
#ifndef QML_VM_ADOPT_STORE_H
#define QML_VM_ADOPT_STORE_H

#include "vm/record.h"

/* The VM of the record (which may be empty) may be adopted as process pid: it runs nowhere else as
 * far as the record can tell, and what was agreed before is given up only with renegotiate.
 * STATUS_DECISION that says where it is. */
bool adopt_check_record(struct vm_record *record, pid_t pid, bool renegotiate, struct error *err);

/* No agreement about it is kept here, unless renegotiate, or what an interrupted adoption left.
 * STATUS_DECISION, STATUS_DATA. */
bool adopt_check_agreement(const struct paths *paths, const char *vm, const char *own_pin,
                           const struct vm_record *record, bool renegotiate, struct error *err);

/* The process is no other VM's QEMU. STATUS_DECISION. */
bool adopt_check_process(const struct paths *paths, const char *vm, pid_t pid, struct error *err);

/* Sign the agreement, whose one party is this host, and store it and the record, which gets its
 * digest: both or none of them. STATUS_CANNOT_WRITE. */
bool adopt_store(const struct paths *paths, const struct identity *identity,
                 const struct agreement *agreement, struct vm_record *record, struct error *err);

#endif
