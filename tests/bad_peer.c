/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A peer that does one thing wrong, for tests/e2e/test_trust.py: it is trusted, speaks TLS with its
 * own key, and runs the real exchange with one deviation.
 *   bad-peer HOME connect|listen PORT DEVIATION QEMU [FILE]
 * It is the one who has the VM web1 to start (connect) or waits for it (listen), on 127.0.0.1. One
 * line on standard output says what came of it:
 *   accepted         the other side went through to the end
 *   refused WORDS    it refused, in a sealed answer or with an HTTP status
 *   closed           it closed the connection
 *   reached NAME     the deviation was to stop here
 * Exit status 0, or 1 with a line on standard error when it could not even get that far.
 */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "peer/message.h"
#include "peer/tls.h"
#include "vm/exchange.h"
#include "vm/invocation.h"

#define VM "web1"
#define BIG (MESSAGE_MAX + 100000)

static const char *const deviations[] = {
    "none",
    "tamper-profile",       /* a feature more in the profile, the signature as it was */
    "foreign-profile",      /* a good profile, signed by a key that nobody knows */
    "old-profile",          /* the signed profile in FILE, which was sent once before */
    "replay-message",       /* a whole message, recorded on another connection */
    "hang-after-hello",     /* hello, then silence */
    "die-before-commit",    /* approved, then gone */
    "no-commit",            /* approved, then silence */
    "other-agreement",      /* connect: proposes an agreement with one feature more */
    "foreign-agreement",    /* connect: proposes one that is signed by a key that nobody knows */
    "unapproved-commit",    /* connect: commits what has no approvals */
    "skip-proof",           /* connect: proposes without having asked for a proof */
    "garbage-unshown",      /* connect: asks for a proof with nonsense */
    "strange-unshown",      /* connect: the same, with a host that is no party */
    "false-unshown",        /* connect: says that the other's guest does not see smap */
    "many-proofs",          /* connect: asks for another proof again and again */
    "late-proof",           /* connect: asks for one when its proposal is approved */
    "without-proof",        /* connect: proposes an agreement without a proof */
    "other-table",          /* connect: proposes one with another table than both saw */
    "accepted-lie",         /* connect: the same, and says that the row was accepted */
    "other-digest",         /* connect: proposes one with another digest of its own table */
    "other-masked",         /* connect: proposes one that names a feature more as masked */
    "other-accepted",       /* connect: proposes one that accepts a row that does not differ */
    "lie-about-table",      /* listen: says that its guest sees another smap than it does */
    "garbage-table",        /* listen: answers with a table that is none */
    "huge-table",           /* listen: answers with one of 4000 rows more */
    "endless-table",        /* listen: answers with more rows than there may be */
    "garbage-accepted",     /* listen: accepts a row that is none */
    "table-and-refusal",    /* listen: has a table, and its QEMU refuses the CPU */
    "no-table",             /* listen: has none, and its QEMU refuses nothing */
    "refuse-smap",          /* listen: says that its QEMU refuses smap; once */
    "refuse-for-ever",      /* listen: says that its QEMU refuses something else each time */
    "early-commit",         /* connect: commits before it proposes */
    "approve-other-digest", /* listen: approves something else */
    "foreign-approval",     /* listen: approves with a key that nobody knows */
    "acknowledge-other",    /* listen: acknowledges something else */
    "lose-acknowledgement", /* listen: the connection breaks when it has the commit; once */
    "unknown-request",      /* connect: asks for something that is not in the protocol */
    "unknown-member",       /* hello with a member too many */
    "garbage-body",         /* a sealed hello that is none */
    "garbage",              /* bytes that are no message */
    "oversized",            /* more than a message may have */
    NULL,
};

struct bad_peer {
    const char *deviation;
    const char *file;
    uint16_t port;
    struct identity *foreign;
    struct trust trust;
    struct exchange exchange;
    char *recorded; /* the first message that went out */
    bool lost;      /* an acknowledgement */
    int proofs;     /* asked for, or answered */
};

