/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The agreement that comes of what was exchanged: computed by the one who asks; by the one who is
 * asked computed, too, or, in a group, where it has not everybody's profile, checked.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cpu/feature_table.h"
#include "vm/address_space.h"
#include "vm/exchange.h"

/* One whose profile counts in the baseline; all borrowed. */
struct member {
    const char *pin;
    const struct cpu_offer *offer;
    const struct cpu_request *request;
};

static int compare_pins(const void *a, const void *b)
{
    return strcmp(((const struct member *)a)->pin, ((const struct member *)b)->pin);
}

/* All of them in the order of their pins; the caller frees the array. */
static struct member *list_members(const struct exchange *exchange, size_t *count,
                                   struct error *err)
{
    struct member *members =
        calloc(1 + exchange->peer_count + exchange->assumed_count, sizeof(*members));
    if (!members) {
        error_no_memory(err);
        return NULL;
    }
    members[0] = (struct member){exchange->self->identity->pin, &exchange->profile.offer,
                                 &exchange->request};
    *count = 1;
    for (size_t i = 0; i < exchange->peer_count; i++)
        members[(*count)++] = (struct member){
            exchange->peers[i].pin, &exchange->peers[i].profile.offer, &exchange->peers[i].request};
    /* Who is not asked wishes what all wish. */
    for (size_t i = 0; i < exchange->assumed_count; i++)
        members[(*count)++] = (struct member){
            exchange->assumed[i].pin, &exchange->assumed[i].profile.offer, &exchange->request};
    qsort(members, *count, sizeof(*members), compare_pins);
    return members;
}

/* The guest must fit the address bits that all can give. */
static bool check_memory(const struct exchange *exchange, const struct member *members,
                         size_t count, const struct baseline *baseline, struct error *err)
{
    const struct exchange_self *self = exchange->self;
    unsigned needed;
    if (!self->memory)
        return true;
    if (!address_space_bits(exchange->machine, self->memory, baseline->identity.vendor, &needed,
                            err))
        return false;
    if (baseline->phys_bits == 0 || needed <= baseline->phys_bits)
        return true;
    const char *host = "-cpu";
    for (size_t i = 0; i < count; i++)
        if (members[i].offer->phys_bits == baseline->phys_bits)
            host = members[i].offer->host;
    return error_set(
        err, STATUS_INCOMPATIBLE,
        "the guest's memory (-m) needs %u physical address bits, and %s allows only %u", needed,
        host, baseline->phys_bits);
}

static bool compute_baseline(const struct exchange *exchange, struct baseline *baseline,
                             struct baseline_report *report, struct error *err)
{
    size_t count = 0;
    autofree struct member *members = list_members(exchange, &count, err);
    if (!members)
        return false;
    autofree const struct cpu_offer **offers = calloc(count, sizeof(*offers));
    autofree const struct cpu_request **requests = calloc(count, sizeof(*requests));
    if (!offers || !requests)
        return error_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        offers[i] = members[i].offer;
        requests[i] = members[i].request;
    }
    return baseline_compute(offers, requests, count, exchange->self->required, baseline, report,
                            err) &&
           check_memory(exchange, members, count, baseline, err);
}

