/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The side that is asked.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "peer/message.h"
#include "peer/server.h"
#include "vm/negotiate.h"

/* An exchange that stands still for so long gives way to another peer's. */
#define STALE_MS 30000

struct listener {
    const struct exchange_self *self;
    struct peer_server *server;
    struct exchange exchange; /* the one under way; self == NULL: none */
    char *peer_host;
    deadline stale;
    bool fatal;        /* it is this side's own fault: no other peer can help */
    bool failed;       /* the exchange under way is over, and that has been said */
    struct error last; /* what went wrong with the last trusted peer */
};

/* The first message of an exchange: a new one, unless another peer's is under way. */
static bool take_hello(struct listener *listener, const struct trust_entry *peer,
                       const char *remote, json_t *body, struct error *err)
{
    const char *id = exchange_body_id(body);
    if (!id)
        return error_set(err, STATUS_DATA, "hello names no exchange");
    const struct exchange *current = &listener->exchange;
    if (current->self && current->peer.name && strcmp(current->peer.name, peer->name) != 0 &&
        deadline_left_ms(listener->stale) > 0)
        return error_set(err, STATUS_UNAVAILABLE, "busy with another peer: try again in %d s",
                         STALE_MS / 1000);
    char *host = strdup(remote);
    if (!host)
        return error_no_memory(err);
    free(listener->peer_host);
    listener->peer_host = host;
    listener->failed = false;
    return exchange_begin(&listener->exchange, listener->self, id, err) &&
           exchange_take_hello(&listener->exchange, body, peer, err);
}

/* What is proposed must be, byte for byte in meaning, what we compute ourselves. */
static json_t *approve(struct listener *listener, json_t *body, struct error *err)
{
    struct exchange *exchange = &listener->exchange;
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
    if (strcmp(envelope.pin, exchange->peer.pin) != 0) {
        error_set(err, STATUS_NOT_TRUSTED, "the agreement is signed by another key");
        return NULL;
    }
    json_int_t issued = json_integer_value(json_object_get(envelope.payload, "issued"));
    int64_t now = time(NULL);
    if (issued < now - CLOCK_TOLERANCE_S || issued > now + CLOCK_TOLERANCE_S) {
        error_set(err, STATUS_NOT_TRUSTED,
                  "the agreement is of %lld, it is %lld here (Unix seconds): set the clocks right",
                  (long long)issued, (long long)now);
        return NULL;
    }
    autoagreement struct agreement proposed = {0};
    if (!agreement_from_json(envelope.payload, &proposed, err) ||
        !exchange_check_proof(exchange, &proposed.proof, err) ||
        !exchange_agree(exchange, issued, err))
        return NULL;
    autojson json_t *ours = agreement_to_json(&exchange->agreement);
    json_object_del(envelope.payload, "key");
    if (!ours || !json_equal(ours, envelope.payload)) {
        exchange->step = self->prove ? STEP_PROVEN : STEP_PROFILE;
        error_set(err, STATUS_PROTOCOL,
                  "%s proposes another agreement than %s computes from the same "
                  "profiles",
                  exchange->peer.name, self->config->host_name);
        return NULL;
    }
    memcpy(exchange->agreement_digest, envelope.digest, DIGEST_HEX_SIZE);
    autofree char *approval =
        approval_make(self->identity, self->vm, envelope.digest, exchange->nonce, err);
    if (!approval || !agreement_store_pending(self->paths->state, self->vm, text, err))
        return NULL;
    json_t *approval_json = json_parse_strict(approval, strlen(approval), AGREEMENT_SIZE_MAX, err);
    return approval_json ? exchange_body(exchange, "approval", approval_json, err) : NULL;
}

/* The fully signed agreement goes to disk before it is acknowledged; a repeated one is fine. */
static json_t *commit(struct listener *listener, json_t *body, struct error *err)
{
    struct exchange *exchange = &listener->exchange;
    const struct exchange_self *self = exchange->self;
    autoagreement struct agreement agreement = {0};
    char digest[DIGEST_HEX_SIZE];
    json_t *document;
    if (!exchange_take_body(exchange, body, "document", &document, err) ||
        !agreement_document_open(document, &agreement, digest, err))
        return NULL;
    if (exchange->step < STEP_AGREED || strcmp(digest, exchange->agreement_digest) != 0) {
        error_set(err, STATUS_PROTOCOL, "a commit of an agreement that was not approved here");
        return NULL;
    }
    if (exchange->step == STEP_AGREED &&
        !agreement_store(self->paths->state, self->vm, document, err))
        return NULL;
    json_t *answer = exchange_body(exchange, "committed", json_string(digest), err);
    if (answer)
        exchange->step = STEP_COMMITTED;
    return answer;
}

