/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/cmd_baseline.h"
#include "cli/compat_tell.h"
#include "cli/losses.h"
#include "cpu/feature_table.h"

#define TABLE_WIDTH 80
#define NAME_WIDTH 36
#define MARK_WIDTH 8 /* "policy", "request" and a blank */

static json_t *hosts_to_json(const struct baseline_command *command)
{
    autojson json_t *hosts = json_array();
    for (size_t i = 0; i < command->count; i++)
        if (json_array_append_new(hosts, json_pack("{s:s, s:s}", "name", command->offers[i]->host,
                                                   "cpu", command->cpus.items[i])) != 0)
            return NULL;
    return STEAL(hosts);
}

static json_t *costs_to_json(const struct baseline_command *command)
{
    autojson json_t *costs = json_object();
    for (size_t i = 0; i < command->count; i++) {
        autostrlist struct strlist names = {0};
        if (!baseline_report_cost(&command->report, command->offers[i]->host, &names, NULL) ||
            json_object_set_new(costs, command->offers[i]->host, json_from_names(&names)) != 0)
            return NULL;
    }
    return STEAL(costs);
}

json_t *baseline_document(const struct baseline_command *command)
{
    const struct baseline *baseline = &command->baseline;
    return json_pack(
        "{s:o, s:o, s:s, s:s, s:o, s:o, s:o, s:s, s:o, s:o, s:o}", "features",
        featureset_to_json(&baseline->features), "dropped", losses_to_json(&command->report),
        "model", baseline->model ? baseline->model : "", "machine",
        command->machine_chosen ? command->machine_chosen : "", "hosts", hosts_to_json(command),
        "costs", costs_to_json(command), "warnings", json_from_names(&command->report.warnings),
        "form", cpu_form_name(command->form), "devices", device_report_to_json(&command->devices),
        "migration", device_capabilities_to_json(command->hosts, command->count), "compat",
        compat_document(command->machines, command->count));
}

/* Why the host lacks the feature, or "yes". */
static const char *mark(const struct loss *loss, const char *host)
{
    for (size_t i = 0; i < loss->hosts.count; i++)
        if (strcmp(loss->hosts.items[i], host) == 0)
            return loss_cause_name(loss->causes[i]);
    return "yes";
}

static void put_cell(struct strbuf *line, const char *text, size_t width)
{
    size_t length = strlen(text);
    size_t shown = length < width ? length : width - 1;
    strbuf_add(line, text, shown);
    for (; shown < width; shown++)
        strbuf_puts(line, " ");
}

static bool put_row(struct strbuf *line, struct error *err)
{
    while (line->length > 0 && line->data[line->length - 1] == ' ')
        line->data[--line->length] = '\0';
    bool good = line->failed ? error_no_memory(err) : put_line(line->data ? line->data : "", err);
    line->length = 0;
    return good;
}

/* Where names do not fit, numbers head the columns, with a line for each. */
static size_t column_width(const struct baseline_command *command)
{
    size_t width = MARK_WIDTH;
    for (size_t i = 0; i < command->count; i++) {
        size_t length = strlen(command->offers[i]->host) + 2;
        if (length > width)
            width = length;
    }
    return NAME_WIDTH + width * command->count <= TABLE_WIDTH ? width : 0;
}

static bool print_header(const struct baseline_command *command, size_t width, struct error *err)
{
    autostrbuf struct strbuf line = {0};
    for (size_t i = 0; i < command->count && width == 0; i++) {
        strbuf_printf(&line, "[%zu] %s", i + 1, command->offers[i]->host);
        if (!put_row(&line, err))
            return false;
    }
    put_cell(&line, "FEATURE", NAME_WIDTH);
    for (size_t i = 0; i < command->count; i++) {
        autofree char *number = string_format("[%zu]", i + 1);
        put_cell(&line,
                 width > 0 ? command->offers[i]->host
                 : number  ? number
                           : "",
                 width > 0 ? width : MARK_WIDTH);
    }
    return put_row(&line, err);
}

