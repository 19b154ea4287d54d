/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Where things lie: the configuration, state and runtime folders of one host and user.
 */
#ifndef QML_BASE_PATHS_H
#define QML_BASE_PATHS_H

#include <stdbool.h>

#include "base/error.h"

struct paths {
    char *config; /* config.ini, identity.key, identity.crt, trust.d/ */
    char *state;  /* agreements/, profiles/, vms/ */
    char *run;    /* VM/: sockets */
};

/* home: the value of --home, or NULL; then $QEMU_MIGRATE_LAUNCH_HOME; then, for root,
 * /etc, /var/lib and /run; else the XDG configuration and state folders, with the runtime files in
 * the state folder too, since a login's runtime folder goes with the login. All are absolute.
 * Nothing is created. Free with paths_free. */
bool paths_init(struct paths *paths, const char *home, struct error *err);
void paths_free(struct paths *paths);
#define autopaths __attribute__((cleanup(paths_free)))

/* folder/name, optionally with a suffix ("" for none); NULL for want of memory. */
char *path_join(const char *folder, const char *name, const char *suffix);

#endif
