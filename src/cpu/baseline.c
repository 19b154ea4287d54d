/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cpu/baseline.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cpu/feature_table.h"
#include "cpu/model_choice.h"

/* TSC frequencies this close are one to a guest (Linux kvm's tolerance, tsc_tolerance_ppm). */
#define TSC_TOLERANCE_PPM 250
/* What a guest with svm reads about it (AMD APM vol. 3, E.4). */
#define SVM_LEAF 0x8000000a

void baseline_free(struct baseline *baseline)
{
    featureset_free(&baseline->features);
    free(baseline->model);
    free(baseline->accel);
    cpu_knobs_free(&baseline->knobs);
    *baseline = (struct baseline){0};
}

static bool parties_match(const struct cpu_offer *const offers[], size_t count, struct error *err)
{
    for (size_t i = 1; i < count; i++) {
        const struct cpu_offer *a = offers[0], *b = offers[i];
        if (strcmp(a->accel, b->accel) != 0)
            return error_set(err, STATUS_INCOMPATIBLE,
                             "%s would run the guest under %s and %s under %s: a guest cannot move "
                             "between them",
                             a->host, a->accel, b->host, b->accel);
        if (strcmp(a->identity.vendor, b->identity.vendor) != 0)
            return error_set(err, STATUS_INCOMPATIBLE,
                             "%s has a CPU of %s and %s one of %s: vendors never mix", a->host,
                             a->identity.vendor, b->host, b->identity.vendor);
    }
    return true;
}

/* The value of -cpu ends a property at each comma and has no other way to write one (QEMU 10.0
 * target/i386/cpu.c x86_cpu_parse_featurestr): no guest gets a model-id with one. */
void baseline_replace_commas(char *model_id)
{
    for (char *p = model_id; (p = strchr(p, ','));)
        *p = ';';
}

/* -1, 0, 1: which identity is that of the lesser CPU. */
static int identity_order(const struct cpu_identity *a, const struct cpu_identity *b)
{
    if (a->family != b->family)
        return a->family < b->family ? -1 : 1;
    if (a->model != b->model)
        return a->model < b->model ? -1 : 1;
    if (a->stepping != b->stepping)
        return a->stepping < b->stepping ? -1 : 1;
    return strcmp(a->model_id, b->model_id);
}

/* The numbers that all parties can give, and the identity of the least of them. */
static void take_numbers(const struct cpu_offer *const offers[], size_t count,
                         const struct cpu_request *request, struct baseline *baseline)
{
    struct cpu_identity least = {0};
    uint32_t level = UINT32_MAX, xlevel = UINT32_MAX;
    for (size_t i = 0; i < count; i++) {
        const struct cpu_offer *offer = offers[i];
        struct cpu_identity identity = offer->identity;
        baseline_replace_commas(identity.model_id);
        if (i == 0 || identity_order(&identity, &least) < 0)
            least = identity;
        /* 0: an imported profile does not tell. */
        if (offer->identity.level > 0 && offer->identity.level < level)
            level = offer->identity.level;
        if (offer->identity.xlevel > 0 && offer->identity.xlevel < xlevel)
            xlevel = offer->identity.xlevel;
        if (offer->phys_bits > 0 &&
            (baseline->phys_bits == 0 || offer->phys_bits < baseline->phys_bits))
            baseline->phys_bits = offer->phys_bits;
    }
    if (request->phys_bits > 0 &&
        (baseline->phys_bits == 0 || request->phys_bits < baseline->phys_bits))
        baseline->phys_bits = request->phys_bits;
    baseline->identity = least;
    baseline->identity.level = level;
    baseline->identity.xlevel = xlevel;
}

