/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "host/qemu_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/proc.h"
#include "base/strings.h"

static void close_file(FILE **file)
{
    if (*file)
        fclose(*file);
}
#define autofile __attribute__((cleanup(close_file)))

char *file_identity(const char *path, const struct stat *st)
{
    return string_format("%s %ju %ju %jd %jd.%09ld %jd.%09ld", path, (uintmax_t)st->st_dev,
                         (uintmax_t)st->st_ino, (intmax_t)st->st_size, (intmax_t)st->st_mtim.tv_sec,
                         st->st_mtim.tv_nsec, (intmax_t)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
}

/* Paths are those that the process sees: it may have another root. */
static bool describe_file(pid_t pid, const char *path, struct strlist *files, bool *doubt)
{
    autofree char *seen = string_format("/proc/%ld/root%s", (long)pid, path);
    struct stat st;
    if (!seen)
        return false;
    if (stat(seen, &st) < 0) {
        *doubt = true;
        return true;
    }
    return !S_ISREG(st.st_mode) || strlist_push_owned(files, file_identity(path, &st));
}

static bool has_children(pid_t pid)
{
    autofree char *path = string_format("/proc/%ld/task/%ld/children", (long)pid, (long)pid);
    autofile FILE *file = path ? fopen(path, "re") : NULL;
    return !file || fgetc(file) != EOF;
}

static bool runs_file(pid_t pid, dev_t device, ino_t inode)
{
    autofree char *path = string_format("/proc/%ld/exe", (long)pid);
    struct stat st;
    return path && stat(path, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

bool qemu_files_list(pid_t pid, dev_t device, ino_t inode, struct strlist *out, struct error *err)
{
    autofree char *path = string_format("/proc/%ld/maps", (long)pid);
    autofile FILE *maps = path ? fopen(path, "re") : NULL;
    autostrlist struct strlist files = {0};
    autofree char *line = NULL, *last = NULL;
    size_t size = 0;
    bool doubt = !maps || !runs_file(pid, device, inode) || has_children(pid);
    while (maps && !doubt && getline(&line, &size, maps) > 0) {
        const char *mapped = proc_mapped_path(line);
        if (!mapped || (last && strcmp(mapped, last) == 0))
            continue;
        if (!describe_file(pid, mapped, &files, &doubt))
            return error_no_memory(err);
        free(last);
        if (!(last = strdup(mapped)))
            return error_no_memory(err);
    }
    strlist_free(out);
    *out = (struct strlist){0};
    if (doubt)
        return true;
    /* Where each is mapped is a matter of chance, and so is their order. */
    strlist_sort(&files);
    *out = files;
    files = (struct strlist){0};
    return true;
}

bool qemu_files_list_digest(const struct strlist *files, char hex[DIGEST_HEX_SIZE],
                            struct error *err)
{
    hex[0] = '\0';
    if (files->count == 0)
        return true;
    autofree char *text = strlist_join(files, "\n");
    return text ? digest_hex(text, strlen(text), hex, err) : error_no_memory(err);
}

bool qemu_files_digest(pid_t pid, dev_t device, ino_t inode, char hex[DIGEST_HEX_SIZE],
                       struct error *err)
{
    autostrlist struct strlist files = {0};
    hex[0] = '\0';
    return qemu_files_list(pid, device, inode, &files, err) &&
           qemu_files_list_digest(&files, hex, err);
}

#define IDENTITY_FIELDS 5 /* behind the path, which may hold blanks */

/* The path of a line, or NULL: it is none. */
static char *line_path(const char *line)
{
    size_t length = strlen(line);
    for (int fields = 0; fields < IDENTITY_FIELDS; fields++) {
        while (length > 0 && line[length - 1] != ' ')
            length--;
        if (length-- == 0)
            return NULL;
    }
    return *line == '/' ? strndup(line, length) : NULL;
}

bool qemu_files_folders(const struct strlist *files, struct strlist *folders)
{
    for (size_t i = 0; i < files->count; i++) {
        autofree char *path = line_path(files->items[i]);
        struct stat st;
        if (!path)
            return false;
        path[strrchr(path, '/') + 1 - path] = '\0';
        if (stat(path, &st) < 0 || !strlist_push_owned(folders, file_identity(path, &st)))
            return false;
    }
    strlist_sort(folders);
    return true;
}

bool qemu_files_are_unchanged(const struct strlist *lines, const struct timespec *before)
{
    for (size_t i = 0; i < lines->count; i++) {
        autofree char *path = line_path(lines->items[i]);
        struct stat st;
        autofree char *now = path && stat(path, &st) == 0 ? file_identity(path, &st) : NULL;
        if (!now || strcmp(now, lines->items[i]) != 0)
            return false;
        if (before &&
            (st.st_ctim.tv_sec > before->tv_sec ||
             (st.st_ctim.tv_sec == before->tv_sec && st.st_ctim.tv_nsec >= before->tv_nsec)))
            return false;
    }
    return true;
}
