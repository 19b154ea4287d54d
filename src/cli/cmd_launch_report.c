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
    if (!agreement->proof.made)
        log_warning("nobody has looked whether a guest sees the same CPU on both (--no-proof)");
    for (size_t i = 0; i < exchange->doubts.count; i++)
        log_warning("%s", exchange->doubts.items[i]);
}

/* What was proven: null without a proof. */
static json_t *proof_document(const struct exchange *exchange)
{
    const struct agreement_proof *proof = &exchange->agreement.proof;
    char digest[DIGEST_HEX_SIZE];
    if (!proof->made)
        return json_null();
    if (!guest_table_digest(&exchange->table, digest, NULL))
        return NULL;
    return json_pack(
        "{s:s, s:o, s:o, s:o}", "table", digest, "accepted", json_from_names(&proof->accepted),
        "masked", featureset_to_json(&proof->masked), "doubts", json_from_names(&exchange->doubts));
}

json_t *launch_document(const struct exchange *exchange, const char *cpu, const char *peer_cpu,
                        const struct strlist *argv)
{
    const struct baseline *baseline = &exchange->agreement.baseline;
    return json_pack("{s:s, s:o, s:o, s:s, s:s, s:[{s:s, s:s}, {s:s, s:s}], s:o, s:s, s:o}", "vm",
                     exchange->agreement.vm, "features", featureset_to_json(&baseline->features),
                     "dropped", losses_to_json(&exchange->report), "model",
                     baseline->model ? baseline->model : "", "machine", exchange->agreement.machine,
                     "hosts", "name", exchange->profile.offer.host, "cpu", cpu, "name",
                     exchange->peer.profile.offer.host, "cpu", peer_cpu, "argv",
                     json_from_names(argv), "agreement", exchange->agreement_digest, "proof",
                     proof_document(exchange));
}
