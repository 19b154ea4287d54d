/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/unix_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

bool unix_path_fits(const char *path)
{
    return strlen(path) < sizeof(((struct sockaddr_un *)0)->sun_path);
}

static int open_socket(const char *path, int flags, struct sockaddr_un *address)
{
    if (!unix_path_fits(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, path, strlen(path) + 1);
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
}

int unix_connect(const char *path, int flags)
{
    struct sockaddr_un address;
    autoclose int fd = open_socket(path, flags, &address);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -1;
    return steal_fd(&fd);
}

int unix_listen(const char *path, int backlog, int flags)
{
    struct sockaddr_un address;
    autoclose int fd = open_socket(path, flags, &address);
    if (fd < 0)
        return -1;
    unlink(path);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, backlog) < 0)
        return -1;
    return steal_fd(&fd);
}
