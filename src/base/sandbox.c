/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

/* gcc says it by a macro, clang by a feature. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define IS_SANITIZED 1
#else
#define IS_SANITIZED 0
#endif

/* Names that this libseccomp does not know, or this architecture does not have, are left out. What
 * only reads or writes open descriptors, waits, or manages this process's memory. */
static const char *const common_calls[] = {
    "read",
    "write",
    "readv",
    "writev",
    "recvfrom",
    "recvmsg",
    "accept",
    "accept4",
    "shutdown",
    "getsockopt",
    "setsockopt",
    "getsockname",
    "getpeername",
    "close",
    "dup",
    "dup2",
    "dup3",
    "fstat",
    "newfstatat",
    "fstat64",
    "lseek",
    "epoll_create1",
    "epoll_ctl",
    "epoll_ctl_old",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "pipe",
    "pipe2",
    "eventfd2",
    "socketpair",
    "brk",
    "munmap",
    "mremap",
    "madvise",
    "futex",
    "futex_waitv",
    "sched_yield",
    "rseq",
    "membarrier",
    "set_robust_list",
    "clock_gettime",
    "clock_getres",
    "gettimeofday",
    "time",
    "nanosleep",
    "clock_nanosleep",
    "timerfd_create",
    "timerfd_settime",
    "timerfd_gettime",
    "timer_settime",
    "getrandom",
    "getpid",
    "gettid",
    "getppid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "uname",
    "sysinfo",
    "getrusage",
    "getrlimit",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigreturn",
    "sigaltstack",
    "restart_syscall",
    "exit",
    "exit_group",
};

static const char *const guardian_calls[] = {
    "open",       "openat",
    "openat2",    "stat",
    "lstat",      "statx",
    "access",     "faccessat",
    "faccessat2", "readlink",
    "readlinkat", "getdents64",
    "rename",     "renameat",
    "renameat2",  "unlink",
    "unlinkat",   "mkdir",
    "mkdirat",    "rmdir",
    "fsync",      "fdatasync",
    "ftruncate",  "flock",
    "fchmod",     "fchmodat",
    "umask",      "pread64",
    "pwrite64",   "statfs",
    "fstatfs",    "getcwd",
    "bind",       "listen",
    "connect",    "kill",
    "pidfd_open", "pidfd_send_signal",
    "wait4",      "waitid",
    "splice",     "memfd_create",
    "chmod",      "link",
    "linkat",
};

/* Whoever asks for one of these is not this program. */
static const char *const deadly_calls[] = {
    "execve",
    "execveat",
    "fork",
    "vfork",

    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "unshare",
    "setns",
    "init_module",
    "finit_module",
    "kexec_load",
    "kexec_file_load",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "keyctl",
    "add_key",
    "request_key",
    "open_by_handle_at",
    "setuid",
    "setgid",
    "setresuid",
    "setresgid",
    "process_madvise",
    "pidfd_getfd",
    "kcmp",
    "move_mount",
    "open_tree",
};

static bool add_calls(scmp_filter_ctx filter, uint32_t action, const char *const names[],
                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int number = seccomp_syscall_resolve_name(names[i]);
        if (number == __NR_SCMP_ERROR || number < 0)
            continue;
        if (seccomp_rule_add(filter, action, number, 0) < 0)
            return false;
    }
    return true;
}

/* Its own limits to be read, not set. Memory, but none that can be executed; threads, but no
 * processes: what is asked by clone3 cannot be looked into, and a C library that is told that there
 * is none asks by clone. */
static bool add_limited_calls(scmp_filter_ctx filter)
{
    const scmp_datum_t thread = CLONE_THREAD;
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2,
                            SCMP_A0(SCMP_CMP_EQ, 0, 0), SCMP_A2(SCMP_CMP_EQ, 0, 0)) >= 0 &&
           seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                            SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) >= 0 &&
           seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                            SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) >= 0 &&
           seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) >= 0 &&
           seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                            SCMP_A0(SCMP_CMP_MASKED_EQ, thread, thread)) >= 0 &&
           seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, SCMP_SYS(clone), 1,
                            SCMP_A0(SCMP_CMP_MASKED_EQ, thread, 0)) >= 0;
}

