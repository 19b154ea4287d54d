/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "host/probe_cache.h"
#include "host/probe_key.h"
#include "host/qemu.h"
#include "host/qemu_devices.h"
#include "host/qemu_files.h"
#include "host/qemu_session.h"
#include "host/system.h"

static bool start(const struct qemu *qemu, const struct probe_parameters *parameters,
                  struct qemu_session *session, struct error *err)
{
    /* Under KVM the vCPU that is there is `base`, which no KVM refuses; `host` is asked about by
     * query-cpu-model-expansion. Under TCG the numbers are those of a real `max` vCPU: QEMU 10.0's
     * expansion of `max` says family 0. */
    bool kvm = strcmp(parameters->accel, "kvm") == 0;
    autostrlist struct strlist arguments = {0};
    bool good = strlist_push(&arguments, "-machine") &&
                (parameters->kernel_irqchip && kvm
                     ? strlist_pushf(&arguments, "%s,kernel-irqchip=%s", parameters->machine,
                                     parameters->kernel_irqchip)
                     : strlist_push(&arguments, parameters->machine)) &&
                strlist_push(&arguments, "-accel") && strlist_push(&arguments, parameters->accel) &&
                strlist_push(&arguments, "-cpu") &&
                strlist_push(&arguments, kvm ? "base" : "max") && strlist_push(&arguments, "-m") &&
                strlist_push(&arguments, "16");
    if (good && parameters->cpu_pm)
        good = strlist_push(&arguments, "-overcommit") && strlist_push(&arguments, "cpu-pm=on");
    if (!good)
        return error_no_memory(err);
    return qemu_session_start(session, qemu->binary.path, &arguments, deadline_in_ms(QEMU_PROBE_MS),
                              err);
}

static bool check_accel(struct qemu_session *session, const char *accel, struct error *err)
{
    autojson json_t *reply = NULL;
    if (!qemu_session_ask(session, "query-kvm", NULL, &reply, err))
        return false;
    bool enabled = json_is_true(json_object_get(reply, "enabled"));
    if (enabled != (strcmp(accel, "kvm") == 0))
        return error_set(err, STATUS_CONFIG, "QEMU runs with%s KVM, though %s was asked for",
                         enabled ? "" : "out", accel);
    return true;
}

/* Features and numbers of a static expansion's properties. */
static bool read_props(json_t *props, struct featureset *on, struct featureset *known,
                       struct cpu_identity *identity, struct error *err)
{
    const char *name;
    json_t *value;
    json_object_foreach(props, name, value)
    {
        /* lmce is a switch of the host's, the only boolean there that is no feature (QEMU 10.0
         * target/i386/cpu-system.c x86_cpu_static_props). */
        if (!json_is_boolean(value) || strcmp(name, "lmce") == 0 || !name_is_feature(name))
            continue;
        if ((known && !featureset_add(known, name)) ||
            (json_is_true(value) && !featureset_add(on, name)))
            return error_no_memory(err);
    }
    json_int_t family, model, stepping, level, xlevel;
    const char *vendor, *model_id;
    if (json_unpack(props, "{s:I, s:I, s:I, s:I, s:I, s:s, s:s}", "family", &family, "model",
                    &model, "stepping", &stepping, "min-level", &level, "min-xlevel", &xlevel,
                    "vendor", &vendor, "model-id", &model_id) != 0)
        return error_set(err, STATUS_CONFIG, "QEMU's CPU has no family, model or vendor");
    autojson json_t *numbers = json_pack("{s:s, s:I, s:I, s:I, s:s, s:I, s:I}", "vendor", vendor,
                                         "family", family, "model", model, "stepping", stepping,
                                         "model_id", model_id, "level", level, "xlevel", xlevel);
    if (!numbers)
        return error_no_memory(err);
    return cpu_identity_from_json(numbers, "QEMU's CPU", identity, err);
}

/* Static expansion of a model; migratable: NULL, or what to set that property of `host` to. */
static bool expand(struct qemu_session *session, const char *model, const char *migratable,
                   struct featureset *on, struct featureset *known, struct cpu_identity *identity,
                   struct error *err)
{
    autojson json_t *reply = NULL;
    json_t *arguments =
        migratable ? json_pack("{s:s, s:{s:s, s:{s:b}}}", "type", "static", "model", "name", model,
                               "props", "migratable", strcmp(migratable, "on") == 0)
                   : json_pack("{s:s, s:{s:s}}", "type", "static", "model", "name", model);
    if (!arguments)
        return error_no_memory(err);
    if (!qemu_session_ask(session, "query-cpu-model-expansion", arguments, &reply, err))
        return false;
    json_t *props = json_object_get(json_object_get(reply, "model"), "props");
    return read_props(props, on, known, identity, err) || error_wrap(err, "CPU model %s", model);
}

/* What this host can give, and what it could give a guest that never moves. */
static bool read_host_model(struct qemu_session *session, const char *model,
                            struct cpu_offer *offer, struct error *err)
{
    struct cpu_identity ignored;
    if (!expand(session, model, "on", &offer->available, &offer->known, &offer->identity, err) ||
        !expand(session, model, "off", &offer->unmigratable, NULL, &ignored, err))
        return false;
    featureset_subtract(&offer->unmigratable, &offer->available);
    return true;
}

