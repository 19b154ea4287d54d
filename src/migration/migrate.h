/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Moving a running guest, from the source (DESIGN 10): what comes in which order, what is undone
 * when it fails, and taking up what an earlier `migrate` has left.
 */
#ifndef QML_MIGRATION_MIGRATE_H
#define QML_MIGRATION_MIGRATE_H

#include <signal.h>

#include "base/paths.h"
#include "base/progress.h"
#include "migration/settings.h"

enum migration_resume { RESUME_BY_ITSELF, RESUME_ON_SOURCE, RESUME_ON_DESTINATION };

struct migration_options {
    const char *to; /* NULL: as agreed at launch */
    struct migration_wishes wishes;
    bool keep_source;                /* leave the source's QEMU there, paused */
    enum migration_resume resume_on; /* not to migrate: to decide where the guest goes on */
    const volatile sig_atomic_t *interrupted;
    /* How it goes; with NULL for the sample: other words follow. May be NULL. */
    void (*report)(void *context, const struct progress_sample *sample);
    void *context;
};

/* How it went. Milliseconds and bytes, -1: not known. */
struct migration_result {
    char peer[65]; /* where the guest is now (a trust entry's name, without memory that could lack
                    * once it has moved); "": here, by --resume-on or with all said in a log */
    int64_t transferred, elapsed_ms;
    int64_t downtime_ms; /* how long the guest stood still */
};

/* Move the VM, or do what --resume-on says. To be called before there are threads: a watcher is
 * forked. True: it runs where it was to. Else: STATUS_MIGRATION: the guest runs on here, or stays
 * paused as it was; STATUS_DECISION: it needs a person, with what to do; before anything was begun,
 * STATUS_USAGE, STATUS_NOT_TRUSTED, STATUS_DATA, STATUS_PROTOCOL, STATUS_CONFIG,
 * STATUS_CANNOT_WRITE and STATUS_UNAVAILABLE (this host's QEMU does not answer). */
bool migrate_vm(const struct paths *paths, const char *vm, const struct migration_options *options,
                struct migration_result *result, struct error *err);

#endif