/* What this side's own command line demands; of an agent that is the asker's. */
static bool check_wishes(const struct exchange *exchange, const struct baseline *baseline,
                         struct error *err)
{
    const struct cpu_request *request = &exchange->request;
    const char *host = exchange->self->config->host_name;
    struct featureset_cursor required = {0}, off = {0}, on = {0};
    autojson json_t *wished = cpu_knobs_to_json(&request->knobs);
    autojson json_t *given = cpu_knobs_to_json(&baseline->knobs);
    if (!wished || !given)
        return error_no_memory(err);
    for (const char *name;
         exchange->self->required && (name = featureset_next(exchange->self->required, &required));)
        if (!featureset_has(&baseline->features, name))
            return error_set(err, STATUS_INCOMPATIBLE,
                             "%s is required on %s, and the guest would not have it", name, host);
    for (const char *name; (name = featureset_next(&request->off, &off));)
        if (featureset_has(&baseline->features, name))
            return error_set(err, STATUS_PROTOCOL,
                             "%s is switched off on %s, and the guest would have it", name, host);
    for (const char *name; request->enforce && (name = featureset_next(&request->on, &on));)
        if (!featureset_has(&baseline->features, name))
            return error_set(err, STATUS_INCOMPATIBLE,
                             "-cpu on %s enforces %s, and the guest would not have it", host, name);
    if (request->phys_bits > 0 && baseline->phys_bits > request->phys_bits)
        return error_set(err, STATUS_PROTOCOL,
                         "-cpu on %s allows %u physical address bits, and the guest would have %u",
                         host, request->phys_bits, baseline->phys_bits);
    if (request->model && (!baseline->model || strcmp(request->model, baseline->model) != 0))
        return error_set(err, STATUS_PROTOCOL, "%s asks for the CPU model %s, and it would be %s",
                         host, request->model, baseline->model ? baseline->model : "none");
    return json_equal(wished, given) ||
           error_set(err, STATUS_PROTOCOL, "other properties of the CPU than %s asks for", host);
}

/* Nobody tells this side what the others lack; that it is less safe is said all the same. */
static bool say_security(struct exchange *exchange, const struct baseline *baseline,
                         struct error *err)
{
    const struct cpu_offer *offer = &exchange->profile.offer;
    struct featureset_cursor cursor = {0};
    for (const char *name; (name = featureset_next(&offer->available, &cursor));)
        if (feature_is_security(name) && !featureset_has(&baseline->features, name) &&
            !featureset_has(&offer->denied, name) &&
            !featureset_has(&exchange->request.off, name) &&
            !strlist_pushf(&exchange->doubts,
                           "SECURITY feature lost: %s, which %s has and others have not", name,
                           offer->host))
            return error_no_memory(err);
    return true;
}

bool exchange_give_baseline(struct exchange *exchange, struct baseline *given, struct error *err)
{
    const struct exchange_self *self = exchange->self;
    const struct member mine = {self->identity->pin, &exchange->profile.offer, &exchange->request};
    if (!baseline_check(given, &exchange->profile.offer, err) ||
        !check_wishes(exchange, given, err) || !check_memory(exchange, &mine, 1, given, err))
        return error_wrap(err, "the CPU that %s proposes", exchange->peers[0].name);
    autojson json_t *before = exchange->is_given ? baseline_to_json(&exchange->given) : NULL;
    autojson json_t *now = baseline_to_json(given);
    if (before && now && json_equal(before, now))
        return true;
    exchange_prove_again(exchange);
    baseline_free(&exchange->given);
    exchange->given = *given;
    *given = (struct baseline){0};
    exchange->is_given = true;
    return true;
}

bool exchange_baseline(const struct exchange *exchange, struct baseline *baseline,
                       struct baseline_report *report, struct error *err)
{
    if (!exchange->is_given)
        return compute_baseline(exchange, baseline, report, err);
    baseline_free(baseline);
    return baseline_copy(&exchange->given, baseline, err);
}

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

static bool fill_self(const struct exchange *exchange, struct agreement_party *party,
                      struct error *err)
{
    return fill_party(party, exchange->self->config->host_name, exchange->self->identity->pin,
                      exchange->nonce, exchange->profile_digest, &exchange->table,
                      exchange->self->role, &exchange->request, err);
}

static int compare_parties(const void *a, const void *b)
{
    return strcmp(((const struct agreement_party *)a)->pin,
                  ((const struct agreement_party *)b)->pin);
}

static int compare_assumed(const void *a, const void *b)
{
    return strcmp(((const struct agreement_assumed *)a)->pin,
                  ((const struct agreement_assumed *)b)->pin);
}

