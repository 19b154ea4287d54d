/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The CPU that a running guest has, as its QEMU tells it: what `-cpu` really became. Reading only;
 * what it should be is for vm/verify.
 */
#ifndef QML_VM_VCPU_H
#define QML_VM_VCPU_H

#include "cpu/cpu_offer.h"
#include "cpu/knob.h"
#include "qmp/qmp.h"

struct vcpu {
    int index; /* QEMU's cpu-index */
    struct featureset features;
    struct cpu_identity identity;
    unsigned phys_bits;
    struct cpu_knobs knobs; /* what it has beside them (cpu/knob), as -cpu would say it */
};

struct running_cpu {
    char *machine;           /* versioned type */
    char *accel;             /* "kvm" or "tcg" */
    struct featureset known; /* every feature that this QEMU has a name for */
    struct vcpu *vcpus;      /* also those plugged in later */
    size_t count;
};

void running_cpu_free(struct running_cpu *cpu);
#define autorunningcpu __attribute__((cleanup(running_cpu_free)))

/* Read all vCPUs over an open conversation; the guest may run, be paused, or not have come yet.
 * STATUS_UNAVAILABLE: QEMU hangs up or does not answer in time; STATUS_PROTOCOL: its answers are
 * not those of QEMU for x86-64. */
bool running_cpu_read(struct qmp *qmp, struct running_cpu *cpu, struct error *err);

#endif
