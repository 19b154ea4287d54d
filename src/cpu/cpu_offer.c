/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cpu/cpu_offer.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* Names outside the feature table that all models together may have: "like" would multiply them. */
#define MODEL_OTHERS_MAX 16384

void cpu_offer_free(struct cpu_offer *offer)
{
    free(offer->host);
    free(offer->accel);
    featureset_free(&offer->available);
    featureset_free(&offer->known);
    featureset_free(&offer->unmigratable);
    featureset_free(&offer->physical);
    featureset_free(&offer->unshown);
    featureset_free(&offer->denied);
    featureset_free(&offer->required);
    for (size_t i = 0; i < offer->model_count && !offer->models_borrowed; i++) {
        free(offer->models[i].name);
        featureset_free(&offer->models[i].features);
    }
    if (!offer->models_borrowed)
        free(offer->models);
    *offer = (struct cpu_offer){0};
}

const struct cpu_model *cpu_offer_find_model(const struct cpu_offer *offer, const char *name)
{
    for (size_t i = 0; i < offer->model_count; i++)
        if (strcmp(offer->models[i].name, name) == 0)
            return &offer->models[i];
    return NULL;
}

json_t *cpu_identity_to_json(const struct cpu_identity *identity)
{
    return json_pack("{s:s, s:i, s:i, s:i, s:s, s:I, s:I}", "vendor", identity->vendor, "family",
                     (int)identity->family, "model", (int)identity->model, "stepping",
                     (int)identity->stepping, "model_id", identity->model_id, "level",
                     (json_int_t)identity->level, "xlevel", (json_int_t)identity->xlevel);
}

static bool in_range(json_int_t value, json_int_t max)
{
    return value >= 0 && value <= max;
}

bool cpu_identity_from_json(json_t *json, const char *what, struct cpu_identity *identity,
                            struct error *err)
{
    const char *vendor, *model_id;
    json_int_t family, model, stepping, level, xlevel;
    if (!json_take(json, err, what, "{s:s, s:I, s:I, s:I, s:s, s:I, s:I}", "vendor", &vendor,
                   "family", &family, "model", &model, "stepping", &stepping, "model_id", &model_id,
                   "level", &level, "xlevel", &xlevel))
        return false;
    /* The widths of CPUID 1 EAX: family 4 + 8 bits, model 4 + 4, stepping 4 (SDM vol. 2, CPUID). */
    if (strlen(vendor) != CPU_VENDOR_SIZE - 1 || strchr(vendor, ',') ||
        strlen(model_id) >= CPU_MODEL_ID_SIZE || !in_range(family, 0xff + 0xf) ||
        !in_range(model, 0xff) || !in_range(stepping, 0xf) || !in_range(level, UINT32_MAX) ||
        !in_range(xlevel, UINT32_MAX))
        return error_set(err, STATUS_DATA, "%s: not a CPU's identity", what);
    struct cpu_identity made = {.family = (unsigned)family,
                                .model = (unsigned)model,
                                .stepping = (unsigned)stepping,
                                .level = (uint32_t)level,
                                .xlevel = (uint32_t)xlevel};
    memcpy(made.vendor, vendor, strlen(vendor) + 1);
    memcpy(made.model_id, model_id, strlen(model_id) + 1);
    *identity = made;
    return true;
}

static bool same_identity(const struct cpu_identity *a, const struct cpu_identity *b)
{
    return strcmp(a->vendor, b->vendor) == 0 && strcmp(a->model_id, b->model_id) == 0 &&
           a->family == b->family && a->model == b->model && a->stepping == b->stepping &&
           a->level == b->level && a->xlevel == b->xlevel;
}

/* The whole model, or how it differs from the one before it, if that is less. */
static json_t *model_to_json(const struct cpu_model *model, const struct cpu_model *before)
{
    autofeatureset struct featureset on = {0}, off = {0};
    const struct featureset *features = &model->features;
    if (before && (!featureset_copy(&on, features) || !featureset_copy(&off, &before->features)))
        return NULL;
    if (before) {
        featureset_subtract(&on, &before->features);
        featureset_subtract(&off, features);
    }
    if (!before || featureset_count(&on) + featureset_count(&off) >= featureset_count(features))
        return json_pack("{s:o, s:o}", "identity", cpu_identity_to_json(&model->identity),
                         "features", featureset_to_json(features));
    autojson json_t *entry = json_pack("{s:s, s:o, s:o}", "like", before->name, "on",
                                       featureset_to_json(&on), "off", featureset_to_json(&off));
    if (!entry ||
        (!same_identity(&model->identity, &before->identity) &&
         json_object_set_new(entry, "identity", cpu_identity_to_json(&model->identity)) != 0))
        return NULL;
    return STEAL(entry);
}

static json_t *models_to_json(const struct cpu_offer *offer)
{
    autojson json_t *models = json_object();
    for (size_t i = 0; i < offer->model_count; i++) {
        const struct cpu_model *model = &offer->models[i];
        if (json_object_set_new(models, model->name,
                                model_to_json(model, i > 0 ? model - 1 : NULL)) != 0)
            return NULL;
    }
    return STEAL(models);
}

json_t *cpu_offer_to_json(const struct cpu_offer *offer)
{
    return json_pack(
        "{s:s, s:s, s:o, s:i, s:o, s:o, s:o, s:o, s:i, s:b, s:o, s:o, s:o}", "host", offer->host,
        "accel", offer->accel, "identity", cpu_identity_to_json(&offer->identity), "phys_bits",
        (int)offer->phys_bits, "available", featureset_to_json(&offer->available), "known",
        featureset_to_json(&offer->known), "unmigratable", featureset_to_json(&offer->unmigratable),
        "physical", offer->physical_known ? featureset_to_json(&offer->physical) : json_null(),
        "tsc_khz", (int)offer->tsc_khz, "tsc_scales", (int)offer->tsc_scales, "denied",
        featureset_to_json(&offer->denied), "required", featureset_to_json(&offer->required),
        "models", models_to_json(offer));
}