static bool fill_parties(const struct exchange *exchange, struct agreement *agreement,
                         struct error *err)
{
    agreement->parties = calloc(1 + exchange->peer_count, sizeof(*agreement->parties));
    agreement->assumed = calloc(1 + exchange->assumed_count, sizeof(*agreement->assumed));
    if (!agreement->parties || !agreement->assumed)
        return error_no_memory(err);
    agreement->party_count = 1;
    if (!fill_self(exchange, &agreement->parties[0], err))
        return false;
    for (size_t i = 0; i < exchange->peer_count; i++) {
        const struct exchange_peer *peer = &exchange->peers[i];
        agreement->party_count++;
        if (!fill_party(&agreement->parties[1 + i], peer->host, peer->pin, peer->nonce,
                        peer->profile_digest, &peer->table, peer->role, &peer->request, err))
            return false;
    }
    for (size_t i = 0; i < exchange->assumed_count; i++) {
        const struct exchange_assumed *from = &exchange->assumed[i];
        struct agreement_assumed *assumed = &agreement->assumed[agreement->assumed_count];
        memcpy(assumed->pin, from->pin, PIN_SIZE);
        memcpy(assumed->profile, from->digest, DIGEST_HEX_SIZE);
        if (!(assumed->host = strdup(from->profile.offer.host)))
            return error_no_memory(err);
        agreement->assumed_count++;
    }
    qsort(agreement->parties, agreement->party_count, sizeof(*agreement->parties), compare_parties);
    qsort(agreement->assumed, agreement->assumed_count, sizeof(*agreement->assumed),
          compare_assumed);
    return true;
}

static bool fill_proof(const struct exchange *exchange, struct agreement_proof *proof,
                       struct error *err)
{
    proof->made = exchange->prove;
    const struct guest_table *table =
        exchange->proposing ? &exchange->table : &exchange->peers[0].table;
    for (size_t i = 0; i < exchange->accepted.count; i++)
        if (!strlist_push(&proof->accepted, exchange->accepted.items[i]))
            return error_no_memory(err);
    if (!featureset_unite(&proof->masked, &exchange->profile.offer.unshown))
        return error_no_memory(err);
    for (size_t i = 0; i < exchange->peer_count; i++)
        if (!featureset_unite(&proof->masked, &exchange->peers[i].profile.offer.unshown))
            return error_no_memory(err);
    return !proof->made || guest_table_copy(table, &proof->table) || error_no_memory(err);
}

bool exchange_agree(struct exchange *exchange, int64_t issued, struct error *err)
{
    if (exchange->step != (exchange->prove ? STEP_PROVEN : STEP_PROFILE))
        return error_set(err, STATUS_PROTOCOL, "a message out of order");
    autoagreement struct agreement agreement = {
        .issued = issued, .cpu_pm = exchange->cpu_pm, .form = exchange->form};
    agreement.vm = strdup(exchange->vm);
    agreement.machine = strdup(exchange->machine);
    agreement.kernel_irqchip = strdup(exchange->kernel_irqchip);
    if (!agreement.vm || !agreement.machine || !agreement.kernel_irqchip)
        return error_no_memory(err);
    if (!fill_parties(exchange, &agreement, err) ||
        !exchange_baseline(exchange, &agreement.baseline, &exchange->report, err) ||
        !exchange_devices(exchange, &agreement.devices, &exchange->device_report, err) ||
        !fill_proof(exchange, &agreement.proof, err))
        return false;
    agreement_free(&exchange->agreement);
    exchange->agreement = agreement;
    agreement = (struct agreement){0};
    exchange->step = STEP_AGREED;
    return true;
}

static bool same_party(const struct agreement_party *a, const struct agreement_party *b)
{
    autojson json_t *mine = cpu_request_to_json(&a->request);
    autojson json_t *theirs = cpu_request_to_json(&b->request);
    return strcmp(a->host, b->host) == 0 && strcmp(a->pin, b->pin) == 0 &&
           strcmp(a->nonce, b->nonce) == 0 && strcmp(a->profile, b->profile) == 0 &&
           strcmp(a->table, b->table) == 0 && a->role == b->role && mine && theirs &&
           json_equal(mine, theirs);
}

