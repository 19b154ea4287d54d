/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The receive command: become the paused destination of a VM that runs on another host.
 */
#include "cli/cmd_receive.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/tofu.h"
#include "vm/args_file.h"
#include "vm/drift.h"

static bool set_from(void *target, const char *value, struct error *err)
{
    ((struct receive *)target)->from = value;
    return true;
}

static bool set_dry_run(void *target, const char *value, struct error *err)
{
    ((struct receive *)target)->launch.options.dry_run = true;
    return true;
}

static bool set_timeout(void *target, const char *value, struct error *err)
{
    return launch_set_timeout(&((struct receive *)target)->launch.options, value, err);
}

static bool set_wait(void *target, const char *value, struct error *err)
{
    return launch_set_wait(&((struct receive *)target)->launch.options, value, err);
}

static bool set_tofu(void *target, const char *value, struct error *err)
{
    return launch_set_tofu(&((struct receive *)target)->launch.options, value, err);
}

static bool set_accept_difference(void *target, const char *value, struct error *err)
{
    return launch_set_accept_difference(&((struct receive *)target)->launch.options, value, err);
}

const struct option_spec receive_options[] = {
    {"accept-difference", 0, ARGUMENT_REQUIRED, set_accept_difference},
    {"from", 0, ARGUMENT_REQUIRED, set_from},
    {"tofu", 0, ARGUMENT_NONE, set_tofu},
    {"timeout", 0, ARGUMENT_REQUIRED, set_timeout},
    {"wait", 0, ARGUMENT_REQUIRED, set_wait},
    {"dry-run", 0, ARGUMENT_NONE, set_dry_run},
    {NULL, 0, ARGUMENT_NONE, NULL},
};

static void receive_free(struct receive *receive)
{
    launch_free(&receive->launch);
    launch_known_free(&receive->fetched);
    strlist_free(&receive->argv);
    strlist_free(&receive->left_out);
    visible_list_free(&receive->visible);
    free(receive->peer_host);
    free(receive->qemu);
}

/* This host's own command line, from behind -- or from its file; *there: it has one. */
static bool find_arguments(struct receive *receive, const struct operands *operands, bool *there,
                           struct error *err)
{
    struct launch *launch = &receive->launch;
    autostrlist struct strlist argv = {0};
    autofree char *path = NULL;
    *there = operands->rest_count > 0;
    if (*there)
        return arglist_parse(&launch->arguments, operands->rest_count, operands->rest, err);
    if (!args_file_load(&launch->context->paths, receive->vm, &path, &argv, err))
        return false;
    *there = path != NULL;
    return !path || arglist_parse(&launch->arguments, (int)argv.count, argv.items, err) ||
           error_wrap(err, "%s", path);
}

/* Nothing is asked of anybody when the VM cannot come here anyway. */
static bool check_record(const struct receive *receive, struct error *err)
{
    autovmrecord struct vm_record record = {0};
    return vm_record_load(&receive->launch.context->paths, receive->vm, &record, err) &&
           vm_record_check_launch(&record, true, false, err);
}

/* A guest must find here what it has there. */
static bool compare_arguments(const struct receive *receive, struct error *err)
{
    const struct launch *launch = &receive->launch;
    const char *peer = receive->peer->name;
    if (receive->visible.version > 0)
        return visible_require_same(&receive->visible, peer, &launch->visible,
                                    launch->config.host_name, &launch->options.accepted_differences,
                                    err);
    log_warning("%s does not tell what a guest sees of its command line%s%s: nobody has compared "
                "it",
                peer, receive->left_out.count > 0 ? ", " : "",
                receive->left_out.count > 0 ? receive->left_out.items[0] : "");
    return true;
}

/* What this host gives, by a proof of now; without one in the agreement as it offers it. */
static bool prove(const struct receive *receive, struct drift_given *given, struct error *err)
{
    const struct launch *launch = &receive->launch;
    const struct agreement *agreement = &receive->fetched.agreement;
    autostrlist struct strlist reasons = {0};
    if (!(agreement->proof.made
              ? drift_check(&launch->context->paths, &launch->config, agreement,
                            receive->fetched.digest, &launch->record, &reasons, given, err)
              : drift_render(&launch->context->paths, &launch->config, agreement, &launch->record,
                             &launch->qemu, &reasons, given, err)))
        return false;
    for (size_t i = 0; i < reasons.count; i++)
        log_error("%s", reasons.items[i]);
    return given->cpu || error_set(err, STATUS_DRIFT, "%s cannot give %s what was agreed on%s",
                                   launch->config.host_name, receive->vm,
                                   receive->is_party ? ", though it has promised to" : "");
}

