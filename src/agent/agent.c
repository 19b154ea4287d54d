/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/agent.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/agent_network.h"
#include "agent/agent_private.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "peer/server.h"

#define TICK_MS 1000 /* how soon a change in trust.d is seen when nobody asks */
#define CONFIG_MAX ((size_t)64 << 10)
#define LAST_WORD_S 3 /* after AGENT_GRACE_MS */

volatile sig_atomic_t agent_interrupted;
static volatile sig_atomic_t stopping, reloading;
static volatile int wake_fd = -1, listener_fd = -1;
static const volatile pid_t *network_pid;

static void wake(void)
{
    const uint64_t one = 1;
    int saved = errno;
    ssize_t ignored = write(wake_fd, &one, sizeof(one));
    (void)ignored;
    errno = saved;
}

/* Both stop listening at once, whatever the worker is at. */
static void on_stop(int number)
{
    int saved = errno;
    pid_t pid = *network_pid;
    if (!stopping) {
        alarm(AGENT_GRACE_MS / 1000);
        close(listener_fd);
    }
    stopping = 1;
    if (pid > 0)
        kill(pid, SIGTERM);
    wake();
    errno = saved;
}

static void on_reload(int number)
{
    reloading = 1;
    wake();
}

/* The time for what is under way is over; the second time, for giving it up, too. What is on disk
 * is whole at any moment, and our QEMUs and the network process go with this process. */
static void on_alarm(int number)
{
    if (agent_interrupted)
        _exit(STATUS_OK);
    agent_interrupted = 1;
    alarm(LAST_WORD_S);
    wake();
}

static bool catch_signals(struct agent *agent, struct error *err)
{
    static const struct {
        int number;
        void (*handler)(int);
    } rows[] = {{SIGTERM, on_stop},
                {SIGINT, on_stop},
                {SIGHUP, on_reload},
                {SIGALRM, on_alarm},
                {SIGPIPE, SIG_IGN}};
    agent->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (agent->wake < 0)
        return error_set_errno(err, STATUS_INTERNAL, errno, "eventfd");
    wake_fd = agent->wake;
    listener_fd = agent->listener;
    network_pid = &agent->child.pid;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct sigaction action = {.sa_handler = rows[i].handler};
        sigemptyset(&action.sa_mask);
        sigaction(rows[i].number, &action, NULL);
    }
    return true;
}

/* A digest of the configuration's text, to see whether a reload changes anything. */
static bool digest_config(const struct agent_setup *setup, char digest[DIGEST_HEX_SIZE],
                          struct error *err)
{
    autofree char *path = setup->config_file ? strdup(setup->config_file)
                                             : path_join(setup->paths->config, "config.ini", "");
    autofree char *text = NULL;
    size_t length = 0;
    if (!path)
        return error_no_memory(err);
    if (!file_read(path, CONFIG_MAX, true, &text, &length, err))
        return false;
    return digest_hex(text ? text : "", length, digest, err);
}

static bool load_config(struct agent *agent, struct config *config, struct error *err)
{
    return config_load(agent->setup->paths->config, agent->setup->config_file, config, err);
}

static void reload_config(struct agent *agent)
{
    autoconfig struct config fresh = {0};
    struct error err = ERROR_INIT;
    char digest[DIGEST_HEX_SIZE];
    if (!digest_config(agent->setup, digest, &err) || !load_config(agent, &fresh, &err)) {
        log_error("%s: the old configuration stays", err.message);
        return;
    }
    if (strcmp(digest, agent->config_digest) == 0)
        return;
    const char *old_address = agent->config.listen_address, *address = fresh.listen_address;
    if (!agent->setup->listen &&
        strcmp(old_address ? old_address : "", address ? address : "") != 0)
        log_warning("[listen] address counts when serve is started again");
    agent_work_close(agent); /* it may hold on to the old one */
    agent_pool_end(agent);
    config_free(&agent->config);
    agent->config = fresh;
    fresh = (struct config){0};
    memcpy(agent->config_digest, digest, sizeof(digest));
    if (!agent_work_open(agent, &err))
        log_error("%s", err.message);
    agent_pool_begin(agent);
}

