/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a request is about, and whose it is.
 */
#include <string.h>
#include <time.h>

#include "agent/agent_private.h"
#include "agent/vm_answers.h"
#include "base/cleanup.h"

static bool answer_about_vm(struct agent *agent, const struct trust_entry *peer, const char *remote,
                            const char *name, json_t *body, json_t **answer, struct error *err)
{
    const struct vm_answers_setup setup = {.paths = agent->setup->paths};
    return vm_answers_handle(&setup, peer, remote, name, body, answer, err);
}

static bool answer_exchange(struct agent *agent, const struct trust_entry *peer, const char *remote,
                            const char *name, json_t *body, json_t **answer, struct error *err)
{
    return responder_handle(agent->responder, peer, remote, name, body, answer, err);
}

/* Who answers which requests. What nobody knows is refused. */
static const struct {
    bool (*knows)(const char *name);
    bool (*handle)(struct agent *agent, const struct trust_entry *peer, const char *remote,
                   const char *name, json_t *body, json_t **answer, struct error *err);
} kinds[] = {
    {responder_knows, answer_exchange},
    {vm_answers_know, answer_about_vm},
};

bool agent_work_open(struct agent *agent, struct error *err)
{
    const struct responder_setup setup = {.paths = agent->setup->paths,
                                          .config = &agent->config,
                                          .identity = agent->identity,
                                          .interrupted = &agent_interrupted};
    agent->responder = responder_new(&setup, err);
    return agent->responder != NULL;
}

void agent_work_close(struct agent *agent)
{
    responder_free(STEAL(agent->responder));
}

static bool dispatch(struct agent *agent, const struct trust_entry *peer,
                     const struct agent_question *question, json_t **answer, struct error *err)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (kinds[i].knows(question->name))
            return kinds[i].handle(agent, peer, question->remote, question->name, question->body,
                                   answer, err);
    return error_set(err, STATUS_PROTOCOL, "'%s' is not a request that an agent answers",
                     question->name);
}

/* Whoever the certificate is of is known by its pin then, if it is still vouched for. */
static void ask_authority(const struct trust *trust, const char *text)
{
    const struct trust_entry *entry = NULL;
    X509 *certificate = certificate_from_text(text, NULL);
    if (certificate)
        trust_vouch(trust, certificate, &entry);
    X509_free(certificate);
}

json_t *agent_work_answer(struct agent *agent, const struct agent_question *question)
{
    autojson json_t *answer = NULL;
    struct error problem = ERROR_INIT;
    int64_t begun = clock_now_ms();
    /* Looked up here too, as it is now: what has been removed counts at once, also for what waited,
     * and the network process is not the one to say who may ask. */
    if (agent_trust_reload(agent, false))
        agent_child_send_trust(agent);
    if (question->certificate)
        ask_authority(&agent->trust, question->certificate);
    const struct trust_entry *peer = trust_find_pin(&agent->trust, question->pin);
    bool good = false;
    if (!peer || trust_entry_is_expired(peer, time(NULL)))
        error_set(&problem, STATUS_NOT_TRUSTED, "its key is no longer trusted here");
    else
        good = dispatch(agent, peer, question, &answer, &problem);
    if (good && !json_is_object(answer))
        good = error_set(&problem, STATUS_INTERNAL, "request '%s' has no answer", question->name);
    agent_log_request(agent, peer ? peer->name : "(unknown)", question, good ? NULL : &problem,
                      clock_now_ms() - begun);
    return agent_answer_to_json(question->id, good ? answer : NULL, &problem);
}

void agent_work_rest(struct agent *agent)
{
    if (agent->responder)
        responder_rest(agent->responder);
}
