/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/agent_network.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <signal.h>
#include <string.h>

#include "agent/agent_queue.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/process.h"
#include "base/sandbox.h"

#define DRAIN_TICK_MS 20
#define REFUSAL_MS 1000 /* to tell those that were not served */

static const struct peer_limits limits = {
    .connections = 256, .pending = 64, .pending_per_peer = 16, .answer_ms = 60000};

struct network {
    struct peer_server *server;
    struct bufferevent *worker;
    struct event *terminated, *drain_tick, *rest;
    struct trust trust;
    struct agent_queue queue;
    struct agent_waiting *sent; /* what the worker is at */
    bool ready;
    deadline drained; /* by then; DEADLINE_NEVER: it is not being ended */
    bool refused;     /* what was left then */
    int status;
};

static void end(struct network *network, int status, const char *why)
{
    if (why)
        log_error("network process: %s", why);
    network->status = status;
    peer_server_stop(network->server);
}

static bool send_frame(struct network *network, json_t *frame, size_t max)
{
    autojson json_t *owned = frame;
    autofree char *bytes = NULL;
    size_t length = 0;
    struct error err = ERROR_INIT;
    if (agent_frame_pack(owned, max, &bytes, &length, &err) &&
        bufferevent_write(network->worker, bytes, length) == 0)
        return true;
    end(network, STATUS_INTERNAL, err.status != STATUS_OK ? err.message : "out of memory");
    return false;
}

/* One at a time: what waits can still be dropped, and be put in order. */
static void ask_worker(struct network *network)
{
    if (network->sent)
        return;
    network->sent = agent_queue_take(&network->queue);
    if (network->sent)
        send_frame(network, agent_question_to_json(&network->sent->question), PIPE_QUESTION_MAX);
}

/* Whether there is anything left to be answered. */
static void look_at_end(struct network *network)
{
    struct error stopping = ERROR_INIT;
    const struct timeval soon = {.tv_usec = DRAIN_TICK_MS * 1000};
    if (network->drained == DEADLINE_NEVER)
        return;
    bool idle = !network->sent && !network->queue.first && peer_server_is_idle(network->server);
    bool late = deadline_left_ms(network->drained) == 0;
    if (idle || (late && network->refused)) {
        end(network, STATUS_OK, NULL);
        return;
    }
    if (late) {
        error_set(&stopping, STATUS_UNAVAILABLE, "the agent is being ended: try again later");
        agent_waiting_answer(STEAL(network->sent), NULL, &stopping);
        agent_queue_refuse(&network->queue, &stopping);
        network->refused = true;
        network->drained = deadline_in_ms(REFUSAL_MS);
    }
    event_add(network->drain_tick, &soon);
}

static void on_drain_tick(evutil_socket_t fd, short what, void *context)
{
    look_at_end(context);
}

/* Nothing was asked for a while. */
static void on_rest(evutil_socket_t fd, short what, void *context)
{
    process_rest();
}

static void on_terminated(evutil_socket_t fd, short what, void *context)
{
    struct network *network = context;
    if (network->drained != DEADLINE_NEVER)
        return;
    peer_server_stop_listening(network->server);
    network->drained = deadline_in_ms(AGENT_GRACE_MS);
    look_at_end(network);
}

static void begin(void *context, const struct trust_entry *peer, const char *remote,
                  const char *name, json_t *body, struct peer_request *request)
{
    struct network *network = context;
    struct error err = ERROR_INIT;
    agent_queue_prune(&network->queue);
    autofree char *certificate = peer->certificate ? certificate_to_text(peer->certificate) : NULL;
    if ((certificate || !peer->certificate) &&
        agent_queue_add(&network->queue, request, peer_request_pin(request), certificate, remote,
                        name, body)) {
        ask_worker(network);
        return;
    }
    error_no_memory(&err);
    peer_request_answer(request, NULL, &err);
}

static bool take_trust(struct network *network, json_t *frame, struct error *err)
{
    struct trust fresh = {0};
    if (!agent_trust_from_json(frame, &fresh, err))
        return false;
    trust_carry(&fresh, &network->trust);
    struct trust old = network->trust;
    network->trust = fresh;
    peer_server_set_trust(network->server, &network->trust);
    trust_free(&old);
    if (!network->ready) {
        network->ready = send_frame(network, json_pack("{s:b}", "ready", true), PIPE_QUESTION_MAX);
    }
    return true;
}

