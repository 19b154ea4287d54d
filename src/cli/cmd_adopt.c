/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The adopt command: an agreement for a guest that plain QEMU runs.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/command.h"
#include "host/profile.h"
#include "vm/adopt_devices.h"
#include "vm/adopt_look.h"
#include "vm/adopt_prove.h"
#include "vm/adopt_store.h"
#include "vm/config_files.h"
#include "vm/running_qemu.h"

struct adopt_command {
    struct context *context;
    const char *vm;
    const char *qmp;
    char *socket;       /* the same by a path that is good in any folder */
    const char *binary; /* --qemu, or NULL */
    bool renegotiate;
    struct config config;
    struct identity *identity;
    struct vm_record record;
    /* The guest. */
    struct running_qemu running;
    struct running_cpu cpu;
    struct adopt_look look;
    struct invocation invocation;
    struct proof_arguments arguments;
    struct strlist globals;
    bool fixed_tsc;
    /* What it is proven with. */
    struct qemu qemu;
    char *runs; /* a path to the file that runs */
    struct profile profile;
    char host_digest[DIGEST_HEX_SIZE];
    struct agreement agreement;
};

static void adopt_command_free(struct adopt_command *command)
{
    config_free(&command->config);
    identity_free(command->identity);
    free(command->socket);
    vm_record_free(&command->record);
    running_qemu_free(&command->running);
    running_cpu_free(&command->cpu);
    adopt_look_free(&command->look);
    invocation_free(&command->invocation);
    proof_arguments_free(&command->arguments);
    strlist_free(&command->globals);
    qemu_free(&command->qemu);
    free(command->runs);
    profile_free(&command->profile);
    agreement_free(&command->agreement);
}

static bool set_qmp(void *target, const char *value, struct error *err)
{
    ((struct adopt_command *)target)->qmp = value;
    return true;
}

static bool set_qemu(void *target, const char *value, struct error *err)
{
    ((struct adopt_command *)target)->binary = value;
    return true;
}

static bool set_renegotiate(void *target, const char *value, struct error *err)
{
    ((struct adopt_command *)target)->renegotiate = true;
    return true;
}

const struct option_spec adopt_options[] = {
    {"qmp", 0, ARGUMENT_REQUIRED, set_qmp},
    {"qemu", 0, ARGUMENT_REQUIRED, set_qemu},
    {"renegotiate", 0, ARGUMENT_NONE, set_renegotiate},
    {NULL, 0, ARGUMENT_NONE, NULL},
};

/* A path that is good in any folder. */
static char *whole_path(const char *path)
{
    autofree char *here = *path == '/' ? NULL : getcwd(NULL, 0);
    return here ? path_join(here, path, "") : strdup(path);
}

/* All that the running QEMU is asked. */
static bool look(struct adopt_command *command, struct error *err)
{
    const struct paths *paths = &command->context->paths;
    autoqmp struct qmp *qmp = running_qemu_connect(command->socket, err);
    if (!qmp || !running_qemu_find(qmp, &command->running, err))
        return false;
    pid_t pid = command->running.pid;
    if (!adopt_check_record(&command->record, pid, command->renegotiate, err) ||
        !adopt_check_process(paths, command->vm, pid, err) ||
        !adopt_check_agreement(paths, command->vm, command->identity->pin, &command->record,
                               command->renegotiate, err))
        return false;
    struct error inner = ERROR_INIT;
    if (adopt_look_read(qmp, &command->look, &inner) &&
        running_cpu_read(qmp, &command->cpu, &inner))
        return true;
    return error_set(err, inner.status, "%s: its QEMU (pid %ld): %s", command->vm, (long)pid,
                     inner.message);
}

/* The user's own -cpu sets the TSC's frequency (QEMU 10.0 target/i386/cpu.c,
 * x86_cpu_parse_featurestr takes tsc-freq too). */
static bool has_frequency(const char *cpu)
{
    for (const char *p = cpu ? strchr(cpu, ',') : NULL; p; p = strchr(p, ',')) {
        p++;
        if (strncmp(p, "tsc-freq", 8) == 0 || strncmp(p, "tsc_freq", 8) == 0)
            return true;
    }
    return false;
}

