/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The launch command: agree with a peer, then become QEMU.
 */
#include "cli/cmd_launch.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "peer/identity.h"
#include "peer/trust.h"
#include "vm/command_line.h"
#include "vm/config_file.h"
#include "vm/invocation.h"
#include "vm/query.h"
#include "vm/record.h"

#define DEFAULT_TIMEOUT_MS 30000

static void launch_free(struct launch *launch)
{
    launch_options_free(&launch->options);
    config_free(&launch->config);
    trust_free(&launch->trust);
    identity_free(launch->identity);
    arglist_free(&launch->arguments);
    invocation_free(&launch->invocation);
    cpu_request_free(&launch->request);
    qemu_free(&launch->qemu);
    free(launch->incoming);
    vm_record_free(&launch->record);
    vm_sockets_free(&launch->sockets);
    free(launch->listen_host);
    if (launch->listener >= 0)
        close(launch->listener);
    if (launch->lock >= 0)
        close(launch->lock);
}

/* The configuration files that QEMU would read. */
static bool check_config_files(const struct invocation *invocation, struct error *err)
{
    autostrlist struct strlist files = {0};
    if (!invocation->no_user_config && !strlist_push(&files, QEMU_DEFAULT_CONFIG))
        return error_no_memory(err);
    for (size_t i = 0; i < invocation->readconfig.count; i++)
        if (!strlist_push(&files, invocation->readconfig.items[i]))
            return error_no_memory(err);
    for (size_t i = 0; i < files.count; i++) {
        autofree char *text = NULL;
        size_t length;
        /* One that is missing is QEMU's to complain about. */
        if (!file_read(files.items[i], QEMU_CONFIG_SIZE_MAX, true, &text, &length, err) ||
            (text && !config_file_check(files.items[i], text, err)))
            return false;
    }
    return true;
}

/* What the user's QEMU command line asks for. */
static bool read_arguments(struct launch *launch, struct error *err)
{
    struct invocation *invocation = &launch->invocation;
    if (!invocation_read(&launch->arguments, invocation, err))
        return false;
    if (!check_config_files(invocation, err))
        return false;
    if (invocation->cpu_overrides.count > 0)
        return error_set(err, STATUS_USAGE,
                         "%s changes the CPU behind -cpu's back: say it with -cpu",
                         invocation->cpu_overrides.items[0]);
    if (invocation->machine_none)
        return error_set(err, STATUS_USAGE, "-machine none has no guest");
    if (!cpu_request_parse(invocation->cpu, &launch->request, err) ||
        !featureset_unite(&launch->request.off, &launch->options.deny))
        return false;
    featureset_subtract(&launch->request.on, &launch->options.deny);
    launch->vm = launch->options.vm ? launch->options.vm : invocation->name;
    if (!launch->vm)
        return error_set(err, STATUS_USAGE, "the VM has no name: give --vm NAME, or QEMU's -name");
    if (!name_is_vm(launch->vm))
        return error_set(err, STATUS_USAGE,
                         "'%.80s' (QEMU's -name) cannot name a VM: give --vm NAME", launch->vm);
    launch->accel = qemu_choose_accel((const char *const *)invocation->accels.items,
                                      invocation->accels.count, err);
    if (!launch->accel || launch->options.no_proof)
        return launch->accel != NULL;
    /* What can never be proven is said now, not when a peer is there. */
    autoproofarguments struct proof_arguments arguments = {0};
    return proof_arguments_make(invocation, "pc", launch->accel, &arguments, err);
}

static size_t count_address(const struct trust *trust, const char *host)
{
    size_t count = 0;
    for (size_t i = 0; i < trust->count; i++)
        count += trust->entries[i].host && strcmp(trust->entries[i].host, host) == 0;
    return count;
}

