/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the guest CPU table says of features: whether a guest sees them.
 */
#ifndef QML_GUEST_FEATURES_H
#define QML_GUEST_FEATURES_H

#include "base/strings.h"
#include "cpu/feature_table.h"
#include "cpu/featureset.h"
#include "guest/records.h"

/* Whether a guest sees the feature: all its bits, as QEMU counts. False, with *shows left alone, if
 * the table cannot tell: no place is known, or an MSR that CPUID announces was not read. */
bool guest_table_shows(const struct guest_table *table, const struct feature *feature, bool *shows);

/* What the table shows against the features that were agreed: those of the set that it does not
 * show are added to `missing`, those that it shows outside of the set to `extra`, in the order of
 * names. What QEMU does by itself is left out (the table `behind_the_features` in features.c has
 * the reasons). Something is left on a KVM that does not honour masks. False only for want of
 * memory. */
bool guest_table_contradictions(const struct guest_table *table, const struct featureset *features,
                                struct strlist *missing, struct strlist *extra, struct error *err);

/* Whether CPUID says that the MSR is there, so that a guest reads it and believes it. Of others a
 * KVM with ignore_msrs gives 0, another one #GP. */
bool guest_table_announces(const struct guest_table *table, uint32_t msr);

/* Whether a CPUID leaf's sub-leaf 0 has one of these bits. */
bool guest_table_has(const struct guest_table *table, uint32_t leaf, enum cpuid_register reg,
                     uint32_t mask);

/* The leaf of KVM's signature: 0x40000000, or one behind those of Hyper-V; 0 if there is none. */
uint32_t guest_table_kvm_base(const struct guest_table *table);

#endif
