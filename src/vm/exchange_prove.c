/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The proof in an exchange: both sides let the built-in guest look at the CPU that they are about
 * to agree on, and the side that asked compares what was seen (DESIGN 7).
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "guest/compare.h"
#include "guest/features.h"
#include "vm/exchange.h"
#include "vm/peer_arguments.h"

#define CULPRIT_MS 8000
#define CULPRIT_TRIAL_MS 2000

static bool start_proof(struct exchange *exchange, const struct baseline *baseline,
                        int64_t timeout_ms, struct proof *proof, struct error *err)
{
    const struct exchange_self *self = exchange->self;
    struct proof_arguments *arguments = &exchange->arguments;
    if (!arguments->machine &&
        !proof_arguments_make(self->invocation, exchange->machine, exchange->accel, arguments, err))
        return false;
    autofree char *cpu = render_cpu(baseline, &exchange->profile.offer, exchange->form, err);
    struct proof_limits limits = {.timeout_ms = timeout_ms, .interrupted = self->interrupted};
    int left = deadline_left_ms(self->when);
    if (timeout_ms == 0)
        limits.timeout_ms = proof_timeout_ms(arguments);
    if (left >= 0 && left < limits.timeout_ms)
        limits.timeout_ms = left > 0 ? left : 1;
    return cpu && proof_start(proof, self->paths, self->qemu, arguments, exchange->host_digest, cpu,
                              &limits, err);
}

bool exchange_prove_start(struct exchange *exchange, struct error *err)
{
    autobaseline struct baseline baseline = {0};
    if (exchange->step < STEP_PROFILE)
        return error_set(err, STATUS_PROTOCOL, "a message out of order");
    if (exchange->table.count > 0 || proof_is_under_way(&exchange->proof))
        return true;
    return exchange_baseline(exchange, &baseline, NULL, err) &&
           start_proof(exchange, &baseline, 0, &exchange->proof, err);
}

/* Whether QEMU takes the CPU with the knobs of the baseline for which keep is true. */
static bool runs_with(struct exchange *exchange, const bool *keep)
{
    autobaseline struct baseline all = {0}, chosen = {0};
    autoproof struct proof proof = {0};
    autoguesttable struct guest_table table = {0};
    if (!exchange_baseline(exchange, &all, NULL, NULL) ||
        !exchange_baseline(exchange, &chosen, NULL, NULL))
        return false;
    for (size_t i = 0; i < all.knobs.count; i++)
        if (!keep[i])
            cpu_knobs_remove(&chosen.knobs, all.knobs.items[i].name);
    return start_proof(exchange, &chosen, CULPRIT_TRIAL_MS, &proof, NULL) &&
           proof_finish(&proof, &table, NULL, NULL);
}

/* Properties such as Hyper-V's show in no profile. Which of them it is that this QEMU cannot give
 * is found by leaving out each; or, if it is more than one, by giving each alone. */
static bool find_culprits(struct exchange *exchange, size_t count, bool *culprit, deadline when)
{
    autofree bool *keep = calloc(count, sizeof(bool));
    if (!keep || !runs_with(exchange, keep))
        return false; /* it is not the knobs */
    for (size_t i = 0; i < count && deadline_left_ms(when) > 0; i++) {
        for (size_t k = 0; k < count; k++)
            keep[k] = k != i;
        if (runs_with(exchange, keep))
            return culprit[i] = true;
    }
    bool found = false;
    for (size_t i = 0; i < count && deadline_left_ms(when) > 0; i++) {
        for (size_t k = 0; k < count; k++)
            keep[k] = k == i;
        culprit[i] = !runs_with(exchange, keep);
        found = found || culprit[i];
    }
    return found;
}

/* The knobs over which QEMU does not run the proof, into the message; as it is if it is not them.
 */
static void name_culprits(struct exchange *exchange, struct error *err)
{
    autobaseline struct baseline baseline = {0};
    autostrbuf struct strbuf names = {0};
    if (!exchange_baseline(exchange, &baseline, NULL, NULL) || baseline.knobs.count == 0)
        return;
    autofree bool *culprit = calloc(baseline.knobs.count, sizeof(bool));
    if (!culprit || !find_culprits(exchange, baseline.knobs.count, culprit,
                                   deadline_in_ms(CULPRIT_MS))) /* the peer waits */
        return;
    for (size_t i = 0; i < baseline.knobs.count; i++)
        if (culprit[i])
            strbuf_printf(&names, "%s%s=%s", names.length > 0 ? ", " : "",
                          baseline.knobs.items[i].name, baseline.knobs.items[i].value);
    error_wrap(err, "%s of -cpu cannot be had on %s", names.data ? names.data : "",
               exchange->self->config->host_name);
    err->status = STATUS_INCOMPATIBLE;
}

