/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * trust pair HOST: both pins over one ssh (DESIGN 8). What is trusted in between is ssh: whoever
 * can answer for HOST there can have its own key trusted, so both pins are shown before anything
 * is.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/cmd_trust.h"
#include "cli/remote_shell.h"
#include "cli/terminal.h"
#include "host/config.h"
#include "peer/identity.h"

#define PROGRAM "qemu-migrate-launch"
#define CONFIGURATION_MS 5000 /* of ssh -G, which connects to nobody */

/* All that a pairing gathers; owned but for what is said. */
struct pair {
    struct context *context;
    const struct trust_options *options;
    const char *host;   /* as ssh knows it; borrowed */
    struct strlist ssh; /* the command */
    char *program;      /* the words that run the program there, for a shell */
    char *name;         /* what it is called here */
    char *address;      /* where it is; NULL: by its name */
    char *own_address;  /* where we are, for it; NULL: by our name */
    char pin[PIN_SIZE]; /* its */
    struct config config;
    struct identity *identity;
    struct trust ours, theirs;
    enum trusted here, there;
    const struct trust_entry *entry_here, *entry_there; /* of ours, theirs */
    struct remote_shell shell;
};

static void pair_free(struct pair *pair)
{
    remote_shell_end(&pair->shell);
    trust_free(&pair->ours);
    trust_free(&pair->theirs);
    identity_free(pair->identity);
    config_free(&pair->config);
    strlist_free(&pair->ssh);
    free(pair->program);
    free(pair->name);
    free(pair->address);
    free(pair->own_address);
}

static bool take_name(struct pair *pair, struct error *err)
{
    if (!remote_host_is_valid(pair->host))
        return error_set(err, STATUS_USAGE,
                         "'%.80s' is not [USER@]HOST or ssh://[USER@]HOST[:PORT]", pair->host);
    pair->name = pair->options->as ? strdup(pair->options->as) : remote_host_name(pair->host);
    if (!pair->name)
        return error_no_memory(err);
    return name_is_vm(pair->name) ||
           error_set(err, STATUS_USAGE, "a trust entry cannot be called '%.80s': give --as NAME",
                     pair->name);
}

static bool take_words(struct pair *pair, struct error *err)
{
    const struct trust_options *options = pair->options;
    autofree char *quoted =
        shell_quote(options->remote_command ? options->remote_command : PROGRAM);
    for (size_t i = 0; i < options->ssh.count; i++)
        if (!strlist_push(&pair->ssh, options->ssh.items[i]))
            return error_no_memory(err);
    if (pair->ssh.count == 0 && !strlist_push(&pair->ssh, "ssh"))
        return error_no_memory(err);
    if (quoted)
        pair->program = string_format("%s%s", options->sudo ? "sudo -n " : "", quoted);
    return pair->program || error_no_memory(err);
}

/* Ours, made if there is none. */
static bool have_identity(struct pair *pair, struct error *err)
{
    const char *folder = pair->context->paths.config;
    struct error none = ERROR_INIT;
    pair->identity = identity_load(folder, &none);
    if (!pair->identity && none.status == STATUS_CONFIG) {
        autofree char *key = path_join(folder, "identity.key", "");
        autofree char *certificate = path_join(folder, "identity.crt", "");
        struct error failed = ERROR_INIT;
        if (!key || !certificate)
            return error_no_memory(err);
        /* Another command may make them at the same time: that is as good. */
        if ((access(key, F_OK) != 0 || access(certificate, F_OK) != 0) &&
            !identity_create(folder, &failed) &&
            (access(key, F_OK) != 0 || access(certificate, F_OK) != 0))
            return error_set(err, failed.status, "%s", failed.message);
        pair->identity = identity_load(folder, &none);
    }
    return pair->identity || error_set(err, none.status, "%s", none.message);
}

