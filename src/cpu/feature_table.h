/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is known of each feature beyond its name. The data is made from QEMU itself by
 * contrib/feature-table; a name that is not in the table is a feature all the same.
 */
#ifndef QML_CPU_FEATURE_TABLE_H
#define QML_CPU_FEATURE_TABLE_H

#include <stdbool.h>
#include <stddef.h>

/* Parties must compute from the same table: rises with every change of its data. */
#define FEATURE_TABLE_VERSION 1

#define FEATURE_NAME_SIZE 65

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

/* Visible to the guest and harmless when it differs: QEMU >= 10.0 reports `ht` and `cmp-legacy`
 * from -smp, 7.2 does not, with the same CPUID in the guest. */
bool feature_is_benign(const char *name);

#endif
