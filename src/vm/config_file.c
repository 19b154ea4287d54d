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

/* What is read of a file. */
struct reading {
    struct place place;
    char group[64]; /* "" before the first one */
    char id[64];    /* of the group, or "" */
    char key[64];   /* of the line, "" if it begins a group */
    char value[1024];
};

/* [NAME] or [NAME "ID"] */
static bool read_group(const char *line, struct reading *reading)
{
    const char *rest = take_word(line + 1, " \t]\"", reading->group, sizeof(reading->group));
    if (!rest)
        return false;
    rest = skip_blanks(rest);
    reading->id[0] = '\0';
    if (*rest == '"') {
        rest = take_word(rest + 1, "\"", reading->id, sizeof(reading->id));
        rest = rest && *rest ? rest + 1 : "";
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

typedef bool line_user(const struct reading *reading, void *context, struct error *err);

static bool read_line(struct reading *reading, const char *line, struct error *err)
{
    reading->key[0] = '\0';
    if (*line == '[')
        return read_group(line, reading) ||
               refuse(&reading->place, "neither [group] nor key = \"value\"", err);
    if (!read_pair(line, reading->key, sizeof(reading->key), reading->value,
                   sizeof(reading->value)))
        return refuse(&reading->place, "neither [group] nor key = \"value\"", err);
    return reading->group[0] || refuse(&reading->place, "stands before any [group]", err);
}

/* Give each line that says something to use. */
static bool for_each_line(const char *path, const char *text, line_user *use, void *context,
                          struct error *err)
{
    struct reading reading = {.place = {.path = path}};
    while (*text) {
        size_t length = strcspn(text, "\n");
        autofree char *line = strndup(text, length);
        if (!line)
            return error_no_memory(err);
        line[strcspn(line, "\r")] = '\0';
        reading.place.line++;
        const char *start = skip_blanks(line);
        if (*start && *start != '#' &&
            (!read_line(&reading, start, err) || !use(&reading, context, err)))
            return false;
        text += length + (text[length] == '\n');
    }
    return true;
}

static bool check_line(const struct reading *reading, void *context, struct error *err)
{
    return reading->key[0]
               ? check_driver(&reading->place, reading->group, reading->key, reading->value, err)
               : check_group(&reading->place, reading->group, err);
}

bool config_file_check(const char *path, const char *text, struct error *err)
{
    return for_each_line(path, text, check_line, NULL, err);
}

/* The option that a group's keys belong to. */
struct writing {
    struct arglist *list;
    const struct qemu_option *option; /* NULL: of a group that no option is like */
    struct strbuf keys;
};

/* Groups that are not called like their option (vm_config_groups in QEMU's vl.c). */
static const struct qemu_option *group_option(const char *group)
{
    static const char *const others[][2] = {
        {"acpi", "acpitable"}, {"boot-opts", "boot"}, {"memory", "m"}, {"smp-opts", "smp"}};
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
        if (strcmp(others[i][0], group) == 0)
            group = others[i][1];
    autofree char *word = string_format("-%s", group);
    const struct qemu_option *option = word ? qemu_option_find(word) : NULL;
    return option && option->takes_value ? option : NULL;
}

static void add_key(struct strbuf *keys, const char *key, const char *value)
{
    strbuf_printf(keys, "%s%s=", keys->length > 0 ? "," : "", key);
    for (; *value; value++)
        strbuf_add(keys, *value == ',' ? ",," : value, *value == ',' ? 2 : 1);
}

static bool end_group(struct writing *writing, struct error *err)
{
    const struct qemu_option *option = writing->option;
    autofree char *keys = strbuf_steal(&writing->keys);
    autofree char *word = option ? string_format("-%s", option->name) : NULL;
    writing->option = NULL;
    if (!option)
        return true;
    return keys && word ? arglist_append(writing->list, word, keys, err) : error_no_memory(err);
}

static bool add_line(const struct reading *reading, void *context, struct error *err)
{
    struct writing *writing = context;
    if (reading->key[0]) {
        add_key(&writing->keys, reading->key, reading->value);
        return true;
    }
    if (!end_group(writing, err))
        return false;
    writing->option = group_option(reading->group);
    if (reading->id[0])
        add_key(&writing->keys, "id", reading->id);
    return true;
}

bool config_file_options(const char *path, const char *text, struct arglist *list,
                         struct error *err)
{
    struct writing writing = {.list = list};
    bool good = for_each_line(path, text, add_line, &writing, err) && end_group(&writing, err);
    strbuf_free(&writing.keys);
    return good;
}
