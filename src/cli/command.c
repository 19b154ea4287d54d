/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/command.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "qmp/qmp.h"

const struct command commands[] = {
#define COMMAND(name, synopsis) {#name, synopsis, name##_options, command_##name},
#define EVERYWHERE(synopsis) {NULL, synopsis, common_options, NULL},
#include "cli/synopsis.def"
};

volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

void catch_interrupts(bool twice_ends)
{
    struct sigaction action = {.sa_handler = on_signal,
                               .sa_flags = twice_ends ? (int)SA_RESETHAND : 0};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (twice_ends) /* nothing is at stake yet: no QEMU is waited for */
        qmp_give_up_on(&interrupted);
    struct sigaction hangup;
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN) /* nohup(1) */
        sigaction(SIGHUP, &action, NULL);
}

static bool set_home(void *target, const char *value, struct error *err)
{
    ((struct context *)target)->home = value;
    return *value || error_set(err, STATUS_USAGE, "--home needs a folder");
}

static bool set_config(void *target, const char *value, struct error *err)
{
    ((struct context *)target)->config_file = value;
    return true;
}

static bool set_json(void *target, const char *value, struct error *err)
{
    ((struct context *)target)->json = true;
    return true;
}

static bool set_color(void *target, const char *value, struct error *err)
{
    struct context *context = target;
    if (strcmp(value, "always") == 0)
        context->color = COLOR_ALWAYS;
    else if (strcmp(value, "never") == 0)
        context->color = COLOR_NEVER;
    else if (strcmp(value, "auto") == 0)
        context->color = COLOR_AUTO;
    else
        return error_set(err, STATUS_USAGE, "--color is auto, always or never");
    return true;
}

static bool set_quiet(void *target, const char *value, struct error *err)
{
    log_set_level(LOG_LEVEL_WARNING);
    return true;
}

static bool set_verbose(void *target, const char *value, struct error *err)
{
    log_set_level(LOG_LEVEL_DEBUG);
    return true;
}

static bool set_no_sandbox(void *target, const char *value, struct error *err)
{
    sandbox_switch_off();
    return true;
}

static bool set_help(void *target, const char *value, struct error *err)
{
    ((struct context *)target)->help = true;
    return true;
}

static bool set_version(void *target, const char *value, struct error *err)
{
    ((struct context *)target)->version = true;
    return true;
}

const struct option_spec common_options[] = {
    {"home", 0, ARGUMENT_REQUIRED, set_home},
    {"config", 0, ARGUMENT_REQUIRED, set_config},
    {"json", 0, ARGUMENT_NONE, set_json},
    {"color", 0, ARGUMENT_REQUIRED, set_color},
    {"quiet", 'q', ARGUMENT_NONE, set_quiet},
    {"verbose", 'v', ARGUMENT_NONE, set_verbose},
    {"help", 'h', ARGUMENT_NONE, set_help},
    {"version", 0, ARGUMENT_NONE, set_version},
    {"no-sandbox", 0, ARGUMENT_NONE, set_no_sandbox},
    {NULL, 0, ARGUMENT_NONE, NULL},
};

bool command_options(struct context *context, int count, char **words,
                     const struct option_spec *specs, void *target, struct operands *operands,
                     struct error *err)
{
    if (!options_parse(count, words, specs, target, common_options, context, operands, err))
        return false;
    return context->help || context->version || paths_init(&context->paths, context->home, err);
}

bool put_line(const char *text, struct error *err)
{
    return (fd_write_all(STDOUT_FILENO, text, strlen(text), err) &&
            fd_write_all(STDOUT_FILENO, "\n", 1, err)) ||
           error_wrap(err, "standard output");
}

bool put_json(json_t *json, struct error *err)
{
    autojson json_t *document = json;
    size_t flags = JSON_SORT_KEYS | JSON_ENSURE_ASCII;
    flags |= isatty(STDOUT_FILENO) ? JSON_INDENT(2) : JSON_COMPACT;
    autofree char *text = document ? json_dumps(document, flags) : NULL;
    return text ? put_line(text, err) : error_no_memory(err);
}

const char *color_start(const struct context *context, enum color color)
{
    static const char *const starts[] = {[COLOR_RED] = "\033[31m", [COLOR_YELLOW] = "\033[33m"};
    const char *no_color = getenv("NO_COLOR"); /* https://no-color.org */
    bool wanted =
        context->color == COLOR_ALWAYS ||
        (context->color == COLOR_AUTO && isatty(STDOUT_FILENO) && !(no_color && *no_color));
    return wanted ? starts[color] : "";
}

const char *color_end(void)
{
    return "\033[0m";
}
