/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The baseline: the CPU that all parties can give (DESIGN 6). Pure: from data to data, the same
 * result for the same parties in any order.
 */
#ifndef QML_CPU_BASELINE_H
#define QML_CPU_BASELINE_H

#include "cpu/cpu_offer.h"
#include "cpu/cpu_request.h"

/* Why a feature is missing on a host. */
enum loss_cause {
    LOSS_CPU,     /* the CPU lacks it */
    LOSS_KVM,     /* the CPU has it, or it is KVM's own, and the kernel's KVM does not offer it */
    LOSS_QEMU,    /* this QEMU has no name for it, or under TCG does not emulate it */
    LOSS_POLICY,  /* the site policy denies it */
    LOSS_REQUEST, /* the user switched it off */
};

/* A feature that at least one party can give and the guest does not get. */
struct loss {
    char *feature;
    struct strlist hosts;    /* who lacks it, in the order of the parties */
    enum loss_cause *causes; /* one for each host */
    bool security;
};

struct baseline {
    struct featureset features;   /* what the guest gets */
    struct cpu_identity identity; /* what it reads beside them */
    unsigned phys_bits;           /* 0: no long mode, no such number */
    char *model;                  /* the named model that identity is of; NULL: none fits */
    bool model_asked_for;         /* by the user; else it is the closest one */
    char *accel;
    struct cpu_knobs knobs; /* the request's, the same on all parties */
};

/* What was lost and what is doubtful: for people, not part of the agreement. */
struct baseline_report {
    struct loss *losses; /* sorted: security first, then by name */
    size_t loss_count;
    struct strlist warnings;
};

void baseline_free(struct baseline *baseline);
void baseline_report_free(struct baseline_report *report);
#define autobaseline __attribute__((cleanup(baseline_free)))
#define autobaselinereport __attribute__((cleanup(baseline_report_free)))

/* Compute the baseline of count >= 1 parties. offers[i] and requests[i] are of the same party;
 * required: features that the launch cannot do without (may be NULL). STATUS_INCOMPATIBLE, with who
 * and what: different accelerators or vendors, a model that one does not know, a required feature
 * that somebody lacks. report may be NULL. */
bool baseline_compute(const struct cpu_offer *const offers[],
                      const struct cpu_request *const requests[], size_t count,
                      const struct featureset *required, struct baseline *baseline,
                      struct baseline_report *report, struct error *err);

/* A JSON object: equal baselines give equal bytes with json_to_text. */
json_t *baseline_to_json(const struct baseline *baseline);
/* STATUS_DATA for anything that baseline_to_json would not have made. */
bool baseline_from_json(json_t *json, struct baseline *baseline, struct error *err);

/* *copy, which must be empty, becomes an independent copy. STATUS_INTERNAL. */
bool baseline_copy(const struct baseline *baseline, struct baseline *copy, struct error *err);

/* Whether a host with that offer can give a baseline which others computed: it has every feature,
 * none that its policy denies, all that its policy requires, and the model is one that it knows by
 * that name. STATUS_INCOMPATIBLE with what it cannot give. */
bool baseline_check(const struct baseline *baseline, const struct cpu_offer *offer,
                    struct error *err);

/* "cpu", "kvm", "qemu", "policy" or "request". */
const char *loss_cause_name(enum loss_cause cause);

/* The features that this host alone keeps from the others: those that only it lacks. Fills *names
 * (empty) in the order of the report. STATUS_INTERNAL. */
bool baseline_report_cost(const struct baseline_report *report, const char *host,
                          struct strlist *names, struct error *err);

/* For baseline.c, baseline_check.c: the model-id as a guest can have it; levels that hide none of
 * the features. */
void baseline_replace_commas(char *model_id);
void baseline_raise_levels(struct cpu_identity *identity, const struct featureset *features);

/* For baseline.c, baseline_check.c and baseline_report.c: whether a party gives a feature, and if
 * not, why; off is what the joined request switches off, knobs what it sets. */
bool offer_gives(const struct cpu_offer *offer, const struct cpu_request *request,
                 const char *feature, enum loss_cause *cause);
/* Whether a guest that has the feature would have it on this host, too: beside what the offer
 * gives, what KVM's QEMU gives to those who name it and `host` never switches on by itself. */
bool offer_keeps(const struct cpu_offer *offer, const struct cpu_request *request,
                 const char *feature, enum loss_cause *cause);
bool baseline_report_fill(const struct cpu_offer *const offers[], const struct cpu_request *request,
                          size_t count, const struct featureset *wanted,
                          const struct featureset *features, struct baseline_report *report);

#endif
