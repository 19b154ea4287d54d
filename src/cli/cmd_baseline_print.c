/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/columns.h"
#include "cli/cmd_baseline.h"
#include "cli/compat_tell.h"
#include "cli/layout.h"
#include "cli/losses.h"
#include "cpu/feature_table.h"

#define INDENT 4 /* of what goes on on another line */

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
        if (!put_wrapped(line, INDENT, err))
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
        if (!put_wrapped(line, INDENT, err))
            return false;
    }
    return true;
}

static bool put_labelled(const char *label, const char *text, struct error *err)
{
    autofree char *line = string_format("%s: %s", label, text);
    return line ? put_wrapped(line, INDENT, err) : error_no_memory(err);
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

/* "a: -cpu VALUE", or on a terminal "a, b:" and below that "-cpu VALUE" when it is that of both. */
static bool print_cpu(const struct baseline_command *command, size_t index, bool together,
                      struct error *err)
{
    const char *cpu = command->cpus.items[index];
    autostrbuf struct strbuf label = {0};
    size_t count = 0;
    for (size_t i = index; i < command->count; i++)
        if (i == index || (together && strcmp(command->cpus.items[i], cpu) == 0))
            strbuf_printf(&label, "%s%s", count++ > 0 ? ", " : "", command->offers[i]->host);
    strbuf_puts(&label, count > 1 ? ":" : ": -cpu ");
    if (label.failed)
        return error_no_memory(err);
    if (count > 1 && !put_wrapped(label.data, INDENT, err))
        return false;
    return put_argument(count > 1 ? "    -cpu " : label.data, cpu, cpu, err);
}

static bool print_cpus(const struct baseline_command *command, struct error *err)
{
    bool together = columns_of(STDOUT_FILENO) > 0;
    for (size_t i = 0; i < command->count; i++) {
        size_t first = 0;
        while (strcmp(command->cpus.items[first], command->cpus.items[i]) != 0)
            first++;
        if ((first == i || !together) && !print_cpu(command, i, together, err))
            return false;
    }
    return true;
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
    if (!print_meanings(command, err) || !baseline_print_losses(command, err) ||
        !put_wrapped(summary, INDENT, err) || !print_costs(command, err) ||
        !print_devices(command, err))
        return false;
    for (size_t i = 0; i < command->report.warnings.count; i++) {
        autofree char *line = string_format("warning: %s", command->report.warnings.items[i]);
        if (!line)
            return error_no_memory(err);
        if (!put_wrapped(line, INDENT, err))
            return false;
    }
    return print_cpus(command, err);
}