static bool is(const struct bad_peer *peer, const char *deviation)
{
    return strcmp(peer->deviation, deviation) == 0;
}

static void finish(const char *what, const char *words)
{
    printf("%s%s%s\n", what, *words ? " " : "", words);
    fflush(stdout);
    _exit(0);
}

static void stay_silent(void)
{
    for (;;)
        pause();
}

/* TLS and just as much HTTP as is needed. */

struct wire {
    SSL_CTX *context;
    SSL *ssl;
    int fd;
    struct tls_session session;
    char exporter[TLS_EXPORTER_SIZE];
    char pin[PIN_SIZE];
};

static void wire_close(struct wire *wire)
{
    if (wire->ssl)
        SSL_shutdown(wire->ssl);
    SSL_free(wire->ssl);
    SSL_CTX_free(wire->context);
    close(wire->fd);
}

/* The handshake on a connected socket. `wire` must stay where it is. */
static bool wire_open(struct wire *wire, const struct bad_peer *peer, int fd, bool server,
                      struct error *err)
{
    static struct tls_peers peers;
    peers.any = &peer->trust;
    *wire = (struct wire){.fd = fd};
    wire->context = tls_context_new(peer->exchange.self->identity, &peers, err);
    wire->ssl = wire->context ? SSL_new(wire->context) : NULL;
    if (!wire->ssl || !tls_session_attach(wire->ssl, &wire->session))
        return error_set(err, STATUS_INTERNAL, "no TLS");
    SSL_set_fd(wire->ssl, fd);
    if ((server ? SSL_accept(wire->ssl) : SSL_connect(wire->ssl)) != 1)
        return error_set(err, STATUS_NOT_TRUSTED, "the handshake failed");
    return tls_exporter(wire->ssl, wire->exporter, err) && tls_peer_pin(wire->ssl, wire->pin, err);
}

static bool wire_write(struct wire *wire, const char *text, size_t length)
{
    return length == 0 || SSL_write(wire->ssl, text, (int)length) == (int)length;
}

/* Everything up to the end of a message with a Content-Length; NULL if the other side closed. */
static char *wire_read(struct wire *wire, char **body)
{
    char *text = malloc(BIG + 1);
    size_t length = 0;
    if (!text)
        return NULL;
    for (;;) {
        int got = length < BIG ? SSL_read(wire->ssl, text + length, (int)(BIG - length)) : 0;
        if (got <= 0) {
            free(text);
            return NULL;
        }
        length += (size_t)got;
        text[length] = '\0';
        char *end = strstr(text, "\r\n\r\n");
        const char *size = strcasestr(text, "\r\nContent-Length:");
        if (!end || !size || size > end)
            continue;
        *body = end + 4;
        if (length >= (size_t)(*body - text) + strtoul(size + 17, NULL, 10))
            return text;
    }
}

/* What is sent in place of a sealed message, by the deviation; takes text over. */
static char *twist_text(struct bad_peer *peer, const char *name, char *text)
{
    bool first = strcmp(name, "hello") == 0;
    if (is(peer, "replay-message") && peer->recorded) {
        free(text);
        return strdup(peer->recorded);
    }
    if (!peer->recorded)
        peer->recorded = strdup(text);
    if (is(peer, "garbage") && first) {
        free(text);
        return strdup("{\"payload\":17}");
    }
    if (is(peer, "oversized") && first) {
        free(text);
        text = malloc(BIG);
        if (text) {
            memset(text, ' ', BIG - 1);
            text[BIG - 1] = '\0';
        }
    }
    return text;
}

/* What is said, by the deviation. */

static bool replace_feature_list(json_t *payload, struct error *err)
{
    json_t *list = json_object_get(json_object_get(payload, "cpu"), "available");
    if (!json_is_array(list) || json_array_size(list) < 2)
        return error_set(err, STATUS_INTERNAL, "a profile without features");
    return json_array_remove(list, 1) == 0;
}

