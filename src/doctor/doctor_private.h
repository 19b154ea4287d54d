/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Shared by doctor.c, which runs the checks, and check_*.c, which are them.
 */
#ifndef QML_DOCTOR_DOCTOR_PRIVATE_H
#define QML_DOCTOR_DOCTOR_PRIVATE_H

#include <time.h>

#include "doctor/doctor.h"
#include "host/config.h"
#include "peer/identity.h"
#include "peer/trust.h"

/* How long the built-in guest may take: longer than in a launch, for it runs beside other checks.
 */
#define DOCTOR_PROOF_MS 30000

/* What all checks look at. What could not be read is empty, and the check whose subject it is says
 * so; the others do without. */
struct doctor {
    const struct doctor_setup *setup;
    const char *root; /* stands before /proc, /sys, /dev, /etc …: "", or a test's folder */
    time_t now;
    char *program; /* how this program is called in commands: with --home, if it was given */
    struct config config;
    struct error config_error; /* STATUS_OK: none */
    struct identity *identity; /* or NULL: */
    struct error identity_error;
    struct trust trust;
    struct strlist trust_complaints; /* of trust_load_readable */
    struct error trust_error;
};

void doctor_open(struct doctor *doctor, const struct doctor_setup *setup);
void doctor_close(struct doctor *doctor);
#define autodoctor __attribute__((cleanup(doctor_close)))

typedef void doctor_check(const struct doctor *doctor, struct findings *findings);

struct doctor_row {
    const char *name;
    doctor_check *check;
};

/* Make these checks as doctor_examine does, in so much time. doctor.c */
bool doctor_run(const struct doctor *doctor, const struct doctor_row *checks, size_t count,
                int64_t milliseconds, struct findings *findings, struct error *err);

/* check_kvm.c */
doctor_check check_kvm, check_nested, check_masks;
/* check_qemu.c */
doctor_check check_qemu;
/* check_files.c */
doctor_check check_config, check_identity, check_files, check_space;
/* check_trust.c */
doctor_check check_trust, check_peers;
/* check_network.c */
doctor_check check_port, check_migration_ports;
/* check_agreements.c */
doctor_check check_agreements;
/* check_vms.c */
doctor_check check_vms;
/* check_clock.c */
doctor_check check_clock;
/* check_system.c */
doctor_check check_devices, check_sandbox, check_confinement, check_limits;
/* check_login.c */
doctor_check check_systemd, check_linger;

/* What the checks share: look.c. */

/* root and path as one; NULL for want of memory. */
char *doctor_path(const struct doctor *doctor, const char *path);
/* The text of a small file below root; NULL if it cannot be read. The caller frees it. */
char *doctor_read(const struct doctor *doctor, const char *path);
/* Whether /proc/cpuinfo has one of these flags, names with blanks between them. */
bool doctor_cpu_has(const struct doctor *doctor, const char *flags);
/* Whether there is a /dev/kvm that this process may use. */
bool doctor_kvm_usable(const struct doctor *doctor);
/* The names of FOLDER/NAME + suffix for which name_is_vm holds, sorted; without those that begin
 * with a dot. No folder: none. */
void doctor_list(const char *folder, const char *suffix, struct strlist *names);
/* The process that holds a flock(2) on the file, or 0: nobody, as far as this user can tell. */
long doctor_lock_holder(const struct doctor *doctor, const char *path);
/* "NAME (pid N)"; NULL for want of memory. */
char *doctor_describe_process(const struct doctor *doctor, long pid);

/* The inode of the lock in a line of /proc/locks, and its holder. False: it is no flock(2). */
bool parse_lock_line(const char *line, unsigned long long *inode, long *pid);
/* A TCP socket that listens. */
struct tcp_listener {
    unsigned port, user;
    unsigned long long inode;
};

/* One in a line of /proc/net/tcp or tcp6. False: it does not listen. */
bool parse_tcp_line(const char *line, struct tcp_listener *listener);

#endif