static bool take_answer(struct network *network, json_t *frame, struct error *err)
{
    json_int_t id = 0;
    json_t *answer = NULL;
    struct error problem = ERROR_INIT;
    if (!agent_answer_from_json(frame, &id, &answer, &problem, err))
        return false;
    if (network->refused || !network->sent || network->sent->question.id != id) {
        json_decref(answer);
        if (network->refused)
            return true;
        return error_set(err, STATUS_DATA, "an answer to nothing");
    }
    agent_waiting_answer(STEAL(network->sent), answer, &problem);
    ask_worker(network);
    look_at_end(network);
    return true;
}

/* 1: a frame was there and is done with; 0: there is none yet; -1 with err. */
static int take_frame(struct network *network, struct evbuffer *input, struct error *err)
{
    uint8_t header[PIPE_HEADER];
    size_t length = 0;
    if (evbuffer_copyout(input, header, sizeof(header)) < (ssize_t)sizeof(header))
        return 0;
    if (!agent_frame_length(header, PIPE_ORDER_MAX, &length, err))
        return -1;
    if (evbuffer_get_length(input) < sizeof(header) + length)
        return 0;
    evbuffer_drain(input, sizeof(header));
    const char *text = (const char *)evbuffer_pullup(input, (ssize_t)length);
    if (!text) {
        error_no_memory(err);
        return -1;
    }
    autojson json_t *frame = json_parse_strict(text, length, PIPE_ORDER_MAX, err);
    evbuffer_drain(input, length);
    if (!frame)
        return -1;
    bool good;
    if (json_object_get(frame, "alive"))
        good = send_frame(network, json_pack("{s:b}", "alive", true), PIPE_QUESTION_MAX);
    else if (json_object_get(frame, "trust"))
        good = take_trust(network, frame, err);
    else
        good = take_answer(network, frame, err);
    return good ? 1 : -1;
}

static void on_input(struct bufferevent *worker, void *context)
{
    struct network *network = context;
    const struct timeval later = {.tv_sec = AGENT_REST_MS / 1000};
    struct error err = ERROR_INIT;
    int result;
    event_add(network->rest, &later);
    do {
        result = take_frame(network, bufferevent_get_input(worker), &err);
    } while (result > 0);
    if (result < 0) {
        bufferevent_disable(worker, EV_READ);
        error_wrap(&err, "the worker is confused");
        end(network, STATUS_INTERNAL, err.message);
    }
}

static void on_worker_event(struct bufferevent *worker, short what, void *context)
{
    end(context, STATUS_INTERNAL, "the worker has gone");
}

static bool set_up(struct network *network, const struct identity *identity, int listener, int pipe,
                   struct error *err)
{
    const struct peer_handler handler = {.begin = begin, .context = network};
    network->server =
        peer_server_new_from_socket(identity, &network->trust, listener, &handler, err);
    if (!network->server)
        return false;
    peer_server_set_limits(network->server, &limits);
    struct event_base *base = peer_server_base(network->server);
    network->worker = bufferevent_socket_new(base, pipe, BEV_OPT_CLOSE_ON_FREE);
    network->terminated = evsignal_new(base, SIGTERM, on_terminated, network);
    network->drain_tick = evtimer_new(base, on_drain_tick, network);
    network->rest = evtimer_new(base, on_rest, network);
    if (!network->worker || !network->terminated || !network->drain_tick || !network->rest ||
        event_add(network->terminated, NULL) != 0)
        return error_no_memory(err);
    bufferevent_setcb(network->worker, on_input, NULL, on_worker_event, network);
    bufferevent_enable(network->worker, EV_READ | EV_WRITE);
    return true;
}

int agent_network_run(const struct identity *identity, int listener, int pipe)
{
    struct network network = {.drained = DEADLINE_NEVER};
    struct error err = ERROR_INIT;
    const struct sandbox sandbox = {.kind = SANDBOX_NETWORK};
    /* Everything is opened here. */
    if (!set_up(&network, identity, listener, pipe, &err) || !sandbox_enter(&sandbox, &err)) {
        log_error("network process: %s", err.message);
        return err.status;
    }
    if (!peer_server_run(network.server, DEADLINE_NEVER, NULL, &err)) {
        log_error("network process: %s", err.message);
        network.status = err.status;
    }
    /* The connections, and all the rest, go with the process. */
    return network.status;
}