static bool get_number(struct qemu_session *session, const char *path, const char *property,
                       unsigned *number, struct error *err)
{
    autojson json_t *value = NULL;
    json_t *arguments = json_pack("{s:s, s:s}", "path", path, "property", property);
    if (!arguments)
        return error_no_memory(err);
    if (!qemu_session_ask(session, "qom-get", arguments, &value, err))
        return false;
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > UINT32_MAX)
        return error_set(err, STATUS_CONFIG, "QEMU's CPU: %s is not a number", property);
    *number = (unsigned)json_integer_value(value);
    return true;
}

/* The numbers that a vCPU has once it is realized. */
static bool read_vcpu(struct qemu_session *session, struct cpu_offer *offer, struct error *err)
{
    autojson json_t *cpus = NULL;
    if (!qemu_session_ask(session, "query-cpus-fast", NULL, &cpus, err))
        return false;
    const char *path = json_string_value(json_object_get(json_array_get(cpus, 0), "qom-path"));
    if (!path)
        return error_set(err, STATUS_CONFIG, "QEMU has no CPU");
    struct cpu_identity *identity = &offer->identity;
    return get_number(session, path, "family", &identity->family, err) &&
           get_number(session, path, "model", &identity->model, err) &&
           get_number(session, path, "stepping", &identity->stepping, err) &&
           get_number(session, path, "level", &identity->level, err) &&
           get_number(session, path, "xlevel", &identity->xlevel, err) &&
           get_number(session, path, "phys-bits", &offer->phys_bits, err);
}

static int compare_models(const void *a, const void *b)
{
    return strcmp(((const struct cpu_model *)a)->name, ((const struct cpu_model *)b)->name);
}

/* {"NAME": what it stands for} of every CPU model, itself when it is no alias. */
static json_t *read_aliases(const json_t *definitions)
{
    autojson json_t *aliases = json_object();
    size_t i;
    json_t *definition;
    json_array_foreach(definitions, i, definition)
    {
        const char *name = json_string_value(json_object_get(definition, "name"));
        const char *alias = json_string_value(json_object_get(definition, "alias-of"));
        if (name && name_is_model(name) && !json_object_get(aliases, name) &&
            json_object_set_new(aliases, name,
                                json_string(alias && name_is_model(alias) ? alias : name)) != 0)
            return NULL;
    }
    return STEAL(aliases);
}

/* The versioned name of the model that the user asked for. */
static bool resolve_model(const json_t *aliases, char **model, struct error *err)
{
    const char *name = model && *model ? json_string_value(json_object_get(aliases, *model)) : NULL;
    if (!model || !*model)
        return true;
    if (!name)
        return error_set(err, STATUS_CONFIG,
                         "QEMU does not know the CPU model %s (see its -cpu help)", *model);
    char *result = strdup(name);
    if (!result)
        return error_no_memory(err);
    free(*model);
    *model = result;
    return true;
}

/* Every model that is not an alias, as this QEMU defines it on this machine type. */
static bool read_models(struct qemu_session *session, struct cpu_offer *offer, json_t **aliases,
                        struct error *err)
{
    autojson json_t *definitions = NULL;
    size_t i;
    json_t *definition;
    if (!qemu_session_ask(session, "query-cpu-definitions", NULL, &definitions, err))
        return false;
    if (!(*aliases = read_aliases(definitions)))
        return error_no_memory(err);
    offer->models = calloc(json_array_size(definitions) + 1, sizeof(*offer->models));
    if (!offer->models)
        return error_no_memory(err);
    json_array_foreach(definitions, i, definition)
    {
        const char *name = json_string_value(json_object_get(definition, "name"));
        if (!name || !name_is_model(name) || json_object_get(definition, "alias-of") ||
            strcmp(name, "host") == 0 || strcmp(name, "max") == 0 ||
            strcmp(name, "base") == 0) /* not CPUs by themselves */
            continue;
        struct cpu_model *model = &offer->models[offer->model_count++];
        if (!(model->name = strdup(name)))
            return error_no_memory(err);
        if (!expand(session, name, NULL, &model->features, NULL, &model->identity, err))
            return false;
    }
    qsort(offer->models, offer->model_count, sizeof(*offer->models), compare_models);
    return true;
}

static bool probe(struct qemu_session *session, const struct probe_parameters *parameters,
                  json_t **aliases, struct cpu_offer *offer, struct error *err)
{
    bool kvm = strcmp(parameters->accel, "kvm") == 0;
    if (!(offer->accel = strdup(parameters->accel)))
        return error_no_memory(err);
    if (!check_accel(session, parameters->accel, err) ||
        !read_host_model(session, kvm ? "host" : "max", offer, err))
        return false;
    if (!(kvm ? system_phys_bits(&offer->phys_bits, err) : read_vcpu(session, offer, err)))
        return false;
    if (kvm) /* a VM for the question: kept with the rest */
        system_kvm_tsc(&offer->tsc_khz, &offer->tsc_scales);
    return read_models(session, offer, aliases, err);
}

