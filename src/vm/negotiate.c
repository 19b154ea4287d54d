/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The side that asks.
 */
#include "vm/negotiate.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "peer/client.h"
#include "peer/message.h"

#define RETRY_MS 200
#define CANCEL_MS 2000

void negotiated_free(struct negotiated *negotiated)
{
    exchange_free(&negotiated->exchange);
    free(negotiated->peer_host);
    if (negotiated->listener >= 0)
        close(negotiated->listener);
    *negotiated = (struct negotiated)NEGOTIATED_INIT;
}

/* A call that is made again while nobody listens there yet. */
static bool call_patiently(const struct peer_client *client, const char *name, json_t *body,
                           deadline when, json_t **answer, struct error *err)
{
    bool told = false;
    while (!peer_call(client, name, body, when, answer, err)) {
        if (!*client->retryable || deadline_left_ms(when) < RETRY_MS)
            return false;
        if (!told)
            log_info("waiting for %s: nobody answers at %s port %u yet", client->peer->name,
                     client->host, client->port);
        told = true;
        poll(NULL, 0, RETRY_MS);
        if (client->interrupted && *client->interrupted)
            return error_set(err, STATUS_INTERRUPTED, "interrupted");
    }
    return true;
}

/* Send a body (used up; NULL if it could not be made) and get the answer. Only the first request
 * may come too early: a peer that has answered once and is gone has forgotten the exchange. */
static json_t *ask(const struct peer_client *client, const char *name, json_t *body, deadline when,
                   struct error *err)
{
    autojson json_t *request = body;
    json_t *answer = NULL;
    bool good = request && (strcmp(name, "hello") == 0
                                ? call_patiently(client, name, request, when, &answer, err)
                                : peer_call(client, name, request, when, &answer, err));
    return good ? answer : NULL;
}

static bool hello_and_profile(struct exchange *exchange, const struct peer_client *client,
                              deadline when, bool *answered, struct error *err)
{
    autojson json_t *hello = ask(client, "hello", exchange_hello_body(exchange, err), when, err);
    *answered = hello != NULL;
    if (!hello || !exchange_take_hello(exchange, hello, client->peer, err))
        return false;
    autojson json_t *profile =
        ask(client, "profile", exchange_profile_body(exchange, err), when, err);
    return profile && exchange_take_profile(exchange, profile, err);
}

/* Sign the agreement, have the peer approve it, keep it: the document that both will hold. */
static json_t *propose(struct exchange *exchange, const struct peer_client *client, deadline when,
                       struct error *err)
{
    const struct exchange_self *self = exchange->self;
    autofree char *text = NULL;
    autostrlist struct strlist approvals = {0};
    autojson json_t *payload = agreement_to_json(&exchange->agreement);
    if (!payload) {
        error_no_memory(err);
        return NULL;
    }
    if (!envelope_sign_digest(self->identity, AGREEMENT_TYPE, payload, &text,
                              exchange->agreement_digest, err))
        return NULL;
    json_t *proposal = json_parse_strict(text, strlen(text), AGREEMENT_SIZE_MAX, err);
    if (!proposal)
        return NULL;
    autojson json_t *answer =
        ask(client, "propose", exchange_body(exchange, "agreement", proposal, err), when, err);
    json_t *approval;
    if (!answer || !exchange_take_body(exchange, answer, "approval", &approval, err))
        return NULL;
    char pin[PIN_SIZE];
    autofree char *approval_text = json_to_text(approval);
    if (!approval_text || !strlist_push(&approvals, approval_text)) {
        error_no_memory(err);
        return NULL;
    }
    if (!approval_check(approval_text, &exchange->agreement, exchange->agreement_digest, pin,
                        err)) {
        error_wrap(err, "%s", exchange->peer.name);
        return NULL;
    }
    if (strcmp(pin, exchange->peer.pin) != 0) {
        error_set(err, STATUS_NOT_TRUSTED, "%s approved with another key", exchange->peer.name);
        return NULL;
    }
    autojson json_t *document = agreement_document(text, &approvals, err);
    if (!document || !agreement_store(self->paths->state, self->vm, document, err))
        return NULL;
    return STEAL(document);
}