/* All of a group's agreement that this host knows about. */
static bool is_ours(const struct exchange *exchange, const struct agreement *proposed)
{
    const struct exchange_peer *asker = &exchange->peers[0];
    struct agreement own __attribute__((cleanup(agreement_free))) = {0};
    own.parties = calloc(1, sizeof(*own.parties));
    if (!own.parties)
        return false;
    own.party_count = 1;
    const struct agreement_party *mine =
        agreement_find_party(proposed, exchange->self->identity->pin);
    const struct agreement_party *theirs = agreement_find_party(proposed, asker->pin);
    autojson json_t *baseline = baseline_to_json(&proposed->baseline);
    autojson json_t *given = baseline_to_json(&exchange->given);
    return mine && theirs && fill_self(exchange, &own.parties[0], NULL) &&
           same_party(&own.parties[0], mine) && strcmp(theirs->host, asker->host) == 0 &&
           strcmp(theirs->nonce, asker->nonce) == 0 &&
           strcmp(theirs->profile, asker->profile_digest) == 0 && theirs->role == asker->role &&
           strcmp(proposed->vm, exchange->vm) == 0 &&
           strcmp(proposed->machine, exchange->machine) == 0 &&
           strcmp(proposed->kernel_irqchip, exchange->kernel_irqchip) == 0 &&
           proposed->cpu_pm == exchange->cpu_pm && proposed->form == exchange->form && baseline &&
           given && json_equal(baseline, given);
}

static bool refuse_other(struct exchange *exchange, struct error *err)
{
    exchange->step = exchange->prove ? STEP_PROVEN : STEP_PROFILE;
    return error_set(err, STATUS_PROTOCOL,
                     exchange->is_given
                         ? "%s proposes another agreement than it was about with %s"
                         : "%s proposes another agreement than %s computes from the same profiles",
                     exchange->peers[0].name, exchange->self->config->host_name);
}

/* Without a proof, a group's baseline has not been told before. */
static bool take_untold(struct exchange *exchange, const struct agreement *proposed,
                        struct error *err)
{
    autobaseline struct baseline given = {0};
    if (exchange->prove || proposed->party_count + proposed->assumed_count == 2)
        return true;
    return baseline_copy(&proposed->baseline, &given, err) &&
           exchange_give_baseline(exchange, &given, err);
}

bool exchange_accept(struct exchange *exchange, json_t *payload, struct error *err)
{
    autoagreement struct agreement proposed = {0};
    if (exchange->step < STEP_PROFILE)
        return error_set(err, STATUS_PROTOCOL, "a message out of order");
    if (!agreement_from_json(payload, &proposed, err) ||
        !exchange_check_proof(exchange, &proposed.proof, err) ||
        !take_untold(exchange, &proposed, err))
        return false;
    if (exchange->is_given && proposed.party_count + proposed.assumed_count <= 2)
        return error_set(err, STATUS_PROTOCOL,
                         "%s computes alone what two can compute: it is not signed here",
                         exchange->peers[0].name);
    if (exchange->is_given) {
        if (exchange->step != (exchange->prove ? STEP_PROVEN : STEP_PROFILE))
            return error_set(err, STATUS_PROTOCOL, "a message out of order");
        if (!is_ours(exchange, &proposed))
            return refuse_other(exchange, err);
        if (!exchange_check_devices(exchange, &proposed.devices, err))
            return error_wrap(err, "what %s proposes", exchange->peers[0].name);
        if (!say_security(exchange, &proposed.baseline, err))
            return false;
        agreement_free(&exchange->agreement);
        exchange->agreement = proposed;
        proposed = (struct agreement){0};
        exchange->step = STEP_AGREED;
        return true;
    }
    if (!exchange_agree(exchange, proposed.issued, err))
        return false;
    autojson json_t *ours = agreement_to_json(&exchange->agreement);
    return (ours && json_equal(ours, payload)) || refuse_other(exchange, err);
}
