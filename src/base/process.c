/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/pidfd.h"
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/strings.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

/* Runs in the child after fork: async-signal-safe calls only. */
static void become(char *const argv[], int output, int null, int inherit, int report, pid_t parent)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t none;
    for (int s = 1; s < NSIG; s++)
        sigaction(s, &action, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0); /* so that all that it starts can be ended with it (QEMU may be a script) */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    if (dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0)
        goto failed;
    if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) < 0) {
        long most = sysconf(_SC_OPEN_MAX); /* a kernel before 5.11 */
        for (int fd = 3; fd < (most > 65536 || most < 0 ? 65536 : (int)most); fd++)
            fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    if (inherit >= 0 && fcntl(inherit, F_SETFD, 0) < 0)
        goto failed;
    execv(argv[0], argv);
failed:;
    int error = errno;
    ssize_t ignored = write(report, &error, sizeof(error));
    (void)ignored;
    _exit(127);
}

bool process_start(struct process *process, char *const argv[], int inherit, struct error *err)
{
    int out[2] = {-1, -1}, report[2] = {-1, -1};
    autoclose int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    bool piped = null >= 0 && pipe2(out, O_CLOEXEC) == 0;
    autoclose int out_read = out[0], out_write = out[1];
    piped = piped && pipe2(report, O_CLOEXEC) == 0;
    autoclose int report_read = report[0], report_write = report[1];
    if (!piped || fcntl(out_read, F_SETFL, O_NONBLOCK) < 0)
        return error_set_errno(err, STATUS_INTERNAL, errno, "cannot start %s", argv[0]);

    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        return error_set_errno(err, STATUS_INTERNAL, errno, "cannot start %s", argv[0]);
    if (pid == 0)
        become(argv, out_write, null, inherit, report_write, parent);

    close(steal_fd(&report_write));
    int error = 0;
    ssize_t n;
    do {
        n = read(report_read, &error, sizeof(error));
    } while (n < 0 && errno == EINTR);
    if (n != 0) {
        waitpid(pid, NULL, 0);
        return error_set_errno(err, STATUS_CONFIG, n == sizeof(error) ? error : EIO,
                               "cannot run %s", argv[0]);
    }
    int pidfd = pidfd_open_process(pid);
    if (pidfd < 0) {
        int saved = errno;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return error_set_errno(err, STATUS_INTERNAL, saved, "cannot watch %s", argv[0]);
    }
    process->pid = pid;
    process->pidfd = pidfd;
    process->output_fd = steal_fd(&out_read);
    return true;
}

/* End what a process has started, too. It must not be reaped yet: until then nobody else has its
 * number. The group is not there if the process could not make it; then it has started nothing. */
static void end_group(pid_t pid)
{
    kill(-pid, SIGKILL);
}

