/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The baseline as the value of QEMU's -cpu, for one party's QEMU.
 */
#ifndef QML_CPU_RENDER_H
#define QML_CPU_RENDER_H

#include "cpu/baseline.h"

/* How the CPU is written. All forms give the guest the same features and numbers. */
enum cpu_form {
    CPU_FORM_NAMED, /* the closest versioned model and the few features it has too much or too
                       little */
    CPU_FORM_BASE,  /* QEMU's empty `base` model with everything named */
    CPU_FORM_HOST,  /* `host` (KVM) or `max` (TCG), with what the baseline lacks switched off */
};

bool cpu_form_parse(const char *text, enum cpu_form *form);
const char *cpu_form_name(enum cpu_form form);

/* The -cpu value for the QEMU that offer describes; the caller frees it. Names are only ever those
 * that this QEMU knows. NULL with STATUS_INCOMPATIBLE if no named model fits and the
 * named form is wanted, or if the baseline has a feature that this QEMU has no name for, which
 * baseline_compute never makes. */
char *render_cpu(const struct baseline *baseline, const struct cpu_offer *offer, enum cpu_form form,
                 struct error *err);

#endif
