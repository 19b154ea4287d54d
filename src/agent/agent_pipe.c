/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/agent_pipe.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

void agent_question_free(struct agent_question *question)
{
    json_decref(question->body);
    free(question->certificate);
    *question = (struct agent_question){0};
}

json_t *agent_question_to_json(const struct agent_question *question)
{
    autojson json_t *frame =
        json_pack("{s:I, s:s, s:s, s:s, s:O}", "id", question->id, "pin", question->pin, "remote",
                  question->remote, "name", question->name, "body", question->body);
    if (frame && question->certificate &&
        json_object_set_new(frame, "certificate", json_string(question->certificate)) != 0)
        return NULL;
    return STEAL(frame);
}

bool agent_question_from_json(json_t *frame, struct agent_question *question, struct error *err)
{
    json_int_t id;
    const char *pin, *certificate = NULL, *remote, *name;
    json_t *body;
    if (!json_take(frame, err, "frame", "{s:I, s:s, s?s, s:s, s:s, s:o}", "id", &id, "pin", &pin,
                   "certificate", &certificate, "remote", &remote, "name", &name, "body", &body))
        return false;
    /* A numeric address, perhaps with a scope. */
    static const char of_address[] = "0123456789abcdefABCDEF.:";
    size_t plain = strspn(remote, of_address);
    if ((remote[plain] && remote[plain] != '%') ||
        (remote[plain] == '%' && !name_is_feature(remote + plain + 1)))
        return error_set(err, STATUS_DATA, "frame: the address is none");
    if (!pin_is_valid(pin) || !message_name_is_valid(name) ||
        strlen(remote) >= sizeof(question->remote) || !json_is_object(body))
        return error_set(err, STATUS_DATA, "frame: not a request");
    autofree char *copy = certificate ? strdup(certificate) : NULL;
    if (certificate && !copy)
        return error_no_memory(err);
    *question =
        (struct agent_question){.id = id, .certificate = STEAL(copy), .body = json_incref(body)};
    snprintf(question->pin, sizeof(question->pin), "%s", pin);
    snprintf(question->remote, sizeof(question->remote), "%s", remote);
    snprintf(question->name, sizeof(question->name), "%s", name);
    return true;
}

json_t *agent_answer_to_json(json_int_t id, json_t *answer, const struct error *problem)
{
    if (answer)
        return json_pack("{s:I, s:O}", "id", id, "answer", answer);
    autojson json_t *frame = message_error_new(problem);
    if (!frame || json_object_set_new(frame, "id", json_integer(id)) != 0)
        return NULL;
    return STEAL(frame);
}

bool agent_answer_from_json(json_t *frame, json_int_t *id, json_t **answer, struct error *problem,
                            struct error *err)
{
    json_t *body = NULL, *words = NULL;
    if (!json_take(frame, err, "frame", "{s:I, s?o, s?o}", "id", id, "answer", &body, "error",
                   &words))
        return false;
    if (json_is_object(body) && !words) {
        *answer = json_incref(body);
        return true;
    }
    autojson json_t *message = words && !body ? json_pack("{s:O}", "error", words) : NULL;
    if (!message || !message_error_take(message, problem))
        return error_set(err, STATUS_DATA, "frame: not an answer");
    *answer = NULL;
    return true;
}

bool agent_frame_pack(const json_t *frame, size_t max, char **bytes, size_t *length,
                      struct error *err)
{
    autofree char *text = frame ? json_to_text(frame) : NULL;
    if (!text)
        return error_no_memory(err);
    size_t size = strlen(text);
    if (size > max)
        return error_set(err, STATUS_INTERNAL, "a frame of %zu bytes is more than %zu", size, max);
    char *all = malloc(PIPE_HEADER + size);
    if (!all)
        return error_no_memory(err);
    for (int i = 0; i < PIPE_HEADER; i++)
        all[i] = (char)(size >> (8 * (PIPE_HEADER - 1 - i)));
    memcpy(all + PIPE_HEADER, text, size);
    *bytes = all;
    *length = PIPE_HEADER + size;
    return true;
}

bool agent_frame_length(const uint8_t header[PIPE_HEADER], size_t max, size_t *length,
                        struct error *err)
{
    size_t size = 0;
    for (int i = 0; i < PIPE_HEADER; i++)
        size = size << 8 | header[i];
    if (size == 0 || size > max)
        return error_set(err, STATUS_DATA, "a frame of %zu bytes", size);
    *length = size;
    return true;
}

static bool wait_for(int fd, short events, deadline when, struct error *err)
{
    struct pollfd item = {.fd = fd, .events = events};
    for (;;) {
        int n = poll(&item, 1, deadline_left_ms(when));
        if (n > 0)
            return true;
        if (n == 0)
            return error_set(err, STATUS_UNAVAILABLE, "the other process does not answer");
        if (errno != EINTR)
            return error_set_errno(err, STATUS_INTERNAL, errno, "poll");
    }
}

bool agent_pipe_send(int fd, const json_t *frame, size_t max, deadline when, struct error *err)
{
    autofree char *bytes = NULL;
    size_t length = 0, sent = 0;
    if (!agent_frame_pack(frame, max, &bytes, &length, err))
        return false;
    while (sent < length) {
        ssize_t n = send(fd, bytes + sent, length - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0)
            sent += (size_t)n;
        else if (errno == EAGAIN && !wait_for(fd, POLLOUT, when, err))
            return false;
        else if (errno != EAGAIN && errno != EINTR)
            return error_set_errno(err, STATUS_UNAVAILABLE, errno, "the other process has gone");
    }
    return true;
}

/* Fill all of buffer. *ended: the stream ended before its first byte. */
static bool receive_all(int fd, void *buffer, size_t size, deadline when, bool *ended,
                        struct error *err)
{
    size_t got = 0;
    *ended = false;
    while (got < size) {
        ssize_t n = recv(fd, (char *)buffer + got, size - got, MSG_DONTWAIT);
        if (n > 0) {
            got += (size_t)n;
        } else if (n == 0) {
            *ended = got == 0;
            return *ended ||
                   error_set(err, STATUS_UNAVAILABLE, "the other process has gone in mid-sentence");
        } else if (errno == EAGAIN) {
            if (!wait_for(fd, POLLIN, when, err))
                return false;
        } else if (errno != EINTR) {
            return error_set_errno(err, STATUS_UNAVAILABLE, errno, "the other process has gone");
        }
    }
    return true;
}

bool agent_pipe_receive(int fd, size_t max, deadline when, json_t **frame, struct error *err)
{
    uint8_t header[PIPE_HEADER];
    size_t length = 0;
    bool ended;
    *frame = NULL;
    if (!receive_all(fd, header, sizeof(header), when, &ended, err))
        return false;
    if (ended)
        return true;
    if (!agent_frame_length(header, max, &length, err))
        return false;
    autofree char *text = malloc(length);
    if (!text)
        return error_no_memory(err);
    if (!receive_all(fd, text, length, when, &ended, err))
        return false;
    if (ended)
        return error_set(err, STATUS_UNAVAILABLE, "the other process has gone in mid-sentence");
    *frame = json_parse_strict(text, length, max, err);
    return *frame != NULL;
}
