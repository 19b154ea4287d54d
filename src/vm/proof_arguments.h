/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The words with which the built-in guest is started: of the user's command line everything that
 * reaches the guest's CPU, and nothing that needs objects, files or devices that are not there.
 * And those of its memory, for memory_check.h. Pure.
 */
#ifndef QML_VM_PROOF_ARGUMENTS_H
#define QML_VM_PROOF_ARGUMENTS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "vm/invocation.h"

/* What an option of -machine is about (machine_option.def). */
enum machine_option_about {
    MACHINE_OPTION_CPU,          /* goes along into the proof */
    MACHINE_OPTION_ELSEWHERE,    /* is no option any more when it comes here (invocation.h) */
    MACHINE_OPTION_MEMORY,       /* only into the check of the memory */
    MACHINE_OPTION_CONFIDENTIAL, /* there can be no proof */
    MACHINE_OPTION_OBJECT,       /* from here on it stays behind, the reason being: */
    MACHINE_OPTION_FILE,
    MACHINE_OPTION_TABLES,
    MACHINE_OPTION_DEVICE,
    MACHINE_OPTION_HOST
};

/* key: of a -machine option as invocation.h has it ('-' for '_'), with or without members
 * ("smp-cache.0.cache"). *known, if not NULL: the table has it; one that it does not have counts as
 * the CPU's, for should the proof fail over it, QEMU will name it. */
enum machine_option_about machine_option_about(const char *key, bool *known);

/* Start with {0}; owns everything in it. Each is one word for QEMU. */
struct proof_arguments {
    char *machine; /* of -machine: "pc-q35-7.2,kernel-irqchip=split" */
    char *accel;   /* of -accel: "kvm,dirty-ring-size=4096" */
    char *smp;     /* of -smp: "cpus=4,cores=2", or NULL */
    bool cpu_pm;   /* -overcommit cpu-pm=on */
    char *memory;  /* of -m: "size=4G,slots=2,maxmem=8G", or NULL */
    /* Further options of -machine that tell where memory lies: "max-ram-below-4g=2G", or NULL. */
    char *memory_options;
};

/* What else of QEMU's command line might reach the CPU, and why it is not here:
 *   -global, -device of a CPU, -set, -readconfig   refused before (cpu_override.h, config_file.h)
 *   -numa, -icount, -rtc, -sandbox, devices, an IOMMU too   change no row of the table: measured
 *   -enable-kvm, -no-acpi, -no-hpet, -usb, -bios, -kernel …  other words for -machine options
 *
 * machine_type and accel: the agreed ones; accel is one of invocation->accels. *out must be empty,
 * and is filled only on success. STATUS_INCOMPATIBLE for a confidential guest; STATUS_INTERNAL for
 * names that are none, an accel that is not the invocation's, or for want of memory; STATUS_USAGE
 * for what is not ASCII. */
bool proof_arguments_make(const struct invocation *invocation, const char *machine_type,
                          const char *accel, struct proof_arguments *out, struct error *err);

void proof_arguments_free(struct proof_arguments *arguments);
#define autoproofarguments __attribute__((cleanup(proof_arguments_free)))

/* A new object, or NULL for want of memory. */
json_t *proof_arguments_to_json(const struct proof_arguments *arguments);

/* Read what proof_arguments_to_json made. *out must be empty, and is filled only on success.
 * STATUS_DATA for anything that proof_arguments_make does not make. */
bool proof_arguments_from_json(json_t *json, struct proof_arguments *out, struct error *err);

#endif
