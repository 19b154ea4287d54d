/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The guardian: the process beside a destination's QEMU that receives the stream and finishes or
 * undoes the incoming migration (DESIGN 10). It obeys the source of its own migration only, holds
 * the lease, ends a QEMU that nobody came for, and is gone when it is not needed any more.
 */
#ifndef QML_MIGRATION_GUARDIAN_H
#define QML_MIGRATION_GUARDIAN_H

#include "host/config.h"
#include "migration/lease.h"
#include "peer/identity.h"
#include "vm/command_line.h"
#include "vm/record.h"

struct guardian_setup {
    const struct paths *paths;
    const struct config *config;
    const struct identity *identity;
    const struct vm_record *record; /* of this VM, as it was stored; its pid is QEMU's to be */
    const struct vm_sockets *sockets;
    const struct strlist *sources; /* pins of those who may move it to here */
    int listener;                  /* a listening TCP socket; stays the caller's */
    int64_t wait_ms;               /* how long it waits for a source; 0: for ever */
    /* In place of a guardian that was lost: LEASE_ENDED, there is no QEMU any more, and it never
     * ran the guest: it is only there to say so; LEASE_RUN, the guest runs here, and postcopy may
     * need a new stream. LEASE_NONE else. */
    enum lease_guardian_state state;
};

/* Start it: a process of its own session that is nobody's child, with no descriptor of ours but the
 * listener, that writes to STATE/vms/VM.guardian.log. STATUS_CANNOT_WRITE, STATUS_INTERNAL. */
bool guardian_start(const struct guardian_setup *setup, struct error *err);

/* Where it writes; the caller frees it; NULL for want of memory. */
char *guardian_log_path(const struct paths *paths, const char *vm);

#endif