/* -global for the CPU have had their effect on the vCPUs that run, and each vCPU by -device is
 * looked at; what -set has changed in them cannot be said once more. */
static bool take_globals(struct adopt_command *command, struct error *err)
{
    static const char global[] = "-global ", device[] = "-device ";
    const struct strlist *overrides = &command->invocation.cpu_overrides;
    for (size_t i = 0; i < overrides->count; i++) {
        const char *text = overrides->items[i];
        if (string_starts_with(text, device))
            continue;
        if (!string_starts_with(text, global))
            return error_set(
                err, STATUS_INCOMPATIBLE,
                "%s of %s changes its CPU behind -cpu's back: start it with -cpu alone", text,
                command->vm);
        if (!strlist_push(&command->globals, text + strlen(global)))
            return error_no_memory(err);
    }
    return true;
}

/* What the proof needs of the arguments with which the guest was started. */
static bool read_arguments(struct adopt_command *command, struct error *err)
{
    struct invocation *invocation = &command->invocation;
    struct error inner = ERROR_INIT;
    if (!invocation_read(&command->running.arguments, invocation, &inner) ||
        !config_files_check(invocation, true, &inner))
        return error_set(err, inner.status == STATUS_USAGE ? STATUS_INCOMPATIBLE : inner.status,
                         "%s, as it was started: %s", command->vm, inner.message);
    command->fixed_tsc = has_frequency(invocation->cpu);
    if (!strlist_contains(&invocation->accels, command->cpu.accel))
        return error_set(err, STATUS_INCOMPATIBLE,
                         "%s runs under accelerator %s: only kvm and tcg are supported",
                         command->vm, invocation->accels.items[0]);
    if (!take_globals(command, err))
        return false;
    if (proof_arguments_make(invocation, command->cpu.machine, command->cpu.accel,
                             &command->arguments, &inner))
        return true;
    if (inner.status == STATUS_INCOMPATIBLE)
        return error_set(err, inner.status,
                         "%s is a confidential guest: what it sees cannot be proven", command->vm);
    return error_set(err, inner.status, "%s, as it was started: %s", command->vm, inner.message);
}

/* The QEMU with which the guest is started from now on, and one that is the file that runs. */
static bool choose_qemu(struct adopt_command *command, struct error *err)
{
    const struct running_qemu *running = &command->running;
    const char *path = command->binary ? command->binary : running->program;
    bool same = running->is_there && !command->binary;
    if (running->by_loader && !command->binary)
        return error_set(
            err, STATUS_CONFIG,
            "%s runs %s through a dynamic linker: give --qemu the script that starts it",
            command->vm, running->program);
    if (!command->binary && running->user != geteuid() && !running_qemu_check_owner(path, err))
        return false;
    if (!qemu_open(path, &command->qemu, err))
        return false;
    if (command->binary && !running_qemu_is(running, command->qemu.binary.path, &same, err))
        return false;
    if (same)
        return (command->runs = strdup(command->qemu.binary.path)) || error_no_memory(err);
    if (running->by_loader)
        return error_set(err, STATUS_INCOMPATIBLE,
                         "%s does not run %s, which %s runs: what it has cannot be proven",
                         command->qemu.binary.path, running->program, command->vm);
    log_warning("%s is not the file that %s runs%s: the CPU is proven with both",
                command->qemu.binary.path, command->vm,
                running->is_there ? "" : ", which was replaced since");
    if (!(command->runs = string_format("/proc/%ld/exe", (long)running->pid)))
        return error_no_memory(err);
    return running->user == geteuid() || running_qemu_check_owner(command->runs, err);
}