/* What the program there said when it failed; with its status, if it is one of its own. */
static bool fail(const struct pair *pair, const struct remote_reply *reply, struct error *err)
{
    static const char prefix[] = PROGRAM ": ";
    const char *line = strrchr(reply->message, '\n');
    line = line ? line + 1 : reply->message;
    if (string_starts_with(line, prefix))
        line += strlen(prefix);
    if (reply->status == 126 || reply->status == 127)
        return error_set(err, STATUS_CONFIG,
                         "%s has no %s in the PATH of its ssh sessions (%.200s): install it there, "
                         "or give --remote-command",
                         pair->host,
                         pair->options->remote_command ? pair->options->remote_command : PROGRAM,
                         line);
    bool own = reply->status >= STATUS_USAGE && reply->status <= STATUS_CONFIG;
    return error_set(err, own ? (enum status)reply->status : STATUS_CONFIG,
                     "on %s (status %d): %.300s", pair->host, reply->status,
                     *line ? line : "it did not say why");
}

/* Run the program there with these words, which are quoted already. */
static bool ask(struct pair *pair, const char *words, struct remote_reply *reply, struct error *err)
{
    autofree char *command = string_format("%s %s", pair->program, words);
    return command ? remote_shell_ask(&pair->shell, command, reply, err) : error_no_memory(err);
}

/* Its pin; its identity is made if there is none. */
static bool learn_pin(struct pair *pair, struct error *err)
{
    autoreply struct remote_reply reply = {0};
    if (!ask(pair, "identity show", &reply, err))
        return false;
    if (reply.status == STATUS_CONFIG) {
        autoreply struct remote_reply made = {0};
        if (!ask(pair, "identity init", &made, err))
            return false;
        /* It was there, or somebody else has made it just now: what `show` says is to be said. */
        if (made.status != STATUS_OK && made.status != STATUS_CANNOT_WRITE)
            return fail(pair, &made, err);
        remote_reply_free(&reply);
        if (made.status == STATUS_CANNOT_WRITE) {
            if (!ask(pair, "identity show", &reply, err))
                return false;
        } else {
            reply = made;
            made = (struct remote_reply){0};
        }
    }
    if (reply.status != STATUS_OK)
        return fail(pair, &reply, err);
    if (!pin_is_valid(reply.output))
        return error_set(err, STATUS_DATA, "%s says '%.80s' where its pin should stand", pair->host,
                         reply.output);
    memcpy(pair->pin, reply.output, PIN_SIZE);
    if (strcmp(pair->pin, pair->identity->pin) == 0)
        return error_set(err, STATUS_USAGE, "%s has this host's own key: it is this host",
                         pair->host);
    return true;
}

static bool learn_trust(struct pair *pair, struct error *err)
{
    autoreply struct remote_reply reply = {0};
    if (!ask(pair, "trust list --json", &reply, err))
        return false;
    if (reply.status != STATUS_OK)
        return fail(pair, &reply, err);
    if (!trust_pair_read_list(reply.output, &pair->theirs, err))
        return error_wrap(err, "what %s says of whom it trusts", pair->host);
    pair->here = trust_pair_look(&pair->ours, pair->name, pair->pin, &pair->entry_here);
    pair->there = trust_pair_look(&pair->theirs, pair->config.host_name, pair->identity->pin,
                                  &pair->entry_there);
    return true;
}

/* A name that is there for another key is never given a second one by this. */
static bool check_names(const struct pair *pair, struct error *err)
{
    if (pair->here == TRUSTED_OTHER)
        return error_set(err, STATUS_NOT_TRUSTED,
                         "%s is trusted here with another pin, and says by ssh that it is %s: if "
                         "its key was changed, 'trust add %s %s' (and 'trust remove' first, when "
                         "the old one is not to count any more); if it is another host, give "
                         "--as NAME",
                         pair->name, pair->pin, pair->name, pair->pin);
    if (pair->there == TRUSTED_OTHER)
        return error_set(err, STATUS_NOT_TRUSTED,
                         "%s trusts a host %s with another pin than this one's, %s: if this host's "
                         "key was changed, say there 'trust add %s %s'; if that is another host, "
                         "give this one a name of its own ([host] name in config.ini)",
                         pair->host, pair->config.host_name, pair->identity->pin,
                         pair->config.host_name, pair->identity->pin);
    return true;
}

