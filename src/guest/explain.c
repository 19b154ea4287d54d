/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Sources: Intel SDM volume 2A, CPUID, and volume 4, table 2-2; AMD APM volume 3, appendix E;
 * Linux Documentation/virt/kvm/x86/cpuid.rst.
 */
#include "guest/explain.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#define ALL UINT32_MAX

/* Rows that differ by nature. Nothing is here only because it did differ once: the reason must hold
 * for hosts that are alike. */
static const struct {
    uint32_t leaf;
    enum cpuid_register reg;
    uint32_t mask;
    const char *reason;
} by_nature[] = {
    {0x1, REGISTER_EBX, 0xff000000, "the APIC id of the CPU that asks"},
    {0xb, REGISTER_EDX, ALL, "the x2APIC id of the CPU that asks"},
    {0x1f, REGISTER_EDX, ALL, "the x2APIC id of the CPU that asks"},
    {0x8000001e, REGISTER_EAX, ALL, "the x2APIC id of the CPU that asks"},
    {0x80000026, REGISTER_EDX, ALL, "the x2APIC id of the CPU that asks"},
};

uint32_t guest_natural_mask(const struct guest_row *row, enum cpuid_register reg)
{
    uint32_t mask = 0;
    for (size_t i = 0; row->kind == GUEST_ROW_CPUID && i < COUNT_OF(by_nature); i++)
        if (by_nature[i].leaf == row->number && by_nature[i].reg == reg)
            mask |= by_nature[i].mask;
    return mask;
}

/* Names of bits. */

/* XSAVE's state components, and the feature that brings each. */
static const struct {
    const char *name, *feature;
} components[] = {
    {"x87", NULL},
    {"SSE", NULL},
    {"AVX", "avx"},
    {"BNDREGS", "mpx"},
    {"BNDCSR", "mpx"},
    {"opmask", "avx512f"},
    {"ZMM_Hi256", "avx512f"},
    {"Hi16_ZMM", "avx512f"},
    {"PT", "intel-pt"},
    {"PKRU", "pku"},
    {"PASID", NULL},
    {"CET_U", NULL},
    {"CET_S", NULL},
    {"HDC", NULL},
    {"UINTR", NULL},
    {"LBR", NULL},
    {"HWP", NULL},
    {"XTILECFG", "amx-tile"},
    {"XTILEDATA", "amx-tile"},
    {"APX", NULL},
};

/* Bits that follow others: what the guest switched on, or copies. */
static const struct {
    uint32_t leaf;
    enum cpuid_register reg;
    unsigned bit;
    const char *name, *feature;
} followers[] = {
    {0x1, REGISTER_ECX, 27, "osxsave", "xsave"},
    {0x7, REGISTER_ECX, 4, "ospke", "pku"},
};
/* AMD's leaf 0x80000001 EDX repeats these bits of leaf 1 EDX (QEMU 7.2 target/i386/cpu.h,
 * CPUID_EXT2_AMD_ALIASES). */
#define AMD_ALIASES 0x0183f3ffU

static const struct feature *feature_at(int kind, uint32_t number, uint32_t subleaf,
                                        enum cpuid_register reg, unsigned bit)
{
    size_t count;
    const struct feature *table = feature_table(&count);
    for (size_t i = 0; i < count; i++)
        for (unsigned p = 0; p < table[i].place_count; p++) {
            const struct feature_place *place = &table[i].places[p];
            if ((int)place->kind == kind && place->leaf == number && place->bit == bit &&
                (kind == PLACE_MSR || (place->subleaf == subleaf && place->reg == reg)))
                return &table[i];
        }
    return NULL;
}

/* In the MSRs of controls a feature's bit n is "may be 1" in bit 32 + n, or "must be 1" in bit n;
 * those of before the "true" ones have the same bits (Intel SDM volume 3D, appendix A.3 to A.5). */
