/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Does a running guest have the CPU that was agreed on? Pure: an agreement and what vm/vcpu read.
 */
#ifndef QML_VM_VERIFY_H
#define QML_VM_VERIFY_H

#include "vm/agreement.h"
#include "vm/vcpu.h"

#define DIFFERENCE_MACHINE (-1) /* as a vCPU's index: of the whole machine */

/* One thing that is not as agreed. Texts are plain ASCII. */
struct difference {
    int vcpu;
    char *what;   /* a feature, a property of -cpu, "machine type" or "accelerator" */
    char *agreed; /* its value; "on" or "off" for a feature */
    char *found;
};

struct differences {
    struct difference *items; /* in the order of the vCPUs */
    size_t count;
};

void differences_free(struct differences *differences);
#define autodifferences __attribute__((cleanup(differences_free)))

/* Every difference between the agreement and the CPU that runs into *differences. Not compared:
 * features that may differ (cpu/feature_table, rule "benign"), what only QEMU itself decides, and
 * what QEMU does not tell of a running guest: kernel-irqchip, cpu-pm, caches. STATUS_INTERNAL. */
bool verify_cpu(const struct agreement *agreement, const struct running_cpu *cpu,
                struct differences *differences, struct error *err);

#endif
