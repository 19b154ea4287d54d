/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What people are told beside the baseline: whose the lack is, what a host costs, and what else the
 * CPU's clock and version say.
 */
#include "cpu_fixture.h"

/* The lack of what the kernel has to offer is the kernel's when the CPU has it. */
START_TEST(causes_by_place)
{
    autopair struct pair pair = pair_of(
        offer_of("a", "kvm", "arch-capabilities avx2 kvm-pv-eoi lm rdctl-no vmx vmx-ept", ""),
        offer_of("b", "kvm", "arch-capabilities lm vmx", "avx2 kvm-pv-eoi rdctl-no vmx-ept"),
        "host", "host");
    static const struct {
        const char *physical; /* of b; NULL: not known */
        const char *feature;
        enum loss_cause cause;
    } rows[] = {
        {"lm vmx", "avx2", LOSS_CPU},     {"avx2 lm", "avx2", LOSS_KVM},
        {"lm vmx", "vmx-ept", LOSS_KVM},  {"lm", "vmx-ept", LOSS_CPU},
        {"lm vmx", "rdctl-no", LOSS_CPU}, {"lm", "kvm-pv-eoi", LOSS_KVM},
        {NULL, "avx2", LOSS_CPU},         {NULL, "kvm-pv-eoi", LOSS_KVM},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        enum loss_cause cause = LOSS_REQUEST;
        struct cpu_offer *b = &pair.offers[1];
        featureset_free(&b->physical);
        b->physical = (struct featureset){0};
        b->physical_known = rows[i].physical != NULL;
        if (b->physical_known)
            add_names(&b->physical, rows[i].physical);
        ck_assert(!offer_gives(b, &pair.requests[1], rows[i].feature, &cause));
        ck_assert_msg(cause == rows[i].cause, "row %zu: %s", i, loss_cause_name(cause));
    }
}
END_TEST

/* What it costs to have a host along: what all others have. */
START_TEST(cost_of_a_host)
{
    autopair struct pair pair =
        pair_of(offer_of("a", "kvm", "avx avx2 lm", "smap"),
                offer_of("b", "kvm", "avx lm smap", "avx2"), "host", "host");
    autostrlist struct strlist a = {0}, b = {0}, nobody = {0};
    gives(&pair, "avx lm");
    MUST(baseline_report_cost(&pair.report, "a", &a, &err));
    MUST(baseline_report_cost(&pair.report, "b", &b, &err));
    MUST(baseline_report_cost(&pair.report, "c", &nobody, &err));
    ck_assert_uint_eq(a.count, 1);
    ck_assert_str_eq(a.items[0], "smap");
    ck_assert_uint_eq(b.count, 1);
    ck_assert_str_eq(b.items[0], "avx2");
    ck_assert_uint_eq(nobody.count, 0);
}
END_TEST

/* 250 ppm is what NTP corrects, and Linux takes for the same clock. */
START_TEST(speed_of_the_clock)
{
    static const struct {
        unsigned a, b;
        bool scales, warns;
    } rows[] = {
        {2000000, 2100000, false, true},
        {2100000, 2000000, false, true},
        {2000000, 2000500, false, false},
        {2000000, 2000501, false, true},
        {2000000, 2100000, true, false},
        {2000000, 0, false, false},
        {0, 0, false, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autopair struct pair pair =
            pair_of(offer_of("a", "kvm", "lm", ""), offer_of("b", "kvm", "lm", ""), "host", "host");
        pair.offers[0].tsc_khz = rows[i].a;
        pair.offers[1].tsc_khz = rows[i].b;
        pair.offers[0].tsc_scales = true;
        pair.offers[1].tsc_scales = rows[i].scales;
        gives(&pair, "lm");
        const struct strlist *warnings = &pair.report.warnings;
        ck_assert_msg(warnings->count == rows[i].warns, "row %zu", i);
        ck_assert(!rows[i].warns || strstr(warnings->items[0], "runs at 2000000 kHz"));
    }
}
END_TEST

/* QEMU makes an AVX10 of the model's version, unless it is told that there is none. */
START_TEST(version_of_avx10)
{
    autopair struct pair pair = pair_of(offer_of("a", "kvm", "avx lm", "avx10"),
                                        offer_of("b", "kvm", "avx lm", "avx10"), "host", "host");
    for (int i = 0; i < 2; i++)
        add_model(&pair.offers[i], "Skylake-Server-v1", 13, "avx avx10 lm");
    gives(&pair, "avx lm");
    autofree char *named = NULL, *base = NULL;
    MUST(named = render_cpu(&pair.baseline, &pair.offers[0], CPU_FORM_NAMED, &err));
    ck_assert_msg(strstr(named, "Skylake-Server-v1") && strstr(named, ",avx10-version=0"), "%s",
                  named);
    MUST(base = render_cpu(&pair.baseline, &pair.offers[0], CPU_FORM_BASE, &err));
    ck_assert_msg(!strstr(base, "avx10-version"), "%s", base);
}
END_TEST

void add_report_tests(const TTest **tests, size_t *count)
{
    const TTest *const mine[] = {causes_by_place, cost_of_a_host, speed_of_the_clock,
                                 version_of_avx10};
    for (size_t i = 0; i < COUNT(mine); i++)
        tests[(*count)++] = mine[i];
}
