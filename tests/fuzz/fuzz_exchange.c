/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The messages of an exchange about one VM, as a trusted peer may send them. An object with
 *   "role"      of this side: "source", "destination" or "party" (an agent)
 *   "asks"      true: this side asks, and the messages are the peer's answers
 *   "settings"  of this side: "accel", "prove", "machine" ...; all may be missing
 *   "machines"  of this side's QEMU
 *   "profile"   of this side, a payload; "assumed": one of a host that is not asked; "last": the
 *               last one of the peer that was seen
 *   "tables"    what a guest sees here, one for each proof; null: QEMU refuses smap
 *   "messages"  [{"name", "body"}...]
 * What a body has of signed things is an unsigned payload, which is signed by the peer; true is in
 * their place one that is right, {"patch": {...}} one with these members in it. No QEMU is started:
 * this file has the functions of vm/proof.c.
 */
#include <unistd.h>

#include "home.h"
#include "vm/respond.h"

#define ID "0123456789abcdef0123456789abcdef"
#define NONCE "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define VM "vm"

static const json_t *tables; /* of the proofs to come */
static size_t next_table;

/* In place of vm/proof.c. */

void proof_free(struct proof *proof)
{
    *proof = (struct proof){0};
}

int proof_timeout_ms(const struct proof_arguments *arguments)
{
    return 1000;
}

bool proof_start(struct proof *proof, const struct paths *paths, const struct qemu *qemu,
                 const struct proof_arguments *arguments, const char *host, const char *cpu,
                 const struct proof_limits *limits, struct error *err)
{
    MUST(arguments->machine && arguments->accel && *cpu && limits->timeout_ms > 0);
    proof->paths = paths;
    return true;
}

bool proof_is_under_way(const struct proof *proof)
{
    return proof->paths;
}

bool proof_finish(struct proof *proof, struct guest_table *table, struct strlist *refused,
                  struct error *err)
{
    json_t *made = json_array_get(tables, next_table++);
    proof_free(proof);
    if (made && guest_table_from_json(made, table, NULL))
        return true;
    if (refused)
        MUST(strlist_push(refused, "smap"));
    return error_set(err, made ? STATUS_INCOMPATIBLE : STATUS_CONFIG, "refused");
}

struct talk {
    const struct fuzz_home *home;
    struct exchange_self self;
    struct respond respond;

    char *proposal;
};

/* Signed by the peer, an object; other things are taken as they are. A new reference. */
static json_t *sign(const struct talk *talk, const char *type, json_t *payload, char **kept)
{
    char *text = NULL;
    if (!json_is_object(payload) || json_object_get(payload, "payload") ||
        !envelope_sign(talk->home->peer, type, payload, &text, NULL))
        return json_incref(payload);
    json_t *envelope = json_loads(text, 0, NULL);
    if (kept) {
        free(*kept);
        *kept = text;
    } else {
        free(text);
    }
    return envelope ? envelope : json_null();
}

/* One that behaves as the second does. */
static void add_third(json_t *parties)
{
    static const char pin[] = "sha256//zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz8=";
    json_t *third = json_deep_copy(json_array_get(parties, 1));
    json_object_set_new(third, "host", json_string("third"));
    json_object_set_new(third, "pin", json_string(pin));
    json_array_append_new(parties, third);
}

/* What this side would compute, too. */
static json_t *right_agreement(struct exchange *exchange)
{
    enum exchange_step step = exchange->step;
    guest_table_free(&exchange->peers[0].table);
    MUST(guest_table_copy(&exchange->table, &exchange->peers[0].table));
    json_t *payload =
        exchange_agree(exchange, FUZZ_NOW, NULL) ? agreement_to_json(&exchange->agreement) : NULL;
    exchange->step = step;
    if (exchange->is_given && payload) /* of a group: it has a party more */
        add_third(json_object_get(payload, "parties"));
    return payload ? payload : json_null();
}

static json_t *right_baseline(const struct exchange *exchange)
{
    autobaseline struct baseline baseline = {0};
    json_t *json =
        exchange->step >= STEP_PROFILE && exchange_baseline(exchange, &baseline, NULL, NULL)
            ? baseline_to_json(&baseline)
            : NULL;
    return json ? json : json_null();
}

static json_t *right_document(const struct talk *talk, json_t *approval)
{
    autostrlist struct strlist approvals = {0};
    autofree char *text = approval ? json_to_text(approval) : NULL;
    if (!talk->proposal || !text)
        return json_null();
    MUST(strlist_push(&approvals, text));
    json_t *document = agreement_document(talk->proposal, &approvals, NULL);
    return document ? document : json_null();
}

