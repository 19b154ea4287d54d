/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is known of each feature beyond its name. The data is made from QEMU itself by
 * contrib/feature-table; a name that is not in the table is a feature all the same: rule "all",
 * place unknown.
 */
#ifndef QML_CPU_FEATURE_TABLE_H
#define QML_CPU_FEATURE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Parties must compute from the same table: rises with every change of its data. */
#define FEATURE_TABLE_VERSION 2

#define FEATURE_NAME_SIZE 65
#define FEATURE_PLACES_MAX 2

enum cpuid_register { REGISTER_EAX, REGISTER_EBX, REGISTER_ECX, REGISTER_EDX };

/* One bit that a guest can read. */
struct feature_place {
    enum { PLACE_CPUID, PLACE_MSR } kind;
    uint32_t leaf;    /* CPUID leaf, or number of the MSR */
    uint32_t subleaf; /* 0 where the leaf has none */
    enum cpuid_register reg;
    unsigned bit; /* 0 to 31, for an MSR to 63 */
};

enum feature_rule {
    RULE_ALL,    /* on only if all parties can */
    RULE_BENIGN, /* visible and harmless when it differs */
};

struct feature {
    const char *name;
    struct feature_place places[FEATURE_PLACES_MAX];
    unsigned place_count;
    enum feature_rule rule;
    const char *needs;   /* what it requires: names with a blank between them, may be "" */
    const char *aliases; /* likewise */
    const char *loss;    /* security: what the guest loses with it, one sentence; else NULL */
};

#define FEATURE(name, places, rule, needs, aliases, loss) +1
/* How many features the table has. */
enum {
    FEATURE_COUNT = 0
#include "cpu/feature_table.def"
};
#undef FEATURE

/* All features, sorted by name. */
const struct feature *feature_table(size_t *count);
/* The entry of a canonical name, or NULL. */
const struct feature *feature_find(const char *name);

/* The canonical name for what a user may write: '_' becomes '-' (QEMU 7.2 target/i386/cpu.c,
 * feat2prop) and an alias becomes what it stands for. Written to canonical; false if the text is
 * not a name at all (name_is_feature after the replacement). */
bool feature_canonical_name(const char *written, char canonical[FEATURE_NAME_SIZE]);

/* What the feature requires, as names with a blank between them, or NULL. */
const char *feature_requires(const char *name);

/* Copies the first name of a list of names with blanks between them, returns the rest. */
const char *feature_next_name(const char *list, char name[FEATURE_NAME_SIZE]);

/* Its loss opens the guest to a known attack, or hides that the CPU is immune to one. */
bool feature_is_security(const char *name);

/* Visible to the guest and harmless when it differs (rule "benign"). */
bool feature_is_benign(const char *name);

#endif
