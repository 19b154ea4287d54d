/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The side that asks.
 */
#include "vm/negotiate.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "peer/message.h"
#include "vm/negotiate_ask.h"

#define CANCEL_MS 2000

void negotiated_free(struct negotiated *negotiated)
{
    for (size_t i = 0; negotiated->addresses && i < negotiated->exchange.peer_count; i++)
        free(negotiated->addresses[i]);
    free(negotiated->addresses);
    exchange_free(&negotiated->exchange);
    if (negotiated->listener >= 0)
        close(negotiated->listener);
    *negotiated = (struct negotiated)NEGOTIATED_INIT;
}

/* What each answered goes to `take`; what is wrong with it is that party's error. */
static bool take_all(struct round *round,
                     bool (*take)(struct exchange *, struct exchange_peer *, json_t *,
                                  struct error *),
                     struct error *err)
{
    for (size_t i = 0; i < round->count; i++) {
        struct peer_ask *ask = &round->asks[i];
        if (!ask->skip &&
            !take(round->exchange, &round->exchange->peers[i], ask->answer, &ask->error) &&
            ask->error.status == STATUS_INTERNAL)
            return error_set(err, STATUS_INTERNAL, "%s", ask->error.message);
    }
    return round_judge(round, err);
}

/* Those who cannot be reached give way to their last profile, if that is good enough: they leave
 * the round and the exchange. */
static bool replace_offline(struct round *round, const struct negotiate_others *others,
                            char **addresses, struct error *err)
{
    struct exchange *exchange = round->exchange;
    size_t kept = 0;
    for (size_t i = 0; i < round->count; i++) {
        struct peer_ask *ask = &round->asks[i];
        const struct trust_entry *entry = ask->client.peer;
        if (others->offline_ok && ask->error.status == STATUS_UNAVAILABLE && ask->retryable) {
            autofree char *text = NULL;
            autofree char *what = string_format("the stored profile of %s", entry->name);
            if (!what)
                return error_no_memory(err);
            if (!exchange_stored_profile(round->self->paths, entry->name, &text, err))
                return false;
            if (!text)
                return error_set(err, STATUS_UNAVAILABLE,
                                 "%s, and there is no stored profile of it", ask->error.message);
            if (!exchange_assume(exchange, text, entry, what, err))
                return false;
            log_warning("%s is not there: its last profile counts, and it has to prove before %s "
                        "can go there",
                        entry->name, exchange->vm);
            peer_ask_clear(ask);
            free(addresses[i]);
            addresses[i] = NULL;
            continue;
        }
        if (kept < i) {
            round->asks[kept] = *ask;
            *ask = (struct peer_ask){.skip = true};
            addresses[kept] = addresses[i];
            addresses[i] = NULL;
        }
        kept++;
    }
    round->count = exchange->peer_count = kept;
    return round_judge(round, err);
}

/* While those who were asked for a hello are at it. */
static void prepare(void *exchange)
{
    exchange_prepare(exchange);
}

/* While they make their profiles. */
static void open_last(void *exchange)
{
    exchange_open_last(exchange);
}

static bool hello(struct round *round, const struct negotiate_others *others, char **addresses,
                  bool *answered, struct error *err)
{
    struct exchange *exchange = round->exchange;
    json_t *body = exchange_hello_body(exchange, err);
    if (!body)
        return false;
    peer_links_meanwhile(round->links, prepare, exchange);
    bool all = round_send(round, "hello", body, !others->offline_ok);
    for (size_t i = 0; i < round->count; i++)
        *answered = *answered || round->asks[i].answer;
    if (!all && round->self->interrupted && *round->self->interrupted)
        return error_set(err, STATUS_INTERRUPTED, "interrupted");
    if (!all && !others->offline_ok)
        return round_judge(round, err);
    if (!replace_offline(round, others, addresses, err))
        return false;
    for (size_t i = 0; i < round->count; i++) {
        struct peer_ask *ask = &round->asks[i];
        exchange_take_hello(exchange, &exchange->peers[i], ask->answer, ask->client.peer,
                            &ask->error);
    }
    if (!round_judge(round, err))
        return false;
    for (size_t i = 0; i < others->stored_count; i++)
        if (!exchange_assume(exchange, others->stored[i].text, others->stored[i].entry,
                             others->stored[i].what, err))
            return false;
    return exchange_choose_machine(exchange, err) && exchange_check_assumed(exchange, err);
}

