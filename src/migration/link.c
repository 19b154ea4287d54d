/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "migration/link.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"

#define LOOK_RETRY_MS 200
#define LOOK_LIMIT_MS 20000 /* it asks its QEMU a few hundred questions */
#define PREPARE_LIMIT_MS 20000
#define RENEW_LIMIT_MS 7000
#define SILENCE_MS 15000 /* longer than a lease: the network may be full of the stream */

struct guardian_link {
    struct peer_client client;
    struct order_key key;
    pthread_mutex_t lock; /* of what stands up to the thread */
    struct lease_source lease;
    struct guardian_status status;
    int64_t answered;     /* when the last question was asked that was answered; 0: none was */
    struct error trouble; /* of the last renewal, STATUS_OK if it was good */
    pthread_t thread;
    bool started;
    bool ceased; /* the thread grants no more */
    int wake;
    volatile sig_atomic_t quit;
};

struct guardian_link *guardian_link_new(const struct peer_client *client,
                                        const struct order_key *key,
                                        const struct lease_source *lease, struct error *err)
{
    struct guardian_link *link = calloc(1, sizeof(*link));
    if (!link) {
        error_no_memory(err);
        return NULL;
    }
    link->client = *client;
    link->key = *key;
    link->lease = *lease;
    link->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (link->wake < 0) {
        error_set_errno(err, STATUS_INTERNAL, errno, "cannot make an eventfd");
        free(link);
        return NULL;
    }
    pthread_mutex_init(&link->lock, NULL);
    return link;
}

void guardian_link_free(struct guardian_link *link)
{
    const uint64_t one = 1;
    if (!link)
        return;
    link->quit = 1;
    if (link->started) {
        ssize_t written =
            write(link->wake, &one, sizeof(one)); /* an eventfd's first: it cannot fail */
        (void)written;
        pthread_join(link->thread, NULL);
    }
    close(link->wake);
    pthread_mutex_destroy(&link->lock);
    free(link);
}

/* One request; body is used up, NULL if it could not be made. */
static bool ask(struct guardian_link *link, const char *name, json_t *body, deadline when,
                const volatile sig_atomic_t *interrupted, bool *retryable, json_t **answer,
                struct error *err)
{
    autojson json_t *request = body;
    struct peer_client client = link->client;
    bool ignored = false;
    client.interrupted = interrupted;
    client.retryable = retryable ? retryable : &ignored;
    *client.retryable = false;
    return request ? peer_call(&client, name, request, when, answer, err) : error_no_memory(err);
}

static void heard(struct guardian_link *link, int64_t asked_at,
                  const struct guardian_status *status)
{
    pthread_mutex_lock(&link->lock);
    lease_source_heard(&link->lease, asked_at, status->stamp);
    if (link->answered < asked_at)
        link->answered = asked_at;
    if (status->stamp >= link->status.stamp)
        link->status = *status;
    pthread_mutex_unlock(&link->lock);
}

/* A request whose answer is the guardian's status alone. */
static bool ask_status(struct guardian_link *link, const char *name, json_t *body, int64_t limit_ms,
                       struct guardian_status *out, bool *retryable, struct error *err)
{
    autojson json_t *answer = NULL;
    struct guardian_status status;
    int64_t asked_at = clock_now_ms();
    if (!ask(link, name, body, deadline_in_ms(limit_ms), &link->quit, retryable, &answer, err) ||
        !order_take_status(answer, &status, err))
        return false;
    heard(link, asked_at, &status);
    if (out)
        *out = status;
    return true;
}

bool guardian_link_look(struct guardian_link *link, int64_t patience, struct order_sight *sight,
                        struct error *err)
{
    deadline until = deadline_in_ms(patience);
    const volatile sig_atomic_t *interrupted = link->client.interrupted;
    for (;;) {
        autojson json_t *answer = NULL;
        bool retryable;
        int64_t asked_at = clock_now_ms();
        if (ask(link, ORDER_LOOK, order_new(&link->key), deadline_in_ms(LOOK_LIMIT_MS), interrupted,
                &retryable, &answer, err)) {
            if (!order_take_sight(answer, sight, err))
                return false;
            heard(link, asked_at, &sight->status);
            return true;
        }
        if (!retryable || deadline_left_ms(until) == 0)
            return false;
        poll(NULL, 0, LOOK_RETRY_MS);
        if (interrupted && *interrupted)
            return error_set(err, STATUS_INTERRUPTED, "interrupted");
    }
}

