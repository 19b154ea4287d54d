/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * bench-relay [MIB [CHANNELS]]: what the relay costs. A sender and a reader, in the place of the
 * two QEMUs, and between them over loopback TCP: nothing (the sender's socket is TCP), two
 * processes that copy from socket to socket, or two relays with each cipher. Every part is a
 * process of its own, so that its CPU time is known. Medians of interleaved runs. All parts share
 * this machine's cores: where these are few, GB/s says less than the seconds of CPU a GB.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/strings.h"
#include "peer/relay.h"
#include "peer/sigpipe.h"
#include "peer/tls.h"

#define RUNS 5
#define CHANNELS_MAX 16
#define PIECE ((size_t)512 * 1024) /* what multifd hands to one sendmsg() */
#define COPY_SIZE ((size_t)256 * 1024)

enum part { SENDER, NEAR, FAR, READER, PARTS };

struct way {
    const char *name;
    bool relays;
    const char *cipher; /* NULL: no TLS */
};

static const struct way ways[] = {
    {"TCP, nothing between", false, NULL},
    {"two copiers", true, NULL},
    {"two relays, AES-128-GCM", true, "TLS_AES_128_GCM_SHA256"},
    {"two relays, AES-256-GCM", true, "TLS_AES_256_GCM_SHA384"},
    {"two relays, ChaCha20", true, "TLS_CHACHA20_POLY1305_SHA256"},
};
#define WAYS (sizeof(ways) / sizeof(ways[0]))

struct figures {
    double seconds, cpu[PARTS];
};

static size_t channels = 1;
static uint64_t channel_bytes;
static struct identity *identities[2];
static struct trust_entry entries[2];
/* Of each channel: sender's and near's unix socket, near's and far's TCP, far's and reader's. */
static int sockets[CHANNELS_MAX][6];

static void stop(const char *what, const struct error *err)
{
    fprintf(stderr, "bench-relay: %s%s%s\n", what, err ? ": " : "", err ? err->message : "");
    exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void make_identities(void)
{
    static char names[2][8] = {"near", "far"};
    char folder[] = "/tmp/qml-bench-XXXXXX";
    struct error err = ERROR_INIT;
    if (!mkdtemp(folder))
        stop("no temporary folder", NULL);
    for (int i = 0; i < 2; i++) {
        autofree char *path = string_format("%s/%s", folder, names[i]);
        if (!identity_create(path, &err) || !(identities[i] = identity_load(path, &err)))
            stop("no identity", &err);
        entries[i] = (struct trust_entry){.name = names[i], .pin_count = 1, .expires = TRUST_NEVER};
        memcpy(entries[i].pins[0], identities[i]->pin, PIN_SIZE);
    }
    autofree char *command = string_format("rm -rf '%s'", folder);
    if (system(command) != 0)
        stop("cannot remove the temporary folder", NULL);
}

static void tcp_pair(int pair[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    const int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    autoclose int listener = socket(AF_INET, SOCK_STREAM, 0);
    pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 1) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) < 0 ||
        connect(pair[0], (struct sockaddr *)&address, size) < 0 ||
        (pair[1] = accept(listener, NULL, NULL)) < 0)
        stop("no TCP connection", NULL);
    setsockopt(pair[0], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void open_sockets(const struct way *way)
{
    for (size_t i = 0; i < channels; i++) {
        int *of = sockets[i];
        tcp_pair(of + 2);
        if (!way->relays) {
            of[0] = dup(of[2]);
            of[5] = dup(of[3]);
            of[1] = of[4] = -1;
        } else if (socketpair(AF_UNIX, SOCK_STREAM, 0, of) < 0 ||
                   socketpair(AF_UNIX, SOCK_STREAM, 0, of + 4) < 0)
            stop("no sockets", NULL);
    }
}

static void close_sockets(void)
{
    for (size_t i = 0; i < channels; i++)
        for (int k = 0; k < 6; k++)
            if (sockets[i][k] >= 0)
                close(sockets[i][k]);
}

static bool send_all(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t n = send(fd, data, length, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        data += n;
        length -= (size_t)n;
    }
    return true;
}

static void *run_sender(void *context)
{
    const int *of = context;
    autofree char *data = malloc(PIECE);
    memset(data, 'q', PIECE);
    for (uint64_t left = channel_bytes; left > 0; left -= PIECE)
        if (!send_all(of[0], data, PIECE))
            stop("the sender's socket failed", NULL);
    shutdown(of[0], SHUT_WR);
    if (recv(of[0], data, 1, 0) != 0)
        stop("the sender was not told the end", NULL);
    return NULL;
}

static void *run_reader(void *context)
{
    const int *of = context;
    autofree char *data = malloc(PIECE);
    uint64_t total = 0;
    for (ssize_t n; (n = recv(of[5], data, PIECE, 0)) > 0;)
        total += (uint64_t)n;
    if (total != channel_bytes)
        stop("bytes are missing", NULL);
    shutdown(of[5], SHUT_WR);
    return NULL;
}

static void copy(int from, int to)
{
    autofree char *data = malloc(COPY_SIZE);
    for (ssize_t n; (n = recv(from, data, COPY_SIZE, 0)) > 0;)
        if (!send_all(to, data, (size_t)n))
            stop("a copier's socket failed", NULL);
    shutdown(to, SHUT_WR);
}

static void *run_near_copier(void *context)
{
    const int *of = context;
    copy(of[1], of[2]);
    copy(of[2], of[1]); /* nothing but the end */
    return NULL;
}

static void *run_far_copier(void *context)
{
    const int *of = context;
    copy(of[3], of[4]);
    copy(of[4], of[3]);
    return NULL;
}

static void run_relays(const char *cipher, int side)
{
    struct error err = ERROR_INIT;
    const struct tls_peers peers = {.only = &entries[!side]};
    SSL_CTX *context = tls_context_new(identities[side], &peers, &err);
    if (!context || SSL_CTX_set_ciphersuites(context, cipher) != 1)
        stop("no TLS", &err);
    struct relay_group *group = relay_group_new(-1, &err);
    for (size_t i = 0; i < channels; i++) {
        SSL *ssl = SSL_new(context);
        SSL_set_fd(ssl, sockets[i][2 + side]);
        if ((side == 0 ? SSL_connect(ssl) : SSL_accept(ssl)) != 1)
            stop("the handshake failed", NULL);
        struct relay_ends ends = {.qemu = sockets[i][side == 0 ? 1 : 4], .ssl = ssl};
        if (!relay_group_add(group, &ends, &err))
            stop("no relay", &err);
    }
    if (relay_group_join(group, &err) != RELAY_ENDED)
        stop("a relay failed", &err);
    relay_group_free(group);
    SSL_CTX_free(context);
}

static void run_threads(void *(*run)(void *))
{
    pthread_t threads[CHANNELS_MAX];
    for (size_t i = 0; i < channels; i++)
        if (pthread_create(&threads[i], NULL, run, sockets[i]) != 0)
            stop("no thread", NULL);
    for (size_t i = 0; i < channels; i++)
        pthread_join(threads[i], NULL);
}

static void run_part(const struct way *way, enum part part)
{
    if (part == SENDER)
        run_threads(run_sender);
    else if (part == READER)
        run_threads(run_reader);
    else if (way->cipher)
        run_relays(way->cipher, part == FAR);
    else
        run_threads(part == FAR ? run_far_copier : run_near_copier);
}

static struct figures measure(const struct way *way)
{
    struct figures figures = {0};
    pid_t children[PARTS] = {0};
    open_sockets(way);
    double start = now();
    for (int part = 0; part < PARTS; part++) {
        if (!way->relays && (part == NEAR || part == FAR))
            continue;
        children[part] = fork();
        if (children[part] == 0) {
            run_part(way, (enum part)part);
            _exit(0);
        }
    }
    for (int part = 0; part < PARTS; part++) {
        int status;
        struct rusage usage;
        if (!children[part])
            continue;
        if (wait4(children[part], &status, 0, &usage) < 0 || status != 0)
            stop(way->name, NULL);
        figures.cpu[part] = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                            (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    }
    figures.seconds = now() - start;
    close_sockets();
    return figures;
}

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* The median of one member of all runs of a way. */
static double median(const struct figures *runs, size_t offset)
{
    double values[RUNS];
    for (int i = 0; i < RUNS; i++)
        memcpy(&values[i], (const char *)&runs[i] + offset, sizeof(double));
    qsort(values, RUNS, sizeof(values[0]), compare);
    return values[RUNS / 2];
}

int main(int argc, char **argv)
{
    static struct figures figures[WAYS][RUNS];
    uint64_t mib = 1024, number = 1;
    struct sigpipe_guard guard;
    if (argc > 3 || (argc > 1 && !parse_number(argv[1], 1, 1 << 20, &mib)) ||
        (argc > 2 && !parse_number(argv[2], 1, CHANNELS_MAX, &number)))
        stop("usage: bench-relay [MIB [CHANNELS]]", NULL);
    channels = (size_t)number;
    channel_bytes = (mib * 1024 * 1024 / channels + PIECE - 1) / PIECE * PIECE;
    sigpipe_block(&guard);
    make_identities();
    for (int run = 0; run < RUNS; run++)
        for (size_t i = 0; i < WAYS; i++)
            figures[i][run] = measure(&ways[i]);
    double gb = (double)channel_bytes * (double)channels / 1e9;
    printf("%.1f GB, %zu channel%s, %d runs               CPU seconds a GB\n", gb, channels,
           channels > 1 ? "s" : "", RUNS);
    printf("%-26s %8s %8s %8s %8s %8s\n", "", "GB/s", "sender", "near", "far", "reader");
    for (size_t i = 0; i < WAYS; i++) {
        printf("%-26s %8.2f", ways[i].name,
               gb / median(figures[i], offsetof(struct figures, seconds)));
        for (size_t part = 0; part < PARTS; part++)
            printf(" %8.3f",
                   median(figures[i], offsetof(struct figures, cpu) + part * sizeof(double)) / gb);
        printf("\n");
    }
    identity_free(identities[0]);
    identity_free(identities[1]);
    return 0;
}
