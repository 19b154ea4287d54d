/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A process that is locked in, and what it tries then.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/sandbox.h"

/* What a try tells by its exit status, besides errno. */
#define DONE 0
#define NOT_LOCKED 200

static bool is_locked_in(void)
{
#if defined(__SANITIZE_ADDRESS__)
    return false;
#else
    return true;
#endif
}

static bool has_landlock(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0;
}

static void path_in(char path[128], const char *name)
{
    snprintf(path, 128, "%s/%s", unit_folder, name);
}

/* Run `attempt` locked in; a wait status. */
static int locked_in(enum sandbox_kind kind, int (*attempt)(void))
{
    char read[128], write[128];
    path_in(read, "read");
    path_in(write, "write");
    const char *const reads[] = {read, "/nonexistent", NULL}, *const writes[] = {write, NULL};
    const struct sandbox sandbox = {.kind = kind, .read = reads, .write = writes};
    pid_t pid = fork();
    if (pid == 0)
        _exit(sandbox_enter(&sandbox, NULL) ? attempt() : NOT_LOCKED);
    int status = -1;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

static int try_exec(void)
{
    char *const words[] = {(char *)"/bin/true", NULL};
    execv(words[0], words);
    return errno;
}

static int try_fork(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return pid < 0 ? errno : DONE;
}

static int try_trace(void)
{
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 ? errno : DONE;
}

static int try_unshare(void)
{
    return syscall(SYS_unshare, 0) < 0 ? errno : DONE;
}

static int try_setuid(void)
{
    return syscall(SYS_setuid, getuid()) < 0 ? errno : DONE;
}

static int try_memory(int protection)
{
    void *memory = mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? errno : DONE;
}

static int try_code(void)
{
    return try_memory(PROT_READ | PROT_EXEC);
}

static int try_data(void)
{
    return try_memory(PROT_READ | PROT_WRITE);
}

static int try_making_code(void)
{
    static char page[8192] __attribute__((aligned(4096)));
    return mprotect(page, 4096, PROT_READ | PROT_EXEC) < 0 ? errno : DONE;
}

static int try_open(const char *name, int flags)
{
    char path[128];
    path_in(path, name);
    return open(path, flags | O_CLOEXEC, 0600) < 0 ? errno : DONE;
}

static int try_reading_allowed(void)
{
    return try_open("read/file", O_RDONLY);
}

static int try_writing_what_is_to_read(void)
{
    return try_open("read/file", O_WRONLY);
}

static int try_writing_allowed(void)
{
    return try_open("write/new", O_WRONLY | O_CREAT | O_TRUNC);
}

static int try_reading_elsewhere(void)
{
    return try_open("elsewhere", O_RDONLY);
}

/* As all files are written: another one in place of the old. */
static int try_replacing(void)
{
    char from[128], to[128];
    path_in(from, "write/fresh");
    path_in(to, "write/old");
    int fd = open(from, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, "x", 1) != 1 || fsync(fd) < 0 || rename(from, to) < 0)
        return errno;
    return DONE;
}

static int try_socket(int family, int type)
{
    return socket(family, type | SOCK_CLOEXEC, 0) < 0 ? errno : DONE;
}

static int try_local_socket(void)
{
    return try_socket(AF_UNIX, SOCK_STREAM);
}

static int try_netlink(void)
{
    return try_socket(AF_NETLINK, SOCK_RAW);
}

static int try_packets(void)
{
    return try_socket(AF_PACKET, SOCK_RAW);
}

/* EACCES comes from Landlock; without it nobody listens there. */
static int try_connecting(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(1)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    return connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? errno : DONE;
}

static void *nothing(void *context)
{
    return context;
}

/* The network process may make none, but root, whom RLIMIT_NPROC does not concern, can. */
static int try_thread(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NPROC, &limit) == 0 && limit.rlim_max == 0)
        return DONE;
    pthread_t thread;
    int status = pthread_create(&thread, NULL, nothing, NULL);
    return status != 0 ? status : pthread_join(thread, NULL);
}

