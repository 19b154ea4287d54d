/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The agreement that both sides compute from what they exchanged.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vm/address_space.h"
#include "vm/exchange.h"

static bool fill_party(struct agreement_party *party, const char *host, const char *pin,
                       const char *nonce, const char *profile_digest,
                       const struct guest_table *table, enum vm_role role,
                       const struct cpu_request *request, struct error *err)
{
    if (table->count > 0 && !guest_table_digest(table, party->table, err))
        return false;
    memcpy(party->pin, pin, PIN_SIZE);
    memcpy(party->nonce, nonce, NONCE_SIZE);
    memcpy(party->profile, profile_digest, DIGEST_HEX_SIZE);
    party->role = role;
    if (!(party->host = strdup(host)))
        return error_no_memory(err);
    return cpu_request_copy(request, &party->request, err);
}

/* The guest must fit the address bits that all can give. */
static bool check_memory(const struct exchange *exchange, const struct baseline *baseline,
                         struct error *err)
{
    const struct exchange_self *self = exchange->self;
    const struct cpu_offer *mine = &exchange->profile.offer,
                           *theirs = &exchange->peer.profile.offer;
    unsigned needed;
    if (!address_space_bits(exchange->machine, self->memory, baseline->identity.vendor, &needed,
                            err))
        return false;
    if (baseline->phys_bits == 0 || needed <= baseline->phys_bits)
        return true;
    const char *host = theirs->phys_bits == baseline->phys_bits ? theirs->host
                       : mine->phys_bits == baseline->phys_bits ? mine->host
                                                                : "-cpu";
    return error_set(
        err, STATUS_INCOMPATIBLE,
        "the guest's memory (-m) needs %u physical address bits, and %s allows only %u", needed,
        host, baseline->phys_bits);
}

bool exchange_baseline(const struct exchange *exchange, struct baseline *baseline,
                       struct baseline_report *report, struct error *err)
{
    const struct exchange_self *self = exchange->self;
    const struct exchange_peer *peer = &exchange->peer;
    /* Parties stand in the order of their pins. */
    int mine = strcmp(self->identity->pin, peer->pin) < 0 ? 0 : 1;
    const struct cpu_offer *offers[2];
    const struct cpu_request *requests[2];
    offers[mine] = &exchange->profile.offer;
    offers[1 - mine] = &peer->profile.offer;
    requests[mine] = &exchange->request;
    requests[1 - mine] = &peer->request;
    return baseline_compute(offers, requests, 2, self->required, baseline, report, err) &&
           check_memory(exchange, baseline, err);
}

static bool fill_proof(const struct exchange *exchange, struct agreement_proof *proof,
                       struct error *err)
{
    proof->made = exchange->self->prove;
    const struct guest_table *table =
        exchange->proposing ? &exchange->table : &exchange->peer.table;
    for (size_t i = 0; i < exchange->accepted.count; i++)
        if (!strlist_push(&proof->accepted, exchange->accepted.items[i]))
            return error_no_memory(err);
    if (!featureset_unite(&proof->masked, &exchange->profile.offer.unshown) ||
        !featureset_unite(&proof->masked, &exchange->peer.profile.offer.unshown))
        return error_no_memory(err);
    return !proof->made || guest_table_copy(table, &proof->table) || error_no_memory(err);
}

bool exchange_agree(struct exchange *exchange, int64_t issued, struct error *err)
{
    const struct exchange_self *self = exchange->self;
    const struct exchange_peer *peer = &exchange->peer;
    if (exchange->step != (self->prove ? STEP_PROVEN : STEP_PROFILE))
        return error_set(err, STATUS_PROTOCOL, "a message out of order");
    int mine = strcmp(self->identity->pin, peer->pin) < 0 ? 0 : 1;
    autoagreement struct agreement agreement = {
        .issued = issued, .cpu_pm = self->cpu_pm, .form = self->form};
    agreement.vm = strdup(self->vm);
    agreement.machine = strdup(exchange->machine);
    agreement.kernel_irqchip = strdup(self->kernel_irqchip ? self->kernel_irqchip : "");
    agreement.parties = calloc(2, sizeof(*agreement.parties));
    if (!agreement.vm || !agreement.machine || !agreement.kernel_irqchip || !agreement.parties)
        return error_no_memory(err);
    agreement.party_count = 2;
    if (!fill_party(&agreement.parties[mine], self->config->host_name, self->identity->pin,
                    exchange->nonce, exchange->profile_digest, &exchange->table, self->role,
                    &exchange->request, err) ||
        !fill_party(&agreement.parties[1 - mine], peer->profile.offer.host, peer->pin, peer->nonce,
                    peer->profile_digest, &peer->table, peer->role, &peer->request, err) ||
        !exchange_baseline(exchange, &agreement.baseline, &exchange->report, err) ||
        !fill_proof(exchange, &agreement.proof, err))
        return false;
    agreement_free(&exchange->agreement);
    exchange->agreement = agreement;
    agreement = (struct agreement){0};
    exchange->step = STEP_AGREED;
    return true;
}
