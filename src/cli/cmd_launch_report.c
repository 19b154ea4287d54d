/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/cmd_launch.h"
#include "cli/losses.h"

void launch_report(const struct exchange *exchange)
{
    const struct agreement *agreement = &exchange->agreement;
    const struct baseline *baseline = &agreement->baseline;
    log_info("%s: agreed with %s on %s, %zu features, %s", agreement->vm, exchange->peer.name,
             agreement->machine, featureset_count(&baseline->features),
             baseline->model ? baseline->model : "no CPU model is like them");
    const char *const hosts[] = {exchange->profile.offer.host, exchange->peer.profile.offer.host};
    losses_log(&exchange->report, hosts, 2);
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
