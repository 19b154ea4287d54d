/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the agent's two processes say to each other, over a socket pair. A frame is its length, four
 * bytes, big endian, and so many bytes of strict JSON. The network process sends
 *   {"ready":true}                       once, when it serves
 *   {"id":N,"pin":PIN,"certificate":BASE64?,"remote":ADDRESS,"name":NAME,"body":{...}}
 * one at a time, {"alive":true} for each {"alive":true} that it gets, and gets
 *   {"id":N,"answer":{...}} or {"id":N,"error":{"status":N,"message":TEXT}}
 *   {"trust":[{"name":NAME,"pins":[PIN...],"authority":N?,"expires":SECONDS}...],
 *    "authorities":[{"name":NAME,"certificates":[BASE64...]}...]?}    whenever that has changed
 * "certificate" is that of a peer which an authority vouches for: the worker asks the authority,
 * too. "authority" is the place in the list of the one of such an entry, which has no pins.
 * Neither believes that the other keeps to this.
 */
#ifndef QML_AGENT_AGENT_PIPE_H
#define QML_AGENT_AGENT_PIPE_H

#include <netinet/in.h>

#include "base/deadline.h"
#include "base/json.h"
#include "peer/message.h"
#include "peer/trust.h"

#define PIPE_HEADER 4
#define PIPE_QUESTION_MAX ((size_t)MESSAGE_MAX + 24 * 1024) /* from the network process */
#define PIPE_ORDER_MAX ((size_t)4 << 20) /* to it: all of trust.d is the longest */

/* A request on its way to the worker. */
struct agent_question {
    json_int_t id;
    char pin[PIN_SIZE];
    char *certificate; /* certificate_to_text(); NULL: its pin is enough; owned */
    char remote[INET6_ADDRSTRLEN];
    char name[MESSAGE_NAME_MAX + 1];
    json_t *body;
};
void agent_question_free(struct agent_question *question);
#define autoquestion __attribute__((cleanup(agent_question_free)))

/* The frames. New references, or NULL for want of memory; STATUS_DATA for what is none. */
json_t *agent_question_to_json(const struct agent_question *question);
bool agent_question_from_json(json_t *frame, struct agent_question *question, struct error *err);
/* answer (borrowed), or, if that is NULL, problem. */
json_t *agent_answer_to_json(json_int_t id, json_t *answer, const struct error *problem);
/* *answer is a new reference, or NULL with *problem filled. */
bool agent_answer_from_json(json_t *frame, json_int_t *id, json_t **answer, struct error *problem,
                            struct error *err);
json_t *agent_trust_to_json(const struct trust *trust);
bool agent_trust_from_json(json_t *frame, struct trust *trust, struct error *err);

/* A frame's bytes, header first, for the caller to free. STATUS_INTERNAL: more than max bytes. */
bool agent_frame_pack(const json_t *frame, size_t max, char **bytes, size_t *length,
                      struct error *err);
/* The length in a header. STATUS_DATA: 0, or more than max. */
bool agent_frame_length(const uint8_t header[PIPE_HEADER], size_t max, size_t *length,
                        struct error *err);

/* Send a frame of at most max bytes through a socket, waiting for it to be taken. */
bool agent_pipe_send(int fd, const json_t *frame, size_t max, deadline when, struct error *err);
/* Receive one, waiting for all of it. *frame is NULL at the end of the stream. STATUS_DATA: it is
 * none; STATUS_UNAVAILABLE: not in time, or the other end has broken. */
bool agent_pipe_receive(int fd, size_t max, deadline when, json_t **frame, struct error *err);

#endif
