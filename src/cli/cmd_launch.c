/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The launch command: agree with a peer, then become QEMU.
 */
#include "cli/cmd_launch.h"
#include "cli/tofu.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/process.h"
#include "peer/identity.h"
#include "peer/trust.h"
#include "vm/command_line.h"
#include "vm/drift.h"
#include "vm/query.h"
#include "vm/record.h"

#define ONE_OF_THEM "give --peer HOST (or --peer-profile FILE) or --listen, one of them"

void launch_free(struct launch *launch)
{
    launch_options_free(&launch->options);
    config_free(&launch->config);
    trust_free(&launch->trust);
    identity_free(launch->identity);
    arglist_free(&launch->arguments);
    invocation_free(&launch->invocation);
    strlist_free(&launch->backends);
    visible_list_free(&launch->visible);
    cpu_request_free(&launch->request);
    qemu_free(&launch->qemu);
    free(launch->incoming);
    vm_record_free(&launch->record);
    vm_sockets_free(&launch->sockets);
    pool_members_free(&launch->members);
    free(launch->listen_host);
    if (launch->listener >= 0)
        close(launch->listener);
    if (launch->lock >= 0)
        close(launch->lock);
}

struct exchange_self launch_self(const struct launch *launch)
{
    return (struct exchange_self){
        .paths = &launch->context->paths,
        .config = &launch->config,
        .identity = launch->identity,
        .vm = launch->vm,
        .role = launch->role,
        .incoming_port = launch->incoming_port,
        .guarded = launch->guarded,
        .renegotiate = launch->renegotiate,
        .lives = !launch->record.vm ||
                 (launch->record.place != PLACE_MOVED && launch->record.place != PLACE_ELSEWHERE),
        .qemu = &launch->qemu,
        .machine = launch->invocation.machine_type,
        .accel = launch->accel,
        .kernel_irqchip = launch->invocation.kernel_irqchip,
        .cpu_pm = launch->invocation.cpu_pm,
        .memory = &launch->invocation.memory,
        .request = &launch->request,
        .form = launch->options.form,
        .required = &launch->options.require,
        .invocation = &launch->invocation,
        .prove = !launch->options.no_proof,
        .accepted = &launch->options.accepted,
        .backends = &launch->backends,
        .visible = &launch->visible,
        .accepted_differences = &launch->options.accepted_differences,
        .interrupted = &interrupted,
    };
}

/* *self is what launch_self gave: the result points to it. */
static bool negotiate(const struct launch *launch, struct exchange_self *self,
                      struct negotiated *result, struct error *err)
{
    int64_t timeout = launch->options.timeout_ms;
    bool listen = launch->options.listen;
    self->when = timeout > 0 ? deadline_in_ms(timeout)
                 : listen    ? DEADLINE_NEVER
                             : deadline_in_ms(LAUNCH_TIMEOUT_MS);
    return listen ? negotiate_listen(self, &launch->trust, launch->listen_host, launch->listen_port,
                                     result, err)
                  : launch_negotiate_with_peers(launch, self, result, err);
}

bool launch_replace(char **place, const char *text)
{
    free(*place);
    return (*place = strdup(text)) != NULL;
}

/* The same for a path that is to be good in any folder. */
bool launch_replace_path(char **place, const char *path)
{
    autofree char *here = *path == '/' ? NULL : getcwd(NULL, 0);
    autofree char *whole = here ? path_join(here, path, "") : strdup(path);
    return whole && launch_replace(place, whole);
}

/* The one of the others that has that role, or NULL. */
static const struct exchange_peer *find_role(const struct exchange *exchange, enum vm_role role)
{
    for (size_t i = 0; i < exchange->peer_count; i++)
        if (exchange->peers[i].role == role)
            return &exchange->peers[i];
    return NULL;
}

/* The other end of the migration that is to come, if that is known: of a source its destination, of
 * a destination the source, or whoever it was agreed with. */
static bool fill_peer(struct launch *launch, const struct negotiated *negotiated)
{
    struct vm_record *record = &launch->record;
    const struct exchange *exchange = &negotiated->exchange;
    bool source = launch->role == ROLE_SOURCE;
    const struct exchange_peer *peer = find_role(exchange, source ? ROLE_DESTINATION : ROLE_SOURCE);
    if (!peer && !source && exchange->peer_count > 0)
        peer = &exchange->peers[0];
    const char *address = peer ? negotiated->addresses[peer - exchange->peers] : NULL;
    record->peer_port = peer ? peer->incoming_port : 0;
    record->guarded = launch->guarded || (peer && peer->guarded);
    return launch_replace(&record->peer, peer ? peer->name : "") &&
           launch_replace(&record->peer_host, address ? address : "");
}

