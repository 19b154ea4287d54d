/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whether the user's guest memory fits the CPU and the machine: the proof runs with little of it.
 */
#ifndef QML_VM_MEMORY_CHECK_H
#define QML_VM_MEMORY_CHECK_H

#include <stdbool.h>

#include "base/error.h"
#include "vm/proof_arguments.h"

/* A QEMU with the memory arguments. */
struct memory_run;

/* Start QEMU with the memory arguments, stopped and without devices; it starts while the caller
 * does something else. qemu: a path; cpu: the value of -cpu; arguments: borrowed until the end.
 * NULL in *run: there are no memory arguments, and nothing is started. False only for want of
 * memory: what else is wrong is said at the finish. */
bool memory_check_start(struct memory_run **run, const char *qemu,
                        const struct proof_arguments *arguments, const char *cpu,
                        struct error *err);

/* Have it make the machine with that memory, which is neither touched nor reserved, whatever the
 * host has free. Takes 30 to 100 ms from the start, under KVM more for very much memory (its
 * tables: 1.5 s for 1000 GiB were seen); may stand between the start and the end of a proof. QEMU
 * may still be ending then. run: NULL is good. STATUS_INCOMPATIBLE with -m and QEMU's reason if
 * QEMU refuses; STATUS_CONFIG if it cannot be started or does not answer.
 *
 * Not seen: a size that only an object tells (-machine memory-backend without -m), and what -device
 * and -numa do with the memory. */
bool memory_check_finish(struct memory_run *run, struct error *err);

/* Wait for the end of a QEMU that is done, end any other, and forget the run. NULL is fine. */
void memory_run_free(struct memory_run *run);

static inline void memory_run_cleanup(struct memory_run **run)
{
    memory_run_free(*run);
}
#define automemoryrun __attribute__((cleanup(memory_run_cleanup)))

/* All of it. */
bool memory_check(const char *qemu, const struct proof_arguments *arguments, const char *cpu,
                  struct error *err);

#endif
