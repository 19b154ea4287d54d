/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/cmd_launch.h"
#include "cli/compat_tell.h"
#include "cli/losses.h"
#include "device/device_report.h"

/* The names of all hosts whose profiles count, this one first; the caller frees the array. */
static const char **list_hosts(const struct exchange *exchange, size_t *count)
{
    const char **hosts = calloc(1 + exchange->peer_count + exchange->assumed_count, sizeof(*hosts));
    if (!hosts)
        return NULL;
    hosts[0] = exchange->profile.offer.host;
    *count = 1;
    for (size_t i = 0; i < exchange->peer_count; i++)
        hosts[(*count)++] = exchange->peers[i].host;
    for (size_t i = 0; i < exchange->assumed_count; i++)
        hosts[(*count)++] = exchange->assumed[i].profile.offer.host;
    return hosts;
}

/* What is known of their QEMUs' machine type; the caller frees it. */
static struct device_host *list_machines(const struct exchange *exchange, size_t *count)
{
    const char *machine = exchange->agreement.machine;
    struct device_host *hosts =
        calloc(1 + exchange->peer_count + exchange->assumed_count, sizeof(*hosts));
    *count = 0;
    if (!hosts)
        return NULL;
    hosts[(*count)++] = compat_host(&exchange->profile, machine);
    for (size_t i = 0; i < exchange->peer_count; i++)
        hosts[(*count)++] = compat_host(&exchange->peers[i].profile, machine);
    for (size_t i = 0; i < exchange->assumed_count; i++)
        hosts[(*count)++] = compat_host(&exchange->assumed[i].profile, machine);
    return hosts;
}

/* What one agreement has and the other has not. */
static void report_change(const char *vm, const char *what, const struct featureset *more,
                          const struct featureset *less)
{
    autofeatureset struct featureset names = {0};
    autostrbuf struct strbuf text = {0};
    struct featureset_cursor cursor = {0};
    if (!featureset_copy(&names, more))
        return;
    featureset_subtract(&names, less);
    for (const char *name; (name = featureset_next(&names, &cursor));)
        strbuf_printf(&text, " %s", name);
    if (text.length > 0)
        log_info("%s: against the agreement before it %s:%s", vm, what, text.data);
}

static void report_former(const struct agreement *agreement, const struct agreement *former)
{
    if (!former->vm)
        return;
    report_change(agreement->vm, "gains", &agreement->baseline.features,
                  &former->baseline.features);
    report_change(agreement->vm, "loses", &former->baseline.features,
                  &agreement->baseline.features);
    if (strcmp(agreement->machine, former->machine) != 0)
        log_info("%s: against the agreement before it has %s, not %s", agreement->vm,
                 agreement->machine, former->machine);
}

static void report_devices(const struct device_report *report)
{
    autostrlist struct strlist lost = {0}, unknown = {0};
    if (!device_report_losses(report, &lost, NULL) ||
        !device_report_unknown(report, &unknown, NULL))
        return;
    for (size_t i = 0; i < lost.count; i++)
        log_info("devices: off: %s", lost.items[i]);
    for (size_t i = 0; i < unknown.count; i++)
        log_warning("devices: not known, and nothing is switched off for it: %s", unknown.items[i]);
}

void launch_report(const struct exchange *exchange, const struct agreement *former)
{
    const struct agreement *agreement = &exchange->agreement;
    const struct baseline *baseline = &agreement->baseline;
    autofree char *names = exchange_peer_names(exchange);
    size_t count = 0, machine_count;
    autofree const char **hosts = list_hosts(exchange, &count);
    autofree struct device_host *machines = list_machines(exchange, &machine_count);
    log_info("%s: agreed with %s on %s, %zu features, %s", agreement->vm,
             names && *names ? names : "nobody else", agreement->machine,
             featureset_count(&baseline->features),
             baseline->model ? baseline->model : "no CPU model is like them");
    for (size_t i = 0; i < agreement->assumed_count; i++)
        log_info("%s: %s was not asked: it has to prove before the guest can go there",
                 agreement->vm, agreement->assumed[i].host);
    if (hosts)
        losses_log(&exchange->report, hosts, count);
    report_devices(&exchange->device_report);
    if (machines)
        compat_log(agreement->machine, machines, machine_count);
    report_former(agreement, former);
    if (!agreement->proof.made)
        log_warning("nobody has looked whether a guest sees the same CPU on %s (--no-proof)",
                    agreement->party_count > 2 ? "all" : "both");
    for (size_t i = 0; i < exchange->doubts.count; i++)
        log_warning("%s", exchange->doubts.items[i]);
}

