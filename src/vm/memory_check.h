/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whether the user's guest memory fits the CPU and the machine: the proof runs with little of it.
 */
#ifndef QML_VM_MEMORY_CHECK_H
#define QML_VM_MEMORY_CHECK_H

#include <stdbool.h>

#include "base/error.h"
#include "vm/proof_arguments.h"

/* Start QEMU once with the memory arguments, stopped and without devices, and end it. The memory is
 * neither touched nor reserved, whatever the host has free. Takes 50 to 100 ms, under KVM more for
 * very much memory (its tables: 1.5 s for 1000 GiB were seen); may stand between the start and the
 * end of a proof. When there are no memory arguments, nothing is started.
 *
 * qemu: a path; cpu: the value of -cpu. STATUS_INCOMPATIBLE with -m and QEMU's reason if QEMU
 * refuses; STATUS_CONFIG if it cannot be started or does not answer.
 *
 * Not seen: a size that only an object tells (-machine memory-backend without -m), and what -device
 * and -numa do with the memory. */
bool memory_check(const char *qemu, const struct proof_arguments *arguments, const char *cpu,
                  struct error *err);

#endif
