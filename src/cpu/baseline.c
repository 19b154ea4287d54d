/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cpu/baseline.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cpu/feature_table.h"

static void knobs_free(struct cpu_knob *knobs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(knobs[i].name);
        free(knobs[i].value);
    }
    free(knobs);
}

void baseline_free(struct baseline *baseline)
{
    featureset_free(&baseline->features);
    free(baseline->model);
    free(baseline->accel);
    knobs_free(baseline->knobs, baseline->knob_count);
    *baseline = (struct baseline){0};
}

void baseline_report_free(struct baseline_report *report)
{
    for (size_t i = 0; i < report->loss_count; i++) {
        free(report->losses[i].feature);
        free(report->losses[i].causes);
        strlist_free(&report->losses[i].hosts);
    }
    free(report->losses);
    strlist_free(&report->warnings);
    *report = (struct baseline_report){0};
}

/* One party's part: what it can give and will. */
struct party {
    const struct cpu_offer *offer;
    const struct featureset *off; /* of the joined request */
};

#define REQUIREMENT_DEPTH 4 /* some features require each other */

static bool party_gives_deep(const struct party *party, const char *feature, enum loss_cause *cause,
                             int depth)
{
    if (!featureset_has(&party->offer->known, feature))
        *cause = LOSS_QEMU;
    else if (!featureset_has(&party->offer->available, feature))
        *cause = LOSS_HOST;
    else if (featureset_has(&party->offer->denied, feature))
        *cause = LOSS_POLICY;
    else if (featureset_has(party->off, feature))
        *cause = LOSS_REQUEST;
    else {
        const char *need = depth > 0 ? feature_requires(feature) : NULL;
        while (need && *need) {
            char one[FEATURE_NAME_SIZE];
            need = feature_next_name(need, one);
            if (featureset_has(&party->offer->known, one) &&
                !party_gives_deep(party, one, cause, depth - 1))
                return false;
        }
        return true;
    }
    return false;
}

static bool party_gives(const struct party *party, const char *feature, enum loss_cause *cause)
{
    return party_gives_deep(party, feature, cause, REQUIREMENT_DEPTH);
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

/* What the guest starts from: the named model, or what the least of the parties is. */
static bool take_identity(const struct cpu_offer *const offers[], size_t count,
                          const struct cpu_request *request, struct baseline *baseline,
                          struct featureset *wanted, struct error *err)
{
    const struct cpu_identity *least = &offers[0]->identity;
    uint32_t level = UINT32_MAX, xlevel = UINT32_MAX;
    for (size_t i = 0; i < count; i++) {
        const struct cpu_offer *offer = offers[i];
        if (identity_order(&offer->identity, least) < 0)
            least = &offer->identity;
        if (offer->identity.level < level)
            level = offer->identity.level;
        if (offer->identity.xlevel < xlevel)
            xlevel = offer->identity.xlevel;
        if (baseline->phys_bits == 0 || offer->phys_bits < baseline->phys_bits)
            baseline->phys_bits = offer->phys_bits;
    }
    if (request->phys_bits > 0 && request->phys_bits < baseline->phys_bits)
        baseline->phys_bits = request->phys_bits;
    baseline->identity = *least;
    baseline->identity.level = level;
    baseline->identity.xlevel = xlevel;
    if (!request->model)
        return featureset_copy(wanted, &offers[0]->available) || error_no_memory(err);

    const struct cpu_model *first = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct cpu_model *model = cpu_offer_find_model(offers[i], request->model);
        if (!model)
            return error_set(err, STATUS_INCOMPATIBLE,
                             "the QEMU of %s does not know the CPU model %s", offers[i]->host,
                             request->model);
        if (first && (identity_order(&model->identity, &first->identity) != 0 ||
                      !featureset_equal(&model->features, &first->features)))
            return error_set(
                err, STATUS_INCOMPATIBLE,
                "the CPU model %s is not the same in the QEMUs of %s and %s: ask for a "
                "versioned one",
                request->model, offers[0]->host, offers[i]->host);
        first = first ? first : model;
    }
    if (!first)
        return error_set(err, STATUS_INTERNAL, "a baseline needs a party");
    baseline->identity = first->identity;
    /* Under KVM a named model's vendor is the host's (QEMU 10.0 target/i386/host-cpu.c). */
    if (strcmp(offers[0]->accel, "kvm") == 0)
        memcpy(baseline->identity.vendor, least->vendor, sizeof(least->vendor));
    if (baseline->identity.level > level)
        baseline->identity.level = level;
    if (baseline->identity.xlevel > xlevel)
        baseline->identity.xlevel = xlevel;
    return (featureset_copy(wanted, &first->features) && featureset_unite(wanted, &request->on)) ||
           error_no_memory(err);
}

