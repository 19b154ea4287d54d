/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/features.h"

#include <string.h>

#include "base/cleanup.h"
#define KVM_LEAVES 0x40000000U

bool guest_table_has(const struct guest_table *table, uint32_t leaf, enum cpuid_register reg,
                     uint32_t mask)
{
    const struct guest_row *row = guest_table_find(table, GUEST_ROW_CPUID, leaf, 0);
    return row && (row->registers[reg] & mask);
}

static bool is_amd(const struct guest_table *table)
{
    /* "AuthenticAMD", "HygonGenuine": by their first four letters. */
    uint32_t vendor = table->rows[1].registers[REGISTER_EBX];
    return vendor == 0x68747541 || vendor == 0x6f677948;
}

bool guest_table_announces(const struct guest_table *table, uint32_t msr)
{
    switch (msr) {
    case 0x8b: /* every CPU that has MSRs has it */
        return true;
    case 0xcf:
        return guest_table_has(table, 7, REGISTER_EDX, UINT32_C(1) << 30);
    case 0x10a:
        return guest_table_has(table, 7, REGISTER_EDX, UINT32_C(1) << 29);
    case 0x345:
        return guest_table_has(table, 1, REGISTER_ECX, UINT32_C(1) << 15);
    case 0xc0011029:
        return is_amd(table);
    default: /* VMX; PLATFORM_INFO is announced by nothing */
        return msr >= 0x480 && msr <= 0x491 && guest_table_has(table, 1, REGISTER_ECX, 1U << 5);
    }
}

uint32_t guest_table_kvm_base(const struct guest_table *table)
{
    for (uint32_t base = KVM_LEAVES; base <= KVM_LEAVES + 0x200; base += 0x100) {
        const struct guest_row *row = guest_table_find(table, GUEST_ROW_CPUID, base, 0);
        if (row && row->registers[REGISTER_EBX] == 0x4b4d564b &&
            row->registers[REGISTER_ECX] == 0x564b4d56 && row->registers[REGISTER_EDX] == 0x4d)
            return base;
    }
    return 0;
}

static bool is_kvm_place(const struct feature_place *place)
{
    return place->kind == PLACE_CPUID && place->leaf >= KVM_LEAVES &&
           place->leaf < KVM_LEAVES + 256;
}

static bool cpuid_shows(const struct guest_table *table, const struct feature_place *place)
{
    uint32_t leaf = place->leaf;
    if (is_kvm_place(place)) {
        uint32_t base = guest_table_kvm_base(table);
        if (base == 0)
            return false;
        leaf = leaf - KVM_LEAVES + base;
    }
    /* A row that is not there is one of zeros, or of a leaf that the CPU does not have. */
    const struct guest_row *row = guest_table_find(table, GUEST_ROW_CPUID, leaf, place->subleaf);
    return row && (row->registers[place->reg] >> place->bit & 1);
}

/* In the MSRs of controls, bit n is 1 where control n must be on, bit 32 + n where it may be: the
 * feature is that a hypervisor can choose (Intel SDM volume 3D, appendix A.3 to A.5; QEMU 7.2
 * target/i386/kvm/kvm.c, make_vmx_msr_value). */
static bool is_of_controls(uint32_t msr)
{
    return msr == 0x48b || (msr >= 0x48d && msr <= 0x490);
}

static bool msr_shows(const struct guest_row *row, const struct feature_place *place)
{
    if (is_of_controls(place->leaf) && place->bit < 32)
        return (row->value >> (place->bit + 32) & 1) && !(row->value >> place->bit & 1);
    return row->value >> place->bit & 1;
}

bool guest_table_shows(const struct guest_table *table, const struct feature *feature, bool *shows)
{
    bool all = true;
    if (feature->place_count == 0)
        return false;
    for (unsigned p = 0; p < feature->place_count; p++) {
        const struct feature_place *place = &feature->places[p];
        if (place->kind == PLACE_CPUID) {
            all = all && cpuid_shows(table, place);
            continue;
        }
        const struct guest_row *row = guest_table_find(table, GUEST_ROW_MSR, place->leaf, 0);
        bool announced = guest_table_announces(table, place->leaf);
        if (announced && !row)
            return false;
        all = all && announced && !row->fault && msr_shows(row, place);
    }
    *shows = all;
    return true;
}

/* What a guest may see otherwise than the features say, with nothing wrong. Found by experiment
 * with all named models of QEMU 7.2 and 10.0 under TCG, or where a source is given. */
static const struct {
    const char *name;
    enum { EITHER, HIDDEN } how; /* HIDDEN: only that it is not shown is benign */
    uint64_t mode;               /* only there, 0: in both */
    const char *reason;
} behind_the_features[] = {
    {"ht", EITHER, 0, "there are several CPUs: -smp decides"},
    {"cmp-legacy", EITHER, 0, "the same for AMD"},
    {"syscall", HIDDEN, 32, "Intel's is for long mode only; TCG shows that from 10.0 on"},
    {"pdcm", HIDDEN, 0, "hidden without pmu=on (QEMU 10.0 target/i386/cpu.c, cpu_x86_cpuid)"},
    {"full-width-write", HIDDEN, 0, "in an MSR that pdcm announces"},
    {"kvm-pv-unhalt", HIDDEN, 0,
     "hidden with -overcommit cpu-pm=on (Linux 6.1 arch/x86/kvm/cpuid.c, kvm_hlt_in_guest)"},
};

static bool is_benign(const struct guest_table *table, const struct feature *feature, bool shows)
{
    for (size_t i = 0; i < COUNT_OF(behind_the_features); i++)
        if (strcmp(behind_the_features[i].name, feature->name) == 0 &&
            (behind_the_features[i].how == EITHER || !shows) &&
            (behind_the_features[i].mode == 0 ||
             behind_the_features[i].mode == table->rows[0].value))
            return true;
    /* -cpu kvm=off hides all of KVM's leaves, TCG has none. */
    return !shows && is_kvm_place(&feature->places[0]) && guest_table_kvm_base(table) == 0;
}

bool guest_table_contradictions(const struct guest_table *table, const struct featureset *features,
                                struct strlist *missing, struct strlist *extra, struct error *err)
{
    size_t count;
    const struct feature *all = feature_table(&count);
    for (size_t i = 0; i < count; i++) {
        bool shows;
        if (!guest_table_shows(table, &all[i], &shows) ||
            shows == featureset_has(features, all[i].name) || is_benign(table, &all[i], shows))
            continue;
        if (!strlist_push(shows ? extra : missing, all[i].name))
            return error_no_memory(err);
    }
    return true;
}
