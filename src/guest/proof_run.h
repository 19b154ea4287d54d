/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Running the built-in guest: one QEMU, started for a moment, gives the guest CPU table.
 */
#ifndef QML_GUEST_PROOF_RUN_H
#define QML_GUEST_PROOF_RUN_H

#include <signal.h>

#include "base/strings.h"
#include "guest/records.h"

#define GUEST_PROOF_TIMEOUT_MS 10000

/* How QEMU is started; all strings are borrowed. */
struct guest_proof {
    const char *qemu;                         /* a path */
    const char *cpu;                          /* the value of -cpu */
    const char *machine;                      /* of -machine: a type, and options behind commas */
    const char *accel;                        /* of -accel */
    const char *smp;                          /* of -smp, or NULL */
    bool cpu_pm;                              /* -overcommit cpu-pm=on */
    const struct strlist *globals;            /* values of -global, or NULL */
    int timeout_ms;                           /* 0: GUEST_PROOF_TIMEOUT_MS */
    const volatile sig_atomic_t *interrupted; /* not 0: finish gives up; or NULL */
};

/* A QEMU that runs the guest. */
struct guest_run;

/* Boot the guest: QEMU runs while the caller does something else. It never waits for the caller,
 * unless it prints a megabyte. NULL with STATUS_CONFIG if it cannot be started. The thread that
 * calls must live as long as the run. */
struct guest_run *guest_proof_start(const struct guest_proof *proof, struct error *err);

/* Wait for the guest's end and read what it found; once for each run. QEMU may still be ending
 * then. The time began at the start: if it is over, the guest has come to its end in it or has
 * failed. Errors are one line. STATUS_INCOMPATIBLE if QEMU refuses the CPU and names features: they
 * are added to *refused, which may be NULL. STATUS_CONFIG if it dies otherwise, does not end in
 * time, or what the guest leaves is no table.
 */
bool guest_proof_finish(struct guest_run *run, struct guest_table *table, struct strlist *refused,
                        struct error *err);

/* Wait for the end of a QEMU whose guest is done, end any other, and forget the run. NULL is fine.
 */
void guest_run_free(struct guest_run *run);

static inline void guest_run_cleanup(struct guest_run **run)
{
    guest_run_free(*run);
}
#define autoguestrun __attribute__((cleanup(guest_run_cleanup)))

/* Start and finish. */
bool guest_proof_run(const struct guest_proof *proof, struct guest_table *table, struct error *err);

#endif
