/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "migration/streams.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/unix_socket.h"
#include "peer/stream.h"

#define OPEN_MS 15000

struct migration_streams {
    char *path;
    int listener, wake;
    int channels;
    struct peer_client client;
    struct order_key key;
    struct relay_group *group;
    struct peer_stream *opened[RELAY_GROUP_MAX]; /* of the thread; they outlive the relays */
    int count;
    pthread_t thread;
    bool started;
    volatile sig_atomic_t quit;
    pthread_mutex_t lock; /* of failure */
    struct error failure; /* STATUS_OK: none */
};

static void fail(struct migration_streams *streams, const struct error *why)
{
    pthread_mutex_lock(&streams->lock);
    if (streams->failure.status == STATUS_OK)
        streams->failure = *why;
    pthread_mutex_unlock(&streams->lock);
    relay_group_stop(streams->group);
}

/* Carry one connection of QEMU's; qemu is used up. */
static bool carry(struct migration_streams *streams, int qemu, struct error *err)
{
    autoclose int fd = qemu;
    int channel = streams->count;
    autojson json_t *body = order_new_stream(&streams->key, channel);
    if (!body)
        return error_no_memory(err);
    struct peer_stream *stream =
        peer_stream_open(&streams->client, body, deadline_in_ms(OPEN_MS), err);
    if (!stream)
        return false;
    streams->opened[streams->count++] = stream;
    struct relay_ends ends = {.qemu = steal_fd(&fd), .ssl = peer_stream_take_ssl(stream)};
    return relay_group_add(streams->group, &ends, err);
}

static void *take_connections(void *context)
{
    struct migration_streams *streams = context;
    struct pollfd fds[] = {{.fd = streams->listener, .events = POLLIN},
                           {.fd = streams->wake, .events = POLLIN}};
    while (!streams->quit && streams->count < streams->channels) {
        struct error err = ERROR_INIT;
        if (poll(fds, 2, -1) < 0 || streams->quit || !(fds[0].revents & POLLIN))
            continue;
        int qemu = accept4(streams->listener, NULL, NULL, SOCK_CLOEXEC);
        if (qemu >= 0 && !carry(streams, qemu, &err) && !streams->quit) {
            fail(streams, &err);
            break;
        }
    }
    return NULL;
}

static bool start(struct migration_streams *streams, struct error *err)
{
    sigset_t all, saved;
    streams->listener = unix_listen(streams->path, RELAY_GROUP_MAX, SOCK_NONBLOCK);
    if (streams->listener < 0)
        return error_set_errno(err, STATUS_CANNOT_WRITE, errno, "%s", streams->path);
    streams->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (streams->wake < 0)
        return error_set_errno(err, STATUS_INTERNAL, errno, "cannot make an eventfd");
    if (!(streams->group = relay_group_new(-1, err)))
        return false;
    sigfillset(&all); /* signals are the program's */
    pthread_sigmask(SIG_SETMASK, &all, &saved);
    int errnum = pthread_create(&streams->thread, NULL, take_connections, streams);
    pthread_sigmask(SIG_SETMASK, &saved, NULL);
    if (errnum != 0)
        return error_set_errno(err, STATUS_INTERNAL, errnum, "cannot start a thread");
    streams->started = true;
    return true;
}

struct migration_streams *migration_streams_new(const char *path, int channels,
                                                const struct peer_client *client,
                                                const struct order_key *key, struct error *err)
{
    struct migration_streams *streams = calloc(1, sizeof(*streams));
    if (!streams) {
        error_no_memory(err);
        return NULL;
    }
    streams->listener = streams->wake = -1;
    streams->channels = channels < RELAY_GROUP_MAX ? channels : RELAY_GROUP_MAX;
    streams->client = *client;
    streams->client.interrupted = &streams->quit;
    streams->client.retryable = NULL;
    streams->key = *key;
    pthread_mutex_init(&streams->lock, NULL);
    if (!unix_path_fits(path))
        error_set(err, STATUS_CONFIG, "%s is too long for a socket", path);
    else if (!(streams->path = strdup(path)))
        error_no_memory(err);
    if (!streams->path || !start(streams, err)) {
        migration_streams_free(streams);
        return NULL;
    }
    return streams;
}

bool migration_streams_failed(struct migration_streams *streams, struct error *err)
{
    bool failed = false;
    pthread_mutex_lock(&streams->lock);
    struct error failure = streams->failure;
    pthread_mutex_unlock(&streams->lock);
    if (failure.status != STATUS_OK) {
        *err = failure;
        return true;
    }
    relay_group_running(streams->group, &failed);
    if (!failed)
        return false;
    /* All have been stopped when one has failed, so that this does not take long; the thread that
     * adds must have ended before. */
    migration_streams_stop(streams);
    if (streams->started)
        pthread_join(streams->thread, NULL);
    streams->started = false;
    relay_group_join(streams->group, err);
    pthread_mutex_lock(&streams->lock);
    streams->failure = *err;
    pthread_mutex_unlock(&streams->lock);
    return true;
}

void migration_streams_stop(struct migration_streams *streams)
{
    const uint64_t one = 1;
    streams->quit = 1;
    if (streams->wake >= 0) {
        ssize_t written = write(streams->wake, &one, sizeof(one)); /* it is read by nobody, and */
        (void)written;                                             /* 2^64 stops do not happen */
    }
    if (streams->group)
        relay_group_stop(streams->group);
}

void migration_streams_free(struct migration_streams *streams)
{
    if (!streams)
        return;
    migration_streams_stop(streams);
    if (streams->started)
        pthread_join(streams->thread, NULL);
    relay_group_free(streams->group);
    for (int i = 0; i < streams->count; i++)
        peer_stream_free(streams->opened[i]);
    if (streams->listener >= 0) {
        close(streams->listener);
        /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): what listens has a path */
        unlink(streams->path);
    }
    if (streams->wake >= 0)
        close(streams->wake);
    pthread_mutex_destroy(&streams->lock);
    free(streams->path);
    free(streams);
}
