/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Locking a process in before strangers' bytes reach it: seccomp for what it may ask of the
 * kernel, Landlock (where the kernel has it) for the files that it may open, limits on what it may
 * use.
 */
#ifndef QML_BASE_SANDBOX_H
#define QML_BASE_SANDBOX_H

#include <stdbool.h>

#include "base/error.h"

enum sandbox_kind {
    SANDBOX_NETWORK, /* speaks over the descriptors that it has, and opens nothing */
    SANDBOX_GUARDIAN /* opens files and local sockets, too, and signals processes that it knows */
};

struct sandbox {
    enum sandbox_kind kind;
    /* SANDBOX_GUARDIAN: folders with all that is in them, each list ended by NULL. Those that are
     * not there are left out. What was open stays usable. */
    const char *const *read;
    const char *const *write;
};

/* Lock the calling process (one thread) in, for ever, with what it starts: it could start nothing
 * any more. No new privileges; no program is executed and no process made, or it dies by SIGSYS; of
 * other system calls that it has no use for each fails with EPERM; its limits are those of
 * sandbox_limits.c; its memory is in no core, and in no other process's hands (prctl(2),
 * PR_SET_DUMPABLE). A kernel without Landlock is no error. In a build with sanitizers nothing is
 * done, since they need what is forbidden here. STATUS_INTERNAL: the kernel refuses. */
bool sandbox_enter(const struct sandbox *sandbox, struct error *err);

/* --no-sandbox: from now on sandbox_enter does nothing but say so. */
void sandbox_switch_off(void);

/* sandbox_limits.c: the part of setrlimit(2) and PR_SET_DUMPABLE. */
bool sandbox_limit(enum sandbox_kind kind, struct error *err);

/* sandbox_landlock.c: the part of Landlock. True if the kernel has none. */
bool sandbox_restrict_files(const struct sandbox *sandbox, struct error *err);

#endif
