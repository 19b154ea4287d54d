/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "doctor/finding.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define TEXT_MAX 4096

static const char *const names[SEVERITY_COUNT] = {
    [SEVERITY_OK] = "ok",
    [SEVERITY_NOTE] = "note",
    [SEVERITY_WARNING] = "warning",
    [SEVERITY_PROBLEM] = "problem",
};

const char *severity_name(enum severity severity)
{
    return names[severity];
}

static void finding_free(struct finding *finding)
{
    free(finding->check);
    free(finding->subject);
    free(finding->what);
    free(finding->remedy);
    free(finding->command);
}

void findings_free(struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++)
        finding_free(&findings->items[i]);
    free(findings->items);
    *findings = (struct findings){0};
}

static char *format_plain(const char *format, va_list arguments)
    __attribute__((format(printf, 1, 0)));

static char *format_plain(const char *format, va_list arguments)
{
    char *text = NULL;
    if (vasprintf(&text, format, arguments) < 0)
        return NULL;
    char *plain = string_plain(text, TEXT_MAX);
    free(text);
    return plain;
}

/* Used up, also when it does not fit. */
static void append(struct findings *findings, struct finding *finding)
{
    struct finding *items = NULL;
    if (!findings->failed && finding->check && finding->subject && finding->what)
        items = reallocarray(findings->items, findings->count + 1, sizeof(*items));
    if (!items) {
        findings->failed = true;
        finding_free(finding);
        return;
    }
    findings->items = items;
    items[findings->count++] = *finding;
}

void finding_add(struct findings *findings, enum severity severity, const char *subject,
                 const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    struct finding finding = {.severity = severity,
                              .check = strdup(findings->check ? findings->check : ""),
                              .subject = string_plain(subject, TEXT_MAX),
                              .what = format_plain(format, arguments)};
    va_end(arguments);
    append(findings, &finding);
}

void finding_remedy(struct findings *findings, const char *format, ...)
{
    if (findings->failed || findings->count == 0)
        return;
    struct finding *last = &findings->items[findings->count - 1];
    va_list arguments;
    va_start(arguments, format);
    free(last->remedy);
    last->remedy = format_plain(format, arguments);
    va_end(arguments);
    findings->failed = !last->remedy;
}

void finding_command(struct findings *findings, const char *format, ...)
{
    if (findings->failed || findings->count == 0)
        return;
    struct finding *last = &findings->items[findings->count - 1];
    autofree char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0) {
        text = NULL;
        findings->failed = true;
    } else if (text_is_plain(text)) {
        free(last->command);
        last->command = STEAL(text);
    }
}

size_t findings_count(const struct findings *findings, enum severity severity)
{
    size_t count = 0;
    for (size_t i = 0; i < findings->count; i++)
        count += findings->items[i].severity == severity;
    return count;
}

json_t *findings_to_json(const struct findings *findings)
{
    autojson json_t *list = json_array();
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *item = &findings->items[i];
        if (json_array_append_new(list,
                                  json_pack("{s:s, s:s, s:s, s:s, s:s?, s:s?}", "severity",
                                            names[item->severity], "check", item->check, "subject",
                                            item->subject, "what", item->what, "remedy",
                                            item->remedy, "command", item->command)) != 0)
            return NULL;
    }
    return list ? json_pack("{s:O, s:I, s:I}", "findings", list, "problems",
                            (json_int_t)findings_count(findings, SEVERITY_PROBLEM), "warnings",
                            (json_int_t)findings_count(findings, SEVERITY_WARNING))
                : NULL;
}

static bool take_one(json_t *json, struct findings *findings, struct error *err)
{
    const char *severity, *check, *subject, *what;
    json_t *remedy, *command;
    if (!json_take(json, err, "a finding", "{s:s, s:s, s:s, s:s, s:o, s:o}", "severity", &severity,
                   "check", &check, "subject", &subject, "what", &what, "remedy", &remedy,
                   "command", &command))
        return false;
    struct finding finding = {.severity = SEVERITY_COUNT};
    for (int i = 0; i < SEVERITY_COUNT; i++)
        if (strcmp(names[i], severity) == 0)
            finding.severity = (enum severity)i;
    if (finding.severity == SEVERITY_COUNT)
        return error_set(err, STATUS_DATA, "a finding: '%.40s' is no severity", severity);
    finding.check = strdup(check);
    finding.subject = strdup(subject);
    finding.what = strdup(what);
    finding.remedy = json_is_string(remedy) ? strdup(json_string_value(remedy)) : NULL;
    finding.command = json_is_string(command) ? strdup(json_string_value(command)) : NULL;
    append(findings, &finding);
    return !findings->failed || error_no_memory(err);
}

bool findings_from_json(json_t *json, struct findings *findings, struct error *err)
{
    json_t *list;
    json_int_t problems, warnings;
    if (!json_take(json, err, "findings", "{s:o, s:I, s:I}", "findings", &list, "problems",
                   &problems, "warnings", &warnings))
        return false;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!take_one(json_array_get(list, i), findings, err))
            return false;
    return json_is_array(list) || error_set(err, STATUS_DATA, "findings: not a list");
}
