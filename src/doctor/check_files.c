/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What lies on disk: the configuration, the identity, owner and mode of all of it, room.
 */
#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/cleanup.h"
#include "doctor/doctor_private.h"

#define ROOM_WARNING_MB 100
#define ROOM_PROBLEM_MB 4 /* an agreement, a record and a log have a few hundred KiB */

void check_config(const struct doctor *doctor, struct findings *findings)
{
    if (doctor->config_error.status == STATUS_OK) {
        finding_add(findings, SEVERITY_OK, "config.ini", "read");
        return;
    }
    /* Owner and mode are check_files'. */
    if (doctor->config_error.status == STATUS_NOT_TRUSTED && !doctor->setup->config_file)
        return;
    finding_add(findings, SEVERITY_PROBLEM, "config.ini", "%s", doctor->config_error.message);
    finding_remedy(findings, "put that right (qemu-migrate-launch-config(5)): no command "
                             "works here until then");
}

void check_identity(const struct doctor *doctor, struct findings *findings)
{
    if (doctor->identity) {
        finding_add(findings, SEVERITY_OK, "identity", "%s", doctor->identity->pin);
        return;
    }
    autofree char *key = path_join(doctor->setup->paths->config, "identity.key", "");
    autofree char *certificate = path_join(doctor->setup->paths->config, "identity.crt", "");
    if (!key || !certificate || doctor->identity_error.status == STATUS_NOT_TRUSTED)
        return; /* owner and mode are check_files' */
    bool have_key = access(key, F_OK) == 0;
    finding_add(findings, SEVERITY_PROBLEM, "identity", "%s", doctor->identity_error.message);
    if (!have_key || access(certificate, F_OK) < 0) {
        finding_remedy(findings, "make this host's %s",
                       have_key ? "certificate again, for the key that is there" : "key");
        finding_command(findings, "%s identity init", doctor->program);
    } else {
        finding_remedy(findings, "put the files back from a copy; or remove both, make new ones "
                                 "with 'identity init', and have the peers trust the new pin");
    }
}

/* Somebody else's, who could change it at any time. */
static bool is_foreign(const struct stat *st)
{
    return st->st_uid != geteuid() && st->st_uid != 0;
}

static void say_owner(const char *path, const struct stat *st, struct findings *findings)
{
    const struct passwd *user = getpwuid(geteuid());
    autofree char *quoted = shell_quote(path);
    finding_add(findings, SEVERITY_PROBLEM, path, "it belongs to user %u: not used",
                (unsigned)st->st_uid);
    finding_remedy(findings, "give it to the user who runs this, and look what is in it");
    if (quoted && user)
        finding_command(findings, "chown %s %s", user->pw_name, quoted);
}

/* One of our own files or folders; one that is not there is fine. */
static void look_at(const char *path, mode_t forbidden, struct findings *findings)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            finding_add(findings, SEVERITY_PROBLEM, path, "%s", strerror(errno));
        return;
    }
    if (is_foreign(&st))
        say_owner(path, &st, findings);
    if (!(st.st_mode & forbidden))
        return;
    autofree char *quoted = shell_quote(path);
    finding_add(findings, SEVERITY_PROBLEM, path, "mode %04o lets others %s it",
                (unsigned)(st.st_mode & 07777), (forbidden & 044) ? "read or change" : "change");
    finding_remedy(findings, "take that right away, and look what is in it");
    if (quoted)
        finding_command(findings, "chmod %s %s", (forbidden & 044) ? "600" : "go-w", quoted);
}

/* The folders above: who can write to one can put another in the place of what is below it. Where
 * only owners rename (/tmp), that is not so. */
static void look_above(const char *path, struct strlist *seen, struct findings *findings)
{
    autofree char *copy = strdup(path);
    for (char *slash; copy && (slash = strrchr(copy, '/')) && slash != copy;) {
        struct stat st;
        *slash = '\0';
        if (strlist_contains(seen, copy) || stat(copy, &st) < 0)
            continue;
        strlist_push(seen, copy);
        bool shared = (st.st_mode & 022) && !(st.st_mode & S_ISVTX), foreign = is_foreign(&st);
        if (!shared && !foreign)
            continue;
        autofree char *quoted = shell_quote(copy);
        finding_add(findings, SEVERITY_WARNING, copy,
                    "others can change this folder (user %u, mode %04o), and so replace %s",
                    (unsigned)st.st_uid, (unsigned)(st.st_mode & 07777), path);
        finding_remedy(findings, "let only root and the user who runs this write to it");
        if (quoted && !foreign)
            finding_command(findings, "chmod go-w %s", quoted);
    }
}

void check_files(const struct doctor *doctor, struct findings *findings)
{
    static const struct {
        char base; /* of which folder: c, s, r */
        const char *name;
        mode_t forbidden;
    } rows[] = {
        {'c', "", 022},
        {'c', "identity.key", 077},
        {'c', "identity.crt", 022},
        {'c', "config.ini", 022},
        {'c', "trust.d", 022},
        {'c', "vms", 022},
        {'s', "", 022},
        {'s', "agreements", 022},
        {'s', "profiles", 022},
        {'s', "vms", 022},
        {'r', "", 022},
    };
    const struct paths *paths = doctor->setup->paths;
    autostrlist struct strlist seen = {0};
    size_t before = findings->count;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *folder = rows[i].base == 'c'   ? paths->config
                             : rows[i].base == 's' ? paths->state
                                                   : paths->run;
        bool itself = !*rows[i].name;
        autofree char *path = itself ? strdup(folder) : path_join(folder, rows[i].name, "");
        if (path)
            look_at(path, rows[i].forbidden, findings);
        if (itself)
            look_above(folder, &seen, findings);
    }
    if (findings->count == before)
        finding_add(findings, SEVERITY_OK, paths->config, "nobody else can change what counts");
}

/* The folder, or the one that it would be made in. */
static char *nearest_folder(const char *path)
{
    char *copy = strdup(path);
    struct stat st;
    while (copy && stat(copy, &st) < 0 && errno == ENOENT) {
        char *slash = strrchr(copy, '/');
        if (!slash)
            break;
        slash[slash == copy] = '\0';
    }
    return copy;
}

static void look_at_room(const char *folder, struct findings *findings)
{
    autofree char *path = nearest_folder(folder);
    struct statvfs fs;
    if (!path || statvfs(path, &fs) < 0)
        return;
    unsigned long long mb = ((unsigned long long)fs.f_bavail * fs.f_frsize) >> 20;
    bool full = mb < ROOM_PROBLEM_MB || (fs.f_files > 0 && fs.f_favail == 0);
    if (access(path, W_OK) < 0) {
        finding_add(findings, SEVERITY_PROBLEM, folder, "nothing can be written there: %s: %s",
                    path, strerror(errno));
        finding_remedy(findings, "give this user a folder of its own, or use another with --home");
    } else if (full || mb < ROOM_WARNING_MB) {
        finding_add(findings, full ? SEVERITY_PROBLEM : SEVERITY_WARNING, folder,
                    "only %llu MiB%s are free there", mb,
                    fs.f_files > 0 && fs.f_favail == 0 ? " and no inodes" : "");
        finding_remedy(findings, "make room: what does not fit is not agreed on (73)");
    } else {
        finding_add(findings, SEVERITY_OK, folder, "%llu MiB are free", mb);
    }
}

void check_space(const struct doctor *doctor, struct findings *findings)
{
    const struct paths *paths = doctor->setup->paths;
    look_at_room(paths->state, findings);
    if (strncmp(paths->run, paths->state, strlen(paths->state)) != 0)
        look_at_room(paths->run, findings);
}
