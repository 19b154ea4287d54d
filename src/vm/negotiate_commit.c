/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Commit: every party has the agreement that all have signed on disk when it acknowledges. It can
 * be sent as often as it takes.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "vm/negotiate_ask.h"

#define RETRY_MS 200

static bool take_committed(struct peer_ask *ask, const char *id, const char *digest)
{
    struct error *err = &ask->error;
    const char *exchange, *committed;
    if (!json_take(ask->answer, err, "commit", "{s:s, s:s}", "exchange", &exchange, "committed",
                   &committed))
        return error_wrap(err, "%s", ask->client.peer->name);
    return (strcmp(exchange, id) == 0 && strcmp(committed, digest) == 0) ||
           error_set(err, STATUS_PROTOCOL, "%s acknowledged another agreement",
                     ask->client.peer->name);
}

/* It may have them at a later time. */
static bool worth_trying_again(const struct round *round)
{
    for (size_t i = 0; i < round->count; i++)
        if (round->asks[i].error.status != STATUS_OK &&
            round->asks[i].error.status != STATUS_UNAVAILABLE)
            return false;
    return !(round->self->interrupted && *round->self->interrupted);
}

bool round_commit(struct round *round, json_t *document, const char *digest, const char *id,
                  struct error *err)
{
    struct error failure = ERROR_INIT;
    autojson json_t *body = json_pack("{s:s, s:O}", "exchange", id, "document", document);
    if (!body)
        return error_no_memory(err);
    while (!round_ask(round, "commit", json_incref(body), false, &failure)) {
        if (!worth_trying_again(round) || deadline_left_ms(round->self->when) < RETRY_MS)
            return error_set(err, failure.status,
                             "the agreement was not acknowledged by all, so nothing is started "
                             "here (others may have started): %s",
                             failure.message);
        poll(NULL, 0, RETRY_MS);
    }
    for (size_t i = 0; i < round->count; i++)
        take_committed(&round->asks[i], id, digest);
    return round_judge(round, err);
}

bool negotiate_commit_again(const struct exchange_self *self, json_t *document,
                            const struct negotiate_target *targets, size_t count, struct error *err)
{
    autoround struct round round = {0};
    autoagreement struct agreement agreement = {0};
    char digest[DIGEST_HEX_SIZE], id[EXCHANGE_ID_SIZE];
    return agreement_document_open(document, &agreement, digest, err) && random_hex(16, id, err) &&
           round_begin(&round, self, targets, count, err) &&
           round_commit(&round, document, digest, id, err) &&
           agreement_store(self->paths->state, agreement.vm, document, err);
}