/* The model that the user named, as all QEMUs define it. */
static const struct cpu_model *find_asked_model(const struct cpu_offer *const offers[],
                                                size_t count, const char *name, struct error *err)
{
    const struct cpu_model *first = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct cpu_model *model = cpu_offer_find_model(offers[i], name);
        if (!model) {
            error_set(err, STATUS_INCOMPATIBLE,
                      "the QEMU of %s does not know the CPU model %s (by its versioned name, as in "
                      "Haswell-v1)",
                      offers[i]->host, name);
            return NULL;
        }
        if (first && !cpu_model_equal(model, first)) {
            error_set(err, STATUS_INCOMPATIBLE,
                      "the CPU model %s is not the same in the QEMUs of %s and %s: ask for a "
                      "versioned one",
                      name, offers[0]->host, offers[i]->host);
            return NULL;
        }
        first = first ? first : model;
    }
    return first;
}

/* What the guest should have: all that the first party has (the others take away from it), or the
 * named model; and what was asked for by name. */
static bool take_wanted(const struct cpu_offer *const offers[], const struct cpu_model *asked,
                        const struct cpu_request *request, struct featureset *wanted,
                        struct error *err)
{
    return (featureset_copy(wanted, asked ? &asked->features : &offers[0]->available) &&
            featureset_unite(wanted, &request->on)) ||
           error_no_memory(err);
}

static void take_features(const struct cpu_offer *const offers[], const struct cpu_request *request,
                          size_t count, struct featureset *features)
{
    bool changed = true;
    while (changed) {
        /* A name is dropped where one party does not give it, which may take others along. */
        struct featureset_cursor cursor = {0};
        enum loss_cause cause;
        changed = false;
        for (const char *name; (name = featureset_next(features, &cursor));) {
            bool given = true;
            for (size_t i = 0; i < count && given; i++)
                given = offer_gives(offers[i], request, name, &cause);
            if (given)
                continue;
            featureset_remove(features, name);
            cursor.other = 0; /* the list of others moved up */
            changed = true;
        }
    }
    for (size_t i = 0; i < count; i++)
        featureset_close(features, &offers[i]->known);
}

/* A level that hides no feature, as QEMU would choose it itself (QEMU 10.0 target/i386/cpu.c
 * x86_cpu_expand_features): a named model's may, when features were asked for beside it. */
void baseline_raise_levels(struct cpu_identity *identity, const struct featureset *features)
{
    struct featureset_cursor cursor = {0};
    for (const char *name; (name = featureset_next(features, &cursor));) {
        const struct feature *feature = feature_find(name);
        for (unsigned i = 0; feature && i < feature->place_count; i++) {
            uint32_t leaf = feature->places[i].leaf;
            if (feature->places[i].kind != PLACE_CPUID)
                continue;
            if (leaf < 0x40000000 && leaf > identity->level)
                identity->level = leaf;
            if (leaf >= 0x80000000 && leaf < 0xc0000000 && leaf > identity->xlevel)
                identity->xlevel = leaf;
        }
    }
    if (featureset_has(features, "svm") && identity->xlevel < SVM_LEAF)
        identity->xlevel = SVM_LEAF;
}

/* Family, model, stepping and model-id are those of a named model in every form. The vendor is the
 * hosts': under KVM QEMU gives every model the host's (QEMU 10.0 target/i386/host-cpu.c). */
