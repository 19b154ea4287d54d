/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Between compare.c, which finds what differs, and compare_tell.c, which says it.
 */
#ifndef QML_GUEST_COMPARE_INTERNAL_H
#define QML_GUEST_COMPARE_INTERNAL_H

#include "guest/compare.h"
#include "guest/explain.h"

/* What the steps below share. */
struct comparison {
    const struct guest_host *hosts;
    size_t count;
    const struct strlist *accepted;
    uint32_t kvm_base; /* 0: no host has KVM's leaves */
    struct guest_differences found;
};

/* One row, as each host has it. */
struct aligned {
    struct guest_row row;        /* kind, number, sub-leaf */
    const struct guest_row **of; /* by host, NULL where it is not there */
    uint64_t differ[4];          /* bits of each register (MSR: the first) still to tell */
};

/* The host's row, or NULL. */
const struct guest_row *comparison_row(const struct aligned *aligned, size_t host);
/* The bits of one of its registers (of an MSR: all 64 as register 0); 0 without the row. */
uint64_t comparison_bits(const struct aligned *aligned, size_t host, unsigned reg);
/* Add a difference in these bits, with its text. */
bool comparison_tell(struct comparison *comparison, const struct aligned *aligned, unsigned reg,
                     uint64_t mask, const char *help, bool advisory, struct strbuf *text,
                     struct strlist *features);
/* "host a, b": those that are named. */
void comparison_add_hosts(struct strbuf *text, const struct comparison *comparison,
                          const bool *named);
/* Tell a field that differs as a whole, and count its bits as told. */
bool comparison_tell_field(struct comparison *comparison, struct aligned *aligned,
                           const struct guest_field *field);
/* Tell what is left of a register as one number. */
bool comparison_tell_register(struct comparison *comparison, struct aligned *aligned, unsigned reg,
                              bool advisory, const char *help);
/* Tell what is left of a register bit by bit, by name. */
bool comparison_tell_bits(struct comparison *comparison, struct aligned *aligned, unsigned reg,
                          bool advisory);

#endif