/* Where it is, as ssh's own configuration has it, which connects to nobody. */
static bool find_address(struct pair *pair, struct error *err)
{
    autostrlist struct strlist argv = {0};
    struct process process = PROCESS_INIT;
    struct error ignored = ERROR_INIT;
    if (pair->options->address)
        return (pair->address = strdup(pair->options->address)) || error_no_memory(err);
    autofree char *path = process_find_executable(pair->ssh.items[0], &ignored);
    if (!path)
        return error_set(err, ignored.status, "%.80s: %s", pair->ssh.items[0],
                         ignored.status == STATUS_CONFIG
                             ? "no such program: install ssh, or give --ssh COMMAND"
                             : "out of memory");
    bool good = strlist_push(&argv, path);
    for (size_t i = 1; good && i < pair->ssh.count; i++)
        good = strlist_push(&argv, pair->ssh.items[i]);
    if (!good || !strlist_push(&argv, "-G") || !strlist_push(&argv, pair->host))
        return error_no_memory(err);
    int wait_status = -1;
    if (process_start(&process, argv.items, -1, &ignored) &&
        process_wait(&process, deadline_in_ms(CONFIGURATION_MS), &wait_status) == 1 &&
        wait_status == 0) {
        autofree char *text = process_read_output(&process);
        pair->address = trust_pair_read_address(text);
    }
    process_end(&process);
    return true;
}

/* Where we are, as it sees us, if it cannot find us by our name. */
static bool find_own_address(struct pair *pair, struct error *err)
{
    autoreply struct remote_reply reply = {0};
    autofree char *quoted = shell_quote(pair->config.host_name);
    autofree char *command = quoted
                                 ? string_format("getent hosts %s >/dev/null 2>&1 || printf '%%s' "
                                                 "\"${SSH_CONNECTION%%%% *}\"",
                                                 quoted)
                                 : NULL;
    if (!command)
        return error_no_memory(err);
    if (!remote_shell_ask(&pair->shell, command, &reply, err))
        return false;
    pair->own_address = trust_pair_number(reply.output);
    return true;
}

/* ", as NAME, at ADDRESS": what an entry will be, or is. */
static char *describe(enum trusted trusted, const struct trust_entry *entry, const char *name,
                      const char *address)
{
    if (trusted == TRUSTED_ALREADY)
        return string_format("trusted already, as '%s'", entry->name);
    if (trusted == TRUSTED_EXPIRED)
        return string_format("trusted again as '%s', where that had ended", entry->name);
    return string_format("trusted as '%s'%s%s", name, address ? ", at " : "",
                         address ? address : "");
}

static bool confirm(const struct pair *pair, struct error *err)
{
    autofree char *here = describe(pair->here, pair->entry_here, pair->name, pair->address);
    autofree char *there =
        describe(pair->there, pair->entry_there, pair->config.host_name, pair->own_address);
    autofree char *text = here && there
                              ? string_format("%s  %s  (this host; on %s it is %s)\n"
                                              "%s  %s  (says ssh; on this host it is %s)\n",
                                              pair->identity->pin, pair->config.host_name,
                                              pair->host, there, pair->pin, pair->name, here)
                              : NULL;
    autofree char *refusal = string_format("not confirmed: neither this host nor %s trusts the "
                                           "other by this",
                                           pair->host);
    if (!text || !refusal)
        return error_no_memory(err);
    if (!pair->options->yes)
        return terminal_confirm(text,
                                "Are these the two hosts that are to trust each other? "
                                "(yes/no)",
                                refusal, err);
    return true;
}

static bool add_there(struct pair *pair, struct error *err)
{
    const char *name = pair->entry_there ? pair->entry_there->name : pair->config.host_name;
    bool fresh = pair->there == TRUSTED_NOT && pair->own_address;
    /* '[' means something to shells; the rest does not. */
    autofree char *words = string_format("trust add %s %s%s%s%s", name, pair->identity->pin,
                                         fresh ? " --address '" : "",
                                         fresh ? pair->own_address : "", fresh ? "'" : "");
    autoreply struct remote_reply reply = {0};
    if (pair->there == TRUSTED_ALREADY)
        return true;
    if (!words)
        return error_no_memory(err);
    if (!ask(pair, words, &reply, err))
        return error_wrap(err,
                          "whether %s trusts this host now is not known; here nothing was changed: "
                          "say 'trust pair' again, or there 'trust remove %s'",
                          pair->host, name);
    return reply.status == STATUS_OK || fail(pair, &reply, err);
}