static bool twist_profile(struct bad_peer *peer, json_t *body, struct error *err)
{
    json_t *profile = json_object_get(body, "profile");
    if (!json_is_object(profile)) /* it asks for ours */
        return true;
    autofree char *text = json_to_text(profile);
    autofree char *other = NULL;
    autoenvelope struct envelope envelope = {0};
    size_t length;
    if (!text || !envelope_open(text, strlen(text), SIZE_MAX, PROFILE_TYPE, &envelope, err))
        return false;
    if (is(peer, "tamper-profile")) {
        if (!replace_feature_list(envelope.payload, err))
            return false;
        autofree char *changed = json_to_text(envelope.payload);
        autofree char *encoded = changed ? base64url_encode(changed, strlen(changed)) : NULL;
        /* exchange keeps its own reference to the envelope: a copy is changed */
        json_t *copy = json_deep_copy(profile);
        return encoded && json_object_set_new(copy, "payload", json_string(encoded)) == 0 &&
               json_object_set_new(body, "profile", copy) == 0;
    }
    if (is(peer, "foreign-profile")) {
        json_object_del(envelope.payload, "key");
        if (!envelope_sign(peer->foreign, PROFILE_TYPE, envelope.payload, &other, err))
            return false;
    } else if (is(peer, "old-profile")) {
        if (!file_read(peer->file, SIZE_MAX / 2, false, &other, &length, err))
            return false;
    }
    return !other ||
           json_object_set_new(body, "profile",
                               json_parse_strict(other, strlen(other), SIZE_MAX, err)) == 0;
}

static bool twist_body(struct bad_peer *peer, const char *name, json_t *body, struct error *err)
{
    if (strcmp(name, "profile") == 0)
        return twist_profile(peer, body, err);
    if (strcmp(name, "hello") != 0)
        return true;
    if (is(peer, "garbage-body")) {
        json_t *id = json_incref(json_object_get(body, "exchange"));
        json_object_clear(body);
        json_object_set_new(body, "exchange", id);
        json_object_set_new(body, "versions", json_string("all"));
    }
    if (is(peer, "unknown-member"))
        json_object_set_new(body, "colour", json_string("red"));
    return true;
}

/* A bit of the table is another one: smap, in leaf 7. */
static json_t *twist_table(json_t *body)
{
    size_t i;
    json_t *row, *rows = json_object_get(json_object_get(body, "table"), "cpuid");
    json_array_foreach(rows, i, row)
    {
        if (json_integer_value(json_array_get(row, 0)) == 7 &&
            json_integer_value(json_array_get(row, 1)) == 0)
            json_array_set_new(row, 3,
                               json_integer(json_integer_value(json_array_get(row, 3)) ^ 1 << 20));
    }
    return body;
}

/* Rows of leaves that no CPU has, in their place. */
static void add_rows(json_t *body, int count)
{
    size_t at = 0;
    json_t *rows = json_object_get(json_object_get(body, "table"), "cpuid");
    while (json_integer_value(json_array_get(json_array_get(rows, at), 0)) < 0x50000000)
        at++;
    for (int i = count; i-- > 0;)
        json_array_insert_new(rows, at,
                              json_pack("[i, i, i, i, i, i]", 0x50000000 + i, 0, 1, 2, 3, i));
}

static json_t *twist_proof(struct bad_peer *peer, json_t *body)
{
    peer->proofs++;
    if (is(peer, "lie-about-table"))
        twist_table(body);
    if (is(peer, "garbage-table"))
        json_object_set_new(json_object_get(body, "table"), "cpuid", json_pack("[[i]]", 7));
    if (is(peer, "huge-table"))
        add_rows(body, 4000);
    if (is(peer, "endless-table"))
        add_rows(body, 5000);
    if (is(peer, "garbage-accepted"))
        json_object_set_new(body, "accepted", json_pack("[s]", "--accept-row"));
    if (is(peer, "table-and-refusal"))
        json_object_set_new(body, "refused", json_pack("[s]", "smap"));
    if (is(peer, "no-table") || (is(peer, "refuse-smap") && peer->proofs == 1) ||
        is(peer, "refuse-for-ever"))
        json_object_set_new(body, "table", json_null());
    if (is(peer, "refuse-smap") && peer->proofs == 1)
        json_object_set_new(body, "refused", json_pack("[s]", "smap"));
    if (is(peer, "refuse-for-ever"))
        json_object_set_new(body, "refused", json_pack("[s]", peer->proofs % 2 ? "smap" : "adx"));
    return body;
}

