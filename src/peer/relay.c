/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "peer/relay.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "peer/relay_wire.h"

struct relay {
    int qemu;
    struct wire wire;
    int stop_fd, wake_fd;
    struct relay_buffer from_qemu; /* all of it is encrypted as soon as it is there */
    struct relay_buffer to_qemu;
    size_t in_flight;  /* bytes of QEMU's in wire.out */
    bool qemu_ended;   /* it will send no more */
    bool qemu_shut;    /* it knows that no more comes */
    bool qemu_hung_up; /* its socket is closed; what it sent before may still be there */
    bool qemu_may_close;
    bool dropping; /* QEMU has closed, and was allowed to */
    bool ran;
    _Atomic uint64_t to_peer, from_peer;
};

enum { POLL_QEMU, POLL_WIRE, POLL_WAKE, POLL_STOP, POLL_COUNT };

static bool check_ends(const struct relay_ends *ends, struct error *err)
{
    int type = 0;
    socklen_t size = sizeof(type);
    if (ends->qemu < 0 || getsockopt(ends->qemu, SOL_SOCKET, SO_TYPE, &type, &size) < 0 ||
        type != SOCK_STREAM)
        return error_set(err, STATUS_INTERNAL, "a relay needs a stream socket to QEMU");
    if (!ends->ssl || !SSL_is_init_finished(ends->ssl) || SSL_get_fd(ends->ssl) < 0 ||
        SSL_get_shutdown(ends->ssl) & SSL_SENT_SHUTDOWN)
        return error_set(err, STATUS_INTERNAL,
                         "a relay needs a TLS session whose handshake is done");
    if (!ends->early && ends->early_size > 0)
        return error_set(err, STATUS_INTERNAL, "a relay was given a size without bytes");
    return true;
}

static void close_ends(const struct relay_ends *ends)
{
    int fd = ends->ssl ? SSL_get_fd(ends->ssl) : -1;
    SSL_free(ends->ssl);
    if (fd >= 0)
        close(fd);
    if (ends->qemu >= 0)
        close(ends->qemu);
}

