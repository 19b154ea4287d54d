/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * systemd: the agent's units, and what becomes of a user's processes at the end of a login.
 */
#include <dirent.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/process.h"
#include "doctor/doctor_private.h"

#define SERVICE "qemu-migrate-launch.service"
#define SYSTEMCTL_MS 5000

static bool exists(const struct doctor *doctor, const char *path)
{
    autofree char *whole = doctor_path(doctor, path);
    return whole && access(whole, F_OK) == 0;
}

static bool unit_is_installed(const struct doctor *doctor)
{
    static const char *const folders[] = {"/etc/systemd/system", "/usr/local/lib/systemd/system",
                                          "/usr/lib/systemd/system", "/lib/systemd/system"};
    for (size_t i = 0; i < COUNT_OF(folders); i++) {
        autofree char *path = path_join(folders[i], SERVICE, "");
        if (path && exists(doctor, path))
            return true;
    }
    return false;
}

/* What `systemctl is-active` says of the agent's unit: "active", "inactive", "failed" …; NULL if it
 * does not say. */
static char *unit_state(void)
{
    autofree char *program = process_find_executable("systemctl", NULL);
    struct process process = PROCESS_INIT;
    char *state = NULL;
    int status;
    char *const argv[] = {program, (char[]){"is-active"}, (char[]){SERVICE}, NULL};
    if (!program || !process_start(&process, argv, -1, NULL))
        return NULL;
    if (process_wait(&process, deadline_in_ms(SYSTEMCTL_MS), &status) == 1)
        state = process_read_output(&process);
    process_end(&process);
    if (state)
        state[strcspn(state, "\n")] = '\0';
    return state;
}

void check_systemd(const struct doctor *doctor, struct findings *findings)
{
    if (!exists(doctor, "/run/systemd/system") || geteuid() != 0 || doctor->setup->home)
        return; /* the units are for root's own VMs */
    if (!unit_is_installed(doctor)) {
        finding_add(findings, SEVERITY_OK, SERVICE, "not installed");
        return;
    }
    autofree char *state = unit_state();
    if (!state || strcmp(state, "failed") != 0) {
        finding_add(findings, SEVERITY_OK, SERVICE, "%s", state ? state : "its state is not known");
        return;
    }
    finding_add(findings, SEVERITY_PROBLEM, SERVICE, "the agent has failed, and is not running");
    finding_remedy(findings, "see why, mend it, and 'systemctl restart %s'", SERVICE);
    finding_command(findings, "journalctl -u %s -n 20", SERVICE);
}

/* KillUserProcesses= of one file of logind's, or what it was before. */
static bool read_kills(const char *text, bool before)
{
    autostrlist struct strlist lines = {0};
    if (!text || !strlist_split(&lines, text, '\n'))
        return before;
    for (size_t i = 0; i < lines.count; i++) {
        static const char key[] = "KillUserProcesses=";
        const char *value = lines.items[i] + sizeof(key) - 1;
        if (string_starts_with(lines.items[i], key))
            before = strcmp(value, "yes") == 0 || strcmp(value, "true") == 0 ||
                     strcmp(value, "on") == 0 || strcmp(value, "1") == 0;
    }
    return before;
}

/* logind.conf(5): the main file, then what is beside it in the order of names. */
static bool logind_kills(const struct doctor *doctor)
{
    static const char folder[] = "/etc/systemd/logind.conf.d";
    autofree char *text = doctor_read(doctor, "/etc/systemd/logind.conf");
    autofree char *more = doctor_path(doctor, folder);
    autostrlist struct strlist names = {0};
    bool kills = read_kills(text, false);
    if (more)
        doctor_list(more, ".conf", &names);
    for (size_t i = 0; i < names.count; i++) {
        autofree char *path = string_format("%s/%s.conf", folder, names.items[i]);
        autofree char *one = path ? doctor_read(doctor, path) : NULL;
        kills = read_kills(one, kills);
    }
    return kills;
}

void check_linger(const struct doctor *doctor, struct findings *findings)
{
    const struct passwd *user = getpwuid(geteuid());
    autofree char *linger =
        user ? string_format("/var/lib/systemd/linger/%s", user->pw_name) : NULL;
    if (!linger || geteuid() == 0 || !logind_kills(doctor))
        return;
    if (exists(doctor, linger)) {
        finding_add(findings, SEVERITY_OK, "logout", "%s lingers", user->pw_name);
        return;
    }
    finding_add(findings, SEVERITY_WARNING, "logout",
                "what this user has started ends with the login (KillUserProcesses=yes): guests, "
                "guardians, the agent");
    finding_remedy(findings, "let the user's processes stay");
    finding_command(findings, "loginctl enable-linger %s", user->pw_name);
}
