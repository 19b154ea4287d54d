/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/strings.h"

enum guard { GUARD_NONE, GUARD_TRUSTED, GUARD_PRIVATE };

static bool check_guard(const char *path, const struct stat *st, enum guard guard,
                        struct error *err)
{
    if (guard == GUARD_NONE)
        return true;
    if (st->st_uid != geteuid() && st->st_uid != 0)
        return error_set(err, STATUS_NOT_TRUSTED, "%s: belongs to user %u, not to you: not used",
                         path, (unsigned)st->st_uid);
    mode_t forbidden = guard == GUARD_PRIVATE ? 077 : 022;
    if (st->st_mode & forbidden)
        return error_set(err, STATUS_NOT_TRUSTED,
                         "%s: mode %04o lets others %s it: not used (chmod %s %s)", path,
                         (unsigned)(st->st_mode & 07777),
                         guard == GUARD_PRIVATE ? "read or change" : "change",
                         guard == GUARD_PRIVATE ? "600" : "go-w", path);
    return true;
}

static bool read_guarded(const char *path, size_t max_size, bool missing_ok, enum guard guard,
                         char **data, size_t *length, struct error *err)
{
    /* O_NONBLOCK: opening a FIFO must not wait for its writer. */
    autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR) && missing_ok) {
        *data = NULL;
        *length = 0;
        return true;
    }
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_set_errno(err, STATUS_CONFIG, errno, "cannot read %s", path);
    if (!S_ISREG(st.st_mode))
        return error_set(err, STATUS_CONFIG, "%s: not a regular file", path);
    if (!check_guard(path, &st, guard, err))
        return false;
    autostrbuf struct strbuf buf = {0};
    for (;;) {
        char chunk[16384];
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, STATUS_CONFIG, errno, "%s", path);
        if (n == 0)
            break;
        if (buf.length + (size_t)n > max_size)
            return error_set(err, STATUS_DATA, "%s: larger than %zu bytes", path, max_size);
        strbuf_add(&buf, chunk, (size_t)n);
    }
    size_t size = buf.length;
    char *text = strbuf_steal(&buf);
    if (!text)
        return error_no_memory(err);
    *data = text;
    *length = size;
    return true;
}

bool file_read(const char *path, size_t max_size, bool missing_ok, char **data, size_t *length,
               struct error *err)
{
    return read_guarded(path, max_size, missing_ok, GUARD_NONE, data, length, err);
}

bool file_read_private(const char *path, size_t max_size, char **data, size_t *length,
                       struct error *err)
{
    return read_guarded(path, max_size, false, GUARD_PRIVATE, data, length, err);
}

bool file_read_trusted(const char *path, size_t max_size, bool missing_ok, char **data,
                       size_t *length, struct error *err)
{
    return read_guarded(path, max_size, missing_ok, GUARD_TRUSTED, data, length, err);
}

bool fd_write_all(int fd, const void *data, size_t length, struct error *err)
{
    const char *p = data;
    while (length > 0) {
        ssize_t n = write(fd, p, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, STATUS_CANNOT_WRITE, errno, "cannot write");
        p += n;
        length -= (size_t)n;
    }
    return true;
}

static bool sync_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    autofree char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    if (!folder) {
        errno = ENOMEM;
        return false;
    }
    autoclose int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0;
}

static bool write_whole(const char *path, const void *data, size_t length, mode_t mode,
                        bool replace, struct error *err)
{
    autofree char *temporary = string_format("%s.tmp.XXXXXX", path);
    if (!temporary)
        return error_no_memory(err);
    autoclose int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, STATUS_CANNOT_WRITE, errno, "cannot write %s", path);
    bool good = fchmod(fd, mode) == 0 && fd_write_all(fd, data, length, NULL) && fsync(fd) == 0;
    if (good)
        good = replace ? rename(temporary, path) == 0 : link(temporary, path) == 0;
    int saved = errno;
    if (!good || !replace)
        unlink(temporary);
    if (!good)
        return error_set_errno(err, STATUS_CANNOT_WRITE, saved, "cannot write %s", path);
    if (!sync_folder_of(path))
        return error_set_errno(err, STATUS_CANNOT_WRITE, errno, "%s: its folder", path);
    return true;
}

bool file_write_atomic(const char *path, const void *data, size_t length, mode_t mode,
                       struct error *err)
{
    return write_whole(path, data, length, mode, true, err);
}

bool file_move(const char *from, const char *to, struct error *err)
{
    if (rename(from, to) < 0 || !sync_folder_of(to))
        return error_set_errno(err, STATUS_CANNOT_WRITE, errno, "cannot write %s", to);
    return true;
}

bool file_create_atomic(const char *path, const void *data, size_t length, mode_t mode,
                        struct error *err)
{
    return write_whole(path, data, length, mode, false, err);
}

/* Into something that is there and no regular file: a device, a FIFO, a pipe behind /dev/stdout. */
static bool write_into(const char *path, const void *data, size_t length, struct error *err)
{
    autoclose int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return error_set_errno(err, STATUS_CANNOT_WRITE, errno, "%s", path);
    return fd_write_all(fd, data, length, err) || error_wrap(err, "%s", path);
}

bool file_write_output(const char *path, const void *data, size_t length, mode_t mode,
                       struct error *err)
{
    struct stat st;
    if (stat(path, &st) == 0) {
        autofree char *real = S_ISREG(st.st_mode) ? realpath(path, NULL) : NULL;
        return real ? file_write_atomic(real, data, length, mode, err)
                    : write_into(path, data, length, err);
    }
    if (errno != ENOENT)
        return error_set_errno(err, STATUS_CANNOT_WRITE, errno, "%s", path);
    if (lstat(path, &st) == 0)
        return error_set(err, STATUS_CANNOT_WRITE, "%s: a symbolic link to nothing", path);
    return file_write_atomic(path, data, length, mode, err);
}

/* Those that path lies in. */
static bool make_parents(char *path, struct error *err)
{
    for (char *p = path + 1; *p; p++) {
        if (*p != '/' || !p[strspn(p, "/")])
            continue;
        *p = '\0';
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
            return error_set_errno(err, STATUS_CANNOT_WRITE, errno, "cannot make folder %s", path);
        *p = '/';
    }
    return true;
}

bool folder_make(const char *path, mode_t mode, struct error *err)
{
    autofree char *copy = strdup(path);
    if (!copy)
        return error_no_memory(err);
    int saved = mkdir(copy, mode) == 0 ? 0 : errno;
    if (saved == ENOENT) {
        if (!make_parents(copy, err))
            return false;
        saved = mkdir(copy, mode) == 0 ? 0 : errno;
    }
    if (saved == 0)
        return true;
    struct stat st;
    if (saved == EEXIST && stat(copy, &st) == 0 && S_ISDIR(st.st_mode))
        return check_guard(path, &st, mode & 077 ? GUARD_NONE : GUARD_TRUSTED, err);
    return error_set_errno(err, STATUS_CANNOT_WRITE, saved, "cannot make folder %s", copy);
}

int file_lock(const char *path, bool wait, bool *busy, struct error *err)
{
    autoclose int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        error_set_errno(err, STATUS_CANNOT_WRITE, errno, "%s", path);
        return -1;
    }
    while (flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB)) < 0) {
        if (errno == EINTR)
            continue;
        if (errno == EWOULDBLOCK && busy)
            *busy = true;
        error_set_errno(err, STATUS_CANNOT_WRITE, errno, "%s", path);
        return -1;
    }
    return steal_fd(&fd);
}
