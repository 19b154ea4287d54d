/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The VMs that this host has records of: those that wait for a person's decision, and what is left
 * of those that are gone.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "doctor/doctor_private.h"
#include "vm/record.h"

/* A command is at work on it: what its record says is about to change. */
static bool is_at_work(const struct doctor *doctor, const char *vm)
{
    autofree char *path = string_format("%s/vms/%s.lock", doctor->setup->paths->state, vm);
    return path && doctor_lock_holder(doctor, path) != 0;
}

/* Its QEMU has ended in the middle of something, or ought to have. */
static void say_decision(const struct doctor *doctor, const struct vm_record *record,
                         const char *why, struct findings *findings)
{
    finding_add(findings, SEVERITY_PROBLEM, record->vm, "%s", why);
    finding_remedy(findings,
                   "look at %s first: if the VM runs there, leave this be until 'receive'; only if "
                   "it does not, start it here with --renegotiate --here",
                   *record->peer ? record->peer : "the other host");
    finding_command(findings, "ssh %s qemu-migrate-launch verify %s",
                    *record->peer ? record->peer : "HOST", record->vm);
}

static void look_at_running(const struct doctor *doctor, const struct vm_record *record,
                            struct findings *findings)
{
    bool half = record->place == PLACE_MOVING ||
                (record->place == PLACE_TOLD && record->role == ROLE_SOURCE);
    if (half && !is_at_work(doctor, record->vm)) {
        finding_add(findings, SEVERITY_PROBLEM, record->vm,
                    "its migration to %s was begun, and nothing here is at work on it",
                    record->peer);
        finding_remedy(findings, "say it again: it goes on from what is recorded");
        finding_command(findings, "%s migrate %s", doctor->program, record->vm);
    } else if (record->place == PLACE_MOVED) {
        finding_add(findings, SEVERITY_WARNING, record->vm,
                    "it has moved to %s, and its old QEMU (pid %lld) is still here, paused",
                    record->peer, (long long)record->pid);
        finding_remedy(findings, "end the old QEMU when nothing of it is needed any more");
        finding_command(findings, "kill %lld", (long long)record->pid);
    } else {
        finding_add(findings, SEVERITY_OK, record->vm, "QEMU has pid %lld", (long long)record->pid);
    }
}

static void look_at_ended(const struct doctor *doctor, struct vm_record *record,
                          struct findings *findings)
{
    struct error why = ERROR_INIT;
    bool open = record->place == PLACE_INCOMING || record->place == PLACE_MOVING ||
                record->place == PLACE_TOLD;
    if (open && !is_at_work(doctor, record->vm) &&
        !vm_record_check_launch(record, false, false, &why))
        say_decision(doctor, record, why.message, findings);
    else
        finding_add(findings, SEVERITY_OK, record->vm, "not running here (%s)",
                    vm_place_name(record->place));
}

static void look_at(const struct doctor *doctor, const char *vm, struct findings *findings)
{
    const struct paths *paths = doctor->setup->paths;
    autovmrecord struct vm_record record = {0};
    struct error err = ERROR_INIT;
    autofree char *path = string_format("%s/vms/%s.json", paths->state, vm);
    autofree char *quoted = path ? shell_quote(path) : NULL;
    if (!quoted)
        return;
    if (!vm_record_load(paths, vm, &record, &err)) {
        finding_add(findings, SEVERITY_PROBLEM, vm, "where it is cannot be read: %s", err.message);
        finding_remedy(findings, "see that it runs nowhere; then move the record away, and launch "
                                 "the VM again");
        finding_command(findings, "mv %s %s.damaged", quoted, quoted);
        return;
    }
    if (!record.vm)
        return; /* it went away just now */
    if (vm_record_is_running(&record))
        look_at_running(doctor, &record, findings);
    else
        look_at_ended(doctor, &record, findings);
}

/* Whether somebody listens on a local socket: proc(5), /proc/net/unix; flag 10000 is
 * __SO_ACCEPTCON. */
static bool is_listening(const char *sockets, const char *path)
{
    autostrlist struct strlist lines = {0};
    if (!sockets || !strlist_split(&lines, sockets, '\n'))
        return false;
    for (size_t i = 0; i < lines.count; i++) {
        size_t length = strlen(lines.items[i]), end = strlen(path);
        if (length > end && strstr(lines.items[i], " 00010000 ") &&
            strcmp(lines.items[i] + length - end, path) == 0)
            return true;
    }
    return false;
}

/* A folder of sockets that no record belongs to. */
static void look_at_sockets(const struct doctor *doctor, const char *vm, const char *listening,
                            struct findings *findings)
{
    autofree char *folder = path_join(doctor->setup->paths->run, vm, "");
    autofree char *quoted = folder ? shell_quote(folder) : NULL;
    DIR *open = quoted ? opendir(folder) : NULL;
    unsigned sockets = 0, live = 0;
    for (const struct dirent *item; open && (item = readdir(open));) {
        struct stat st;
        autofree char *path = path_join(folder, item->d_name, "");
        if (fstatat(dirfd(open), item->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISSOCK(st.st_mode))
            continue;
        sockets++;
        live += path && is_listening(listening, path);
    }
    if (open)
        closedir(open);
    if (live > 0) {
        finding_add(findings, SEVERITY_PROBLEM, vm,
                    "a QEMU with its sockets runs here, and there is no record of it");
        finding_remedy(findings, "end that QEMU, or adopt it under another name if it is wanted; "
                                 "who it is:");
        finding_command(findings, "ss -xlp | grep %s", quoted);
    } else if (sockets > 0) {
        finding_add(findings, SEVERITY_NOTE, vm, "sockets are left of it, and no record: %s",
                    folder);
        finding_remedy(findings, "remove them, they are nobody's");
        finding_command(findings, "rm -r %s", quoted);
    }
}

void check_vms(const struct doctor *doctor, struct findings *findings)
{
    const struct paths *paths = doctor->setup->paths;
    autofree char *folder = path_join(paths->state, "vms", "");
    autofree char *listening = doctor_read(doctor, "/proc/net/unix");
    autostrlist struct strlist names = {0}, folders = {0};
    if (!folder)
        return;
    doctor_list(folder, ".json", &names);
    for (size_t i = 0; i < names.count; i++)
        look_at(doctor, names.items[i], findings);
    doctor_list(paths->run, "", &folders);
    for (size_t i = 0; i < folders.count; i++)
        if (!strlist_contains(&names, folders.items[i]))
            look_at_sockets(doctor, folders.items[i], listening, findings);
}