/* Once more for those who do not know our profile by its digest, or whose profile is not known so
 * here. */
static bool whole_profiles(struct round *round, struct error *err)
{
    struct exchange *exchange = round->exchange;
    exchange->profile_is_new = false; /* who did not say otherwise has it by now */
    for (size_t i = 0; i < round->count; i++) {
        struct exchange_peer *peer = &exchange->peers[i];
        struct peer_ask *ask = &round->asks[i];
        peer_ask_clear(ask);
        ask->skip = peer->has_profile;
        ask->body = exchange_profile_body(exchange, peer->wants_whole, true, err);
        if (!ask->body)
            return false;
        peer->wants_whole = peer->is_unknown = false;
    }
    bool good = round_call(round, "profile", err) && take_all(round, exchange_take_profile, err);
    for (size_t i = 0; i < round->count; i++)
        round->asks[i].skip = false;
    return good && (exchange->step == STEP_PROFILE ||
                    error_set(err, STATUS_PROTOCOL, "a profile was not told after all"));
}

static bool profiles(struct round *round, struct error *err)
{
    struct exchange *exchange = round->exchange;
    json_t *body = exchange_profile_body(exchange, false, false, err);
    if (round->count == 0 && body) {
        json_decref(body);
        exchange->step = STEP_PROFILE;
        return true;
    }
    peer_links_meanwhile(round->links, open_last, exchange);
    return round_ask(round, "profile", body, false, err) &&
           take_all(round, exchange_take_profile, err) &&
           (exchange->step == STEP_PROFILE || whole_profiles(round, err));
}

/* This side's own part of a proof, done while the others are at theirs. */
struct own_proof {
    struct exchange *exchange;
    bool is_done, good;
    struct error error;
};

static void finish_own(void *context)
{
    struct own_proof *own = context;
    own->good = exchange_prove_finish(own->exchange, &own->error);
    own->is_done = true;
}

static bool ask_proofs(struct round *round, struct own_proof *own, struct error *err)
{
    json_t *body = exchange_prove_body(round->exchange, err);
    if (!body)
        return false;
    peer_links_meanwhile(round->links, finish_own, own);
    return round_ask(round, "prove", body, false, err);
}

/* Each side's guest looks at the CPU at the same time; what differs is masked until none does. */
static bool prove(struct round *round, struct error *err)
{
    struct exchange *exchange = round->exchange;
    for (bool settled = false; !settled;) {
        struct own_proof own = {.exchange = exchange};
        if (!exchange_prove_start(exchange, err))
            return false;
        if (round->count > 0 && !ask_proofs(round, &own, err))
            return false;
        if (!own.is_done)
            finish_own(&own);
        if (!own.good)
            return error_set(err, own.error.status, "%s", own.error.message);
        if (!take_all(round, exchange_take_table, err) || !exchange_settle(exchange, &settled, err))
            return false;
    }
    return true;
}

static bool take_approval(struct exchange *exchange, struct exchange_peer *peer, json_t *answer,
                          struct strlist *approvals, struct error *err)
{
    json_t *approval;
    char pin[PIN_SIZE];
    if (!exchange_take_body(exchange, answer, "approval", &approval, err))
        return error_wrap(err, "%s", peer->name);
    if (!json_is_object(approval))
        return error_set(err, STATUS_DATA, "%s: the approval is not an object", peer->name);
    autofree char *text = json_to_text(approval);
    if (!text || !strlist_push(approvals, text))
        return error_no_memory(err);
    if (!approval_check(text, &exchange->agreement, exchange->agreement_digest, pin, err))
        return error_wrap(err, "%s", peer->name);
    return strcmp(pin, peer->pin) == 0 ||
           error_set(err, STATUS_NOT_TRUSTED, "%s approved with another key", peer->name);
}

