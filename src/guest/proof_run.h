/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Running the built-in guest: one QEMU, started for a moment, gives the guest CPU table.
 */
#ifndef QML_GUEST_PROOF_RUN_H
#define QML_GUEST_PROOF_RUN_H

#include "guest/records.h"

#define GUEST_PROOF_TIMEOUT_MS 10000

/* How QEMU is started; all strings are borrowed. */
struct guest_proof {
    const char *qemu;    /* a path */
    const char *cpu;     /* the value of -cpu */
    const char *machine; /* of -machine: a type, and options behind commas */
    const char *accel;   /* of -accel */
    const char *smp;     /* of -smp, or NULL */
    bool cpu_pm;         /* -overcommit cpu-pm=on */
    int timeout_ms;      /* 0: GUEST_PROOF_TIMEOUT_MS */
};

/* Boot the guest and read what it prints. STATUS_CONFIG, with one line, if QEMU refuses (the
 * features that it names are named), aborts, does not end in time, or what it prints is no table.
 */
bool guest_proof_run(const struct guest_proof *proof, struct guest_table *table, struct error *err);

#endif
