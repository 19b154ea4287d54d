/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which named CPU model a set of features is closest to. Pure.
 */
#ifndef QML_CPU_MODEL_CHOICE_H
#define QML_CPU_MODEL_CHOICE_H

#include "cpu/cpu_offer.h"

/* The vendor of a CPU model by its versioned name, from QEMU itself by contrib/feature-table
 * --models: under KVM a model's expansion shows the host's vendor. NULL: not in the table. */
const char *model_vendor(const char *name);

/* How far a model is from a set of features. */
struct model_distance {
    size_t on;  /* features that the model lacks: to be switched on */
    size_t off; /* features of the model that are not in the set: to be switched off */
};

struct model_distance model_measure(const struct cpu_model *model,
                                    const struct featureset *features);

/* The model with the fewest differences from features, of those that all count >= 1 offers define
 * alike and that are of that vendor. Ties: fewer switched off; then the newer, which is the one
 * with the higher family, model, version, level, and then the later name. Only versioned names. A
 * pointer into offers[0], or NULL if there is none. The same for any order of the offers. */
const struct cpu_model *model_choose(const struct cpu_offer *const offers[], size_t count,
                                     const char *vendor, const struct featureset *features);

/* Two definitions give a guest the same. */
bool cpu_model_equal(const struct cpu_model *a, const struct cpu_model *b);

#endif
