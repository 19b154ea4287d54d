/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/tofu.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/terminal.h"
#include "host/config.h"
#include "peer/client.h"

#define LEARN_MS 10000

/* Whether some entry is meant, or several are, which is for others to say. */
static bool is_known(const struct trust *trust, const char *text, const char *host)
{
    if (trust_find(trust, text) || trust_find(trust, host))
        return true;
    for (size_t i = 0; i < trust->count; i++)
        if (trust->entries[i].host && strcmp(trust->entries[i].host, host) == 0)
            return true;
    return false;
}

static bool check_pin(const struct identity *identity, const struct trust *trust, const char *pin,
                      const char *text, struct error *err)
{
    const struct trust_entry *other = trust_find_pin(trust, pin);
    if (strcmp(pin, identity->pin) == 0)
        return error_set(err, STATUS_USAGE, "%s is this host itself", text);
    return !other || error_set(err, STATUS_NOT_TRUSTED,
                               "the key at %s is that of %s, which is trusted already: say 'trust "
                               "add %s %s --address %s', if that is where it is now",
                               text, other->name, other->name, pin, text);
}

/* Show the pin and ask. */
static bool confirm(const char *text, const char *pin, const char *own, struct error *err)
{
    autofree char *shown = string_format("%s is not known here. The key there has the pin\n"
                                         "  %s\n"
                                         "Compare it with what 'qemu-migrate-launch identity show' "
                                         "prints there. (This host's own, which\n"
                                         "%s has to trust, is %s.)\n",
                                         text, pin, text, own);
    autofree char *refusal = string_format("%s is not trusted: its pin was not confirmed", text);
    if (!shown || !refusal)
        return error_no_memory(err);
    return terminal_confirm(shown, "Trust it from now on? (yes/no)", refusal, err);
}

static bool meet(const struct context *context, const struct identity *identity, const char *text,
                 const char *host, uint16_t port, struct trust *trust, struct error *err)
{
    const char *folder = context->paths.config;
    char pin[PIN_SIZE];
    const struct peer_client client = {.identity = identity,
                                       .host = host,
                                       .port = port > 0 ? port : DEFAULT_PORT,
                                       .interrupted = &interrupted};
    if (!peer_learn_pin(&client, deadline_in_ms(LEARN_MS), pin, err) ||
        !check_pin(identity, trust, pin, text, err) || !confirm(text, pin, identity->pin, err) ||
        !trust_add(folder, host, pin, text, TRUST_NEVER, err))
        return false;
    log_info("%s is trusted from now on, as %s", text, host);
    struct trust fresh = {0};
    if (!trust_load(folder, &fresh, err))
        return false;
    trust_free(trust);
    *trust = fresh;
    return true;
}

bool tofu_meet(const struct context *context, const struct identity *identity, const char *option,
               const char *text, struct trust *trust, struct error *err)
{
    autofree char *host = NULL;
    uint16_t port = 0;
    if (!parse_address(text, &host, &port) || !*host)
        return error_refuse(err, STATUS_USAGE, "%s: '%.80s' is not HOST[:PORT]", option, text);
    if (is_known(trust, text, host))
        return true;
    if (!name_is_vm(host))
        return error_set(err, STATUS_USAGE,
                         "%s: a trust entry cannot be called %s: say 'trust add NAME PIN --address "
                         "%s'",
                         option, host, text);
    if (!terminal_is_there())
        return error_set(err, STATUS_NOT_TRUSTED,
                         "%s is not known here, and --tofu needs a terminal to ask at: say "
                         "'trust add NAME PIN --address %s'",
                         text, text);
    return meet(context, identity, text, host, port, trust, err);
}
