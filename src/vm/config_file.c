/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/config_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/strings.h"
#include "vm/cpu_override.h"

struct place {
    const char *path;
    unsigned line;
};

static bool refuse(const struct place *place, const char *what, struct error *err)
{
    return error_set(err, STATUS_USAGE, "%s: line %u: %s", place->path, place->line, what);
}

static bool check_group(const struct place *place, const char *group, struct error *err)
{
    if (strcmp(group, "machine") == 0 || strcmp(group, "accel") == 0)
        return refuse(place,
                      "put [machine] and [accel] on the command line, where the agreement can "
                      "see them",
                      err);
    return true;
}

/* `driver = "…"` in a group that makes or changes objects. */
static bool check_driver(const struct place *place, const char *group, const char *key,
                         const char *value, struct error *err)
{
    if (strcmp(key, "driver") != 0 ||
        (strcmp(group, "global") != 0 && strcmp(group, "device") != 0) ||
        !driver_reaches_cpu(value))
        return true;
    return refuse(place, "this changes the CPU behind -cpu's back: say it with -cpu", err);
}

static bool check_line(const struct place *place, const char *line, char *group, size_t group_size,
                       struct error *err)
{
    char name[64], id[64], key[64], value[1024] = "";
    while (*line == ' ' || *line == '\t')
        line++;
    if (*line == '\0' || *line == '#')
        return true;
    if (sscanf(line, "[%63s \"%63[^\"]\"]", name, id) == 2 ||
        sscanf(line, "[%63[^]]]", name) == 1) {
        snprintf(group, group_size, "%s", name);
        return check_group(place, group, err);
    }
    if (sscanf(line, " %63s = \"%1023[^\"]\"", key, value) == 2 ||
        sscanf(line, " %63s = \"\"", key) == 1)
        return *group ? check_driver(place, group, key, value, err)
                      : refuse(place, "stands before any [group]", err);
    return refuse(place, "neither [group] nor key = \"value\"", err);
}

bool config_file_check(const char *path, const char *text, struct error *err)
{
    struct place place = {.path = path};
    char group[64] = "";
    while (*text) {
        size_t length = strcspn(text, "\n");
        autofree char *line = strndup(text, length);
        if (!line)
            return error_no_memory(err);
        line[strcspn(line, "\r")] = '\0';
        place.line++;
        if (!check_line(&place, line, group, sizeof(group), err))
            return false;
        text += length + (text[length] == '\n');
    }
    return true;
}