/* What it answered, and the files that it is made of. */
struct answer {
    struct cpu_offer offer;
    struct device_offer devices; /* without backends */
    json_t *aliases;             /* read_aliases */
    struct strlist files;
};

static void answer_free(struct answer *answer)
{
    cpu_offer_free(&answer->offer);
    device_offer_free(&answer->devices);
    json_decref(answer->aliases);
    strlist_free(&answer->files);
    *answer = (struct answer){0};
}
#define autoanswer __attribute__((cleanup(answer_free)))

static bool ask(const struct qemu *qemu, const struct probe_parameters *parameters,
                struct answer *answer, struct error *err)
{
    autoqemusession struct qemu_session session = QEMU_SESSION_INIT;
    return start(qemu, parameters, &session, err) &&
           probe(&session, parameters, &answer->aliases, &answer->offer, err) &&
           qemu_ask_devices(&session, parameters->machine, &answer->devices, err) &&
           qemu_files_list(session.process.pid, qemu->binary.device, qemu->binary.inode,
                           &answer->files, err);
}

static json_t *answer_to_json(const struct answer *answer)
{
    char nobody[] = "nobody"; /* the host's name is not QEMU's to say */
    struct cpu_offer offer = answer->offer;
    offer.host = nobody;
    return json_pack("{s:o, s:O, s:o}", "offer", cpu_offer_to_json(&offer), "aliases",
                     answer->aliases, "devices", device_offer_to_json(&answer->devices));
}

static bool answer_from_json(json_t *json, struct answer *answer, struct error *err)
{
    json_t *offer, *aliases, *devices;
    if (!json_take(json, err, "what is kept", "{s:o, s:o, s:o}", "offer", &offer, "aliases",
                   &aliases, "devices", &devices) ||
        !cpu_offer_from_json(offer, &answer->offer, err) ||
        !device_offer_from_json(devices, &answer->devices, err))
        return false;
    free(answer->offer.host);
    answer->offer.host = NULL;
    const char *name;
    json_t *stands_for;
    if (!json_is_object(aliases))
        return error_set(err, STATUS_DATA, "CPU models: not an object");
    json_object_foreach(aliases, name, stands_for)
    {
        const char *meant = json_string_value(stands_for);
        if (!name_is_model(name) || !meant || !name_is_model(meant))
            return error_set(err, STATUS_DATA, "'%.80s' is not a CPU model", name);
    }
    answer->aliases = json_incref(aliases);
    return true;
}

/* An answer that was kept, with the model's name resolved. */
static bool find(const char *state_folder, const struct probe_question *question, char **model,
                 struct answer *out, struct error *err)
{
    autoanswer struct answer answer = {0};
    autojson json_t *known = probe_cache_find(state_folder, question, &answer.files);
    if (!known || !answer_from_json(known, &answer, err) ||
        !resolve_model(answer.aliases, model, err))
        return false;
    *out = answer;
    answer = (struct answer){0};
    return true;
}

static bool ask_cached(const struct qemu *qemu, const char *state_folder,
                       const struct probe_parameters *parameters, char **model,
                       struct answer *answer, const struct host_view *view, struct error *err)
{
    autoprobequestion struct probe_question question = {0};
    struct error doubt = ERROR_INIT;
    if (state_folder)
        probe_question_init(&question,
                            view ? probe_key_words(&qemu->binary, parameters, view, &doubt)
                                 : probe_key_words_now(&qemu->binary, parameters, &doubt));
    if (question.words && find(state_folder, &question, model, answer, &doubt)) {
        log_debug("the CPU of %s was examined before: %s", parameters->machine, question.key);
        return true;
    }
    if (*doubt.message)
        log_debug("the CPU of %s is examined: %s", parameters->machine, doubt.message);
    if (!ask(qemu, parameters, answer, err))
        return false;
    if (question.words)
        probe_cache_store(state_folder, &question, &answer->files,
                          probe_key_words_now(&qemu->binary, parameters, NULL),
                          answer_to_json(answer));
    return resolve_model(answer->aliases, model, err);
}

bool qemu_probe_cpu(const struct qemu *qemu, const struct probe_parameters *parameters,
                    const char *state_folder, char **model, struct cpu_offer *out,
                    struct device_offer *devices, char files[DIGEST_HEX_SIZE],
                    const struct host_view *view, struct error *err)
{
    autoanswer struct answer answer = {0};
    if (!ask_cached(qemu, state_folder, parameters, model, &answer, view, err) ||
        (files && !qemu_files_list_digest(&answer.files, files, err)))
        return error_wrap(err, "%s -machine %s -accel %s", qemu->binary.path, parameters->machine,
                          parameters->accel);
    *out = answer.offer;
    answer.offer = (struct cpu_offer){0};
    if (devices) {
        *devices = answer.devices;
        answer.devices = (struct device_offer){0};
    }
    return true;
}
