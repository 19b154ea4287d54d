/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the baseline loses, where, and why.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cpu/baseline.h"
#include "cpu/feature_table.h"

#define REQUIREMENT_DEPTH 4 /* some features require each other */
#define KVM_LEAF 0x40000001
#define ARCH_CAPABILITIES_MSR 0x10a

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

const char *loss_cause_name(enum loss_cause cause)
{
    static const char *const names[] = {[LOSS_CPU] = "cpu",
                                        [LOSS_KVM] = "kvm",
                                        [LOSS_QEMU] = "qemu",
                                        [LOSS_POLICY] = "policy",
                                        [LOSS_REQUEST] = "request"};
    return names[cause];
}

/* QEMU knows the name and neither `host` nor `max` switches it on. */
static enum loss_cause blame_host(const struct cpu_offer *offer, const char *name)
{
    if (strcmp(offer->accel, "tcg") == 0)
        return LOSS_QEMU; /* the CPU is QEMU's own */
    const struct feature *feature = feature_find(name);
    if (!feature)
        return LOSS_CPU;
    const struct feature_place *place = &feature->places[0];
    if (place->kind == PLACE_CPUID && place->leaf == KVM_LEAF)
        return LOSS_KVM;
    if (!offer->physical_known)
        return LOSS_CPU;
    if (place->kind == PLACE_CPUID)
        return featureset_has(&offer->physical, name) ? LOSS_KVM : LOSS_CPU;
    /* A bit of an MSR: the VMX ones are KVM's to offer when the CPU has VMX; what
     * IA32_ARCH_CAPABILITIES says of the hardware, KVM passes on. */
    if (place->leaf == ARCH_CAPABILITIES_MSR)
        return LOSS_CPU;
    return featureset_has(&offer->physical, "vmx") ? LOSS_KVM : LOSS_CPU;
}

static bool gives_deep(const struct cpu_offer *offer, const struct cpu_request *request,
                       const char *name, enum loss_cause *cause, int depth)
{
    bool fixed_tsc = strcmp(name, "invtsc") == 0 &&
                     cpu_knobs_get(&request->knobs, "tsc-frequency") &&
                     featureset_has(&offer->unmigratable, name);
    if (!featureset_has(&offer->known, name)) {
        *cause = LOSS_QEMU;
        return false;
    }
    if (!featureset_has(&offer->available, name) && !fixed_tsc) {
        *cause = blame_host(offer, name);
        return false;
    }
    if (featureset_has(&offer->unshown, name)) {
        *cause = strcmp(offer->accel, "tcg") == 0 ? LOSS_QEMU : LOSS_KVM;
        return false;
    }
    if (featureset_has(&offer->denied, name)) {
        *cause = LOSS_POLICY;
        return false;
    }
    if (featureset_has(&request->off, name)) {
        *cause = LOSS_REQUEST;
        return false;
    }
    for (const char *need = depth > 0 ? feature_requires(name) : NULL; need && *need;) {
        char one[FEATURE_NAME_SIZE];
        need = feature_next_name(need, one);
        if (featureset_has(&offer->known, one) &&
            !gives_deep(offer, request, one, cause, depth - 1))
            return false;
    }
    return true;
}

bool offer_gives(const struct cpu_offer *offer, const struct cpu_request *request,
                 const char *feature, enum loss_cause *cause)
{
    return gives_deep(offer, request, feature, cause, REQUIREMENT_DEPTH);
}

/* QEMU 10.0 target/i386/cpu.c, no_autoenable_flags, and kvm/kvm.c, kvm_arch_get_supported_cpuid: on
 * any KVM, but not blindly. */
static bool is_given_by_name(const char *name)
{
    return strcmp(name, "topoext") == 0 || strcmp(name, "kvm-hint-dedicated") == 0;
}

bool offer_keeps(const struct cpu_offer *offer, const struct cpu_request *request,
                 const char *feature, enum loss_cause *cause)
{
    if (offer_gives(offer, request, feature, cause))
        return true;
    if (!is_given_by_name(feature) || strcmp(offer->accel, "kvm") != 0 ||
        !featureset_has(&offer->known, feature))
        return false;
    *cause = LOSS_POLICY;
    return !featureset_has(&offer->denied, feature);
}

static bool add_loss(struct baseline_report *report, const char *feature,
                     const struct cpu_offer *const offers[], const struct cpu_request *request,
                     size_t count)
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
        if (offer_gives(offers[i], request, feature, &cause))
            continue;
        loss->causes[loss->hosts.count] = cause;
        if (!strlist_push(&loss->hosts, offers[i]->host))
            return false;
    }
    /* All could give it: the CPU that was asked for has not what it requires ("-cpu 486,+avx"). */
    bool all_give = loss->hosts.count == 0;
    for (size_t i = 0; i < count && all_give; i++) {
        loss->causes[i] = LOSS_REQUEST;
        if (!strlist_push(&loss->hosts, offers[i]->host))
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

bool baseline_report_fill(const struct cpu_offer *const offers[], const struct cpu_request *request,
                          size_t count, const struct featureset *wanted,
                          const struct featureset *features, struct baseline_report *report)
{
    autofeatureset struct featureset candidates = {0};
    if (!featureset_unite(&candidates, wanted))
        return false;
    for (size_t i = 0; i < count && !request->model; i++)
        if (!featureset_unite(&candidates, &offers[i]->available))
            return false;
    featureset_subtract(&candidates, features);
    struct featureset_cursor cursor = {0};
    for (const char *name; (name = featureset_next(&candidates, &cursor));)
        if (!feature_is_benign(name) && !add_loss(report, name, offers, request, count))
            return false;
    if (report->loss_count > 0)
        qsort(report->losses, report->loss_count, sizeof(*report->losses), compare_losses);
    return true;
}

bool baseline_report_cost(const struct baseline_report *report, const char *host,
                          struct strlist *names, struct error *err)
{
    for (size_t i = 0; i < report->loss_count; i++) {
        const struct loss *loss = &report->losses[i];
        if (loss->hosts.count == 1 && strcmp(loss->hosts.items[0], host) == 0 &&
            !strlist_push(names, loss->feature))
            return error_no_memory(err);
    }
    return true;
}
