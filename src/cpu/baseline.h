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
enum loss_cause { LOSS_HOST, LOSS_QEMU, LOSS_POLICY, LOSS_REQUEST };

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
    char *model;                  /* the named model asked for, or NULL: the best of all */
    char *accel;
    struct cpu_knob *knobs; /* the request's, the same on all parties */
    size_t knob_count;
};

/* What was lost and refused on the way: for people, not part of the agreement. */
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

/* "policy", "request", "qemu", "kvm" ... as in DESIGN 11. accel is the party's. */
const char *loss_cause_name(enum loss_cause cause, const char *accel);

#endif