static void finish_body(struct talk *talk, const char *name, json_t *body, json_t *approval)
{
    json_t *profile = json_object_get(body, "profile"), *made = NULL;
    if (strcmp(name, "profile") == 0 && json_is_true(profile))
        json_object_set_new(body, "profile",
                            json_string(talk->respond.exchange.peers[0].profile_digest));
    else if (strcmp(name, "profile") == 0 && profile)
        json_object_set_new(body, "profile", sign(talk, PROFILE_TYPE, profile, NULL));
    json_t *agreement = json_object_get(body, "agreement");
    if (json_is_true(agreement) || json_object_get(agreement, "patch")) {
        made = right_agreement(&talk->respond.exchange);
        json_object_update(made, json_object_get(agreement, "patch"));
        agreement = made;
    }
    if (agreement)
        json_object_set_new(body, "agreement",
                            sign(talk, AGREEMENT_TYPE, agreement, &talk->proposal));
    json_decref(made);
    json_t *baseline = json_object_get(body, "baseline");
    if (json_is_true(baseline) || json_object_get(baseline, "patch")) {
        autojson json_t *right = right_baseline(&talk->respond.exchange);
        json_object_update(right, json_object_get(baseline, "patch"));
        json_object_set(body, "baseline", right);
    }
    if (json_is_true(json_object_get(body, "document")))
        json_object_set_new(body, "document", right_document(talk, approval));
}

/* This side's own profile, so that it need not be made; without one only hello is taken. */
static void give_profile(struct exchange *exchange, json_t *payload)
{
    autofree char *text = NULL;
    if (!json_is_object(payload) || !profile_read(payload, &exchange->profile, NULL) ||
        !envelope_sign_digest(exchange->self->identity, PROFILE_TYPE, payload, &text,
                              exchange->profile_digest, NULL))
        return;
    exchange->profile_payload = json_incref(payload);
    exchange->profile_text = STEAL(text);
}

static void check(const json_t *answer, const struct error *err)
{
    if (getenv("FUZZ_SAY"))
        fprintf(stderr, "%s\n", answer ? "good" : err->message);
    MUST(answer || (err->status != STATUS_OK && *err->message));
}

/* Messages to this side. */
static void be_asked(struct talk *talk, const json_t *messages)
{
    struct exchange *exchange = &talk->respond.exchange;
    autojson json_t *approval = NULL;
    size_t i;
    json_t *message;
    json_array_foreach(messages, i, message)
    {
        const char *name = json_string_value(json_object_get(message, "name"));
        autojson json_t *body = json_deep_copy(json_object_get(message, "body"));
        autojson json_t *answer = NULL;
        struct error err = ERROR_INIT;
        if (!name || !json_is_object(body))
            continue;
        finish_body(talk, name, body, approval);
        if (strcmp(name, "hello") == 0)
            answer =
                exchange_take_hello(exchange, &exchange->peers[0], body, &talk->home->entry, &err)
                    ? exchange_hello_body(exchange, &err)
                    : NULL;
        else if (exchange->step >= STEP_HELLO && exchange->profile_payload)
            answer = respond_to(&talk->respond, name, body, &err);
        else
            continue;
        check(answer, &err);
        if (json_object_get(answer, "approval")) {
            json_decref(approval);
            approval = json_incref(json_object_get(answer, "approval"));
        }
    }
}

/* What the peer answers to this side. */
static void take_answer(struct talk *talk, const char *name, json_t *body, struct error *err)
{
    struct exchange *exchange = &talk->respond.exchange;
    struct exchange_peer *peer = &exchange->peers[0];
    bool settled = false, good = true;
    if (strcmp(name, "hello") == 0)
        good = exchange_take_hello(exchange, peer, body, &talk->home->entry, err) &&
               exchange_choose_machine(exchange, err) && exchange_check_assumed(exchange, err);
    else if (strcmp(name, "profile") == 0)
        good = exchange_take_profile(exchange, peer, body, err);
    else if (strcmp(name, "prove") == 0 && exchange->step >= STEP_PROFILE)
        good = exchange_prove_finish(exchange, err) &&
               exchange_take_table(exchange, peer, body, err) &&
               exchange_settle(exchange, &settled, err);
    check(good ? body : NULL, err);
}

