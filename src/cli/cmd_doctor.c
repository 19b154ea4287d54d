/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * `doctor`: what on this host would get in the way, and what to do about it.
 */
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/command.h"
#include "doctor/doctor.h"

#define WIDTH 80
#define INDENT 9 /* "problem" and two blanks */

const struct option_spec doctor_options[] = {
    {NULL, 0, ARGUMENT_NONE, NULL},
};

static enum severity shown_from(void)
{
    switch (log_get_level()) {
    case LOG_LEVEL_DEBUG:
        return SEVERITY_OK;
    case LOG_LEVEL_INFO:
        return SEVERITY_NOTE;
    default:
        return SEVERITY_WARNING;
    }
}

/* text in lines of WIDTH, which begin at `indent`, where the first one is already. A word that is
 * longer than a line stays whole. */
static void wrap(struct strbuf *out, const char *text, size_t indent)
{
    size_t column = indent;
    bool first = true;
    while (*text) {
        size_t length = strcspn(text, " ");
        if (!first && column + 1 + length > WIDTH) {
            strbuf_printf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (!first) {
            strbuf_puts(out, " ");
            column++;
        }
        strbuf_add(out, text, length);
        column += length;
        first = false;
        text += length + strspn(text + length, " ");
    }
}

static bool put_finding(const struct context *context, const struct finding *finding,
                        struct error *err)
{
    autostrbuf struct strbuf out = {0};
    autofree char *whole = string_format("%s: %s", finding->subject, finding->what);
    bool coloured = finding->severity >= SEVERITY_WARNING;
    const char *start =
        !coloured ? ""
                  : color_start(context,
                                finding->severity == SEVERITY_PROBLEM ? COLOR_RED : COLOR_YELLOW);
    if (!whole)
        return error_no_memory(err);
    strbuf_printf(&out, "%s%-*s%s", start, INDENT - 2, severity_name(finding->severity),
                  *start ? color_end() : "");
    strbuf_puts(&out, "  ");
    wrap(&out, whole, INDENT);
    if (finding->remedy) {
        strbuf_printf(&out, "\n%*s-> ", INDENT, "");
        wrap(&out, finding->remedy, INDENT + 3);
    }
    if (finding->command)
        strbuf_printf(&out, "\n%*s$ %s", INDENT, "", finding->command);
    return out.failed ? error_no_memory(err) : put_line(out.data, err);
}

static bool put_findings(const struct context *context, const struct findings *findings,
                         struct error *err)
{
    enum severity from = shown_from();
    for (int severity = SEVERITY_PROBLEM; severity >= (int)from; severity--)
        for (size_t i = 0; i < findings->count; i++)
            if ((int)findings->items[i].severity == severity &&
                !put_finding(context, &findings->items[i], err))
                return false;
    return findings_count(findings, SEVERITY_PROBLEM) + findings_count(findings, SEVERITY_WARNING) >
               0 ||
           put_line("nothing on this host gets in the way", err);
}

bool command_doctor(struct context *context, int count, char **words, struct error *err)
{
    struct operands operands;
    autofindings struct findings findings = {0};
    if (!command_options(context, count, words, doctor_options, NULL, &operands, err))
        return false;
    if (context->help || context->version)
        return true;
    if (operands.count > 0 || operands.rest_count >= 0)
        return error_set(err, STATUS_USAGE, "doctor takes no arguments");
    struct doctor_setup setup = {
        .paths = &context->paths, .config_file = context->config_file, .home = context->home};
    if (!doctor_examine(&setup, &findings, err))
        return false;
    if (!(context->json ? put_json(findings_to_json(&findings), err)
                        : put_findings(context, &findings, err)))
        return false;
    size_t problems = findings_count(&findings, SEVERITY_PROBLEM);
    return problems == 0 || error_set(err, STATUS_CONFIG, "%zu problem%s: see above what to do",
                                      problems, problems == 1 ? "" : "s");
}
