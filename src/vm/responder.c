/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/responder.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "host/qemu.h"
#include "vm/drift.h"
#include "vm/record.h"
#include "vm/respond.h"

#define EXCHANGES_MAX 32 /* at a time */
#define PER_PEER_MAX 8   /* of one peer */
#define PROOF_MS 30000   /* of each request that starts QEMU */
#define STALE_MS 120000  /* an exchange that stands still for so long is forgotten */
#define DEFAULT_QEMU "qemu-system-x86_64"

/* One exchange; self is its own, so that it can stay where it is. */
struct session {
    struct session *next;
    char *peer; /* the trust entry's name */
    char *vm;
    struct exchange_self self;
    struct respond respond;
    deadline stale;
    bool is_new;  /* its hello has just been answered */
    bool is_over; /* nobody will come back to it */
    bool is_kept; /* what was agreed in it is on disk */
};

struct responder {
    struct responder_setup setup;
    struct qemu qemu;
    bool has_qemu;
    struct session *sessions; /* the newest first */
};

static void session_free(struct session *session)
{
    exchange_free(&session->respond.exchange);
    free(session->peer);
    free(session->vm);
    free(session);
}

struct responder *responder_new(const struct responder_setup *setup, struct error *err)
{
    struct responder *responder = calloc(1, sizeof(*responder));
    if (!responder) {
        error_no_memory(err);
        return NULL;
    }
    responder->setup = *setup;
    return responder;
}

void responder_free(struct responder *responder)
{
    if (!responder)
        return;
    for (struct session *session = responder->sessions, *next; session; session = next) {
        next = session->next;
        session_free(session);
    }
    if (responder->has_qemu)
        qemu_free(&responder->qemu);
    free(responder);
}