static bool print_losses(const struct baseline_command *command, struct error *err)
{
    size_t width = column_width(command);
    autostrbuf struct strbuf line = {0};
    if (command->report.loss_count == 0)
        return put_line("The hosts give a guest the same features.", err);
    if (!print_header(command, width, err))
        return false;
    for (size_t i = 0; i < command->report.loss_count; i++) {
        const struct loss *loss = &command->report.losses[i];
        const char *start = !loss->security ? "" : color_start(command->context, COLOR_RED);
        strbuf_puts(&line, start);
        put_cell(&line, loss->feature, NAME_WIDTH);
        if (*start)
            strbuf_puts(&line, color_end());
        for (size_t h = 0; h < command->count; h++)
            put_cell(&line, mark(loss, command->offers[h]->host), width > 0 ? width : MARK_WIDTH);
        if (!put_row(&line, err))
            return false;
    }
    return true;
}

static bool print_meanings(const struct baseline_command *command, struct error *err)
{
    for (size_t i = 0; i < command->report.loss_count; i++) {
        const struct loss *loss = &command->report.losses[i];
        const struct feature *feature = feature_find(loss->feature);
        if (!loss->security || !feature)
            continue;
        autofree char *line = string_format("SECURITY %s: %s", loss->feature, feature->loss);
        if (!line)
            return error_no_memory(err);
        if (!put_line(line, err))
            return false;
    }
    return true;
}

static bool print_costs(const struct baseline_command *command, struct error *err)
{
    for (size_t i = 0; i < command->count && command->count > 1; i++) {
        autostrlist struct strlist names = {0};
        if (!baseline_report_cost(&command->report, command->offers[i]->host, &names, err))
            return false;
        if (names.count == 0)
            continue;
        autofree char *list = strlist_join(&names, " ");
        autofree char *line = list ? string_format("%s alone costs %zu: %s",
                                                   command->offers[i]->host, names.count, list)
                                   : NULL;
        if (!line)
            return error_no_memory(err);
        if (!put_line(line, err))
            return false;
    }
    return true;
}

static bool put_labelled(const char *label, const char *text, struct error *err)
{
    autofree char *line = string_format("%s: %s", label, text);
    return line ? put_line(line, err) : error_no_memory(err);
}

static bool print_devices(const struct baseline_command *command, struct error *err)
{
    autostrlist struct strlist lost = {0}, unknown = {0};
    autofree char *migration = NULL;
    if (!device_report_losses(&command->devices, &lost, err) ||
        !device_report_unknown(&command->devices, &unknown, err) ||
        !device_capabilities_line(command->hosts, command->count, &migration, err))
        return false;
    for (size_t i = 0; i < lost.count; i++)
        if (!put_labelled("devices: off", lost.items[i], err))
            return false;
    for (size_t i = 0; i < unknown.count; i++)
        if (!put_labelled("devices: not known", unknown.items[i], err))
            return false;
    return !migration || put_labelled("migration", migration, err);
}

bool baseline_print(const struct baseline_command *command, struct error *err)
{
    const struct baseline *baseline = &command->baseline;
    autofree char *summary =
        string_format("%zu features for all%s%s%s%s.", featureset_count(&baseline->features),
                      baseline->model ? ", CPU model " : "", baseline->model ? baseline->model : "",
                      command->machine_chosen ? ", machine type " : "",
                      command->machine_chosen ? command->machine_chosen : "");
    if (!summary)
        return error_no_memory(err);
    if (!print_meanings(command, err) || !print_losses(command, err) || !put_line(summary, err) ||
        !print_costs(command, err) || !print_devices(command, err))
        return false;
    for (size_t i = 0; i < command->report.warnings.count; i++) {
        autofree char *line = string_format("warning: %s", command->report.warnings.items[i]);
        if (!line)
            return error_no_memory(err);
        if (!put_line(line, err))
            return false;
    }
    for (size_t i = 0; i < command->count; i++) {
        autofree char *line =
            string_format("%s: -cpu %s", command->offers[i]->host, command->cpus.items[i]);
        if (!line)
            return error_no_memory(err);
        if (!put_line(line, err))
            return false;
    }
    return true;
}
