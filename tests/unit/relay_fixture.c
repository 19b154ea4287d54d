/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "relay_fixture.h"

#include <errno.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/deadline.h"

#define BLOCK 1048573 /* a prime, so that nothing hides behind a power of two */
#define QUIET_MS 200
#define END_MS 20000

static uint8_t block[BLOCK];

static void pattern_make(void)
{
    uint32_t x = 2463534242;
    for (size_t i = 0; i < BLOCK; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        block[i] = (uint8_t)x;
    }
}
static pthread_once_t pattern_once = PTHREAD_ONCE_INIT;

/* The part of the block at offset; *length becomes no more than what is there. */
static const uint8_t *pattern_at(uint64_t offset, size_t *length)
{
    pthread_once(&pattern_once, pattern_make);
    size_t start = offset % BLOCK;
    if (*length > BLOCK - start)
        *length = BLOCK - start;
    return block + start;
}

void pattern_fill(void *data, size_t length, uint64_t offset)
{
    for (size_t done = 0; done < length;) {
        size_t n = length - done;
        const uint8_t *from = pattern_at(offset + done, &n);
        memcpy((uint8_t *)data + done, from, n);
        done += n;
    }
}

static void pattern_check(const uint8_t *data, size_t length, uint64_t offset)
{
    for (size_t done = 0; done < length;) {
        size_t n = length - done;
        const uint8_t *from = pattern_at(offset + done, &n);
        ck_assert_msg(memcmp(data + done, from, n) == 0, "wrong bytes from offset %ju on",
                      (uintmax_t)(offset + done));
        done += n;
    }
}

void stream_pair(int pair[2])
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
}

struct handshake {
    SSL *ssl;
    int result;
};

static void *accept_tls(void *context)
{
    struct handshake *handshake = context;
    handshake->result = SSL_accept(handshake->ssl);
    return NULL;
}

static SSL *new_ssl(const struct identity *identity, const struct tls_peers *peers, int fd)
{
    struct error err = ERROR_INIT;
    SSL_CTX *context = tls_context_new(identity, peers, &err);
    ck_assert_msg(context && relay_prefer_ciphers(context, &err), "%s", err.message);
    SSL *ssl = SSL_new(context);
    SSL_CTX_free(context);
    SSL_set_fd(ssl, fd);
    return ssl;
}

void tls_pair(SSL *pair[2])
{
    static struct tls_peers peers[2];
    uint16_t port;
    pthread_t thread;
    peers[0] = (struct tls_peers){.only = &entry_of_bob};
    peers[1] = (struct tls_peers){.only = &entry_of_alice};
    int listener = tcp_listen(&port);
    pair[0] = new_ssl(alice, &peers[0], tcp_connect(port));
    pair[1] = new_ssl(bob, &peers[1], accept(listener, NULL, NULL));
    close(listener);
    struct handshake handshake = {.ssl = pair[1]};
    ck_assert_int_eq(pthread_create(&thread, NULL, accept_tls, &handshake), 0);
    ck_assert_int_eq(SSL_connect(pair[0]), 1);
    pthread_join(thread, NULL);
    ck_assert_int_eq(handshake.result, 1);
}

int relay_of(struct relay_group *group, SSL *ssl, const void *early, size_t early_size)
{
    int pair[2];
    stream_pair(pair);
    struct relay_ends ends = {
        .qemu = pair[1], .ssl = ssl, .early = early, .early_size = early_size};
    MUST(relay_group_add(group, &ends, &err));
    return pair[0];
}

void bridge_open(struct bridge *bridge, uint64_t rekey_after)
{
    SSL *tls[2];
    int near[2], far[2];
    tls_pair(tls);
    stream_pair(near);
    stream_pair(far);
    bridge->near = relay_group_new(-1, NULL);
    bridge->far = relay_group_new(-1, NULL);
    struct relay_ends ends = {.qemu = near[1], .ssl = tls[0], .rekey_after = rekey_after};
    MUST(relay_group_add(bridge->near, &ends, &err));
    ends.qemu = far[1];
    ends.ssl = tls[1];
    MUST(relay_group_add(bridge->far, &ends, &err));
    bridge->near_qemu = near[0];
    bridge->far_qemu = far[0];
}