static bool store_record(struct launch *launch, struct negotiated *negotiated, struct error *err)
{
    struct vm_record *record = &launch->record;
    struct exchange *exchange = &negotiated->exchange;
    record->place = launch->role == ROLE_DESTINATION ? PLACE_INCOMING : PLACE_HERE;
    record->role = launch->role;
    record->guardian_port = launch->guarded ? launch->incoming_port : 0;
    vm_migration_free(&record->migration);
    memcpy(record->agreement, exchange->agreement_digest, DIGEST_HEX_SIZE);
    if (!fill_peer(launch, negotiated) || !launch_replace(&record->vm, launch->vm) ||
        !launch_replace(&record->socket, launch->sockets.command) ||
        !launch_replace(&record->guardian_address,
                        launch->listen_host ? launch->listen_host : "") ||
        !launch_replace_path(&record->qemu, launch->qemu.binary.path))
        return error_no_memory(err);
    proof_arguments_free(&record->arguments);
    record->arguments = exchange->arguments;
    exchange->arguments = (struct proof_arguments){0};
    return vm_record_set_argv(record, &launch->arguments, err) &&
           vm_record_set_visible(record, &launch->visible, err) &&
           vm_record_set_self(record, err) &&
           vm_record_store(&launch->context->paths, record, err) &&
           drift_remember(&launch->context->paths, launch->vm, exchange->profile_payload, err);
}

static bool show(const struct launch *launch, const struct exchange *exchange,
                 const struct strlist *argv, struct error *err)
{
    if (launch->context->json) {
        json_t *document = launch_document(exchange, argv, err);
        return document && put_json(document, err);
    }
    autofree char *line = command_line_quote(argv);
    return line ? put_line(line, err) : error_no_memory(err);
}

bool launch_begin(struct launch *launch, struct error *err)
{
    const struct paths *paths = &launch->context->paths;
    if (!launch_choose_role(launch, err))
        return false;
    launch->lock = vm_record_lock_soon(paths, launch->vm, err);
    return launch->lock >= 0 && vm_record_load(paths, launch->vm, &launch->record, err) &&
           vm_record_check_launch(&launch->record, launch->role == ROLE_DESTINATION,
                                  launch->options.renegotiate && launch->options.here, err) &&
           qemu_open_cached(launch->arguments.program, paths->state, &launch->qemu, err) &&
           vm_sockets_prepare(paths, launch->vm, &launch->sockets, err);
}

/* The source may move the guest to here; if none is known, any of those who agreed. */
static bool guard_for_peers(struct launch *launch, const struct negotiated *negotiated,
                            struct error *err)
{
    const struct exchange *exchange = &negotiated->exchange;
    const struct exchange_peer *source = find_role(exchange, ROLE_SOURCE);
    autostrlist struct strlist sources = {0};
    if (!launch->guarded)
        return true;
    for (size_t i = 0; i < exchange->peer_count; i++)
        if ((!source || source == &exchange->peers[i]) &&
            !strlist_push(&sources, exchange->peers[i].pin))
            return error_no_memory(err);
    return launch_guardian(launch, &sources,
                           launch->listener >= 0 ? launch->listener : negotiated->listener, err);
}

/* The agreement that the new one replaces. One that cannot be read does not hinder
 * --renegotiate. */
static bool load_former(const struct launch *launch, struct agreement *former, struct error *err)
{
    autojson json_t *document = NULL;
    struct error unreadable = ERROR_INIT;
    if (agreement_load(launch->context->paths.state, launch->vm, &document, &unreadable) &&
        (!document || agreement_document_open(document, former, NULL, &unreadable)))
        return true;
    if (!launch->renegotiate)
        return error_set(err, unreadable.status, "%s", unreadable.message);
    log_warning("%s: %s: it is replaced", launch->vm, unreadable.message);
    return true;
}

static bool launch_agreed(struct launch *launch, struct error *err)
{
    autonegotiated struct negotiated negotiated = NEGOTIATED_INIT;
    autoagreement struct agreement former = {0};
    if (!launch_begin(launch, err) || !load_former(launch, &former, err))
        return false;
    struct exchange_self self = launch_self(launch);
    if (!negotiate(launch, &self, &negotiated, err))
        return false;
    trust_keep(launch->context->paths.config, &launch->trust);
    const struct exchange *exchange = &negotiated.exchange;
    autofree char *cpu = render_cpu(&exchange->agreement.baseline, &exchange->profile.offer,
                                    launch->options.form, err);
    autostrlist struct strlist argv = {0};
    autodevicereport struct device_report lacks = {0};
    if (!cpu || !exchange_device_lacks(exchange, &lacks, err) ||
        !launch_make_argv(launch, &exchange->agreement, cpu, &exchange->profile.devices, &lacks,
                          &argv, err))
        return false;
    launch_report(exchange, &former);
    if (launch->options.dry_run)
        return show(launch, exchange, &argv, err);
    launch_tell_pool(launch);
    if (!store_record(launch, &negotiated, err) || !guard_for_peers(launch, &negotiated, err))
        return false;
    proof_free(&negotiated.exchange.proof); /* its QEMUs must not become QEMU's children */
    return !interrupted && exec_qemu(launch->context->start, &launch->qemu.binary, &argv, err);
}

