/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whether a record's QEMU still runs. What cannot be found out is never taken for its end: the
 * guest could be started twice.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/pidfd.h"
#include "base/proc.h"
#include "base/unix_socket.h"
#include "host/system.h"
#include "vm/command_line.h"
#include "vm/record.h"

#define STAT_SIZE 1024

/* /proc/PID/stat as text, without memory of its own. LIFE_RUNS: it is there. */
static enum vm_life read_stat(int64_t pid, char text[STAT_SIZE])
{
    char path[64];
    size_t length = 0;
    ssize_t n;
    snprintf(path, sizeof(path), "/proc/%lld/stat", (long long)pid);
    autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? LIFE_ENDED : LIFE_UNKNOWN;
    do {
        n = read(fd, text + length, STAT_SIZE - 1 - length);
        length += n > 0 ? (size_t)n : 0;
    } while ((n > 0 && length < STAT_SIZE - 1) || (n < 0 && errno == EINTR));
    text[length] = '\0';
    if (n < 0)
        return errno == ESRCH ? LIFE_ENDED : LIFE_UNKNOWN;
    return LIFE_RUNS;
}

/* When the process started, in clock ticks since boot. */
static enum vm_life process_start_time(int64_t pid, uint64_t *started)
{
    char text[STAT_SIZE];
    enum vm_life life = read_stat(pid, text);
    if (life != LIFE_RUNS)
        return life;
    char state;
    if (!proc_stat(text, &state, started))
        return LIFE_UNKNOWN;
    return state != 'Z' && state != 'X' ? LIFE_RUNS : LIFE_ENDED;
}

/* The process that listens on the record's socket into pid (SO_PEERCRED, unix(7)). LIFE_ENDED:
 * nobody does. */
static enum vm_life find_listener(const struct vm_record *record, int64_t *pid)
{
    struct ucred who;
    socklen_t size = sizeof(who);
    autoclose int fd = unix_connect(record->socket, SOCK_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ECONNREFUSED ? LIFE_ENDED
                                                                            : LIFE_UNKNOWN;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0)
        return LIFE_UNKNOWN;
    *pid = who.pid;
    return who.pid > 0 ? LIFE_RUNS : LIFE_ENDED;
}

/* Who listens on the record's own socket is its QEMU. */
static enum vm_life look_behind_socket(struct vm_record *record)
{
    uint64_t started;
    int64_t pid;
    /* At a socket that the user chose another QEMU may listen by now. */
    if (!vm_socket_is_private(record->socket, record->vm))
        return LIFE_ENDED;
    enum vm_life life = find_listener(record, &pid);
    if (life == LIFE_RUNS)
        life = process_start_time(pid, &started);
    if (life == LIFE_RUNS) {
        record->pid = pid;
        record->started = started;
    }
    return life;
}

enum vm_life vm_record_look(struct vm_record *record)
{
    char boot_id[40];
    uint64_t started;
    if (!record->vm)
        return LIFE_ENDED;
    bool boot_known = system_boot_id(boot_id, sizeof(boot_id), NULL);
    if (boot_known && strcmp(boot_id, record->boot_id) != 0)
        return LIFE_ENDED;
    enum vm_life life = process_start_time(record->pid, &started);
    if (life == LIFE_RUNS && started != record->started)
        life = LIFE_ENDED;
    if (life == LIFE_ENDED)
        life = look_behind_socket(record);
    return life == LIFE_RUNS && !boot_known ? LIFE_UNKNOWN : life;
}

bool vm_record_is_running(struct vm_record *record)
{
    return vm_record_look(record) != LIFE_ENDED;
}

enum vm_life vm_record_open_process(struct vm_record *record, int *pidfd)
{
    *pidfd = -1;
    enum vm_life life = vm_record_look(record);
    if (life != LIFE_RUNS)
        return life;
    autoclose int fd = pidfd_open_process((pid_t)record->pid);
    if (fd < 0)
        return errno == ESRCH ? LIFE_ENDED : LIFE_UNKNOWN;
    /* Between the look and the descriptor it may have become another one. */
    life = vm_record_look(record);
    if (life == LIFE_RUNS)
        *pidfd = steal_fd(&fd);
    return life;
}

bool vm_record_set_self(struct vm_record *record, struct error *err)
{
    return vm_record_set_process(record, getpid(), err);
}

bool vm_record_set_process(struct vm_record *record, pid_t pid, struct error *err)
{
    uint64_t started;
    enum vm_life life = process_start_time(pid, &started);
    if (life == LIFE_UNKNOWN)
        return error_set(err, STATUS_INTERNAL, "/proc does not tell when process %ld was started",
                         (long)pid);
    if (life != LIFE_RUNS)
        return error_set(err, STATUS_CONFIG, "there is no process %ld", (long)pid);
    record->pid = pid;
    record->started = started;
    return system_boot_id(record->boot_id, sizeof(record->boot_id), err);
}
