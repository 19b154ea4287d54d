/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/agent.h"

#include <stdlib.h>

#include "base/log.h"
#include "cli/command.h"

static bool set_listen(void *target, const char *value, struct error *err)
{
    ((struct agent_setup *)target)->listen = value;
    return true;
}

const struct option_spec serve_options[] = {
    {"listen", 0, ARGUMENT_REQUIRED, set_listen},
    {NULL, 0, ARGUMENT_NONE, NULL},
};

bool command_serve(struct context *context, int count, char **words, struct error *err)
{
    struct agent_setup setup = {.paths = &context->paths};
    struct operands operands;
    if (!command_options(context, count, words, serve_options, &setup, &operands, err))
        return false;
    if (context->help || context->version)
        return true;
    if (operands.count > 0 || operands.rest_count >= 0)
        return error_set(err, STATUS_USAGE, "serve takes no words but its options");
    setup.config_file = context->config_file;
    log_set_time(!getenv("JOURNAL_STREAM")); /* the journal has its own clock */
    return agent_serve(&setup, err);
}