/* The peer found a reason against it, or was interrupted. */
static json_t *take_cancel(struct listener *listener, json_t *body, struct error *err)
{
    struct exchange *exchange = &listener->exchange;
    struct error reason = ERROR_INIT;
    json_t *value;
    if (!exchange_take_body(exchange, body, "reason", &value, err))
        return NULL;
    if (!message_error_take(value, &reason)) {
        error_set(err, STATUS_DATA, "cancel gives no reason");
        return NULL;
    }
    if (!listener->failed) {
        log_error("%s gave up: %s", exchange->peer.name, reason.message);
        listener->last = reason;
    }
    listener->failed = true;
    return exchange_body(exchange, "cancelled", json_true(), err);
}

/* What this host can give; that it cannot be found out is not the peer's fault. */
static json_t *own_profile(struct listener *listener, struct error *err)
{
    json_t *body = exchange_profile_body(&listener->exchange, err);
    listener->fatal = !body;
    /* The peer will ask for the proof in a moment. What is wrong with it is said then. */
    if (body && listener->self->prove)
        exchange_prove_start(&listener->exchange, NULL);
    return body;
}

static json_t *prove(struct listener *listener, json_t *body, struct error *err)
{
    json_t *answer = exchange_prove_answer(&listener->exchange, body, err);
    listener->fatal = !answer && err->status == STATUS_CONFIG;
    return answer;
}

static json_t *answer_request(struct listener *listener, const struct trust_entry *peer,
                              const char *remote, const char *name, json_t *body, struct error *err)
{
    struct exchange *exchange = &listener->exchange;
    /* What was acknowledged stands: QEMU is about to be started with it. */
    if (exchange->self && exchange->step == STEP_COMMITTED && strcmp(name, "commit") != 0) {
        error_set(err, STATUS_UNAVAILABLE, "%s has agreed about %s already",
                  listener->self->config->host_name, listener->self->vm);
        return NULL;
    }
    if (strcmp(name, "hello") == 0)
        return take_hello(listener, peer, remote, body, err) ? exchange_hello_body(exchange, err)
                                                             : NULL;
    if (!exchange->self || !exchange->peer.name || strcmp(exchange->peer.name, peer->name) != 0) {
        error_set(err, STATUS_PROTOCOL, "'%s' comes before hello", name);
        return NULL;
    }
    listener->stale = deadline_in_ms(STALE_MS);
    if (strcmp(name, "profile") == 0)
        return exchange_take_profile(exchange, body, err) ? own_profile(listener, err) : NULL;
    if (strcmp(name, "prove") == 0)
        return prove(listener, body, err);
    if (strcmp(name, "propose") == 0)
        return approve(listener, body, err);
    if (strcmp(name, "commit") == 0)
        return commit(listener, body, err);
    if (strcmp(name, "cancel") == 0)
        return take_cancel(listener, body, err);
    error_set(err, STATUS_PROTOCOL, "'%s' is not a request of this protocol", name);
    return NULL;
}

static bool handle(void *context, const struct trust_entry *peer, const char *remote,
                   const char *name, json_t *body, json_t **answer, struct error *err)
{
    struct listener *listener = context;
    struct error failure = ERROR_INIT;
    log_debug("%s (%s): %s", peer->name, remote, name);
    *answer = answer_request(listener, peer, remote, name, body, &failure);
    if (!*answer) {
        if (listener->fatal)
            peer_server_stop(listener->server); /* main says why */
        else
            log_error("with %s: %s", peer->name, failure.message);
        listener->last = failure;
        listener->failed = true;
        *err = failure;
        return false;
    }
    if (listener->exchange.step == STEP_COMMITTED)
        peer_server_stop(listener->server);
    return true;
}

bool negotiate_listen(const struct exchange_self *self, const struct trust *trust,
                      const char *address, uint16_t port, struct negotiated *result,
                      struct error *err)
{
    struct listener listener = {.self = self, .last = ERROR_INIT};
    struct peer_handler handler = {.handle = handle, .context = &listener};
    autopeerserver struct peer_server *server =
        peer_server_new(self->identity, trust, address, port, &handler, err);
    if (!server)
        return false;
    listener.server = server;
    log_info("waiting for a peer on port %u", peer_server_port(server));
    bool agreed = peer_server_run(server, self->when, self->interrupted, err);
    /* What went wrong was said when it did; the status tells it once more. */
    if (listener.fatal) {
        *err = listener.last;
        agreed = false;
    } else if (!agreed && err->status == STATUS_UNAVAILABLE)
        error_set(err,
                  listener.last.status != STATUS_OK ? listener.last.status : STATUS_UNAVAILABLE,
                  "no peer came to an agreement about %s in time", self->vm);
    if (!agreed) {
        exchange_free(&listener.exchange);
        free(listener.peer_host);
        return false;
    }
    *result = (struct negotiated){.exchange = listener.exchange,
                                  .peer_host = listener.peer_host,
                                  .listener = peer_server_dup_socket(server, err)};
    return result->listener >= 0;
}
