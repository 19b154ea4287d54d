/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/config_file.h"

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

/* What is agreed on, proven or checked must be where it is looked for. (A cpu-pm in [overcommit] is
 * not heeded by QEMU 7.2 nor 10.0.) */
static bool check_group(const struct place *place, const char *group, struct error *err)
{
    static const char *const seen[] = {"machine", "accel", "smp-opts", "memory"};
    for (size_t i = 0; i < sizeof(seen) / sizeof(seen[0]); i++)
        if (strcmp(group, seen[i]) == 0)
            return refuse(place,
                          "put [machine], [accel], [smp-opts] and [memory] on the command line, "
                          "where the agreement can see them",
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

static const char *skip_blanks(const char *text)
{
    return text + strspn(text, " \t");
}

/* Copy the word of such characters at text; its end, or NULL if there is none or it is too long. */
static const char *take_word(const char *text, const char *ends, char *word, size_t size)
{
    size_t length = strcspn(text, ends);
    if (length == 0 || length >= size)
        return NULL;
    memcpy(word, text, length);
    word[length] = '\0';
    return text + length;
}

/* [NAME] or [NAME "ID"] */
static bool read_group(const char *line, char *name, size_t size)
{
    const char *rest = take_word(line + 1, " \t]\"", name, size);
    if (!rest)
        return false;
    rest = skip_blanks(rest);
    if (*rest == '"') {
        rest = strchr(rest + 1, '"');
        rest = rest ? rest + 1 : "";
    }
    return *rest == ']';
}

/* KEY = "VALUE" */
static bool read_pair(const char *line, char *key, size_t key_size, char *value, size_t value_size)
{
    const char *rest = take_word(line, " \t=\"", key, key_size);
    rest = rest ? skip_blanks(rest) : "";
    if (*rest != '=')
        return false;
    rest = skip_blanks(rest + 1);
    if (*rest != '"')
        return false;
    size_t length = strcspn(rest + 1, "\"");
    if (length >= value_size || rest[1 + length] != '"')
        return false;
    memcpy(value, rest + 1, length);
    value[length] = '\0';
    return true;
}

static bool check_line(const struct place *place, const char *line, char *group, size_t group_size,
                       struct error *err)
{
    char key[64], value[1024];
    line = skip_blanks(line);
    if (*line == '\0' || *line == '#')
        return true;
    if (*line == '[')
        return read_group(line, group, group_size)
                   ? check_group(place, group, err)
                   : refuse(place, "neither [group] nor key = \"value\"", err);
    if (!read_pair(line, key, sizeof(key), value, sizeof(value)))
        return refuse(place, "neither [group] nor key = \"value\"", err);
    return *group ? check_driver(place, group, key, value, err)
                  : refuse(place, "stands before any [group]", err);
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
