/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/running_qemu.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/proc.h"
#include "host/qemu.h"
#include "host/qemu_session.h"

#define CMDLINE_MAX ((size_t)1 << 20)
#define MAPS_MAX ((size_t)8 << 20)
#define GREETING_MS 2000

void running_qemu_free(struct running_qemu *qemu)
{
    free(qemu->program);
    arglist_free(&qemu->arguments);
    *qemu = (struct running_qemu){0};
}

struct qmp *running_qemu_connect(const char *path, struct error *err)
{
    struct error inner = ERROR_INIT;
    struct qmp *qmp = qmp_connect(path, GREETING_MS, &inner);
    if (qmp)
        return qmp;
    struct stat st;
    if (access(path, R_OK | W_OK) < 0 && errno == EACCES)
        error_set(err, STATUS_NOT_TRUSTED,
                  "%s is another user's: run this as the user that started QEMU, or as root", path);
    else if (stat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
        error_set(err, STATUS_USAGE,
                  "--qmp: %s is no socket: give the path of QEMU's own -qmp unix:PATH,server=on",
                  path);
    else if (inner.status == STATUS_PROTOCOL)
        error_set(err, STATUS_PROTOCOL,
                  "%s: what listens there does not speak QMP: give the socket of -qmp, not that of "
                  "-monitor",
                  path);
    else if (inner.status == STATUS_UNAVAILABLE)
        error_set(err, STATUS_UNAVAILABLE,
                  "%s: see that QEMU runs (it may be stopped) and that no other client is at that "
                  "socket, and try again",
                  inner.message);
    else
        *err = inner;
    return NULL;
}

/* Where a link of /proc leads; NULL with STATUS_CONFIG or STATUS_NOT_TRUSTED. */
static char *read_exe(pid_t pid, struct error *err)
{
    autofree char *link = string_format("/proc/%ld/exe", (long)pid);
    autofree char *path = calloc(1, PATH_MAX + 1);
    if (!link || !path) {
        error_no_memory(err);
        return NULL;
    }
    if (readlink(link, path, PATH_MAX) >= 0)
        return STEAL(path);
    if (errno == EACCES || errno == EPERM)
        error_set(err, STATUS_NOT_TRUSTED,
                  "QEMU (pid %ld) is another user's: run this as that user, or as root", (long)pid);
    else
        error_set_errno(err, STATUS_CONFIG, errno, "%s", link);
    return NULL;
}

static bool read_words(pid_t pid, struct strlist *words, struct error *err)
{
    autofree char *path = string_format("/proc/%ld/cmdline", (long)pid);
    autofree char *text = NULL;
    size_t length;
    if (!path)
        return error_no_memory(err);
    if (!file_read(path, CMDLINE_MAX, false, &text, &length, err))
        return error_wrap(err, "the arguments of QEMU (pid %ld)", (long)pid);
    if (!proc_words(text, length, words))
        return error_no_memory(err);
    return words->count > 0 ||
           error_set(err, STATUS_CONFIG, "QEMU (pid %ld) shows no arguments", (long)pid);
}

/* ld-linux-x86-64.so.2, ld-musl-x86_64.so.1, ld.so … (ld.so(8)): a program may be started through
 * its own dynamic linker, to have its own libraries. */
static bool is_loader(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    return string_starts_with(name, "ld-") || string_starts_with(name, "ld.so");
}

/* The loader's program: the first of its words that is a file which the process executes. */
static bool find_loaded(struct running_qemu *qemu, const struct strlist *words, size_t *first,
                        struct error *err)
{
    autofree char *path = string_format("/proc/%ld/maps", (long)qemu->pid);
    autofree char *maps = NULL;
    size_t length;
    struct stat st;
    if (!path)
        return error_no_memory(err);
    if (!file_read(path, MAPS_MAX, false, &maps, &length, err))
        return false;
    for (size_t i = 1; i < words->count; i++) {
        autofree char *real = realpath(words->items[i], NULL);
        if (!real || !proc_executes(maps, real) || stat(real, &st) < 0)
            continue;
        if (!(qemu->program = strdup(words->items[i])))
            return error_no_memory(err);
        qemu->device = st.st_dev;
        qemu->inode = st.st_ino;
        qemu->is_there = qemu->by_loader = true;
        *first = i;
        return true;
    }
    return error_set(err, STATUS_CONFIG,
                     "QEMU (pid %ld) was started through %s, and which file it is cannot be told: "
                     "perhaps it was replaced since",
                     (long)qemu->pid, words->items[0]);
}

static bool find_program(struct running_qemu *qemu, const struct strlist *words, size_t *first,
                         struct error *err)
{
    static const char deleted[] = " (deleted)"; /* proc(5) */
    struct stat here, st;
    autofree char *link = string_format("/proc/%ld/exe", (long)qemu->pid);
    autofree char *path = link ? read_exe(qemu->pid, err) : NULL;
    if (!path)
        return link ? false : error_no_memory(err);
    if (is_loader(path))
        return find_loaded(qemu, words, first, err);
    if (stat(link, &st) < 0)
        return error_set_errno(err, STATUS_CONFIG, errno, "%s", link);
    size_t length = strlen(path), end = strlen(deleted);
    if (length > end && strcmp(path + length - end, deleted) == 0)
        path[length - end] = '\0';
    qemu->device = st.st_dev;
    qemu->inode = st.st_ino;
    qemu->is_there = stat(path, &here) == 0 && here.st_dev == st.st_dev && here.st_ino == st.st_ino;
    qemu->program = STEAL(path);
    *first = 0;
    return true;
}

bool running_qemu_find(const struct qmp *qmp, struct running_qemu *out, struct error *err)
{
    autorunningqemu struct running_qemu qemu = {0};
    autostrlist struct strlist words = {0};
    size_t first;
    if (!qmp_peer(qmp, &qemu.pid, &qemu.user))
        return error_set(err, STATUS_CONFIG,
                         "which process listens there cannot be told: it is in a container, or "
                         "has ended");
    if (!read_words(qemu.pid, &words, err) || !find_program(&qemu, &words, &first, err))
        return false;
    struct error inner = ERROR_INIT;
    if (!arglist_parse(&qemu.arguments, (int)(words.count - first), words.items + first, &inner))
        return error_set(err, inner.status == STATUS_USAGE ? STATUS_CONFIG : inner.status,
                         "the process that listens there (pid %ld, %s) is not a QEMU that is "
                         "known here: %s",
                         (long)qemu.pid, qemu.program, inner.message);
    *out = qemu;
    qemu = (struct running_qemu){0};
    return true;
}

bool running_qemu_is(const struct running_qemu *running, const char *path, bool *same,
                     struct error *err)
{
    autoqemusession struct qemu_session session = QEMU_SESSION_INIT;
    autostrlist struct strlist arguments = {0}, words = {0};
    autorunningqemu struct running_qemu other = {0};
    size_t first;
    if (!strlist_push(&arguments, "-machine") || !strlist_push(&arguments, "none"))
        return error_no_memory(err);
    if (!qemu_session_start(&session, path, &arguments, deadline_in_ms(QEMU_PROBE_MS), err))
        return error_wrap(err, "%s", path);
    other.pid = session.process.pid;
    if (!read_words(other.pid, &words, err) || !find_program(&other, &words, &first, err))
        return error_wrap(err, "%s", path);
    *same = other.device == running->device && other.inode == running->inode &&
            other.by_loader == running->by_loader;
    return true;
}

bool running_qemu_check_owner(const char *path, struct error *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return error_set_errno(err, STATUS_CONFIG, errno, "%s", path);
    if ((st.st_uid == 0 || st.st_uid == geteuid()) && !(st.st_mode & (S_IWGRP | S_IWOTH)))
        return true;
    return error_set(err, STATUS_NOT_TRUSTED,
                     "%s can be changed by other users than this one: it is not started", path);
}
