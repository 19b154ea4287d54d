/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * An agreement for a guest that plain QEMU runs: what the CPU that it has would be as a baseline,
 * and what of it cannot be had a second time. Pure; asking and proving is for adopt_prove.h.
 */
#ifndef QML_VM_ADOPT_H
#define QML_VM_ADOPT_H

#include "vm/agreement.h"
#include "vm/vcpu.h"

/* The type of QEMU's vCPUs ("EPYC-v2-x86_64-cpu") as what -cpu names: "EPYC-v2" into *model, for
 * the caller to free. STATUS_PROTOCOL. */
bool adopt_read_model(const char *type, char **model, struct error *err);
/* It is a CPU model, not `max`, `host` or `base`, which are no CPUs by themselves. */
bool adopt_model_is_named(const char *model);

/* A line into *reasons for each thing in which a vCPU is not like the first one: an agreement is
 * about one CPU. STATUS_INTERNAL. */
bool adopt_compare_vcpus(const struct running_cpu *cpu, struct strlist *reasons, struct error *err);

/* A line for each thing that the running CPU has and that no other one can be given, with what to
 * do; and for each feature that the host (offer) would not give a guest now. fixed_tsc: the user
 * gave tsc-frequency. STATUS_INTERNAL. */
bool adopt_find_refused(const struct running_cpu *cpu, const struct cpu_offer *offer,
                        bool fixed_tsc, struct strlist *reasons, struct error *err);

/* The first vCPU as a baseline, without knobs but the frequency of a fixed TSC. model: its CPU
 * model by a name that the offer has, or NULL. STATUS_INTERNAL. */
bool adopt_baseline(const struct running_cpu *cpu, const struct cpu_offer *offer, const char *model,
                    bool fixed_tsc, struct baseline *baseline, struct error *err);

/* What -cpu has to say besides: a knob for each property in which the running vCPU is not what
 * QEMU made of the baseline so far. False for want of memory. */
bool adopt_take_knobs(const struct vcpu *running, const struct vcpu *made, struct cpu_knobs *knobs);

/* A line for each thing that the agreement does not describe as it is: no migration would be begun
 * under it. STATUS_INTERNAL. */
bool adopt_find_undescribed(const struct agreement *agreement, const struct running_cpu *cpu,
                            struct strlist *reasons, struct error *err);

/* In which order the forms are tried, how many; the first one that gives a guest the same CPU is
 * taken: what no form fixes, such as the caches, is another one in each. */
#define ADOPT_FORMS 3
size_t adopt_order_forms(const struct baseline *baseline, enum cpu_form forms[ADOPT_FORMS]);

#endif
