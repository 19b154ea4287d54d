/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/agent_queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

void agent_waiting_answer(struct agent_waiting *waiting, json_t *answer, const struct error *err)
{
    if (!waiting) {
        json_decref(answer);
        return;
    }
    peer_request_answer(waiting->request, answer, err);
    agent_question_free(&waiting->question);
    free(waiting);
}

bool agent_queue_add(struct agent_queue *queue, struct peer_request *request, const char *pin,
                     const char *certificate, const char *remote, const char *name, json_t *body)
{
    struct agent_waiting *item = calloc(1, sizeof(*item));
    struct agent_waiting **end = &queue->first;
    if (!item)
        return false;
    if (certificate && !(item->question.certificate = strdup(certificate))) {
        free(item);
        return false;
    }
    while (*end)
        end = &(*end)->next;
    item->request = request;
    item->question.id = ++queue->last_id;
    item->question.body = json_incref(body);
    snprintf(item->question.pin, sizeof(item->question.pin), "%s", pin);
    snprintf(item->question.remote, sizeof(item->question.remote), "%s", remote);
    snprintf(item->question.name, sizeof(item->question.name), "%s", name);
    *end = item;
    return true;
}

/* How lately a peer was served: 0: not that anybody knows. */
static size_t turn_of(const struct agent_queue *queue, const char *pin)
{
    for (size_t i = queue->served_count; i > 0; i--)
        if (strcmp(queue->served[i - 1], pin) == 0)
            return i;
    return 0;
}

static void note_turn(struct agent_queue *queue, const char *pin)
{
    size_t turn = turn_of(queue, pin);
    size_t gone = turn > 0 ? turn - 1 : 0; /* its own place, or the oldest one's if all are taken */
    if (turn > 0 || queue->served_count == AGENT_TURNS) {
        memmove(queue->served[gone], queue->served[gone + 1],
                (queue->served_count - gone - 1) * sizeof(queue->served[0]));
        queue->served_count--;
    }
    snprintf(queue->served[queue->served_count++], PIN_SIZE, "%s", pin);
}

struct agent_waiting *agent_queue_take(struct agent_queue *queue)
{
    struct agent_waiting **best = NULL;
    size_t least = AGENT_TURNS + 1;
    agent_queue_prune(queue);
    for (struct agent_waiting **place = &queue->first; *place; place = &(*place)->next) {
        size_t turn = turn_of(queue, (*place)->question.pin);
        if (turn < least) {
            least = turn;
            best = place;
        }
    }
    if (!best)
        return NULL;
    struct agent_waiting *item = *best;
    *best = item->next;
    item->next = NULL;
    note_turn(queue, item->question.pin);
    return item;
}

void agent_queue_prune(struct agent_queue *queue)
{
    for (struct agent_waiting **place = &queue->first; *place;) {
        struct agent_waiting *item = *place;
        if (peer_request_is_awaited(item->request)) {
            place = &item->next;
            continue;
        }
        *place = item->next;
        agent_waiting_answer(item, NULL, NULL);
    }
}

void agent_queue_refuse(struct agent_queue *queue, const struct error *err)
{
    while (queue->first) {
        struct agent_waiting *item = queue->first;
        queue->first = item->next;
        agent_waiting_answer(item, NULL, err);
    }
}