/* QEMU is only asked something: it needs no agreement. */
static bool exec_query(const struct launch *launch, struct error *err)
{
    autostrlist struct strlist argv = {0};
    autofree char *path = process_find_executable(launch->arguments.program, err);
    return path && arglist_render(&launch->arguments, &argv, err) &&
           exec_plain(launch->context->start, path, &argv, err);
}

bool launch_check_options(const struct launch_options *options, struct error *err)
{
    bool asks = options->peers.count + options->profiles.count > 0;
    if (options->agreement && asks)
        return error_set(err, STATUS_USAGE,
                         "--agreement needs no --peer and no --peer-profile: it was agreed "
                         "already");
    if (!options->agreement && options->listen && asks)
        return error_set(err, STATUS_USAGE, ONE_OF_THEM);
    if (options->offline_ok && options->peers.count == 0)
        return error_set(err, STATUS_USAGE, "--offline-ok is about --peer");
    if (options->no_proof && options->accepted.count > 0)
        return error_set(err, STATUS_USAGE,
                         "without a proof (--no-proof) there are no rows for "
                         "--accept-row");
    return true;
}

/* A guest that goes on from a snapshot keeps its CPU. */
static bool check_snapshot(const struct launch *launch, struct error *err)
{
    autovmrecord struct vm_record record = {0};
    if (!launch->invocation.uses_loadvm || launch->known)
        return true;
    if (!vm_record_load(&launch->context->paths, launch->vm, &record, err))
        return false;
    if (record.vm || launch->options.renegotiate)
        return error_set(err, STATUS_INCOMPATIBLE,
                         "-loadvm goes on with a guest that has its CPU already: it cannot be "
                         "agreed anew%s",
                         launch->options.renegotiate ? " (--renegotiate)" : "");
    log_warning("%s goes on from a snapshot (-loadvm), and there is no agreement about its CPU "
                "here: if the snapshot was made with another CPU, the guest's changes under its "
                "feet",
                launch->vm);
    return true;
}

static bool start(struct launch *launch, struct error *err)
{
    launch->known = launch->options.agreement != NULL;
    launch->renegotiate = launch->options.renegotiate;
    if (!launch->known && !launch_find_known(launch, &launch->known, &launch->renegotiate, err))
        return false;
    const struct launch_options *options = &launch->options;
    if (!launch->known && launch_may_use_pool(launch) && !launch_find_in_pool(launch, err))
        return false;
    if (!launch->known && !options->listen &&
        options->peers.count + options->profiles.count + launch->members.count == 0)
        return error_set(
            err, STATUS_USAGE, "%s%s",
            launch->renegotiate ? "it is agreed anew: name all that are to be parties: " : "",
            ONE_OF_THEM);
    return check_snapshot(launch, err) &&
           (launch->known ? launch_under_agreement(launch, err) : launch_agreed(launch, err));
}

/* --tofu: before anything points to trust entries. */
static bool meet_peers(struct launch *launch, struct error *err)
{
    const struct strlist *peers = &launch->options.peers;
    for (size_t i = 0; launch->options.tofu && i < peers->count; i++)
        if (!tofu_meet(launch->context, launch->identity, "--peer", peers->items[i], &launch->trust,
                       err))
            return false;
    return true;
}

bool launch_with_arguments(struct launch *launch, struct error *err)
{
    const struct paths *paths = &launch->context->paths;
    catch_interrupts(true);
    return trust_load(paths->config, &launch->trust, err) &&
           (launch->identity = identity_load(paths->config, err)) && meet_peers(launch, err) &&
           launch_read_arguments(launch, err) && start(launch, err);
}

static bool run(struct launch *launch, int count, char **words, struct error *err)
{
    struct context *context = launch->context;
    struct operands operands;
    if (!command_options(context, count, words, launch_options, &launch->options, &operands, err))
        return false;
    if (context->help || context->version)
        return true;
    if (operands.count > 0)
        return error_set(err, STATUS_USAGE,
                         "'%.80s' stands before --: QEMU and its arguments come behind it",
                         operands.words[0]);
    if (!launch_find_arguments(launch, &operands, err))
        return false;
    if (arglist_is_query(&launch->arguments))
        return exec_query(launch, err);
    return launch_check_options(&launch->options, err) &&
           config_load(context->paths.config, context->config_file, &launch->config, err) &&
           launch_with_arguments(launch, err);
}

bool command_launch(struct context *context, int count, char **words, struct error *err)
{
    struct launch launch = {.context = context, .lock = -1, .listener = -1};
    bool good = run(&launch, count, words, err);
    if (!good && interrupted)
        error_set(err, STATUS_INTERRUPTED, "interrupted");
    launch_free(&launch);
    return good;
}