static bool examine_host(struct adopt_command *command, struct error *err)
{
    struct probe_parameters parameters = {.machine = command->cpu.machine,
                                          .accel = command->cpu.accel,
                                          .kernel_irqchip = command->invocation.kernel_irqchip,
                                          .cpu_pm = command->invocation.cpu_pm};
    struct agreement *agreement = &command->agreement;
    autofree char *model = NULL, *text = NULL;
    if (adopt_model_is_named(command->look.model) && !(model = strdup(command->look.model)))
        return error_no_memory(err);
    autojson json_t *payload =
        profile_make(&command->config, command->context->paths.state, &command->qemu, &parameters,
                     &model, command->host_digest, err);
    if (model && !(agreement->parties[0].request.model = strdup(model)))
        return error_no_memory(err);
    return payload && profile_read(payload, &command->profile, err) &&
           envelope_sign_digest(command->identity, PROFILE_TYPE, payload, &text,
                                agreement->parties[0].profile, err) &&
           adopt_devices(command->config.host_name, &command->profile.devices,
                         strcmp(command->runs, command->qemu.binary.path) == 0,
                         &command->running.arguments, &agreement->devices, err) &&
           adopt_baseline(&command->cpu, &command->profile.offer, model, command->fixed_tsc,
                          &agreement->baseline, err);
}

/* All of the agreement but its CPU. */
static bool begin_agreement(struct adopt_command *command, struct error *err)
{
    struct agreement *agreement = &command->agreement;
    const char *irqchip = command->invocation.kernel_irqchip;
    agreement->vm = strdup(command->vm);
    agreement->machine = strdup(command->cpu.machine);
    agreement->kernel_irqchip = strdup(irqchip ? irqchip : "");
    agreement->cpu_pm = command->invocation.cpu_pm;
    agreement->parties = calloc(1, sizeof(*agreement->parties));
    if (!agreement->vm || !agreement->machine || !agreement->kernel_irqchip || !agreement->parties)
        return error_no_memory(err);
    agreement->party_count = 1;
    struct agreement_party *party = &agreement->parties[0];
    party->role = ROLE_SOURCE;
    memcpy(party->pin, command->identity->pin, PIN_SIZE);
    return ((party->host = strdup(command->config.host_name)) || error_no_memory(err)) &&
           random_hex(32, party->nonce, err);
}

static bool refuse(const struct adopt_command *command, const struct strlist *reasons,
                   struct error *err)
{
    if (reasons->count == 1)
        return error_set(err, STATUS_INCOMPATIBLE, "%s cannot be adopted: %s", command->vm,
                         reasons->items[0]);
    for (size_t i = 0; i < reasons->count; i++)
        log_error("%s", reasons->items[i]);
    return error_set(
        err, STATUS_INCOMPATIBLE,
        "%s cannot be adopted: its CPU cannot be had a second time (%zu reasons above)",
        command->vm, reasons->count);
}

static bool prove(struct adopt_command *command, struct error *err)
{
    autostrlist struct strlist reasons = {0}, doubts = {0};
    const struct invocation *invocation = &command->invocation;
    const struct adopt_guest guest = {.paths = &command->context->paths,
                                      .qemu = &command->qemu,
                                      .running = command->runs,
                                      .cpu = &command->cpu,
                                      .offer = &command->profile.offer,
                                      .host = command->host_digest,
                                      .written =
                                          invocation->cpu ? invocation->cpu : command->look.model,
                                      .globals = &command->globals,
                                      .arguments = &command->arguments,
                                      .interrupted = &interrupted};
    if (!adopt_compare_vcpus(&command->cpu, &reasons, err) ||
        !adopt_find_refused(&command->cpu, &command->profile.offer, command->fixed_tsc, &reasons,
                            err))
        return false;
    if (reasons.count == 0 && !adopt_prove(&guest, &command->agreement, &reasons, &doubts, err))
        return false;
    for (size_t i = 0; i < doubts.count; i++)
        log_warning("%s", doubts.items[i]);
    if (reasons.count > 0)
        return refuse(command, &reasons, err);
    for (size_t i = 0; i < command->look.blocked.count; i++)
        log_warning("as it is now QEMU would not migrate %s: %s", command->vm,
                    command->look.blocked.items[i]);
    struct agreement_party *party = &command->agreement.parties[0];
    return guest_table_digest(&command->agreement.proof.table, party->table, err);
}

