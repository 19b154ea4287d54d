/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/compare_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "guest/features.h"

static bool compare_cpuid(struct comparison *comparison, struct aligned *aligned)
{
    size_t state = 0;
    const struct guest_field *field;
    for (unsigned reg = 0; reg < 4; reg++)
        aligned->differ[reg] &= ~(uint64_t)guest_natural_mask(&aligned->row, reg);
    while ((field = guest_field_next(&aligned->row, &state)))
        if (!comparison_tell_field(comparison, aligned, field))
            return false;
    for (unsigned reg = 0; reg < 4; reg++)
        if (!comparison_tell_bits(comparison, aligned, reg, false) ||
            (aligned->differ[reg] &&
             !comparison_tell_register(comparison, aligned, reg, false, NULL)))
            return false;
    return true;
}

static bool compare_msr(struct comparison *comparison, struct aligned *aligned)
{
    bool announced = true, absent = false, faults = false;
    for (size_t h = 0; h < comparison->count; h++) {
        announced =
            announced && guest_table_announces(comparison->hosts[h].table, aligned->row.number);
        absent = absent || !aligned->of[h];
        faults = faults || absent || aligned->of[h]->fault;
    }
    if (absent && !announced)
        return true; /* the bit that announces it says it already */
    const char *help = aligned->row.number == 0x8b ? "-cpu ucode-rev= sets it" : NULL;
    if (!faults && !comparison_tell_bits(comparison, aligned, 0, !announced))
        return false;
    return !aligned->differ[0] ||
           comparison_tell_register(comparison, aligned, 0, !announced, help);
}

static bool compare_xcr0(struct comparison *comparison, struct aligned *aligned)
{
    for (size_t h = 0; h < comparison->count; h++)
        if (!aligned->of[h] &&
            !guest_table_has(comparison->hosts[h].table, 1, REGISTER_ECX, UINT32_C(1) << 26))
            return true; /* xsave says it already */
    return comparison_tell_bits(comparison, aligned, 0, false) &&
           (!aligned->differ[0] || comparison_tell_register(comparison, aligned, 0, false, NULL));
}

static bool compare_mode(struct comparison *comparison, struct aligned *aligned)
{
    autostrbuf struct strbuf text = {0};
    autostrlist struct strlist features = {0};
    autofree bool *named = calloc(comparison->count, sizeof(bool));
    size_t there = 0;
    for (size_t h = 0; named && h < comparison->count; h++) {
        named[h] = comparison_row(aligned, h)->value == 32;
        there += named[h];
    }
    strbuf_puts(&text, there == 1 ? "host " : "hosts ");
    if (named)
        comparison_add_hosts(&text, comparison, named);
    strbuf_puts(&text, ": the CPU has no long mode, elsewhere it has");
    return named && strlist_push(&features, "lm") &&
           comparison_tell(comparison, aligned, 0, aligned->differ[0], NULL, false, &text,
                           &features);
}

static bool compare_row(struct comparison *comparison, struct aligned *aligned)
{
    bool any = false;
    for (size_t h = 0; h < comparison->count; h++) {
        const struct guest_row *row = comparison_row(aligned, h),
                               *first = comparison_row(aligned, 0);
        for (unsigned reg = 0; reg < 4; reg++) {
            aligned->differ[reg] |=
                comparison_bits(aligned, h, reg) ^ comparison_bits(aligned, 0, reg);
            any = any || aligned->differ[reg];
        }
        if (aligned->row.kind == GUEST_ROW_MSR &&
            (row->fault != first->fault || !aligned->of[h] != !aligned->of[0]))
            any = true;
    }
    if (!any)
        return true;
    if (aligned->row.kind == GUEST_ROW_CPUID)
        return compare_cpuid(comparison, aligned);
    for (unsigned reg = 1; reg < 4; reg++) /* there is one value only */
        aligned->differ[reg] = 0;
    if (aligned->row.kind == GUEST_ROW_MODE)
        return compare_mode(comparison, aligned);
    if (aligned->row.kind == GUEST_ROW_MSR) {
        if (aligned->differ[0] == 0)
            aligned->differ[0] = UINT64_MAX; /* 0 here and a fault there */
        return compare_msr(comparison, aligned);
    }
    return compare_xcr0(comparison, aligned);
}

/* Where one of them has KVM's leaves. */
static uint32_t find_kvm(const struct guest_host *hosts, size_t count)
{
    uint32_t base = 0;
    for (size_t h = 0; h < count && base == 0; h++)
        base = guest_table_kvm_base(hosts[h].table);
    return base;
}

/* Goes through all tables at once: each is in order. */
static bool compare_all(struct comparison *comparison)
{
    autofree size_t *next = calloc(comparison->count, sizeof(*next));
    autofree const struct guest_row **of = calloc(comparison->count, sizeof(*of));
    if (!next || !of)
        return false;
    for (;;) {
        const struct guest_row *lowest = NULL;
        for (size_t h = 0; h < comparison->count; h++) {
            const struct guest_table *table = comparison->hosts[h].table;
            of[h] = next[h] < table->count ? &table->rows[next[h]] : NULL;
            if (of[h] && (!lowest || guest_row_order(of[h], lowest) < 0))
                lowest = of[h];
        }
        if (!lowest)
            return true;
        for (size_t h = 0; h < comparison->count; h++) {
            if (of[h] && guest_row_order(of[h], lowest) == 0)
                next[h]++;
            else
                of[h] = NULL;
        }
        struct aligned aligned = {.row = *lowest, .of = of};
        if (!compare_row(comparison, &aligned))
            return false;
    }
}

bool guest_tables_compare(const struct guest_host *hosts, size_t count,
                          const struct strlist *accepted, struct guest_differences *differences,
                          struct error *err)
{
    struct comparison comparison = {
        .hosts = hosts, .count = count, .accepted = accepted, .kvm_base = find_kvm(hosts, count)};
    if (count < 2)
        return true;
    if (!compare_all(&comparison)) {
        guest_differences_free(&comparison.found);
        return error_no_memory(err);
    }
    guest_differences_free(differences);
    *differences = comparison.found;
    return true;
}
