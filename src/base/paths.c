/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/paths.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/strings.h"

#define PROGRAM_FOLDER "qemu-migrate-launch"

void paths_free(struct paths *paths)
{
    free(paths->config);
    free(paths->state);
    free(paths->run);
    *paths = (struct paths){0};
}

char *path_join(const char *folder, const char *name, const char *suffix)
{
    return string_format("%s/%s%s", folder, name, suffix);
}

static char *make_absolute(const char *path)
{
    if (path[0] == '/')
        return strdup(path);
    autofree char *here = getcwd(NULL, 0);
    return here ? path_join(here, path, "") : NULL;
}

static bool fill(struct paths *paths, char *config, char *state, char *run, struct error *err)
{
    struct paths all = {.config = config, .state = state, .run = run};
    if (!config || !state || !run) {
        paths_free(&all);
        return error_no_memory(err);
    }
    *paths = all;
    return true;
}

/* $variable if it is an absolute path (XDG base directory specification), else $HOME/fallback. */
static char *xdg_folder(const char *variable, const char *fallback)
{
    const char *value = getenv(variable), *home = getenv("HOME");
    if (value && value[0] == '/')
        return path_join(value, PROGRAM_FOLDER, "");
    return home ? string_format("%s/%s/%s", home, fallback, PROGRAM_FOLDER) : NULL;
}

bool paths_init(struct paths *paths, const char *home, struct error *err)
{
    if (!home)
        home = getenv("QEMU_MIGRATE_LAUNCH_HOME");
    if (home && *home) {
        autofree char *top = make_absolute(home);
        if (!top)
            return error_set_errno(err, STATUS_CONFIG, errno, "%s", home);
        return fill(paths, path_join(top, "config", ""), path_join(top, "state", ""),
                    path_join(top, "run", ""), err);
    }
    if (geteuid() == 0)
        return fill(paths, strdup("/etc/" PROGRAM_FOLDER), strdup("/var/lib/" PROGRAM_FOLDER),
                    strdup("/run/" PROGRAM_FOLDER), err);
    if (!getenv("HOME") && (!getenv("XDG_CONFIG_HOME") || !getenv("XDG_STATE_HOME")))
        return error_set(err, STATUS_CONFIG, "HOME is not set: give --home DIR");
    autofree char *state = xdg_folder("XDG_STATE_HOME", ".local/state");
    char *run = state ? path_join(state, "run", "") : NULL;
    return fill(paths, xdg_folder("XDG_CONFIG_HOME", ".config"), STEAL(state), run, err);
}
