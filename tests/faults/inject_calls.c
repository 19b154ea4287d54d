/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The functions that inject.c makes fail. Without _FORTIFY_SOURCE, and without the headers' own
 * forms of what is defined here.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "inject.h"

/* A function that fails by returning `failure`, with errno. */
#define STAND_IN(class, type, name, failure, parameters, ...)                                      \
    type name parameters                                                                           \
    {                                                                                              \
        static void *next;                                                                         \
        if (inject_fails(class, #name))                                                            \
            return failure;                                                                        \
        return ((type(*) parameters)inject_next(&next, #name))(__VA_ARGS__);                       \
    }

/* Memory. What dlsym itself asks for, before the next malloc is known, comes from here. */

static _Alignas(16) char early[4096];
static size_t early_used;

static void *early_memory(size_t size)
{
    size_t start = early_used;
    early_used += (size + 15) & ~(size_t)15;
    return early_used <= sizeof(early) ? early + start : NULL;
}

static bool is_early(const void *p)
{
    return (const char *)p >= early && (const char *)p < early + sizeof(early);
}

static bool finding;

/* Like inject_next; NULL while it looks for one of these. */
static void *next_memory(void **kept, const char *name)
{
    if (*kept || finding)
        return *kept;
    finding = true;
    inject_next(kept, name);
    finding = false;
    return *kept;
}

void *malloc(size_t size)
{
    static void *kept;
    void *(*next)(size_t) = (void *(*)(size_t))next_memory(&kept, "malloc");
    if (!next)
        return early_memory(size);
    return inject_fails(INJECT_ALLOC, "malloc") ? NULL : next(size);
}

void *calloc(size_t count, size_t size)
{
    static void *kept;
    void *(*next)(size_t, size_t) = (void *(*)(size_t, size_t))next_memory(&kept, "calloc");
    if (!next)
        return early_memory(count * size);
    return inject_fails(INJECT_ALLOC, "calloc") ? NULL : next(count, size);
}

void *realloc(void *p, size_t size)
{
    static void *kept;
    void *(*next)(void *, size_t) = (void *(*)(void *, size_t))next_memory(&kept, "realloc");
    if (!next || is_early(p))
        return NULL;
    return inject_fails(INJECT_ALLOC, "realloc") ? NULL : next(p, size);
}

void free(void *p)
{
    static void *kept;
    void (*next)(void *) = (void (*)(void *))next_memory(&kept, "free");
    if (next && !is_early(p))
        next(p);
}

STAND_IN(INJECT_ALLOC, void *, reallocarray, NULL, (void *p, size_t n, size_t size), p, n, size)
STAND_IN(INJECT_ALLOC, void *, aligned_alloc, NULL, (size_t align, size_t size), align, size)
STAND_IN(INJECT_ALLOC, void *, memalign, NULL, (size_t align, size_t size), align, size)
STAND_IN(INJECT_ALLOC, int, posix_memalign, ENOMEM, (void **p, size_t align, size_t size), p, align,
         size)

/* Reading and writing. */

/* A read or write of `size` bytes that is to fail by being short: of one byte. */
static size_t shortened(bool fails, size_t size)
{
    return fails && inject_shortens() && size > 1 ? 1 : size;
}

#define TRANSFER(class, name, parameters, ...)                                                     \
    ssize_t name parameters                                                                        \
    {                                                                                              \
        static void *next;                                                                         \
        bool fails = fd != STDERR_FILENO && inject_fails(class, #name);                            \
        if (fails && !inject_shortens())                                                           \
            return -1;                                                                             \
        size = shortened(fails, size);                                                             \
        return ((ssize_t(*) parameters)inject_next(&next, #name))(__VA_ARGS__);                    \
    }

TRANSFER(INJECT_READ, read, (int fd, void *p, size_t size), fd, p, size)
TRANSFER(INJECT_READ, pread, (int fd, void *p, size_t size, off_t at), fd, p, size, at)
TRANSFER(INJECT_READ, pread64, (int fd, void *p, size_t size, off_t at), fd, p, size, at)
TRANSFER(INJECT_READ, recv, (int fd, void *p, size_t size, int flags), fd, p, size, flags)
TRANSFER(INJECT_READ, recvfrom,
         (int fd, void *p, size_t size, int flags, struct sockaddr *from, socklen_t *length), fd, p,
         size, flags, from, length)
TRANSFER(INJECT_WRITE, write, (int fd, const void *p, size_t size), fd, p, size)
TRANSFER(INJECT_WRITE, send, (int fd, const void *p, size_t size, int flags), fd, p, size, flags)
TRANSFER(INJECT_WRITE, sendto,
         (int fd, const void *p, size_t size, int flags, const struct sockaddr *to, socklen_t n),
         fd, p, size, flags, to, n)

/* These are not made short. */
#define TRANSFER_WHOLE(class, name, parameters, ...)                                               \
    ssize_t name parameters                                                                        \
    {                                                                                              \
        static void *next;                                                                         \
        if (inject_fails(class, #name) && !inject_shortens())                                      \
            return -1;                                                                             \
        return ((ssize_t(*) parameters)inject_next(&next, #name))(__VA_ARGS__);                    \
    }
TRANSFER_WHOLE(INJECT_READ, readv, (int fd, const struct iovec *v, int n), fd, v, n)
TRANSFER_WHOLE(INJECT_WRITE, writev, (int fd, const struct iovec *v, int n), fd, v, n)
TRANSFER_WHOLE(INJECT_READ, recvmsg, (int fd, struct msghdr *message, int flags), fd, message,
               flags)
TRANSFER_WHOLE(INJECT_WRITE, sendmsg, (int fd, const struct msghdr *m, int flags), fd, m, flags)
TRANSFER_WHOLE(INJECT_READ, getrandom, (void *p, size_t size, unsigned flags), p, size, flags)
TRANSFER_WHOLE(INJECT_READ, getdelim, (char **line, size_t *size, int end, FILE *file), line, size,
               end, file)
STAND_IN(INJECT_READ, struct dirent *, readdir, NULL, (DIR * dir), dir)
STAND_IN(INJECT_READ, struct dirent64 *, readdir64, NULL, (DIR * dir), dir)

/* A stream whose descriptor fails: the C library reads it without any of these. */
static bool stream_fails(FILE *file, const char *function)
{
    if (!inject_fails(INJECT_READ, function) || inject_shortens())
        return false;
    file->_flags |= 0x20; /* _IO_ERR_SEEN: ferror */
    return true;
}

char *fgets(char *line, int size, FILE *file)
{
    static void *next;
    if (stream_fails(file, "fgets"))
        return NULL;
    return ((char *(*)(char *, int, FILE *))inject_next(&next, "fgets"))(line, size, file);
}

int fgetc(FILE *file)
{
    static void *next;
    if (stream_fails(file, "fgetc"))
        return EOF;
    return ((int (*)(FILE *))inject_next(&next, "fgetc"))(file);
}

/* Files. */

STAND_IN(INJECT_SYNC, int, fsync, -1, (int fd), fd)
STAND_IN(INJECT_SYNC, int, fdatasync, -1, (int fd), fd)
STAND_IN(INJECT_FILE, int, rename, -1, (const char *from, const char *to), from, to)
STAND_IN(INJECT_FILE, int, link, -1, (const char *from, const char *to), from, to)
STAND_IN(INJECT_FILE, int, unlink, -1, (const char *path), path)
STAND_IN(INJECT_FILE, int, mkdir, -1, (const char *path, mode_t mode), path, mode)
STAND_IN(INJECT_FILE, int, fchmod, -1, (int fd, mode_t mode), fd, mode)
STAND_IN(INJECT_FILE, int, ftruncate, -1, (int fd, off_t size), fd, size)
STAND_IN(INJECT_FILE, int, ftruncate64, -1, (int fd, off_t size), fd, size)
STAND_IN(INJECT_FILE, int, flock, -1, (int fd, int operation), fd, operation)
STAND_IN(INJECT_FILE, int, stat, -1, (const char *path, struct stat *st), path, st)
STAND_IN(INJECT_FILE, int, lstat, -1, (const char *path, struct stat *st), path, st)
STAND_IN(INJECT_FILE, int, fstat, -1, (int fd, struct stat *st), fd, st)
STAND_IN(INJECT_FILE, int, fstatat, -1, (int fd, const char *path, struct stat *st, int flags), fd,
         path, st, flags)
STAND_IN(INJECT_FILE, int, access, -1, (const char *path, int mode), path, mode)
STAND_IN(INJECT_FILE, int, chdir, -1, (const char *path), path)
STAND_IN(INJECT_FILE, ssize_t, readlink, -1, (const char *path, char *p, size_t size), path, p,
         size)
STAND_IN(INJECT_FILE, char *, realpath, NULL, (const char *path, char *result), path, result)
STAND_IN(INJECT_FILE, char *, getcwd, NULL, (char *p, size_t size), p, size)

/* glibc 2.41 declares it in <sys/epoll.h>, as it is: with arguments that nobody knows. */
int ioctl(int fd, unsigned long request, ...)
{
    static void *next;
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (inject_fails(INJECT_FILE, "ioctl"))
        return -1;
    return ((int (*)(int, unsigned long, ...))inject_next(&next, "ioctl"))(fd, request, argument);
}

STAND_IN(INJECT_OPEN, FILE *, fopen, NULL, (const char *path, const char *mode), path, mode)
STAND_IN(INJECT_OPEN, FILE *, fopen64, NULL, (const char *path, const char *mode), path, mode)
STAND_IN(INJECT_OPEN, DIR *, opendir, NULL, (const char *path), path)
STAND_IN(INJECT_OPEN, int, mkostemp, -1, (char *path, int flags), path, flags)
STAND_IN(INJECT_OPEN, int, memfd_create, -1, (const char *name, unsigned flags), name, flags)
STAND_IN(INJECT_OPEN, int, __open_2, -1, (const char *path, int flags), path, flags)
STAND_IN(INJECT_OPEN, int, dup2, -1, (int from, int to), from, to)
STAND_IN(INJECT_OPEN, int, dup3, -1, (int from, int to, int flags), from, to, flags)
STAND_IN(INJECT_OPEN, int, pipe2, -1, (int fds[2], int flags), fds, flags)
STAND_IN(INJECT_OPEN, int, eventfd, -1, (unsigned value, int flags), value, flags)
STAND_IN(INJECT_OPEN, int, epoll_create1, -1, (int flags), flags)
STAND_IN(INJECT_OPEN, int, scandir, -1,
         (const char *path, struct dirent ***names, int (*filter)(const struct dirent *),
          int (*compare)(const struct dirent **, const struct dirent **)),
         path, names, filter, compare)

/* open(2) takes a mode only with some flags; on this machine's ABI it is harmless to hand it on. */
#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        static void *next;                                                                         \
        va_list arguments;                                                                         \
        va_start(arguments, flags);                                                                \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;               \
        va_end(arguments);                                                                         \
        if (inject_fails(INJECT_OPEN, #name))                                                      \
            return -1;                                                                             \
        return ((int (*)(const char *, int, ...))inject_next(&next, #name))(path, flags, mode);    \
    }
OPEN(open)
OPEN(open64)

int fcntl(int fd, int command, ...)
{
    static void *next;
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (command == F_DUPFD_CLOEXEC || command == F_DUPFD || command == F_SETFL)
        if (inject_fails(INJECT_OPEN, "fcntl"))
            return -1;
    return ((int (*)(int, int, ...))inject_next(&next, "fcntl"))(fd, command, argument);
}

/* Sockets. */

STAND_IN(INJECT_SOCKET, int, socket, -1, (int domain, int type, int p), domain, type, p)
STAND_IN(INJECT_SOCKET, int, socketpair, -1, (int d, int type, int p, int fds[2]), d, type, p, fds)
STAND_IN(INJECT_SOCKET, int, connect, -1, (int fd, const struct sockaddr *to, socklen_t n), fd, to,
         n)
STAND_IN(INJECT_SOCKET, int, bind, -1, (int fd, const struct sockaddr *at, socklen_t n), fd, at, n)
STAND_IN(INJECT_SOCKET, int, listen, -1, (int fd, int backlog), fd, backlog)
STAND_IN(INJECT_SOCKET, int, accept4, -1, (int fd, struct sockaddr *from, socklen_t *n, int flags),
         fd, from, n, flags)
STAND_IN(INJECT_SOCKET, int, getsockname, -1, (int fd, struct sockaddr *at, socklen_t *n), fd, at,
         n)
STAND_IN(INJECT_SOCKET, int, getpeername, -1, (int fd, struct sockaddr *at, socklen_t *n), fd, at,
         n)
STAND_IN(INJECT_SOCKET, int, setsockopt, -1,
         (int fd, int level, int name, const void *p, socklen_t n), fd, level, name, p, n)
STAND_IN(INJECT_SOCKET, int, getsockopt, -1, (int fd, int level, int name, void *p, socklen_t *n),
         fd, level, name, p, n)
STAND_IN(INJECT_SOCKET, int, getaddrinfo, EAI_AGAIN,
         (const char *host, const char *service, const struct addrinfo *hints,
          struct addrinfo **result),
         host, service, hints, result)

/* Processes. */

STAND_IN(INJECT_PROCESS, pid_t, fork, -1, (void))
STAND_IN(INJECT_PROCESS, int, execv, -1, (const char *path, char *const argv[]), path, argv)
STAND_IN(INJECT_PROCESS, int, unshare, -1, (int flags), flags)
STAND_IN(INJECT_PROCESS, pid_t, setsid, -1, (void))
STAND_IN(INJECT_PROCESS, int, kill, -1, (pid_t pid, int signal), pid, signal)
STAND_IN(INJECT_PROCESS, int, pthread_create, EAGAIN,
         (pthread_t * thread, const pthread_attr_t *attributes, void *(*run)(void *), void *p),
         thread, attributes, run, p)

long syscall(long number, ...)
{
    static void *next;
    va_list arguments;
    long a[6];
    va_start(arguments, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(arguments, long);
    va_end(arguments);
    if ((number == SYS_pidfd_open || number == SYS_close_range ||
         number == 424 /* pidfd_send_signal */) &&
        inject_fails(INJECT_PROCESS, "syscall"))
        return -1;
    return ((long (*)(long, ...))inject_next(&next, "syscall"))(number, a[0], a[1], a[2], a[3],
                                                                a[4], a[5]);
}

/* Waiting. */

STAND_IN(INJECT_WAIT, int, poll, -1, (struct pollfd * fds, nfds_t n, int ms), fds, n, ms)
STAND_IN(INJECT_WAIT, int, ppoll, -1,
         (struct pollfd * fds, nfds_t n, const struct timespec *time, const sigset_t *mask), fds, n,
         time, mask)
STAND_IN(INJECT_WAIT, int, epoll_wait, -1, (int fd, struct epoll_event *e, int n, int ms), fd, e, n,
         ms)
STAND_IN(INJECT_WAIT, int, epoll_ctl, -1, (int fd, int op, int which, struct epoll_event *e), fd,
         op, which, e)
STAND_IN(INJECT_WAIT, pid_t, waitpid, -1, (pid_t pid, int *status, int options), pid, status,
         options)