/* The side that asks. */

static int connect_to(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = -1;
    for (int i = 0; i < 100; i++) {
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
            return fd;
        close(fd);
        usleep(100000);
    }
    return -1;
}

/* One request; the body of its answer, or it ends with what came instead. body is used up. */
static json_t *ask(struct bad_peer *peer, const char *name, json_t *body, struct error *err)
{
    autojson json_t *request = body;
    struct wire wire;
    char digest[DIGEST_HEX_SIZE], *text = NULL, *content = NULL;
    json_t *answer = NULL;
    int fd = connect_to(peer->port);
    if (fd < 0 || !request || !twist_body(peer, name, request, err) ||
        !wire_open(&wire, peer, fd, false, err))
        return NULL;
    if (!message_seal(peer->exchange.self->identity, name, MESSAGE_INITIATOR, wire.exporter, "",
                      request, &text, digest, err))
        return NULL;
    autofree char *sent = twist_text(peer, name, text);
    char head[200];
    int length = snprintf(head, sizeof(head),
                          "POST /v1/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", name,
                          strlen(sent));
    wire_write(&wire, head, (size_t)length);
    wire_write(&wire, sent, strlen(sent));
    autofree char *got = wire_read(&wire, &content);
    if (!got)
        finish("closed", "");
    if (strncmp(got, "HTTP/1.1 200", 12) != 0) {
        content[strcspn(content, "\r\n")] = '\0';
        finish("refused", content);
    }
    if (!message_open(content, strlen(content), name, MESSAGE_RESPONDER, wire.exporter, digest,
                      wire.pin, &answer, NULL, err))
        return NULL;
    wire_close(&wire);
    struct error refusal = ERROR_INIT;
    if (message_error_take(answer, &refusal))
        finish("refused", refusal.message);
    return answer;
}

static bool propose_and_commit(struct bad_peer *peer, struct error *err)
{
    struct exchange *exchange = &peer->exchange;
    const struct identity *identity = exchange->self->identity;
    autofree char *text = NULL;
    autostrlist struct strlist approvals = {0};
    json_t *approval;
    if (!exchange_agree(exchange, time(NULL), err))
        return false;
    if (is(peer, "other-agreement"))
        featureset_remove(&exchange->agreement.baseline.features, "smep");
    if (is(peer, "without-proof")) {
        agreement_proof_free(&exchange->agreement.proof);
        for (size_t i = 0; i < exchange->agreement.party_count; i++)
            exchange->agreement.parties[i].table[0] = '\0';
    }
    if (is(peer, "other-masked"))
        featureset_add(&exchange->agreement.proof.masked, "xyz");
    if (is(peer, "other-accepted") || is(peer, "accepted-lie"))
        strlist_push(&exchange->agreement.proof.accepted, "7.0");
    if (is(peer, "other-digest"))
        for (size_t i = 0; i < exchange->agreement.party_count; i++)
            if (strcmp(exchange->agreement.parties[i].pin, identity->pin) == 0)
                memset(exchange->agreement.parties[i].table, 'a', 8);
    autojson json_t *payload = agreement_to_json(&exchange->agreement);
    if (is(peer, "other-table") || is(peer, "accepted-lie"))
        twist_table(json_object_get(payload, "proof"));
    if (!envelope_sign_digest(is(peer, "foreign-agreement") ? peer->foreign : identity,
                              AGREEMENT_TYPE, payload, &text, exchange->agreement_digest, err))
        return false;
    if (!is(peer, "early-commit")) {
        autojson json_t *answer =
            ask(peer, "propose",
                exchange_body(exchange, "agreement",
                              json_parse_strict(text, strlen(text), SIZE_MAX, err), err),
                err);
        if (!answer || !exchange_take_body(exchange, answer, "approval", &approval, err))
            return false;
        autofree char *approval_text = json_to_text(approval);
        if (!strlist_push(&approvals, approval_text))
            return error_no_memory(err);
    }
    if (is(peer, "late-proof"))
        return ask(peer, "prove", exchange_prove_body(exchange, err), err) != NULL;
    if (is(peer, "die-before-commit") || is(peer, "no-commit"))
        printf("reached commit\n");
    fflush(stdout);
    if (is(peer, "die-before-commit"))
        _exit(0);
    if (is(peer, "no-commit"))
        stay_silent();
    if (is(peer, "unapproved-commit"))
        strlist_free(&approvals);
    json_t *document =
        is(peer, "early-commit") || is(peer, "unapproved-commit")
            ? json_pack("{s:i, s:o, s:[]}", "version", AGREEMENT_VERSION, "agreement",
                        json_parse_strict(text, strlen(text), SIZE_MAX, err), "approvals")
            : agreement_document(text, &approvals, err);
    autojson json_t *done =
        ask(peer, "commit", exchange_body(exchange, "document", document, err), err);
    return done != NULL;
}

