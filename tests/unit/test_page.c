/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The page of a baseline: text of others is never markup, its policy allows its own style sheet and
 * nothing else, and what matters comes first. What a browser makes of it: tests/e2e/test_html.py.
 */
#include "cpu_fixture.h"

#include "base/digest.h"
#include "page/baseline_page.h"
#include "page/feature_class.h"
#include "page/html.h"

#define BAD "&#xfffd;"

START_TEST(escapes)
{
    static const struct {
        const char *text, *page;
    } rows[] = {
        {"", ""},
        {"a.b-c", "a.b-c"},
        {"<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"},
        {"\" onload='x' &amp;", "&quot; onload=&#39;x&#39; &amp;amp;"},
        {" ~}|", " ~}|"},
        {"\x01\x1b[31m\n\t\x7f", BAD BAD "[31m" BAD BAD BAD},
        {"\xc3<b>\x80", BAD "&lt;b&gt;" BAD}, /* a lead of UTF-8 swallows no markup */
        {"\xc0\xbc", BAD BAD},                /* '<' in too many bytes */
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autostrbuf struct strbuf page = {0};
        html_puts(&page, rows[i].text);
        ck_assert_msg(strcmp(page.data ? page.data : "", rows[i].page) == 0, "row %zu: %s", i,
                      page.data);
    }
}
END_TEST

/* Every single byte and pair of bytes: what is left is no markup and no control character. */
START_TEST(escapes_all_bytes)
{
    for (unsigned first = 1; first < 256; first++)
        for (unsigned second = 0; second < 256; second++) {
            const char text[] = {(char)first, (char)second, '\0'};
            autostrbuf struct strbuf page = {0};
            html_puts(&page, text);
            ck_assert(text_is_plain(page.data));
            ck_assert_msg(!strpbrk(page.data, "<>\"'"), "%02x %02x", first, second);
        }
}
END_TEST

