/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/publisher.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/pidfd.h"
#include "base/process.h"
#include "peer/envelope.h"
#include "pool/etcd.h"
#include "pool/presence.h"

#define KEEP_EVERY_MS 5000
#define SIGN_EVERY_MS 60000
#define REQUEST_MS 10000
#define REVOKE_MS 2500
#define STOP_MS 5000
#define BACKOFF_FIRST_MS 1000
#define BACKOFF_LAST_MS 30000

static volatile sig_atomic_t terminated;

static void on_signal(int number)
{
    terminated = number;
}

/* The publisher, in its own process. */
struct publishing {
    struct etcd *etcd;
    const struct identity *identity;
    struct presence presence;
    char *key;
    char *text; /* as it was last written, or NULL */
    int parent; /* a pidfd */
    int64_t lease;
    deadline sign_at;
    deadline ended_at; /* when an end was asked for: DEADLINE_NEVER before */
    bool told_failure; /* a failure was logged, and nothing good since */
};

static bool parent_has_ended(int pidfd)
{
    struct pollfd item = {.fd = pidfd, .events = POLLIN};
    return poll(&item, 1, 0) > 0;
}

/* For a request under way. Once we end, its own deadline is enough. */
static bool must_stop(void *context)
{
    const struct publishing *publishing = context;
    return publishing->ended_at == DEADLINE_NEVER &&
           (terminated || parent_has_ended(publishing->parent));
}

/* Another host that writes under our name would go on for ever, and so would we. */
static void warn_of_namesake(const struct publishing *publishing, const struct etcd_kv *previous)
{
    autopresence struct presence other = {0};
    if (previous->value && presence_open(previous->value, previous->value_length, &other, NULL) &&
        strcmp(other.pin, publishing->identity->pin) != 0 &&
        presence_check(&other, time(NULL), NULL))
        log_warning("pool: %s was there by another key, %s: give every host its own [host] name",
                    publishing->presence.host, other.pin);
}

static bool write_presence(struct publishing *publishing, struct error *err)
{
    struct presence *presence = &publishing->presence;
    struct etcd_kv previous __attribute__((cleanup(etcd_kv_free))) = {0};
    struct timespec now;
    bool lease_gone = false;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t serial = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    presence->serial = serial > presence->serial ? serial : presence->serial + 1;
    presence->issued = now.tv_sec;
    presence->expires = now.tv_sec + PRESENCE_LIFETIME_S;
    autofree char *text = presence_sign(presence, publishing->identity, err);
    if (!text)
        return false;
    bool good =
        etcd_put(publishing->etcd, publishing->key, text, PRESENCE_SIZE_MAX, publishing->lease,
                 deadline_in_ms(REQUEST_MS), &previous, &lease_gone, err);
    if (lease_gone)
        publishing->lease = 0;
    if (!good)
        return false;
    warn_of_namesake(publishing, &previous);
    if (!publishing->text)
        log_info("pool: this host is there as %s (%s)", presence->host,
                 etcd_endpoint(publishing->etcd));
    free(publishing->text);
    publishing->text = STEAL(text);
    publishing->sign_at = deadline_in_ms(SIGN_EVERY_MS);
    return true;
}

/* Do what is due. */
static bool publish(struct publishing *publishing, struct error *err)
{
    if (publishing->lease) {
        bool alive = false;
        if (!etcd_lease_keep(publishing->etcd, publishing->lease, deadline_in_ms(REQUEST_MS),
                             &alive, err))
            return false;
        if (!alive) {
            log_warning("pool: the lease has ended (the store was not reached in %d s): anew",
                        PUBLISHER_LEASE_S);
            publishing->lease = 0;
        }
    }
    bool anew = !publishing->lease;
    if (anew && !etcd_lease_grant(publishing->etcd, PUBLISHER_LEASE_S, deadline_in_ms(REQUEST_MS),
                                  &publishing->lease, err))
        return false;
    return (!anew && deadline_left_ms(publishing->sign_at) > 0) || write_presence(publishing, err);
}

/* Sleep, a quarter more or less, until a signal or the parent's end. Called with SIGTERM blocked,
 * so that it cannot come between the look and the sleep. */
static void wait_ms(const struct publishing *publishing, int64_t milliseconds)
{
    struct pollfd item = {.fd = publishing->parent, .events = POLLIN};
    sigset_t none;
    uint16_t chance = 0;
    if (getrandom(&chance, sizeof(chance), 0) == sizeof(chance))
        milliseconds += milliseconds * (chance % 512 - 256) / 1024;
    const struct timespec time = {.tv_sec = milliseconds / 1000,
                                  .tv_nsec = milliseconds % 1000 * 1000000};
    sigemptyset(&none);
    if (!terminated)
        ppoll(&item, 1, &time, &none);
}

static void block_sigterm(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(how, &set, NULL);
}

