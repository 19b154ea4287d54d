/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What QEMU understands of a command line as far as the guest's CPU goes: CPU, machine,
 * accelerator, and what else reaches them. And the same command line with the agreed ones in it.
 */
#ifndef QML_VM_INVOCATION_H
#define QML_VM_INVOCATION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/strings.h"
#include "vm/arglist.h"
#include "vm/keyval.h"

enum accel_source {
    ACCEL_BY_DEFAULT, /* none was asked for: QEMU takes the first of the list that its build has */
    ACCEL_BY_MACHINE, /* -machine accel= or -enable-kvm */
    ACCEL_BY_OPTION   /* -accel */
};

/* Start with {0}; owns everything in it. Configuration files (-readconfig, and QEMU's own unless
 * no_user_config) can add to all of it: they are not looked into here. */
struct invocation {
    /* QEMU prints something and exits: a plain exec. Nothing else is filled in then. */
    bool is_query;

    char *cpu;        /* the last -cpu as it was written; NULL: the machine type's own CPU */
    size_t cpu_count; /* how many -cpu there were */
    /* What changes the CPU from outside -cpu, each "-OPTION VALUE": -global for a class that a CPU
     * has, -set that makes or changes such a -global, -device of a CPU. */
    struct strlist cpu_overrides;

    char *machine_type;            /* as it was written, perhaps an alias; NULL: QEMU's default */
    bool machine_none;             /* -machine none: no guest */
    struct keyval machine_options; /* merged, '-' for '_', without type, accel and smp */
    struct keyval smp;             /* -smp and -machine smp.X merged: cpus, maxcpus, cores … */
    struct keyval memory;          /* -m merged: size, slots, maxmem as they were written */

    enum accel_source accel_source;
    struct strlist accels;        /* names, the preferred one first; at least one */
    struct keyval *accel_options; /* of each -accel, without its name; accels.count of them */
    char *kernel_irqchip;         /* "on", "off", "split" or NULL */
    bool cpu_pm;                  /* -overcommit cpu-pm=on */

    char *name;                /* the guest's name by -name, or NULL */
    bool daemonize;            /* -daemonize */
    bool paused;               /* -S */
    bool has_incoming;         /* any -incoming */
    char *incoming;            /* the last -incoming that is no cpr channel, or NULL */
    bool uses_loadvm;          /* -loadvm */
    bool no_user_config;       /* -no-user-config */
    struct strlist readconfig; /* the files of -readconfig, in order */
};

/* Read a command line. *invocation must be empty, and is filled only on success.
 * STATUS_USAGE, with a line that names the option, for what QEMU would refuse: an option that is
 * not for x86, -accel together with -machine accel= or -enable-kvm, two spellings of one machine
 * option, an empty type or CPU, a value that is not on or off … (not everything that QEMU would
 * refuse is found; QEMU itself will); and for several -overcommit that 7.2 and 10.0 read
 * differently.
 * Sources: QEMU 7.2 softmmu/vl.c and 10.0 system/vl.c, qemu_init,
 * qemu_apply_legacy_machine_options, configure_accelerators, qemu_global_option (qdev-monitor.c).
 */
bool invocation_read(const struct arglist *list, struct invocation *invocation, struct error *err);

void invocation_free(struct invocation *invocation);
#define autoinvocation __attribute__((cleanup(invocation_free)))

/* Write the agreed CPU, machine type and accelerator into a command line:
 *   - every -cpu goes; one "-cpu CPU" stands at the last one's place, else behind the program
 *   - type and accel go out of every -machine, which keeps all else word for word in its place, for
 *     -usb, -nographic and others write into the same options and the last one counts; the last
 *     -machine gets the type, or a new one behind a later -readconfig or behind the program
 *   - of several -accel the one for accel stays as it is, the first of them if there are two; when
 *     there is none, accel goes into the same -machine. -enable-kvm goes.
 * Everything else stays byte for byte in its place.
 * cpu: not empty; machine_type and accel: names (as by name_is_machine, name_is_feature).
 * *out must be empty, and is filled only on success. STATUS_INTERNAL for a bad name, an accel that
 * the -accel options do not have, or for want of memory; STATUS_USAGE as invocation_read. */
bool invocation_rewrite(const struct arglist *list, const char *cpu, const char *machine_type,
                        const char *accel, struct arglist *out, struct error *err);

#endif
