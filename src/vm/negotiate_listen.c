/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The side that is asked.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "peer/server.h"
#include "vm/negotiate.h"
#include "vm/respond.h"

/* An exchange that stands still for so long gives way to another peer's. */
#define STALE_MS 30000
#define LOG_LINES 20 /* about what goes wrong with peers, in each LOG_WINDOW_MS */

struct listener {
    const struct exchange_self *self;
    struct peer_server *server;
    struct respond respond; /* to the one who asks; exchange.self == NULL: nobody yet */
    char *peer_host;
    deadline stale;
    struct log_rate log;
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
    struct exchange *current = &listener->respond.exchange;
    if (current->self && current->peers[0].name &&
        strcmp(current->peers[0].name, peer->name) != 0 && deadline_left_ms(listener->stale) > 0)
        return error_set(err, STATUS_UNAVAILABLE, "busy with another peer: try again in %d s",
                         STALE_MS / 1000);
    char *host = strdup(remote);
    if (!host)
        return error_no_memory(err);
    free(listener->peer_host);
    listener->peer_host = host;
    listener->failed = false;
    return exchange_begin(current, listener->self, id, 1, err) &&
           exchange_take_hello(current, &current->peers[0], body, peer, err);
}

/* What was acknowledged stands: QEMU is about to be started with it. Only who never got the
 * acknowledgement, and begins anew, has not started anything with it. */
static bool is_settled(const struct listener *listener, const struct trust_entry *peer,
                       const char *name)
{
    const struct exchange *exchange = &listener->respond.exchange;
    if (!exchange->self || exchange->step != STEP_COMMITTED)
        return false;
    return strcmp(name, "hello") != 0 || peer_server_is_stopping(listener->server) ||
           strcmp(exchange->peers[0].name, peer->name) != 0;
}

static json_t *answer_request(struct listener *listener, const struct trust_entry *peer,
                              const char *remote, const char *name, json_t *body, struct error *err)
{
    struct respond *respond = &listener->respond;
    struct exchange *exchange = &respond->exchange;
    respond->fatal = false;
    if (strcmp(name, "commit") != 0 && is_settled(listener, peer, name)) {
        error_set(err, STATUS_UNAVAILABLE, "%s has agreed about %s already",
                  listener->self->config->host_name, listener->self->vm);
        return NULL;
    }
    if (strcmp(name, "hello") == 0)
        return take_hello(listener, peer, remote, body, err) ? exchange_hello_body(exchange, err)
                                                             : NULL;
    if (!exchange->self || !exchange->peers[0].name ||
        strcmp(exchange->peers[0].name, peer->name) != 0) {
        error_set(err, STATUS_PROTOCOL, "'%s' comes before hello", name);
        return NULL;
    }
    listener->stale = deadline_in_ms(STALE_MS);
    json_t *answer = respond_to(respond, name, body, err);
    if (answer && respond->cancelled) {
        if (!listener->failed) {
            if (log_rate_take(&listener->log, LOG_LINES, "failures"))
                log_error("%s gave up: %s", exchange->peers[0].name, respond->reason.message);
            listener->last = respond->reason;
        }
        respond->cancelled = false;
        listener->failed = true;
    }
    return answer;
}

static bool handle(void *context, const struct trust_entry *peer, const char *remote,
                   const char *name, json_t *body, json_t **answer, struct error *err)
{
    struct listener *listener = context;
    struct error failure = ERROR_INIT;
    log_debug("%s (%s): %s", peer->name, remote, name);
    *answer = answer_request(listener, peer, remote, name, body, &failure);
    if (!*answer) {
        if (listener->respond.fatal)
            peer_server_stop(listener->server); /* main says why */
        else if (log_rate_take(&listener->log, LOG_LINES, "failures"))
            log_error("with %s: %s", peer->name, failure.message);
        listener->last = failure;
        listener->failed = true;
        *err = failure;
        return false;
    }
    if (listener->respond.exchange.step == STEP_COMMITTED)
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
        return err->status == STATUS_UNAVAILABLE
                   ? error_advise(err, "end what has that port ('ss -ltnp' tells), or choose "
                                       "another with --listen [ADDR]:PORT")
                   : false;
    listener.server = server;
    log_info("waiting for a peer on port %u", peer_server_port(server));
    bool agreed = peer_server_run(server, self->when, self->interrupted, err);
    /* What went wrong was said when it did; the status tells it once more. */
    if (listener.respond.fatal) {
        *err = listener.last;
        agreed = false;
    } else if (!agreed && err->status == STATUS_UNAVAILABLE)
        error_set(err,
                  listener.last.status != STATUS_OK ? listener.last.status : STATUS_UNAVAILABLE,
                  "no peer came to an agreement about %s in time", self->vm);
    if (!agreed) {
        exchange_free(&listener.respond.exchange);
        free(listener.peer_host);
        return false;
    }
    *result = (struct negotiated){.exchange = listener.respond.exchange,
                                  .addresses = calloc(2, sizeof(char *)),
                                  .listener = peer_server_dup_socket(server, err)};
    if (!result->addresses) {
        free(listener.peer_host);
        return error_no_memory(err);
    }
    result->addresses[0] = listener.peer_host;
    return result->listener >= 0;
}
