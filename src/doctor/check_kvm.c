/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * KVM: usable, nested, honest.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/kvm.h>
#include <pwd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/process.h"
#include "doctor/doctor_private.h"
#include "guest/features.h"
#include "guest/proof_run.h"
#include "host/system.h"

#define DEFAULT_QEMU "qemu-system-x86_64"

static const char *kvm_module(const struct doctor *doctor)
{
    return doctor_cpu_has(doctor, "svm") ? "kvm_amd" : "kvm_intel";
}

static void say_missing(const struct doctor *doctor, const char *path, struct findings *findings)
{
    finding_add(findings, SEVERITY_WARNING, path,
                "there is no such device: guests run under TCG only (accel=tcg), slowly");
    if (doctor_cpu_has(doctor, "vmx svm")) {
        finding_remedy(findings, "load KVM's module");
        finding_command(findings, "modprobe %s", kvm_module(doctor));
    } else if (doctor_cpu_has(doctor, "hypervisor")) {
        finding_remedy(findings, "this host is a guest itself, and may have no guests with KVM: "
                                 "switch nested virtualisation on for it where it runs");
    } else {
        finding_remedy(findings, "switch virtualisation (VT-x or SVM) on in the firmware's setup");
    }
}

/* The file is there and may not be opened: by its group, if that has the right. */
static void say_forbidden(const char *path, int error, struct findings *findings)
{
    struct stat st;
    const struct passwd *user = getpwuid(geteuid());
    finding_add(findings, SEVERITY_PROBLEM, path, "this user may not use KVM: %s", strerror(error));
    if (stat(path, &st) < 0)
        return;
    bool shared = st.st_gid != 0 && (st.st_mode & 060) == 060;
    const struct group *group = shared ? getgrgid(st.st_gid) : getgrnam("kvm");
    const char *group_name = group ? group->gr_name : "kvm";
    const char *user_name = user ? user->pw_name : "USER";
    finding_remedy(
        findings, "%smake %s a member of the group %s; it counts from the next login on",
        shared ? "" : "give the device to a group that may use it (for good: a udev rule), and ",
        user_name, group_name);
    if (shared)
        finding_command(findings, "usermod -aG %s %s", group_name, user_name);
    else
        finding_command(findings, "chgrp %s %s && chmod 660 %s && usermod -aG %s %s", group_name,
                        path, path, group_name, user_name);
}

static void look_inside(int kvm, const char *path, struct findings *findings)
{
    int version = ioctl(kvm, KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION) {
        finding_add(findings, SEVERITY_PROBLEM, path, "it is not KVM as QEMU wants it: %s",
                    version < 0 ? strerror(errno) : "another version of its API");
        finding_remedy(findings, "use the KVM of a Linux kernel; accel=tcg works without");
        return;
    }
    autoclose int vm = ioctl(kvm, KVM_CREATE_VM, 0);
    if (vm >= 0) {
        finding_add(findings, SEVERITY_OK, path, "usable");
        return;
    }
    int error = errno;
    finding_add(findings, SEVERITY_PROBLEM, path, "KVM makes no VM: %s", strerror(error));
    finding_remedy(findings, "what the kernel says of it: dmesg | grep kvm");
    if (error == EBUSY)
        finding_remedy(findings, "another hypervisor (VirtualBox, VMware) has the CPU: end its "
                                 "guests, and unload its modules");
}

void check_kvm(const struct doctor *doctor, struct findings *findings)
{
    autofree char *path = doctor_path(doctor, "/dev/kvm");
    if (!path)
        return;
    autoclose int kvm = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (kvm >= 0)
        look_inside(kvm, path, findings);
    else if (errno == ENOENT)
        say_missing(doctor, path, findings);
    else if (errno == EACCES || errno == EPERM)
        say_forbidden(path, errno, findings);
    else {
        finding_add(findings, SEVERITY_PROBLEM, path, "it cannot be opened: %s", strerror(errno));
        finding_remedy(findings, "load KVM's module; what the kernel says of it: dmesg | grep kvm");
        finding_command(findings, "modprobe %s", kvm_module(doctor));
    }
}

