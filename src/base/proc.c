/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/proc.h"

#include <stdlib.h>
#include <string.h>

#define FIELD_STATE 3
#define FIELD_STARTED 22
#define MAPS_PATH 6

bool proc_words(const char *text, size_t length, struct strlist *words)
{
    for (size_t i = 0; i < length; i += strlen(text + i) + 1)
        if (!strlist_push(words, text + i))
            return false;
    return true;
}

bool proc_stat(const char *text, char *state, uint64_t *started)
{
    const char *rest = strrchr(text, ')'); /* the name in field 2 may have anything in it */
    const char *field = rest ? rest + 1 : NULL;
    for (int i = FIELD_STATE; i <= FIELD_STARTED && field; i++) {
        field = strchr(field, ' ');
        field = field ? field + 1 : NULL;
    }
    if (!field)
        return false;
    *state = rest[2];
    *started = strtoull(field, NULL, 10);
    return true;
}

const char *proc_mapped_path(char *line)
{
    char *path = strchr(line, '/');
    if (!path || path == line || path[-1] != ' ' || string_starts_with(path, "/memfd:"))
        return NULL;
    path[strcspn(path, "\n")] = '\0';
    return path;
}

/* The field behind so many others, up to the end of the line. */
static const char *field_behind(const char *line, int fields)
{
    for (; fields > 0; fields--) {
        line += strcspn(line, " \n");
        line += strspn(line, " ");
    }
    return line;
}

bool proc_executes(const char *maps, const char *path)
{
    size_t length = strlen(path);
    for (const char *line = maps; *line;) {
        const char *rights = field_behind(line, 1), *file = field_behind(line, MAPS_PATH - 1);
        if (strcspn(rights, " \n") > 2 && rights[2] == 'x' && strcspn(file, "\n") == length &&
            memcmp(file, path, length) == 0)
            return true;
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    return false;
}
