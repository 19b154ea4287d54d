/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/strings.h"

#define FIRST_FD 3 /* SD_LISTEN_FDS_START */

/* The value of a variable that is a number; false when it is none. */
static bool take_number(const char *name, uint64_t max, uint64_t *value, struct error *err)
{
    const char *text = getenv(name);
    return (text && parse_number(text, 0, max, value)) ||
           error_set(err, STATUS_CONFIG, "the environment's %s is '%.40s', not a number", name,
                     text ? text : "");
}

static void forget_socket(void)
{
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDNAMES");
}

bool systemd_take_socket(int *fd, struct error *err)
{
    uint64_t count, pid = 0;
    *fd = -1;
    if (!getenv("LISTEN_FDS") || !getenv("LISTEN_PID")) {
        forget_socket();
        return true;
    }
    bool good = take_number("LISTEN_PID", INT32_MAX, &pid, err) &&
                take_number("LISTEN_FDS", 1024, &count, err);
    forget_socket();
    if (!good)
        return false;
    if (pid != (uint64_t)getpid() || count == 0) /* meant for somebody else */
        return true;
    if (count != 1)
        return error_set(err, STATUS_CONFIG, "%llu sockets came from systemd: one is wanted",
                         (unsigned long long)count);
    int listens = 0, protocol = 0;
    socklen_t size = sizeof(int);
    if (getsockopt(FIRST_FD, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0 || !listens ||
        getsockopt(FIRST_FD, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) < 0 ||
        protocol != IPPROTO_TCP || fcntl(FIRST_FD, F_SETFD, FD_CLOEXEC) < 0)
        return error_set(err, STATUS_CONFIG,
                         "what came from systemd is not a listening TCP socket");
    *fd = FIRST_FD;
    return true;
}

static bool open_notify(struct systemd *systemd, const char *path, struct error *err)
{
    size_t length = strlen(path);
    struct sockaddr_un *address = &systemd->address;
    if ((path[0] != '/' && path[0] != '@') || length < 2 || length >= sizeof(address->sun_path))
        return error_set(err, STATUS_CONFIG,
                         "the environment's NOTIFY_SOCKET is '%.120s', not a socket", path);
    systemd->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (systemd->fd < 0)
        return error_set_errno(err, STATUS_INTERNAL, errno, "no socket to notify systemd by");
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, path, length);
    if (path[0] == '@')
        address->sun_path[0] = '\0';
    systemd->address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    return true;
}

bool systemd_open(struct systemd *systemd, struct error *err)
{
    const char *path = getenv("NOTIFY_SOCKET");
    uint64_t usec = 0, pid = (uint64_t)getpid();
    bool good = true;
    if (getenv("WATCHDOG_USEC"))
        good = take_number("WATCHDOG_USEC", INT64_MAX, &usec, err);
    if (good && getenv("WATCHDOG_PID"))
        good = take_number("WATCHDOG_PID", INT32_MAX, &pid, err);
    if (good && pid == (uint64_t)getpid())
        systemd->watchdog_ms = (int64_t)(usec / 1000 / 2);
    if (good && path && *path)
        good = open_notify(systemd, path, err);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return good;
}

void systemd_notify(const struct systemd *systemd, const char *format, ...)
{
    va_list args;
    char text[1024];
    if (systemd->fd < 0)
        return;
    va_start(args, format);
    int length = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (length < 0)
        return;
    size_t size = (size_t)length < sizeof(text) ? (size_t)length : sizeof(text) - 1;
    ssize_t ignored = sendto(systemd->fd, text, size, MSG_NOSIGNAL,
                             (const struct sockaddr *)&systemd->address, systemd->address_size);
    (void)ignored;
}

void systemd_ready_to_exec(void)
{
    struct systemd systemd = SYSTEMD_INIT;
    const char *path = getenv("NOTIFY_SOCKET");
    if (path && *path && open_notify(&systemd, path, NULL))
        systemd_notify(&systemd, "READY=1");
    systemd_close(&systemd);
}

void systemd_notify_reloading(const struct systemd *systemd)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    systemd_notify(systemd, "RELOADING=1\nMONOTONIC_USEC=%lld",
                   (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

void systemd_close(struct systemd *systemd)
{
    if (systemd->fd >= 0)
        close(systemd->fd);
    *systemd = (struct systemd)SYSTEMD_INIT;
}
