/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/compare_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static const char register_names[][4] = {"EAX", "EBX", "ECX", "EDX"};

void guest_differences_free(struct guest_differences *differences)
{
    for (size_t i = 0; i < differences->count; i++) {
        free(differences->items[i].text);
        strlist_free(&differences->items[i].features);
    }
    free(differences->items);
    *differences = (struct guest_differences){0};
}

size_t guest_differences_decisive(const struct guest_differences *differences)
{
    size_t count = 0;
    for (size_t i = 0; i < differences->count; i++)
        count += !differences->items[i].accepted && !differences->items[i].advisory;
    return count;
}

/* Names of rows. */

static bool parse_row_number(const char *text, size_t length, uint32_t *value)
{
    char digits[9];
    if (length == 1 && text[0] >= '0' && text[0] <= '9') {
        *value = (uint32_t)(text[0] - '0');
        return true;
    }
    if (length < 3 || length > 10 || text[0] != '0' || text[1] != 'x')
        return false;
    memcpy(digits, text + 2, length - 2);
    digits[length - 2] = '\0';
    if (strspn(digits, "0123456789abcdefABCDEF") != length - 2)
        return false;
    *value = (uint32_t)strtoul(digits, NULL, 16);
    return true;
}

static bool parse_row_name(const char *text, struct guest_row *row)
{
    const char *dot = strchr(text, '.');
    *row = (struct guest_row){.kind = GUEST_ROW_CPUID};
    if (!dot)
        return false;
    if (string_starts_with(text, "msr.")) {
        row->kind = GUEST_ROW_MSR;
        return parse_row_number(dot + 1, strlen(dot + 1), &row->number);
    }
    return parse_row_number(text, (size_t)(dot - text), &row->number) &&
           parse_row_number(dot + 1, strlen(dot + 1), &row->subleaf);
}

bool guest_row_name_is_good(const char *text)
{
    struct guest_row row;
    return parse_row_name(text, &row);
}

static bool is_accepted(const struct comparison *comparison, const struct guest_row *row)
{
    struct guest_row named;
    for (size_t i = 0; comparison->accepted && i < comparison->accepted->count; i++)
        if (parse_row_name(comparison->accepted->items[i], &named) &&
            guest_row_order(&named, row) == 0)
            return true;
    return false;
}

static void add_number(struct strbuf *text, uint32_t number)
{
    strbuf_printf(text, number < 10 ? "%" PRIu32 : "0x%" PRIx32, number);
}

/* "leaf 7", "leaf 0xb.1", "MSR 0x10a (ARCH_CAPABILITIES)" */
static void add_row_name(struct strbuf *text, const struct guest_row *row)
{
    const char *name;
    switch (row->kind) {
    case GUEST_ROW_MODE:
        strbuf_puts(text, "the mode");
        break;
    case GUEST_ROW_CPUID:
        strbuf_puts(text, "leaf ");
        add_number(text, row->number);
        if (row->subleaf > 0) {
            strbuf_puts(text, ".");
            add_number(text, row->subleaf);
        }
        break;
    case GUEST_ROW_XCR0:
        strbuf_puts(text, "XCR0");
        break;
    case GUEST_ROW_MSR:
        strbuf_printf(text, "MSR 0x%" PRIx32, row->number);
        name = guest_msr_name(row->number);
        if (name)
            strbuf_printf(text, " (%s)", name);
        break;
    }
}

/* What a host has there; a row that is not there is zeros. */
const struct guest_row *comparison_row(const struct aligned *aligned, size_t host)
{
    static const struct guest_row zeros;
    return aligned->of[host] ? aligned->of[host] : &zeros;
}

uint64_t comparison_bits(const struct aligned *aligned, size_t host, unsigned reg)
{
    const struct guest_row *row = comparison_row(aligned, host);
    return aligned->row.kind == GUEST_ROW_CPUID ? row->registers[reg] : row->value;
}

