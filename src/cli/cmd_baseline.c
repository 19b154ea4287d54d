/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The baseline command: what hosts have in common, from stored profiles.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/cmd_baseline.h"
#include "cli/compat_tell.h"
#include "cpu/feature_table.h"
#include "peer/envelope.h"
#include "peer/identity.h"
#include "peer/trust.h"

static bool set_qemu(void *target, const char *value, struct error *err)
{
    ((struct baseline_command *)target)->qemu = value;
    return true;
}

static bool set_cpu(void *target, const char *value, struct error *err)
{
    return cpu_request_parse(value, &((struct baseline_command *)target)->request, err);
}

static bool set_machine(void *target, const char *value, struct error *err)
{
    ((struct baseline_command *)target)->machine = value;
    return name_is_machine(value) ||
           error_set(err, STATUS_USAGE, "--machine: '%.80s' is not a machine type", value);
}

static bool set_agreement(void *target, const char *value, struct error *err)
{
    ((struct baseline_command *)target)->agreement = value;
    return true;
}

static bool set_html(void *target, const char *value, struct error *err)
{
    ((struct baseline_command *)target)->html = value;
    return *value || error_set(err, STATUS_USAGE, "--html needs a file");
}

static bool set_form(void *target, const char *value, struct error *err)
{
    ((struct baseline_command *)target)->form_given = true;
    return cpu_form_parse(value, &((struct baseline_command *)target)->form) ||
           error_set(err, STATUS_USAGE, "--cpu-form is named, base or host");
}

static bool set_require(void *target, const char *value, struct error *err)
{
    return featureset_parse(&((struct baseline_command *)target)->require, value, "--require",
                            STATUS_USAGE, err);
}

static bool set_deny(void *target, const char *value, struct error *err)
{
    return featureset_parse(&((struct baseline_command *)target)->deny, value, "--deny",
                            STATUS_USAGE, err);
}

const struct option_spec baseline_options[] = {
    {"qemu", 0, ARGUMENT_REQUIRED, set_qemu},
    {"cpu", 0, ARGUMENT_REQUIRED, set_cpu},
    {"machine", 0, ARGUMENT_REQUIRED, set_machine},
    {"agreement", 0, ARGUMENT_REQUIRED, set_agreement},
    {"html", 0, ARGUMENT_REQUIRED, set_html},
    {"cpu-form", 0, ARGUMENT_REQUIRED, set_form},
    {"require", 0, ARGUMENT_REQUIRED, set_require},
    {"deny", 0, ARGUMENT_REQUIRED, set_deny},
    {NULL, 0, ARGUMENT_NONE, NULL},
};

/* A stored profile: signed (by whom is only said: this is planning) or not. */
static bool read_profile(const char *path, const struct trust *trust,
                         const struct identity *identity, struct profile *profile,
                         struct error *err)
{
    autofree char *text = NULL;
    size_t length;
    autoenvelope struct envelope envelope = {0};
    if (!file_read(path, PROFILE_SIZE_MAX * 2, false, &text, &length, err))
        return false;
    autojson json_t *json = json_parse_strict(text, length, PROFILE_SIZE_MAX * 2, err);
    bool is_signed = json && json_object_get(json, "signature");
    if (!json ||
        (is_signed &&
         !envelope_open(text, length, PROFILE_SIZE_MAX * 2, PROFILE_TYPE, &envelope, err)) ||
        !profile_read(is_signed ? envelope.payload : json, profile, err)) {
        error_wrap(err, "%s", path);
        error_advise(err, PROFILE_ADVICE);
        return false;
    }
    bool own = is_signed && identity && strcmp(identity->pin, envelope.pin) == 0;
    if (is_signed && !own && !trust_find_pin(trust, envelope.pin))
        log_info("%s: signed by %s, a key that is not trusted here", path, envelope.pin);
    struct error doubt = ERROR_INIT;
    if (!profile_check(profile, time(NULL), &doubt)) {
        if (doubt.status == STATUS_PROTOCOL)
            return error_set(err, doubt.status, "%s: %s", path, doubt.message);
        log_warning("%s: %s", path, doubt.message);
    }
    return true;
}