/* --peer names a trust entry, or the address of one. */
static bool connect_peer(const struct launch *launch, const struct exchange_self *self,
                         struct negotiated *result, struct error *err)
{
    const char *text = launch->options.peer;
    const struct trust_entry *entry = trust_find(&launch->trust, text);
    autofree char *host = NULL;
    uint16_t port = 0;
    if (!name_is_vm(text) || !entry || strcmp(entry->name, text) != 0) {
        if (!parse_address(text, &host, &port) || !*host)
            return error_set(err, STATUS_USAGE, "--peer: '%.80s' is not HOST[:PORT]", text);
        if (!entry)
            entry = trust_find(&launch->trust, host);
    }
    if (!entry && count_address(&launch->trust, host ? host : text) > 1)
        return error_set(err, STATUS_NOT_TRUSTED,
                         "several trust entries have the address %s: give --peer the name of one",
                         host ? host : text);
    if (!entry)
        return error_set(err, STATUS_NOT_TRUSTED,
                         "no trust entry is named %s or has that address: "
                         "qemu-migrate-launch trust add NAME PIN --address %s",
                         text, text);
    if (port == 0)
        port = entry->port ? entry->port : DEFAULT_PORT;
    const char *address = entry->host ? entry->host : host ? host : entry->name;
    return negotiate_with_peer(self, entry, address, port, result, err);
}

