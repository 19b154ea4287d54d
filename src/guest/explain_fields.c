/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Numbers and texts of the guest CPU table, in words.
 */
#include "guest/explain.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#define ALL UINT32_MAX

/* Numbers in words. */

static uint32_t bits(uint32_t value, unsigned high, unsigned low)
{
    return value >> low & (uint32_t)((UINT64_C(1) << (high - low + 1)) - 1);
}

static void add_characters(struct strbuf *text, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        char c = (char)(value >> 8 * i & 0xff);
        if (c)
            strbuf_printf(text, "%c", c >= 0x20 && c < 0x7f ? c : '?');
    }
}

static void say_vendor(const struct guest_row *row, struct strbuf *text)
{
    strbuf_puts(text, "\"");
    add_characters(text, row->registers[REGISTER_EBX]);
    add_characters(text, row->registers[REGISTER_EDX]);
    add_characters(text, row->registers[REGISTER_ECX]);
    strbuf_puts(text, "\"");
}

/* Hypervisors' names have another order than vendors'. */
static void say_hypervisor(const struct guest_row *row, struct strbuf *text)
{
    strbuf_puts(text, "\"");
    for (int i = REGISTER_EBX; i <= REGISTER_EDX; i++)
        add_characters(text, row->registers[i]);
    strbuf_puts(text, "\"");
}

static void say_brand(const struct guest_row *row, struct strbuf *text)
{
    strbuf_puts(text, "\"");
    for (int i = REGISTER_EAX; i <= REGISTER_EDX; i++)
        add_characters(text, row->registers[i]);
    strbuf_puts(text, "\"");
}

static void say_signature(const struct guest_row *row, struct strbuf *text)
{
    uint32_t a = row->registers[REGISTER_EAX];
    uint32_t family = bits(a, 11, 8), model = bits(a, 7, 4);
    if (family == 6 || family == 15)
        model += bits(a, 19, 16) << 4;
    if (family == 15)
        family += bits(a, 27, 20);
    strbuf_printf(text, "family %" PRIu32 " model %" PRIu32 " stepping %" PRIu32, family, model,
                  bits(a, 3, 0));
}

static void say_eax(const struct guest_row *row, struct strbuf *text)
{
    strbuf_printf(text, "0x%" PRIx32, row->registers[REGISTER_EAX]);
}

static void say_registers(const struct guest_row *row, struct strbuf *text)
{
    const uint32_t *regs = row->registers;
    strbuf_printf(text, "%08" PRIx32 " %08" PRIx32 " %08" PRIx32 " %08" PRIx32, regs[REGISTER_EAX],
                  regs[REGISTER_EBX], regs[REGISTER_ECX], regs[REGISTER_EDX]);
}

/* Leaves 4 and 0x8000001d. */
static void say_cache(const struct guest_row *row, struct strbuf *text)
{
    static const char *const types[] = {"none", "data", "instruction", "unified"};
    uint32_t a = row->registers[REGISTER_EAX], b = row->registers[REGISTER_EBX];
    uint32_t type = bits(a, 4, 0), ways = bits(b, 31, 22) + 1;
    uint64_t size = (uint64_t)ways * (bits(b, 21, 12) + 1) * (bits(b, 11, 0) + 1) *
                    ((uint64_t)row->registers[REGISTER_ECX] + 1);
    if (type == 0) {
        strbuf_puts(text, "none");
        return;
    }
    strbuf_printf(text,
                  "L%" PRIu32 " %s %" PRIu64 " KiB, %" PRIu32 " ways, shared by %" PRIu32 " (",
                  bits(a, 7, 5), type < COUNT_OF(types) ? types[type] : "of unknown type",
                  size / 1024, ways, bits(a, 25, 14) + 1);
    say_registers(row, text);
    strbuf_puts(text, ")");
}

static void say_l2(const struct guest_row *row, struct strbuf *text)
{
    uint32_t c = row->registers[REGISTER_ECX];
    strbuf_printf(text, "%" PRIu32 " KiB (%08" PRIx32 ")", bits(c, 31, 16), c);
}

static void say_l3(const struct guest_row *row, struct strbuf *text)
{
    uint32_t d = row->registers[REGISTER_EDX];
    strbuf_printf(text, "%" PRIu32 " KiB (%08" PRIx32 ")", bits(d, 31, 18) * 512, d);
}

