/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What several QEMUs set to make one machine type, compared.
 */
#include "base/file.h"
#include "device/compat.h"
#include "unit.h"

START_TEST(same_values)
{
    static const struct {
        const char *one, *other;
        bool same;
    } rows[] = {
        {"on", "on", true},
        {"on", "true", true},
        {"off", "false", true},
        {"on", "off", false},
        {"yes", "y", true},
        {"no", "n", true},
        {"16", "0x10", true},
        {"16", "17", false},
        {"1", "on", false},
        {"0", "off", false},
        {"", "", true},
        {"", "0", false},
        {"cp437", "437", false},
        {"ON", "on", false},
        {"-1", "-1", true},
        {"16 ", "16", false},
        {"8", "010", true},
        {"auto", "on", false},
        {"auto", "auto", true},
        {"1k", "1", false},
        {"99999999999999999999", "99999999999999999998", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        ck_assert_msg(compat_same_value(rows[i].one, rows[i].other) == rows[i].same, "%s %s",
                      rows[i].one, rows[i].other);
        ck_assert(compat_same_value(rows[i].other, rows[i].one) == rows[i].same);
    }
}
END_TEST

/* "DRIVER PROPERTY VALUE,…" */
static struct device_offer offer_of(const char *text)
{
    struct device_offer offer = {.table = BACKEND_TABLE_VERSION, .compat_known = text != NULL};
    autostrlist struct strlist lines = {0};
    ck_assert(!text || strlist_split(&lines, text, ','));
    for (size_t i = 0; i < lines.count; i++) {
        autostrlist struct strlist words = {0};
        ck_assert(strlist_split(&words, lines.items[i], ' '));
        ck_assert_uint_eq(words.count, 3);
        ck_assert(device_offer_add_compat(&offer, words.items[0], words.items[1], words.items[2]));
    }
    return offer;
}

/* Each difference as a line, contrary ones with a '!'. */
static char *compare(const struct device_offer *offers, size_t count)
{
    static const char *const names[] = {"a", "b", "c"};
    struct device_host hosts[3];
    autocompatreport struct compat_report report = {0};
    autostrlist struct strlist lines = {0};
    for (size_t i = 0; i < count; i++)
        hosts[i] = (struct device_host){names[i], &offers[i]};
    MUST(compat_compare(hosts, count, &report, &err));
    for (size_t i = 0; i < report.count; i++) {
        autofree char *line = compat_describe(&report.differences[i], hosts, count);
        ck_assert(strlist_pushf(&lines, "%s%s", report.differences[i].contrary ? "! " : "", line));
    }
    char *text = strlist_join(&lines, "\n");
    ck_assert_ptr_nonnull(text);
    return text;
}

START_TEST(what_differs)
{
    static const struct {
        const char *offers[3], *found;
    } rows[] = {
        {{"", "", ""}, ""},
        {{NULL, NULL, NULL}, ""},
        {{"x p on", "x p on", "x p true"}, ""},
        {{"x p on", NULL, NULL}, ""},
        {{"x p on", NULL, "x p on"}, ""},
        {{"x p on", "", NULL}, "x.p is on on a; not set on b"},
        {{"", "x p on", ""}, "x.p is on on b; not set on a, c"},
        {{"x p on", NULL, "x p off"}, "! x.p is on on a, off on c"},
        {{"x p 1", "x p 2", ""}, "! x.p is 1 on a, 2 on b; not set on c"},
        /* the later value of a host counts, in whatever order the others stand */
        {{"x p 1,x q 5,x p 2", "x q 5,x p 2", "x p 7,x p 2,x q 5"}, ""},
        {{"x p 2,x p 1", "x p 1,x p 2", NULL}, "! x.p is 1 on a, 2 on b"},
        {{"y p 1,x q 1,x p 1", "", NULL},
         "x.p is 1 on a; not set on b\nx.q is 1 on a; not set on b\ny.p is 1 on a; not set on b"},
        {{"arm-cpu p 1,arm p 1", "arm-cpu p 2", ""}, "arm.p is 1 on a; not set on b, c"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct device_offer offers[3];
        for (size_t k = 0; k < 3; k++)
            offers[k] = offer_of(rows[i].offers[k]);
        autofree char *found = compare(offers, 3);
        ck_assert_str_eq(found, rows[i].found);
        for (size_t k = 0; k < 3; k++)
            device_offer_free(&offers[k]);
    }
}
END_TEST

static struct device_offer recorded(const char *version)
{
    autofree char *path = string_format("%s/devices/compat-%s.json", TEST_DATA, version);
    autofree char *text = NULL;
    size_t length, i;
    json_t *entry;
    MUST(file_read(path, 65536, false, &text, &length, &err));
    autojson json_t *record = json_parse_strict(text, length, 65536, NULL);
    struct device_offer offer = {.table = BACKEND_TABLE_VERSION, .compat_known = true};
    ck_assert_ptr_nonnull(record);
    json_array_foreach(json_object_get(record, "compat"), i, entry)
    {
        const char *words[3];
        ck_assert_int_eq(json_unpack(entry, "[s, s, s]", &words[0], &words[1], &words[2]), 0);
        ck_assert(compat_entry_fits(words[0], words[1], words[2]));
        ck_assert(device_offer_add_compat(&offer, words[0], words[1], words[2]));
    }
    return offer;
}

/* pc-q35-9.0 of QEMU 10.0 and 11.1: the newer one sets what is new, and nothing is contrary. */
START_TEST(real_ones)
{
    autodeviceoffer struct device_offer old = recorded("10.0"), new = recorded("11.1");
    const struct device_host hosts[] = {{"old", &old}, {"new", &new}};
    autocompatreport struct compat_report report = {0};
    MUST(compat_compare(hosts, 2, &report, &err));
    ck_assert_uint_eq(old.compat_count, 25);
    ck_assert_uint_eq(new.compat_count, 54);
    ck_assert_uint_eq(report.known, 2);
    ck_assert_uint_eq(report.count, 23); /* 27 without arm-smmuv3's four */
    for (size_t i = 0; i < report.count; i++) {
        ck_assert(!report.differences[i].contrary);
        ck_assert_ptr_null(report.differences[i].values[0]);
        ck_assert_ptr_nonnull(report.differences[i].values[1]);
    }
    autojson json_t *json = compat_report_to_json(&report, hosts, 2);
    json_t *differences = json_object_get(json, "differences");
    ck_assert_uint_eq(json_array_size(differences), 23);
    autofree char *first = json_to_text(json_array_get(differences, 0));
    ck_assert_str_eq(first, "{\"contrary\":false,\"driver\":\"acpi-ged\",\"property\":"
                            "\"x-has-hest-addr\",\"values\":{\"new\":\"false\",\"old\":null}}");
    autofree char *known = json_to_text(json_object_get(json, "known"));
    ck_assert_str_eq(known, "[\"old\",\"new\"]");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {same_values, what_differs, real_ones};
    return unit_run("compat", tests, COUNT(tests));
}
