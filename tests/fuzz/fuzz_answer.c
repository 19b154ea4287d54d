/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a trusted peer can answer to our request, over TLS. The first byte says which: 's' the
 * answer to request "stream" (from memory), 'j' the body of a message, which is sealed and sent as
 * it should be, anything else a whole HTTP answer to a usual request, after which 'b' says the last
 * byte more often than anybody takes.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire.h"
#include "peer/client.h"
#include "peer/message.h"
#include "peer/server.h"
#include "peer/stream_answer.h"

#define CALL_MS 20000

static struct {
    int listener;
    uint16_t port;
    struct trust_entry entry; /* of the program, for the peer */
    struct trust trust;
    const uint8_t *data; /* what is said next */
    size_t size;
    sem_t done; /* with one connection */
} peer;

/* The answer to the request in text, as it should be, with the body that is to be said. */
static char *seal(struct fuzz_wire *wire, const char *text)
{
    const struct fuzz_home *home = fuzz_home();
    const char *request = strstr(text, "\r\n\r\n");
    char digest[DIGEST_HEX_SIZE], *sealed = NULL;
    autojson json_t *asked = NULL,
                    *body = json_loadb((const char *)peer.data + 1, peer.size - 1, 0, NULL);
    MUST(request && message_open(request + 4, strlen(request + 4), "any", MESSAGE_INITIATOR,
                                 wire->exporter, "", home->own->pin, &asked, digest, NULL));
    if (!json_is_object(body) || !message_seal(home->peer, "any", MESSAGE_RESPONDER, wire->exporter,
                                               digest, body, &sealed, NULL, NULL))
        return NULL;
    return sealed;
}

/* All of the request: the client sends nothing more before it has its answer. */
static bool read_request(struct fuzz_wire *wire, struct strbuf *text)
{
    char chunk[4096];
    for (;;) {
        const char *body = text->data ? strstr(text->data, "\r\n\r\n") : NULL;
        const char *length = body ? strstr(text->data, "Content-Length: ") : NULL;
        if (length && strlen(body + 4) >= strtoul(length + strlen("Content-Length: "), NULL, 10))
            return true;
        size_t n = fuzz_wire_read(wire, chunk, sizeof(chunk));
        if (n == 0)
            return false;
        strbuf_add(text, chunk, n);
        MUST(!text->failed);
    }
}

static void write_much(struct fuzz_wire *wire, char byte)
{
    char chunk[16384];
    memset(chunk, byte, sizeof(chunk));
    for (size_t written = 0; written <= MESSAGE_MAX; written += sizeof(chunk))
        fuzz_wire_write(wire, chunk, sizeof(chunk));
}

static void answer(struct fuzz_wire *wire)
{
    autostrbuf struct strbuf request = {0};
    if (!read_request(wire, &request))
        return;
    if (peer.size == 0 || peer.data[0] != 'j') {
        bool much = peer.size > 1 && peer.data[0] == 'b';
        fuzz_wire_write(wire, peer.data + much, peer.size - much);
        if (much)
            write_much(wire, (char)peer.data[peer.size - 1]);
        return;
    }
    autofree char *sealed = seal(wire, request.data);
    autofree char *text = sealed ? string_format("HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
                                                 strlen(sealed), sealed)
                                 : NULL;
    fuzz_wire_write(wire, text, text ? strlen(text) : 0);
}

static void *listen_on(void *context)
{
    const struct fuzz_home *home = fuzz_home();
    char ignored[512];
    for (;;) {
        struct fuzz_wire wire;
        int fd = accept(peer.listener, NULL, NULL);
        MUST(fd >= 0);
        if (fuzz_wire_open(&wire, home->peer, &peer.trust, fd, true)) {
            answer(&wire);
            fuzz_wire_end(&wire);
            shutdown(fd, SHUT_WR);
            while (recv(fd, ignored, sizeof(ignored), 0) > 0)
                continue;
        }
        fuzz_wire_close(&wire);
        MUST(sem_post(&peer.done) == 0);
    }
    return NULL;
}

static void start(void)
{
    const struct fuzz_home *home = fuzz_home();
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    pthread_t thread;
    peer.entry =
        (struct trust_entry){.name = (char *)"own", .pin_count = 1, .expires = TRUST_NEVER};
    memcpy(peer.entry.pins[0], home->own->pin, PIN_SIZE);
    peer.trust = (struct trust){.entries = &peer.entry, .count = 1};
    peer.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(peer.listener >= 0 && bind(peer.listener, (struct sockaddr *)&address, size) == 0);
    MUST(listen(peer.listener, 4) == 0);
    MUST(getsockname(peer.listener, (struct sockaddr *)&address, &size) == 0);
    peer.port = ntohs(address.sin_port);
    MUST(sem_init(&peer.done, 0, 0) == 0);
    MUST(pthread_create(&thread, NULL, listen_on, NULL) == 0);
    pthread_detach(thread);
}

static void call(void)
{
    const struct fuzz_home *home = fuzz_home();
    bool retryable;
    const struct peer_client client = {.identity = home->own,
                                       .peer = &home->entry,
                                       .host = "127.0.0.1",
                                       .port = peer.port,
                                       .retryable = &retryable};
    struct error err = ERROR_INIT;
    autojson json_t *body = json_pack("{s:s}", "what", "any"), *found = NULL;
    if (peer_call(&client, "any", body, deadline_in_ms(CALL_MS), &found, &err))
        MUST(json_is_object(found));
    else
        MUST(err.status != STATUS_OK && err.status != STATUS_NOT_TRUSTED && *err.message);
    while (sem_wait(&peer.done) != 0) /* it may still be reading what it was to say */
        continue;
}

/* The answer to "stream". */

struct memory {
    const uint8_t *data;
    size_t size;
};

static CURLcode read_memory(void *context, void *data, size_t size, size_t *count)
{
    struct memory *memory = context;
    *count = size < memory->size ? size : memory->size;
    if (*count > 0)
        memcpy(data, memory->data, *count);
    memory->data += *count;
    memory->size -= *count;
    return CURLE_OK;
}

static void read_stream(const uint8_t *data, size_t size)
{
    const struct fuzz_home *home = fuzz_home();
    const struct peer_client client = {
        .identity = home->own, .peer = &home->entry, .host = "127.0.0.1", .port = 1};
    struct memory memory = {data, size};
    struct stream_answer answer = {0};
    struct error err = ERROR_INIT;
    struct call call __attribute__((cleanup(call_free))) = {0};
    autojson json_t *body = json_object(), *found = NULL;
    MUST(call_begin(&call, &client, "stream", body, NULL));
    CURLcode code = stream_answer_read(&call, read_memory, &memory, &answer);
    if (code != CURLE_OK)
        client_error_transfer(&call, code, &err);
    else if (answer.status == 101)
        MUST(call.response.length == 0);
    else if (answer.status == 200)
        call_open_answer(&call, &found, &err);
    else
        client_error_http(&call, answer.status, &err);
    MUST(!found && (answer.status == 101 || *err.message));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == 's') {
        read_stream(data + 1, size - 1);
        return 0;
    }
    if (!peer.port)
        start();
    peer.data = data;
    peer.size = size;
    call();
    return 0;
}
