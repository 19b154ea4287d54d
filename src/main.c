/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which command; the error, once; the exit status.
 */
#include "config.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/masquerade.h"

#define WIDTH 80 /* of a terminal */

static const struct command *find_command(const char *name)
{
    for (const struct command *command = commands; command->name; command++)
        if (strcmp(command->name, name) == 0)
            return command;
    return NULL;
}

/* A word before the command, one of the options for everywhere; *takes_next: its value is the next
 * word. */
static bool is_common_option(const char *word, bool *takes_next)
{
    for (const struct option_spec *option = common_options; option->name; option++) {
        size_t length = strlen(option->name);
        bool takes = option->argument != ARGUMENT_NONE;
        bool is_long = strncmp(word, "--", 2) == 0 && strncmp(word + 2, option->name, length) == 0;
        *takes_next = takes && is_long && word[2 + length] == '\0';
        if ((is_long && (word[2 + length] == '\0' || (takes && word[2 + length] == '='))) ||
            (option->letter && word[0] == '-' && word[1] == option->letter && !word[2]))
            return true;
    }
    return false;
}

/* The command's name is the first word that is no option for everywhere, unless "--" or one of
 * launch's options comes first. It is taken out of words; *named: there was one. */
static const struct command *take_command(int *count, char **words, bool *named, struct error *err)
{
    *named = false;
    for (int i = 0; i < *count && strcmp(words[i], "--") != 0; i++) {
        bool takes_next;
        if (is_common_option(words[i], &takes_next)) {
            i += takes_next;
            continue;
        }
        if (words[i][0] == '-')
            break;
        const struct command *command = find_command(words[i]);
        if (!command) {
            error_set(err, STATUS_USAGE, "'%.80s' is not a command (see --help)", words[i]);
            return NULL;
        }
        memmove(words + i, words + i + 1, (size_t)(*count - i) * sizeof(*words));
        (*count)--;
        *named = true;
        return command;
    }
    return find_command("launch");
}

/* Does text end within brackets? */
static bool is_inside(const char *text, size_t length)
{
    int depth = 0;
    for (size_t i = 0; i < length; i++)
        depth += (text[i] == '[') - (text[i] == ']');
    return depth > 0;
}

/* Each usage begins with the program's name; a line ends before a bracket or an option. */
static bool print_usage(const char *usage, size_t length, struct error *err)
{
    const char *start = "  qemu-migrate-launch ";
    for (size_t begin = 0, next; begin < length; begin = next) {
        size_t room = WIDTH - strlen(start), end = length;
        if (length - begin > room)
            for (end = begin + room; end > begin + 1; end--)
                if (usage[end] == ' ' && strchr("[(-", usage[end + 1]) &&
                    !is_inside(usage + begin, end - begin))
                    break;
        autofree char *line = string_format("%s%.*s", start, (int)(end - begin), usage + begin);
        if (!line)
            return error_no_memory(err);
        if (!put_line(line, err))
            return false;
        next = end + strspn(usage + end, " ");
        start = "        ";
    }
    return true;
}

static bool print_synopsis(const struct command *command, struct error *err)
{
    for (const char *line = command->synopsis; *line;) {
        size_t length = strcspn(line, "\n");
        if (!print_usage(line, length, err))
            return false;
        line += length + (line[length] == '\n');
    }
    return true;
}

/* Of one command, or, without one, of all. */
static bool print_help(const struct command *only, struct error *err)
{
    const struct command *command = commands;
    if (!only && !put_line("Start QEMU with a CPU that every host a guest may move to can give it, "
                           "and move it.\n",
                           err))
        return false;
    for (; command->name; command++)
        if ((!only || command == only) && !print_synopsis(command, err))
            return false;
    autofree char *page =
        string_format("See qemu-migrate-launch%s%s(1).", only ? "-" : "", only ? only->name : "");
    return page ? put_line("Everywhere:", err) && print_synopsis(command, err) &&
                      put_line("", err) && put_line(page, err)
                : error_no_memory(err);
}

static bool run_command(struct context *context, int argc, char **argv, struct error *err)
{
    int count = argc - 1;
    char **words = argv + 1;
    bool named = false;
    const struct command *command = argc > 0 ? take_command(&count, words, &named, err) : NULL;
    bool good = command && command->run(context, count, words, err);
    if (good && context->version)
        return put_line("qemu-migrate-launch " PACKAGE_VERSION, err);
    if (good && context->help)
        return print_help(named ? command : NULL, err);
    return good;
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    struct context context = {.start = start_state_save()};
    if (!context.start || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        log_error("out of memory");
        return STATUS_INTERNAL;
    }
    bool good = masquerade_is_asked(argv[0]) ? masquerade_run(&context, argc, argv, &err)
                                             : run_command(&context, argc, argv, &err);
    if (!good && err.status == STATUS_OK) /* scripts must not take it for success */
        error_set(&err, STATUS_INTERNAL, "it failed, and does not say why: please report this");
    if (!good)
        log_error_lines(err.message);
    paths_free(&context.paths);
    start_state_free(context.start);
    curl_global_cleanup();
    return good ? STATUS_OK : (int)err.status;
}
