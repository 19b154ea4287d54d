/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What one host can give a guest's CPU: the part of a host profile that the baseline is computed
 * from. Data only.
 */
#ifndef QML_CPU_CPU_OFFER_H
#define QML_CPU_CPU_OFFER_H

#include <stdint.h>

#include "cpu/featureset.h"

#define CPU_VENDOR_SIZE 13
#define CPU_MODEL_ID_SIZE 49

/* The numbers and texts that a guest reads beside the features. */
struct cpu_identity {
    char vendor[CPU_VENDOR_SIZE]; /* 12 characters */
    unsigned family;              /* with the extended family added */
    unsigned model;               /* with the extended model */
    unsigned stepping;
    char model_id[CPU_MODEL_ID_SIZE]; /* may be empty */
    uint32_t level;                   /* CPUID 0 EAX */
    uint32_t xlevel;                  /* CPUID 0x80000000 EAX */
};

/* A named, versioned CPU model as this QEMU defines it, whether or not the host can give it. */
struct cpu_model {
    char *name;
    struct cpu_identity identity;
    struct featureset features;
};

struct cpu_offer {
    char *host;                     /* for messages */
    char *accel;                    /* "kvm" or "tcg" */
    struct cpu_identity identity;   /* of `host` (KVM) or `max` (TCG) */
    unsigned phys_bits;             /* physical address bits that a guest can have; 0: not known */
    struct featureset available;    /* what `host` or `max` switches on */
    struct featureset known;        /* every feature that this QEMU has a name for */
    struct featureset unmigratable; /* what it could switch on besides, and not migrate */
    struct featureset physical;     /* what the CPU itself has, as far as CPUID tells */
    bool physical_known;            /* false: nobody looked at this CPU (an imported profile) */
    unsigned tsc_khz;               /* KVM's TSC frequency; 0: not known */
    bool tsc_scales;                /* KVM can give a guest another frequency */
    struct featureset unshown;      /* available, and a guest did not see it: what the proof found,
                                       no part of a profile */
    struct featureset denied;       /* by site policy */
    struct featureset required;     /* by site policy */
    struct cpu_model *models;       /* sorted by name */
    size_t model_count;
    bool models_borrowed; /* from another offer: not freed with this one */
};

void cpu_offer_free(struct cpu_offer *offer);
#define autocpuoffer __attribute__((cleanup(cpu_offer_free)))

/* The model of that name, or NULL. */
const struct cpu_model *cpu_offer_find_model(const struct cpu_offer *offer, const char *name);

/* {"vendor","family","model","stepping","model_id","level","xlevel"}; NULL for want of memory. */
json_t *cpu_identity_to_json(const struct cpu_identity *identity);
/* STATUS_DATA if a text does not fit or a number is out of range. */
bool cpu_identity_from_json(json_t *json, const char *what, struct cpu_identity *identity,
                            struct error *err);

/* {"host","accel","identity","phys_bits","available","known","unmigratable","physical" (an array,
 * or null when it is not known),"tsc_khz","tsc_scales","denied","required","models"}. A model
 * is written as what differs from the one before it, or whole if that is less; both are read. */
json_t *cpu_offer_to_json(const struct cpu_offer *offer);
bool cpu_offer_from_json(json_t *json, struct cpu_offer *offer, struct error *err);

#endif
