/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A set of features by QEMU's canonical names, in the order of strcmp: equal sets give equal bytes
 * wherever they were computed.
 */
#ifndef QML_CPU_FEATURESET_H
#define QML_CPU_FEATURESET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"

/* Features of the table are bits by their place in it; names that only a newer QEMU has stand in a
 * list. Start with {0}. */
#define FEATURESET_WORDS 8
/* A list from outside has at most so many names; QEMU 10.2 knows 389. */
#define FEATURESET_NAMES_MAX 1024

struct featureset {
    uint64_t bits[FEATURESET_WORDS];
    struct strlist others; /* sorted, no duplicates, none of the table's */
};

/* Where an iteration is. Start with {0}. */
struct featureset_cursor {
    size_t index; /* in the table */
    size_t other;
};

void featureset_free(struct featureset *set);
#define autofeatureset __attribute__((cleanup(featureset_free)))

size_t featureset_count(const struct featureset *set);
/* How many names of set are not in other. */
size_t featureset_count_missing(const struct featureset *set, const struct featureset *other);
/* The next name in the order of strcmp, NULL after the last. Names that are removed meanwhile do
 * not disturb, names that are added may or may not come. */
const char *featureset_next(const struct featureset *set, struct featureset_cursor *cursor);

bool featureset_has(const struct featureset *set, const char *name);
/* Add a name; one that is there already is fine. False only for want of memory. */
bool featureset_add(struct featureset *set, const char *name);
/* Remove a name; one that is not there is fine. */
void featureset_remove(struct featureset *set, const char *name);

/* set = set and other; cannot fail. */
void featureset_intersect(struct featureset *set, const struct featureset *other);
/* set = set without other; cannot fail. */
void featureset_subtract(struct featureset *set, const struct featureset *other);
/* set = set or other. False for want of memory; set has some of other's names then. */
bool featureset_unite(struct featureset *set, const struct featureset *other);
/* *copy, which must be empty, gets the same names. */
bool featureset_copy(struct featureset *copy, const struct featureset *set);
bool featureset_equal(const struct featureset *a, const struct featureset *b);

/* Add the names of a text, separated by commas, blanks around them allowed, aliases made canonical.
 * `refused`, with what and the word, for one that is not a name. */
bool featureset_parse(struct featureset *set, const char *text, const char *what,
                      enum status refused, struct error *err);

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