static void ask(struct talk *talk, const json_t *messages)
{
    struct exchange *exchange = &talk->respond.exchange;
    size_t i;
    json_t *message;
    json_array_foreach(messages, i, message)
    {
        const char *name = json_string_value(json_object_get(message, "name"));
        autojson json_t *body = json_deep_copy(json_object_get(message, "body"));
        struct error err = ERROR_INIT;
        if (!name || !json_is_object(body))
            continue;
        finish_body(talk, name, body, NULL);
        if (strcmp(name, "hello") == 0 || exchange->profile_payload)
            take_answer(talk, name, body, &err);
    }
    if (exchange->step < STEP_PROFILE)
        return;
    json_decref(exchange_prove_body(exchange, NULL));
    if (exchange_agree(exchange, FUZZ_NOW, NULL))
        free(fuzz_written(agreement_to_json(&exchange->agreement)));
}

/* What an earlier input has left in the state folder. */
static void forget_files(const struct paths *paths)
{
    static const char *const files[] = {"agreements/" VM ".json", "agreements/" VM ".pending"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        fuzz_write_json(paths->state, files[i], NULL);
}

static void run(const struct fuzz_home *home, json_t *json, struct exchange_self *self)
{
    struct talk talk = {.home = home, .self = *self};
    struct exchange *exchange = &talk.respond.exchange;
    bool asks = json_is_true(json_object_get(json, "asks"));
    autojson json_t *assumed = sign(&talk, PROFILE_TYPE, json_object_get(json, "assumed"), NULL);
    MUST(exchange_begin(exchange, &talk.self, asks ? NULL : ID, 1, NULL));
    memcpy(exchange->id, ID, EXCHANGE_ID_SIZE);
    memcpy(exchange->nonce, NONCE, NONCE_SIZE);
    if (self->role != ROLE_PARTY) {
        exchange->arguments.machine = strdup("pc-q35-7.2");
        exchange->arguments.accel = strdup(self->accel);
        MUST(exchange->arguments.machine && exchange->arguments.accel);
    }
    autojson json_t *last = sign(&talk, PROFILE_TYPE, json_object_get(json, "last"), NULL);
    fuzz_write_json(home->paths.state, "profiles/peer.json", last);
    give_profile(exchange, json_object_get(json, "profile"));
    autofree char *text = assumed ? json_to_text(assumed) : NULL;
    if (asks && text)
        exchange_assume(exchange, text, &home->entry, "assumed", NULL);
    (asks ? ask : be_asked)(&talk, json_object_get(json, "messages"));
    free(talk.proposal);
    exchange_free(exchange);
}

static bool any_word(const char *word)
{
    return text_is_plain(word);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct fuzz_home *home = fuzz_home();
    autojson json_t *json = json_parse_strict((const char *)data, size, size, NULL);
    const json_t *settings = json_object_get(json, "settings");
    const char *role = json_string_value(json_object_get(json, "role"));
    const char *accel = json_string_value(json_object_get(settings, "accel"));
    struct config config = {.host_name = (char *)"own"};
    autovisiblelist struct visible_list visible = {0};
    autostrlist struct strlist backends = {0}, accepted = {0};
    autocpurequest struct cpu_request request = {0};
    autofeatureset struct featureset required = {0};
    struct qemu qemu = {.version = (char *)"7.2.22", .package = (char *)""};
    struct exchange_self self = {.paths = &home->paths,
                                 .config = &config,
                                 .identity = home->own,
                                 .vm = VM,
                                 .qemu = &qemu,
                                 .accel = accel ? accel : "kvm",
                                 .machine = json_string_value(json_object_get(settings, "machine")),
                                 .request = &request,
                                 .required = &required,
                                 .prove = json_is_true(json_object_get(settings, "prove")),
                                 .accepted = &accepted,
                                 .backends = &backends,
                                 .visible = &visible,
                                 .when = deadline_in_ms(60000)};
    if (!role || !vm_role_parse(role, &self.role))
        return 0;
    forget_files(&home->paths);
    tables = json_object_get(json, "tables");
    next_table = 0;
    config.devices_known = json_is_true(json_object_get(settings, "devices_known"));
    self.renegotiate = json_is_true(json_object_get(settings, "renegotiate"));
    json_take_names(json_object_get(settings, "backends"), "", any_word, &backends, NULL);
    json_take_names(json_object_get(settings, "accepted"), "", any_word, &accepted, NULL);
    featureset_from_json(&required, json_object_get(settings, "required"), "", NULL);
    cpu_request_from_json(json_object_get(settings, "request"), &request, NULL);
    visible_from_json(json_object_get(settings, "visible"), "", &visible, NULL);
    if (machine_list_from_json(json_object_get(json, "machines"), &qemu.machines, NULL))
        run(home, json, &self);
    machine_list_free(&qemu.machines);
    return 0;
}