/* The peer has it on disk when it acknowledges. Until then the same commit may be sent again. */
static bool commit(struct exchange *exchange, const struct peer_client *client, json_t *document,
                   deadline when, struct error *err)
{
    autojson json_t *body = exchange_body(exchange, "document", document, err);
    autojson json_t *answer = NULL;
    json_t *committed;
    if (!body)
        return false;
    while (!peer_call(client, "commit", body, when, &answer, err)) {
        if (err->status != STATUS_UNAVAILABLE || deadline_left_ms(when) < RETRY_MS)
            return error_wrap(err,
                              "the agreement was not acknowledged, so nothing is started here "
                              "(%s may have started)",
                              exchange->peer.name);
        poll(NULL, 0, RETRY_MS);
    }
    if (!exchange_take_body(exchange, answer, "committed", &committed, err))
        return false;
    const char *digest = json_string_value(committed);
    if (!digest || strcmp(digest, exchange->agreement_digest) != 0)
        return error_set(err, STATUS_PROTOCOL, "%s acknowledged another agreement",
                         exchange->peer.name);
    exchange->step = STEP_COMMITTED;
    return true;
}

/* Each side's guest looks at the CPU at the same time; what differs is masked until none does. */
static bool prove(struct exchange *exchange, const struct peer_client *client, deadline when,
                  struct error *err)
{
    for (bool settled = false; !settled;) {
        if (!exchange_prove_start(exchange, err))
            return false;
        autojson json_t *answer =
            ask(client, "prove", exchange_prove_body(exchange, err), when, err);
        if (!answer || !exchange_prove_finish(exchange, err) ||
            !exchange_take_table(exchange, answer, err) ||
            !exchange_settle(exchange, &settled, err))
            return false;
    }
    return true;
}

static bool agree(struct exchange *exchange, const struct peer_client *client, deadline when,
                  bool *answered, struct error *err)
{
    if (!hello_and_profile(exchange, client, when, answered, err) ||
        (exchange->self->prove && !prove(exchange, client, when, err)) ||
        !exchange_agree(exchange, time(NULL), err))
        return false;
    autojson json_t *document = propose(exchange, client, when, err);
    return document && commit(exchange, client, STEAL(document), when, err);
}

/* Tell the peer, as well as it goes, that nothing will come of it and why: it may be waiting. */
static void cancel(const struct exchange *exchange, const struct peer_client *client,
                   const struct error *why)
{
    struct peer_client last = *client;
    last.interrupted = NULL;
    json_t *reason = message_error_new(why);
    autojson json_t *body = reason ? exchange_body(exchange, "reason", reason, NULL) : NULL;
    autojson json_t *answer = NULL;
    if (body)
        peer_call(&last, "cancel", body, deadline_in_ms(CANCEL_MS), &answer, NULL);
}

bool negotiate_with_peer(const struct exchange_self *self, const struct trust_entry *peer,
                         const char *host, uint16_t port, struct negotiated *result,
                         struct error *err)
{
    autonegotiated struct negotiated made = {.peer_host = strdup(host), .listener = -1};
    struct exchange *exchange = &made.exchange;
    bool retryable = false;
    struct peer_client client = {.identity = self->identity,
                                 .peer = peer,
                                 .host = host,
                                 .port = port,
                                 .interrupted = self->interrupted,
                                 .retryable = &retryable};
    if (!made.peer_host)
        return error_no_memory(err);
    if (!exchange_begin(exchange, self, NULL, err))
        return false;
    bool answered = false;
    if (!agree(exchange, &client, self->when, &answered, err)) {
        if (answered)
            cancel(exchange, &client, err);
        return false;
    }
    *result = made;
    made = (struct negotiated)NEGOTIATED_INIT;
    return true;
}