/* Takes text and features over. */
bool comparison_tell(struct comparison *comparison, const struct aligned *aligned, unsigned reg,
                     uint64_t mask, const char *help, bool advisory, struct strbuf *text,
                     struct strlist *features)
{
    struct guest_differences *found = &comparison->found;
    if (found->count == found->capacity) {
        size_t capacity = found->capacity ? 2 * found->capacity : 16;
        void *grown = realloc(found->items, capacity * sizeof(*found->items));
        if (!grown)
            return false;
        found->items = grown;
        found->capacity = capacity;
    }
    char *line = strbuf_steal(text);
    if (!line)
        return false;
    found->items[found->count++] = (struct guest_difference){
        .kind = aligned->row.kind,
        .number = aligned->row.number,
        .subleaf = aligned->row.subleaf,
        .reg = reg,
        .mask = mask,
        .text = line,
        .help = help,
        .features = *features,
        .accepted = is_accepted(comparison, &aligned->row),
        .advisory = advisory,
    };
    *features = (struct strlist){0};
    return true;
}

void comparison_add_hosts(struct strbuf *text, const struct comparison *comparison,
                          const bool *named)
{
    bool first = true;
    for (size_t h = 0; h < comparison->count; h++)
        if (named[h]) {
            strbuf_printf(text, "%s%s", first ? "" : ", ", comparison->hosts[h].name);
            first = false;
        }
}

/* "46 on a, 40 on b, c": one piece for each value. say() puts a host's value into words. */
static bool
add_values(struct strbuf *text, const struct comparison *comparison, const struct aligned *aligned,
           void (*say)(const struct aligned *, size_t host, const void *how, struct strbuf *text),
           const void *how)
{
    autostrlist struct strlist said = {0};
    autofree bool *named = calloc(comparison->count, sizeof(bool));
    for (size_t h = 0; named && h < comparison->count; h++) {
        autostrbuf struct strbuf one = {0};
        strbuf_puts(&one, "");
        say(aligned, h, how, &one);
        if (!strlist_push_owned(&said, strbuf_steal(&one)))
            return false;
    }
    for (size_t h = 0; named && h < said.count; h++) {
        bool seen = false;
        for (size_t i = 0; i < said.count; i++) {
            named[i] = strcmp(said.items[i], said.items[h]) == 0;
            seen = seen || (i < h && named[i]);
        }
        if (seen)
            continue;
        strbuf_printf(text, "%s%s on ", h == 0 ? "" : "; ", said.items[h]);
        comparison_add_hosts(text, comparison, named);
    }
    return named && !text->failed;
}

/* Fields: numbers and texts. */

static void say_field(const struct aligned *aligned, size_t host, const void *how,
                      struct strbuf *text)
{
    const struct guest_field *field = how;
    const struct guest_row *row = comparison_row(aligned, host);
    if (!field->explain) {
        for (unsigned reg = 0; reg < 4; reg++)
            if (field->masks[reg])
                strbuf_printf(text, "%" PRIu32,
                              (row->registers[reg] & field->masks[reg]) /
                                  (field->masks[reg] & -field->masks[reg]));
        return;
    }
    if (aligned->of[host])
        field->explain(row, text);
    else
        strbuf_puts(text, "nothing");
}

bool comparison_tell_field(struct comparison *comparison, struct aligned *aligned,
                           const struct guest_field *field)
{
    autostrbuf struct strbuf text = {0};
    autostrlist struct strlist features = {0};
    const struct feature *feature = NULL;
    const char *component = NULL;
    int first = -1;
    uint64_t mask = 0;
    for (int reg = 3; reg >= 0; reg--) {
        if ((aligned->differ[reg] & field->masks[reg]) == 0)
            continue;
        first = reg;
        mask = aligned->differ[reg] & field->masks[reg];
        aligned->differ[reg] &= ~(uint64_t)field->masks[reg];
    }
    if (first < 0)
        return true;
    add_row_name(&text, &aligned->row);
    if (aligned->row.number == 0xd && aligned->row.subleaf >= 2 && aligned->row.subleaf < 64) {
        struct guest_row offer = {.kind = GUEST_ROW_XCR0};
        component = guest_bit_name(&offer, 0, aligned->row.subleaf, 0, &feature);
    }
    if (component)
        strbuf_printf(&text, " (%s %s)", field->name, component);
    else if (field->name)
        strbuf_printf(&text, " (%s)", field->name);
    strbuf_puts(&text, " is ");
    return add_values(&text, comparison, aligned, say_field, field) &&
           (!feature || strlist_push(&features, feature->name)) &&
           comparison_tell(comparison, aligned, (unsigned)first, mask, field->help, false, &text,
                           &features);
}

