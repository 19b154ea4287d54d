/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/cmd_launch.h"

/* The hosts that lack it, and why: "b (policy)". */
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

/* Losses with the same cause stand in one line. */
static void report_losses(const struct baseline_report *report)
{
    for (size_t i = 0; i < report->loss_count; i++) {
        const struct loss *loss = &report->losses[i];
        bool told = false;
        for (size_t k = 0; k < i && !told; k++)
            told = same_lack(&report->losses[k], loss);
        if (told)
            continue;
        autofree char *who = describe_lack(loss);
        autostrbuf struct strbuf names = {0};
        for (size_t k = i; k < report->loss_count; k++)
            if (same_lack(&report->losses[k], loss))
                strbuf_printf(&names, " %s", report->losses[k].feature);
        if (loss->security)
            log_warning("SECURITY features lost (%s):%s", who, names.data);
        else
            log_info("lost (%s):%s", who, names.data);
    }
}

void launch_report(const struct exchange *exchange)
{
    const struct agreement *agreement = &exchange->agreement;
    const struct baseline *baseline = &agreement->baseline;
    log_info("%s: agreed with %s on %s, %zu features, %s", agreement->vm, exchange->peer.name,
             agreement->machine, featureset_count(&baseline->features),
             baseline->model ? baseline->model : "the best that both can give");
    for (size_t i = 0; i < exchange->report.warnings.count; i++)
        log_warning("%s", exchange->report.warnings.items[i]);
    report_losses(&exchange->report);
}

static json_t *losses_to_json(const struct baseline_report *report)
{
    autojson json_t *array = json_array();
    for (size_t i = 0; i < report->loss_count; i++) {
        const struct loss *loss = &report->losses[i];
        json_t *missing = json_array();
        for (size_t h = 0; h < loss->hosts.count; h++)
            json_array_append_new(missing, json_pack("{s:s, s:s}", "host", loss->hosts.items[h],
                                                     "why", loss_cause_name(loss->causes[h])));
        if (json_array_append_new(array, json_pack("{s:s, s:o, s:b}", "feature", loss->feature,
                                                   "missing_on", missing, "security",
                                                   (int)loss->security)) != 0)
            return NULL;
    }
    return STEAL(array);
}

json_t *launch_document(const struct exchange *exchange, const char *cpu, const char *peer_cpu,
                        const struct strlist *argv)
{
    const struct baseline *baseline = &exchange->agreement.baseline;
    return json_pack("{s:s, s:o, s:o, s:s, s:s, s:[{s:s, s:s}, {s:s, s:s}], s:o, s:s}", "vm",
                     exchange->agreement.vm, "features", featureset_to_json(&baseline->features),
                     "dropped", losses_to_json(&exchange->report), "model",
                     baseline->model ? baseline->model : "", "machine", exchange->agreement.machine,
                     "hosts", "name", exchange->profile.offer.host, "cpu", cpu, "name",
                     exchange->peer.profile.offer.host, "cpu", peer_cpu, "argv",
                     json_from_names(argv), "agreement", exchange->agreement_digest);
}