static void say_topology(const struct guest_row *row, struct strbuf *text)
{
    static const char *const levels[] = {"none", "thread", "core", "module", "tile", "die"};
    uint32_t type = bits(row->registers[REGISTER_ECX], 15, 8);
    if (type < COUNT_OF(levels))
        strbuf_printf(text, "level %s", levels[type]);
    else
        strbuf_printf(text, "level of type %" PRIu32, type);
    strbuf_printf(text, " with %" PRIu32 " logical processors, %" PRIu32 " bits of APIC id",
                  bits(row->registers[REGISTER_EBX], 15, 0),
                  bits(row->registers[REGISTER_EAX], 4, 0));
}

static void say_pmu(const struct guest_row *row, struct strbuf *text)
{
    uint32_t a = row->registers[REGISTER_EAX], d = row->registers[REGISTER_EDX];
    if (bits(a, 7, 0) == 0)
        strbuf_puts(text, "none (");
    else
        strbuf_printf(text,
                      "version %" PRIu32 ", %" PRIu32 " counters of %" PRIu32 " bits, %" PRIu32
                      " fixed of %" PRIu32 " bits (",
                      bits(a, 7, 0), bits(a, 15, 8), bits(a, 23, 16), bits(d, 4, 0),
                      bits(d, 12, 5));
    say_registers(row, text);
    strbuf_puts(text, ")");
}

static void say_component(const struct guest_row *row, struct strbuf *text)
{
    const uint32_t *regs = row->registers;
    if (regs[REGISTER_EAX] == 0)
        strbuf_puts(text, "not there");
    else
        strbuf_printf(text, "%" PRIu32 " bytes at %" PRIu32 "%s", regs[REGISTER_EAX],
                      regs[REGISTER_EBX], regs[REGISTER_ECX] & 1 ? ", for XSAVES" : "");
}

/* The fields, in the order of leaves. */

#define HELP_LEVEL "-cpu level=, min-level= (xlevel=, min-xlevel=) set it"
#define HELP_VENDOR "hosts of different vendors cannot share guests; -cpu vendor= sets it"
#define HELP_MODEL "a named CPU model, or family=, model=, stepping=, set it"
#define HELP_CACHE                                                                                 \
    "the caches of a named CPU model, legacy-cache=on or host-cache-info=off are alike"
#define HELP_SMP "give both the same -smp; QEMU versions may lay out one -smp in different ways"
#define HELP_PMU "-cpu pmu=off hides it"
#define HELP_TSC "-cpu tsc-frequency= sets it"