/* In full: identity and features. */
static bool whole_from_json(json_t *entry, struct cpu_model *model, struct error *err)
{
    json_t *identity, *features;
    return json_take(entry, err, model->name, "{s:o, s:o}", "identity", &identity, "features",
                     &features) &&
           cpu_identity_from_json(identity, model->name, &model->identity, err) &&
           featureset_from_json(&model->features, features, model->name, err);
}

/* As another model, which stands before it in the order of names, but for what is said. */
static bool like_from_json(json_t *entry, const struct cpu_offer *offer, struct cpu_model *model,
                           struct error *err)
{
    autofeatureset struct featureset on = {0}, off = {0};
    const char *like;
    json_t *on_json, *off_json, *identity = NULL;
    if (!json_take(entry, err, model->name, "{s:s, s:o, s:o, s?o}", "like", &like, "on", &on_json,
                   "off", &off_json, "identity", &identity) ||
        !featureset_from_json(&on, on_json, model->name, err) ||
        !featureset_from_json(&off, off_json, model->name, err))
        return false;
    const struct cpu_model *before = cpu_offer_find_model(offer, like);
    if (!before || before == model)
        return error_set(err, STATUS_DATA, "CPU model %s is like '%.80s', which is not before it",
                         model->name, like);
    model->identity = before->identity;
    if (!featureset_copy(&model->features, &before->features))
        return error_no_memory(err);
    featureset_subtract(&model->features, &off);
    return (featureset_unite(&model->features, &on) || error_no_memory(err)) &&
           (!identity || cpu_identity_from_json(identity, model->name, &model->identity, err));
}

/* The next one, by name: those before it are there. */
static bool model_from_json(json_t *models, const char *name, struct cpu_offer *offer,
                            size_t *others, struct error *err)
{
    struct cpu_model *model = &offer->models[offer->model_count];
    json_t *entry = json_object_get(models, name);
    if (!name_is_model(name))
        return error_set(err, STATUS_DATA, "'%.80s' is not a CPU model", name);
    if (!(model->name = strdup(name)))
        return error_no_memory(err);
    offer->model_count++;
    if (!(json_object_get(entry, "like") ? like_from_json(entry, offer, model, err)
                                         : whole_from_json(entry, model, err)))
        return false;
    *others += model->features.others.count;
    return *others <= MODEL_OTHERS_MAX ||
           error_set(err, STATUS_DATA, "CPU models have too many features that are not known here");
}

static bool models_from_json(json_t *json, struct cpu_offer *offer, struct error *err)
{
    const char *name;
    json_t *entry;
    autostrlist struct strlist names = {0};
    size_t others = 0;
    if (!json_is_object(json) || json_object_size(json) > 1024)
        return error_set(err, STATUS_DATA, "CPU models: not an object");
    json_object_foreach(json, name, entry)
    {
        if (!strlist_push(&names, name))
            return error_no_memory(err);
    }
    strlist_sort(&names);
    offer->models = calloc(names.count + 1, sizeof(*offer->models));
    if (!offer->models)
        return error_no_memory(err);
    for (size_t i = 0; i < names.count; i++)
        if (!model_from_json(json, names.items[i], offer, &others, err))
            return false;
    return true;
}

bool cpu_offer_from_json(json_t *json, struct cpu_offer *out, struct error *err)
{
    autocpuoffer struct cpu_offer offer = {0};
    const char *host, *accel;
    json_t *identity, *available, *known, *unmigratable, *physical, *denied, *required, *models;
    json_int_t phys_bits, tsc_khz;
    int tsc_scales;
    if (!json_take(json, err, "the CPU offer",
                   "{s:s, s:s, s:o, s:I, s:o, s:o, s:o, s:o, s:I, s:b, s:o, s:o, s:o}", "host",
                   &host, "accel", &accel, "identity", &identity, "phys_bits", &phys_bits,
                   "available", &available, "known", &known, "unmigratable", &unmigratable,
                   "physical", &physical, "tsc_khz", &tsc_khz, "tsc_scales", &tsc_scales, "denied",
                   &denied, "required", &required, "models", &models))
        return false;
    if (!name_is_host(host) || (strcmp(accel, "kvm") != 0 && strcmp(accel, "tcg") != 0) ||
        !in_range(phys_bits, 64) || !in_range(tsc_khz, INT32_MAX))
        return error_set(err, STATUS_DATA, "the CPU offer: host, accel or a number is not valid");
    offer.phys_bits = (unsigned)phys_bits;
    offer.tsc_khz = (unsigned)tsc_khz;
    offer.tsc_scales = tsc_scales;
    offer.physical_known = !json_is_null(physical);
    if (!(offer.host = strdup(host)) || !(offer.accel = strdup(accel)))
        return error_no_memory(err);
    if (!cpu_identity_from_json(identity, "the CPU offer", &offer.identity, err) ||
        !featureset_from_json(&offer.available, available, "available features", err) ||
        !featureset_from_json(&offer.known, known, "known features", err) ||
        !featureset_from_json(&offer.unmigratable, unmigratable, "unmigratable features", err) ||
        (offer.physical_known &&
         !featureset_from_json(&offer.physical, physical, "the CPU's own features", err)) ||
        !featureset_from_json(&offer.denied, denied, "denied features", err) ||
        !featureset_from_json(&offer.required, required, "required features", err) ||
        !models_from_json(models, &offer, err))
        return false;
    cpu_offer_free(out);
    *out = offer;
    offer = (struct cpu_offer){0};
    return true;
}
