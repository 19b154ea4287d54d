/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Moving a running guest: driving QEMU's migration from the source (DESIGN 10). In this version the
 * two QEMUs speak to each other directly.
 */
#ifndef QML_MIGRATION_MIGRATE_H
#define QML_MIGRATION_MIGRATE_H

#include <signal.h>

#include "qmp/qmp.h"
#include "vm/record.h"

/* How it goes. Sizes in bytes, times in milliseconds; -1: not known. */
struct migration_progress {
    int64_t total, remaining, transferred;
    int64_t elapsed_ms, expected_downtime_ms, downtime_ms;
    double megabits_per_second;
};

struct migration_options {
    int64_t bandwidth;   /* bytes a second; 0: QEMU's default */
    int64_t downtime_ms; /* 0: QEMU's default */
    bool keep_source;    /* leave the source's QEMU there, paused */
    const volatile sig_atomic_t *interrupted;
    void (*report)(void *context, const struct migration_progress *progress); /* may be NULL */
    void *context;
};

/* Move the VM of the record to host:port, where its destination waits. On success the record says
 * "moved" and the source's QEMU has quit (or stays paused). STATUS_MIGRATION with QEMU's reason:
 * the guest runs on here; STATUS_DECISION: it does not run here and may not run there;
 * STATUS_UNAVAILABLE: this host's QEMU does not answer. *final (may be NULL) gets the last
 * progress. */
bool migrate_vm(const struct paths *paths, struct vm_record *record, const char *host,
                uint16_t port, const struct migration_options *options,
                struct migration_progress *final, struct error *err);

#endif