/* Sign the agreement, have all approve it: the document that all will hold. */
static json_t *propose(struct round *round, struct error *err)
{
    struct exchange *exchange = round->exchange;
    autofree char *text = NULL;
    autostrlist struct strlist approvals = {0};
    autojson json_t *payload = agreement_to_json(&exchange->agreement);
    if (!payload) {
        error_no_memory(err);
        return NULL;
    }
    if (!envelope_sign_digest(exchange->self->identity, AGREEMENT_TYPE, payload, &text,
                              exchange->agreement_digest, err))
        return NULL;
    json_t *proposal = json_parse_strict(text, strlen(text), AGREEMENT_SIZE_MAX, err);
    if (!proposal || !round_ask(round, "propose",
                                exchange_body(exchange, "agreement", proposal, err), false, err))
        return NULL;
    for (size_t i = 0; i < round->count; i++)
        take_approval(exchange, &exchange->peers[i], round->asks[i].answer, &approvals,
                      &round->asks[i].error);
    return round_judge(round, err) ? agreement_document(text, &approvals, err) : NULL;
}

static bool agree(struct round *round, const struct negotiate_others *others, char **addresses,
                  bool *answered, struct error *err)
{
    struct exchange *exchange = round->exchange;
    const struct exchange_self *self = exchange->self;
    if (!hello(round, others, addresses, answered, err) || !profiles(round, err) ||
        (exchange->prove && !prove(round, err)) || !exchange_agree(exchange, time(NULL), err))
        return false;
    autojson json_t *document = propose(round, err);
    if (!document || !agreement_store_committing(self->paths->state, exchange->vm, document, err) ||
        !round_commit(round, document, exchange->agreement_digest, exchange->id, err) ||
        !agreement_keep_committing(self->paths->state, exchange->vm, err))
        return false;
    exchange->step = STEP_COMMITTED;
    return true;
}

/* Tell the peers, as well as it goes, that nothing will come of it and why: they may be waiting. */
static void cancel(struct round *round, const struct error *why)
{
    json_t *reason = message_error_new(why);
    autojson json_t *body = reason ? exchange_body(round->exchange, "reason", reason, NULL) : NULL;
    if (!body)
        return;
    for (size_t i = 0; i < round->count; i++) {
        peer_ask_clear(&round->asks[i]);
        round->asks[i].body = json_incref(body);
        round->asks[i].client.interrupted = NULL;
    }
    peer_call_many(round->asks, round->count, "cancel", deadline_in_ms(CANCEL_MS), NULL,
                   round->links);
}

bool negotiate_with_peers(const struct exchange_self *self, const struct negotiate_others *others,
                          struct negotiated *result, struct error *err)
{
    autonegotiated struct negotiated made = NEGOTIATED_INIT;
    autoround struct round round = {.exchange = &made.exchange};
    size_t count = others->target_count;
    if (count + others->stored_count + 1 > PARTIES_MAX)
        return error_set(err, STATUS_USAGE, "at most %d parties can agree", PARTIES_MAX);
    if (!exchange_begin(&made.exchange, self, NULL, count, err) ||
        !round_begin(&round, self, others->targets, count, err))
        return false;
    made.addresses = calloc(count + 1, sizeof(*made.addresses));
    for (size_t i = 0; made.addresses && i < count; i++)
        if (!(made.addresses[i] = strdup(others->targets[i].host)))
            return error_no_memory(err);
    if (!made.addresses)
        return error_no_memory(err);
    bool answered = false;
    if (!agree(&round, others, made.addresses, &answered, err)) {
        if (answered && made.exchange.step < STEP_COMMITTED)
            cancel(&round, err);
        return false;
    }
    *result = made;
    made = (struct negotiated)NEGOTIATED_INIT;
    return true;
}
