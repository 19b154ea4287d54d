/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Requests that wait for the worker. Peers take turns: one that asks much waits for itself.
 */
#ifndef QML_AGENT_AGENT_QUEUE_H
#define QML_AGENT_AGENT_QUEUE_H

#include "agent/agent_pipe.h"
#include "peer/server.h"

struct agent_waiting {
    struct peer_request *request;
    struct agent_question question;
    struct agent_waiting *next;
};

#define AGENT_TURNS 64

/* Start with {0}. */
struct agent_queue {
    struct agent_waiting *first;
    json_int_t last_id;
    /* Who was served last, the latest at the end. */
    char served[AGENT_TURNS][PIN_SIZE];
    size_t served_count;
};

/* Keep a request until its turn; certificate (or NULL) is copied, body is borrowed. False for want
 * of memory: it stays the caller's. */
bool agent_queue_add(struct agent_queue *queue, struct peer_request *request, const char *pin,
                     const char *certificate, const char *remote, const char *name, json_t *body);

/* The next one, for the caller to agent_waiting_free; NULL: nobody waits. */
struct agent_waiting *agent_queue_take(struct agent_queue *queue);

/* Drop those that nobody waits for any more. */
void agent_queue_prune(struct agent_queue *queue);

/* Answer all that wait with this error. */
void agent_queue_refuse(struct agent_queue *queue, const struct error *err);

/* Answer it as peer_request_answer does, and free it. NULL is fine. */
void agent_waiting_answer(struct agent_waiting *waiting, json_t *answer, const struct error *err);

#endif
