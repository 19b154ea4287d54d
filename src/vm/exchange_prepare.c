/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What will most likely be needed in a moment, made while the other side is at something else. It
 * counts when it is needed just then, and nothing has changed: else it is made again.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "host/qemu_files.h"
#include "vm/exchange.h"

/* A profile says what is so when it is asked for. */
#define PREPARED_MS 1000

/* Of one that asks: what its own QEMU would choose. */
static char *guess_machine(const struct exchange *exchange)
{
    const struct exchange_self *self = exchange->self;
    const struct machine_wish wish = {self->config->host_name, self->machine, &self->qemu->machines,
                                      self->qemu->version, false};
    if (exchange->guess)
        return strdup(exchange->guess);
    return exchange->proposing ? machine_choose(&wish, 1, NULL) : NULL;
}

void exchange_prepare(struct exchange *exchange)
{
    struct exchange_prepared *prepared = &exchange->prepared;
    if (exchange->profile_payload || prepared->machine || exchange->machine ||
        !(prepared->machine = guess_machine(exchange)))
        return;
    prepared->error = (struct error)ERROR_INIT;
    exchange->machine = prepared->machine;
    prepared->good = exchange_make_profile(exchange, &prepared->error);
    exchange->machine = NULL;
    prepared->until = deadline_in_ms(PREPARED_MS);
}

/* A CPU model that an asker names by its versioned name; it was not known when it was prepared. */
static bool has_model(const struct exchange *exchange)
{
    const struct cpu_offer *offer = &exchange->profile.offer;
    const char *model = exchange->request.model;
    if (exchange->proposing || !model || !exchange->prepared.good)
        return true;
    for (size_t i = 0; i < offer->model_count; i++)
        if (strcmp(offer->models[i].name, model) == 0)
            return true;
    return false;
}

bool exchange_take_prepared(struct exchange *exchange, bool *good, struct error *err)
{
    autofree char *machine = STEAL(exchange->prepared.machine);
    const struct exchange_prepared *prepared = &exchange->prepared;
    if (!machine)
        return false;
    if (strcmp(machine, exchange->machine) != 0 || deadline_left_ms(prepared->until) == 0 ||
        !has_model(exchange)) {
        exchange_drop_profile(exchange);
        return false;
    }
    *good = prepared->good || error_set(err, prepared->error.status, "%s", prepared->error.message);
    return true;
}

/* What is at path now. */
static char *identify(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? file_identity(path, &st) : NULL;
}

static bool open_last(const struct exchange *exchange, const struct exchange_peer *peer,
                      struct envelope *envelope)
{
    autofree char *text = NULL;
    return exchange_stored_profile(exchange->self->paths, peer->name, &text, NULL) && text &&
           envelope_open(text, strlen(text), PROFILE_SIZE_MAX * 2, PROFILE_TYPE, envelope, NULL);
}

void exchange_open_last(struct exchange *exchange)
{
    for (size_t i = 0; i < exchange->peer_count; i++) {
        struct exchange_peer *peer = &exchange->peers[i];
        autofree char *path = peer->has_profile || peer->last_file
                                  ? NULL
                                  : exchange_stored_path(exchange->self->paths, peer->name, NULL);
        autofree char *file = path ? identify(path) : NULL;
        if (file && open_last(exchange, peer, &peer->last))
            peer->last_file = STEAL(file);
    }
}

bool exchange_find_last(const struct exchange *exchange, struct exchange_peer *peer,
                        const char *digest, struct envelope *out)
{
    autoenvelope struct envelope envelope = {0};
    autofree char *path = exchange_stored_path(exchange->self->paths, peer->name, NULL);
    autofree char *opened = STEAL(peer->last_file);
    autofree char *file = path && opened ? identify(path) : NULL;
    if (opened) {
        envelope = peer->last;
        peer->last = (struct envelope){0};
    }
    if (!file || strcmp(file, opened) != 0) {
        envelope_free(&envelope);
        if (!open_last(exchange, peer, &envelope))
            return false;
    }
    if (strcmp(envelope.pin, peer->pin) != 0 || strcmp(envelope.digest, digest) != 0)
        return false;
    *out = envelope;
    envelope = (struct envelope){0};
    return true;
}
