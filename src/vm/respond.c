/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/respond.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "peer/message.h"

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

static json_t *approve(struct respond *respond, json_t *body, struct error *err)
{
    struct exchange *exchange = &respond->exchange;
    const struct exchange_self *self = exchange->self;
    autoenvelope struct envelope envelope = {0};
    json_t *proposal;
    if (!exchange_take_body(exchange, body, "agreement", &proposal, err))
        return NULL;
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

static bool is_of_peer(const struct agreement *agreement, const struct trust_entry *peer)
{
    for (size_t i = 0; i < agreement->party_count; i++)
        if (trust_entry_has_pin(peer, agreement->parties[i].pin))
            return true;
    return false;
}

json_t *respond_to_commit(const struct paths *paths, const struct trust_entry *peer, json_t *body,
                          char **vm, char digest[DIGEST_HEX_SIZE], bool *fresh, struct error *err)
{
    autoagreement struct agreement agreement = {0}, kept = {0};
    autojson json_t *before = NULL;
    char pending[DIGEST_HEX_SIZE], stored[DIGEST_HEX_SIZE] = "";
    const char *id = exchange_body_id(body), *again;
    json_t *document;
    if (!id) {
        error_set(err, STATUS_DATA, "commit names no exchange");
        return NULL;
    }
    if (!json_take(body, err, "commit", "{s:s, s:o}", "exchange", &again, "document", &document) ||
        !agreement_document_open(document, &agreement, digest, err))
        return NULL;
    if (peer && !is_of_peer(&agreement, peer)) {
        error_set(err, STATUS_NOT_TRUSTED, "%s is no party to that agreement", peer->name);
        return NULL;
    }
    agreement_pending_digest(paths->state, agreement.vm, pending);
    *fresh = strcmp(pending, digest) == 0;
    if (*fresh) {
        if (!agreement_store(paths->state, agreement.vm, document, err))
            return NULL;
    } else if (!agreement_load(paths->state, agreement.vm, &before, err) || !before ||
               !agreement_document_open(before, &kept, stored, NULL) ||
               strcmp(stored, digest) != 0) {
        error_set(err, STATUS_PROTOCOL, "a commit of an agreement that was not approved here");
        return NULL;
    }
    char *name = strdup(agreement.vm);
    json_t *answer = name ? json_pack("{s:s, s:s}", "exchange", id, "committed", digest) : NULL;
    if (answer && vm)
        *vm = STEAL(name);
    free(name);
    if (!answer)
        error_no_memory(err);
    return answer;
}

/* The fully signed agreement goes to disk before it is acknowledged; a repeated one is fine. */
static json_t *commit(struct respond *respond, json_t *body, struct error *err)
{
    struct exchange *exchange = &respond->exchange;
    char digest[DIGEST_HEX_SIZE];
    bool fresh;
    if (exchange->step < STEP_AGREED) {
        error_set(err, STATUS_PROTOCOL, "a commit of an agreement that was not approved here");
        return NULL;
    }
    if (!exchange_check_id(exchange, body, err))
        return NULL;
    json_t *answer =
        respond_to_commit(exchange->self->paths, NULL, body, NULL, digest, &fresh, err);
    if (answer && strcmp(digest, exchange->agreement_digest) == 0) {
        exchange->step = STEP_COMMITTED;
        return answer;
    }
    if (answer)
        error_set(err, STATUS_PROTOCOL, "a commit of an agreement that was not approved here");
    json_decref(answer);
    return NULL;
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
static json_t *own_profile(struct respond *respond, struct error *err)
{
    struct exchange *exchange = &respond->exchange;
    json_t *body = exchange_profile_body(exchange, err);
    respond->fatal = !body;
    /* The peer will ask for the proof in a moment. What is wrong with it is said then. */
    if (body && exchange->prove && exchange->self->role != ROLE_PARTY)
        exchange_prove_start(exchange, NULL);
    return body;
}

static json_t *prove(struct respond *respond, json_t *body, struct error *err)
{
    json_t *answer = exchange_prove_answer(&respond->exchange, body, err);
    respond->fatal = !answer && err->status == STATUS_CONFIG;
    return answer;
}

json_t *respond_to(struct respond *respond, const char *name, json_t *body, struct error *err)
{
    struct exchange *exchange = &respond->exchange;
    respond->fatal = false;
    if (strcmp(name, "profile") == 0)
        return exchange_take_profile(exchange, &exchange->peers[0], body, err)
                   ? own_profile(respond, err)
                   : NULL;
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
