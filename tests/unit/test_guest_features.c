/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whether a guest CPU table shows a feature, and what it shows against a set of features.
 */
#include "unit.h"

#include "guest/features.h"

#define ROWS_MAX 16

/* A table that can be written to; the fixed rows are vmx, arch-capabilities and the like: what
 * announces MSRs. */
struct written {
    struct guest_row rows[ROWS_MAX];
    struct guest_table table;
};

static struct guest_row *add_row(struct written *written, enum guest_row_kind kind, uint32_t number,
                                 uint32_t subleaf)
{
    struct guest_table *table = &written->table;
    struct guest_row *row = (struct guest_row *)guest_table_find(table, kind, number, subleaf);
    if (row)
        return row;
    ck_assert_uint_lt(table->count, ROWS_MAX);
    table->rows = written->rows;
    struct guest_row made = {.kind = kind, .number = number, .subleaf = subleaf};
    size_t at = table->count++;
    for (; at > 0 && guest_row_order(&table->rows[at - 1], &made) > 0; at--)
        table->rows[at] = table->rows[at - 1];
    table->rows[at] = made;
    return &table->rows[at];
}

static uint32_t *register_at(struct written *written, uint32_t leaf, uint32_t subleaf,
                             enum cpuid_register reg)
{
    return &add_row(written, GUEST_ROW_CPUID, leaf, subleaf)->registers[reg];
}

/* Mode and leaf 0, which every table has, and KVM's signature. */
static void begin(struct written *written, uint32_t kvm_base)
{
    *written = (struct written){0};
    add_row(written, GUEST_ROW_MODE, 0, 0)->value = 64;
    add_row(written, GUEST_ROW_CPUID, 0, 0);
    if (kvm_base == 0)
        return;
    *register_at(written, kvm_base, 0, REGISTER_EBX) = 0x4b4d564b;
    *register_at(written, kvm_base, 0, REGISTER_ECX) = 0x564b4d56;
    *register_at(written, kvm_base, 0, REGISTER_EDX) = 0x4d;
}

static void announce_msrs(struct written *written)
{
    *register_at(written, 1, 0, REGISTER_ECX) |= 1U << 5 | 1U << 15;
    *register_at(written, 7, 0, REGISTER_EDX) |= 1U << 29 | 1U << 30;
}

static void write_place(struct written *written, const struct feature_place *place, bool on)
{
    if (place->kind == PLACE_CPUID) {
        uint32_t *reg = register_at(written, place->leaf, place->subleaf, place->reg);
        *reg = on ? *reg | 1U << place->bit : *reg & ~(1U << place->bit);
        return;
    }
    bool controls = place->leaf == 0x48b || (place->leaf >= 0x48d && place->leaf <= 0x490);
    uint64_t bit = UINT64_C(1) << (controls ? place->bit + 32 : place->bit);
    uint64_t *value = &add_row(written, GUEST_ROW_MSR, place->leaf, 0)->value;
    *value = on ? *value | bit : *value & ~bit;
}

static bool shows(const struct written *written, const char *name)
{
    bool value = false;
    const struct feature *feature = feature_find(name);
    ck_assert_ptr_nonnull(feature);
    ck_assert(guest_table_shows(&written->table, feature, &value));
    return value;
}

/* Each feature by its bits, and by all of them. */
START_TEST(every_feature)
{
    size_t count;
    const struct feature *features = feature_table(&count);
    for (size_t i = 0; i < count; i++) {
        const struct feature *feature = &features[i];
        struct written written;
        begin(&written, 0x40000000);
        announce_msrs(&written);
        for (unsigned p = 0; p < feature->place_count; p++)
            write_place(&written, &feature->places[p], true);
        ck_assert_msg(shows(&written, feature->name), "%s", feature->name);
        for (unsigned p = 0; p < feature->place_count; p++) {
            write_place(&written, &feature->places[p], false);
            ck_assert_msg(!shows(&written, feature->name), "%s", feature->name);
            write_place(&written, &feature->places[p], true);
        }
    }
}
END_TEST

START_TEST(no_row)
{
    struct written written;
    bool value = true;
    begin(&written, 0);
    ck_assert(!shows(&written, "avx2"));
    ck_assert(!shows(&written, "kvm-pv-eoi"));
    ck_assert(!shows(&written, "vmx-ept"));
    ck_assert(!shows(&written, "rdctl-no"));
    /* Announced, and not read: nobody knows. */
    announce_msrs(&written);
    ck_assert(!guest_table_shows(&written.table, feature_find("vmx-ept"), &value));
    ck_assert(!guest_table_shows(&written.table, feature_find("rdctl-no"), &value));
    struct feature nowhere = {.name = "new-one"};
    ck_assert(!guest_table_shows(&written.table, &nowhere, &value));
    ck_assert(value);
}
END_TEST

