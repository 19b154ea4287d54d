/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "base/cleanup.h"
#include "cli/cmd_launch.h"
#include "guest/compare.h"

void launch_options_free(struct launch_options *options)
{
    featureset_free(&options->require);
    featureset_free(&options->deny);
    strlist_free(&options->accepted);
    strlist_free(&options->accepted_differences);
    strlist_free(&options->peers);
    strlist_free(&options->profiles);
}

static bool set_vm(void *target, const char *value, struct error *err)
{
    ((struct launch_options *)target)->vm = value;
    return name_is_vm(value) ||
           error_set(
               err, STATUS_USAGE,
               "--vm: '%.80s' is not a VM's name (letters, digits, '.', '_', '-', at most 64)",
               value);
}

static bool set_peer(void *target, const char *value, struct error *err)
{
    struct launch_options *options = target;
    autofree char *host = NULL;
    uint16_t port;
    /* Said here, so that [launch] can name its line; an entry's name need not be an address. */
    if (!name_is_vm(value) && (!parse_address(value, &host, &port) || !*host))
        return error_refuse(err, STATUS_USAGE, "--peer: '%.80s' is not HOST[:PORT]", value);
    if (strlist_contains(&options->peers, value))
        return error_set(err, STATUS_USAGE, "--peer %.80s was given twice", value);
    return strlist_push(&options->peers, value) || error_no_memory(err);
}

static bool set_peer_profile(void *target, const char *value, struct error *err)
{
    return strlist_push(&((struct launch_options *)target)->profiles, value) ||
           error_no_memory(err);
}

static bool set_offline_ok(void *target, const char *value, struct error *err)
{
    ((struct launch_options *)target)->offline_ok = true;
    return true;
}

static bool set_listen(void *target, const char *value, struct error *err)
{
    struct launch_options *options = target;
    options->listen = true;
    options->listen_address = value;
    return true;
}

static bool set_incoming(void *target, const char *value, struct error *err)
{
    ((struct launch_options *)target)->incoming = true;
    return true;
}

static bool set_plain_incoming(void *target, const char *value, struct error *err)
{
    ((struct launch_options *)target)->plain_incoming = value;
    return *value || error_set(err, STATUS_USAGE, "--plain-incoming needs a URI");
}

static bool set_agreement(void *target, const char *value, struct error *err)
{
    ((struct launch_options *)target)->agreement = value;
    return true;
}

static bool set_form(void *target, const char *value, struct error *err)
{
    return cpu_form_parse(value, &((struct launch_options *)target)->form) ||
           error_set(err, STATUS_USAGE, "--cpu-form is named, base or host");
}

static bool set_require(void *target, const char *value, struct error *err)
{
    return featureset_parse(&((struct launch_options *)target)->require, value, "--require",
                            STATUS_USAGE, err);
}

static bool set_deny(void *target, const char *value, struct error *err)
{
    return featureset_parse(&((struct launch_options *)target)->deny, value, "--deny", STATUS_USAGE,
                            err);
}

static bool set_renegotiate(void *target, const char *value, struct error *err)
{
    ((struct launch_options *)target)->renegotiate = true;
    return true;
}

static bool set_here(void *target, const char *value, struct error *err)
{
    ((struct launch_options *)target)->here = true;
    return true;
}

static bool set_dry_run(void *target, const char *value, struct error *err)
{
    ((struct launch_options *)target)->dry_run = true;
    return true;
}

bool launch_set_timeout(void *target, const char *value, struct error *err)
{
    uint64_t seconds;
    if (!parse_number(value, 1, 86400, &seconds))
        return error_set(err, STATUS_USAGE, "--timeout: '%.40s' is not 1 to 86400 seconds", value);
    ((struct launch_options *)target)->timeout_ms = (int64_t)seconds * 1000;
    return true;
}

bool launch_set_wait(void *target, const char *value, struct error *err)
{
    uint64_t seconds;
    if (!parse_number(value, 1, 31536000, &seconds))
        return error_set(err, STATUS_USAGE, "--wait: '%.40s' is not 1 to 31536000 seconds", value);
    ((struct launch_options *)target)->wait_ms = (int64_t)seconds * 1000;
    return true;
}

bool launch_set_tofu(void *target, const char *value, struct error *err)
{
    ((struct launch_options *)target)->tofu = true;
    return true;
}

static bool set_no_proof(void *target, const char *value, struct error *err)
{
    ((struct launch_options *)target)->no_proof = true;
    return true;
}

static bool set_accept_row(void *target, const char *value, struct error *err)
{
    if (!guest_row_name_is_good(value))
        return error_set(err, STATUS_USAGE,
                         "--accept-row: '%.40s' is not a row such as 7.0, 0x80000008.0 or msr.0x8b",
                         value);
    struct launch_options *options = target;
    if (options->accepted.count >= ACCEPTED_ROWS_MAX)
        return error_set(err, STATUS_USAGE, "--accept-row was given more than %d times",
                         ACCEPTED_ROWS_MAX);
    return strlist_push(&options->accepted, value) || error_no_memory(err);
}

bool launch_set_accept_difference(void *target, const char *value, struct error *err)
{
    struct launch_options *options = target;
    return *value ? strlist_push(&options->accepted_differences, value) || error_no_memory(err)
                  : error_set(err, STATUS_USAGE, "--accept-difference needs a name");
}

const struct option_spec launch_options[] = {
    {"vm", 0, ARGUMENT_REQUIRED, set_vm},
    {"peer", 0, ARGUMENT_REQUIRED, set_peer},
    {"tofu", 0, ARGUMENT_NONE, launch_set_tofu},
    {"listen", 0, ARGUMENT_ADDRESS, set_listen},
    {"incoming", 0, ARGUMENT_NONE, set_incoming},
    {"plain-incoming", 0, ARGUMENT_REQUIRED, set_plain_incoming},
    {"cpu-form", 0, ARGUMENT_REQUIRED, set_form},
    {"require", 0, ARGUMENT_REQUIRED, set_require},
    {"deny", 0, ARGUMENT_REQUIRED, set_deny},
    {"no-proof", 0, ARGUMENT_NONE, set_no_proof},
    {"accept-row", 0, ARGUMENT_REQUIRED, set_accept_row},
    {"accept-difference", 0, ARGUMENT_REQUIRED, launch_set_accept_difference},
    {"renegotiate", 0, ARGUMENT_NONE, set_renegotiate},
    {"here", 0, ARGUMENT_NONE, set_here},
    {"timeout", 0, ARGUMENT_REQUIRED, launch_set_timeout},
    {"dry-run", 0, ARGUMENT_NONE, set_dry_run},
    {"peer-profile", 0, ARGUMENT_REQUIRED, set_peer_profile},
    {"agreement", 0, ARGUMENT_REQUIRED, set_agreement},
    {"offline-ok", 0, ARGUMENT_NONE, set_offline_ok},
    {"wait", 0, ARGUMENT_REQUIRED, launch_set_wait},
    {NULL, 0, ARGUMENT_NONE, NULL},
};