static void reload(struct agent *agent)
{
    reloading = 0;
    systemd_notify_reloading(&agent->systemd);
    reload_config(agent);
    if (agent_trust_reload(agent, true))
        agent_child_send_trust(agent);
    agent_drift_begin(agent);
    log_info("configuration and trust were read again");
    systemd_notify(&agent->systemd, "READY=1");
}

static bool listen_where(struct agent *agent, struct error *err)
{
    const char *text = agent->setup->listen ? agent->setup->listen : agent->config.listen_address;
    autofree char *host = NULL;
    uint16_t port = DEFAULT_PORT;
    struct error problem = ERROR_INIT;
    if (!systemd_take_socket(&agent->listener, err))
        return false;
    if (agent->listener >= 0 && agent->setup->listen)
        return error_set(err, STATUS_USAGE, "--listen and a socket from systemd: use one of them");
    if (agent->listener >= 0)
        return true;
    if (text && !parse_address(text, &host, &port))
        return error_refuse(err, agent->setup->listen ? STATUS_USAGE : STATUS_CONFIG,
                            "--listen: '%.80s' is not [ADDR]:PORT", text);
    agent->listener = peer_listen(host, port, &problem);
    if (agent->listener >= 0)
        return true;
    const char *next = problem.status == STATUS_UNAVAILABLE
                           ? "end what has that port ('ss -ltnp' tells), or choose another"
                           : "choose another";
    return error_set(err, problem.status, "%s: %s with --listen [ADDR]:PORT or [listen] address",
                     problem.message, next);
}

static bool lock_home(struct agent *agent, struct error *err)
{
    const struct paths *paths = agent->setup->paths;
    autofree char *path = path_join(paths->state, "agent", ".lock");
    bool busy = false;
    if (!path)
        return error_no_memory(err);
    if (!folder_make(paths->state, 0700, err))
        return false;
    agent->lock = file_lock(path, false, &busy, err);
    if (busy)
        return error_set(err, STATUS_UNAVAILABLE,
                         "another 'serve' runs for %s: end it first, or give another --home",
                         paths->state);
    return agent->lock >= 0;
}

static bool open_agent(struct agent *agent, struct error *err)
{
    const struct paths *paths = agent->setup->paths;
    if (!digest_config(agent->setup, agent->config_digest, err) ||
        !load_config(agent, &agent->config, err) ||
        !(agent->identity = identity_load(paths->config, err)) ||
        !trust_load(paths->config, &agent->trust, err) || !lock_home(agent, err) ||
        !systemd_open(&agent->systemd, err) || !listen_where(agent, err) ||
        !agent_work_open(agent, err) || !catch_signals(agent, err))
        return false;
    agent_trust_reload(agent, true);
    if (agent->trust.count == 0)
        log_warning("nobody is trusted yet: 'trust add' counts without a restart");
    return agent_child_start(agent, err);
}

static void close_agent(struct agent *agent)
{
    alarm(0);
    agent_pool_end(agent);
    agent_child_ended(agent, true, NULL);
    agent_work_close(agent);
    agent_drift_free(&agent->drift);
    systemd_close(&agent->systemd);
    config_free(&agent->config);
    trust_free(&agent->trust);
    identity_free(agent->identity);
    if (agent->listener >= 0 && !stopping) /* or it is closed */
        close(agent->listener);
    if (agent->lock >= 0)
        close(agent->lock);
    if (agent->wake >= 0) {
        wake_fd = -1;
        close(agent->wake);
    }
}

