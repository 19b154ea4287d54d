/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "device/compat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

void compat_report_free(struct compat_report *report)
{
    for (size_t i = 0; i < report->count; i++)
        free(report->differences[i].values);
    free(report->differences);
    *report = (struct compat_report){0};
}

/* 1, 0, or -1: not a word for either. */
static int switch_value(const char *text)
{
    static const struct {
        const char *word;
        int value;
    } words[] = {{"on", 1},  {"yes", 1}, {"true", 1},  {"y", 1},
                 {"off", 0}, {"no", 0},  {"false", 0}, {"n", 0}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(text, words[i].word) == 0)
            return words[i].value;
    return -1;
}

static bool number_value(const char *text, long long *value)
{
    char *end = NULL;
    errno = 0;
    *value = strtoll(text, &end, 0);
    return errno == 0 && end != text && !*end;
}

bool compat_same_value(const char *one, const char *other)
{
    long long left, right;
    if (strcmp(one, other) == 0)
        return true;
    if (number_value(one, &left) && number_value(other, &right))
        return left == right;
    return switch_value(one) >= 0 && switch_value(one) == switch_value(other);
}

/* No qemu-system-x86_64 has a type that begins so. */
static bool is_foreign(const char *driver)
{
    static const char *const beginnings[] = {"arm-", "s390-", "spapr-", "riscv-"};
    for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++)
        if (string_starts_with(driver, beginnings[i]))
            return true;
    return false;
}

/* One entry of one host. */
struct line {
    const struct compat_entry *entry;
    size_t host, order;
};

static int compare_keys(const struct line *a, const struct line *b)
{
    int order = strcmp(a->entry->driver, b->entry->driver);
    return order ? order : strcmp(a->entry->property, b->entry->property);
}

static int compare_lines(const void *a, const void *b)
{
    const struct line *left = a, *right = b;
    int order = compare_keys(left, right);
    if (order)
        return order;
    if (left->host != right->host)
        return left->host < right->host ? -1 : 1;
    return left->order < right->order ? -1 : left->order > right->order;
}

/* All entries of all hosts, those for one property together, a host's in their order. */
static struct line *gather(const struct device_host *hosts, size_t count, size_t *line_count)
{
    size_t most = 0;
    for (size_t i = 0; i < count; i++)
        most += hosts[i].offer->compat_count;
    struct line *lines = calloc(most + 1, sizeof(*lines));
    *line_count = 0;
    for (size_t i = 0; lines && i < count; i++)
        for (size_t k = 0; k < hosts[i].offer->compat_count; k++)
            if (!is_foreign(hosts[i].offer->compat[k].driver))
                lines[(*line_count)++] = (struct line){&hosts[i].offer->compat[k], i, k};
    if (lines)
        qsort(lines, *line_count, sizeof(*lines), compare_lines);
    return lines;
}

/* Are there two values, or one and a known host without? */
static bool differs(const struct device_host *hosts, size_t count, const char *const *values,
                    bool *contrary)
{
    const char *first = NULL;
    bool missing = false;
    *contrary = false;
    for (size_t i = 0; i < count; i++) {
        if (!values[i])
            missing = missing || hosts[i].offer->compat_known;
        else if (first)
            *contrary = *contrary || !compat_same_value(first, values[i]);
        else
            first = values[i];
    }
    return missing || *contrary;
}

bool compat_compare(const struct device_host *hosts, size_t count, struct compat_report *out,
                    struct error *err)
{
    autocompatreport struct compat_report report = {0};
    size_t line_count;
    autofree struct line *lines = gather(hosts, count, &line_count);
    if (!lines || !(report.differences = calloc(line_count + 1, sizeof(*report.differences))))
        return error_no_memory(err);
    for (size_t i = 0; i < count; i++)
        report.known += hosts[i].offer->compat_known;
    for (size_t i = 0, next; i < line_count; i = next) {
        autofree const char **values = calloc(count, sizeof(*values));
        bool contrary;
        if (!values)
            return error_no_memory(err);
        for (next = i; next < line_count && compare_keys(&lines[i], &lines[next]) == 0; next++)
            values[lines[next].host] = lines[next].entry->value;
        if (differs(hosts, count, values, &contrary))
            report.differences[report.count++] = (struct compat_difference){
                lines[i].entry->driver, lines[i].entry->property, STEAL(values), contrary};
    }
    *out = report;
    report = (struct compat_report){0};
    return true;
}

char *compat_describe(const struct compat_difference *difference, const struct device_host *hosts,
                      size_t count)
{
    autostrbuf struct strbuf text = {0};
    const char *between = " is ";
    strbuf_printf(&text, "%s.%s", difference->driver, difference->property);
    for (size_t i = 0; i < count; i++)
        if (difference->values[i]) {
            strbuf_printf(&text, "%s%s on %s", between, difference->values[i], hosts[i].name);
            between = ", ";
        }
    between = "; not set on ";
    for (size_t i = 0; i < count; i++)
        if (!difference->values[i] && hosts[i].offer->compat_known) {
            strbuf_printf(&text, "%s%s", between, hosts[i].name);
            between = ", ";
        }
    return strbuf_steal(&text);
}

static json_t *values_to_json(const struct compat_difference *difference,
                              const struct device_host *hosts, size_t count)
{
    autojson json_t *values = json_object();
    for (size_t i = 0; i < count; i++) {
        const char *value = difference->values[i];
        if (hosts[i].offer->compat_known &&
            json_object_set_new(values, hosts[i].name, value ? json_string(value) : json_null()) !=
                0)
            return NULL;
    }
    return STEAL(values);
}

json_t *compat_report_to_json(const struct compat_report *report, const struct device_host *hosts,
                              size_t count)
{
    autojson json_t *known = json_array(), *differences = json_array();
    for (size_t i = 0; i < count; i++)
        if (hosts[i].offer->compat_known &&
            json_array_append_new(known, json_string(hosts[i].name)) != 0)
            return NULL;
    for (size_t i = 0; i < report->count; i++) {
        const struct compat_difference *difference = &report->differences[i];
        if (json_array_append_new(differences,
                                  json_pack("{s:s, s:s, s:b, s:o}", "driver", difference->driver,
                                            "property", difference->property, "contrary",
                                            (int)difference->contrary, "values",
                                            values_to_json(difference, hosts, count))) != 0)
            return NULL;
    }
    return json_pack("{s:O, s:O}", "known", known, "differences", differences);
}
