/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the bits of the guest CPU table mean: their names, and numbers in words.
 */
#ifndef QML_GUEST_EXPLAIN_H
#define QML_GUEST_EXPLAIN_H

#include "base/strings.h"
#include "cpu/feature_table.h"
#include "guest/records.h"

#define EXPLAIN_ANY UINT32_MAX

/* Bits of CPUID rows that are one number or text. */
struct guest_field {
    uint32_t first, last; /* leaves */
    uint32_t subleaf;     /* or EXPLAIN_ANY */
    uint32_t masks[4];    /* by enum cpuid_register */
    const char *name;     /* "physical address bits"; NULL: `explain` says it all */
    /* Adds the value in words; NULL: the number in the only mask, in decimal. */
    void (*explain)(const struct guest_row *row, struct strbuf *text);
    const char *help; /* what would make two hosts equal there, or NULL */
};

/* The fields of a CPUID row, one after the other: start with *state = 0. NULL when there are no
 * more. A bit may be in several: the first one counts. */
const struct guest_field *guest_field_next(const struct guest_row *row, size_t *state);

/* The bits of a CPUID row's register that differ by nature between hosts that are alike. */
uint32_t guest_natural_mask(const struct guest_row *row, enum cpuid_register reg);

/* What a bit is called, or NULL. *feature: the one whose switching off clears it, or NULL; also
 * where the bit has another name or another place. kvm_base: the leaf of KVM's signature. */
const char *guest_bit_name(const struct guest_row *row, enum cpuid_register reg, unsigned bit,
                           uint32_t kvm_base, const struct feature **feature);

/* "ARCH_CAPABILITIES", or NULL. */
const char *guest_msr_name(uint32_t number);

#endif
