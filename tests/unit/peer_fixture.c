/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "peer_fixture.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/strings.h"
#include "peer/message.h"
#include "peer/sigpipe.h"

struct identity *alice, *bob, *mallory;
struct trust_entry entry_of_bob, entry_of_alice;
static char folder[] = "/tmp/qml-peer-XXXXXX";
static char name_of_alice[] = "alice", name_of_bob[] = "bob";

static struct identity *make_identity(const char *name)
{
    struct error err = ERROR_INIT;
    autofree char *path = string_format("%s/%s", folder, name);
    ck_assert_msg(identity_create(path, &err), "%s", err.message);
    struct identity *identity = identity_load(path, &err);
    ck_assert_msg(identity != NULL, "%s", err.message);
    return identity;
}

static struct trust_entry make_entry(char *name, const struct identity *identity)
{
    struct trust_entry entry = {.name = name, .pin_count = 1, .expires = TRUST_NEVER};
    memcpy(entry.pins[0], identity->pin, PIN_SIZE);
    return entry;
}

void peer_fixture_setup(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    alice = make_identity("alice");
    bob = make_identity("bob");
    mallory = make_identity("mallory");
    entry_of_bob = make_entry(name_of_bob, bob);
    entry_of_alice = make_entry(name_of_alice, alice);
}