static int try_signal(void)
{
    return kill(getpid(), 0) < 0 ? errno : DONE;
}

/* The one that it came from would hear it. */
static int try_signal_by_thread(void)
{
    return syscall(SYS_tgkill, getppid(), getppid(), 0) < 0 ? errno : DONE;
}

static int try_signal_to_itself(void)
{
    return syscall(SYS_tgkill, getpid(), getpid(), 0) < 0 ? errno : DONE;
}

static int try_signal_by_owner(void)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return DONE;
    return fcntl(pair[0], F_SETOWN, getppid()) < 0 ? errno : DONE;
}

static int try_signal_by_request(void)
{
    int pair[2], owner = getppid();
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return DONE;
    return ioctl(pair[0], FIOSETOWN, &owner) < 0 ? errno : DONE;
}

/* ENOTTY would be the kernel's word. */
static int try_typing(void)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return DONE;
    return ioctl(pair[0], TIOCSTI, "x") < 0 ? errno : DONE;
}

static int listener = -1;

/* A listener that is shut down can be used to connect. Nobody listens on port 1. */
static int try_connecting_by_sending(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(1)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    shutdown(listener, SHUT_RDWR);
    return sendto(listener, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, (struct sockaddr *)&address,
                  sizeof(address)) < 0
               ? errno
               : DONE;
}

static int try_connecting_by_a_message(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(1)};
    struct iovec bytes = {.iov_base = (char[]){'x'}, .iov_len = 1};
    struct msghdr message = {
        .msg_name = &address, .msg_namelen = sizeof(address), .msg_iov = &bytes, .msg_iovlen = 1};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    shutdown(listener, SHUT_RDWR);
    return sendmsg(listener, &message, MSG_FASTOPEN | MSG_NOSIGNAL) < 0 ? errno : DONE;
}

static int try_proc(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    return file ? DONE : errno;
}

static int try_core(void)
{
    struct rlimit limit = {.rlim_max = 1};
    getrlimit(RLIMIT_CORE, &limit);
    return limit.rlim_max == 0 ? EPERM : DONE;
}

static int try_much_memory(void)
{
    void *memory = mmap(NULL, (size_t)3 << 30, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? errno : DONE;
}

static int try_many_descriptors(void)
{
    for (int i = 0; i < 600; i++)
        if (dup(0) < 0)
            return errno;
    return DONE;
}

static int try_long_file(void)
{
    char path[128];
    path_in(path, "write/long");
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    return fd < 0 || pwrite(fd, "x", 1, 64 << 20) < 0 ? errno : DONE;
}

static int try_file_of_ours(void)
{
    char path[128];
    path_in(path, "write/ours");
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    return fd < 0 || pwrite(fd, "x", 1, 60 << 20) < 0 ? errno : DONE;
}

static int try_raising_a_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return DONE;
    return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? errno : DONE;
}

#define DIES -1 /* by SIGSYS */

