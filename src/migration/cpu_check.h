/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Before a guest is moved: has the QEMU here the CPU that was agreed on, source or destination?
 */
#ifndef QML_MIGRATION_CPU_CHECK_H
#define QML_MIGRATION_CPU_CHECK_H

#include "base/paths.h"
#include "qmp/qmp.h"
#include "vm/record.h"

/* Compare the vCPUs of the QEMU at the other end of qmp with the agreement of the record, and put
 * what differs into *lines, one for a person each ("smap is off, agreed on"), none twice for
 * several vCPUs. STATUS_CONFIG: the agreement is not there any more; STATUS_DATA: it is another
 * one, or damaged; STATUS_UNAVAILABLE, STATUS_PROTOCOL: QEMU. */
bool cpu_check(const struct paths *paths, const struct vm_record *record, struct qmp *qmp,
               struct strlist *lines, struct error *err);

#endif