static void live(struct publishing *publishing)
{
    int64_t backoff = BACKOFF_FIRST_MS;
    while (!must_stop(publishing)) {
        struct error err = ERROR_INIT;
        int64_t pause = KEEP_EVERY_MS;
        block_sigterm(SIG_UNBLOCK);
        bool good = publish(publishing, &err);
        block_sigterm(SIG_BLOCK);
        if (good) {
            if (publishing->told_failure)
                log_info("pool: %s answers again", etcd_endpoint(publishing->etcd));
            publishing->told_failure = false;
            backoff = BACKOFF_FIRST_MS;
        } else if (err.status != STATUS_INTERRUPTED) {
            if (!publishing->told_failure)
                log_warning("%s; trying on", err.message);
            publishing->told_failure = true;
            pause = backoff;
            backoff = backoff * 2 < BACKOFF_LAST_MS ? backoff * 2 : BACKOFF_LAST_MS;
        }
        wait_ms(publishing, pause);
    }
    publishing->ended_at = deadline_in_ms(REVOKE_MS);
    struct error err = ERROR_INIT;
    if (publishing->lease &&
        !etcd_lease_revoke(publishing->etcd, publishing->lease, publishing->ended_at, &err))
        log_info("pool: this host stays there for %d s: %s", PUBLISHER_LEASE_S, err.message);
}

static void become_publisher(struct publishing *publishing)
{
    struct sigaction action = {.sa_handler = on_signal}, plain = {.sa_handler = SIG_DFL};
    sigset_t blocked;
    sigemptyset(&action.sa_mask);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    terminated = 0;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGCHLD, &plain, NULL);
    plain.sa_handler = SIG_IGN; /* a terminal's are for the agent, which ends us */
    sigaction(SIGINT, &plain, NULL);
    sigaction(SIGHUP, &plain, NULL);
    sigaction(SIGPIPE, &plain, NULL);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    prctl(PR_SET_NAME, "qml-pool");
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    process_close_others(publishing->parent);
    live(publishing);
    _exit(STATUS_OK);
}

static void publishing_free(struct publishing *publishing)
{
    etcd_free(publishing->etcd);
    presence_free(&publishing->presence);
    free(publishing->key);
    free(publishing->text);
    if (publishing->parent >= 0)
        close(publishing->parent);
}

static bool copy_names(struct strlist *to, const struct strlist *from)
{
    for (size_t i = 0; from && i < from->count && i < PRESENCE_NAMES_MAX; i++)
        if (!strlist_push(to, from->items[i]))
            return false;
    return true;
}

static bool prepare(const struct publisher_setup *setup, struct publishing *publishing,
                    struct error *err)
{
    const struct config *config = setup->config;
    struct presence *presence = &publishing->presence;
    presence->port = setup->port;
    if (config->pool.address &&
        !parse_address(config->pool.address, &presence->address, &presence->port))
        return error_refuse(err, STATUS_CONFIG, "[pool] address is not HOST[:PORT]");
    if (!presence->address)
        presence->address = strdup(setup->address ? setup->address : "");
    presence->host = strdup(config->host_name);
    publishing->identity = setup->identity;
    publishing->key = string_format("%s/hosts/%s", config->pool.prefix, config->host_name);
    if (!presence->address || !presence->host || !publishing->key ||
        !copy_names(&presence->accels, setup->accels) || !copy_names(&presence->qemu, setup->qemu))
        return error_no_memory(err);
    publishing->etcd = etcd_open(&config->pool, (struct etcd_stop){must_stop, publishing}, err);
    if (!publishing->etcd)
        return false;
    publishing->parent = pidfd_open_process(getpid());
    return publishing->parent >= 0 ||
           error_set_errno(err, STATUS_INTERNAL, errno, "no descriptor for this process");
}

bool pool_publisher_start(const struct publisher_setup *setup, struct pool_publisher *publisher,
                          struct error *err)
{
    struct publishing publishing
        __attribute__((cleanup(publishing_free))) = {.parent = -1, .ended_at = DEADLINE_NEVER};
    if (!prepare(setup, &publishing, err))
        return false;
    /* A signal right after the fork must find the publisher's handler, not ours. */
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0)
        become_publisher(&publishing);
    sigprocmask(SIG_SETMASK, &before, NULL);
    int pidfd = pid > 0 ? pidfd_open_process(pid) : -1;
    if (pidfd < 0) {
        int reason = errno;
        if (pid > 0) {
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
        }
        return error_set_errno(err, STATUS_INTERNAL, reason, "cannot start the pool's process");
    }
    *publisher = (struct pool_publisher){.pid = pid, .pidfd = pidfd};
    return true;
}

void pool_publisher_stop(struct pool_publisher *publisher)
{
    if (publisher->pid > 0) {
        struct pollfd item = {.fd = publisher->pidfd, .events = POLLIN};
        deadline when = deadline_in_ms(STOP_MS);
        kill(publisher->pid, SIGTERM);
        while (poll(&item, 1, deadline_left_ms(when)) < 0 && errno == EINTR)
            continue;
        if (!(item.revents & POLLIN))
            kill(publisher->pid, SIGKILL);
        while (waitpid(publisher->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    if (publisher->pidfd >= 0)
        close(publisher->pidfd);
    *publisher = (struct pool_publisher)POOL_PUBLISHER_INIT;
}