static bool negotiate(const struct launch *launch, struct negotiated *result, struct error *err)
{
    struct exchange_self self = {
        .paths = &launch->context->paths,
        .config = &launch->config,
        .identity = launch->identity,
        .vm = launch->vm,
        .role = launch->role,
        .incoming_port = launch->incoming_port,
        .guarded = launch->guarded,
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
    };
    int64_t timeout = launch->options.timeout_ms;
    bool listen = launch->options.listen;
    self.when = timeout > 0 ? deadline_in_ms(timeout)
                : listen    ? DEADLINE_NEVER
                            : deadline_in_ms(DEFAULT_TIMEOUT_MS);
    self.interrupted = &interrupted;
    return listen ? negotiate_listen(&self, &launch->trust, launch->listen_host,
                                     launch->listen_port, result, err)
                  : connect_peer(launch, &self, result, err);
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

static bool store_record(struct launch *launch, struct negotiated *negotiated, struct error *err)
{
    struct vm_record *record = &launch->record;
    struct exchange *exchange = &negotiated->exchange;
    record->place = launch->role == ROLE_DESTINATION ? PLACE_INCOMING : PLACE_HERE;
    record->role = launch->role;
    record->peer_port = exchange->peer.incoming_port;
    record->guarded = launch->guarded || exchange->peer.guarded;
    record->guardian_port = launch->guarded ? launch->incoming_port : 0;
    vm_migration_free(&record->migration);
    memcpy(record->agreement, exchange->agreement_digest, DIGEST_HEX_SIZE);
    if (!launch_replace(&record->vm, launch->vm) ||
        !launch_replace(&record->socket, launch->sockets.command) ||
        !launch_replace(&record->peer, exchange->peer.name) ||
        !launch_replace(&record->peer_host, negotiated->peer_host) ||
        !launch_replace(&record->guardian_address,
                        launch->listen_host ? launch->listen_host : "") ||
        !launch_replace_path(&record->qemu, launch->qemu.binary.path))
        return error_no_memory(err);
    proof_arguments_free(&record->arguments);
    record->arguments = exchange->arguments;
    exchange->arguments = (struct proof_arguments){0};
    return vm_record_set_argv(record, &launch->arguments, err) && vm_record_set_self(record, err) &&
           vm_record_store(&launch->context->paths, record, err);
}

static bool show(const struct launch *launch, const struct exchange *exchange, const char *cpu,
                 const struct strlist *argv, struct error *err)
{
    if (launch->context->json) {
        autofree char *peer_cpu =
            render_cpu(&exchange->agreement.baseline, &exchange->peer.profile.offer,
                       launch->options.form, err);
        return peer_cpu && put_json(launch_document(exchange, cpu, peer_cpu, argv), err);
    }
    autofree char *line = command_line_quote(argv);
    return line ? put_line(line, err) : error_no_memory(err);
}

bool launch_begin(struct launch *launch, struct error *err)
{
    const struct paths *paths = &launch->context->paths;
    if (!launch_choose_role(launch, err))
        return false;
    launch->lock = vm_record_lock(paths, launch->vm, err);
    return launch->lock >= 0 && vm_record_load(paths, launch->vm, &launch->record, err) &&
           vm_record_check_launch(&launch->record, launch->role == ROLE_DESTINATION,
                                  launch->options.renegotiate && launch->options.here, err) &&
           qemu_open(launch->arguments.program, &launch->qemu, err) &&
           vm_sockets_prepare(paths, launch->vm, &launch->sockets, err);
}

/* The peer is the one who may move the guest to here. */
static bool guard_for_peer(struct launch *launch, const struct negotiated *negotiated,
                           struct error *err)
{
    autostrlist struct strlist sources = {0};
    if (!launch->guarded)
        return true;
    if (!strlist_push(&sources, negotiated->exchange.peer.pin))
        return error_no_memory(err);
    return launch_guardian(launch, &sources,
                           launch->listener >= 0 ? launch->listener : negotiated->listener, err);
}

static bool launch_agreed(struct launch *launch, struct error *err)
{
    autonegotiated struct negotiated negotiated = NEGOTIATED_INIT;
    if (!launch_begin(launch, err) || !negotiate(launch, &negotiated, err))
        return false;
    const struct exchange *exchange = &negotiated.exchange;
    autofree char *cpu = render_cpu(&exchange->agreement.baseline, &exchange->profile.offer,
                                    launch->options.form, err);
    autostrlist struct strlist argv = {0};
    if (!cpu || !command_line_make(&launch->arguments, cpu, &exchange->agreement, &launch->sockets,
                                   launch->guarded, launch->incoming, &argv, err))
        return false;
    launch_report(exchange);
    if (launch->options.dry_run)
        return show(launch, exchange, cpu, &argv, err);
    return store_record(launch, &negotiated, err) && guard_for_peer(launch, &negotiated, err) &&
           exec_qemu(launch->context->start, &launch->qemu.binary, &argv, err);
}

/* QEMU is only asked something: it needs no agreement. */
static bool exec_query(const struct launch *launch, struct error *err)
{
    autostrlist struct strlist argv = {0};
    autofree char *path = process_find_executable(launch->arguments.program, err);
    return path && arglist_render(&launch->arguments, &argv, err) &&
           exec_plain(launch->context->start, path, &argv, err);
}

static bool run(struct launch *launch, int count, char **words, struct error *err)
{
    struct context *context = launch->context;
    struct operands operands;
    if (!command_options(context, count, words, launch_specs, &launch->options, &operands, err))
        return false;
    if (context->help || context->version)
        return true;
    if (operands.count > 0)
        return error_set(err, STATUS_USAGE,
                         "'%.80s' stands before --: QEMU and its arguments come behind it",
                         operands.words[0]);
    if (operands.rest_count < 1)
        return error_set(err, STATUS_USAGE,
                         "say what to start: -- qemu-system-x86_64 ... "
                         "(see --help)");
    if (!arglist_parse(&launch->arguments, operands.rest_count, operands.rest, err))
        return false;
    if (arglist_is_query(&launch->arguments))
        return exec_query(launch, err);
    if (launch->options.agreement && launch->options.peer)
        return error_set(err, STATUS_USAGE, "--agreement needs no --peer: it was agreed already");
    if (!launch->options.agreement && launch->options.listen == (launch->options.peer != NULL))
        return error_set(err, STATUS_USAGE, "give --peer HOST or --listen, one of them");
    if (launch->options.no_proof && launch->options.accepted.count > 0)
        return error_set(err, STATUS_USAGE,
                         "without a proof (--no-proof) there are no rows for "
                         "--accept-row");
    catch_interrupts(true);
    if (!config_load(context->paths.config, context->config_file, &launch->config, err) ||
        !trust_load(context->paths.config, &launch->trust, err) ||
        !(launch->identity = identity_load(context->paths.config, err)) ||
        !read_arguments(launch, err))
        return false;
    return launch->options.agreement ? launch_under_agreement(launch, err)
                                     : launch_agreed(launch, err);
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
