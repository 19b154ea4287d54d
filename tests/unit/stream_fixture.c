/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "stream_fixture.h"

#include <dirent.h>
#include <poll.h>
#include <time.h>

#include "base/deadline.h"
#include "peer/message.h"

static bool handle(void *context, const struct trust_entry *peer, const char *remote,
                   const char *name, json_t *body, json_t **answer, struct error *err)
{
    if (json_object_get(body, "refuse"))
        return error_set(err, STATUS_PROTOCOL, "what is '%s'?", name);
    *answer = json_pack("{s:O}", "body", body);
    return true;
}

static bool admit(void *context, const struct trust_entry *peer, const char *remote, json_t *body,
                  struct error *err)
{
    struct host *host = context;
    snprintf(host->remote, sizeof(host->remote), "%s", remote);
    snprintf(host->peer, sizeof(host->peer), "%s", peer->name);
    host->admits++;
    if (host->hold) {
        host->hold = false;
        sem_post(&host->asked);
        sem_wait(&host->go_on);
    }
    if (json_object_get(body, "refuse"))
        return error_set(err, STATUS_DRIFT, "not this one");
    if (host->stop)
        peer_server_stop(host->server);
    json_object_set_new(body, "admitted", json_true());
    return true;
}

static void take(void *context, json_t *body, SSL *ssl)
{
    struct host *host = context;
    ck_assert(json_is_true(json_object_get(body, "admitted")));
    ck_assert(SSL_is_init_finished(ssl));
    ck_assert_ptr_nonnull(tls_session_of(ssl));
    if (++host->streams == host->last_stream)
        peer_server_stop(host->server);
    if (host->drop)
        tls_close(ssl);
    else
        host->ssl = ssl;
    sem_post(&host->over);
}

static void withdrawn(void *context, json_t *body)
{
    struct host *host = context;
    ck_assert(json_is_true(json_object_get(body, "admitted")));
    host->withdrawals++;
    sem_post(&host->over);
}

static void *run(void *context)
{
    struct host *host = context;
    host->result = peer_server_run(host->server, DEADLINE_NEVER, &host->interrupted, &host->err);
    return NULL;
}

void host_start_on(struct host *host, bool admits, int fd)
{
    memset(host, 0, sizeof(*host));
    sem_init(&host->asked, 0, 0);
    sem_init(&host->go_on, 0, 0);
    sem_init(&host->over, 0, 0);
    host->trust = (struct trust){.entries = &entry_of_alice, .count = 1};
    struct peer_handler handler = {.handle = handle, .context = host};
    if (admits) {
        handler.admit = admit;
        handler.stream = take;
        handler.withdrawn = withdrawn;
    }
    host->server = peer_server_new_from_socket(bob, &host->trust, fd, &handler, &host->err);
    ck_assert_msg(host->server != NULL, "%s", host->err.message);
    host->port = peer_server_port(host->server);
    ck_assert_int_eq(pthread_create(&host->thread, NULL, run, host), 0);
}

void host_start(struct host *host, bool admits)
{
    int fd = -1;
    MUST((fd = peer_listen("127.0.0.1", 0, &err)) >= 0);
    host_start_on(host, admits, fd);
}

void host_free(struct host *host)
{
    peer_server_free(host->server);
    host->server = NULL;
}

void host_stop(struct host *host)
{
    host->interrupted = 1;
    pthread_join(host->thread, NULL);
    ck_assert(!host->result);
    ck_assert_int_eq(host->err.status, STATUS_INTERRUPTED);
    host_free(host);
}

void host_waits(struct host *host, int count)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(sem_timedwait(&host->over, &until), 0);
}

SSL *host_takes(struct host *host)
{
    host_waits(host, 1);
    ck_assert_ptr_nonnull(host->ssl);
    return STEAL(host->ssl);
}

struct peer_client client_of(const struct host *host)
{
    return (struct peer_client){
        .identity = alice, .peer = &entry_of_bob, .host = "127.0.0.1", .port = host->port};
}

struct peer_stream *must_open(const struct peer_client *client)
{
    autojson json_t *body = json_pack("{s:s}", "say", "hello");
    struct peer_stream *stream = NULL;
    MUST((stream = peer_stream_open(client, body, deadline_in_ms(20000), &err)) != NULL);
    return stream;
}

char *sealed_request(SSL *ssl, const char *name, const char *headers, const char *behind)
{
    char exporter[TLS_EXPORTER_SIZE];
    char *text = NULL;
    autojson json_t *body = json_object();
    MUST(tls_exporter(ssl, exporter, &err));
    MUST(message_seal(alice, name, MESSAGE_INITIATOR, exporter, "", body, &text, NULL, &err));
    char *request =
        string_format("POST /v1/%s HTTP/1.1\r\nHost: b\r\nContent-Length: %zu\r\n%s\r\n%s%s", name,
                      strlen(text), headers, text, behind);
    free(text);
    return request;
}

int count_fds(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

void fds_become(int count)
{
    deadline limit = deadline_in_ms(5000);
    while (count_fds() != count && deadline_left_ms(limit) > 0)
        poll(NULL, 0, 5);
    ck_assert_int_eq(count_fds(), count);
}
