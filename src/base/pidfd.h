/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A process by a descriptor, pidfd_open(2): it means that process and no later one of the same pid.
 */
#ifndef QML_BASE_PIDFD_H
#define QML_BASE_PIDFD_H

#include <poll.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* A descriptor with FD_CLOEXEC, or -1 with errno. glibc has no wrapper before 2.36. */
static inline int pidfd_open_process(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0U);
}

static inline void pidfd_signal(int pidfd, int number)
{
    syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0U);
}

/* Whether it has ended, or does within so many milliseconds (-1: for ever). */
static inline bool pidfd_has_ended(int pidfd, int milliseconds)
{
    struct pollfd item = {.fd = pidfd, .events = POLLIN};
    return poll(&item, 1, milliseconds) > 0;
}

#endif