static const struct guest_field fields[] = {
    {0, 0, 0, {ALL, 0, 0, 0}, "highest basic leaf", say_eax, HELP_LEVEL},
    {0, 0, 0, {0, ALL, ALL, ALL}, "vendor", say_vendor, HELP_VENDOR},
    {1, 1, 0, {ALL, 0, 0, 0}, NULL, say_signature, HELP_MODEL},
    {1, 1, 0, {0, 0xff, 0, 0}, "brand index", NULL, NULL},
    {1, 1, 0, {0, 0xff00, 0, 0}, "CLFLUSH line in 8 bytes", NULL, NULL},
    {1, 1, 0, {0, 0xff0000, 0, 0}, "logical processors in the package", NULL, HELP_SMP},
    {2, 2, 0, {ALL, ALL, ALL, ALL}, "cache descriptors", say_registers, HELP_CACHE},
    {4, 4, EXPLAIN_ANY, {ALL, ALL, ALL, ALL}, "cache", say_cache, HELP_CACHE},
    {5,
     5,
     0,
     {ALL, ALL, ALL, ALL},
     "MONITOR and MWAIT",
     say_registers,
     "without -overcommit cpu-pm=on they are alike"},
    {7, 7, 0, {ALL, 0, 0, 0}, "highest sub-leaf", NULL, NULL},
    {0xa, 0xa, 0, {ALL, ALL, ALL, ALL}, "performance counters", say_pmu, HELP_PMU},
    {0xb, 0xb, EXPLAIN_ANY, {ALL, ALL, ALL, 0}, "topology", say_topology, HELP_SMP},
    {0xd, 0xd, 0, {0, ALL, 0, 0}, "XSAVE bytes for what is on", NULL, NULL},
    {0xd, 0xd, 0, {0, 0, ALL, 0}, "XSAVE bytes for all", NULL, NULL},
    {0xd, 0xd, 1, {0, ALL, 0, 0}, "XSAVES bytes for what is on", NULL, NULL},
    {0x1f, 0x1f, EXPLAIN_ANY, {ALL, ALL, ALL, 0}, "topology", say_topology, HELP_SMP},
    {0x24, 0x24, 0, {0, 0xff, 0, 0}, "AVX10 version", NULL, "-cpu avx10-version= sets it"},
    {0x40000000, 0x40000000, 0, {ALL, 0, 0, 0}, "highest hypervisor leaf", say_eax, NULL},
    {0x40000000, 0x40000000, 0, {0, ALL, ALL, ALL}, "hypervisor", say_hypervisor, NULL},
    {0x40000010, 0x40000010, 0, {ALL, 0, 0, 0}, "TSC kHz", NULL, HELP_TSC},
    {0x40000010, 0x40000010, 0, {0, ALL, 0, 0}, "APIC bus kHz", NULL, NULL},
    {0x40000100, 0x40000100, 0, {ALL, 0, 0, 0}, "highest hypervisor leaf", say_eax, NULL},
    {0x40000100, 0x40000100, 0, {0, ALL, ALL, ALL}, "hypervisor", say_hypervisor, NULL},
    {0x80000000, 0x80000000, 0, {ALL, 0, 0, 0}, "highest extended leaf", say_eax, HELP_LEVEL},
    {0x80000000, 0x80000000, 0, {0, ALL, ALL, ALL}, "vendor", say_vendor, HELP_VENDOR},
    {0x80000001, 0x80000001, 0, {ALL, 0, 0, 0}, NULL, say_signature, HELP_MODEL},
    {0x80000002,
     0x80000004,
     0,
     {ALL, ALL, ALL, ALL},
     "part of the model's name",
     say_brand,
     "-cpu model-id= sets it"},
    {0x80000005, 0x80000005, 0, {ALL, ALL, ALL, ALL}, "L1 caches", say_registers, HELP_CACHE},
    {0x80000006, 0x80000006, 0, {0, 0, ALL, 0}, "L2 cache", say_l2, HELP_CACHE},
    {0x80000006, 0x80000006, 0, {0, 0, 0, ALL}, "L3 cache", say_l3, HELP_CACHE},
    {0x80000008,
     0x80000008,
     0,
     {0xff, 0, 0, 0},
     "physical address bits",
     NULL,
     "-cpu phys-bits= or, under KVM, host-phys-bits-limit= sets it"},
    {0x80000008, 0x80000008, 0, {0xff00, 0, 0, 0}, "virtual address bits", NULL, NULL},
    {0x80000008,
     0x80000008,
     0,
     {0xff0000, 0, 0, 0},
     "guest physical address bits",
     NULL,
     "-cpu guest-phys-bits= sets it"},
    {0x80000008, 0x80000008, 0, {0, 0, 0xff, 0}, "threads, less 1", NULL, HELP_SMP},
    {0x80000008, 0x80000008, 0, {0, 0, 0xf000, 0}, "bits of APIC id", NULL, HELP_SMP},
    {0x8000000a, 0x8000000a, 0, {0xff, 0, 0, 0}, "SVM revision", NULL, NULL},
    {0x8000000a, 0x8000000a, 0, {0, ALL, 0, 0}, "SVM address spaces", NULL, NULL},
    {0x8000001d, 0x8000001d, EXPLAIN_ANY, {ALL, ALL, ALL, ALL}, "cache", say_cache, HELP_CACHE},
    {0x8000001e, 0x8000001e, 0, {0, ALL, ALL, 0}, "core and node", say_registers, HELP_SMP},
    {0x80000026, 0x80000026, EXPLAIN_ANY, {ALL, ALL, ALL, 0}, "topology", say_topology, HELP_SMP},
};

/* One for each state component of XSAVE: leaf 0xd, sub-leaves from 2 on. */
static const struct guest_field component_field = {
    0xd, 0xd, EXPLAIN_ANY, {ALL, ALL, ALL, ALL}, "XSAVE component", say_component, NULL};

const struct guest_field *guest_field_next(const struct guest_row *row, size_t *state)
{
    if (row->kind != GUEST_ROW_CPUID)
        return NULL;
    if (row->number == 0xd && row->subleaf >= 2)
        return (*state)++ == 0 ? &component_field : NULL;
    while (*state < COUNT_OF(fields)) {
        const struct guest_field *field = &fields[(*state)++];
        if (row->number >= field->first && row->number <= field->last &&
            (field->subleaf == EXPLAIN_ANY || field->subleaf == row->subleaf))
            return field;
    }
    return NULL;
}