static bool read_profiles(struct baseline_command *command, const struct operands *operands,
                          struct error *err)
{
    autotrust struct trust trust = {0};
    autoidentity struct identity *identity = identity_load(command->context->paths.config, NULL);
    if (!trust_load(command->context->paths.config, &trust, err))
        return false;
    command->profiles = calloc((size_t)operands->count, sizeof(*command->profiles));
    command->offers = calloc((size_t)operands->count, sizeof(*command->offers));
    command->requests = calloc((size_t)operands->count, sizeof(*command->requests));
    command->hosts = calloc((size_t)operands->count, sizeof(*command->hosts));
    if (!command->profiles || !command->offers || !command->requests || !command->hosts)
        return error_no_memory(err);
    for (int i = 0; i < operands->count; i++) {
        struct profile *profile = &command->profiles[i];
        command->count++; /* freed, even if it is refused only after it was read */
        if (!read_profile(operands->words[i], &trust, identity, profile, err))
            return false;
        for (int k = 0; k < i; k++)
            if (strcmp(command->offers[k]->host, profile->offer.host) == 0)
                return error_set(err, STATUS_DATA,
                                 "%s and %s are both of host %s: leave one out, or give the hosts "
                                 "different names ([host] name in config.ini)",
                                 operands->words[k], operands->words[i], profile->offer.host);
        command->offers[i] = &profile->offer;
        command->hosts[i] = (struct device_host){profile->offer.host, &profile->devices};
        command->requests[i] = &command->request;
    }
    return true;
}

/* Imported profiles do not tell how CPU models are defined: --qemu's definitions stand for them,
 * or those of another profile. */
static bool lend_models(struct baseline_command *command, struct error *err)
{
    const struct cpu_offer *lender = NULL;
    if (command->qemu) {
        autoqemu struct qemu qemu = {0};
        if (!qemu_open(command->qemu, &qemu, err))
            return false;
        const struct machine_type *type = machine_list_find(&qemu.machines, command->machine);
        if (!type)
            return error_set(err, STATUS_CONFIG, "%s has no machine type %s", command->qemu,
                             command->machine ? command->machine : "by default");
        struct probe_parameters parameters = {.machine = type->name, .accel = "tcg"};
        if (!qemu_probe_cpu(&qemu, &parameters, NULL, &command->request.model, &command->lender,
                            NULL, NULL, NULL, err))
            return false;
        lender = &command->lender;
    }
    for (size_t i = 0; i < command->count && !lender; i++)
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): as many are filled as count says */
        if (command->offers[i]->model_count > 0)
            lender = command->offers[i];
    for (size_t i = 0; i < command->count && lender; i++) {
        struct cpu_offer *offer = &command->profiles[i].offer;
        if (offer->model_count > 0)
            continue;
        free(offer->models); /* of none */
        offer->models = lender->models;
        offer->model_count = lender->model_count;
        offer->models_borrowed = true;
    }
    return true;
}

/* The type that was asked for, or that of the first profile made for one, by its alias if it has
 * one: recorded replies are of no type. NULL: QEMU's default. */
static const char *wanted_machine(const struct baseline_command *command)
{
    for (size_t i = 0; i < command->count && !command->machine; i++) {
        const struct profile *profile = &command->profiles[i];
        const struct machine_type *type = machine_list_find(&profile->machines, profile->machine);
        if (!profile->imported)
            return type && type->alias ? type->alias : profile->machine;
    }
    return command->machine;
}

/* The newest type of the family that all profiles which tell are of. */
static bool choose_machine(struct baseline_command *command, struct error *err)
{
    autofree struct machine_wish *wishes = calloc(command->count + 1, sizeof(*wishes));
    const char *wanted = wanted_machine(command);
    size_t count = 0;
    if (!wishes)
        return error_no_memory(err);
    for (size_t i = 0; i < command->count; i++) {
        const struct profile *profile = &command->profiles[i];
        const struct machine_type *type = machine_list_find(&profile->machines, profile->machine);
        if (profile->machines.count == 0)
            continue;
        const char *probed = type && type->alias ? type->alias : profile->machine;
        wishes[count++] = (struct machine_wish){
            profile->offer.host, command->machine || profile->imported ? wanted : probed,
            &profile->machines, profile->qemu_version, false};
    }
    if (count > 0 && !(command->machine_chosen = machine_choose(wishes, count, err)))
        return false;
    for (size_t i = 0; i < command->count; i++)
        if (command->machine_chosen && command->profiles[i].machines.count > 0 &&
            !command->profiles[i].imported &&
            strcmp(command->profiles[i].machine, command->machine_chosen) != 0)
            log_warning("the profile of %s was made for %s, not %s: features may differ",
                        command->offers[i]->host, command->profiles[i].machine,
                        command->machine_chosen);
    return true;
}

