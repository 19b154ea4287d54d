/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/proof_arguments.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"

static const struct {
    const char *name;
    enum machine_option_about about;
} machine_options[] = {
#define MACHINE_OPTION(name, about) {name, MACHINE_OPTION_##about},
#include "vm/machine_option.def"
#undef MACHINE_OPTION
};

enum machine_option_about machine_option_about(const char *key, bool *known)
{
    size_t length = strcspn(key, ".");
    for (size_t i = 0; i < sizeof(machine_options) / sizeof(*machine_options); i++) {
        const char *name = machine_options[i].name;
        if (strlen(name) != length || strncmp(key, name, length) != 0)
            continue;
        if (known)
            *known = true;
        return machine_options[i].about;
    }
    if (known)
        *known = false;
    return MACHINE_OPTION_CPU;
}

void proof_arguments_free(struct proof_arguments *arguments)
{
    free(arguments->machine);
    free(arguments->accel);
    free(arguments->smp);
    free(arguments->memory);
    free(arguments->memory_options);
    *arguments = (struct proof_arguments){0};
}

/* The options about one thing, into a keyval that begins with what it has. */
static bool pick(const struct keyval *options, enum machine_option_about about,
                 struct keyval *picked, struct error *err)
{
    for (size_t i = 0; i < options->count; i++)
        if (machine_option_about(options->pairs[i].key, NULL) == about &&
            !keyval_set(picked, options->pairs[i].key, options->pairs[i].value, err))
            return false;
    return true;
}

/* All of them, each once: the last of equal keys counts. */
static bool copy_options(const struct keyval *options, struct keyval *copy, struct error *err)
{
    for (size_t i = 0; i < options->count; i++)
        if (!keyval_set(copy, options->pairs[i].key, options->pairs[i].value, err))
            return false;
    return true;
}

/* *text = name and the options behind it; name may be NULL, and *text stays NULL for nothing. */
static bool render(const char *name, const struct keyval *options, char **text, struct error *err)
{
    if (!name && options->count == 0)
        return true;
    autofree char *rendered = keyval_render(options);
    autofree char *whole =
        rendered ? string_format("%s%s%s", name ? name : "", name && *rendered ? "," : "", rendered)
                 : NULL;
    if (!whole)
        return error_no_memory(err);
    for (const char *p = whole; *p; p++)
        if (*p < ' ' || *p > '~') /* it is kept as JSON, which is strict here */
            return error_set(err, STATUS_USAGE, "QEMU's '%s' has characters that are not ASCII",
                             whole);
    *text = STEAL(whole);
    return true;
}

bool proof_arguments_make(const struct invocation *invocation, const char *machine_type,
                          const char *accel, struct proof_arguments *out, struct error *err)
{
    autoproofarguments struct proof_arguments made = {.cpu_pm = invocation->cpu_pm};
    autokeyval struct keyval machine = {0}, memory = {0}, of_accel = {0};
    const struct keyval *options = &invocation->machine_options;
    for (size_t i = 0; i < options->count; i++)
        if (machine_option_about(options->pairs[i].key, NULL) == MACHINE_OPTION_CONFIDENTIAL)
            return error_set(
                err, STATUS_INCOMPATIBLE,
                "a confidential guest (-machine %s) cannot be proven; --no-proof skips "
                "the proof",
                options->pairs[i].key);
    size_t chosen = 0; /* of several with that name QEMU takes the first */
    while (chosen < invocation->accels.count &&
           strcmp(invocation->accels.items[chosen], accel) != 0)
        chosen++;
    if (chosen == invocation->accels.count || !name_is_machine(machine_type))
        return error_set(err, STATUS_INTERNAL, "cannot prove '%s' with '%s'", machine_type, accel);
    if (!pick(options, MACHINE_OPTION_CPU, &machine, err) ||
        !pick(options, MACHINE_OPTION_MEMORY, &memory, err) ||
        !render(machine_type, &machine, &made.machine, err) ||
        !copy_options(&invocation->accel_options[chosen], &of_accel, err) ||
        !render(accel, &of_accel, &made.accel, err) ||
        !render(NULL, &invocation->smp, &made.smp, err) ||
        !render(NULL, &invocation->memory, &made.memory, err) ||
        !render(NULL, &memory, &made.memory_options, err))
        return false;
    *out = made;
    made = (struct proof_arguments){0};
    return true;
}

