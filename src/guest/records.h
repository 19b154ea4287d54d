/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The guest CPU table: every CPUID leaf and feature MSR as the built-in guest (rom.S) reads them.
 */
#ifndef QML_GUEST_RECORDS_H
#define QML_GUEST_RECORDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define GUEST_ROWS_MAX 4096
#define GUEST_STREAM_MAX (16 + GUEST_ROWS_MAX * 25 + 4) /* bytes; see rom.S */

enum guest_row_kind { GUEST_ROW_MODE = 1, GUEST_ROW_CPUID, GUEST_ROW_XCR0, GUEST_ROW_MSR };

/* Exceptions that reading an MSR may raise. */
enum { GUEST_FAULT_NONE = 0, GUEST_FAULT_UD = 6, GUEST_FAULT_GP = 13 };

struct guest_row {
    enum guest_row_kind kind;
    uint32_t number;       /* CPUID leaf, or number of the MSR; else 0 */
    uint32_t subleaf;      /* 0 but for CPUID */
    uint32_t registers[4]; /* CPUID: by enum cpuid_register */
    uint64_t value;        /* mode (64, or 32 for a CPU without long mode), XCR0, MSR; else 0 */
    unsigned fault;        /* MSR: not GUEST_FAULT_NONE if it cannot be read; value is 0 then */
};

/* Rows in ascending order of kind, number and sub-leaf, none twice. The first is the mode, the
 * second CPUID leaf 0; a sub-leaf that is not there reads as zeros. Start with {0}. */
struct guest_table {
    struct guest_row *rows;
    size_t count;
};

void guest_table_free(struct guest_table *table);
/* *copy, which must be empty, gets the same rows. False for want of memory. */
bool guest_table_copy(const struct guest_table *table, struct guest_table *copy);
#define autoguesttable __attribute__((cleanup(guest_table_free)))

/* Read what the guest left at the begin of these bytes of its RAM; it says itself how long it is,
 * and what lies behind means nothing. STATUS_DATA for anything that rom.S cannot have left:
 * nothing, cut off, another form, checksum, order or version. */
bool guest_table_read(const void *bytes, size_t length, struct guest_table *table,
                      struct error *err);

/* {"version": 1, "mode": 64, "cpuid": [[leaf, sub-leaf, EAX, EBX, ECX, EDX], ...],
 *  "msr": [[number, "0x" and 16 digits, or "#GP" or "#UD"], ...], "xcr0": "0x..."}
 * without xcr0 if the CPU has none. A new reference, or NULL for want of memory. */
json_t *guest_table_to_json(const struct guest_table *table);
/* The same way back, strict: STATUS_DATA. */
bool guest_table_from_json(const json_t *json, struct guest_table *table, struct error *err);

/* The text form of the program `cpuid -r`, with lines for XCR0 and the MSRs at its end. The caller
 * frees it; NULL for want of memory. */
char *guest_table_to_text(const struct guest_table *table);

/* SHA-256 of the table's JSON, compact and with sorted keys, as 65 bytes (DIGEST_HEX_SIZE). */
bool guest_table_digest(const struct guest_table *table, char *hex, struct error *err);

/* A row, or NULL. */
const struct guest_row *guest_table_find(const struct guest_table *table, enum guest_row_kind kind,
                                         uint32_t number, uint32_t subleaf);

/* Below 0, 0 or above, as for qsort: kind, number, sub-leaf. */
int guest_row_order(const void *a, const void *b);

#endif