static bool store(struct adopt_command *command, struct error *err)
{
    struct vm_record record = {.place = PLACE_HERE, .role = ROLE_SOURCE};
    vm_record_free(&command->record);
    record.vm = strdup(command->vm);
    record.socket = STEAL(command->socket);
    record.qemu = whole_path(command->qemu.binary.path);
    record.peer = strdup("");
    record.peer_host = strdup("");
    record.guardian_address = strdup("");
    record.arguments = command->arguments;
    command->arguments = (struct proof_arguments){0};
    command->record = record;
    if (!record.vm || !record.socket || !record.qemu || !record.peer || !record.peer_host ||
        !record.guardian_address)
        return error_no_memory(err);
    if (!vm_record_set_argv(&command->record, &command->running.arguments, err) ||
        !vm_record_set_process(&command->record, command->running.pid, err))
        return false;
    command->agreement.issued = time(NULL);
    if (interrupted)
        return error_set(err, STATUS_INTERRUPTED, "interrupted");
    return adopt_store(&command->context->paths, command->identity, &command->agreement,
                       &command->record, err);
}

static bool report(const struct adopt_command *command, struct error *err)
{
    const struct agreement *agreement = &command->agreement;
    const struct baseline *baseline = &agreement->baseline;
    const char *form = cpu_form_name(agreement->form), *digest = command->record.agreement;
    autofree char *cpu = render_cpu(baseline, &command->profile.offer, agreement->form, err);
    if (!cpu)
        return false;
    if (command->context->json)
        return put_json(json_pack("{s:s, s:s, s:I, s:s, s:s, s:s, s:s?, s:s, s:o}", "vm",
                                  command->vm, "agreement", digest, "pid",
                                  (json_int_t)command->running.pid, "machine", agreement->machine,
                                  "accel", baseline->accel, "form", form, "model", baseline->model,
                                  "cpu", cpu, "features", featureset_to_json(&baseline->features)),
                        err);
    autofree char *line = string_format(
        "%s: QEMU with pid %ld is under agreement %.12s now (%s, %s%s%s), proven here", command->vm,
        (long)command->running.pid, digest, agreement->machine, baseline->accel,
        baseline->model ? ", " : "", baseline->model ? baseline->model : "");
    return line ? put_line(line, err) : error_no_memory(err);
}

static bool run(struct adopt_command *command, int count, char **words, struct error *err)
{
    struct context *context = command->context;
    struct operands operands;
    if (!command_options(context, count, words, adopt_options, command, &operands, err))
        return false;
    if (context->help || context->version)
        return true;
    if (operands.count != 1 || operands.rest_count >= 0 || !name_is_vm(operands.words[0]))
        return error_set(err, STATUS_USAGE, "adopt needs the name of one VM");
    if (!command->qmp)
        return error_set(err, STATUS_USAGE, "adopt needs --qmp, the socket of QEMU's QMP monitor");
    command->vm = operands.words[0];
    if (!(command->socket = whole_path(command->qmp)))
        return error_no_memory(err);
    catch_interrupts(true);
    autoclose int lock = vm_record_lock_soon(&context->paths, command->vm, err);
    return lock >= 0 &&
           config_load(context->paths.config, context->config_file, &command->config, err) &&
           (command->identity = identity_load(context->paths.config, err)) &&
           vm_record_load(&context->paths, command->vm, &command->record, err) &&
           look(command, err) && read_arguments(command, err) && choose_qemu(command, err) &&
           begin_agreement(command, err) && examine_host(command, err) && prove(command, err) &&
           store(command, err) && report(command, err);
}

bool command_adopt(struct context *context, int count, char **words, struct error *err)
{
    struct adopt_command command = {.context = context};
    bool good = run(&command, count, words, err);
    if (!good && interrupted)
        error_set(err, STATUS_INTERRUPTED, "interrupted");
    adopt_command_free(&command);
    return good;
}