/* Where the table and the agreed features do not tell the same. */
static bool doubt(struct exchange *exchange, struct error *err)
{
    autobaseline struct baseline baseline = {0};
    autostrlist struct strlist missing = {0}, extra = {0};
    if (!exchange_baseline(exchange, &baseline, NULL, err) ||
        !guest_table_contradictions(&exchange->table, &baseline.features, &missing, &extra, err))
        return false;
    for (size_t i = 0; i < missing.count; i++)
        if ((exchange->self->required &&
             featureset_has(exchange->self->required, missing.items[i])) ||
            featureset_has(&exchange->profile.offer.required, missing.items[i]))
            return error_set(err, STATUS_INCOMPATIBLE,
                             "%s is required and cannot be had on %s (%s): a guest does not see it "
                             "there",
                             missing.items[i], exchange->self->config->host_name,
                             strcmp(exchange->accel, "kvm") == 0 ? "kvm" : "qemu");
    strlist_free(&exchange->doubts);
    const char *host = exchange->self->config->host_name;
    autofree char *unseen = strlist_join(&missing, " "), *seen = strlist_join(&extra, " ");
    if (!unseen || !seen)
        return error_no_memory(err);
    return (missing.count == 0 ||
            strlist_pushf(&exchange->doubts, "on %s a guest does not see what was agreed: %s", host,
                          unseen) ||
            error_no_memory(err)) &&
           (extra.count == 0 ||
            strlist_pushf(&exchange->doubts,
                          "on %s a guest sees features that are switched off, which this %s does "
                          "not honour: %s",
                          host, strcmp(exchange->accel, "kvm") == 0 ? "KVM" : "QEMU", seen) ||
            error_no_memory(err));
}

/* Of the features that QEMU named only those that can be left out: the baseline's. */
static bool keep_maskable(struct exchange *exchange, const struct strlist *named, struct error *err)
{
    autobaseline struct baseline baseline = {0};
    if (named->count > 0 && !exchange_baseline(exchange, &baseline, NULL, err))
        return false;
    for (size_t i = 0; i < named->count; i++)
        if (featureset_has(&baseline.features, named->items[i]) &&
            !strlist_push(&exchange->refused, named->items[i]))
            return error_no_memory(err);
    return true;
}

bool exchange_prove_finish(struct exchange *exchange, struct error *err)
{
    struct error refused = ERROR_INIT;
    autostrlist struct strlist named = {0};
    if (exchange->table.count > 0 || exchange->refused.count > 0)
        return true;
    if (!exchange_prove_start(exchange, err))
        return false;
    if (proof_finish(&exchange->proof, &exchange->table, &named, &refused)) {
        if (doubt(exchange, err))
            return true;
        exchange_prove_again(exchange);
        return false;
    }
    if (!keep_maskable(exchange, &named, err))
        return false;
    if (exchange->refused.count > 0) {
        log_debug("%s", refused.message);
        return true;
    }
    if (refused.status == STATUS_CONFIG)
        name_culprits(exchange, &refused);
    return error_set(err, refused.status, "%s", refused.message);
}

void exchange_prove_again(struct exchange *exchange)
{
    guest_table_free(&exchange->table);
    strlist_free(&exchange->refused);
    proof_free(&exchange->proof);
}

/* What an agent has no command line for is the asker's: its arguments, checked word for word. */
static bool take_arguments(struct exchange *exchange, json_t *json, struct error *err)
{
    if (exchange->self->role != ROLE_PARTY || exchange->arguments.machine)
        return true;
    return peer_arguments_take(json, exchange->machine, exchange->accel, exchange->cpu_pm,
                               &exchange->arguments, err);
}

/* The bodies. */

static json_t *unshown_to_json(const struct exchange *exchange)
{
    autojson json_t *hosts = json_object();
    const struct cpu_offer *mine = &exchange->profile.offer;
    if (json_object_set_new(hosts, mine->host, featureset_to_json(&mine->unshown)))
        return NULL;
    for (size_t i = 0; i < exchange->peer_count; i++) {
        const struct cpu_offer *theirs = &exchange->peers[i].profile.offer;
        if (json_object_set_new(hosts, theirs->host, featureset_to_json(&theirs->unshown)))
            return NULL;
    }
    return STEAL(hosts);
}

json_t *exchange_prove_body(struct exchange *exchange, struct error *err)
{
    autobaseline struct baseline baseline = {0};
    bool group = exchange->peer_count + exchange->assumed_count > 1;
    if (!exchange_baseline(exchange, &baseline, NULL, err))
        return NULL;
    json_t *body = json_pack("{s:s, s:o, s:o, s:o}", "exchange", exchange->id, "unshown",
                             group ? json_object() : unshown_to_json(exchange), "baseline",
                             group ? baseline_to_json(&baseline) : json_null(), "arguments",
                             peer_arguments_make(&exchange->arguments));
    if (!body)
        error_no_memory(err);
    return body;
}

/* Only what a guest was to see can it miss, and only after a proof. */
static bool check_unshown(const struct exchange *exchange, const struct baseline *baseline,
                          const struct featureset *named, const struct featureset *before,
                          struct error *err)
{
    struct featureset_cursor cursor = {0};
    for (const char *name; (name = featureset_next(named, &cursor));)
        if (!featureset_has(before, name) &&
            (exchange->proofs < 2 || !featureset_has(&baseline->features, name)))
            return error_set(err, STATUS_PROTOCOL,
                             "%s says that a guest did not see %s, which it was not to see yet",
                             exchange->peers[0].name, name);
    return true;
}

