/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a service says to systemd, and what it gets from it: sd_listen_fds(3), sd_notify(3),
 * sd_watchdog_enabled(3), without its library. Where there is no systemd nothing happens.
 */
#ifndef QML_BASE_SYSTEMD_H
#define QML_BASE_SYSTEMD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/error.h"

/* The one socket that this process was started for ($LISTEN_FDS, $LISTEN_PID), close-on-exec; *fd
 * is -1 if there is none. The variables are gone afterwards: they are not for our children.
 * STATUS_CONFIG: there are several, or the variables make no sense. */
bool systemd_take_socket(int *fd, struct error *err);

/* Whom to notify. Start with SYSTEMD_INIT. */
struct systemd {
    int fd; /* -1: nobody */
    struct sockaddr_un address;
    socklen_t address_size;
    int64_t watchdog_ms; /* how often it wants to hear WATCHDOG=1, at the latest; 0: never */
};
#define SYSTEMD_INIT                                                                               \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

/* Take $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID out of the environment. STATUS_CONFIG: they
 * make no sense; STATUS_INTERNAL. */
bool systemd_open(struct systemd *systemd, struct error *err);

/* Send assignments, one a line: "READY=1\nSTATUS=fine". Nothing waits, nothing can fail. */
void systemd_notify(const struct systemd *systemd, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* "READY=1" to $NOTIFY_SOCKET, if there is one, which stays in the environment: for a process that
 * becomes another program now. */
void systemd_ready_to_exec(void);

/* RELOADING=1 with the time that systemd 253 wants to know; READY=1 ends it. */
void systemd_notify_reloading(const struct systemd *systemd);

void systemd_close(struct systemd *systemd);

#endif