static const struct feature *msr_feature(uint32_t number, unsigned bit)
{
    if (number >= 0x481 && number <= 0x484)
        number += 0x48d - 0x481;
    if (number == 0x48b || (number >= 0x48d && number <= 0x490))
        return feature_at(PLACE_MSR, number, 0, 0, bit % 32);
    return feature_at(PLACE_MSR, number, 0, 0, bit);
}

static const char *component_name(unsigned component, const struct feature **feature)
{
    if (component >= COUNT_OF(components))
        return NULL;
    if (components[component].feature)
        *feature = feature_find(components[component].feature);
    return components[component].name;
}

const char *guest_bit_name(const struct guest_row *row, enum cpuid_register reg, unsigned bit,
                           uint32_t kvm_base, const struct feature **feature)
{
    uint32_t leaf = row->number;
    *feature = NULL;
    if (row->kind == GUEST_ROW_XCR0)
        return component_name(bit, feature);
    if (row->kind == GUEST_ROW_MSR) {
        *feature = msr_feature(leaf, bit);
        return *feature ? (*feature)->name : NULL;
    }
    if (row->kind != GUEST_ROW_CPUID)
        return NULL;
    if (leaf == 0xd && row->subleaf == 0 && (reg == REGISTER_EAX || reg == REGISTER_EDX))
        return component_name(reg == REGISTER_EAX ? bit : bit + 32, feature);
    if (leaf == 0xd && row->subleaf == 1 && (reg == REGISTER_ECX || reg == REGISTER_EDX))
        return component_name(reg == REGISTER_ECX ? bit : bit + 32, feature);
    if (leaf >= 0x40000000 && leaf <= 0x4fffffff) { /* KVM's, wherever they are; others' not */
        if (kvm_base == 0 || leaf < kvm_base || leaf > kvm_base + 0xff)
            return NULL;
        leaf = leaf - kvm_base + 0x40000000;
    }
    *feature = feature_at(PLACE_CPUID, leaf, row->subleaf, reg, bit);
    if (!*feature && leaf == 0x80000001 && reg == REGISTER_EDX && (AMD_ALIASES >> bit & 1))
        *feature = feature_at(PLACE_CPUID, 1, 0, REGISTER_EDX, bit);
    if (*feature)
        return (*feature)->name;
    for (size_t i = 0; row->subleaf == 0 && i < COUNT_OF(followers); i++)
        if (followers[i].leaf == leaf && followers[i].reg == reg && followers[i].bit == bit) {
            *feature = feature_find(followers[i].feature);
            return followers[i].name;
        }
    return NULL;
}

const char *guest_msr_name(uint32_t number)
{
    static const struct {
        uint32_t number;
        const char *name;
    } names[] = {
        {0x8b, "microcode revision"},
        {0xce, "PLATFORM_INFO"},
        {0xcf, "CORE_CAPABILITIES"},
        {0x10a, "ARCH_CAPABILITIES"},
        {0x345, "PERF_CAPABILITIES"},
        {0x480, "VMX_BASIC"},
        {0x481, "VMX_PINBASED_CTLS"},
        {0x482, "VMX_PROCBASED_CTLS"},
        {0x483, "VMX_EXIT_CTLS"},
        {0x484, "VMX_ENTRY_CTLS"},
        {0x485, "VMX_MISC"},
        {0x486, "VMX_CR0_FIXED0"},
        {0x487, "VMX_CR0_FIXED1"},
        {0x488, "VMX_CR4_FIXED0"},
        {0x489, "VMX_CR4_FIXED1"},
        {0x48a, "VMX_VMCS_ENUM"},
        {0x48b, "VMX_PROCBASED_CTLS2"},
        {0x48c, "VMX_EPT_VPID_CAP"},
        {0x48d, "VMX_TRUE_PINBASED_CTLS"},
        {0x48e, "VMX_TRUE_PROCBASED_CTLS"},
        {0x48f, "VMX_TRUE_EXIT_CTLS"},
        {0x490, "VMX_TRUE_ENTRY_CTLS"},
        {0x491, "VMX_VMFUNC"},
        {0xc0011029, "DE_CFG"},
    };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (names[i].number == number)
            return names[i].name;
    return NULL;
}
