/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A set of features by QEMU's canonical names, kept sorted (strcmp): equal sets have equal bytes
 * wherever they were computed.
 */
#ifndef QML_CPU_FEATURESET_H
#define QML_CPU_FEATURESET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"

struct featureset {
    struct strlist names; /* sorted, no duplicates */
};

void featureset_free(struct featureset *set);
#define autofeatureset __attribute__((cleanup(featureset_free)))

bool featureset_has(const struct featureset *set, const char *name);
/* Add a name; one that is there already is fine. False only for want of memory. */
bool featureset_add(struct featureset *set, const char *name);
/* Remove a name; one that is not there is fine. */
void featureset_remove(struct featureset *set, const char *name);

/* set = set and other; cannot fail. */
void featureset_intersect(struct featureset *set, const struct featureset *other);
/* set = set without other; cannot fail. */
void featureset_subtract(struct featureset *set, const struct featureset *other);
/* set = set or other. False for want of memory, set unusable for more than featureset_free. */
bool featureset_unite(struct featureset *set, const struct featureset *other);
/* *copy, which must be empty, gets the same names. */
bool featureset_copy(struct featureset *copy, const struct featureset *set);
bool featureset_equal(const struct featureset *a, const struct featureset *b);

/* From an array of feature names (name_is_feature), in any order; a name twice is STATUS_DATA. what
 * names the array in the message. */
bool featureset_from_json(struct featureset *set, const json_t *array, const char *what,
                          struct error *err);
/* A new sorted array, NULL for want of memory. */
json_t *featureset_to_json(const struct featureset *set);

/* Remove every feature whose requirements (cpu/feature_table) are not in the set, until none is
 * left: what QEMU would do by itself, one feature at a time and with warnings. A requirement
 * outside `known` (when not NULL) is not asked for: that QEMU has no name for it. */
void featureset_close(struct featureset *set, const struct featureset *known);

#endif