static bool take_identity(const struct cpu_offer *const offers[], size_t count,
                          const struct cpu_model *asked, struct baseline *baseline,
                          struct error *err)
{
    struct cpu_identity *identity = &baseline->identity;
    const struct cpu_model *model =
        asked ? asked : model_choose(offers, count, identity->vendor, &baseline->features);
    baseline->model_asked_for = asked != NULL;
    if (!model) {
        /* Not the text of one of the hosts: what a peer says is never option text. */
        static const char virtual_cpu[] = "QEMU Virtual CPU";
        memcpy(identity->model_id, virtual_cpu, sizeof(virtual_cpu));
        identity->level = identity->level == UINT32_MAX ? 0 : identity->level;
        identity->xlevel = identity->xlevel == UINT32_MAX ? 0 : identity->xlevel;
        return true;
    }
    identity->family = model->identity.family;
    identity->model = model->identity.model;
    identity->stepping = model->identity.stepping;
    memcpy(identity->model_id, model->identity.model_id, sizeof(identity->model_id));
    baseline_replace_commas(identity->model_id);
    if (asked && strcmp(offers[0]->accel, "tcg") == 0)
        memcpy(identity->vendor, model->identity.vendor, sizeof(identity->vendor));
    /* One model may have different levels in different QEMUs: the lowest, in any order of them. */
    bool take_level = asked || identity->level == UINT32_MAX;
    bool take_xlevel = asked || identity->xlevel == UINT32_MAX;
    for (size_t i = 0; i < count; i++) {
        const struct cpu_model *own = cpu_offer_find_model(offers[i], model->name);
        if (own && take_level && own->identity.level < identity->level)
            identity->level = own->identity.level;
        if (own && take_xlevel && own->identity.xlevel < identity->xlevel)
            identity->xlevel = own->identity.xlevel;
    }
    baseline_raise_levels(identity, &baseline->features);
    return (baseline->model = strdup(model->name)) != NULL || error_no_memory(err);
}

/* Features that must be there: by the launch's --require, by site policy, by name with enforce. */
static bool requirement_holds(const char *name, const char *who,
                              const struct cpu_offer *const offers[],
                              const struct cpu_request *request, size_t count,
                              const struct featureset *features, struct error *err)
{
    if (featureset_has(features, name))
        return true;
    autostrbuf struct strbuf lacking = {0};
    for (size_t i = 0; i < count; i++) {
        enum loss_cause cause;
        if (!offer_gives(offers[i], request, name, &cause))
            strbuf_printf(&lacking, "%s%s (%s)", lacking.length > 0 ? ", " : " on ",
                          offers[i]->host, loss_cause_name(cause));
    }
    return error_set(err, STATUS_INCOMPATIBLE, "%s is required %s and cannot be had%s", name, who,
                     lacking.data ? lacking.data : ": the CPU model has not what it needs");
}

static bool requirements_hold(const struct featureset *needed, const char *who,
                              const struct cpu_offer *const offers[],
                              const struct cpu_request *request, size_t count,
                              const struct featureset *features, struct error *err)
{
    struct featureset_cursor cursor = {0};
    for (const char *name; needed && (name = featureset_next(needed, &cursor));)
        if (!requirement_holds(name, who, offers, request, count, features, err))
            return false;
    return true;
}

