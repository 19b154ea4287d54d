/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The pipe between the agent's two processes, whichever of them is a bad one: frames as they are,
 * or, if the input is an array, each of its values as a frame. What is read and written again is
 * the same.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "agent/agent_pipe.h"
#include "fuzz.h"

#define WAIT_MS 10000

static void check_same(json_t *frame, json_t *written)
{
    autojson json_t *owned = written;
    MUST(owned && json_equal(frame, owned));
}

static void try_question(json_t *frame)
{
    autoquestion struct agent_question question = {0};
    if (agent_question_from_json(frame, &question, NULL))
        check_same(frame, agent_question_to_json(&question));
}

static void try_answer(json_t *frame)
{
    autojson json_t *answer = NULL, *again = NULL;
    struct error problem = ERROR_INIT, same = ERROR_INIT;
    json_int_t id, its;
    if (!agent_answer_from_json(frame, &id, &answer, &problem, NULL))
        return;
    MUST(answer || (problem.status != STATUS_OK && text_is_plain(problem.message)));
    autojson json_t *written = agent_answer_to_json(id, answer, &problem);
    MUST(written && agent_answer_from_json(written, &its, &again, &same, NULL) && its == id);
    MUST(!answer == !again && problem.status == same.status);
}

static void try_trust(json_t *frame)
{
    autotrust struct trust trust = {0};
    if (!agent_trust_from_json(frame, &trust, NULL))
        return;
    for (size_t i = 0; i < trust.count; i++)
        MUST(name_is_vm(trust.entries[i].name) &&
             (trust.entries[i].authority || trust_find_pin(&trust, trust.entries[i].pins[0])));
    autojson json_t *written = agent_trust_to_json(&trust);
    MUST(written);
    /* The order of authorities is that of the entries then. */
    autotrust struct trust again = {0};
    MUST(agent_trust_from_json(written, &again, NULL) && again.count == trust.count);
    check_same(json_object_get(frame, "authorities") ? written : frame,
               agent_trust_to_json(&again));
}

static void read_frames(int fd)
{
    for (;;) {
        autojson json_t *frame = NULL;
        struct error err = ERROR_INIT;
        if (!agent_pipe_receive(fd, 65536, deadline_in_ms(WAIT_MS), &frame, &err)) {
            MUST(*err.message && !frame);
            return;
        }
        if (!frame)
            return;
        try_question(frame);
        try_answer(frame);
        try_trust(frame);
    }
}

static void send_all(int fd, const json_t *frames, const uint8_t *data, size_t size)
{
    size_t i;
    json_t *frame;
    if (!frames)
        send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    json_array_foreach(frames, i, frame)
    {
        if (json_is_object(frame) && !agent_pipe_send(fd, frame, 65536, deadline_in_ms(0), NULL))
            return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    autojson json_t *frames = json_loadb((const char *)data, size, 0, NULL);
    int pair[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    send_all(pair[0], json_is_array(frames) ? frames : NULL, data, size);
    close(pair[0]);
    read_frames(pair[1]);
    close(pair[1]);
    return 0;
}