static void twist_unshown(struct bad_peer *peer, json_t *body)
{
    json_t *hosts = json_object_get(body, "unshown");
    const char *other = peer->exchange.peers[0].host;
    if (is(peer, "garbage-unshown"))
        json_object_set_new(hosts, other, json_pack("[s]", "no feature"));
    if (is(peer, "strange-unshown")) {
        json_object_del(hosts, other);
        json_object_set_new(hosts, "stranger", json_array());
    }
}

static bool prove_and_compare(struct bad_peer *peer, struct error *err)
{
    struct exchange *exchange = &peer->exchange;
    if (is(peer, "skip-proof"))
        return exchange_prove_finish(exchange, err) &&
               guest_table_copy(&exchange->table, &exchange->peers[0].table) &&
               (exchange->step = STEP_PROVEN);
    if (is(peer, "false-unshown") &&
        !featureset_add(&exchange->peers[0].profile.offer.unshown, "smap"))
        return false;
    for (bool settled = false; !settled;) {
        json_t *body = exchange_prove_body(exchange, err);
        twist_unshown(peer, body);
        autojson json_t *answer = ask(peer, "prove", body, err);
        if (is(peer, "many-proofs") && ++peer->proofs > EXCHANGE_PROOFS_MAX)
            finish("accepted", "one proof too many");
        if (is(peer, "many-proofs"))
            continue;
        if (!answer || !exchange_prove_finish(exchange, err) ||
            !exchange_take_table(exchange, &exchange->peers[0], answer, err) ||
            !exchange_settle(exchange, &settled, err))
            return false;
    }
    return true;
}

static bool run_initiator(struct bad_peer *peer, struct error *err)
{
    struct exchange *exchange = &peer->exchange;
    const struct trust_entry *entry = &peer->trust.entries[0];
    autojson json_t *hello = ask(peer, "hello", exchange_hello_body(exchange, err), err);
    if (!hello || !exchange_take_hello(exchange, &exchange->peers[0], hello, entry, err) ||
        !exchange_choose_machine(exchange, err))
        return false;
    if (is(peer, "hang-after-hello")) {
        printf("reached hello\n");
        fflush(stdout);
        stay_silent();
    }
    if (is(peer, "unknown-request"))
        return ask(peer, "surrender", exchange_hello_body(exchange, err), err) != NULL;
    if (is(peer, "replay-message"))
        return ask(peer, "hello", exchange_hello_body(exchange, err), err) != NULL;
    autojson json_t *profile =
        ask(peer, "profile", exchange_profile_body(exchange, true, true, err), err);
    return profile && exchange_take_profile(exchange, &exchange->peers[0], profile, err) &&
           prove_and_compare(peer, err) && propose_and_commit(peer, err);
}

