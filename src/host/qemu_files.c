/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "host/qemu_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/strings.h"

static void close_file(FILE **file)
{
    if (*file)
        fclose(*file);
}
#define autofile __attribute__((cleanup(close_file)))

/* The path in a line of /proc/PID/maps (proc(5)): its sixth field, which may hold blanks; NULL if
 * it is no file's. */
static const char *mapped_path(char *line)
{
    char *path = strchr(line, '/');
    if (!path || path[-1] != ' ' || strstr(path, "/memfd:") == path)
        return NULL;
    path[strcspn(path, "\n")] = '\0';
    return path;
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

/* As this process sees it: it may have another root. */
static bool is_same_file(pid_t pid, const char *path)
{
    autofree char *seen = string_format("/proc/%ld/root%s", (long)pid, path);
    struct stat there, here;
    return seen && stat(seen, &there) == 0 && stat(path, &here) == 0 &&
           there.st_dev == here.st_dev && there.st_ino == here.st_ino;
}

static bool add_folder(const char *path, struct strlist *folders)
{
    autofree char *folder = strdup(path);
    if (!folder)
        return false;
    *strrchr(folder, '/') = '\0';
    const char *name = *folder ? folder : "/";
    return strlist_contains(folders, name) || strlist_push(folders, name);
}

bool qemu_files_list(pid_t pid, dev_t device, ino_t inode, struct strlist *files,
                     struct strlist *folders, struct error *err)
{
    autofree char *path = string_format("/proc/%ld/maps", (long)pid);
    autofile FILE *maps = path ? fopen(path, "re") : NULL;
    autostrlist struct strlist found = {0}, around = {0};
    autofree char *line = NULL;
    size_t size = 0;
    bool doubt = !maps || !runs_file(pid, device, inode) || has_children(pid);
    while (maps && !doubt && getline(&line, &size, maps) > 0) {
        const char *mapped = mapped_path(line);
        struct stat st;
        if (!mapped || strlist_contains(&found, mapped))
            continue;
        doubt = stat(mapped, &st) < 0 || (S_ISREG(st.st_mode) && !is_same_file(pid, mapped));
        if (!doubt && S_ISREG(st.st_mode) &&
            (!strlist_push(&found, mapped) || !add_folder(mapped, &around)))
            return error_no_memory(err);
    }
    if (doubt)
        return true;
    /* Where each is mapped is a matter of chance, and so is their order. */
    strlist_sort(&found);
    strlist_sort(&around);
    *files = found;
    *folders = around;
    found = around = (struct strlist){0};
    return true;
}

bool qemu_files_digest(const struct strlist *paths, char hex[DIGEST_HEX_SIZE], struct error *err)
{
    autostrlist struct strlist lines = {0};
    hex[0] = '\0';
    for (size_t i = 0; i < paths->count; i++) {
        struct stat st;
        if (stat(paths->items[i], &st) < 0)
            return true;
        if (!strlist_pushf(&lines, "%s %ju %ju %jd %jd.%09ld %jd.%09ld", paths->items[i],
                           (uintmax_t)st.st_dev, (uintmax_t)st.st_ino, (intmax_t)st.st_size,
                           (intmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
                           (intmax_t)st.st_ctim.tv_sec, st.st_ctim.tv_nsec))
            return error_no_memory(err);
    }
    if (lines.count == 0)
        return true;
    autofree char *text = strlist_join(&lines, "\n");
    return text ? digest_hex(text, strlen(text), hex, err) : error_no_memory(err);
}