/* The source, whichever of its keys it has then. */
static bool start_guardian(struct receive *receive, struct error *err)
{
    autostrlist struct strlist sources = {0};
    for (size_t i = 0; i < receive->peer->pin_count; i++)
        if (!strlist_push(&sources, receive->peer->pins[i]))
            return error_no_memory(err);
    return launch_guardian(&receive->launch, &sources, receive->launch.listener, err);
}

static void announce(const struct receive *receive)
{
    struct error err = ERROR_INIT;
    const struct launch *launch = &receive->launch;
    if (receive_announce(receive, &err))
        log_info("on %s: qemu-migrate-launch migrate %s", receive->peer->name, receive->vm);
    else if (!interrupted)
        log_warning("%s could not be told that %s waits here (%s); there: qemu-migrate-launch "
                    "migrate %s --to %s:%u (or under whichever address it knows this host)",
                    receive->peer->name, receive->vm, err.message, receive->vm,
                    launch->config.host_name, launch->incoming_port);
}

static bool keep(const struct receive *receive, struct error *err)
{
    return !receive->store || agreement_store(receive->launch.context->paths.state, receive->vm,
                                              receive->fetched.document, err);
}

/* Become the destination. Returns only if that failed, or with --dry-run. */
static bool become(struct receive *receive, struct error *err)
{
    struct launch *launch = &receive->launch;
    const struct agreement *agreement = &receive->fetched.agreement;
    autostrlist struct strlist argv = {0};
    launch->options.vm = receive->vm;
    launch->options.incoming = true;
    launch->options.no_proof = !agreement->proof.made;
    if (!launch_read_arguments(launch, err))
        return false;
    if (launch->invocation.uses_loadvm)
        return error_set(err, STATUS_USAGE,
                         "a guest that comes from another host is not loaded "
                         "from a snapshot: leave out -loadvm");
    if (launch->invocation.has_incoming)
        return error_set(err, STATUS_USAGE, "receive adds -incoming itself: leave it out");
    if (!compare_arguments(receive, err) || !launch_begin(launch, err) ||
        !launch_check_arguments(launch, agreement, err) ||
        !launch_fill_record(launch, &receive->fetched, err))
        return false;
    if (!launch_replace(&launch->record.peer, receive->peer->name))
        return error_no_memory(err);
    autodriftgiven struct drift_given given = {0};
    if (!prove(receive, &given, err) ||
        !launch_make_known_argv(launch, agreement, &given, &argv, err))
        return false;
    log_info("%s: as agreed, %.12s%s", receive->vm, receive->fetched.digest,
             agreement->proof.made ? ", proven here" : "");
    if (launch->options.dry_run)
        return launch_show(launch, &receive->fetched, given.cpu, &argv, err);
    if (!keep(receive, err) || !vm_record_store(&launch->context->paths, &launch->record, err) ||
        !start_guardian(receive, err))
        return false;
    announce(receive);
    return !interrupted && exec_qemu(launch->context->start, &launch->qemu.binary, &argv, err);
}

static bool run(struct receive *receive, int count, char **words, struct error *err)
{
    struct launch *launch = &receive->launch;
    struct context *context = launch->context;
    struct operands operands;
    bool there;
    if (!command_options(context, count, words, receive_options, receive, &operands, err))
        return false;
    if (context->help || context->version)
        return true;
    if (operands.count != 1 || !name_is_vm(operands.words[0]))
        return error_set(err, STATUS_USAGE,
                         "receive needs the name of one VM, and --from PEER, where it runs");
    receive->vm = operands.words[0];
    catch_interrupts(true);
    int64_t timeout = launch->options.timeout_ms;
    receive->when = deadline_in_ms(timeout > 0 ? timeout : LAUNCH_TIMEOUT_MS);
    if (!config_load(context->paths.config, context->config_file, &launch->config, err) ||
        !trust_load(context->paths.config, &launch->trust, err) ||
        !(launch->identity = identity_load(context->paths.config, err)) ||
        !find_arguments(receive, &operands, &there, err) || !check_record(receive, err))
        return false;
    if (receive->from && launch->options.tofu &&
        !tofu_meet(context, launch->identity, "--from", receive->from, &launch->trust, err))
        return false;
    if (receive->from)
        receive->peer = launch_find_peer(launch, "--from", receive->from, &receive->peer_host,
                                         &receive->peer_port, err);
    else if (!receive_find_in_pool(receive, err))
        return false;
    if (!receive->peer || !receive_fetch(receive, err) || !receive_check(receive, err))
        return false;
    trust_keep(context->paths.config, &launch->trust);
    return there ? become(receive, err) : receive_propose(receive, err);
}

bool command_receive(struct context *context, int count, char **words, struct error *err)
{
    struct receive receive = {.launch = {.context = context, .lock = -1, .listener = -1}};
    bool good = run(&receive, count, words, err);
    if (!good && interrupted)
        error_set(err, STATUS_INTERRUPTED, "interrupted");
    receive_free(&receive);
    return good;
}