int process_wait(struct process *process, deadline when, int *wait_status)
{
    struct pollfd ended = {.fd = process->pidfd, .events = POLLIN};
    for (;;) {
        int left = deadline_left_ms(when);
        int n = poll(&ended, 1, left);
        if (n > 0)
            break;
        if (n == 0)
            return 0;
        if (errno != EINTR)
            return 0;
    }
    int status = 0;
    end_group(process->pid);
    while (waitpid(process->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    process->pid = -1;
    if (wait_status)
        *wait_status = status;
    return 1;
}

char *process_read_output(struct process *process)
{
    autostrbuf struct strbuf buf = {0};
    if (process->output_fd >= 0) {
        char chunk[4096];
        ssize_t n;
        while ((n = read(process->output_fd, chunk, sizeof(chunk))) > 0) {
            size_t room = PROCESS_OUTPUT_MAX - buf.length;
            strbuf_add(&buf, chunk, (size_t)n < room ? (size_t)n : room);
            if (buf.length >= PROCESS_OUTPUT_MAX)
                break;
        }
    }
    for (size_t i = 0; i < buf.length; i++) {
        unsigned char c = (unsigned char)buf.data[i];
        if ((c < 0x20 && c != '\n') || c > 0x7e)
            buf.data[i] = c == '\t' ? ' ' : '?';
    }
    return strbuf_steal(&buf);
}

void process_end(struct process *process)
{
    if (process->pid > 0) {
        end_group(process->pid);
        kill(process->pid, SIGKILL);
        while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    if (process->pidfd >= 0)
        close(process->pidfd);
    if (process->output_fd >= 0)
        close(process->output_fd);
    *process = (struct process)PROCESS_INIT;
}

const char *process_describe_status(int wait_status, char *buffer, size_t size)
{
    if (WIFSIGNALED(wait_status))
        snprintf(buffer, size, "was killed by signal %d (%s)", WTERMSIG(wait_status),
                 strsignal(WTERMSIG(wait_status)));
    else
        snprintf(buffer, size, "exited with status %d", WEXITSTATUS(wait_status));
    return buffer;
}

static bool is_executable(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* A file that is this program, by whatever name and link. */
static bool is_own_file(const char *path)
{
    struct stat own, st;
    return stat("/proc/self/exe", &own) == 0 && stat(path, &st) == 0 && own.st_dev == st.st_dev &&
           own.st_ino == st.st_ino;
}

static char *find_on_path(const char *name, struct error *err)
{
    const char *search = getenv("PATH");
    autofree char *found = NULL;
    bool skipped = false;
    for (const char *p = search ? search : "/usr/bin:/bin"; *name;) {
        size_t length = strcspn(p, ":");
        autofree char *path = length > 0 ? string_format("%.*s/%s", (int)length, p, name)
                                         : string_format("./%s", name);
        if (!path) {
            error_no_memory(err);
            return NULL;
        }
        if (is_executable(path) && is_own_file(path)) {
            free(STEAL(found));
            skipped = true;
        } else if (!found && is_executable(path)) {
            found = STEAL(path);
        }
        if (!p[length])
            break;
        p += length + 1;
    }
    if (!found)
        error_set(err, STATUS_CONFIG, "%s: not found on PATH%s", name,
                  skipped ? " behind this program itself, which is called so there: install QEMU, "
                            "or put its folder last"
                          : "");
    return STEAL(found);
}

char *process_find_executable(const char *name, struct error *err)
{
    if (!strchr(name, '/'))
        return find_on_path(name, err);
    if (!is_executable(name) || is_own_file(name)) {
        error_set(err, STATUS_CONFIG, "%s: %s", name,
                  is_executable(name)
                      ? "it is this program itself, not QEMU: name QEMU's own file"
                      : "no such executable: see that QEMU is installed, and its path");
        return NULL;
    }
    char *path = strdup(name);
    if (!path)
        error_no_memory(err);
    return path;
}

void process_close_others(int keep)
{
    if ((keep <= 3 || syscall(SYS_close_range, 3U, (unsigned)keep - 1, 0U) == 0) &&
        syscall(SYS_close_range, (unsigned)keep + 1, ~0U, 0U) == 0)
        return;
    long most = sysconf(_SC_OPEN_MAX); /* a kernel before 5.9 */
    for (int fd = 3; fd < (most > 65536 || most < 0 ? 65536 : (int)most); fd++)
        if (fd != keep)
            close(fd);
}

/* Segments that cannot be written: what the loader relocates is in the others, also where it is
 * read-only afterwards (RELRO). */
static int forget_segments(struct dl_phdr_info *object, size_t size, void *context)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W))
            continue;
        uintptr_t first = object->dlpi_addr + segment->p_vaddr;
        uintptr_t end = (first + segment->p_filesz) & ~(page - 1);
        first = (first + page - 1) & ~(page - 1);
        if (first < end)
            madvise((void *)first, end - first, MADV_DONTNEED); /* if not, it stays: no harm */
    }
    return 0;
}

void process_rest(void)
{
    malloc_trim(0);
    dl_iterate_phdr(forget_segments, NULL);
}
