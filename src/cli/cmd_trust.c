/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/cmd_trust.h"
#include "peer/trust.h"

static bool set_address(void *target, const char *value, struct error *err)
{
    ((struct trust_options *)target)->address = value;
    return true;
}

/* A date: the entry counts through that day, UTC. */
static bool set_expires(void *target, const char *value, struct error *err)
{
    struct tm date = {0};
    const char *end = strptime(value, "%Y-%m-%d", &date);
    struct tm back = date;
    time_t seconds = timegm(&back); /* 30 February becomes 1 March */
    if (!end || *end || back.tm_mday != date.tm_mday || seconds < 0)
        return error_set(err, STATUS_USAGE, "--expires: '%.40s' is not a date like 2027-01-31",
                         value);
    ((struct trust_options *)target)->expires = (int64_t)timegm(&date) + 24 * 3600;
    return true;
}

static bool set_as(void *target, const char *value, struct error *err)
{
    ((struct trust_options *)target)->as = value;
    return name_is_vm(value) ||
           error_set(err, STATUS_USAGE,
                     "--as: '%.80s' is not a name: letters, digits, '.', '_', '-', at most 64",
                     value);
}

static bool set_ssh(void *target, const char *value, struct error *err)
{
    struct trust_options *options = target;
    strlist_free(&options->ssh);
    if (!strlist_split(&options->ssh, value, ' '))
        return error_no_memory(err);
    return options->ssh.count > 0 || error_set(err, STATUS_USAGE, "--ssh needs a command");
}

static bool set_remote_command(void *target, const char *value, struct error *err)
{
    ((struct trust_options *)target)->remote_command = value;
    return (*value && text_is_plain(value)) ||
           error_set(err, STATUS_USAGE, "--remote-command needs a program's name or path");
}

static bool set_sudo(void *target, const char *value, struct error *err)
{
    ((struct trust_options *)target)->sudo = true;
    return true;
}

static bool set_yes(void *target, const char *value, struct error *err)
{
    ((struct trust_options *)target)->yes = true;
    return true;
}

const struct option_spec trust_options[] = {
    {"address", 0, ARGUMENT_REQUIRED, set_address},
    {"expires", 0, ARGUMENT_REQUIRED, set_expires},
    {"as", 0, ARGUMENT_REQUIRED, set_as},
    {"ssh", 0, ARGUMENT_REQUIRED, set_ssh},
    {"remote-command", 0, ARGUMENT_REQUIRED, set_remote_command},
    {"sudo", 0, ARGUMENT_NONE, set_sudo},
    {"yes", 0, ARGUMENT_NONE, set_yes},
    {NULL, 0, ARGUMENT_NONE, NULL},
};

/* NULL for want of memory, as below. */
static json_t *entry_to_json(const struct trust_entry *entry)
{
    autojson json_t *json = json_pack("{s:s}", "name", entry->name);
    autojson json_t *pins = json_array();
    bool good = true;
    for (size_t i = 0; good && i < entry->pin_count; i++)
        good = json_array_append_new(pins, json_string(entry->pins[i])) == 0;
    good = good && json_object_set(json, "pins", pins) == 0;
    if (good && entry->authority)
        good = json_object_set_new(json, "ca", json_string(entry->authority->name)) == 0;
    if (good && entry->host)
        good = json_object_set_new(json, "host", json_string(entry->host)) == 0;
    if (good && entry->port)
        good = json_object_set_new(json, "port", json_integer(entry->port)) == 0;
    if (good && entry->expires != TRUST_NEVER)
        good = json_object_set_new(json, "expires", json_integer(entry->expires)) == 0;
    return good ? STEAL(json) : NULL;
}

static bool list(struct context *context, struct error *err)
{
    autotrust struct trust trust = {0};
    if (!trust_load(context->paths.config, &trust, err))
        return false;
    if (context->json) {
        autojson json_t *array = json_array();
        for (size_t i = 0; i < trust.count; i++)
            if (json_array_append_new(array, entry_to_json(&trust.entries[i])) != 0)
                return error_no_memory(err);
        return put_json(json_pack("{s:O}", "peers", array), err);
    }
    return trust_print(&trust, err);
}

static bool add(const char *folder, const char *name, const char *pin,
                const struct trust_options *options, struct error *err)
{
    if (!trust_add(folder, name, pin, options->address, options->expires, err))
        return false;
    if (options->expires <= (int64_t)time(NULL))
        log_warning("the day of --expires is over: %s is not trusted", name);
    return true;
}

static bool run(struct context *context, struct trust_options *options, int count, char **words,
                struct error *err)
{
    struct operands operands;
    if (!command_options(context, count, words, trust_options, options, &operands, err))
        return false;
    if (context->help || context->version)
        return true;
    const char *action = operands.count > 0 ? operands.words[0] : "list";
    const char *folder = context->paths.config;
    bool plain = operands.rest_count < 0;
    bool pairs = options->as || options->ssh.count > 0 || options->remote_command ||
                 options->sudo || options->yes;
    if (plain && strcmp(action, "pair") == 0 && operands.count == 2)
        return trust_pair(context, options, operands.words[1], err);
    if (plain && strcmp(action, "pair") == 0)
        return error_set(err, STATUS_USAGE, "trust pair needs one HOST");
    if (pairs)
        return error_set(err, STATUS_USAGE,
                         "--as, --ssh, --remote-command, --sudo and --yes are "
                         "for 'trust pair HOST'");
    if (plain && strcmp(action, "list") == 0 && operands.count <= 1)
        return list(context, err);
    if (plain && strcmp(action, "add") == 0 && operands.count == 3)
        return add(folder, operands.words[1], operands.words[2], options, err);
    if (plain && strcmp(action, "remove") == 0 && operands.count == 2)
        return trust_remove(folder, operands.words[1], err);
    return error_set(err, STATUS_USAGE, "trust: add NAME PIN, pair HOST, list, or remove NAME");
}

bool command_trust(struct context *context, int count, char **words, struct error *err)
{
    struct trust_options options = {.expires = TRUST_NEVER};
    bool good = run(context, &options, count, words, err);
    strlist_free(&options.ssh);
    return good;
}