/* One grant: the stamp that it echoes, and the lease's end here with it and without. */
struct grant {
    int64_t stamp, until, before;
};

/* False: not now. */
static bool make_grant(struct guardian_link *link, struct grant *grant)
{
    pthread_mutex_lock(&link->lock);
    grant->before = link->lease.until;
    bool given = link->lease.state != LEASE_GIVEN &&
                 lease_source_grant(&link->lease, clock_now_ms(), &grant->stamp);
    grant->until = link->lease.until;
    pthread_mutex_unlock(&link->lock);
    return given;
}

static void take_grant_back(struct guardian_link *link, const struct grant *grant)
{
    pthread_mutex_lock(&link->lock);
    lease_source_unsent(&link->lease, grant->until, grant->before);
    pthread_mutex_unlock(&link->lock);
}

bool guardian_link_prepare(struct guardian_link *link, struct order_prepare *prepare,
                           struct guardian_status *out, uint16_t *port, struct error *err)
{
    autojson json_t *answer = NULL;
    struct guardian_status status;
    struct grant grant;
    int64_t asked_at = clock_now_ms();
    if (!make_grant(link, &grant))
        return error_set(err, STATUS_INTERNAL, "prepare before look");
    prepare->grant = grant.stamp;
    if (!ask(link, ORDER_PREPARE, order_new_prepare(&link->key, prepare),
             deadline_in_ms(PREPARE_LIMIT_MS), link->client.interrupted, NULL, &answer, err) ||
        !order_take_prepared(answer, &status, port, err))
        return false;
    heard(link, asked_at, &status);
    if (out)
        *out = status;
    return true;
}

bool guardian_link_renew(struct guardian_link *link, const struct link_renewal *renewal,
                         struct guardian_status *status, struct error *err)
{
    struct grant grant;
    bool granted = renewal->grant && make_grant(link, &grant), unsent = false;
    const struct order_renew renew = {.grant = granted ? grant.stamp : ORDER_NO_GRANT,
                                      .wait_ms = renewal->wait_ms,
                                      .disarm = renewal->disarm};
    bool answered = ask_status(link, ORDER_RENEW, order_new_renew(&link->key, &renew),
                               renewal->limit_ms + renewal->wait_ms, status, &unsent, err);
    if (granted && !answered && unsent)
        take_grant_back(link, &grant);
    return answered;
}

bool guardian_link_order(struct guardian_link *link, const char *name, int64_t limit_ms,
                         struct guardian_status *status, struct error *err)
{
    return ask_status(link, name, order_new(&link->key), limit_ms, status, NULL, err);
}

bool guardian_link_resume(struct guardian_link *link, struct order_resume *resume, int64_t limit_ms,
                          struct guardian_status *status, bool *retryable, struct error *err)
{
    pthread_mutex_lock(&link->lock);
    /* It may be too late for that: then the guardian has heard it before, or refuses it. */
    resume->good_until = link->lease.stamp >= 0 ? link->lease.stamp : 0;
    int64_t good_until;
    if (lease_source_tell(&link->lease, clock_now_ms(), &good_until))
        resume->good_until = good_until;
    bool given = link->lease.state == LEASE_GIVEN;
    pthread_mutex_unlock(&link->lock);
    if (!given)
        return error_set(err, STATUS_INTERNAL, "resume before the lease was given");
    return ask_status(link, ORDER_RESUME, order_new_resume(&link->key, resume), limit_ms, status,
                      retryable, err);
}

bool guardian_link_tell(struct guardian_link *link)
{
    int64_t good_until;
    pthread_mutex_lock(&link->lock);
    bool told = lease_source_tell(&link->lease, clock_now_ms(), &good_until);
    pthread_mutex_unlock(&link->lock);
    return told;
}

void guardian_link_untold(struct guardian_link *link)
{
    pthread_mutex_lock(&link->lock);
    lease_source_untold(&link->lease);
    pthread_mutex_unlock(&link->lock);
}

void guardian_link_returned(struct guardian_link *link)
{
    pthread_mutex_lock(&link->lock);
    lease_source_returned(&link->lease);
    pthread_mutex_unlock(&link->lock);
}

bool guardian_link_is_over(struct guardian_link *link)
{
    pthread_mutex_lock(&link->lock);
    bool over = link->lease.state == LEASE_OVER;
    pthread_mutex_unlock(&link->lock);
    return over;
}