static bool add_loss(struct baseline_report *report, const char *feature,
                     const struct party *parties, size_t count)
{
    struct loss *losses =
        realloc(report->losses, (report->loss_count + 1) * sizeof(*report->losses));
    if (!losses)
        return false;
    report->losses = losses;
    struct loss *loss = &losses[report->loss_count];
    *loss = (struct loss){.feature = strdup(feature),
                          .causes = calloc(count, sizeof(enum loss_cause)),
                          .security = feature_is_security(feature)};
    report->loss_count++;
    if (!loss->feature || !loss->causes)
        return false;
    for (size_t i = 0; i < count; i++) {
        enum loss_cause cause;
        if (party_gives(&parties[i], feature, &cause))
            continue;
        loss->causes[loss->hosts.count] = cause;
        if (!strlist_push(&loss->hosts, parties[i].offer->host))
            return false;
    }
    return true;
}

static int compare_losses(const void *a, const void *b)
{
    const struct loss *x = a, *y = b;
    if (x->security != y->security)
        return x->security ? -1 : 1;
    return strcmp(x->feature, y->feature);
}

/* Every feature that somebody could give (or the model has) and the guest does not get. */
static bool report_losses(const struct party *parties, size_t count,
                          const struct featureset *wanted, bool named,
                          const struct featureset *features, struct baseline_report *report)
{
    autofeatureset struct featureset candidates = {0};
    if (!featureset_unite(&candidates, wanted))
        return false;
    for (size_t i = 0; i < count && !named; i++)
        if (!featureset_unite(&candidates, &parties[i].offer->available))
            return false;
    featureset_subtract(&candidates, features);
    struct featureset_cursor cursor = {0};
    for (const char *name; (name = featureset_next(&candidates, &cursor));)
        if (!feature_is_benign(name) && !add_loss(report, name, parties, count))
            return false;
    if (report->loss_count > 0)
        qsort(report->losses, report->loss_count, sizeof(*report->losses), compare_losses);
    return true;
}

/* Features that must be there: by the launch's --require, by site policy, by name with enforce. */
static bool requirements_hold(const struct featureset *needed, const char *who,
                              const struct party *parties, size_t count,
                              const struct featureset *features, struct error *err)
{
    struct featureset_cursor cursor = {0};
    for (const char *name; needed && (name = featureset_next(needed, &cursor));) {
        if (featureset_has(features, name))
            continue;
        autostrlist struct strlist lacking = {0};
        enum loss_cause cause;
        for (size_t p = 0; p < count; p++)
            if (!party_gives(&parties[p], name, &cause) &&
                !strlist_push(&lacking, parties[p].offer->host))
                return error_no_memory(err);
        autofree char *hosts = strlist_join(&lacking, ", ");
        return error_set(err, STATUS_INCOMPATIBLE, "%s is required %s and cannot be had%s%s", name,
                         who, lacking.count > 0 ? " on " : "",
                         lacking.count > 0 && hosts ? hosts : "");
    }
    return true;
}

