/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/negotiate_ask.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"

#define RETRY_MS 200

bool round_begin(struct round *round, const struct exchange_self *self,
                 const struct negotiate_target *targets, size_t count, struct error *err)
{
    round->self = self;
    round->asks = calloc(count + 1, sizeof(*round->asks));
    round->links = peer_links_new();
    if (!round->asks || !round->links)
        return error_no_memory(err);
    round->count = count;
    for (size_t i = 0; i < count; i++)
        round->asks[i].client = (struct peer_client){.identity = self->identity,
                                                     .peer = targets[i].entry,
                                                     .host = targets[i].host,
                                                     .port = targets[i].port,
                                                     .interrupted = self->interrupted};
    return true;
}

void round_free(struct round *round)
{
    for (size_t i = 0; i < round->count; i++)
        peer_ask_clear(&round->asks[i]);
    free(round->asks);
    peer_links_free(round->links);
    *round = (struct round){0};
}

bool round_judge(const struct round *round, struct error *err)
{
    const struct peer_ask *first = NULL;
    autostrbuf struct strbuf names = {0};
    size_t failed = 0, asked = 0;
    for (size_t i = 0; i < round->count; i++) {
        const struct peer_ask *ask = &round->asks[i];
        asked += !ask->skip;
        if (ask->skip || ask->error.status == STATUS_OK)
            continue;
        strbuf_printf(&names, "%s%s", failed++ > 0 ? ", " : "", ask->client.peer->name);
        first = first ? first : ask;
    }
    if (!first)
        return true;
    if (failed == 1)
        return error_set(err, first->error.status, "%s", first->error.message);
    for (size_t i = 0; i < round->count; i++) {
        const struct peer_ask *ask = &round->asks[i];
        const char *name = ask->client.peer->name, *message = ask->error.message;
        bool named = strncmp(message, name, strlen(name)) == 0;
        if (!ask->skip && ask->error.status != STATUS_OK)
            log_error("%s%s%s", named ? "" : name, named ? "" : ": ", message);
    }
    return error_set(err, first->error.status, "%zu of %zu parties have failed: %s", failed, asked,
                     names.data ? names.data : "");
}

/* Ask those again who could not be reached. */
static bool ask_again(struct round *round, const char *name)
{
    const struct exchange_self *self = round->self;
    autofree bool *told = calloc(round->count + 1, sizeof(bool));
    autofree bool *skipped = calloc(round->count + 1, sizeof(bool));
    bool all = false;
    if (!told || !skipped)
        return false;
    for (size_t i = 0; i < round->count; i++)
        skipped[i] = round->asks[i].skip;
    for (;;) {
        bool retry = false, final = false;
        all = true;
        for (size_t i = 0; i < round->count; i++) {
            struct peer_ask *ask = &round->asks[i];
            if (skipped[i])
                continue;
            ask->skip = ask->answer || !ask->retryable;
            all = all && ask->answer;
            final = final || (!ask->answer && !ask->retryable);
            retry = retry || !ask->skip;
            if (!ask->skip && !told[i])
                log_info("waiting for %s: nobody answers at %s port %u yet", ask->client.peer->name,
                         ask->client.host, ask->client.port);
            told[i] = told[i] || !ask->skip;
        }
        /* What has failed for good will not be mended by waiting for others. */
        if (!retry || final || deadline_left_ms(self->when) < RETRY_MS ||
            (self->interrupted && *self->interrupted))
            break;
        poll(NULL, 0, RETRY_MS);
        peer_call_many(round->asks, round->count, name, self->when, self->interrupted,
                       round->links);
    }
    for (size_t i = 0; i < round->count; i++)
        round->asks[i].skip = skipped[i];
    return all;
}

bool round_send(struct round *round, const char *name, json_t *body, bool patient)
{
    const struct exchange_self *self = round->self;
    autojson json_t *shared = body;
    for (size_t i = 0; i < round->count; i++) {
        peer_ask_clear(&round->asks[i]);
        round->asks[i].body = json_incref(shared);
    }
    return peer_call_many(round->asks, round->count, name, self->when, self->interrupted,
                          round->links) ||
           (patient && ask_again(round, name));
}

static bool judge_sent(const struct round *round, bool all, struct error *err)
{
    const struct exchange_self *self = round->self;
    if (all)
        return true;
    return self->interrupted && *self->interrupted
               ? error_set(err, STATUS_INTERRUPTED, "interrupted")
               : round_judge(round, err);
}

bool round_ask(struct round *round, const char *name, json_t *body, bool patient, struct error *err)
{
    return body && judge_sent(round, round_send(round, name, body, patient), err);
}

bool round_call(struct round *round, const char *name, struct error *err)
{
    const struct exchange_self *self = round->self;
    return judge_sent(round,
                      peer_call_many(round->asks, round->count, name, self->when, self->interrupted,
                                     round->links),
                      err);
}