bool responder_knows(const char *name)
{
    static const char *const names[] = {"hello", "profile", "prove", "propose", "commit", "cancel"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* The configured QEMU; looked at again when the file is another one. */
static bool open_qemu(struct responder *responder, struct error *err)
{
    const struct strlist *binaries = &responder->setup.config->qemu_binaries;
    if (responder->has_qemu && qemu_binary_check(&responder->qemu.binary, NULL))
        return true;
    if (responder->has_qemu)
        qemu_free(&responder->qemu);
    responder->has_qemu = qemu_open_cached(binaries->count > 0 ? binaries->items[0] : DEFAULT_QEMU,
                                           responder->setup.paths->state, &responder->qemu, err);
    return responder->has_qemu;
}

/* Forget what stands still, and what of this peer's is about this VM: it begins anew. */
static void tidy(struct responder *responder, const char *peer, const char *vm)
{
    for (struct session **place = &responder->sessions; *place;) {
        struct session *session = *place;
        bool replaced = strcmp(session->peer, peer) == 0 && strcmp(session->vm, vm) == 0;
        if (!replaced && deadline_left_ms(session->stale) > 0) {
            place = &session->next;
            continue;
        }
        *place = session->next;
        session_free(session);
    }
}

static void forget(struct responder *responder, const struct session *session)
{
    for (struct session **place = &responder->sessions; *place; place = &(*place)->next) {
        if (*place != session)
            continue;
        struct session *gone = *place;
        *place = gone->next;
        session_free(gone);
        return;
    }
}

/* The oldest of a peer's (NULL: of all) makes room when there are too many: most likely nobody will
 * come back to it. */
static void make_room(struct responder *responder, const char *peer, size_t most)
{
    const struct session *oldest = NULL;
    size_t count = 0;
    for (const struct session *session = responder->sessions; session; session = session->next) {
        if (peer && strcmp(session->peer, peer) != 0)
            continue;
        oldest = session;
        count++;
    }
    if (count >= most && oldest)
        forget(responder, oldest);
}

/* A VM's name out of hello, before it is known to be good otherwise. */
static const char *hello_vm(json_t *body)
{
    const char *vm = json_string_value(json_object_get(body, "vm"));
    return vm && name_is_vm(vm) ? vm : NULL;
}

static json_t *take_hello(struct responder *responder, const struct trust_entry *peer, json_t *body,
                          struct error *err)
{
    const struct responder_setup *setup = &responder->setup;
    const char *id = exchange_body_id(body), *vm = hello_vm(body);
    if (!id || !vm) {
        error_set(err, STATUS_DATA, "hello names no %s", id ? "VM" : "exchange");
        return NULL;
    }
    tidy(responder, peer->name, vm);
    make_room(responder, peer->name, PER_PEER_MAX);
    make_room(responder, NULL, EXCHANGES_MAX);
    if (!agreement_check_room(responder->setup.paths->state, vm, err) || !open_qemu(responder, err))
        return NULL;
    struct session *session = calloc(1, sizeof(*session));
    if (!session || !(session->peer = strdup(peer->name)) || !(session->vm = strdup(vm))) {
        if (session)
            session_free(session);
        error_no_memory(err);
        return NULL;
    }
    session->self = (struct exchange_self){.paths = setup->paths,
                                           .config = setup->config,
                                           .identity = setup->identity,
                                           .vm = session->vm,
                                           .role = ROLE_PARTY,
                                           .qemu = &responder->qemu,
                                           .when = deadline_in_ms(PROOF_MS),
                                           .interrupted = setup->interrupted};
    session->stale = deadline_in_ms(STALE_MS);
    session->is_new = true;
    struct exchange *exchange = &session->respond.exchange;
    json_t *answer = exchange_begin(exchange, &session->self, id, 1, err) &&
                             exchange_take_hello(exchange, &exchange->peers[0], body, peer, err)
                         ? exchange_hello_body(exchange, err)
                         : NULL;
    if (!answer) {
        session_free(session);
        return NULL;
    }
    session->next = responder->sessions;
    responder->sessions = session;
    return answer;
}

static struct session *find(struct responder *responder, const struct trust_entry *peer,
                            const char *id)
{
    for (struct session *session = responder->sessions; session; session = session->next)
        if (!session->is_over && strcmp(session->respond.exchange.id, id) == 0 &&
            strcmp(session->peer, peer->name) == 0)
            return session;
    return NULL;
}

/* What this host has to know of a VM that it promised something to. Without a session, which an
 * agent that was started anew does not have, it is not known with what it was proven. */
static bool note_record(struct responder *responder, const char *home, struct session *session,
                        const char *vm, const char *digest, struct vm_record *record,
                        struct error *err)
{
    const struct paths *paths = responder->setup.paths;
    if (!open_qemu(responder, err) || !vm_record_set_elsewhere(record, vm, digest, home, err))
        return false;
    char *qemu = strdup(responder->qemu.binary.path);
    if (!qemu)
        return error_no_memory(err);
    free(record->qemu);
    record->qemu = qemu;
    proof_arguments_free(&record->arguments);
    if (session) {
        record->arguments = session->respond.exchange.arguments;
        session->respond.exchange.arguments = (struct proof_arguments){0};
    }
    return vm_record_store(paths, record, err);
}

/* Whether this host has approved that agreement, or knows the VM: a lock makes a file, and is not
 * to be made for any name. What counts is looked at under the lock. */
static bool is_expected(const struct paths *paths, const char *vm, const char *digest,
                        struct error *err)
{
    struct agreement_pending pending;
    autojson json_t *document = NULL;
    agreement_load_pending(paths->state, vm, &pending);
    if (strcmp(pending.digest, digest) == 0)
        return true;
    if (!agreement_load(paths->state, vm, &document, err))
        return false;
    return document ||
           error_set(err, STATUS_PROTOCOL, "a commit of an agreement that was not approved here");
}

/* The one who proposed it is where the VM lives. Under the VM's lock: nothing of it changes between
 * this look and what is kept. */
static bool keep(struct responder *responder, const struct trust_entry *home, const char *pin,
                 struct session *session, const char *vm, json_t *document, const char *digest,
                 struct error *err)
{
    const struct paths *paths = responder->setup.paths;
    const struct exchange_self self = {.paths = paths, .config = responder->setup.config};
    struct exchange_peer peer = {.name = home->name, .renegotiate = true, .lives = true};
    autovmrecord struct vm_record record = {0};
    if (!is_expected(paths, vm, digest, err))
        return false;
    autoclose int lock = vm_record_lock(paths, vm, err);
    if (lock < 0 || !vm_record_load(paths, vm, &record, err))
        return false;
    if (record.vm && strcmp(record.agreement, digest) == 0)
        return respond_keep(paths, vm, document, digest, err);
    memcpy(peer.pin, pin, PIN_SIZE);
    return exchange_may_replace(&self, vm, &peer, err) &&
           respond_keep(paths, vm, document, digest, err) &&
           note_record(responder, home->name, session, vm, digest, &record, err);
}

/* One whose exchange is not known any more, since the agent was started anew, counts as well: what
 * was approved is on disk. */
static json_t *commit(struct responder *responder, const struct trust_entry *peer,
                      struct session *session, json_t *body, struct error *err)
{
    autoagreement struct agreement agreement = {0};
    char digest[DIGEST_HEX_SIZE], pin[PIN_SIZE];
    const char *id;
    json_t *document;
    if (!respond_open_commit(body, &id, &document, &agreement, digest, pin, err))
        return NULL;
    if (!trust_entry_has_pin(peer, pin)) {
        error_set(err, STATUS_NOT_TRUSTED, "%s has not proposed that agreement", peer->name);
        return NULL;
    }
    /* What was proven in an exchange is of the agreement that was approved in it, and no other. */
    if (session && strcmp(session->respond.exchange.agreement_digest, digest) != 0)
        session = NULL;
    if (!keep(responder, peer, pin, session, agreement.vm, document, digest, err))
        return NULL;
    if (session)
        session->is_over = session->is_kept = true;
    return respond_committed(id, digest, err);
}

static json_t *answer_request(struct responder *responder, const struct trust_entry *peer,
                              const char *name, json_t *body, struct error *err)
{
    if (strcmp(name, "hello") == 0)
        return take_hello(responder, peer, body, err);
    const char *id = exchange_body_id(body);
    struct session *session = id ? find(responder, peer, id) : NULL;
    if (strcmp(name, "commit") == 0)
        return commit(responder, peer, session, body, err);
    if (!session) {
        error_set(err, STATUS_PROTOCOL, "%s does not know this exchange (any more): start again",
                  responder->setup.config->host_name);
        return NULL;
    }
    session->stale = deadline_in_ms(STALE_MS);
    session->self.when = deadline_in_ms(PROOF_MS);
    json_t *answer = respond_to(&session->respond, name, body, err);
    if (session->respond.cancelled) {
        log_info("%s gave up: %s", peer->name, session->respond.reason.message);
        forget(responder, session);
    }
    return answer;
}

/* As the host was when it was agreed: only for saying why, later, and nobody waits for it. */
static void remember(const struct responder *responder, const struct session *session)
{
    struct error err = ERROR_INIT;
    json_t *payload = session->respond.exchange.profile_payload;
    if (session->is_kept && payload &&
        !drift_remember(responder->setup.paths, session->vm, payload, &err))
        log_warning("%s", err.message);
}

void responder_rest(struct responder *responder)
{
    for (struct session *session = responder->sessions, *next; session; session = next) {
        next = session->next;
        if (session->is_over) {
            remember(responder, session);
            forget(responder, session);
        } else if (session->is_new) {
            session->is_new = false;
            exchange_prepare(&session->respond.exchange);
            exchange_open_last(&session->respond.exchange);
        }
    }
}

bool responder_handle(struct responder *responder, const struct trust_entry *peer,
                      const char *remote, const char *name, json_t *body, json_t **answer,
                      struct error *err)
{
    *answer = answer_request(responder, peer, name, body, err);
    return *answer != NULL;
}
