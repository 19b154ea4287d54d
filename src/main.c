/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which command; the error, once; the exit status.
 */
#include "config.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli/command.h"

static const struct command *find_command(const char *name)
{
    for (const struct command *command = commands; command->name; command++)
        if (strcmp(command->name, name) == 0)
            return command;
    return NULL;
}

/* The command's name is the first word that is no option of ours, unless "--" or one of launch's
 * options comes first. It is taken out of words. */
static const struct command *take_command(int *count, char **words, struct error *err)
{
    for (int i = 0; i < *count && strcmp(words[i], "--") != 0; i++) {
        const char *word = words[i];
        if (word[0] == '-') {
            /* Of those that stand before a command, these two take the next word. */
            if (strcmp(word, "--home") == 0 || strcmp(word, "--config") == 0 ||
                strcmp(word, "--color") == 0)
                i++;
            else if (strcmp(word, "--json") != 0 && strcmp(word, "-q") != 0 &&
                     strcmp(word, "-v") != 0 && strncmp(word, "--home=", 7) != 0 &&
                     strncmp(word, "--config=", 9) != 0 && strncmp(word, "--color=", 8) != 0 &&
                     strcmp(word, "--quiet") != 0 && strcmp(word, "--verbose") != 0)
                break;
            continue;
        }
        const struct command *command = find_command(word);
        if (!command) {
            error_set(err, STATUS_USAGE, "'%.80s' is not a command (see --help)", word);
            return NULL;
        }
        memmove(words + i, words + i + 1, (size_t)(*count - i) * sizeof(*words));
        (*count)--;
        return command;
    }
    return find_command("launch");
}

static bool print_help(struct error *err)
{
    if (!put_line(
            "Start QEMU with a CPU that every host a guest may move to can give it, and move it.\n",
            err))
        return false;
    for (const struct command *command = commands; command->name; command++)
        for (const char *line = command->synopsis; *line;) {
            size_t length = strcspn(line, "\n");
            autostrbuf struct strbuf text = {0};
            if (line[0] != ' ')
                strbuf_puts(&text, "  qemu-migrate-launch ");
            else
                strbuf_puts(&text, "    ");
            strbuf_add(&text, line, length);
            if (text.failed || !put_line(text.data, err))
                return false;
            line += length + (line[length] == '\n');
        }
    return put_line(
        "Everywhere: --home DIR  --config FILE  --json  --color auto|always|never  -q  -v  "
        "--help  --version\n\nSee qemu-migrate-launch(1).",
        err);
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    struct context context = {.start = start_state_save()};
    int count = argc - 1;
    char **words = argv + 1;
    if (!context.start || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        log_error("out of memory");
        return STATUS_INTERNAL;
    }
    bool good;
    const struct command *command = argc > 0 ? take_command(&count, words, &err) : NULL;
    good = command && command->run(&context, count, words, &err);
    if (good && context.version)
        good = put_line("qemu-migrate-launch " PACKAGE_VERSION, &err);
    else if (good && context.help)
        good = print_help(&err);
    if (!good)
        log_error_lines(err.message);
    paths_free(&context.paths);
    start_state_free(context.start);
    curl_global_cleanup();
    return good ? STATUS_OK : (int)err.status;
}