static bool check_requirements(const struct party *parties, size_t count,
                               const struct cpu_request *request, const struct featureset *required,
                               const struct featureset *features, struct baseline_report *report,
                               struct error *err)
{
    if (!requirements_hold(required, "by --require", parties, count, features, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        autofree char *who = string_format("by the site policy of %s", parties[i].offer->host);
        if (!who)
            return error_no_memory(err);
        if (!requirements_hold(&parties[i].offer->required, who, parties, count, features, err))
            return false;
    }
    if (request->enforce)
        return requirements_hold(&request->on, "by -cpu with enforce", parties, count, features,
                                 err);
    struct featureset_cursor cursor = {0};
    for (const char *name; (name = featureset_next(&request->on, &cursor));) {
        struct error missing = ERROR_INIT;
        autofeatureset struct featureset one = {0};
        if (!featureset_add(&one, name))
            return error_no_memory(err);
        if (!requirements_hold(&one, "by -cpu", parties, count, features, &missing) && report &&
            !strlist_pushf(&report->warnings, "%s", missing.message))
            return error_no_memory(err);
    }
    return true;
}

static bool copy_request(const struct cpu_request *request, struct baseline *baseline)
{
    if (request->model && !(baseline->model = strdup(request->model)))
        return false;
    baseline->knobs = calloc(request->knob_count + 1, sizeof(*baseline->knobs));
    if (!baseline->knobs)
        return false;
    for (size_t i = 0; i < request->knob_count; i++) {
        struct cpu_knob *knob = &baseline->knobs[baseline->knob_count++];
        knob->name = strdup(request->knobs[i].name);
        knob->value = strdup(request->knobs[i].value);
        if (!knob->name || !knob->value)
            return false;
    }
    return true;
}

bool baseline_compute(const struct cpu_offer *const offers[],
                      const struct cpu_request *const requests[], size_t count,
                      const struct featureset *required, struct baseline *out,
                      struct baseline_report *report, struct error *err)
{
    autobaseline struct baseline baseline = {0};
    autobaselinereport struct baseline_report found = {0};
    autocpurequest struct cpu_request request = {0};
    autofeatureset struct featureset wanted = {0};
    autofree struct party *parties = calloc(count, sizeof(*parties));
    autofree const char **hosts = calloc(count, sizeof(*hosts));
    if (!parties || !hosts)
        return error_no_memory(err);
    for (size_t i = 0; i < count; i++)
        hosts[i] = offers[i]->host;
    if (!parties_match(offers, count, err) ||
        !cpu_request_join(requests, hosts, count, &request, err) ||
        !take_identity(offers, count, &request, &baseline, &wanted, err))
        return false;
    if (!featureset_copy(&baseline.features, &wanted) || !copy_request(&request, &baseline) ||
        !(baseline.accel = strdup(offers[0]->accel)))
        return error_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        parties[i] = (struct party){.offer = offers[i], .off = &request.off};
        featureset_intersect(&baseline.features, &offers[i]->available);
        featureset_intersect(&baseline.features, &offers[i]->known);
        featureset_subtract(&baseline.features, &offers[i]->denied);
    }
    featureset_subtract(&baseline.features, &request.off);
    for (size_t i = 0; i < count; i++)
        featureset_close(&baseline.features, &offers[i]->known);
    if (!featureset_has(&baseline.features, "lm"))
        baseline.phys_bits = 0;
    if (!check_requirements(parties, count, &request, required, &baseline.features, &found, err))
        return false;
    if (!report_losses(parties, count, &wanted, request.model != NULL, &baseline.features, &found))
        return error_no_memory(err);
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

const char *loss_cause_name(enum loss_cause cause, const char *accel)
{
    switch (cause) {
    case LOSS_QEMU:
        return "qemu";
    case LOSS_POLICY:
        return "policy";
    case LOSS_REQUEST:
        return "request";
    case LOSS_HOST:
        break;
    }
    return strcmp(accel, "kvm") == 0 ? "kvm" : "qemu"; /* under TCG the CPU is QEMU's own */
}
