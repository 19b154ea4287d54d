/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The watcher: a process beside `migrate` that finishes, or undoes, what that has begun when it is
 * killed.
 */
#ifndef QML_MIGRATION_WATCHER_H
#define QML_MIGRATION_WATCHER_H

#include "base/paths.h"

/* The connection to a watcher; -1: there is none. */
struct watcher {
    int fd;
};

/* Start one, in a session of its own, with no descriptor of ours: it writes to
 * STATE/vms/VM.migrate.log (0600, emptied now). When this process ends without watcher_dismiss, it
 * calls take_up there and ends. To be called before there are threads. STATUS_CANNOT_WRITE,
 * STATUS_INTERNAL. */
bool watcher_start(const struct paths *paths, const char *vm,
                   void (*take_up)(const struct paths *paths, const char *vm),
                   struct watcher *watcher, struct error *err);

/* All is well: the watcher ends, and this waits for that, a second at most. */
void watcher_dismiss(struct watcher *watcher);

/* Called by a watcher that sets to work, before it waits for the VM's lock: others are patient
 * with it for as long as the descriptor is open. -1: so be it. */
int watcher_announce(const struct paths *paths, const char *vm);

/* Is a watcher at work on this VM? */
bool watcher_works(const struct paths *paths, const char *vm);

#endif
