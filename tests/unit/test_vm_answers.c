/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the agent tells those who want to receive a VM, and what it notes of them.
 */
#include "unit.h"

#include "agent/vm_answers.h"
#include "base/file.h"
#include "vm/argv_json.h"
#include "vm/record.h"
#include "vm/visible_private.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct paths paths;
static struct identity *host;
static char digest[DIGEST_HEX_SIZE];

/* A document about web1 that this host alone has signed, and a record of it: this very process. */
static void begin(struct vm_record *record)
{
    static const char *const words[] = {
        "qemu", "-m", "1G", "-object", "secret,id=s,data=hush", "-append", "caf\xc3\xa9"};
    paths = (struct paths){.state = unit_folder, .run = unit_folder, .config = unit_folder};
    autofree char *folder = in_folder("vms"), *identity = in_folder("identity"), *text = NULL;
    MUST(folder_make(folder, 0700, &err));
    MUST(identity_create(identity, &err));
    MUST(host = identity_load(identity, &err));
    autoagreement struct agreement agreement = {.vm = strdup("web1"),
                                                .machine = strdup("pc-q35-7.2"),
                                                .kernel_irqchip = strdup(""),
                                                .issued = 1700000000,
                                                .party_count = 1};
    agreement.parties = calloc(1, sizeof(*agreement.parties));
    struct agreement_party *party = &agreement.parties[0];
    party->host = strdup("a");
    memcpy(party->pin, host->pin, PIN_SIZE);
    memcpy(party->nonce, HEX64, NONCE_SIZE);
    memcpy(party->profile, HEX64, DIGEST_HEX_SIZE);
    MUST(cpu_request_parse("host", &party->request, &err));
    static const struct cpu_identity cpu = {"GenuineIntel", 6, 85, 7, "X", 22, 0x80000008};
    agreement.baseline.identity = cpu;
    agreement.baseline.phys_bits = 40;
    agreement.baseline.accel = strdup("tcg");
    ck_assert(featureset_add(&agreement.baseline.features, "lm"));
    autojson json_t *json = agreement_to_json(&agreement), *document = NULL;
    MUST(envelope_sign_digest(host, AGREEMENT_TYPE, json, &text, digest, &err));
    MUST(document = agreement_document(text, &(struct strlist){0}, &err));
    MUST(agreement_store(paths.state, "web1", document, &err));
    *record = (struct vm_record){.vm = strdup("web1"),
                                 .socket = strdup("/nowhere"),
                                 .peer = strdup("x"),
                                 .peer_host = strdup(""),
                                 .qemu = strdup("/usr/bin/qemu")};
    memcpy(record->agreement, digest, DIGEST_HEX_SIZE);
    for (size_t i = 0; i < COUNT(words); i++)
        ck_assert(strlist_push(&record->argv, words[i]));
    MUST(vm_record_set_self(record, &err));
    MUST(vm_record_store(&paths, record, &err));
}

static bool ask(const char *peer, const char *pin, const char *name, json_t *body, json_t **answer,
                struct error *err)
{
    autojson json_t *request = body;
    struct trust_entry entry = {.name = strdup(peer), .pin_count = 1};
    snprintf(entry.pins[0], PIN_SIZE, "%s", pin);
    const struct vm_answers_setup setup = {.paths = &paths};
    bool good = vm_answers_handle(&setup, &entry, "192.0.2.7", name, request, answer, err);
    free(entry.name);
    return good;
}

static json_t *incoming(const char *agreement, json_int_t port)
{
    return json_pack("{s:s, s:s, s:I}", "vm", "web1", "agreement", agreement, "port", port);
}

START_TEST(agreement_is_told)
{
    autovmrecord struct vm_record record;
    autojson json_t *answer = NULL;
    autoagreement struct agreement agreement = {0};
    autostrlist struct strlist argv = {0};
    char found[DIGEST_HEX_SIZE];
    begin(&record);
    ck_assert(vm_answers_know("agreement") && vm_answers_know("incoming"));
    ck_assert(!vm_answers_know("hello"));
    MUST(ask("c", HEX64, "agreement", json_pack("{s:s}", "vm", "web1"), &answer, &err));
    const char *vm, *place, *version;
    json_t *document, *words, *left_out, *visible;
    MUST(json_take(answer, &err, "answer", "{s:s, s:o, s:s, s:s, s:o, s:o, s:o}", "vm", &vm,
                   "document", &document, "place", &place, "qemu", &version, "argv", &words,
                   "left_out", &left_out, "visible", &visible));
    autovisiblelist struct visible_list list = {0};
    MUST(visible_from_json(visible, "visible", &list, &err));
    ck_assert_ptr_nonnull(visible_list_find(&list, "m", ""));
    autofree char *text = json_to_text(visible);
    ck_assert_ptr_null(strstr(text, "caf"));
    MUST(agreement_document_open(document, &agreement, found, &err));
    ck_assert_str_eq(found, digest);
    ck_assert_str_eq(place, "here");
    MUST(argv_from_json(words, &argv, &err));
    autofree char *line = strlist_join(&argv, "|");
    ck_assert_str_eq(line, "qemu|-m|1G|-append|caf\xc3\xa9");
    ck_assert_str_eq(json_string_value(json_array_get(left_out, 0)), "-object (all of it)");
    identity_free(host);
}
END_TEST