bool guardian_link_may_run_here(struct guardian_link *link, int64_t *wait)
{
    pthread_mutex_lock(&link->lock);
    bool may = lease_source_run(&link->lease, clock_now_ms(), wait);
    pthread_mutex_unlock(&link->lock);
    return may;
}

/* Whether the thread is to renew now. */
static bool renews(struct guardian_link *link)
{
    pthread_mutex_lock(&link->lock);
    bool ours = link->lease.state == LEASE_GRANTED && !link->ceased;
    pthread_mutex_unlock(&link->lock);
    return ours;
}

/* From start to start, so that a slow network does not make it rarer than need be. */
static void *renew_until_quit(void *context)
{
    struct guardian_link *link = context;
    struct pollfd wake = {.fd = link->wake, .events = POLLIN};
    const struct link_renewal renewal = {.grant = true, .limit_ms = RENEW_LIMIT_MS};
    for (deadline next = 0; !link->quit; poll(&wake, 1, deadline_left_ms(next))) {
        struct error err = ERROR_INIT;
        next = deadline_in_ms(LEASE_RENEW_MS);
        if (!renews(link))
            continue;
        if (guardian_link_renew(link, &renewal, NULL, &err))
            err.status = STATUS_OK;
        pthread_mutex_lock(&link->lock);
        link->trouble = err;
        pthread_mutex_unlock(&link->lock);
    }
    return NULL;
}

bool guardian_link_start(struct guardian_link *link, struct error *err)
{
    sigset_t all, saved;
    sigfillset(&all); /* signals are the program's */
    pthread_sigmask(SIG_SETMASK, &all, &saved);
    int errnum = pthread_create(&link->thread, NULL, renew_until_quit, link);
    pthread_sigmask(SIG_SETMASK, &saved, NULL);
    if (errnum != 0)
        return error_set_errno(err, STATUS_INTERNAL, errnum, "cannot start a thread");
    link->started = true;
    return true;
}

void guardian_link_cease(struct guardian_link *link)
{
    pthread_mutex_lock(&link->lock);
    link->ceased = true;
    pthread_mutex_unlock(&link->lock);
}

bool guardian_status_check(const struct guardian_status *status, const char *peer,
                           struct error *err)
{
    const char *colon = *status->reason ? ": " : "";
    if (strcmp(status->run_state, "ended") == 0)
        return error_set(err, STATUS_MIGRATION, "its QEMU on %s has ended%s%s", peer, colon,
                         status->reason);
    if (strcmp(status->migration, "failed") == 0)
        return error_set(err, STATUS_MIGRATION, "QEMU on %s could not take it%s%s", peer, colon,
                         status->reason);
    if (status->lease == LEASE_ENDING || status->lease == LEASE_ENDED)
        return error_set(err, STATUS_MIGRATION, "the guardian on %s has given up%s%s", peer, colon,
                         status->reason);
    return true;
}

/* Whether such an error of a renewal may pass by itself. */
static bool may_pass(enum status status)
{
    return status == STATUS_UNAVAILABLE || status == STATUS_PROTOCOL ||
           status == STATUS_INTERRUPTED || status == STATUS_INTERNAL;
}

bool guardian_link_check(struct guardian_link *link, struct error *err)
{
    const char *peer = link->client.peer->name;
    pthread_mutex_lock(&link->lock);
    struct guardian_status status = link->status;
    struct error trouble = link->trouble;
    bool held = link->answered == 0 || link->lease.state == LEASE_GIVEN ||
                clock_now_ms() - link->answered < SILENCE_MS;
    pthread_mutex_unlock(&link->lock);
    if (!guardian_status_check(&status, peer, err))
        return false;
    if (trouble.status != STATUS_OK && !may_pass(trouble.status))
        return error_set(err, STATUS_MIGRATION, "the guardian refuses: %s", trouble.message);
    if (!held)
        return error_set(err, STATUS_MIGRATION, "no answer from %s for %d s%s%s", peer,
                         SILENCE_MS / 1000, trouble.status != STATUS_OK ? ": " : "",
                         trouble.status != STATUS_OK ? trouble.message : "");
    return true;
}

struct guardian_status guardian_link_status(struct guardian_link *link)
{
    pthread_mutex_lock(&link->lock);
    struct guardian_status status = link->status;
    pthread_mutex_unlock(&link->lock);
    return status;
}
