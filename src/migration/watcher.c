/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "migration/watcher.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/strings.h"

#define DISMISS_MS 1000
#define DISMISSED 'd'

static void be_watcher(const struct paths *paths, const char *vm, int fd, int null, int log,
                       void (*take_up)(const struct paths *paths, const char *vm))
{
    char word = 0;
    ssize_t got;
    struct sigaction ignore = {.sa_handler = SIG_IGN}, standard = {.sa_handler = SIG_DFL};
    sigaction(SIGINT, &ignore, NULL);
    sigaction(SIGHUP, &ignore, NULL);
    sigaction(SIGTERM, &standard, NULL);
    if (dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
        dup2(log, STDERR_FILENO) < 0 || chdir("/") < 0)
        return;
    process_close_others(fd);
    do {
        got = read(fd, &word, 1);
    } while (got < 0 && errno == EINTR);
    if (got == 1 && word == DISMISSED)
        return;
    close(fd);
    take_up(paths, vm);
}

bool watcher_start(const struct paths *paths, const char *vm,
                   void (*take_up)(const struct paths *paths, const char *vm),
                   struct watcher *watcher, struct error *err)
{
    int ends[2];
    autofree char *path = string_format("%s/vms/%s.migrate.log", paths->state, vm);
    if (!path)
        return error_no_memory(err);
    autoclose int log = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0)
        return error_set_errno(err, STATUS_CANNOT_WRITE, errno, "%s", path);
    autoclose int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return error_set_errno(err, STATUS_INTERNAL, errno, "cannot start the watcher");
    autoclose int ours = ends[0], its = ends[1];
    pid_t between = fork();
    if (between < 0)
        return error_set_errno(err, STATUS_INTERNAL, errno, "cannot start the watcher");
    if (between == 0) {
        setsid();
        pid_t pid = fork();
        if (pid == 0)
            be_watcher(paths, vm, its, null, log, take_up);
        _exit(pid < 0);
    }
    int status = 0;
    while (waitpid(between, &status, 0) < 0 && errno == EINTR)
        ;
    if (status != 0)
        return error_set(err, STATUS_INTERNAL, "cannot start the watcher");
    watcher->fd = steal_fd(&ours);
    return true;
}

void watcher_dismiss(struct watcher *watcher)
{
    const char word = DISMISSED;
    if (watcher->fd < 0)
        return;
    if (send(watcher->fd, &word, 1, MSG_NOSIGNAL) == 1) {
        struct pollfd gone = {.fd = watcher->fd, .events = POLLIN};
        poll(&gone, 1, DISMISS_MS);
    }
    close(watcher->fd);
    watcher->fd = -1;
}

static int try_lock(const struct paths *paths, const char *vm, bool *busy)
{
    autofree char *path = string_format("%s/vms/%s.watching", paths->state, vm);
    return path ? file_lock(path, false, busy, NULL) : -1;
}

int watcher_announce(const struct paths *paths, const char *vm)
{
    bool busy = false;
    return try_lock(paths, vm, &busy);
}

bool watcher_works(const struct paths *paths, const char *vm)
{
    bool busy = false;
    autoclose UNREAD int fd = try_lock(paths, vm, &busy);
    return busy;
}