/* What was proven: null without a proof. */
static json_t *proof_document(const struct agreement_proof *proof, const struct guest_table *table,
                              const struct strlist *doubts)
{
    char digest[DIGEST_HEX_SIZE];
    if (!proof->made)
        return json_null();
    if (!guest_table_digest(table, digest, NULL))
        return NULL;
    return json_pack("{s:s, s:o, s:o, s:o}", "table", digest, "accepted",
                     json_from_names(&proof->accepted), "masked",
                     featureset_to_json(&proof->masked), "doubts", json_from_names(doubts));
}

/* hosts, dropped, devices, compat and proof are used up. */
static json_t *make_document(const struct agreement *agreement, const char *digest, json_t *hosts,
                             json_t *dropped, json_t *devices, json_t *compat, json_t *proof,
                             const struct strlist *argv, struct error *err)
{
    const struct baseline *baseline = &agreement->baseline;
    json_t *document = json_pack(
        "{s:s, s:o, s:o, s:o, s:s, s:s, s:o, s:o, s:s, s:o, s:o}", "vm", agreement->vm, "features",
        featureset_to_json(&baseline->features), "dropped", dropped, "devices", devices, "model",
        baseline->model ? baseline->model : "", "machine", agreement->machine, "hosts", hosts,
        "argv", json_from_names(argv), "agreement", digest, "proof", proof, "compat", compat);
    if (!document)
        error_no_memory(err);
    return document;
}

static bool add_host(json_t *hosts, const struct exchange *exchange, const struct cpu_offer *offer,
                     struct error *err)
{
    autofree char *cpu =
        render_cpu(&exchange->agreement.baseline, offer, exchange->agreement.form, err);
    if (!cpu)
        return false;
    return json_array_append_new(hosts, json_pack("{s:s, s:s}", "name", offer->host, "cpu", cpu)) ==
               0 ||
           error_no_memory(err);
}

/* Of one that is asked by a group only the own -cpu is known, and that of the asker. */
static json_t *hosts_document(const struct exchange *exchange, struct error *err)
{
    autojson json_t *hosts = json_array();
    if (!add_host(hosts, exchange, &exchange->profile.offer, err))
        return NULL;
    for (size_t i = 0; i < exchange->peer_count; i++)
        if (!add_host(hosts, exchange, &exchange->peers[i].profile.offer, err))
            return NULL;
    for (size_t i = 0; i < exchange->assumed_count; i++)
        if (!add_host(hosts, exchange, &exchange->assumed[i].profile.offer, err))
            return NULL;
    return STEAL(hosts);
}

json_t *launch_document(const struct exchange *exchange, const struct strlist *argv,
                        struct error *err)
{
    size_t count;
    autofree struct device_host *machines = list_machines(exchange, &count);
    json_t *hosts = machines ? hosts_document(exchange, err) : NULL;
    if (!machines)
        error_no_memory(err);
    return hosts ? make_document(&exchange->agreement, exchange->agreement_digest, hosts,
                                 losses_to_json(&exchange->report),
                                 device_report_to_json(&exchange->device_report),
                                 compat_document(machines, count),
                                 proof_document(&exchange->agreement.proof, &exchange->table,
                                                &exchange->doubts),
                                 argv, err)
                 : NULL;
}

json_t *launch_known_document(const struct agreement *agreement, const char *digest,
                              const char *host, const char *cpu, const struct strlist *argv,
                              struct error *err)
{
    static const struct strlist none = {0};
    const struct agreement_proof *proof = &agreement->proof;
    return make_document(agreement, digest, json_pack("[{s:s, s:s}]", "name", host, "cpu", cpu),
                         json_array(), json_pack("{s:[], s:[]}", "dropped", "unknown"),
                         json_pack("{s:[], s:[]}", "known", "differences"),
                         proof_document(proof, &proof->table, &none), argv, err);
}
