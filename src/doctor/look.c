/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What several checks look at: the kernel's files, who holds a lock or a file.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "doctor/doctor_private.h"

#define SYSTEM_FILE_MAX ((size_t)8 << 20)

char *doctor_path(const struct doctor *doctor, const char *path)
{
    return string_format("%s%s", doctor->root, path);
}

char *doctor_read(const struct doctor *doctor, const char *path)
{
    autofree char *whole = doctor_path(doctor, path);
    char *text = NULL;
    size_t length;
    return whole && file_read(whole, SYSTEM_FILE_MAX, true, &text, &length, NULL) ? text : NULL;
}

bool doctor_cpu_has(const struct doctor *doctor, const char *flags)
{
    autofree char *text = doctor_read(doctor, "/proc/cpuinfo");
    const char *line = text ? strstr(text, "\nflags") : NULL;
    if (!line)
        return false;
    autofree char *first = strndup(line + 1, strcspn(line + 1, "\n"));
    autostrlist struct strlist has = {0}, wanted = {0};
    if (!first || !strlist_split(&has, first, ' ') || !strlist_split(&wanted, flags, ' '))
        return false;
    for (size_t i = 0; i < wanted.count; i++)
        if (strlist_contains(&has, wanted.items[i]))
            return true;
    return false;
}

bool doctor_kvm_usable(const struct doctor *doctor)
{
    autofree char *path = doctor_path(doctor, "/dev/kvm");
    autoclose int fd = path ? open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK) : -1;
    struct stat st;
    return fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode);
}

void doctor_list(const char *folder, const char *suffix, struct strlist *names)
{
    DIR *open = opendir(folder);
    size_t end = strlen(suffix);
    for (const struct dirent *item; open && (item = readdir(open));) {
        size_t length = strlen(item->d_name);
        if (length <= end || strcmp(item->d_name + length - end, suffix) != 0)
            continue;
        autofree char *name = strndup(item->d_name, length - end);
        if (name && name_is_vm(name))
            strlist_push(names, name);
    }
    if (open)
        closedir(open);
    if (names->count > 0)
        strlist_sort(names);
}

/* fs/locks.c, Linux 6.1, lock_get_status: "1: FLOCK  ADVISORY  WRITE 1234 08:02:5678 0 EOF". */
bool parse_lock_line(const char *line, unsigned long long *inode, long *pid)
{
    unsigned long long found;
    long holder;
    char kind[16];
    if (sscanf(line, "%*d: %15s %*s %*s %ld %*x:%*x:%llu", kind, &holder, &found) != 3 ||
        strcmp(kind, "FLOCK") != 0 || holder <= 0)
        return false;
    *inode = found;
    *pid = holder;
    return true;
}

/* Documentation/networking/proc_net_tcp.rst, Linux 6.1; state 0A is TCP_LISTEN. */
bool parse_tcp_line(const char *line, struct tcp_listener *listener)
{
    struct tcp_listener found;
    unsigned state;
    if (sscanf(line, "%*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*x:%*x %*x:%*x %*x %u %*u %llu",
               &found.port, &state, &found.user, &found.inode) != 4 ||
        state != 0x0a)
        return false;
    *listener = found;
    return true;
}

/* Those that are locked in are not to be looked into, not even by their own user. */
static bool may_ask(const struct doctor *doctor, long pid)
{
    autofree char *folder = string_format("%s/proc/%ld/fd", doctor->root, pid);
    return folder && access(folder, R_OK) == 0;
}

static bool process_has(const struct doctor *doctor, long pid, unsigned long long device,
                        unsigned long long inode)
{
    autofree char *folder = string_format("%s/proc/%ld/fd", doctor->root, pid);
    DIR *open = folder ? opendir(folder) : NULL;
    bool found = false;
    for (const struct dirent *item; open && !found && (item = readdir(open));) {
        struct stat st;
        found = fstatat(dirfd(open), item->d_name, &st, 0) == 0 && st.st_ino == inode &&
                st.st_dev == device;
    }
    if (open)
        closedir(open);
    return found;
}

long doctor_lock_holder(const struct doctor *doctor, const char *path)
{
    struct stat st;
    autofree char *text = doctor_read(doctor, "/proc/locks");
    if (!text || stat(path, &st) < 0)
        return 0;
    for (char *line = text, *next; line && *line; line = next) {
        unsigned long long inode;
        long pid;
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        /* The device there is not always what stat says (btrfs, overlayfs). */
        if (parse_lock_line(line, &inode, &pid) && inode == st.st_ino &&
            (!may_ask(doctor, pid) || process_has(doctor, pid, st.st_dev, st.st_ino)))
            return pid;
    }
    return 0;
}

char *doctor_describe_process(const struct doctor *doctor, long pid)
{
    autofree char *path = string_format("/proc/%ld/comm", pid);
    autofree char *name = path ? doctor_read(doctor, path) : NULL;
    if (name)
        name[strcspn(name, "\n")] = '\0';
    return string_format("%s (pid %ld)", name && *name ? name : "a process", pid);
}
