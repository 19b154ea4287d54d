/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/losses.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cpu/feature_table.h"

json_t *losses_to_json(const struct baseline_report *report)
{
    autojson json_t *array = json_array();
    for (size_t i = 0; i < report->loss_count; i++) {
        const struct loss *loss = &report->losses[i];
        autojson json_t *missing = json_array();
        for (size_t h = 0; h < loss->hosts.count; h++)
            if (json_array_append_new(missing,
                                      json_pack("{s:s, s:s}", "host", loss->hosts.items[h], "why",
                                                loss_cause_name(loss->causes[h]))) != 0)
                return NULL;
        if (json_array_append_new(array, json_pack("{s:s, s:O, s:b}", "feature", loss->feature,
                                                   "missing_on", missing, "security",
                                                   (int)loss->security)) != 0)
            return NULL;
    }
    return STEAL(array);
}

/* The hosts that lack it, and why: "b: policy". */
static char *describe_lack(const struct loss *loss)
{
    autostrbuf struct strbuf text = {0};
    for (size_t i = 0; i < loss->hosts.count; i++)
        strbuf_printf(&text, "%s%s: %s", i > 0 ? ", " : "", loss->hosts.items[i],
                      loss_cause_name(loss->causes[i]));
    return strbuf_steal(&text);
}

static bool same_lack(const struct loss *a, const struct loss *b)
{
    if (a->security != b->security || a->hosts.count != b->hosts.count)
        return false;
    for (size_t i = 0; i < a->hosts.count; i++)
        if (strcmp(a->hosts.items[i], b->hosts.items[i]) != 0 || a->causes[i] != b->causes[i])
            return false;
    return true;
}

static bool told_before(const struct baseline_report *report, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (same_lack(&report->losses[i], &report->losses[index]))
            return true;
    return false;
}

static void log_losses(const struct baseline_report *report)
{
    for (size_t i = 0; i < report->loss_count; i++) {
        const struct loss *loss = &report->losses[i];
        if (loss->security || told_before(report, i))
            continue;
        autofree char *who = describe_lack(loss);
        autostrbuf struct strbuf names = {0};
        for (size_t k = i; k < report->loss_count; k++)
            if (same_lack(&report->losses[k], loss))
                strbuf_printf(&names, " %s", report->losses[k].feature);
        log_info("lost (%s):%s", who ? who : "", names.data ? names.data : "");
    }
}

void losses_log(const struct baseline_report *report, const char *const hosts[], size_t count)
{
    for (size_t i = 0; i < report->loss_count; i++) {
        const struct loss *loss = &report->losses[i];
        const struct feature *feature = feature_find(loss->feature);
        autofree char *who = loss->security ? describe_lack(loss) : NULL;
        if (loss->security)
            log_warning("SECURITY feature %s is lost (%s): %s", loss->feature, who ? who : "",
                        feature && feature->loss ? feature->loss : "");
    }
    log_losses(report);
    for (size_t i = 0; i < count && count > 2; i++) {
        autostrlist struct strlist names = {0};
        if (!baseline_report_cost(report, hosts[i], &names, NULL) || names.count == 0)
            continue;
        autofree char *list = strlist_join(&names, " ");
        log_info("%s alone costs %zu: %s", hosts[i], names.count, list ? list : "");
    }
    for (size_t i = 0; i < report->warnings.count; i++)
        log_warning("%s", report->warnings.items[i]);
}