START_TEST(classes)
{
    static const struct {
        const char *feature;
        enum feature_class kind;
    } rows[] = {
        {"smap", CLASS_SECURITY},         {"rdctl-no", CLASS_SECURITY}, {"avx2", CLASS_VECTOR},
        {"sse4.1", CLASS_VECTOR},         {"amx-tile", CLASS_VECTOR},   {"sha-ni", CLASS_VECTOR},
        {"avx99-new", CLASS_VECTOR},      {"vmx", CLASS_NESTED},        {"vmx-ept", CLASS_NESTED},
        {"vmx-new-word", CLASS_NESTED},   {"svm", CLASS_NESTED},        {"npt", CLASS_NESTED},
        {"kvm-pv-eoi", CLASS_KVM},        {"kvmclock", CLASS_KVM},      {"lm", CLASS_OTHER},
        {"no-such-feature", CLASS_OTHER},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        ck_assert_msg(feature_class_of(rows[i].feature) == rows[i].kind, "%s: %s", rows[i].feature,
                      feature_class_title(feature_class_of(rows[i].feature)));
}
END_TEST

/* Who changes the style sheet puts the hash that this says into baseline_page.h. */
START_TEST(policy_allows_the_style)
{
    uint8_t digest[DIGEST_SIZE];
    MUST(digest_bytes(baseline_page_style, strlen(baseline_page_style), digest, &err));
    autofree char *text = base64_encode(digest, sizeof(digest));
    ck_assert_str_eq(BASELINE_PAGE_STYLE_SHA256, text);
    ck_assert_ptr_null(strchr(baseline_page_style, '<'));
    ck_assert_ptr_null(strstr(baseline_page_style, "url("));
    ck_assert_ptr_null(strstr(baseline_page_style, "@import"));
}
END_TEST

static char *make(struct pair *pair, const struct strlist *lines, const char *cpu)
{
    const struct page_host hosts[] = {{&pair->offers[0], "10.0.0", cpu},
                                      {&pair->offers[1], NULL, cpu}};
    const struct baseline_page page = {.baseline = &pair->baseline,
                                       .report = &pair->report,
                                       .hosts = hosts,
                                       .host_count = 2,
                                       .machine = "pc-q35-7.2",
                                       .form = "named",
                                       .devices_off = lines,
                                       .devices_unknown = lines,
                                       .migration = cpu};
    char *text = baseline_page_make(&page);
    ck_assert_ptr_nonnull(text);
    return text;
}

static size_t count_of(const char *page, const char *words)
{
    size_t count = 0;
    for (; (page = strstr(page, words)); page++)
        count++;
    return count;
}

/* Whatever a host says of itself: names, CPU, features of a newer QEMU. */
START_TEST(hosts_write_no_markup)
{
    static const char evil[] = "</td><img src=x onerror='alert(1)'>\"<!--";
    autostrlist struct strlist lines = {0}, good = {0};
    autopair struct pair plain = pair_of(offer_of("a", "kvm", "avx lm smap x-new", ""),
                                         offer_of("b", "kvm", "avx lm", "smap"), "host", "host");
    gives(&plain, "avx lm");
    ck_assert(strlist_push(&good, "good") && strlist_push(&plain.report.warnings, "good"));
    autofree char *harmless = make(&plain, &good, "host");
    ck_assert(strlist_push(&lines, evil));
    free(plain.offers[0].host);
    ck_assert_ptr_nonnull(plain.offers[0].host = strdup(evil));
    snprintf(plain.offers[1].identity.model_id, CPU_MODEL_ID_SIZE, "%s", evil);
    for (size_t i = 0; i < plain.report.loss_count; i++) {
        free(plain.report.losses[i].hosts.items[0]);
        ck_assert_ptr_nonnull(plain.report.losses[i].hosts.items[0] = strdup(evil));
    }
    free(plain.baseline.model);
    ck_assert_ptr_nonnull(plain.baseline.model = strdup(evil));
    strlist_free(&plain.report.warnings);
    ck_assert(strlist_push(&plain.report.warnings, evil));
    autofree char *page = make(&plain, &lines, evil);
    ck_assert_ptr_null(strstr(page, "<img"));
    ck_assert_ptr_null(strstr(page, "onerror='"));
    ck_assert_ptr_null(strstr(page, "<!--"));
    ck_assert_uint_gt(count_of(page, "&lt;/td&gt;&lt;img src=x onerror=&#39;"), 8);
    /* no more cells and rows than the same page of honest hosts */
    static const char *const tags[] = {"<td", "</td>", "<tr", "<table", "<section", "<script"};
    for (size_t i = 0; i < COUNT(tags); i++)
        ck_assert_msg(count_of(page, tags[i]) == count_of(harmless, tags[i]), "%s", tags[i]);
}
END_TEST

START_TEST(same_data_same_page)
{
    autostrlist struct strlist none = {0};
    autopair struct pair pair = pair_of(offer_of("a", "kvm", "adx avx lm smap vmx", ""),
                                        offer_of("b", "kvm", "avx lm", "adx smap"), "host", "host");
    gives(&pair, "avx lm");
    autofree char *page = make(&pair, &none, "host"), *again = make(&pair, &none, "host");
    ck_assert_str_eq(page, again);
    ck_assert_ptr_nonnull(strstr(page, "style-src 'sha256-" BASELINE_PAGE_STYLE_SHA256 "'"));
    const char *smap = strstr(page, "<tr class=\"c-security w-cpu\"");
    const char *adx = strstr(page, "<tr class=\"c-other w-cpu\"");
    const char *vmx = strstr(page, "<tr class=\"c-nested w-qemu\"");
    ck_assert(smap && adx && vmx && smap < adx && adx < vmx);
    ck_assert_ptr_null(strstr(page, "<script"));
    ck_assert_ptr_null(strstr(page, "http:"));
    ck_assert_ptr_null(strstr(page, "https:"));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {escapes,
                                  escapes_all_bytes,
                                  classes,
                                  policy_allows_the_style,
                                  hosts_write_no_markup,
                                  same_data_same_page};
    return unit_run("page", tests, COUNT(tests));
}