/* Bits. */

/* "host b: leaf 7 EBX bit 20 (smap) is 0, elsewhere 1": the smaller side is named, with as many on
 * each the one that lacks it. */
static bool tell_bit(struct comparison *comparison, struct aligned *aligned, unsigned reg,
                     unsigned bit, const char *name, const struct feature *feature, bool advisory)
{
    autostrbuf struct strbuf text = {0};
    autostrlist struct strlist features = {0};
    autofree bool *named = calloc(comparison->count, sizeof(bool));
    size_t ones = 0;
    if (!named)
        return false;
    for (size_t h = 0; h < comparison->count; h++)
        ones += comparison_bits(aligned, h, reg) >> bit & 1;
    unsigned value = ones * 2 < comparison->count ? 1 : 0;
    size_t there = value ? ones : comparison->count - ones;
    for (size_t h = 0; h < comparison->count; h++)
        named[h] = (comparison_bits(aligned, h, reg) >> bit & 1) == value;
    strbuf_puts(&text, there == 1 ? "host " : "hosts ");
    comparison_add_hosts(&text, comparison, named);
    strbuf_puts(&text, ": ");
    add_row_name(&text, &aligned->row);
    if (aligned->row.kind == GUEST_ROW_CPUID)
        strbuf_printf(&text, " %s", register_names[reg]);
    strbuf_printf(&text, " bit %u (%s) is %u, elsewhere %u", bit, name, value, !value);
    if (feature && !strlist_push(&features, feature->name))
        return false;
    aligned->differ[reg] &= ~(UINT64_C(1) << bit);
    return comparison_tell(comparison, aligned, reg, UINT64_C(1) << bit, NULL, advisory, &text,
                           &features);
}

static void say_register(const struct aligned *aligned, size_t host, const void *how,
                         struct strbuf *text)
{
    const struct guest_row *row = comparison_row(aligned, host);
    if (row->fault)
        strbuf_puts(text, row->fault == GUEST_FAULT_UD ? "#UD" : "#GP");
    else if (!aligned->of[host] && aligned->row.kind != GUEST_ROW_CPUID)
        strbuf_puts(text, "nothing");
    else if (aligned->row.kind == GUEST_ROW_CPUID)
        strbuf_printf(text, "0x%08" PRIx64, comparison_bits(aligned, host, *(const unsigned *)how));
    else
        strbuf_printf(text, "0x%" PRIx64, row->value);
}

/* What has no name: the whole register. */
bool comparison_tell_register(struct comparison *comparison, struct aligned *aligned, unsigned reg,
                              bool advisory, const char *help)
{
    autostrbuf struct strbuf text = {0};
    autostrlist struct strlist features = {0};
    uint64_t mask = aligned->differ[reg];
    add_row_name(&text, &aligned->row);
    if (aligned->row.kind == GUEST_ROW_CPUID)
        strbuf_printf(&text, " %s", register_names[reg]);
    strbuf_puts(&text, " is ");
    aligned->differ[reg] = 0;
    return add_values(&text, comparison, aligned, say_register, &reg) &&
           comparison_tell(comparison, aligned, reg, mask, help, advisory, &text, &features);
}

bool comparison_tell_bits(struct comparison *comparison, struct aligned *aligned, unsigned reg,
                          bool advisory)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        const struct feature *feature;
        const char *name;
        if (!(aligned->differ[reg] >> bit & 1))
            continue;
        name = guest_bit_name(&aligned->row, reg, bit, comparison->kvm_base, &feature);
        if (name && !tell_bit(comparison, aligned, reg, bit, name, feature, advisory))
            return false;
    }
    return true;
}

/* Rows. */