/* Allow the call where its argument, an int, is one of these. */
static bool add_values(scmp_filter_ctx filter, const char *name, unsigned argument,
                       const unsigned values[], size_t count)
{
    int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR || number < 0)
        return true;
    for (size_t i = 0; i < count; i++)
        if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 1,
                             SCMP_CMP(argument, SCMP_CMP_MASKED_EQ, UINT32_MAX, values[i])) < 0)
            return false;
    return true;
}

/* Signals to itself only: tgkill reaches whoever has the same user, and so does the kernel for an
 * owner set by fcntl or ioctl. No other ioctl: TIOCSTI types at the terminal that standard error
 * may be. A message that is the first one of a connection (MSG_FASTOPEN) connects, and is no
 * connect(2) to Landlock. */
static bool add_careful_calls(scmp_filter_ctx filter)
{
    const unsigned descriptors[] = {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL};
    const unsigned requests[] = {FIONREAD, FIONBIO, TCGETS};
    const scmp_datum_t self = (scmp_datum_t)getpid(), connects = MSG_FASTOPEN;
    return add_values(filter, "fcntl", 1, descriptors, COUNT_OF(descriptors)) &&
           add_values(filter, "fcntl64", 1, descriptors, COUNT_OF(descriptors)) &&
           add_values(filter, "ioctl", 1, requests, COUNT_OF(requests)) &&
           seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                            SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, self)) >= 0 &&
           seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(sendto), 1,
                            SCMP_A3(SCMP_CMP_MASKED_EQ, connects, 0)) >= 0 &&
           seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(sendmsg), 1,
                            SCMP_A2(SCMP_CMP_MASKED_EQ, connects, 0)) >= 0;
}

static bool add_sockets(scmp_filter_ctx filter)
{
    const int families[] = {AF_UNIX, AF_INET, AF_INET6};
    for (size_t i = 0; i < COUNT_OF(families); i++)
        if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                             SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i], 0)) < 0)
            return false;
    return true;
}

static bool restrict_calls(enum sandbox_kind kind, struct error *err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!filter)
        return error_no_memory(err);
    bool good = add_calls(filter, SCMP_ACT_ALLOW, common_calls, COUNT_OF(common_calls)) &&
                (kind != SANDBOX_GUARDIAN ||
                 (add_calls(filter, SCMP_ACT_ALLOW, guardian_calls, COUNT_OF(guardian_calls)) &&
                  add_sockets(filter))) &&
                add_calls(filter, SCMP_ACT_KILL_PROCESS, deadly_calls, COUNT_OF(deadly_calls)) &&
                add_limited_calls(filter) && add_careful_calls(filter);
    int status = good ? seccomp_load(filter) : -EINVAL;
    seccomp_release(filter);
    if (status < 0)
        return error_set_errno(err, STATUS_INTERNAL, -status,
                               "the kernel takes no seccomp filter (--no-sandbox does without)");
    return true;
}

static bool off;

void sandbox_switch_off(void)
{
    off = true;
}

bool sandbox_enter(const struct sandbox *sandbox, struct error *err)
{
    if (off)
        log_warning("%s is not locked in (--no-sandbox): whoever takes it over can do what its "
                    "user can",
                    sandbox->kind == SANDBOX_NETWORK ? "the network process" : "the guardian");
    if (off || IS_SANITIZED)
        return true;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return error_set_errno(err, STATUS_INTERNAL, errno, "cannot give up new privileges");
    return sandbox_limit(sandbox->kind, err) && sandbox_restrict_files(sandbox, err) &&
           restrict_calls(sandbox->kind, err);
}
