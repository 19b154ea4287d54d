/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Shared by agent.c (the worker's life), agent_child.c (the network process, seen from the worker),
 * agent_work.c (who answers what), agent_trust.c (who may ask), agent_drift.c, agent_pool.c and
 * agent_status.c.
 */
#ifndef QML_AGENT_AGENT_PRIVATE_H
#define QML_AGENT_AGENT_PRIVATE_H

#include <signal.h>

#include "agent/agent.h"
#include "agent/agent_pipe.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/systemd.h"
#include "host/config.h"
#include "peer/identity.h"
#include "peer/trust.h"
#include "pool/publisher.h"
#include "vm/responder.h"

#define AGENT_DEATHS_MAX 5 /* of network processes, within AGENT_DEATHS_MS */
#define AGENT_DEATHS_MS 60000
#define AGENT_LOOK_MS                                                                              \
    10000 /* how often a network process must show that it lives, and how soon                     \
           */
#define AGENT_EXCHANGES 16

struct agent_child {
    volatile pid_t pid; /* 0: none; signal handlers read it */
    int pidfd;          /* readable when it has ended */
    int pipe;
    bool ready;
    bool looked;                      /* it is to show that it lives, or to be ready */
    deadline next_look;               /* by then; else when to look again */
    int64_t deaths[AGENT_DEATHS_MAX]; /* when, the oldest first */
};

struct agent_drift {
    struct strlist vms; /* to be checked, those before next are done */
    size_t next;
    deadline again;
    struct strlist found; /* the VMs that have drifted, as of the last round */
    struct strlist fresh; /* and of this one */
    int64_t finished;     /* Unix seconds; 0: not yet */
};

struct agent_pool {
    struct pool_publisher publisher;
    deadline again; /* when another one is to be started: DEADLINE_NEVER: it runs, or no pool */
};

struct agent_log {
    struct log_rate rate;
    /* Which VM an exchange is about: only its hello says so. */
    struct {
        char id[33], vm[65];
    } exchanges[AGENT_EXCHANGES];
    size_t next;
};

struct agent {
    const struct agent_setup *setup;
    struct config config;
    char config_digest[DIGEST_HEX_SIZE]; /* of the file; "": there is none */
    struct identity *identity;
    struct trust trust;
    uint64_t trust_seen; /* what trust.d looked like */
    struct systemd systemd;
    int lock, listener, wake;
    struct agent_child child;
    struct responder *responder;
    struct agent_drift drift;
    struct agent_pool pool;
    struct agent_log log;
    char status[512];     /* as systemd knows it */
    int64_t folders_seen; /* what the counts below are of */
    size_t vm_count, agreement_count;
    deadline tell, watchdog;
    deadline rest; /* nothing was done lately: DEADLINE_NEVER: it rests already */
};

/* Not 0: work that is under way is to be given up. */
extern volatile sig_atomic_t agent_interrupted;

/* Start the network process and tell it whom to trust. STATUS_INTERNAL. agent_child.c */
bool agent_child_start(struct agent *agent, struct error *err);
/* It has ended, or must: clear up, and start another one unless `last`. STATUS_INTERNAL when too
 * many have ended lately. */
bool agent_child_ended(struct agent *agent, bool last, struct error *err);
/* Tell it whom to trust from now on. What it does not take is the end of it. */
void agent_child_send_trust(struct agent *agent);
/* It has nothing to say: see whether it lives. */
void agent_child_look(struct agent *agent);
/* Take one frame, which is there, and answer it. False: it is to be ended. */
bool agent_child_serve(struct agent *agent, struct error *err);

/* Answer a question; always a frame, or NULL for want of memory. agent_work.c */
json_t *agent_work_answer(struct agent *agent, const struct agent_question *question);
/* After it was sent: responder_rest. */
void agent_work_rest(struct agent *agent);
/* What the answers' owners keep of the configuration has to be made anew. */
bool agent_work_open(struct agent *agent, struct error *err);
void agent_work_close(struct agent *agent);

/* Read trust.d if it has changed, or if `always`; true if what counts has. agent_trust.c */
bool agent_trust_reload(struct agent *agent, bool always);

/* Look for what is to be checked, from now on. agent_drift.c */
void agent_drift_begin(struct agent *agent);
/* Whether a VM is to be checked now; check one. */
bool agent_drift_is_due(const struct agent *agent);
void agent_drift_step(struct agent *agent);
void agent_drift_free(struct agent_drift *drift);
/* The names of STATE/FOLDER/NAME.json, sorted; empty where there is nothing. */
bool agent_list_vms(const struct paths *paths, const char *folder, struct strlist *names);

/* Keep this host in the pool, if the configuration has one: start what publishes it, or another
 * when it has ended; without it the agent serves all the same. agent_pool.c */
void agent_pool_begin(struct agent *agent);
void agent_pool_step(struct agent *agent);
/* Take this host out of the pool, before another configuration counts or the agent ends. */
void agent_pool_end(struct agent *agent);

/* Tell systemd how things are, if that has changed. agent_status.c */
void agent_status_tell(struct agent *agent);
/* One line about a request and how it ended (problem: NULL if well), unless there were many. */
void agent_log_request(struct agent *agent, const char *peer, const struct agent_question *question,
                       const struct error *problem, int64_t took_ms);

#endif