static bool compare_machines(struct baseline_command *command, struct error *err)
{
    const char *machine = command->machine_chosen;
    if (!(command->machines = calloc(command->count, sizeof(*command->machines))))
        return error_no_memory(err);
    for (size_t i = 0; i < command->count; i++)
        command->machines[i] = compat_host(&command->profiles[i], machine);
    compat_log(machine ? machine : "", command->machines, command->count);
    return true;
}

/* There is no command line: a VM might use whatever a host is known to have. */
static bool compute_devices(struct baseline_command *command, struct error *err)
{
    autodevicebaseline struct device_baseline baseline = {0};
    autostrlist struct strlist uses = {0};
    for (size_t i = 0; i < command->count; i++) {
        const struct device_offer *offer = &command->profiles[i].devices;
        for (size_t k = 0; k < offer->backend_count; k++)
            if (offer->backends[k].state == BACKEND_KNOWN &&
                !strlist_push(&uses, offer->backends[k].name))
                return error_no_memory(err);
    }
    strlist_sort(&uses);
    struct error unequal = ERROR_INIT;
    if (!device_baseline_equal(command->hosts, command->count, &uses, &unequal))
        log_warning("%s", unequal.message);
    return device_baseline_compute(command->hosts, command->count, &uses, &baseline,
                                   &command->devices, err);
}

static bool run(struct baseline_command *command, const struct operands *operands,
                struct error *err)
{
    if (operands->count < 1 || operands->rest_count >= 0)
        return error_set(err, STATUS_USAGE, "baseline needs the files of one or more profiles");
    if (command->agreement &&
        (command->qemu || command->machine || command->request.model || command->form_given ||
         command->html ||
         featureset_count(&command->require) + featureset_count(&command->deny) > 0))
        return error_set(err, STATUS_USAGE,
                         "--agreement takes no other option: what is wanted was agreed on");
    if (!featureset_unite(&command->request.off, &command->deny))
        return error_no_memory(err);
    featureset_subtract(&command->request.on, &command->deny);
    if (!read_profiles(command, operands, err))
        return false;
    if (command->agreement)
        return baseline_against_agreement(command, err);
    if (!lend_models(command, err) || !choose_machine(command, err) ||
        !baseline_compute(command->offers, command->requests, command->count, &command->require,
                          &command->baseline, &command->report, err) ||
        !compute_devices(command, err) || !compare_machines(command, err))
        return false;
    for (size_t i = 0; i < command->count; i++) {
        autofree char *cpu = render_cpu(&command->baseline, command->offers[i], command->form, err);
        if (!cpu)
            return false;
        if (!strlist_push(&command->cpus, cpu))
            return error_no_memory(err);
    }
    if (command->html && !baseline_write_page(command, err))
        return false;
    if (command->context->json)
        return put_json(baseline_document(command), err);
    return command->html || baseline_print(command, err);
}

bool command_baseline(struct context *context, int count, char **words, struct error *err)
{
    struct baseline_command command = {.context = context};
    struct operands operands;
    bool good = command_options(context, count, words, baseline_options, &command, &operands, err);
    if (good && !context->help && !context->version)
        good = run(&command, &operands, err);
    cpu_request_free(&command.request);
    featureset_free(&command.require);
    featureset_free(&command.deny);
    for (size_t i = 0; i < command.count; i++)
        profile_free(&command.profiles[i]);
    free(command.profiles);
    free(command.offers);
    free(command.requests);
    free(command.hosts);
    device_report_free(&command.devices);
    free(command.machines);
    cpu_offer_free(&command.lender);
    free(command.machine_chosen);
    strlist_free(&command.cpus);
    baseline_free(&command.baseline);
    baseline_report_free(&command.report);
    return good;
}