static const struct {
    const char *name;
    int (*attempt)(void);
    int network; /* DIES, errno or DONE */
    int guardian;
    bool by_landlock; /* the guardian's end needs it */
} rows[] = {
    {"execute a program", try_exec, DIES, DIES, false},
    {"make a process", try_fork, DIES, DIES, false},
    {"be traced", try_trace, DIES, DIES, false},
    {"enter a namespace", try_unshare, DIES, DIES, false},
    {"be somebody else", try_setuid, DIES, DIES, false},
    {"map code", try_code, EPERM, EPERM, false},
    {"make code of data", try_making_code, EPERM, EPERM, false},
    {"map data", try_data, DONE, DONE, false},
    {"make a thread", try_thread, DONE, DONE, false},
    {"read where it may", try_reading_allowed, EPERM, DONE, false},
    {"write where it may read", try_writing_what_is_to_read, EPERM, EACCES, true},
    {"write where it may", try_writing_allowed, EPERM, DONE, false},
    {"replace a file", try_replacing, EPERM, DONE, false},
    {"read elsewhere", try_reading_elsewhere, EPERM, EACCES, true},
    {"read /proc, which is not among its folders", try_proc, EPERM, EACCES, true},
    {"make a local socket", try_local_socket, EPERM, DONE, false},
    {"ask the kernel about the network", try_netlink, EPERM, EPERM, false},
    {"listen to all packets", try_packets, EPERM, EPERM, false},
    {"connect to a host", try_connecting, EPERM, EACCES, true},
    {"connect by a listener that is shut down", try_connecting_by_sending, EPERM, EPERM, false},
    {"connect by a message", try_connecting_by_a_message, EPERM, EPERM, false},
    {"signal a process", try_signal, EPERM, DONE, false},
    {"signal a thread of another process", try_signal_by_thread, EPERM, EPERM, false},
    {"signal itself", try_signal_to_itself, DONE, DONE, false},
    {"have the kernel signal a socket's owner", try_signal_by_owner, EPERM, EPERM, false},
    {"have it do so by an ioctl", try_signal_by_request, EPERM, EPERM, false},
    {"type at a terminal", try_typing, EPERM, EPERM, false},
    {"leave a core", try_core, EPERM, EPERM, false},
    {"take much memory", try_much_memory, ENOMEM, ENOMEM, false},
    {"open many descriptors", try_many_descriptors, EMFILE, EMFILE, false},
    {"write a long file", try_long_file, EPERM, EFBIG, false},
    {"write a file", try_file_of_ours, EPERM, DONE, false},
    {"set its limits", try_raising_a_limit, EPERM, EPERM, false},
};

static void check_end(const char *name, const char *who, int status, int expected)
{
    if (expected == DIES)
        ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS,
                      "%s: %s: wait status %#x, not killed by SIGSYS", who, name, status);
    else
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == expected,
                      "%s: %s: wait status %#x, not exit status %d", who, name, status, expected);
}

static void make_files(void)
{
    static const char *const folders[] = {"read", "write"};
    static const char *const files[] = {"read/file", "elsewhere", "write/old"};
    char path[128];
    for (size_t i = 0; i < COUNT(folders); i++) {
        path_in(path, folders[i]);
        ck_assert_int_eq(mkdir(path, 0700), 0);
    }
    for (size_t i = 0; i < COUNT(files); i++) {
        path_in(path, files[i]);
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ck_assert_int_ge(fd, 0);
        close(fd);
    }
}

START_TEST(attempts)
{
    make_files();
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(listener, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    for (size_t i = 0; is_locked_in() && i < COUNT(rows); i++) {
        check_end(rows[i].name, "network", locked_in(SANDBOX_NETWORK, rows[i].attempt),
                  rows[i].network);
        if (!rows[i].by_landlock || has_landlock())
            check_end(rows[i].name, "guardian", locked_in(SANDBOX_GUARDIAN, rows[i].attempt),
                      rows[i].guardian);
    }
    close(listener);
}
END_TEST

/* prctl, which tells it, is not for those who are locked in. */
START_TEST(memory_is_its_own)
{
    for (int kind = SANDBOX_NETWORK; kind <= SANDBOX_GUARDIAN; kind++) {
        int status = -1;
        pid_t pid = fork();
        if (pid == 0)
            _exit(sandbox_limit(kind, NULL) ? prctl(PR_GET_DUMPABLE) : NOT_LOCKED);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(status, 0);
    }
}
END_TEST

START_TEST(switched_off)
{
    make_files();
    sandbox_switch_off();
    check_end("execute", "switched off", locked_in(SANDBOX_NETWORK, try_exec), DONE);
    check_end("read", "switched off", locked_in(SANDBOX_GUARDIAN, try_reading_elsewhere), DONE);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {attempts, memory_is_its_own, switched_off};
    return unit_run("sandbox", tests, COUNT(tests));
}