static bool check_requirements(const struct cpu_offer *const offers[],
                               const struct cpu_request *request, size_t count,
                               const struct featureset *required, const struct featureset *features,
                               struct baseline_report *report, struct error *err)
{
    if (!requirements_hold(required, "by --require", offers, request, count, features, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        autofree char *who = string_format("by the site policy of %s", offers[i]->host);
        if (!who)
            return error_no_memory(err);
        if (!requirements_hold(&offers[i]->required, who, offers, request, count, features, err))
            return false;
    }
    struct featureset_cursor cursor = {0};
    for (const char *name; (name = featureset_next(&request->on, &cursor));) {
        struct error missing = ERROR_INIT;
        if (requirement_holds(name, request->enforce ? "by -cpu with enforce" : "by -cpu", offers,
                              request, count, features, &missing))
            continue;
        if (request->enforce)
            return error_set(err, missing.status, "%s", missing.message);
        if (!strlist_push(&report->warnings, missing.message))
            return error_no_memory(err);
    }
    return true;
}

/* A guest whose TSC runs at another speed after a migration: QEMU only warns about it, then. */
static bool check_tsc(const struct cpu_offer *const offers[], size_t count,
                      struct baseline_report *report, struct error *err)
{
    const struct cpu_offer *slow = NULL, *fast = NULL;
    bool scale = true;
    for (size_t i = 0; i < count; i++) {
        const struct cpu_offer *offer = offers[i];
        scale = scale && offer->tsc_scales;
        if (offer->tsc_khz > 0 && (!slow || offer->tsc_khz < slow->tsc_khz))
            slow = offer;
        if (offer->tsc_khz > 0 && (!fast || offer->tsc_khz > fast->tsc_khz))
            fast = offer;
    }
    if (!slow || scale ||
        (uint64_t)(fast->tsc_khz - slow->tsc_khz) * 1000000 <=
            (uint64_t)slow->tsc_khz * TSC_TOLERANCE_PPM)
        return true;
    return strlist_pushf(&report->warnings,
                         "the TSC runs at %u kHz on %s and %u kHz on %s, and not all can scale it: "
                         "the guest's clock will run at another speed after a migration",
                         slow->tsc_khz, slow->host, fast->tsc_khz, fast->host) ||
           error_no_memory(err);
}

/* A model that only some asked for takes away from those who wanted the best: said, with all that
 * they could have had. */
static bool add_silent_losses(const struct cpu_offer *const offers[],
                              const struct cpu_request *const requests[], size_t count,
                              const char *model, struct featureset *wanted,
                              struct baseline_report *report, struct error *err)
{
    const char *asked_by = NULL;
    bool some_did_not = false;
    for (size_t i = 0; i < count; i++) {
        if (requests[i]->model)
            asked_by = asked_by ? asked_by : offers[i]->host;
        else if (!featureset_unite(wanted, &offers[i]->available))
            return error_no_memory(err);
        some_did_not = some_did_not || !requests[i]->model;
    }
    return !asked_by || !some_did_not ||
           strlist_pushf(&report->warnings,
                         "the CPU model %s is the wish of %s and not of all: it counts for all",
                         model, asked_by) ||
           error_no_memory(err);
}

static bool compute(const struct cpu_offer *const offers[],
                    const struct cpu_request *const requests[], const struct cpu_request *request,
                    size_t count, const struct featureset *required, struct baseline *baseline,
                    struct baseline_report *report, struct error *err)
{
    autofeatureset struct featureset wanted = {0};
    const struct cpu_model *asked = NULL;
    if (request->model && !(asked = find_asked_model(offers, count, request->model, err)))
        return false;
    take_numbers(offers, count, request, baseline);
    if (!take_wanted(offers, asked, request, &wanted, err))
        return false;
    if (!featureset_copy(&baseline->features, &wanted) ||
        !cpu_knobs_copy(&baseline->knobs, &request->knobs) ||
        !(baseline->accel = strdup(offers[0]->accel)))
        return error_no_memory(err);
    take_features(offers, request, count, &baseline->features);
    if (!take_identity(offers, count, asked, baseline, err))
        return false;
    if (!featureset_has(&baseline->features, "lm"))
        baseline->phys_bits = 0;
    if (!check_requirements(offers, request, count, required, &baseline->features, report, err) ||
        !check_tsc(offers, count, report, err) ||
        (asked && !add_silent_losses(offers, requests, count, asked->name, &wanted, report, err)))
        return false;
    return baseline_report_fill(offers, request, count, &wanted, &baseline->features, report) ||
           error_no_memory(err);
}

bool baseline_compute(const struct cpu_offer *const offers[],
                      const struct cpu_request *const requests[], size_t count,
                      const struct featureset *required, struct baseline *out,
                      struct baseline_report *report, struct error *err)
{
    autobaseline struct baseline baseline = {0};
    autobaselinereport struct baseline_report found = {0};
    autocpurequest struct cpu_request request = {0};
    autofree const char **hosts = calloc(count + 1, sizeof(*hosts));
    if (!hosts)
        return error_no_memory(err);
    for (size_t i = 0; i < count; i++)
        hosts[i] = offers[i]->host;
    if (!parties_match(offers, count, err) ||
        !cpu_request_join(requests, hosts, count, &request, err) ||
        !compute(offers, requests, &request, count, required, &baseline, &found, err))
        return false;
    baseline_free(out);
    *out = baseline;
    baseline = (struct baseline){0};
    if (report) {
        baseline_report_free(report);
        *report = found;
        found = (struct baseline_report){0};
    }
    return true;
}
