/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/respond.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "peer/message.h"

/* How long an approval keeps others away. */
#define PENDING_OTHER_S 60

static bool check_clock(json_t *payload, struct error *err)
{
    json_int_t issued = json_integer_value(json_object_get(payload, "issued"));
    int64_t now = time(NULL);
    return (issued >= now - CLOCK_TOLERANCE_S && issued <= now + CLOCK_TOLERANCE_S) ||
           error_set(err, STATUS_NOT_TRUSTED,
                     "the agreement is of %lld, it is %lld here (Unix seconds): set the clocks "
                     "right",
                     (long long)issued, (long long)now);
}

/* What another peer was given an approval for just now, it is about to commit. Its own clock does
 * not count: it may be ahead of the one here. */
static bool check_pending(const struct exchange *exchange, struct error *err)
{
    struct agreement_pending pending;
    agreement_load_pending(exchange->self->paths->state, exchange->vm, &pending);
    int64_t age = (int64_t)time(NULL) - pending.stored;
    return !*pending.digest || strcmp(pending.pin, exchange->peers[0].pin) == 0 || age < 0 ||
           age > PENDING_OTHER_S ||
           error_set(err, STATUS_UNAVAILABLE,
                     "%s is agreeing about %s with another peer: try again in a minute",
                     exchange->self->config->host_name, exchange->vm);
}

static json_t *approve(struct respond *respond, json_t *body, struct error *err)
{
    struct exchange *exchange = &respond->exchange;
    const struct exchange_self *self = exchange->self;
    autoenvelope struct envelope envelope = {0};
    json_t *proposal;
    if (!exchange_take_body(exchange, body, "agreement", &proposal, err))
        return NULL;
    if (!json_is_object(proposal)) {
        error_set(err, STATUS_DATA, "propose: the agreement is not an object");
        return NULL;
    }
    autofree char *text = json_to_text(proposal);
    if (!text) {
        error_no_memory(err);
        return NULL;
    }
    if (!envelope_open(text, strlen(text), AGREEMENT_SIZE_MAX, AGREEMENT_TYPE, &envelope, err))
        return NULL;
    if (strcmp(envelope.pin, exchange->peers[0].pin) != 0) {
        error_set(err, STATUS_NOT_TRUSTED, "the agreement is signed by another key");
        return NULL;
    }
    if (!check_clock(envelope.payload, err))
        return NULL;
    json_object_del(envelope.payload, "key");
    if (self->role == ROLE_PARTY &&
        (!exchange_may_replace(self, exchange->vm, &exchange->peers[0], err) ||
         !check_pending(exchange, err) ||
         !agreement_check_room(self->paths->state, exchange->vm, err)))
        return NULL;
    if (!exchange_accept(exchange, envelope.payload, err))
        return NULL;
    memcpy(exchange->agreement_digest, envelope.digest, DIGEST_HEX_SIZE);
    autofree char *approval =
        approval_make(self->identity, exchange->vm, envelope.digest, exchange->nonce, err);
    if (!approval || !agreement_store_pending(self->paths->state, exchange->vm, text, err))
        return NULL;
    json_t *approval_json = json_parse_strict(approval, strlen(approval), AGREEMENT_SIZE_MAX, err);
    return approval_json ? exchange_body(exchange, "approval", approval_json, err) : NULL;
}

/* One member of commit's body, and the agreement in it, signed by all. *id is borrowed. */
bool respond_open_commit(json_t *body, const char **id, json_t **document,
                         struct agreement *agreement, char digest[DIGEST_HEX_SIZE],
                         char pin[PIN_SIZE], struct error *err)
{
    const char *again;
    *id = exchange_body_id(body);
    if (!*id)
        return error_set(err, STATUS_DATA, "commit names no exchange");
    return json_take(body, err, "commit", "{s:s, s:o}", "exchange", &again, "document", document) &&
           agreement_document_open_by(*document, agreement, digest, pin, err);
}

json_t *respond_committed(const char *id, const char *digest, struct error *err)
{
    json_t *answer = json_pack("{s:s, s:s}", "exchange", id, "committed", digest);
    if (!answer)
        error_no_memory(err);
    return answer;
}

