/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a trusted peer can send to a server of ours (an agent's, a guardian's, a launch's), over
 * TLS. The first byte says to which of two servers, one that answers at once ('a', 'A') and one
 * that answers later ('l', 'L'), and what follows: a whole HTTP request (small letters), or the
 * name of a request, a newline and a body, which is sealed and sent as it should be (capitals).
 * After 's' the same as after 'A', with the headers that make the connection a stream; after 'x'
 * a message's whole payload, which is signed as it is, but for "exporter":"$": that is right then.
 */
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "wire.h"
#include "peer/envelope.h"
#include "peer/message.h"
#include "peer/server.h"
#include "peer/stream.h"

#define HEAD "POST /v1/%s HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n"
#define UPGRADE "Connection: upgrade\r\nUpgrade: " STREAM_PROTOCOL "\r\n"

#define ANSWER_MS 1000 /* of bytes that need not have one */

enum { AT_ONCE, LATER, SERVERS };
static struct peer_server *servers[SERVERS];

/* The body is the answer; one with "refused" in it is an error. */
static bool handle(void *context, const struct trust_entry *peer, const char *remote,
                   const char *name, json_t *body, json_t **answer, struct error *err)
{
    MUST(strcmp(peer->name, "peer") == 0 && strcmp(remote, "127.0.0.1") == 0);
    MUST(message_name_is_valid(name) && json_is_object(body));
    if (json_object_get(body, "refused"))
        return error_set(err, STATUS_INCOMPATIBLE, "refused");
    *answer = json_object_get(body, "none") ? json_array() : json_incref(body);
    return true;
}

static void begin(void *context, const struct trust_entry *peer, const char *remote,
                  const char *name, json_t *body, struct peer_request *request)
{
    struct error err = ERROR_INIT;
    json_t *answer = NULL;
    handle(context, peer, remote, name, body, &answer, &err);
    MUST(pin_is_valid(peer_request_pin(request)));
    peer_request_is_awaited(request);
    peer_request_answer(request, answer, &err);
}

static bool admit(void *context, const struct trust_entry *peer, const char *remote, json_t *body,
                  struct error *err)
{
    return !json_object_get(body, "refused") || error_set(err, STATUS_DECISION, "refused");
}

static void stream(void *context, json_t *body, SSL *ssl)
{
    int fd = SSL_get_fd(ssl);
    SSL_free(ssl);
    close(fd);
}

static void *serve(void *context)
{
    peer_server_run(context, DEADLINE_NEVER, NULL, NULL);
    return NULL;
}

static void start(void)
{
    static const struct peer_handler handlers[SERVERS] = {
        [AT_ONCE] = {.handle = handle, .admit = admit, .stream = stream},
        [LATER] = {.begin = begin},
    };
    const struct fuzz_home *home = fuzz_home();
    for (int i = 0; i < SERVERS; i++) {
        pthread_t thread;
        servers[i] = peer_server_new(home->own, &home->trust, "127.0.0.1", 0, &handlers[i], NULL);
        MUST(servers[i] && pthread_create(&thread, NULL, serve, servers[i]) == 0);
        pthread_detach(thread);
    }
}

static bool write_request(struct fuzz_wire *wire, const char *name, const char *sealed,
                          bool upgrade)
{
    autofree char *head =
        string_format(HEAD "%s\r\n", name, strlen(sealed), upgrade ? UPGRADE : "");
    MUST(head);
    fuzz_wire_write(wire, head, strlen(head));
    fuzz_wire_write(wire, sealed, strlen(sealed));
    return true;
}

static bool write_signed(struct fuzz_wire *wire, const char *text)
{
    autojson json_t *payload = json_loads(text, 0, NULL);
    autofree char *sealed = NULL;
    const char *exporter = json_string_value(json_object_get(payload, "exporter"));
    if (exporter && strcmp(exporter, "$") == 0)
        json_object_set_new(payload, "exporter", json_string(wire->exporter));
    return json_is_object(payload) &&
           envelope_sign(fuzz_home()->peer, MESSAGE_TYP, payload, &sealed, NULL) &&
           write_request(wire, "hello", sealed, false);
}

/* The request as it should be, sealed for this connection, if there is a body that can be. */
static bool write_sealed(struct fuzz_wire *wire, const char *text, bool upgrade)
{
    const struct identity *own = fuzz_home()->peer;
    const char *end = strchr(text, '\n');
    autofree char *name = end ? strndup(text, (size_t)(end - text)) : NULL;
    autojson json_t *body = end ? json_loads(end + 1, 0, NULL) : NULL;
    autofree char *sealed = NULL;
    if (!json_is_object(body) ||
        !message_seal(own, name, MESSAGE_INITIATOR, wire->exporter, "", body, &sealed, NULL, NULL))
        return false;
    return write_request(wire, name, sealed, upgrade);
}

/* Whether a server would wait for more of these bytes. */
static bool is_whole(const char *text)
{
    const char *body = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length:");
    return body && (!length || strlen(body + 4) >= strtoul(length + 15, NULL, 10));
}

/* Send the input, and wait until the server has nothing more to say. */
static void talk(struct fuzz_wire *wire, char kind, const uint8_t *data, size_t size)
{
    autofree char *text = fuzz_text(data, size);
    struct pollfd answer = {.fd = wire->fd, .events = POLLIN};
    char ignored[4096];
    bool sealed = kind == 'A' || kind == 'L' || kind == 's';
    if (kind == 'x')
        sealed = write_signed(wire, text);
    else if (sealed)
        sealed = write_sealed(wire, text, kind == 's');
    else
        fuzz_wire_write(wire, data, size);
    if (!sealed && !(is_whole(text) && poll(&answer, 1, ANSWER_MS) > 0))
        fuzz_wire_end(wire);
    while (fuzz_wire_read(wire, ignored, sizeof(ignored)) > 0)
        continue;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct fuzz_home *home = fuzz_home();
    const struct trust_entry server = {
        .name = (char *)"own", .pin_count = 1, .expires = TRUST_NEVER};
    struct trust_entry entry = server;
    const struct trust trust = {.entries = &entry, .count = 1};
    struct fuzz_wire wire;
    char kind = size > 0 ? (char)data[0] : 'a';
    if (!servers[AT_ONCE])
        start();
    memcpy(entry.pins[0], home->own->pin, PIN_SIZE);
    int number = kind == 'l' || kind == 'L' ? LATER : AT_ONCE;
    int fd = fuzz_connect(peer_server_port(servers[number]));
    if (fuzz_wire_open(&wire, home->peer, &trust, fd, false) && size > 0)
        talk(&wire, kind, data + 1, size - 1);
    fuzz_wire_close(&wire);
    return 0;
}
