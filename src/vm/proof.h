/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The proof on this host (DESIGN 7): what a guest sees under a -cpu, by the built-in guest or from
 * an earlier proof under the same circumstances; and whether the user's memory fits that CPU.
 */
#ifndef QML_VM_PROOF_H
#define QML_VM_PROOF_H

#include "base/paths.h"
#include "guest/proof_run.h"
#include "host/qemu.h"
#include "vm/memory_check.h"
#include "vm/proof_arguments.h"

/* How long it may take; all may be 0. */
struct proof_limits {
    int timeout_ms;                           /* 0: as long as is good for so many vCPUs */
    const volatile sig_atomic_t *interrupted; /* not 0: give up; or NULL */
};

/* A proof under way, or done; nothing in it is for the caller. Start with {0}. */
struct proof {
    const struct paths *paths;
    const char *qemu;
    const struct proof_arguments *arguments;
    char *cpu;
    char key[DIGEST_HEX_SIZE]; /* "": it is not kept */
    struct guest_run *run;
    struct memory_run *memory;
    bool is_finished;         /* what is left are QEMUs that end */
    struct guest_table found; /* an earlier one */
};

/* Wait for what still ends, end what still runs. */
void proof_free(struct proof *proof);
#define autoproof __attribute__((cleanup(proof_free)))

/* How long a proof may take with so many vCPUs as the arguments have. */
int proof_timeout_ms(const struct proof_arguments *arguments);

/* Begin: QEMU runs while the caller does something else, or an earlier proof is found. paths, qemu
 * and arguments are borrowed until the end. host: a digest of all that is known of this host and
 * its QEMU; "" when that is in doubt: then no earlier proof is used and this one is not kept.
 * limits: or NULL. STATUS_CONFIG. */
bool proof_start(struct proof *proof, const struct paths *paths, const struct qemu *qemu,
                 const struct proof_arguments *arguments, const char *host, const char *cpu,
                 const struct proof_limits *limits, struct error *err);

/* Whether proof_start was called and proof_finish not yet. */
bool proof_is_under_way(const struct proof *proof);

/* Wait for the end: the table is the caller's. Then nothing is under way, and proof_free, which
 * must come before this process becomes another, waits for QEMUs that are still ending: under KVM
 * that takes them longer than all that they did. STATUS_INCOMPATIBLE: this QEMU refuses that CPU,
 * and the features that it names are added to *refused (may be NULL); or the memory does not fit.
 * STATUS_CONFIG: QEMU dies, hangs, or its guest leaves no table. STATUS_INTERRUPTED. */
bool proof_finish(struct proof *proof, struct guest_table *table, struct strlist *refused,
                  struct error *err);

#endif