struct relay *relay_new(const struct relay_ends *ends, int stop_fd, struct error *err)
{
    bool good = check_ends(ends, err);
    struct relay *relay = good ? calloc(1, sizeof(*relay)) : NULL;
    if (!relay) {
        if (good)
            error_no_memory(err);
        close_ends(ends);
        return NULL;
    }
    relay->qemu = relay->wire.fd = -1;
    relay->stop_fd = stop_fd;
    relay->from_qemu.data = malloc(relay->from_qemu.capacity = RELAY_CHUNK);
    relay->to_qemu.capacity = ends->early_size > RELAY_CHUNK ? ends->early_size : RELAY_CHUNK;
    relay->to_qemu.data = malloc(relay->to_qemu.capacity);
    relay->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (relay->wake_fd < 0)
        error_set_errno(err, STATUS_INTERNAL, errno, "cannot make an eventfd");
    else if (!relay->from_qemu.data || !relay->to_qemu.data)
        error_no_memory(err);
    else if (wire_open(&relay->wire, ends->ssl, ends->rekey_after, err)) {
        if (ends->early_size > 0)
            memcpy(relay->to_qemu.data, ends->early, ends->early_size);
        relay->to_qemu.end = ends->early_size;
        relay->qemu = ends->qemu;
        relay->qemu_may_close = ends->qemu_may_close;
        /* As far as the system allows: a tenth of the receiving relay's CPU time. */
        const int room = 2 * (int)RELAY_CHUNK;
        setsockopt(relay->qemu, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
        return relay;
    }
    relay_free(relay);
    close_ends(ends);
    return NULL;
}

void relay_free(struct relay *relay)
{
    if (!relay)
        return;
    if (relay->qemu >= 0)
        close(relay->qemu);
    if (relay->wake_fd >= 0)
        close(relay->wake_fd);
    wire_free(&relay->wire);
    free(relay->from_qemu.data);
    free(relay->to_qemu.data);
    free(relay);
}

void relay_stop(struct relay *relay)
{
    const uint64_t one = 1;
    int saved = errno;
    /* It fails only if it is readable already. */
    if (write(relay->wake_fd, &one, sizeof(one)) < 0)
        errno = saved;
}

struct relay_counts relay_counts(const struct relay *relay)
{
    return (struct relay_counts){
        .to_peer = atomic_load_explicit(&relay->to_peer, memory_order_relaxed),
        .from_peer = atomic_load_explicit(&relay->from_peer, memory_order_relaxed),
    };
}

/* RELAY_ENDED: that was its end. */
static enum relay_outcome qemu_failed(struct relay *relay, int errnum, struct error *err)
{
    socklen_t size = sizeof(errnum);
    if (relay->qemu_may_close) {
        relay->qemu_ended = relay->qemu_hung_up = relay->dropping = true;
        return RELAY_ENDED;
    }
    if (errnum == 0)
        getsockopt(relay->qemu, SOL_SOCKET, SO_ERROR, &errnum, &size);
    if (errnum == EPIPE)
        error_set(err, STATUS_UNAVAILABLE,
                  "QEMU closed its migration socket before it had read everything");
    else
        error_set_errno(err, STATUS_UNAVAILABLE, errnum ? errnum : ECONNRESET,
                        "QEMU's migration socket failed");
    return RELAY_QEMU_FAILED;
}

/* One turn of the direction to the peer: what waits, then one reading more. */
static enum relay_outcome move_to_peer(struct relay *relay, bool readable, struct error *err)
{
    struct wire *wire = &relay->wire;
    enum relay_outcome outcome = RELAY_ENDED;
    if (buffer_is_empty(&wire->out) && !relay->qemu_ended && readable) {
        ssize_t n =
            recv(relay->qemu, relay->from_qemu.data, relay->from_qemu.capacity, MSG_DONTWAIT);
        relay->qemu_ended = n == 0;
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            outcome = qemu_failed(relay, errno, err);
        } else if (n > 0) {
            relay->in_flight = (size_t)n;
            outcome = wire_encrypt(wire, relay->from_qemu.data, (size_t)n, err);
        }
    }
    if (outcome == RELAY_ENDED && relay->qemu_ended && !wire->closed)
        outcome = wire_end(wire, err);
    if (outcome == RELAY_ENDED)
        outcome = wire_send(wire, err);
    if (outcome == RELAY_ENDED && buffer_is_empty(&wire->out)) {
        atomic_fetch_add_explicit(&relay->to_peer, relay->in_flight, memory_order_relaxed);
        relay->in_flight = 0;
    }
    return outcome;
}

/* One turn of the direction from the peer: what waits in our buffers and in OpenSSL's, then one
 * reading more and all that came with it. */
static enum relay_outcome move_from_peer(struct relay *relay, bool readable, struct error *err)
{
    struct wire *wire = &relay->wire;
    struct relay_buffer *plain = &relay->to_qemu;
    while (!relay->qemu_shut) {
        if (relay->dropping)
            plain->start = plain->end = 0;
        size_t waiting = plain->end - plain->start;
        int errnum = buffer_send(plain, relay->qemu);
        atomic_fetch_add_explicit(&relay->from_peer, waiting - (plain->end - plain->start),
                                  memory_order_relaxed);
        enum relay_outcome outcome = errnum != 0 ? qemu_failed(relay, errnum, err) : RELAY_ENDED;
        if (outcome != RELAY_ENDED)
            return outcome;
        if (errnum != 0)
            continue;
        if (!buffer_is_empty(plain))
            return RELAY_ENDED;
        if (wire->ended) {
            /* It fails when QEMU has closed its end altogether: then it needs no word from us. */
            shutdown(relay->qemu, SHUT_WR);
            relay->qemu_shut = true;
            return RELAY_ENDED;
        }
        outcome = wire_decrypt(wire, plain, err);
        if (outcome != RELAY_ENDED)
            return outcome;
        if (!buffer_is_empty(plain) || wire->ended)
            continue;
        if (!readable)
            return RELAY_ENDED;
        readable = false;
        outcome = wire_receive(wire, err);
        if (outcome != RELAY_ENDED)
            return outcome;
    }
    return RELAY_ENDED;
}

/* What to wait for. An end of which nothing is wanted still tells of its failure, but a socket that
 * is closed would tell so for ever: it is left out. */