/* The side that is asked. */

static json_t *approve(struct bad_peer *peer, json_t *body, struct error *err)
{
    struct exchange *exchange = &peer->exchange;
    autoenvelope struct envelope envelope = {0};
    json_t *proposal;
    if (!exchange_take_body(exchange, body, "agreement", &proposal, err))
        return NULL;
    autofree char *text = json_to_text(proposal);
    if (!envelope_open(text, strlen(text), SIZE_MAX, AGREEMENT_TYPE, &envelope, err))
        return NULL;
    memcpy(exchange->agreement_digest, envelope.digest, DIGEST_HEX_SIZE);
    if (is(peer, "approve-other-digest"))
        memset(envelope.digest, 'a', 8);
    autofree char *approval =
        approval_make(is(peer, "foreign-approval") ? peer->foreign : exchange->self->identity, VM,
                      envelope.digest, exchange->nonce, err);
    return approval
               ? exchange_body(exchange, "approval",
                               json_parse_strict(approval, strlen(approval), SIZE_MAX, err), err)
               : NULL;
}

static json_t *answer(struct bad_peer *peer, const char *name, json_t *body, struct error *err)
{
    struct exchange *exchange = &peer->exchange;
    if (strcmp(name, "hello") == 0) {
        const char *id = exchange_body_id(body);
        const struct exchange_self *self = exchange->self;
        return id && exchange_begin(exchange, self, id, 1, err) &&
                       exchange_take_hello(exchange, &exchange->peers[0], body,
                                           &peer->trust.entries[0], err)
                   ? exchange_hello_body(exchange, err)
                   : NULL;
    }
    if (is(peer, "hang-after-hello"))
        stay_silent();
    if (strcmp(name, "profile") == 0)
        return !exchange_take_profile(exchange, &exchange->peers[0], body, err) ? NULL
               : exchange->step == STEP_HELLO ? exchange_unknown_body(exchange, err)
                                              : exchange_profile_body(exchange, true, false, err);
    if (strcmp(name, "prove") == 0) {
        exchange->proofs = exchange->proofs > 0; /* it would answer for ever */
        json_t *table = exchange_prove_answer(exchange, body, err);
        return table ? twist_proof(peer, table) : NULL;
    }
    if (strcmp(name, "propose") == 0) {
        if (is(peer, "die-before-commit"))
            finish("reached", "propose");
        return approve(peer, body, err);
    }
    if (is(peer, "no-commit")) {
        printf("reached commit\n");
        fflush(stdout);
        stay_silent();
    }
    if (is(peer, "lose-acknowledgement") && !peer->lost) {
        peer->lost = true;
        return NULL;
    }
    char digest[DIGEST_HEX_SIZE];
    memcpy(digest, exchange->agreement_digest, sizeof(digest));
    if (is(peer, "acknowledge-other"))
        memset(digest, 'b', 8);
    return exchange_body(exchange, "committed", json_string(digest), err);
}

/* One connection, one request. True at the end of the exchange. */
static bool serve_one(struct bad_peer *peer, struct wire *wire, bool *done, struct error *err)
{
    char *content, digest[DIGEST_HEX_SIZE], name[MESSAGE_NAME_MAX + 1] = "", *sealed = NULL;
    autojson json_t *body = NULL;
    autofree char *got = wire_read(wire, &content);
    if (!got) {
        *done = true;
        return error_set(err, STATUS_PROTOCOL, "no whole request");
    }
    if (sscanf(got, "POST /v1/%16[a-z] ", name) != 1 ||
        !message_open(content, strlen(content), name, MESSAGE_INITIATOR, wire->exporter, "",
                      wire->pin, &body, digest, err))
        return false;
    autojson json_t *reply = answer(peer, name, body, err);
    if (!reply || !twist_body(peer, name, reply, err) ||
        !message_seal(peer->exchange.self->identity, name, MESSAGE_RESPONDER, wire->exporter,
                      digest, reply, &sealed, NULL, err))
        return false;
    autofree char *sent = twist_text(peer, name, sealed);
    char head[200];
    int length = snprintf(head, sizeof(head),
                          "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n",
                          strlen(sent));
    wire_write(wire, head, (size_t)length);
    wire_write(wire, sent, strlen(sent));
    *done = strcmp(name, "commit") == 0;
    return true;
}

