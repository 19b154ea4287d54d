/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "peer/identity.h"

const struct option_spec identity_options[] = {{NULL, 0, ARGUMENT_NONE, NULL}};

bool command_identity(struct context *context, int count, char **words, struct error *err)
{
    struct operands operands;
    if (!command_options(context, count, words, identity_options, NULL, &operands, err))
        return false;
    if (context->help || context->version)
        return true;
    const char *action = operands.count > 0 ? operands.words[0] : "show";
    bool init = strcmp(action, "init") == 0;
    if (operands.count > 1 || operands.rest_count >= 0 || (!init && strcmp(action, "show") != 0))
        return error_set(err, STATUS_USAGE, "identity: init or show");
    if (init && !identity_create(context->paths.config, err))
        return false;
    autoidentity struct identity *identity = identity_load(context->paths.config, err);
    if (!identity)
        return false;
    return context->json ? put_json(json_pack("{s:s}", "pin", identity->pin), err)
                         : put_line(identity->pin, err);
}
