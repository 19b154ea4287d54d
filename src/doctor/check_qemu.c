/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The QEMU binaries: there, of which version, with which machine types, and able to run a proof.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "doctor/doctor_private.h"
#include "guest/proof_run.h"
#include "host/qemu.h"

#define DEFAULT_QEMU "qemu-system-x86_64"

static void say_missing(const struct doctor *doctor, const char *name, const struct error *err,
                        struct findings *findings)
{
    bool named = doctor->config.qemu_binaries.count > 0;
    finding_add(findings, SEVERITY_PROBLEM, name, "%s", err->message);
    finding_remedy(findings,
                   "%s; a program for x86-64 guests is in the package qemu-system-x86 (Debian, "
                   "Ubuntu), qemu-system-x86-core (Fedora) or qemu-kvm (RHEL)",
                   named ? "give [qemu] binary in config.ini the path of a QEMU"
                         : "install QEMU, or name one with [qemu] binary in config.ini");
}

/* The newest versioned type of a family: of equal length the last name, else the longest number. */
static const char *newest_type(const struct machine_list *list, const char *family)
{
    const char *best = NULL;
    unsigned best_major = 0, best_minor = 0;
    for (size_t i = 0; i < list->count; i++) {
        const char *name = list->types[i].name;
        if (!string_starts_with(name, family))
            continue;
        char *end;
        unsigned major = (unsigned)strtoul(name + strlen(family), &end, 10);
        unsigned minor = *end == '.' ? (unsigned)strtoul(end + 1, NULL, 10) : 0;
        if (!best || major > best_major || (major == best_major && minor > best_minor)) {
            best = name;
            best_major = major;
            best_minor = minor;
        }
    }
    return best;
}

static void look_at_types(const char *name, const struct qemu *qemu, struct findings *findings)
{
    const char *q35 = newest_type(&qemu->machines, "pc-q35-");
    const char *pc = newest_type(&qemu->machines, "pc-i440fx-");
    bool packaged = qemu->package && *qemu->package;
    finding_add(findings, SEVERITY_OK, name, "QEMU %s%s%s%s with %s and %s", qemu->version,
                packaged ? " (" : "", packaged ? qemu->package : "", packaged ? ")" : "",
                q35 ? q35 : "no pc-q35-*", pc ? pc : "no pc-i440fx-*");
    if (q35 || pc)
        return;
    finding_add(findings, SEVERITY_WARNING, name,
                "it has no versioned machine type (pc-q35-*, pc-i440fx-*): guests can go only to "
                "hosts with the same QEMU");
    finding_remedy(findings, "use another QEMU for guests that are to move");
}

/* Whether the built-in guest runs. */
static bool prove(const struct qemu *qemu, const char *accel, struct error *err)
{
    const char *q35 = newest_type(&qemu->machines, "pc-q35-");
    const char *pc = newest_type(&qemu->machines, "pc-i440fx-");
    autoguesttable struct guest_table table = {0};
    struct guest_proof proof = {.qemu = qemu->binary.path,
                                .cpu = "qemu64",
                                .machine = q35  ? q35
                                           : pc ? pc
                                                : "q35",
                                .accel = accel,
                                .timeout_ms = DOCTOR_PROOF_MS};
    return guest_proof_run(&proof, &table, err);
}

static void look_at_proof(const struct doctor *doctor, const char *name, const struct qemu *qemu,
                          const char *accel, struct findings *findings)
{
    struct error err = ERROR_INIT;
    bool kvm = strcmp(accel, "kvm") == 0, wanted = kvm || !doctor_kvm_usable(doctor);
    if (prove(qemu, accel, &err)) {
        finding_add(findings, SEVERITY_OK, name, "the built-in guest runs with accel=%s", accel);
        return;
    }
    /* Some builds have no TCG, and who has KVM does not miss it. */
    finding_add(findings, wanted ? SEVERITY_PROBLEM : SEVERITY_NOTE, name,
                "the built-in guest, which every launch starts, does not run with accel=%s: %s",
                accel, err.message);
    finding_remedy(findings, "see whether QEMU starts at all: its own message is in front of this");
    autofree char *quoted = shell_quote(qemu->binary.path);
    if (quoted)
        finding_command(findings, "%s -machine q35,accel=%s -cpu qemu64 -nodefaults -display none",
                        quoted, accel);
}

static void look_at(const struct doctor *doctor, const char *name, struct strlist *versions,
                    struct findings *findings)
{
    autoqemu struct qemu qemu = {0};
    struct error err = ERROR_INIT;
    if (!qemu_open(name, &qemu, &err)) {
        say_missing(doctor, name, &err, findings);
        return;
    }
    if (!strlist_contains(versions, qemu.version))
        strlist_push(versions, qemu.version);
    look_at_types(name, &qemu, findings);
    if (doctor_kvm_usable(doctor))
        look_at_proof(doctor, name, &qemu, "kvm", findings);
    look_at_proof(doctor, name, &qemu, "tcg", findings);
}

void check_qemu(const struct doctor *doctor, struct findings *findings)
{
    const struct strlist *binaries = &doctor->config.qemu_binaries;
    autostrlist struct strlist versions = {0};
    for (size_t i = 0; i < binaries->count; i++)
        look_at(doctor, binaries->items[i], &versions, findings);
    if (binaries->count == 0)
        look_at(doctor, DEFAULT_QEMU, &versions, findings);
    if (versions.count < 2)
        return;
    autofree char *all = strlist_join(&versions, ", ");
    finding_add(findings, SEVERITY_NOTE, "QEMU",
                "the binaries in [qemu] differ (%s): where no command line says which, it is the "
                "first, %s",
                all ? all : "", binaries->items[0]);
}