void group_ends(struct relay_group *group, enum relay_outcome wanted, const char *words)
{
    struct error err = ERROR_INIT;
    bool failed;
    deadline when = deadline_in_ms(END_MS);
    while (relay_group_running(group, &failed) > 0) {
        struct pollfd end = {.fd = relay_group_fd(group), .events = POLLIN};
        ck_assert_msg(poll(&end, 1, deadline_left_ms(when)) == 1, "it has not ended");
    }
    enum relay_outcome outcome = relay_group_join(group, &err);
    ck_assert_msg(outcome == wanted, "outcome %d, not %d: %s", outcome, wanted, err.message);
    ck_assert(failed == (wanted != RELAY_ENDED));
    ck_assert_msg(strstr(err.message, words) != NULL, "'%s' is not in: %s", words, err.message);
    relay_group_free(group);
}

void bridge_close(struct bridge *bridge, enum relay_outcome near, enum relay_outcome far)
{
    group_ends(bridge->near, near, "");
    group_ends(bridge->far, far, "");
    if (bridge->near_qemu >= 0)
        close(bridge->near_qemu);
    if (bridge->far_qemu >= 0)
        close(bridge->far_qemu);
}

void must_send(int fd, uint64_t offset, uint64_t size)
{
    while (size > 0) {
        size_t length = size < BLOCK ? (size_t)size : BLOCK;
        const uint8_t *from = pattern_at(offset, &length);
        ssize_t n = send(fd, from, length, MSG_NOSIGNAL);
        ck_assert_msg(n > 0, "send: %s", strerror(errno));
        offset += (uint64_t)n;
        size -= (uint64_t)n;
    }
}

void must_read(int fd, uint64_t offset, uint64_t size, bool end)
{
    size_t room = 256 * 1024;
    autofree uint8_t *data = malloc(room);
    while (size > 0) {
        ssize_t n = recv(fd, data, size < room ? (size_t)size : room, 0);
        ck_assert_msg(n > 0, "%ju bytes are missing: %s", (uintmax_t)size,
                      n < 0 ? strerror(errno) : "end");
        pattern_check(data, (size_t)n, offset);
        offset += (uint64_t)n;
        size -= (uint64_t)n;
    }
    if (end)
        ck_assert_int_eq(recv(fd, data, 1, 0), 0);
}

static void *send_stream(void *context)
{
    struct stream *self = context;
    unsigned seed = 7;
    for (uint64_t sent = 0; sent < self->size;) {
        uint64_t n = self->piece ? 1 + (unsigned)rand_r(&seed) % self->piece : BLOCK;
        n = n < self->size - sent ? n : self->size - sent;
        must_send(self->fd, sent, n);
        sent += n;
    }
    ck_assert_int_eq(shutdown(self->fd, SHUT_WR), 0);
    return NULL;
}

static void *read_stream(void *context)
{
    struct stream *self = context;
    size_t room = 256 * 1024;
    autofree uint8_t *data = malloc(room);
    for (;;) {
        ssize_t n = recv(self->fd, data, room, 0);
        ck_assert_msg(n >= 0, "recv: %s", strerror(errno));
        if (n == 0)
            return NULL;
        pattern_check(data, (size_t)n, self->size_read);
        self->size_read += (uint64_t)n;
    }
}

void sender_start(struct stream *stream, int fd, uint64_t size, size_t piece)
{
    *stream = (struct stream){.fd = fd, .size = size, .piece = piece};
    ck_assert_int_eq(pthread_create(&stream->thread, NULL, send_stream, stream), 0);
}

void reader_start(struct stream *stream, int fd)
{
    *stream = (struct stream){.fd = fd};
    ck_assert_int_eq(pthread_create(&stream->thread, NULL, read_stream, stream), 0);
}

void stream_join(struct stream *stream)
{
    pthread_join(stream->thread, NULL);
}

uint64_t send_until_blocked(int fd)
{
    uint64_t sent = 0;
    for (;;) {
        struct pollfd out = {.fd = fd, .events = POLLOUT};
        if (poll(&out, 1, QUIET_MS) == 0)
            return sent;
        size_t length = BLOCK;
        const uint8_t *from = pattern_at(sent, &length);
        ssize_t n = send(fd, from, length, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0)
            sent += (uint64_t)n;
        else
            ck_assert_int_eq(errno, EAGAIN);
    }
}

int64_t cpu_ms(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}