/* What was added there goes again, as nothing could be added here. */
static bool undo_there(struct pair *pair, struct error *err)
{
    const char *name = pair->config.host_name;
    autofree char *words = string_format("trust remove %s", name);
    autoreply struct remote_reply reply = {0};
    struct error problem = ERROR_INIT;
    if (pair->there != TRUSTED_NOT)
        return false;
    if (words && ask(pair, words, &reply, &problem) && reply.status == STATUS_OK)
        return error_wrap(err, "nothing was changed on %s", pair->host);
    return error_wrap(err,
                      "%s trusts this host now, and not the other way: say 'trust pair' again, "
                      "or there 'trust remove %s'",
                      pair->host, name);
}

static bool add_here(struct pair *pair, struct error *err)
{
    const struct trust_options *options = pair->options;
    const char *name = pair->entry_here ? pair->entry_here->name : pair->name;
    bool known = pair->entry_here && pair->here == TRUSTED_ALREADY;
    if (known && !options->address && options->expires == TRUST_NEVER)
        return true;
    int64_t expires =
        known && options->expires == TRUST_NEVER ? pair->entry_here->expires : options->expires;
    return trust_add(pair->context->paths.config, name, pair->pin,
                     known ? options->address : pair->address, expires, err) ||
           undo_there(pair, err);
}

static bool show(const struct pair *pair, struct error *err)
{
    const char *name = pair->entry_here ? pair->entry_here->name : pair->name;
    const char *own = pair->entry_there ? pair->entry_there->name : pair->config.host_name;
    if (pair->context->json)
        return put_json(json_pack("{s:{s:s, s:s}, s:{s:s, s:s}}", "here", "name", own, "pin",
                                  pair->identity->pin, "there", "name", name, "pin", pair->pin),
                        err);
    log_info("this host and %s trust each other: it is %s here, and this one is %s there",
             pair->host, name, own);
    autofree char *line = string_format("%-16s %s", name, pair->pin);
    return line ? put_line(line, err) : error_no_memory(err);
}

static bool run(struct pair *pair, struct error *err)
{
    const struct paths *paths = &pair->context->paths;
    if (!take_name(pair, err) || !take_words(pair, err))
        return false;
    if (!pair->options->yes && !terminal_is_there())
        return error_set(err, STATUS_USAGE,
                         "there is no terminal to show the pins at and to ask: give --yes, if all "
                         "that ssh says of %s is to be believed",
                         pair->host);
    if (pair->options->expires <= (int64_t)time(NULL))
        return error_set(err, STATUS_USAGE,
                         "--expires: that day is over: %s would not be trusted by it", pair->host);
    catch_interrupts(false);
    if (!config_load(paths->config, pair->context->config_file, &pair->config, err) ||
        !trust_load(paths->config, &pair->ours, err) || !have_identity(pair, err) ||
        !find_address(pair, err) ||
        !remote_shell_start(&pair->shell, &pair->ssh, pair->host, err) || !learn_pin(pair, err) ||
        !learn_trust(pair, err) || !check_names(pair, err))
        return false;
    bool done = pair->here == TRUSTED_ALREADY && pair->there == TRUSTED_ALREADY;
    if (!done && (!find_own_address(pair, err) || !confirm(pair, err)))
        return false;
    return add_there(pair, err) && add_here(pair, err) && show(pair, err);
}

bool trust_pair(struct context *context, const struct trust_options *options, const char *host,
                struct error *err)
{
    struct pair pair = {
        .context = context, .options = options, .host = host, .shell = REMOTE_SHELL_INIT};
    pair.shell.interrupted = &interrupted;
    bool good = run(&pair, err);
    pair_free(&pair);
    return good;
}
