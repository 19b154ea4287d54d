/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/exec.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/systemd.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

struct start_state {
    int *inherited; /* descriptors that an exec would have handed on */
    size_t inherited_count;
    bool closed[3]; /* standard descriptors that were not open */
    struct sigaction actions[NSIG];
    sigset_t mask;
    struct rlimit core;
};

void start_state_free(struct start_state *state)
{
    if (!state)
        return;
    free(state->inherited);
    free(state);
}

static bool remember(struct start_state *state, int fd)
{
    int *list = realloc(state->inherited, (state->inherited_count + 1) * sizeof(*list));
    if (!list)
        return false;
    list[state->inherited_count++] = fd;
    state->inherited = list;
    return true;
}

/* That /proc/PID/fd of this process can be opened is needed (guest/proof_run.c), so it stays what
 * prctl(2) calls dumpable. */
static void leave_no_core(struct start_state *state)
{
    if (getrlimit(RLIMIT_CORE, &state->core) < 0)
        return;
    struct rlimit none = {.rlim_cur = 0, .rlim_max = state->core.rlim_max};
    setrlimit(RLIMIT_CORE, &none);
}

/* fd is one that an exec hands on, or there is none. False for want of memory. */
static bool look_at(struct start_state *state, int fd)
{
    int flags = fcntl(fd, F_GETFD);
    bool inherited = flags >= 0 && !(flags & FD_CLOEXEC) && (fd >= 3 || !state->closed[fd]);
    return !inherited || remember(state, fd);
}

static bool remember_inherited(struct start_state *state)
{
    bool good = true;
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry = NULL;
    errno = 0;
    while (good && dir && (entry = readdir(dir))) {
        int fd = (int)strtol(entry->d_name, NULL, 10);
        good = entry->d_name[0] == '.' || fd == dirfd(dir) || look_at(state, fd);
        errno = 0;
    }
    bool listed = dir && errno == 0;
    if (dir)
        closedir(dir);
    if (listed || !good)
        return good;
    /* No /proc, or not all of it: each number that there can be. */
    long most = sysconf(_SC_OPEN_MAX);
    state->inherited_count = 0;
    for (int fd = 0; good && fd < (most > 65536 || most < 0 ? 65536 : (int)most); fd++)
        good = look_at(state, fd);
    return good;
}

struct start_state *start_state_save(void)
{
    struct start_state *state = calloc(1, sizeof(*state));
    if (!state)
        return NULL;
    leave_no_core(state);
    for (int s = 1; s < NSIG; s++)
        sigaction(s, NULL, &state->actions[s]);
    sigprocmask(SIG_SETMASK, NULL, &state->mask);
    for (int fd = 0; fd < 3; fd++) {
        state->closed[fd] = fcntl(fd, F_GETFD) < 0;
        if (state->closed[fd])
            open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY); /* the lowest free one: fd */
    }
    if (!remember_inherited(state)) {
        start_state_free(state);
        return NULL;
    }
    return state;
}

/* Every descriptor goes at exec, but those that were there. */
static void restore_descriptors(const struct start_state *state)
{
    if (syscall(SYS_close_range, 0U, ~0U, CLOSE_RANGE_CLOEXEC) < 0) {
        long most = sysconf(_SC_OPEN_MAX); /* a kernel before 5.11 */
        for (int fd = 0; fd < (most > 65536 || most < 0 ? 65536 : (int)most); fd++)
            fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    for (size_t i = 0; i < state->inherited_count; i++)
        fcntl(state->inherited[i], F_SETFD, 0);
}

bool exec_plain(const struct start_state *state, const char *path, const struct strlist *argv,
                struct error *err)
{
    unsetenv("QEMU_MIGRATE_LAUNCH_HOME");
    for (int s = 1; s < NSIG; s++)
        if (s != SIGKILL && s != SIGSTOP)
            sigaction(s, &state->actions[s], NULL);
    sigprocmask(SIG_SETMASK, &state->mask, NULL);
    setrlimit(RLIMIT_CORE, &state->core);
    restore_descriptors(state);
    execv(path, argv->items);
    return error_set_errno(err, STATUS_CONFIG, errno, "cannot run %s", path);
}

bool exec_qemu(const struct start_state *state, const struct qemu_binary *binary,
               const struct strlist *argv, struct error *err)
{
    if (!qemu_binary_check(binary, err))
        return false;
    systemd_ready_to_exec();
    return exec_plain(state, binary->path, argv, err);
}