START_TEST(msrs)
{
    struct written written;
    begin(&written, 0);
    struct guest_row *row = add_row(&written, GUEST_ROW_MSR, 0x10a, 0);
    row->value = 1;
    ck_assert(!shows(&written, "rdctl-no")); /* a guest does not look */
    announce_msrs(&written);
    ck_assert(shows(&written, "rdctl-no"));
    row = add_row(&written, GUEST_ROW_MSR, 0x10a, 0);
    row->fault = GUEST_FAULT_GP;
    ck_assert(!shows(&written, "rdctl-no"));
}
END_TEST

/* A control that must be on is none that can be chosen: vmx-cr3-load-noexit is bit 15 of 0x48e. */
START_TEST(vmx_controls)
{
    struct written written;
    begin(&written, 0);
    announce_msrs(&written);
    struct guest_row *row = add_row(&written, GUEST_ROW_MSR, 0x48e, 0);
    row->value = UINT64_C(1) << 47 | 1U << 15;
    ck_assert(!shows(&written, "vmx-cr3-load-noexit"));
    row->value = UINT64_C(1) << 47;
    ck_assert(shows(&written, "vmx-cr3-load-noexit"));
    row->value = 1U << 15;
    ck_assert(!shows(&written, "vmx-cr3-load-noexit"));
}
END_TEST

START_TEST(kvm_behind_hyperv)
{
    struct written written;
    for (uint32_t base = 0x40000000; base <= 0x40000200; base += 0x100) {
        begin(&written, base);
        ck_assert_uint_eq(guest_table_kvm_base(&written.table), base);
        *register_at(&written, base + 1, 0, REGISTER_EAX) = 1U << 6;
        ck_assert(shows(&written, "kvm-pv-eoi"));
        ck_assert(!shows(&written, "kvm-steal-time"));
    }
    begin(&written, 0);
    *register_at(&written, 0x40000001, 0, REGISTER_EAX) = 1U << 6; /* another's leaf */
    ck_assert(!shows(&written, "kvm-pv-eoi"));
}
END_TEST

static void check_contradictions(const struct written *written, const char *agreed,
                                 const char *missing, const char *extra)
{
    autofeatureset struct featureset features = {0};
    autostrlist struct strlist lacks = {0}, has = {0};
    MUST(featureset_parse(&features, agreed, "features", STATUS_DATA, &err));
    MUST(guest_table_contradictions(&written->table, &features, &lacks, &has, &err));
    autofree char *lacks_text = strlist_join(&lacks, ","), *has_text = strlist_join(&has, ",");
    ck_assert_str_eq(lacks_text, missing);
    ck_assert_str_eq(has_text, extra);
}

START_TEST(contradictions)
{
    struct written written;
    begin(&written, 0x40000000);
    *register_at(&written, 7, 0, REGISTER_EBX) = 1U << 5 | 1U << 20; /* avx2, smap */
    *register_at(&written, 0x40000001, 0, REGISTER_EAX) = 1U << 6;
    check_contradictions(&written, "avx2,smap,kvm-pv-eoi", "", "");
    check_contradictions(&written, "avx2,kvm-pv-eoi,some-new-feature", "", "smap");
    check_contradictions(&written, "avx2,smap,smep,erms", "erms,smep", "kvm-pv-eoi");
    /* An MSR that was not read says nothing, one that is not there says no. */
    check_contradictions(&written, "avx2,smap,kvm-pv-eoi,rdctl-no", "rdctl-no", "");
    *register_at(&written, 7, 0, REGISTER_EDX) = 1U << 29;
    check_contradictions(&written, "avx2,smap,kvm-pv-eoi,arch-capabilities,rdctl-no", "", "");
}
END_TEST

/* What QEMU and KVM do behind the features. */
START_TEST(benign)
{
    struct written written;
    begin(&written, 0x40000000);
    check_contradictions(&written, "ht,cmp-legacy,pdcm,full-width-write,kvm-pv-unhalt", "", "");
    check_contradictions(&written, "syscall,kvm-pv-eoi", "kvm-pv-eoi,syscall", "");
    *register_at(&written, 1, 0, REGISTER_EDX) = 1U << 28;
    *register_at(&written, 0x80000001, 0, REGISTER_ECX) = 1U << 1;
    *register_at(&written, 0x40000001, 0, REGISTER_EAX) = 1U << 7;
    check_contradictions(&written, "", "", "kvm-pv-unhalt");
    *register_at(&written, 1, 0, REGISTER_ECX) = 1U << 15;
    check_contradictions(&written, "kvm-pv-unhalt", "", "pdcm");
    /* No long mode, and no KVM's leaves. */
    begin(&written, 0);
    add_row(&written, GUEST_ROW_MODE, 0, 0)->value = 32;
    check_contradictions(&written, "syscall,kvm-pv-eoi", "", "");
    *register_at(&written, 0x80000001, 0, REGISTER_EDX) = 1U << 11;
    check_contradictions(&written, "", "", "syscall");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        every_feature, no_row, msrs, vmx_controls, kvm_behind_hyperv, contradictions, benign,
    };
    return unit_run("guest-features", tests, COUNT(tests));
}