static void choose_events(const struct relay *relay, struct pollfd polls[POLL_COUNT])
{
    const struct wire *wire = &relay->wire;
    short qemu = 0, peer = 0;
    if (!relay->qemu_ended && buffer_is_empty(&wire->out))
        qemu |= POLLIN;
    if (!buffer_is_empty(&relay->to_qemu))
        qemu |= POLLOUT;
    else if (!wire->ended)
        peer |= POLLIN;
    if (!buffer_is_empty(&wire->out))
        peer |= POLLOUT;
    /* A peer that has sent its last may close once it has our last, and not before. */
    bool over = wire->ended && wire->closed && buffer_is_empty(&wire->out);
    if (wire->ended)
        peer |= POLLRDHUP;
    bool leave_out = relay->qemu_hung_up && !qemu;
    polls[POLL_QEMU] = (struct pollfd){.fd = leave_out ? -1 : relay->qemu, .events = qemu};
    polls[POLL_WIRE] = (struct pollfd){.fd = over ? -1 : wire->fd, .events = peer};
    polls[POLL_WAKE] = (struct pollfd){.fd = relay->wake_fd, .events = POLLIN};
    polls[POLL_STOP] = (struct pollfd){.fd = relay->stop_fd, .events = POLLIN};
}

/* Wait; what has failed without being asked for anything is seen here, the rest by reading and
 * writing. */
static enum relay_outcome wait_for_events(struct relay *relay, struct pollfd polls[POLL_COUNT],
                                          struct error *err)
{
    choose_events(relay, polls);
    while (poll(polls, POLL_COUNT, -1) < 0) {
        if (errno != EINTR) {
            error_set_errno(err, STATUS_INTERNAL, errno, "cannot wait for the migration stream");
            return RELAY_BROKEN;
        }
    }
    if (polls[POLL_WAKE].revents || polls[POLL_STOP].revents) {
        error_set(err, STATUS_INTERRUPTED, "the migration stream was stopped");
        return RELAY_STOPPED;
    }
    if (polls[POLL_QEMU].revents & POLLHUP)
        relay->qemu_hung_up = true;
    if (polls[POLL_QEMU].revents & POLLERR && !(polls[POLL_QEMU].events & POLLIN))
        return qemu_failed(relay, 0, err);
    short peer = polls[POLL_WIRE].revents;
    if (peer & (POLLERR | POLLHUP) && !(polls[POLL_WIRE].events & POLLIN))
        return wire_lost(&relay->wire, 0, err);
    if (peer & POLLRDHUP) {
        error_set(
            err, STATUS_UNAVAILABLE,
            "the other host closed the connection before it had taken all of the migration stream");
        return RELAY_PEER_TRUNCATED;
    }
    return RELAY_ENDED;
}

static bool is_done(const struct relay *relay)
{
    return relay->qemu_shut && relay->wire.closed && buffer_is_empty(&relay->wire.out);
}

static enum relay_outcome pump(struct relay *relay, struct error *err)
{
    /* The SSL may hold bytes that no poll() tells of. */
    enum relay_outcome outcome = move_from_peer(relay, false, err);
    while (outcome == RELAY_ENDED && !is_done(relay)) {
        struct pollfd polls[POLL_COUNT];
        outcome = wait_for_events(relay, polls, err);
        if (outcome == RELAY_ENDED)
            outcome =
                move_to_peer(relay, polls[POLL_QEMU].revents & (POLLIN | POLLHUP | POLLERR), err);
        if (outcome == RELAY_ENDED)
            outcome =
                move_from_peer(relay, polls[POLL_WIRE].revents & (POLLIN | POLLHUP | POLLERR), err);
    }
    return outcome;
}

enum relay_outcome relay_run(struct relay *relay, struct error *err)
{
    if (relay->ran) {
        error_set(err, STATUS_INTERNAL, "a relay runs once");
        return RELAY_BROKEN;
    }
    relay->ran = true;
    enum relay_outcome outcome = pump(relay, err);
    if (outcome == RELAY_PEER_GARBLED)
        buffer_send(&relay->wire.out, relay->wire.fd); /* the alert, if it can be sent */
    wire_close(&relay->wire, outcome == RELAY_STOPPED || outcome == RELAY_QEMU_FAILED);
    close(steal_fd(&relay->qemu));
    return outcome;
}