void check_nested(const struct doctor *doctor, struct findings *findings)
{
    static const char *const modules[] = {"kvm_intel", "kvm_amd"};
    if (doctor_cpu_has(doctor, "hypervisor"))
        finding_add(findings, SEVERITY_NOTE, "nested",
                    "this host is a guest itself: what its guests get is up to its hypervisor too, "
                    "and changes when it is moved");
    for (size_t i = 0; i < COUNT_OF(modules); i++) {
        autofree char *path = string_format("/sys/module/%s/parameters/nested", modules[i]);
        autofree char *value = path ? doctor_read(doctor, path) : NULL;
        if (!value)
            continue;
        bool on = *value == 'Y' || *value == '1';
        finding_add(findings, SEVERITY_OK, "nested",
                    "%s: nested=%c: guests %s have guests of their own", modules[i], *value,
                    on ? "can" : "cannot");
    }
}

/* A small CPU without what this one has, and that KVM could let through all the same. */
static bool make_masked_cpu(struct strlist *masked, struct strbuf *cpu)
{
    static const char *const candidates[] = {"avx",   "avx2",  "aes",       "popcnt", "rdrand",
                                             "erms",  "bmi1",  "pclmulqdq", "sse4.1", "sse4.2",
                                             "ssse3", "movbe", "fma"};
    autofeatureset struct featureset physical = {0};
    if (!system_physical_features(&physical, NULL))
        return false;
    strbuf_puts(cpu, "qemu64");
    for (size_t i = 0; i < COUNT_OF(candidates); i++) {
        if (!featureset_has(&physical, candidates[i]))
            continue;
        strbuf_printf(cpu, ",%s=off", candidates[i]);
        if (!strlist_push(masked, candidates[i]))
            return false;
    }
    return !cpu->failed && masked->count > 0;
}

static void say_seen(const struct guest_table *table, const struct strlist *masked,
                     struct findings *findings)
{
    autostrlist struct strlist seen = {0};
    for (size_t i = 0; i < masked->count; i++) {
        const struct feature *feature = feature_find(masked->items[i]);
        bool shows = false;
        if (feature && guest_table_shows(table, feature, &shows) && shows)
            strlist_push(&seen, masked->items[i]);
    }
    if (seen.count == 0) {
        finding_add(findings, SEVERITY_OK, "masks", "a guest does not see what is switched off");
        return;
    }
    autofree char *names = strlist_join(&seen, " ");
    finding_add(findings, SEVERITY_WARNING, "masks",
                "KVM here does not honour CPUID masks: a guest sees what is switched off (%s), so "
                "it can only go to hosts that show it the same CPU",
                names ? names : "");
    finding_remedy(findings,
                   "use hosts whose KVM intercepts CPUID (no paravirtualised one), or accel=tcg; a "
                   "launch compares what guests really see, and refuses (11) where it differs");
}

void check_masks(const struct doctor *doctor, struct findings *findings)
{
    const struct strlist *binaries = &doctor->config.qemu_binaries;
    autofree char *qemu =
        process_find_executable(binaries->count > 0 ? binaries->items[0] : DEFAULT_QEMU, NULL);
    autostrlist struct strlist masked = {0};
    autostrbuf struct strbuf cpu = {0};
    autoguesttable struct guest_table table = {0};
    struct error err = ERROR_INIT;
    /* Without KVM or QEMU there is nothing to see; that they are missing is another check's. */
    if (!doctor_kvm_usable(doctor) || !qemu || !make_masked_cpu(&masked, &cpu))
        return;
    struct guest_proof proof = {.qemu = qemu,
                                .cpu = cpu.data,
                                .machine = "q35",
                                .accel = "kvm",
                                .timeout_ms = DOCTOR_PROOF_MS};
    if (guest_proof_run(&proof, &table, &err))
        say_seen(&table, &masked, findings);
    else
        finding_add(findings, SEVERITY_NOTE, "masks",
                    "it could not be seen whether KVM honours CPUID masks: %s", err.message);
}
