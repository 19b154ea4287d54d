/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "peer/relay.h"

struct member {
    struct relay_group *group;
    struct relay *relay;
    pthread_t thread;
};

struct relay_group {
    pthread_mutex_t lock; /* of all below */
    struct member members[RELAY_GROUP_MAX];
    size_t count, running;
    int stop_fd, end_fd;
    bool stopped, joined;
    enum relay_outcome outcome; /* the first that was no success */
    struct error err;
};

struct relay_group *relay_group_new(int stop_fd, struct error *err)
{
    struct relay_group *group = calloc(1, sizeof(*group));
    if (!group) {
        error_no_memory(err);
        return NULL;
    }
    group->stop_fd = stop_fd;
    group->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (group->end_fd < 0) {
        error_set_errno(err, STATUS_INTERNAL, errno, "cannot make an eventfd");
        free(group);
        return NULL;
    }
    pthread_mutex_init(&group->lock, NULL);
    return group;
}

/* With the lock held. */
static void stop_all(struct relay_group *group)
{
    group->stopped = true;
    for (size_t i = 0; i < group->count; i++)
        relay_stop(group->members[i].relay);
}

static void *run_member(void *context)
{
    struct member *member = context;
    struct relay_group *group = member->group;
    struct error err = ERROR_INIT;
    const uint64_t one = 1;
    enum relay_outcome outcome = relay_run(member->relay, &err);
    pthread_mutex_lock(&group->lock);
    group->running--;
    if (outcome != RELAY_ENDED && group->outcome == RELAY_ENDED) {
        group->outcome = outcome;
        group->err = err;
        stop_all(group);
    }
    /* It cannot fail: nobody ends 2^64 relays. */
    ssize_t written = write(group->end_fd, &one, sizeof(one));
    (void)written;
    pthread_mutex_unlock(&group->lock);
    return NULL;
}

/* A thread that gets no signals: they are the program's. With the lock held. */
static bool start_member(struct relay_group *group, struct relay *relay, struct error *err)
{
    struct member *member = &group->members[group->count];
    sigset_t all, saved;
    *member = (struct member){.group = group, .relay = relay};
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &saved);
    int errnum = pthread_create(&member->thread, NULL, run_member, member);
    pthread_sigmask(SIG_SETMASK, &saved, NULL);
    if (errnum != 0)
        return error_set_errno(err, STATUS_INTERNAL, errnum, "cannot start a thread");
    group->count++;
    group->running++;
    if (group->stopped)
        relay_stop(relay);
    return true;
}

bool relay_group_add(struct relay_group *group, const struct relay_ends *ends, struct error *err)
{
    struct relay *relay = relay_new(ends, group->stop_fd, err);
    if (!relay)
        return false;
    pthread_mutex_lock(&group->lock);
    bool started;
    if (group->joined)
        started = error_set(err, STATUS_INTERNAL, "the relays of this migration have ended");
    else if (group->count == RELAY_GROUP_MAX)
        started = error_set(err, STATUS_INTERNAL, "more than %d relays", RELAY_GROUP_MAX);
    else
        started = start_member(group, relay, err);
    pthread_mutex_unlock(&group->lock);
    if (!started)
        relay_free(relay);
    return started;
}

int relay_group_fd(const struct relay_group *group)
{
    return group->end_fd;
}

size_t relay_group_running(struct relay_group *group, bool *failed)
{
    uint64_t ends;
    pthread_mutex_lock(&group->lock);
    ssize_t got = read(group->end_fd, &ends, sizeof(ends)); /* or it was not readable */
    (void)got;
    size_t running = group->running;
    *failed = group->outcome != RELAY_ENDED;
    pthread_mutex_unlock(&group->lock);
    return running;
}

struct relay_counts relay_group_counts(struct relay_group *group)
{
    struct relay_counts sum = {0};
    pthread_mutex_lock(&group->lock);
    for (size_t i = 0; i < group->count; i++) {
        struct relay_counts counts = relay_counts(group->members[i].relay);
        sum.to_peer += counts.to_peer;
        sum.from_peer += counts.from_peer;
    }
    pthread_mutex_unlock(&group->lock);
    return sum;
}

void relay_group_stop(struct relay_group *group)
{
    pthread_mutex_lock(&group->lock);
    stop_all(group);
    pthread_mutex_unlock(&group->lock);
}

enum relay_outcome relay_group_join(struct relay_group *group, struct error *err)
{
    pthread_mutex_lock(&group->lock);
    bool joined = group->joined;
    group->joined = true;
    size_t count = group->count;
    pthread_mutex_unlock(&group->lock);
    for (size_t i = 0; !joined && i < count; i++)
        pthread_join(group->members[i].thread, NULL);
    if (group->outcome != RELAY_ENDED && err)
        *err = group->err;
    return group->outcome;
}

void relay_group_free(struct relay_group *group)
{
    if (!group)
        return;
    relay_group_stop(group);
    relay_group_join(group, NULL);
    for (size_t i = 0; i < group->count; i++)
        relay_free(group->members[i].relay);
    close(group->end_fd);
    pthread_mutex_destroy(&group->lock);
    free(group);
}