static bool run_responder(struct bad_peer *peer, struct error *err)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(peer->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 5) != 0)
        return error_set(err, STATUS_INTERNAL, "cannot listen");
    for (bool done = false; !done;) {
        struct wire wire;
        int connection = accept(fd, NULL, NULL);
        bool lost = peer->lost;
        if (!wire_open(&wire, peer, connection, true, err) ||
            (!serve_one(peer, &wire, &done, err) && lost == peer->lost))
            return false;
        wire_close(&wire);
    }
    return true;
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    struct bad_peer peer = {.file = argc > 6 ? argv[6] : NULL};
    autopaths struct paths paths = {0};
    autoconfig struct config config = {0};
    autoqemu struct qemu qemu = {0};
    autoidentity struct identity *identity = NULL;
    autocpurequest struct cpu_request request = {0};
    struct keyval memory = {0};
    autoarglist struct arglist list = {0};
    autoinvocation struct invocation invocation = {0};
    autostrlist struct strlist accepted = {0};
    uint64_t port;
    if (argc < 6 || !parse_number(argv[3], 1, 65535, &port)) {
        fprintf(stderr, "usage: bad-peer HOME connect|listen PORT DEVIATION QEMU [FILE]\n");
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; deviations[i]; i++)
        if (strcmp(deviations[i], argv[4]) == 0)
            peer.deviation = deviations[i];
    char accel[] = "-accel", tcg[] = "tcg", *words[] = {argv[5], accel, tcg, NULL};
    bool listens = strcmp(argv[2], "listen") == 0;
    peer.port = (uint16_t)port;
    autofree char *foreign = NULL;
    bool good = peer.deviation && paths_init(&paths, argv[1], &err) &&
                (foreign = path_join(paths.config, "foreign", "")) &&
                (access(foreign, F_OK) == 0 || identity_create(foreign, &err)) &&
                (peer.foreign = identity_load(foreign, &err)) &&
                (identity = identity_load(paths.config, &err)) &&
                config_load(paths.config, NULL, &config, &err) &&
                trust_load(paths.config, &peer.trust, &err) && peer.trust.count == 1 &&
                qemu_open(argv[5], &qemu, &err) && cpu_request_parse("max", &request, &err) &&
                arglist_parse(&list, 3, words, &err) && invocation_read(&list, &invocation, &err);
    struct exchange_self self = {.paths = &paths,
                                 .config = &config,
                                 .identity = identity,
                                 .vm = VM,
                                 .role = listens ? ROLE_DESTINATION : ROLE_SOURCE,
                                 .qemu = &qemu,
                                 .machine = "q35",
                                 .accel = "tcg",
                                 .memory = &memory,
                                 .request = &request,
                                 .invocation = &invocation,
                                 .prove = true,
                                 .when = DEADLINE_NEVER,
                                 .accepted = &accepted};
    good = good && exchange_begin(&peer.exchange, &self, NULL, 1, &err) &&
           (listens ? run_responder(&peer, &err) : run_initiator(&peer, &err));
    if (!good) {
        fprintf(stderr, "bad-peer: %s\n", *err.message ? err.message : "it cannot start");
        return 1;
    }
    exchange_free(&peer.exchange);
    identity_free(peer.foreign);
    trust_free(&peer.trust);
    free(peer.recorded);
    finish("accepted", "");
    return 0;
}
