/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The network process, seen from the worker: started, spoken to, and started again when it ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent_network.h"
#include "agent/agent_private.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/pidfd.h"
#include "base/process.h"

#define SEND_MS 10000 /* a network process that takes nothing for so long is ended */

/* In the child. Its pipe is standard input, so that one descriptor besides those is kept. */
static void become_network(const struct agent *agent, int pipe, pid_t worker)
{
    static const int ignored[] = {SIGINT, SIGHUP, SIGPIPE};
    static const int defaults[] = {SIGTERM, SIGALRM};
    struct sigaction action = {.sa_handler = SIG_IGN};
    sigset_t empty;
    sigemptyset(&action.sa_mask);
    sigemptyset(&empty);
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        sigaction(ignored[i], &action, NULL);
    action.sa_handler = SIG_DFL;
    for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
        sigaction(defaults[i], &action, NULL);
    sigprocmask(SIG_SETMASK, &empty, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != worker || dup2(pipe, STDIN_FILENO) < 0)
        _exit(STATUS_INTERNAL);
    process_close_others(agent->listener);
    prctl(PR_SET_NAME, "qml-network");
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    _exit(agent_network_run(agent->identity, agent->listener, STDIN_FILENO));
}

bool agent_child_start(struct agent *agent, struct error *err)
{
    struct agent_child *child = &agent->child;
    sigset_t all, saved;
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
        return error_set_errno(err, STATUS_INTERNAL, errno, "cannot start the network process");
    autoclose int ours = ends[0], theirs = ends[1];
    pid_t worker = getpid();
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &saved);
    pid_t pid = fork();
    if (pid == 0)
        become_network(agent, theirs, worker);
    child->pid = pid > 0 ? pid : 0;
    int pidfd = pid > 0 ? pidfd_open_process(pid) : -1;
    int saved_errno = errno;
    sigprocmask(SIG_SETMASK, &saved, NULL);
    if (pidfd < 0) {
        if (pid > 0) {
            kill(pid, SIGKILL);
            child->pid = 0;
            waitpid(pid, NULL, 0);
        }
        return error_set_errno(err, STATUS_INTERNAL, saved_errno,
                               "cannot start the network process");
    }
    child->pidfd = pidfd;
    child->pipe = steal_fd(&ours);
    child->ready = false;
    child->looked = true;
    child->next_look = deadline_in_ms(AGENT_LOOK_MS);
    agent_child_send_trust(agent);
    return true;
}

static bool died_too_often(struct agent_child *child)
{
    int64_t now = clock_now_ms();
    bool often = child->deaths[0] > 0 && now - child->deaths[0] < AGENT_DEATHS_MS;
    memmove(child->deaths, child->deaths + 1, sizeof(child->deaths) - sizeof(child->deaths[0]));
    child->deaths[AGENT_DEATHS_MAX - 1] = now;
    return often;
}

bool agent_child_ended(struct agent *agent, bool last, struct error *err)
{
    struct agent_child *child = &agent->child;
    pid_t pid = child->pid;
    char how[80];
    int status = 0;
    if (pid > 0) {
        kill(pid, SIGKILL);
        child->pid = 0; /* before its number can be somebody else's */
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            continue;
        close(steal_fd(&child->pidfd));
        close(steal_fd(&child->pipe));
    }
    if (last)
        return true;
    process_describe_status(status, how, sizeof(how));
    if (died_too_often(child))
        return error_set(err, STATUS_INTERNAL,
                         "the network process %s, for the %dth time within %d s: see the log above",
                         how, AGENT_DEATHS_MAX + 1, AGENT_DEATHS_MS / 1000);
    log_warning("the network process %s: it is started again", how);
    return agent_child_start(agent, err);
}

/* Whatever it says then: it is to be noticed that it has ended. */
static void shut(const struct agent_child *child, const struct error *err)
{
    log_warning("network process: %s", err->message);
    kill(child->pid, SIGKILL);
}

void agent_child_send_trust(struct agent *agent)
{
    struct error err = ERROR_INIT;
    autojson json_t *frame = agent_trust_to_json(&agent->trust);
    if (agent->child.pid > 0 &&
        !agent_pipe_send(agent->child.pipe, frame, PIPE_ORDER_MAX, deadline_in_ms(SEND_MS), &err))
        shut(&agent->child, &err);
}

void agent_child_look(struct agent *agent)
{
    struct agent_child *child = &agent->child;
    struct error err = ERROR_INIT;
    if (child->pid == 0 || deadline_left_ms(child->next_look) > 0)
        return;
    child->next_look = deadline_in_ms(AGENT_LOOK_MS);
    if (child->looked) {
        error_set(&err, STATUS_UNAVAILABLE, "it shows no life");
        shut(child, &err);
        return;
    }
    child->looked = true;
    autojson json_t *frame = json_pack("{s:b}", "alive", true);
    if (!agent_pipe_send(child->pipe, frame, PIPE_ORDER_MAX, deadline_in_ms(SEND_MS), &err))
        shut(child, &err);
}

/* A frame that is no question. */
static bool take_sign(struct agent_child *child, const json_t *frame)
{
    bool ready = !child->ready && json_is_true(json_object_get(frame, "ready"));
    if (!ready && !(child->looked && json_is_true(json_object_get(frame, "alive"))))
        return false;
    child->ready = child->ready || ready;
    child->looked = false;
    child->next_look = deadline_in_ms(AGENT_LOOK_MS);
    return true;
}

bool agent_child_serve(struct agent *agent, struct error *err)
{
    struct agent_child *child = &agent->child;
    autoquestion struct agent_question question = {0};
    autojson json_t *frame = NULL;
    if (!agent_pipe_receive(child->pipe, PIPE_QUESTION_MAX, deadline_in_ms(SEND_MS), &frame, err))
        return false;
    if (!frame)
        return error_set(err, STATUS_UNAVAILABLE, "it has closed its pipe");
    if (take_sign(child, frame))
        return true;
    if (!agent_question_from_json(frame, &question, err))
        return false;
    autojson json_t *answer = agent_work_answer(agent, &question);
    if (!agent_pipe_send(child->pipe, answer, PIPE_ORDER_MAX, deadline_in_ms(SEND_MS), err))
        return false;
    agent_work_rest(agent);
    return true;
}