bool respond_keep(const struct paths *paths, const char *vm, json_t *document, const char *digest,
                  struct error *err)
{
    struct agreement_pending pending;
    autojson json_t *before = NULL;
    autoagreement struct agreement kept = {0};
    char stored[DIGEST_HEX_SIZE];
    agreement_load_pending(paths->state, vm, &pending);
    int64_t age = (int64_t)time(NULL) - pending.issued;
    if (strcmp(pending.digest, digest) == 0 && age <= PENDING_LIFE_S)
        return agreement_store(paths->state, vm, document, err);
    return (agreement_load(paths->state, vm, &before, err) && before &&
            agreement_document_open(before, &kept, stored, NULL) && strcmp(stored, digest) == 0) ||
           error_set(err, STATUS_PROTOCOL,
                     "a commit of an agreement that was not approved here, or more than an hour "
                     "ago");
}

/* The fully signed agreement goes to disk before it is acknowledged; a repeated one is fine. */
static json_t *commit(struct respond *respond, json_t *body, struct error *err)
{
    struct exchange *exchange = &respond->exchange;
    autoagreement struct agreement agreement = {0};
    char digest[DIGEST_HEX_SIZE];
    const char *id;
    json_t *document;
    if (exchange->step < STEP_AGREED) {
        error_set(err, STATUS_PROTOCOL, "a commit of an agreement that was not approved here");
        return NULL;
    }
    if (!exchange_check_id(exchange, body, err) ||
        !respond_open_commit(body, &id, &document, &agreement, digest, NULL, err))
        return NULL;
    if (strcmp(digest, exchange->agreement_digest) != 0) {
        error_set(err, STATUS_PROTOCOL, "a commit of an agreement that was not approved here");
        return NULL;
    }
    if (!respond_keep(exchange->self->paths, exchange->vm, document, digest, err))
        return NULL;
    json_t *answer = respond_committed(id, digest, err);
    if (answer)
        exchange->step = STEP_COMMITTED;
    return answer;
}

/* The peer found a reason against it, or was interrupted. */
static json_t *take_cancel(struct respond *respond, json_t *body, struct error *err)
{
    struct exchange *exchange = &respond->exchange;
    struct error reason = ERROR_INIT;
    json_t *value;
    if (!exchange_take_body(exchange, body, "reason", &value, err))
        return NULL;
    if (!message_error_take(value, &reason)) {
        error_set(err, STATUS_DATA, "cancel gives no reason");
        return NULL;
    }
    respond->cancelled = true;
    respond->reason = reason;
    return exchange_body(exchange, "cancelled", json_true(), err);
}

/* What this host can give; that it cannot be found out is not the peer's fault. */
static json_t *own_profile(struct respond *respond, bool whole, struct error *err)
{
    struct exchange *exchange = &respond->exchange;
    bool again = exchange->profile_payload && !exchange->prepared.machine;
    json_t *body = exchange_profile_body(exchange, whole, false, err);
    respond->fatal = !body;
    /* The peer will ask for the proof in a moment. What is wrong with it is said then. */
    if (body && !again && exchange->prove && exchange->self->role != ROLE_PARTY)
        exchange_prove_start(exchange, NULL);
    return body;
}

static json_t *profile(struct respond *respond, json_t *body, struct error *err)
{
    struct exchange *exchange = &respond->exchange;
    if (!exchange_take_profile(exchange, &exchange->peers[0], body, err))
        return NULL;
    if (exchange->step == STEP_HELLO)
        return exchange_unknown_body(exchange, err);
    return own_profile(respond, json_is_true(json_object_get(body, "whole")), err);
}

static json_t *prove(struct respond *respond, json_t *body, struct error *err)
{
    json_t *answer = exchange_prove_answer(&respond->exchange, body, err);
    respond->fatal = !answer && err->status == STATUS_CONFIG;
    return answer;
}

json_t *respond_to(struct respond *respond, const char *name, json_t *body, struct error *err)
{
    respond->fatal = false;
    if (strcmp(name, "profile") == 0)
        return profile(respond, body, err);
    if (strcmp(name, "prove") == 0)
        return prove(respond, body, err);
    if (strcmp(name, "propose") == 0)
        return approve(respond, body, err);
    if (strcmp(name, "commit") == 0)
        return commit(respond, body, err);
    if (strcmp(name, "cancel") == 0)
        return take_cancel(respond, body, err);
    error_set(err, STATUS_PROTOCOL, "'%.20s' is not a request of this protocol", name);
    return NULL;
}