void peer_fixture_teardown(void)
{
    identity_free(alice);
    identity_free(bob);
    identity_free(mallory);
    autofree char *command = string_format("rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}

static bool handle(void *context, const struct trust_entry *peer, const char *remote,
                   const char *name, json_t *body, json_t **answer, struct error *err)
{
    struct bobs_server *self = context;
    self->calls++;
    snprintf(self->remote, sizeof(self->remote), "%s", remote);
    snprintf(self->peer, sizeof(self->peer), "%s", peer->name);
    usleep(self->pause_ms * 1000);
    if (strcmp(name, "fail") == 0)
        return error_set(err, STATUS_DRIFT, "it cannot be");
    if (strcmp(name, "stop") == 0)
        peer_server_stop(self->server);
    if (strcmp(name, "huge") == 0) {
        autofree char *text = malloc(MESSAGE_MAX);
        memset(text, 'a', MESSAGE_MAX - 1);
        text[MESSAGE_MAX - 1] = '\0';
        *answer = json_pack("{s:s}", "text", text);
        return true;
    }
    *answer = json_pack("{s:s,s:O}", "name", name, "body", body);
    return true;
}

static void *run_server(void *context)
{
    struct bobs_server *self = context;
    self->result = peer_server_run(self->server, self->when, &self->interrupted, &self->err);
    return NULL;
}

void bob_start(struct bobs_server *self, deadline when)
{
    memset(self, 0, sizeof(*self));
    self->when = when;
    self->trust = (struct trust){.entries = &entry_of_alice, .count = 1};
    struct peer_handler handler = {.handle = handle, .context = self};
    self->server = peer_server_new(bob, &self->trust, "127.0.0.1", 0, &handler, &self->err);
    ck_assert_msg(self->server != NULL, "%s", self->err.message);
    ck_assert_int_eq(pthread_create(&self->thread, NULL, run_server, self), 0);
}

void bob_join(struct bobs_server *self)
{
    pthread_join(self->thread, NULL);
    peer_server_free(self->server);
}

void bob_stop(struct bobs_server *self)
{
    self->interrupted = 1;
    bob_join(self);
    ck_assert(!self->result);
    ck_assert_int_eq(self->err.status, STATUS_INTERRUPTED);
}

bool alice_asks(uint16_t port, const char *name, json_t **answer, struct error *err)
{
    const struct peer_client client = {
        .identity = alice, .peer = &entry_of_bob, .host = "127.0.0.1", .port = port};
    autojson json_t *body = json_pack("{s:s}", "say", "hello");
    autojson json_t *got = NULL;
    bool good = peer_call(&client, name, body, deadline_in_ms(20000), &got, err);
    ck_assert(good == (got != NULL));
    if (answer)
        *answer = json_incref(got);
    return good;
}

void alice_is_served(const struct bobs_server *self)
{
    struct error err = ERROR_INIT;
    int before = self->calls;
    ck_assert_msg(alice_asks(peer_server_port(self->server), "echo", NULL, &err), "%s",
                  err.message);
    ck_assert_int_eq(self->calls, before + 1);
}

int tcp_connect(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = 20};
    ck_assert_int_ge(fd, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

int tcp_listen(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(listen(fd, 5), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static void note_alert(const SSL *ssl, int where, int value)
{
    int *alert = SSL_get_app_data(ssl);
    if (alert && (where & SSL_CB_ALERT) && (where & SSL_CB_READ))
        *alert = value & 0xff;
}

SSL *tls_connect(const struct identity *identity, uint16_t port, int *alert)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (identity) {
        ck_assert_int_eq(SSL_CTX_use_certificate(context, identity->certificate), 1);
        ck_assert_int_eq(SSL_CTX_use_PrivateKey(context, identity->key), 1);
    }
    SSL_CTX_set_info_callback(context, note_alert);
    SSL *ssl = SSL_new(context);
    SSL_CTX_free(context);
    SSL_set_app_data(ssl, alert);
    SSL_set_fd(ssl, tcp_connect(port));
    if (SSL_connect(ssl) == 1)
        return ssl;
    tls_close(ssl);
    return NULL;
}

void tls_close(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);
    SSL_free(ssl);
    close(fd);
}

char *tls_talk(SSL *ssl, const char *text)
{
    autostrbuf struct strbuf answer = {0};
    char chunk[4096];
    int n = 1;
    if (*text)
        SSL_write(ssl, text, (int)strlen(text));
    while (n > 0) {
        n = SSL_read(ssl, chunk, sizeof(chunk));
        if (n > 0)
            strbuf_add(&answer, chunk, (size_t)n);
    }
    return strbuf_steal(&answer);
}

char *http_post(const char *name, const char *body)
{
    return string_format("POST /v1/%s HTTP/1.1\r\nHost: b\r\nContent-Length: %zu\r\n\r\n%s", name,
                         strlen(body), body);
}

/* The body of the one request, once it is there whole. */
static char *read_request(SSL *ssl)
{
    autostrbuf struct strbuf text = {0};
    char chunk[4096];
    for (;;) {
        int n = SSL_read(ssl, chunk, sizeof(chunk));
        if (n <= 0)
            return NULL;
        strbuf_add(&text, chunk, (size_t)n);
        const char *end = strstr(text.data, "\r\n\r\n");
        if (end && text.data[text.length - 1] == '}')
            return strdup(end + 4);
    }
}

static void *run_fake(void *context)
{
    struct fake_bob *self = context;
    struct sigpipe_guard guard;
    sigpipe_block(&guard);
    const struct tls_peers peers = {.only = &entry_of_alice};
    int fd = accept(self->fd, NULL, NULL);
    SSL_CTX *tls = tls_context_new(bob, &peers, NULL);
    SSL *ssl = SSL_new(tls);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1 && !self->deaf) {
        autofree char *request = read_request(ssl);
        autofree char *sealed = self->seal && request ? self->seal(ssl, request) : NULL;
        autofree char *sized =
            sealed ? string_format("HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
                                   strlen(sealed), sealed)
                   : NULL;
        const char *reply = sized ? sized : self->reply;
        if (*reply)
            SSL_write(ssl, reply, (int)strlen(reply));
        SSL_shutdown(ssl);
    }
    SSL_free(ssl);
    SSL_CTX_free(tls);
    close(fd);
    return NULL;
}

void fake_start(struct fake_bob *self)
{
    self->fd = tcp_listen(&self->port);
    ck_assert_int_eq(pthread_create(&self->thread, NULL, run_fake, self), 0);
}

void fake_join(struct fake_bob *self)
{
    pthread_join(self->thread, NULL);
    close(self->fd);
}