json_t *proof_arguments_to_json(const struct proof_arguments *arguments)
{
    return json_pack("{s:s, s:s, s:s*, s:b, s:s*, s:s*}", "machine", arguments->machine, "accel",
                     arguments->accel, "smp", arguments->smp, "cpu_pm", arguments->cpu_pm, "memory",
                     arguments->memory, "memory_options", arguments->memory_options);
}

static bool all_about(const struct keyval *options, enum machine_option_about about)
{
    for (size_t i = 0; i < options->count; i++)
        if (machine_option_about(options->pairs[i].key, NULL) != about)
            return false;
    return true;
}

/* True if the text is what render makes of the options that it has and, if name_is_good is there,
 * of a name before them. NULL, for none, is good. */
static bool read_words(const char *text, enum keyval_syntax syntax,
                       bool (*name_is_good)(const char *), struct keyval *options)
{
    autokeyval struct keyval words = {0};
    autofree char *again = NULL;
    const char *name = NULL;
    if (!text)
        return true;
    if (!keyval_parse(&words, text, syntax, name_is_good ? "" : NULL, NULL))
        return false;
    for (size_t i = 0; i < words.count; i++) {
        const struct keyval_pair *pair = &words.pairs[i];
        if (name_is_good && i == 0)
            name = pair->value;
        else if (!keyval_set(options, pair->key, pair->value, NULL))
            return false;
    }
    return (!name_is_good || (name && name_is_good(name))) && render(name, options, &again, NULL) &&
           again && strcmp(again, text) == 0;
}

static bool is_good(const struct proof_arguments *arguments)
{
    autokeyval struct keyval machine = {0}, accel = {0}, smp = {0}, memory = {0}, options = {0};
    return read_words(arguments->machine, KEYVAL_DICT, name_is_machine, &machine) &&
           all_about(&machine, MACHINE_OPTION_CPU) &&
           read_words(arguments->accel, KEYVAL_OPTS, name_is_feature, &accel) &&
           !keyval_get(&accel, "accel") && read_words(arguments->smp, KEYVAL_DICT, NULL, &smp) &&
           read_words(arguments->memory, KEYVAL_OPTS, NULL, &memory) &&
           read_words(arguments->memory_options, KEYVAL_DICT, NULL, &options) &&
           all_about(&options, MACHINE_OPTION_MEMORY);
}

static bool copy_text(const char *text, char **copy)
{
    return !text || (*copy = strdup(text));
}

bool proof_arguments_from_json(json_t *json, struct proof_arguments *out, struct error *err)
{
    autoproofarguments struct proof_arguments read = {0};
    const char *machine, *accel, *smp = NULL, *memory = NULL, *options = NULL;
    int cpu_pm;
    if (!json_take(json, err, "the proof's arguments", "{s:s, s:s, s?s, s:b, s?s, s?s}", "machine",
                   &machine, "accel", &accel, "smp", &smp, "cpu_pm", &cpu_pm, "memory", &memory,
                   "memory_options", &options))
        return false;
    read.cpu_pm = cpu_pm;
    if (!copy_text(machine, &read.machine) || !copy_text(accel, &read.accel) ||
        !copy_text(smp, &read.smp) || !copy_text(memory, &read.memory) ||
        !copy_text(options, &read.memory_options))
        return error_no_memory(err);
    if (!is_good(&read))
        return error_set(err, STATUS_DATA, "the proof's arguments are not valid");
    *out = read;
    read = (struct proof_arguments){0};
    return true;
}