/* What a guest did not see, by host. With other words than before the proof is another one. */
static bool take_unshown(struct exchange *exchange, json_t *hosts, struct error *err)
{
    struct cpu_offer *offers[] = {&exchange->profile.offer, &exchange->peers[0].profile.offer};
    autofeatureset struct featureset mine = {0}, theirs = {0};
    struct featureset *found[] = {&mine, &theirs};
    bool same = true;
    autobaseline struct baseline baseline = {0};
    if (!json_is_object(hosts) || json_object_size(hosts) != 2)
        return error_set(err, STATUS_DATA, "prove: unshown is not valid");
    if (!exchange_baseline(exchange, &baseline, NULL, err))
        return false;
    for (size_t i = 0; i < 2; i++) {
        if (!featureset_from_json(found[i], json_object_get(hosts, offers[i]->host),
                                  "prove: unshown", err) ||
            !check_unshown(exchange, &baseline, found[i], &offers[i]->unshown, err))
            return false;
        same = same && featureset_equal(found[i], &offers[i]->unshown);
    }
    if (same)
        return true;
    for (size_t i = 0; i < 2; i++) {
        struct featureset before = offers[i]->unshown;
        offers[i]->unshown = *found[i];
        *found[i] = before;
    }
    exchange_prove_again(exchange);
    return true;
}

/* In a group: what the asker computed from everybody's profiles. */
static bool take_baseline(struct exchange *exchange, json_t *json, struct error *err)
{
    autobaseline struct baseline given = {0};
    if (!baseline_from_json(json, &given, err))
        return error_wrap(err, "the CPU that %s proposes", exchange->peers[0].name);
    return exchange_give_baseline(exchange, &given, err);
}

json_t *exchange_prove_answer(struct exchange *exchange, json_t *body, struct error *err)
{
    const char *id;
    json_t *hosts, *baseline, *arguments;
    if (exchange->step != STEP_PROFILE && exchange->step != STEP_PROVEN) {
        error_set(err, STATUS_PROTOCOL, "a message out of order");
        return NULL;
    }
    if (!exchange->prove) {
        error_set(err, STATUS_PROTOCOL, "a proof is asked for, and none was agreed on");
        return NULL;
    }
    if (exchange->proofs++ >= EXCHANGE_PROOFS_MAX) {
        error_set(err, STATUS_PROTOCOL, "%s asks for more than %d proofs", exchange->peers[0].name,
                  EXCHANGE_PROOFS_MAX);
        return NULL;
    }
    if (!exchange_check_id(exchange, body, err) ||
        !json_take(body, err, "prove", "{s:s, s:o, s:o, s:o}", "exchange", &id, "unshown", &hosts,
                   "baseline", &baseline, "arguments", &arguments) ||
        !take_arguments(exchange, arguments, err) ||
        (json_is_null(baseline) ? !take_unshown(exchange, hosts, err)
                                : !take_baseline(exchange, baseline, err)) ||
        !exchange_prove_finish(exchange, err))
        return NULL;
    static const struct strlist none = {0};
    const struct strlist *accepted = exchange->self->accepted ? exchange->self->accepted : &none;
    bool proven = exchange->table.count > 0;
    json_t *answer =
        json_pack("{s:s, s:o, s:o, s:o}", "exchange", exchange->id, "table",
                  proven ? guest_table_to_json(&exchange->table) : json_null(), "refused",
                  json_from_names(&exchange->refused), "accepted", json_from_names(accepted));
    if (!answer)
        error_no_memory(err);
    else
        exchange->step = proven ? STEP_PROVEN : STEP_PROFILE;
    return answer;
}

bool exchange_take_table(struct exchange *exchange, struct exchange_peer *peer, json_t *body,
                         struct error *err)
{
    const char *id;
    json_t *table, *refused, *accepted;
    if (!exchange_check_id(exchange, body, err))
        return false;
    guest_table_free(&peer->table);
    strlist_free(&peer->refused);
    strlist_free(&peer->accepted);
    if (!json_take(body, err, "prove", "{s:s, s:o, s:o, s:o}", "exchange", &id, "table", &table,
                   "refused", &refused, "accepted", &accepted) ||
        (!json_is_null(table) && !guest_table_from_json(table, &peer->table, err)) ||
        !json_take_names(refused, "features that are refused", name_is_feature, &peer->refused,
                         err) ||
        !json_take_names(accepted, "rows that are accepted", guest_row_name_is_good,
                         &peer->accepted, err))
        return error_wrap(err, "the proof of %s", peer->name);
    if (peer->accepted.count > ACCEPTED_ROWS_MAX)
        return error_set(err, STATUS_DATA, "the proof of %s accepts more than %d rows", peer->name,
                         ACCEPTED_ROWS_MAX);
    if ((peer->table.count > 0) == (peer->refused.count > 0))
        return error_set(err, STATUS_DATA, "the proof of %s: a table or what was refused",
                         peer->name);
    return true;
}
