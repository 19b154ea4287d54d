/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Stream sockets of this machine's, unix(7), by their path.
 */
#ifndef QML_BASE_UNIX_SOCKET_H
#define QML_BASE_UNIX_SOCKET_H

#include <stdbool.h>

/* Whether a path is short enough for one (107 bytes). */
bool unix_path_fits(const char *path);

/* Both: a descriptor with FD_CLOEXEC, or -1 with errno (ENAMETOOLONG for a path that does not fit).
 * flags: SOCK_NONBLOCK or 0. */
int unix_connect(const char *path, int flags);
/* What was at path before is removed. */
int unix_listen(const char *path, int backlog, int flags);

#endif