/* How long nothing has to be done. */
static int idle_ms(const struct agent *agent)
{
    int left = agent->systemd.watchdog_ms > 0 ? deadline_left_ms(agent->watchdog) : TICK_MS;
    if (!stopping && agent_drift_is_due(agent))
        return 0;
    return left < TICK_MS ? left : TICK_MS;
}

static void feed_watchdog(struct agent *agent)
{
    if (agent->systemd.watchdog_ms == 0 || deadline_left_ms(agent->watchdog) > 0)
        return;
    systemd_notify(&agent->systemd, "WATCHDOG=1");
    agent->watchdog = deadline_in_ms(agent->systemd.watchdog_ms);
}

/* The network process has something to say. */
static void serve_child(struct agent *agent)
{
    struct error err = ERROR_INIT;
    bool was_ready = agent->child.ready;
    if (!agent_child_serve(agent, &err)) {
        if (err.status == STATUS_DATA)
            log_error("the network process is confused: %s", err.message);
        kill(agent->child.pid, SIGKILL); /* and its end is seen next */
        return;
    }
    if (!was_ready && agent->child.ready) {
        systemd_notify(&agent->systemd, "READY=1");
        if (agent->pool.publisher.pid < 0)
            agent_pool_begin(agent); /* who reads that we are there may ask at once */
    }
}

/* One look at everything. True: it is over, well or with err. */
static bool turn(struct agent *agent, bool *good, struct error *err)
{
    struct pollfd items[] = {{.fd = agent->wake, .events = POLLIN},
                             {.fd = agent->child.pidfd, .events = POLLIN},
                             {.fd = agent->child.pipe, .events = POLLIN},
                             {.fd = agent->pool.publisher.pidfd, .events = POLLIN}};
    uint64_t ignored;
    int n = poll(items, 4, idle_ms(agent));
    if (n < 0 && errno != EINTR) {
        *good = error_set_errno(err, STATUS_INTERNAL, errno, "poll");
        return true;
    }
    feed_watchdog(agent);
    if (n <= 0)
        items[0].revents = items[1].revents = items[2].revents = 0;
    if (items[0].revents && read(agent->wake, &ignored, sizeof(ignored)) < 0)
        items[0].revents = 0;
    if (reloading && !stopping)
        reload(agent);
    if (agent_trust_reload(agent, false))
        agent_child_send_trust(agent);
    if (items[1].revents) {
        *good = agent_child_ended(agent, stopping, err);
        return stopping || !*good;
    }
    if (!stopping)
        agent_pool_step(agent);
    bool drift = !stopping && !items[2].revents && agent_drift_is_due(agent);
    if (items[2].revents)
        serve_child(agent);
    else if (!stopping)
        agent_child_look(agent);
    if (drift)
        agent_drift_step(agent);
    if (items[2].revents || drift) {
        agent->rest = deadline_in_ms(AGENT_REST_MS);
    } else if (deadline_left_ms(agent->rest) == 0) {
        agent->rest = DEADLINE_NEVER;
        process_rest();
    }
    agent_status_tell(agent);
    return false;
}

bool agent_serve(const struct agent_setup *setup, struct error *err)
{
    struct agent agent = {
        .setup = setup,
        .systemd = SYSTEMD_INIT,
        .lock = -1,
        .listener = -1,
        .wake = -1,
        .child = {.pidfd = -1, .pipe = -1},
        .pool = {.publisher = POOL_PUBLISHER_INIT, .again = DEADLINE_NEVER},
    };
    bool good = open_agent(&agent, err);
    if (good) {
        log_info("%s: serving with key %s", agent.config.host_name, agent.identity->pin);
        agent_drift_begin(&agent);
        bool told = false;
        while (!turn(&agent, &good, err)) {
            if (stopping && !told) {
                systemd_notify(&agent.systemd, "STOPPING=1\nSTATUS=finishing what is under way");
                kill(agent.child.pid, SIGTERM); /* it may have been started just then */
            }
            told = stopping;
        }
        log_info("the agent ends");
    }
    close_agent(&agent);
    return good;
}
