/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Sets of features, their names and their requirements.
 */
#include "cpu_fixture.h"

#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void is(const struct featureset *set, const char *names)
{
    autofree char *text = names_of(set);
    ck_assert_str_eq(text, names);
}

START_TEST(adding_and_removing)
{
    autofeatureset struct featureset set = {0};
    is(&set, "");
    add_names(&set, "zz-new sse4.1 avx a-new sse4.1 m-new zz-new avx");
    is(&set, "a-new avx m-new sse4.1 zz-new");
    ck_assert_uint_eq(featureset_count(&set), 5);
    ck_assert(featureset_has(&set, "m-new") && !featureset_has(&set, "avx2"));
    ck_assert(!featureset_has(&set, "m-ne") && !featureset_has(&set, ""));
    featureset_remove(&set, "m-new");
    featureset_remove(&set, "avx");
    featureset_remove(&set, "avx");
    featureset_remove(&set, "none");
    is(&set, "a-new sse4.1 zz-new");
}
END_TEST

START_TEST(algebra)
{
    static const struct {
        const char *a, *b, *both, *only_a, *any;
    } rows[] = {
        {"", "", "", "", ""},
        {"avx x-a", "", "", "avx x-a", "avx x-a"},
        {"", "avx x-a", "", "", "avx x-a"},
        {"avx x-a", "avx x-a", "avx x-a", "", "avx x-a"},
        {"avx x-a", "avx2 x-b", "", "avx x-a", "avx avx2 x-a x-b"},
        {"avx sse x-a x-b", "sse x-b x-c", "sse x-b", "avx x-a", "avx sse x-a x-b x-c"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autofeatureset struct featureset a = {0}, b = {0}, both = {0}, only_a = {0}, any = {0};
        add_names(&a, rows[i].a);
        add_names(&b, rows[i].b);
        ck_assert(featureset_copy(&both, &a) && featureset_copy(&only_a, &a) &&
                  featureset_copy(&any, &a));
        featureset_intersect(&both, &b);
        featureset_subtract(&only_a, &b);
        ck_assert(featureset_unite(&any, &b));
        is(&both, rows[i].both);
        is(&only_a, rows[i].only_a);
        is(&any, rows[i].any);
        is(&b, rows[i].b);
        ck_assert(featureset_equal(&a, &b) == (strcmp(rows[i].a, rows[i].b) == 0));
        /* once more changes nothing; with itself neither */
        featureset_intersect(&both, &b);
        is(&both, rows[i].both);
        ck_assert(featureset_unite(&any, &any));
        is(&any, rows[i].any);
    }
}
END_TEST

START_TEST(as_json)
{
    autofeatureset struct featureset set = {0}, back = {0};
    add_names(&set, "x-new avx lm a-new");
    autojson json_t *json = featureset_to_json(&set);
    autofree char *text = json_to_text(json);
    ck_assert_str_eq(text, "[\"a-new\",\"avx\",\"lm\",\"x-new\"]");
    autojson json_t *other = json_pack("[s,s,s,s]", "lm", "x-new", "a-new", "avx");
    MUST(featureset_from_json(&back, other, "x", &err));
    ck_assert(featureset_equal(&set, &back));
    static const struct {
        const char *text, *words;
    } bad[] = {
        {"{}", "not an array"},         {"[1]", "not a string"},
        {"[\"avx\",\"avx\"]", "twice"}, {"[\"x-new\",\"x-new\"]", "twice"},
        {"[\"AVX\"]", "'AVX'"},         {"[\"a,b\"]", "'a,b'"},
        {"[\"a=b\"]", "'a=b'"},         {"[\"\"]", "''"},
        {"[\"" A64 "a\"]", "aaa"},      {"[\"+avx\"]", "'+avx'"},
        {"[null]", "not a string"},     {"[[\"avx\"]]", "not a string"},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        autojson json_t *array = json_loads(bad[i].text, 0, NULL);
        MUST_FAIL(STATUS_DATA, bad[i].words, featureset_from_json(&back, array, "x", &err));
    }
    autojson json_t *endless = json_array();
    for (int i = 0; i <= FEATURESET_NAMES_MAX; i++)
        json_array_append_new(endless, json_sprintf("f%d", i));
    MUST_FAIL(STATUS_DATA, "more than", featureset_from_json(&back, endless, "x", &err));
    json_array_remove(endless, 0);
    MUST(featureset_from_json(&set, endless, "x", &err));
    autojson json_t *longest = json_pack("[s]", A64);
    MUST(featureset_from_json(&back, longest, "x", &err));
    is(&back, A64);
}
END_TEST

START_TEST(canonical_names)
{
    static const struct {
        const char *written, *canonical; /* NULL: not a name */
    } rows[] = {
        {"avx2", "avx2"},
        {"sse4_1", "sse4.1"},
        {"sse4-1", "sse4.1"},
        {"sse4.1", "sse4.1"},
        {"sse4_2", "sse4.2"},
        {"sse3", "pni"},
        {"pni", "pni"},
        {"pclmuldq", "pclmulqdq"},
        {"xd", "nx"},
        {"ffxsr", "fxsr-opt"},
        {"fxsr_opt", "fxsr-opt"},
        {"i64", "lm"},
        {"lahf_lm", "lahf-lm"},
        {"tsc_adjust", "tsc-adjust"},
        {"kvm_steal_time", "kvm-steal-time"},
        {"cmp_legacy", "cmp-legacy"},
        {"never-heard-of", "never-heard-of"},
        {"never_heard", "never-heard"},
        {A64, A64},
        {A64 "a", NULL},
        {"", NULL},
        {"AVX2", NULL},
        {"avx2,x", NULL},
        {"avx2=on", NULL},
        {"+avx2", NULL},
        {"-avx2", NULL},
        {"_avx2", NULL},
        {" avx2", NULL},
        {"avx2 ", NULL},
        {"a\xc3\xa4", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char name[FEATURE_NAME_SIZE] = "untouched";
        bool good = feature_canonical_name(rows[i].written, name);
        ck_assert_msg(good == (rows[i].canonical != NULL), "'%s'", rows[i].written);
        ck_assert_msg(strcmp(name, good ? rows[i].canonical : "untouched") == 0, "'%s' is '%s'",
                      rows[i].written, name);
    }
}
END_TEST

/* What must hold in the whole table. */
START_TEST(whole_table)
{
    size_t count;
    const struct feature *table = feature_table(&count);
    ck_assert_uint_gt(count, 300);
    for (size_t i = 0; i < count; i++) {
        char name[FEATURE_NAME_SIZE];
        ck_assert_msg(name_is_feature(table[i].name), "%s", table[i].name);
        ck_assert(i == 0 || strcmp(table[i - 1].name, table[i].name) < 0);
        ck_assert(feature_canonical_name(table[i].name, name));
        ck_assert_str_eq(name, table[i].name);
        for (const char *rest = feature_requires(table[i].name); rest && *rest;) {
            rest = feature_next_name(rest, name);
            size_t k = 0;
            while (k < count && strcmp(table[k].name, name) != 0)
                k++;
            ck_assert_msg(k < count && k != i, "%s requires %s", table[i].name, name);
        }
        for (const char *rest = table[i].aliases; *rest;) {
            char canonical[FEATURE_NAME_SIZE];
            rest = feature_next_name(rest, name);
            ck_assert(feature_canonical_name(name, canonical));
            ck_assert_msg(strcmp(canonical, table[i].name) == 0, "%s is %s, not %s", name,
                          canonical, table[i].name);
        }
    }
    ck_assert(feature_is_security("spec-ctrl") && feature_is_security("arch-capabilities"));
    ck_assert(!feature_is_security("avx") && !feature_is_security("never-heard-of"));
    ck_assert(feature_is_benign("ht") && !feature_is_benign("avx"));
}
END_TEST

START_TEST(closure)
{
    static const struct {
        const char *before, *known, *after; /* known NULL: all names */
    } rows[] = {
        {"", NULL, ""},
        {"aes never-heard-of", NULL, "aes never-heard-of"},
        {"arch-capabilities mds-no rdctl-no", NULL, "arch-capabilities mds-no rdctl-no"},
        {"aes mds-no rdctl-no taa-no", NULL, "aes"},
        {"avx avx2 avx512f avx512vl fma sse2 xsavec", NULL, "sse2"}, /* all for want of xsave */
        {"mds-no", "mds-no", "mds-no"}, /* a QEMU without a name for it does not ask for it */
        {"mds-no", "mds-no arch-capabilities", ""},
        {"npt svm svm-lock", NULL, "npt svm svm-lock"},
        {"npt svm-lock", NULL, ""},
        {"vmx vmx-ept vmx-secondary-ctls", NULL, "vmx vmx-ept vmx-secondary-ctls"},
        {"vmx vmx-ept vmx-ept-1gb", NULL, "vmx"}, /* in two steps */
        {"vmx-ept vmx-ept-1gb vmx-secondary-ctls", NULL, ""},
        /* each requires the other: both or none, and it ends */
        {"avx10 avx10-128", NULL, "avx10 avx10-128"},
        {"avx10", NULL, ""},
        {"avx10-128", NULL, ""},
        {"avx10-128 avx10-256 avx10-512", NULL, ""},
        {"avx10 avx10-128 avx10-512", NULL, "avx10 avx10-128"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autofeatureset struct featureset set = {0}, known = {0};
        add_names(&set, rows[i].before);
        add_names(&known, rows[i].known ? rows[i].known : "");
        for (int twice = 0; twice < 2; twice++) {
            featureset_close(&set, rows[i].known ? &known : NULL);
            is(&set, rows[i].after);
        }
    }
}
END_TEST

int main(void)
{
    const TTest *tests[TESTS_MAX] = {adding_and_removing, algebra,     as_json,
                                     canonical_names,     whole_table, closure};
    size_t count = 6;
    add_request_tests(tests, &count);
    add_baseline_tests(tests, &count);
    add_check_tests(tests, &count);
    add_property_tests(tests, &count);
    add_report_tests(tests, &count);
    return unit_run("cpu", tests, count);
}
