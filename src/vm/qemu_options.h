/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What qemu-system-x86_64 takes on its command line: the names, and which of them take a value.
 */
#ifndef QML_VM_QEMU_OPTIONS_H
#define QML_VM_QEMU_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

/* The options that something here asks for; all others are UNNAMED. */
enum qemu_option_id {
    QEMU_OPTION_UNNAMED,
    QEMU_OPTION_ACCEL,
    QEMU_OPTION_ACTION,
    QEMU_OPTION_ADD_FD,
    QEMU_OPTION_APPEND,
    QEMU_OPTION_BIOS,
    QEMU_OPTION_BLOCKDEV,
    QEMU_OPTION_CHARDEV,
    QEMU_OPTION_CHROOT,
    QEMU_OPTION_CPU,
    QEMU_OPTION_DAEMONIZE,
    QEMU_OPTION_DEVICE,
    QEMU_OPTION_DRIVE,
    QEMU_OPTION_ENABLE_KVM,
    QEMU_OPTION_GLOBAL,
    QEMU_OPTION_HELP, /* -h and -help */
    QEMU_OPTION_INCOMING,
    QEMU_OPTION_KERNEL,
    QEMU_OPTION_LOADVM,
    QEMU_OPTION_M,       /* memory */
    QEMU_OPTION_MACHINE, /* -machine and -M */
    QEMU_OPTION_MEM_PATH,
    QEMU_OPTION_MEM_PREALLOC,
    QEMU_OPTION_MON,
    QEMU_OPTION_MONITOR,
    QEMU_OPTION_MSG,
    QEMU_OPTION_NAME,
    QEMU_OPTION_NETDEV,
    QEMU_OPTION_NODEFAULTS,
    QEMU_OPTION_NO_ACPI,
    QEMU_OPTION_NO_HPET,
    QEMU_OPTION_NO_REBOOT,
    QEMU_OPTION_NO_SHUTDOWN,
    QEMU_OPTION_NO_USER_CONFIG,
    QEMU_OPTION_NUMA,
    QEMU_OPTION_OBJECT,
    QEMU_OPTION_ONLY_MIGRATABLE,
    QEMU_OPTION_OVERCOMMIT,
    QEMU_OPTION_PFLASH,
    QEMU_OPTION_PIDFILE,
    QEMU_OPTION_PRECONFIG,
    QEMU_OPTION_QMP,
    QEMU_OPTION_QMP_PRETTY,
    QEMU_OPTION_READCONFIG,
    QEMU_OPTION_RUNAS,
    QEMU_OPTION_RUN_WITH,
    QEMU_OPTION_S, /* do not start the guest */
    QEMU_OPTION_SANDBOX,
    QEMU_OPTION_SERIAL,
    QEMU_OPTION_SET,
    QEMU_OPTION_SMP,
    QEMU_OPTION_SNAPSHOT,
    QEMU_OPTION_VERSION
};

/* When an option makes QEMU print something and exit instead of running a guest. */
enum qemu_option_query {
    QUERY_NO,
    QUERY_ALWAYS, /* -version */
    QUERY_LAST,   /* the value is help or ?, and it is the last such option: -cpu */
    QUERY_WORD,   /* the value is help or ? */
    QUERY_FIRST,  /* the implied key's value is help or ?: -accel */
    QUERY_KEYVAL, /* any piece is help or ?: -machine q35,help */
    QUERY_ANY     /* FIRST, or a key of that name: -device e1000,help */
};

/* Which versions know it. */
enum qemu_option_versions {
    VERSIONS_BOTH, /* 7.2 and 10.0 */
    VERSIONS_OLD,  /* 7.2, gone by 10.0 */
    VERSIONS_NEW   /* not yet 7.2 */
};

struct qemu_option {
    const char *name; /* without dashes */
    enum qemu_option_id id;
    bool takes_value;
    bool for_x86; /* false: QEMU knows the name and refuses it for this target */
    enum qemu_option_versions versions;
    enum qemu_option_query query;
    const char *implied_key; /* or NULL */
};

/* Find an option as QEMU does (lookup_opt in QEMU 7.2 softmmu/vl.c, 10.0 system/vl.c): one or two
 * dashes, then the whole name in its own case; there are no abbreviations.
 * word: with its dashes. Returns NULL if there is none; the result lives for ever. */
const struct qemu_option *qemu_option_find(const char *word);

/* The table, *count entries. */
const struct qemu_option *qemu_options_all(size_t *count);

#endif
