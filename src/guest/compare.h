/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Comparing guest CPU tables of several hosts: what differs, by name.
 */
#ifndef QML_GUEST_COMPARE_H
#define QML_GUEST_COMPARE_H

#include "base/strings.h"
#include "cpu/feature_table.h"
#include "guest/records.h"

/* One host's table; both are borrowed. */
struct guest_host {
    const char *name;
    const struct guest_table *table;
};

/* One thing that a guest would see differently: a bit, or bits that belong together. */
struct guest_difference {
    enum guest_row_kind kind;
    uint32_t number; /* leaf or MSR */
    uint32_t subleaf;
    enum cpuid_register reg; /* CPUID: the first register that differs */
    uint64_t mask;           /* the bits there (for an MSR, in it) that differ */
    char *text;              /* "host b: leaf 7 EBX bit 20 (smap) is 0, elsewhere 1" */
    const char *help;        /* what would make them equal, or NULL; a constant */
    struct strlist
        features;  /* canonical names that, switched off everywhere, would make them equal */
    bool accepted; /* its row is one of those accepted by name */
    bool advisory; /* of an MSR that CPUID does not announce: a guest does not read it */
};

/* In ascending order of kind, number and sub-leaf. Start with {0}. */
struct guest_differences {
    struct guest_difference *items;
    size_t count;
    size_t capacity;
};

void guest_differences_free(struct guest_differences *differences);
#define autoguestdifferences __attribute__((cleanup(guest_differences_free)))

/* Compare the tables of `count` hosts (2 or more; with fewer nothing differs). Rows that differ by
 * nature are left out (the table `by_nature` in compare.c has the reasons). accepted: what
 * guest_row_name_is_good takes, or NULL. */
bool guest_tables_compare(const struct guest_host *hosts, size_t count,
                          const struct strlist *accepted, struct guest_differences *differences,
                          struct error *err);

/* How many count: neither accepted nor advisory. The tables are equal if it is 0. */
size_t guest_differences_decisive(const struct guest_differences *differences);

/* A row as in --accept-row: LEAF.SUBLEAF, or msr.NUMBER. Each number is one decimal digit, or 0x
 * and up to eight hexadecimal digits: "7.0", "0xb.1", "msr.0x8b". */
bool guest_row_name_is_good(const char *text);

#endif
