/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the kernel allows: device backends, limits, the sandbox, mandatory access control.
 */
#include <errno.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "doctor/doctor_private.h"
#include "host/backends.h"
#include "host/backends_kept.h"
#include "vm/record.h"

#define FILES_MIN 1024 /* an agent has 64 connections, a migration one for each channel */

void check_devices(const struct doctor *doctor, struct findings *findings)
{
    autodeviceoffer struct device_offer offer = {0};
    struct error err = ERROR_INIT;
    if (!backends_take_kept(doctor->setup->paths->state, &offer, &err) ||
        !backends_examine(&offer, &err)) {
        finding_add(findings, SEVERITY_WARNING, "devices", "%s", err.message);
        return;
    }
    for (size_t i = 0; i < offer.backend_count; i++) {
        const struct backend_offer *backend = &offer.backends[i];
        if (backend->state != BACKEND_UNKNOWN) {
            finding_add(findings, SEVERITY_OK, backend->name,
                        backend->state == BACKEND_KNOWN ? "known" : "not on this host");
            continue;
        }
        finding_add(findings, doctor->config.devices_known ? SEVERITY_WARNING : SEVERITY_NOTE,
                    backend->name, "what it can do for a guest is not known: %s",
                    backend->why ? backend->why : "?");
        finding_remedy(findings,
                       "of use only if guests have such devices: give this user the right to the "
                       "device, or run 'profile' once as root");
    }
}

/* Whether a VM that was launched here locks its memory. */
static bool locks_memory(const struct doctor *doctor, const char *vm)
{
    autovmrecord struct vm_record record = {0};
    if (!vm_record_load(doctor->setup->paths, vm, &record, NULL))
        return false;
    for (size_t i = 0; i < record.argv.count; i++)
        if (strstr(record.argv.items[i], "mem-lock=on") || strstr(record.argv.items[i], "vfio-pci"))
            return true;
    return false;
}

static void look_at_memory(const struct doctor *doctor, struct findings *findings)
{
    struct rlimit limit;
    autofree char *folder = path_join(doctor->setup->paths->state, "vms", "");
    autostrlist struct strlist names = {0};
    if (!folder || geteuid() == 0 || getrlimit(RLIMIT_MEMLOCK, &limit) < 0 ||
        limit.rlim_cur == RLIM_INFINITY)
        return;
    doctor_list(folder, ".json", &names);
    for (size_t i = 0; i < names.count; i++) {
        if (!locks_memory(doctor, names.items[i]))
            continue;
        finding_add(findings, SEVERITY_WARNING, names.items[i],
                    "it locks its memory (mem-lock=on, vfio), and this user may lock %llu KiB",
                    (unsigned long long)limit.rlim_cur >> 10);
        finding_remedy(findings, "raise the limit: memlock in /etc/security/limits.conf, "
                                 "LimitMEMLOCK= of a systemd unit");
    }
}

void check_limits(const struct doctor *doctor, struct findings *findings)
{
    struct rlimit files;
    look_at_memory(doctor, findings);
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return;
    if (files.rlim_cur >= FILES_MIN) {
        finding_add(findings, SEVERITY_OK, "open files", "%llu",
                    (unsigned long long)files.rlim_cur);
        return;
    }
    finding_add(findings, SEVERITY_WARNING, "open files",
                "a process may have only %llu: too few for an agent with many peers, or a "
                "migration over many channels",
                (unsigned long long)files.rlim_cur);
    finding_remedy(findings, "raise the limit in this shell, or nofile in "
                             "/etc/security/limits.conf");
    finding_command(findings, "ulimit -n %d", FILES_MIN);
}

void check_sandbox(const struct doctor *doctor, struct findings *findings)
{
    unsigned kill_process = SECCOMP_RET_KILL_PROCESS;
    if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &kill_process) < 0) {
        finding_add(findings, SEVERITY_PROBLEM, "sandbox",
                    "the kernel has no seccomp filters: neither agent nor guardian starts: %s",
                    strerror(errno));
        finding_remedy(findings, "use a kernel with CONFIG_SECCOMP_FILTER, or give --no-sandbox");
        return;
    }
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version >= 1) {
        finding_add(findings, SEVERITY_OK, "sandbox", "seccomp, and Landlock version %ld", version);
        return;
    }
    finding_add(findings, SEVERITY_NOTE, "sandbox",
                "seccomp without Landlock: what a guardian may open is up to this user's rights "
                "alone");
    finding_remedy(findings, "a kernel with CONFIG_SECURITY_LANDLOCK, and landlock in its lsm= "
                             "parameter, keeps it to its own folders");
}

/* "unconfined", "PROFILE (enforce)", or SELinux's user:role:type:level. */
static char *own_context(const struct doctor *doctor)
{
    char *text = doctor_read(doctor, "/proc/self/attr/current");
    if (text)
        text[strcspn(text, "\n")] = '\0';
    return text;
}

/* Profiles of QEMU's own that are enforced: libvirt's, one for each of its VMs, are not for ours.
 */
static void look_at_apparmor(const struct doctor *doctor, const char *context,
                             struct findings *findings)
{
    autofree char *text = doctor_read(doctor, "/sys/kernel/security/apparmor/profiles");
    autostrlist struct strlist lines = {0};
    if (text)
        strlist_split(&lines, text, '\n');
    for (size_t i = 0; i < lines.count; i++) {
        char *line = lines.items[i], *mode = strstr(line, " (enforce)");
        if (!mode || !strstr(line, "qemu-system") || strstr(line, "qemu-migrate-launch"))
            continue;
        *mode = '\0';
        finding_add(findings, SEVERITY_WARNING, "AppArmor",
                    "the profile %s is enforced: QEMU may be kept from its sockets under %s", line,
                    doctor->setup->paths->run);
        finding_remedy(findings,
                       "let it read and write there (a rule in /etc/apparmor.d/local), "
                       "or only have it log; what was refused: journalctl -k -g apparmor");
        finding_command(findings, "aa-complain %s", line);
    }
    if (context && strstr(context, " (enforce)")) {
        finding_add(findings, SEVERITY_NOTE, "AppArmor", "this shell runs under %s", context);
        finding_remedy(findings, "if QEMU is refused something that it has a right to, start it "
                                 "from an unconfined shell");
    }
}

void check_confinement(const struct doctor *doctor, struct findings *findings)
{
    autofree char *apparmor = doctor_read(doctor, "/sys/module/apparmor/parameters/enabled");
    autofree char *selinux = doctor_read(doctor, "/sys/fs/selinux/enforce");
    autofree char *context = own_context(doctor);
    size_t before = findings->count;
    if (apparmor && *apparmor == 'Y')
        look_at_apparmor(doctor, context, findings);
    if (selinux && *selinux == '1' && !(context && strstr(context, "unconfined_t"))) {
        finding_add(findings, SEVERITY_WARNING, "SELinux",
                    "it is enforced, and this process is confined (%s): so is the QEMU that it "
                    "becomes",
                    context ? context : "?");
        finding_remedy(findings, "start from an unconfined login; what was refused:");
        finding_command(findings, "ausearch -m avc -ts recent");
    }
    if (findings->count == before)
        finding_add(findings, SEVERITY_OK, "confinement", "%s",
                    selinux && *selinux == '1' ? "SELinux leaves this user unconfined"
                                               : "nothing is in QEMU's way");
}
