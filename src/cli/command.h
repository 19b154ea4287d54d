/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The commands, and what they all have: where things lie, and how to talk.
 */
#ifndef QML_CLI_COMMAND_H
#define QML_CLI_COMMAND_H

#include <signal.h>

#include "base/paths.h"
#include "cli/options.h"
#include "base/json.h"
#include "host/config.h"
#include "vm/exec.h"

struct context {
    const char *home;        /* --home */
    const char *config_file; /* --config */
    bool json;
    enum { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER } color;
    bool help;
    bool version;
    struct paths paths;
    struct start_state *start;
};

/* A command reads words[0..count) (behind its name) and does its work. True: done, with
 * context->exit_status left to 0. The command prints results, main prints the error. */
struct command {
    const char *name;
    const char *synopsis; /* one usage a line, without the program's name */
    const struct option_spec *options;
    bool (*run)(struct context *context, int count, char **words, struct error *err);
};

/* Ends with a NULL name, whose options are those that every command takes. */
extern const struct command commands[];

#define COMMAND(name, synopsis)                                                                    \
    extern const struct option_spec name##_options[];                                              \
    bool command_##name(struct context *context, int count, char **words, struct error *err);
#define EVERYWHERE(synopsis)
#include "cli/synopsis.def"
#undef COMMAND
#undef EVERYWHERE

/* The options that every command takes, for a struct context. */
extern const struct option_spec common_options[];

/* Parse a command's words; handles --help and --version by setting *done. */
bool command_options(struct context *context, int count, char **words,
                     const struct option_spec *specs, void *target, struct operands *operands,
                     struct error *err);

/* What to do about a file that should be a profile and is none. */
#define PROFILE_ADVICE "it should be what 'qemu-migrate-launch profile' prints: make it anew"

enum color { COLOR_RED, COLOR_YELLOW };
/* What starts a colour on standard output, "" when it is not coloured (--color, NO_COLOR, not a
 * terminal); what ends it. */
const char *color_start(const struct context *context, enum color color);
const char *color_end(void);

/* Standard output, for results: all of it, or STATUS_CANNOT_WRITE. */
bool put_line(const char *text, struct error *err);
/* A JSON document on one line or, on a terminal, indented; json is used up. */
bool put_json(json_t *json, struct error *err);

/* Ctrl-C and SIGTERM set this; exec puts the old dispositions back. With twice_ends the second one
 * ends the program at once, whatever it waits for. */
extern volatile sig_atomic_t interrupted;
void catch_interrupts(bool twice_ends);

#endif