START_TEST(not_here)
{
    static const struct {
        enum vm_place place;
        enum vm_role role;
        bool running;
        const char *words;
    } rows[] = {
        {PLACE_HERE, ROLE_SOURCE, false, "does not run here"},
        {PLACE_MOVED, ROLE_SOURCE, true, "has moved to x: ask there"},
        {PLACE_ELSEWHERE, ROLE_DESTINATION, false, "lives on x: ask there"},
        {PLACE_MOVING, ROLE_SOURCE, true, "is being moved from here to x"},
        {PLACE_TOLD, ROLE_SOURCE, true, "is being moved from here to x"},
        {PLACE_TOLD, ROLE_DESTINATION, true, "is being moved to here from x"},
        {PLACE_INCOMING, ROLE_DESTINATION, true, "waits here to come from x"},
    };
    static const char *const requests[] = {"agreement", "incoming"};
    autovmrecord struct vm_record record;
    begin(&record);
    uint64_t started = record.started;
    for (size_t i = 0; i < COUNT(rows); i++) {
        record.place = rows[i].place;
        record.role = rows[i].role;
        record.started = started + !rows[i].running;
        MUST(vm_record_store(&paths, &record, &err));
        for (size_t j = 0; j < COUNT(requests); j++) {
            autojson json_t *answer = NULL;
            MUST_FAIL(STATUS_DECISION, rows[i].words,
                      ask("c", HEX64, requests[j],
                          j ? incoming(digest, 5) : json_pack("{s:s}", "vm", "web1"), &answer,
                          &err));
        }
    }
    autojson json_t *answer = NULL;
    MUST_FAIL(STATUS_INCOMPATIBLE, "no VM web2",
              ask("c", HEX64, "agreement", json_pack("{s:s}", "vm", "web2"), &answer, &err));
    autofree char *lock = in_folder("vms/web2.lock");
    ck_assert_int_ne(access(lock, F_OK), 0);
    /* Somebody is at work on it. */
    record.place = PLACE_HERE;
    record.started = started;
    MUST(vm_record_store(&paths, &record, &err));
    struct error busy = ERROR_INIT;
    int held = vm_record_lock(&paths, "web1", &busy);
    MUST_FAIL(STATUS_DECISION, "another command",
              ask("c", HEX64, "agreement", json_pack("{s:s}", "vm", "web1"), &answer, &err));
    close(held);
    memcpy(record.agreement, HEX64, DIGEST_HEX_SIZE);
    MUST(vm_record_store(&paths, &record, &err));
    MUST_FAIL(STATUS_DECISION, "another agreement",
              ask("c", HEX64, "agreement", json_pack("{s:s}", "vm", "web1"), &answer, &err));
    autofree char *kept = in_folder("agreements/web1.json");
    ck_assert_int_eq(unlink(kept), 0);
    MUST_FAIL(STATUS_INCOMPATIBLE, "no agreement about web1",
              ask("c", HEX64, "agreement", json_pack("{s:s}", "vm", "web1"), &answer, &err));
    identity_free(host);
}
END_TEST

static void check_noted(const char *peer, uint16_t port)
{
    autovmrecord struct vm_record back = {0};
    MUST(vm_record_load(&paths, "web1", &back, &err));
    ck_assert_str_eq(back.peer, peer);
    ck_assert_str_eq(back.peer_host, "192.0.2.7");
    ck_assert_uint_eq(back.peer_port, port);
    ck_assert(back.guarded && back.place == PLACE_HERE && back.role == ROLE_SOURCE);
}

START_TEST(incoming_is_noted)
{
    autovmrecord struct vm_record record;
    begin(&record);
    record.role = ROLE_DESTINATION; /* it came here before */
    MUST(vm_record_store(&paths, &record, &err));
    autojson json_t *first = NULL, *again = NULL, *other = NULL, *party = NULL;
    MUST(ask("c", HEX64, "incoming", incoming(digest, 49152), &first, &err));
    ck_assert(json_is_true(json_object_get(first, "noted")));
    check_noted("c", 49152);
    MUST(ask("c", HEX64, "incoming", incoming(digest, 65535), &again, &err));
    check_noted("c", 65535);
    /* One that has not agreed does not take another one's place; one that has does. */
    MUST_FAIL(STATUS_DECISION, "has a destination on c already",
              ask("d", HEX64, "incoming", incoming(digest, 1), &other, &err));
    check_noted("c", 65535);
    MUST(ask("b", host->pin, "incoming", incoming(digest, 1), &party, &err));
    check_noted("b", 1);
    static const struct {
        const char *agreement;
        json_int_t port;
        enum status status;
    } bad[] = {{HEX64, 1, STATUS_INCOMPATIBLE},
               {"", 1, STATUS_DATA},
               {NULL, 0, STATUS_DATA},
               {NULL, 65536, STATUS_DATA},
               {NULL, -1, STATUS_DATA}};
    for (size_t i = 0; i < COUNT(bad); i++) {
        autojson json_t *answer = NULL;
        MUST_FAIL(bad[i].status, "",
                  ask("b", host->pin, "incoming",
                      incoming(bad[i].agreement ? bad[i].agreement : digest, bad[i].port), &answer,
                      &err));
    }
    static const char *const vms[] = {"", "../web1", ".", "web1/"};
    for (size_t i = 0; i < COUNT(vms); i++) {
        autojson json_t *answer = NULL;
        MUST_FAIL(STATUS_DATA, "no name of a VM",
                  ask("b", HEX64, "agreement", json_pack("{s:s}", "vm", vms[i]), &answer, &err));
    }
    check_noted("b", 1);
    identity_free(host);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {agreement_is_told, not_here, incoming_is_noted};
    return unit_run("vm_answers", tests, COUNT(tests));
}
