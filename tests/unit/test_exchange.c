/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One exchange between three hosts in this process, message by message: a launches, b and c are
 * agents. What QEMU would find out about each host is given; what is signed is real.
 */
#include "device_fixture.h"

#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "cpu/feature_table.h"
#include "device/device_report.h"
#include "peer/message.h"
#include "vm/record.h"
#include "vm/respond.h"
#include "vm/responder.h"
#include "vm/visible.h"

#define TYPE "pc-q35-7.2"
#define HOSTS 3
#define TEXT_OF(x) #x
#define TEXT_OF_VALUE(x) TEXT_OF(x)
#define VISIBLE_VERSION TEXT_OF_VALUE(VISIBLE_TABLE_VERSION)
#define HEX64 "1111111111111111111111111111111111111111111111111111111111111111"

struct host {
    char name[2];
    struct paths paths;
    struct config config;
    struct identity *identity;
    struct qemu qemu;
    struct trust_entry entry; /* as the others have it */
    struct exchange_self self;
    struct respond respond; /* of b and c */
    const char *features;
    const char *devices; /* as in device_fixture.h; NULL: its profile does not speak of them */
};

static struct host hosts[HOSTS];
static struct exchange exchange; /* of a */
static char binary[] = "/bin/false";

static void host_make(struct host *host, const char *name, const char *features)
{
    *host = (struct host){.features = features};
    snprintf(host->name, sizeof(host->name), "%s", name);
    autofree char *home = in_folder(name);
    MUST(paths_init(&host->paths, home, &err));
    MUST(identity_create(host->paths.config, &err));
    MUST(host->identity = identity_load(host->paths.config, &err));
    MUST(folder_make(host->paths.state, 0700, &err));
    host->config.host_name = host->name;
    host->qemu.version = strdup("7.2.22");
    host->qemu.binary.path = binary;
    MUST(machine_list_add(&host->qemu.machines, TYPE, "q35", false, false));
    MUST(machine_list_add(&host->qemu.machines, "pc-q35-7.1", NULL, false, false));
    host->entry = (struct trust_entry){.name = host->name, .pin_count = 1, .expires = TRUST_NEVER};
    memcpy(host->entry.pins[0], host->identity->pin, PIN_SIZE);
    host->self = (struct exchange_self){.paths = &host->paths,
                                        .config = &host->config,
                                        .identity = host->identity,
                                        .vm = "web1",
                                        .role = ROLE_PARTY,
                                        .qemu = &host->qemu,
                                        .when = deadline_in_ms(20000)};
}

static struct cpu_request wish;
static struct strlist tap; /* what a's devices use */

static void setup(void)
{
    unit_folder_make();
    host_make(&hosts[0], "a", "avx avx2 lm pcid smap");
    host_make(&hosts[1], "b", "avx lm pcid smap");
    host_make(&hosts[2], "c", "avx avx2 lm");
    wish = (struct cpu_request){0};
    MUST(cpu_request_parse("host", &wish, &err));
    struct exchange_self *self = &hosts[0].self;
    hosts[0].devices = "a tun:uso,vnet-hdr vhost-net:mrg-rxbuf net:csum,guest_uso4,host_uso";
    hosts[1].devices = "b tun:vnet-hdr vhost-net:mrg-rxbuf net:csum,guest_uso4,host_uso";
    hosts[2].devices = "c tun?denied net:csum,guest_uso4,host_uso";
    ck_assert(strlist_push(&tap, "tun"));
    self->backends = &tap;
    self->role = ROLE_SOURCE;
    self->machine = "q35";
    self->accel = "tcg";
    self->request = &wish;
}

static void teardown(void)
{
    exchange_free(&exchange);
    for (size_t i = 0; i < HOSTS; i++) {
        exchange_free(&hosts[i].respond.exchange);
        identity_free(hosts[i].identity);
        paths_free(&hosts[i].paths);
        free(hosts[i].qemu.version);
        machine_list_free(&hosts[i].qemu.machines);
    }
    cpu_request_free(&wish);
    strlist_free(&tap);
    unit_folder_remove();
}

static void add_names(struct featureset *set, const char *names)
{
    autostrlist struct strlist list = {0};
    ck_assert(strlist_split(&list, names, ' '));
    for (size_t i = 0; i < list.count; i++)
        ck_assert(featureset_add(set, list.items[i]));
}

/* A host's profile, as it would examine itself; serial: of it. */
static json_t *profile_payload(const struct host *host, int64_t serial, int64_t issued)
{
    autocpuoffer struct cpu_offer offer = {
        .host = strdup(host->name),
        .accel = strdup("tcg"),
        .identity = {"AuthenticAMD", 15, 107, 1, "QEMU TCG CPU", 13, 0x8000000a},
        .phys_bits = 40,
    };
    add_names(&offer.available, host->features);
    add_names(&offer.known, "avx avx2 lm pcid smap");
    json_t *payload =
        json_pack("{s:i, s:i, s:s, s:I, s:I, s:I}", "version", PROFILE_VERSION, "table",
                  FEATURE_TABLE_VERSION, "boot_id", "x", "serial", (json_int_t)serial, "issued",
                  (json_int_t)issued, "expires", (json_int_t)issued + 1000);
    json_object_set_new(payload, "kernel",
                        json_pack("{s:s, s:s, s:s}", "release", "6.1", "version", "1", "kvm", ""));
    json_object_set_new(payload, "processor", json_object());
    json_object_set_new(
        payload, "qemu",
        json_pack("{s:s, s:s, s:s}", "version", "7.2.22", "package", "", "files", ""));
    json_object_set_new(payload, "probe",
                        json_pack("{s:s, s:s, s:s, s:b}", "machine", TYPE, "accel", "tcg",
                                  "kernel_irqchip", "", "cpu_pm", 0));
    json_object_set_new(payload, "machines", machine_list_to_json(&host->qemu.machines));
    json_object_set_new(payload, "cpu", cpu_offer_to_json(&offer));
    autodeviceoffer struct device_offer devices = {0};
    if (host->devices) {
        fixture_host(host->devices, &devices);
        json_object_set_new(payload, "devices", device_offer_to_json(&devices));
    }
    return payload;
}

static char *profile_text(const struct host *host, int64_t serial, int64_t issued, char *digest)
{
    autojson json_t *payload = profile_payload(host, serial, issued);
    char *text = NULL;
    MUST(envelope_sign_digest(host->identity, PROFILE_TYPE, payload, &text, digest, &err));
    return text;
}

/* What make_profile would do with a QEMU. */
static void give_profile(const struct host *host, struct exchange *of)
{
    of->profile_text = profile_text(host, 1, time(NULL), of->profile_digest);
    of->profile_payload = profile_payload(host, 1, time(NULL));
    MUST(profile_read(of->profile_payload, &of->profile, &err));
    of->profile_is_new = true;
}

static void begin(bool prove)
{
    hosts[0].self.prove = prove;
    MUST(exchange_begin(&exchange, &hosts[0].self, NULL, 2, &err));
}

/* hello of a to b or c; false if it is refused. */
static bool greet(size_t i, struct error *failure)
{
    autojson json_t *hello = NULL;
    struct exchange *theirs = &hosts[i].respond.exchange;
    MUST(hello = exchange_hello_body(&exchange, &err));
    if (!exchange_begin(theirs, &hosts[i].self, exchange.id, 1, failure) ||
        !exchange_take_hello(theirs, &theirs->peers[0], hello, &hosts[0].entry, failure))
        return false;
    autojson json_t *answer = NULL;
    MUST(answer = exchange_hello_body(theirs, &err));
    return exchange_take_hello(&exchange, &exchange.peers[i - 1], answer, &hosts[i].entry, failure);
}

static void hellos(void)
{
    for (size_t i = 1; i < HOSTS; i++)
        MUST(greet(i, &err));
    MUST(exchange_choose_machine(&exchange, &err));
    ck_assert_str_eq(exchange.machine, TYPE);
    ck_assert_int_eq(exchange.step, STEP_HELLO);
}

static void profiles(void)
{
    give_profile(&hosts[0], &exchange);
    autojson json_t *body = NULL;
    MUST(body = exchange_profile_body(&exchange, true, false, &err));
    for (size_t i = 1; i < HOSTS; i++) {
        autojson json_t *answer = NULL;
        give_profile(&hosts[i], &hosts[i].respond.exchange);
        MUST(answer = respond_to(&hosts[i].respond, "profile", body, &err));
        ck_assert_str_eq(hosts[i].respond.exchange.machine, TYPE);
        MUST(exchange_take_profile(&exchange, &exchange.peers[i - 1], answer, &err));
    }
    ck_assert_int_eq(exchange.step, STEP_PROFILE);
}

static void give_table(struct guest_table *table)
{
    autojson json_t *json = json_pack("{s:i, s:i, s:[[i, i, i, i, i, i]], s:[]}", "version", 1,
                                      "mode", 64, "cpuid", 0, 0, 13, 1, 2, 3, "msr");
    guest_table_free(table);
    MUST(guest_table_from_json(json, table, &err));
}

static json_t *prove_body(void)
{
    autobaseline struct baseline baseline = {0};
    MUST(exchange_baseline(&exchange, &baseline, NULL, &err));
    return json_pack("{s:s, s:{}, s:o, s:{s:{}, s:{}, s:{}}}", "exchange", exchange.id, "unshown",
                     "baseline", baseline_to_json(&baseline), "arguments", "machine", "smp",
                     "accel");
}

/* All have seen the same. The first time each would start its QEMU, which there is none of. */
static void proofs(void)
{
    autojson json_t *body = prove_body();
    give_table(&exchange.table);
    for (size_t i = 1; i < HOSTS; i++) {
        struct exchange *theirs = &hosts[i].respond.exchange;
        struct error failure = ERROR_INIT;
        ck_assert(!respond_to(&hosts[i].respond, "prove", body, &failure));
        ck_assert_msg(theirs->is_given, "%s", failure.message);
        give_table(&theirs->table);
        autojson json_t *answer = NULL;
        MUST(answer = respond_to(&hosts[i].respond, "prove", body, &err));
        MUST(exchange_take_table(&exchange, &exchange.peers[i - 1], answer, &err));
    }
    bool settled = false;
    MUST(exchange_settle(&exchange, &settled, &err));
    ck_assert(settled);
}

static json_t *sign_proposal(json_t *payload, const struct identity *identity, char *digest)
{
    autofree char *text = NULL;
    MUST(envelope_sign_digest(identity, AGREEMENT_TYPE, payload, &text, digest, &err));
    return json_pack("{s:s, s:o}", "exchange", exchange.id, "agreement", json_loads(text, 0, NULL));
}

static void approve(size_t i, json_t *proposal, struct strlist *approvals)
{
    autojson json_t *answer = NULL;
    MUST(answer = respond_to(&hosts[i].respond, "propose", proposal, &err));
    autofree char *text = json_to_text(json_object_get(answer, "approval"));
    ck_assert(strlist_push(approvals, text));
}

/* What a keeps and sends with commit. */
static json_t *agree(char *digest)
{
    autostrlist struct strlist approvals = {0};
    MUST(exchange_agree(&exchange, time(NULL), &err));
    autojson json_t *payload = agreement_to_json(&exchange.agreement);
    autojson json_t *proposal = sign_proposal(payload, hosts[0].identity, digest);
    memcpy(exchange.agreement_digest, digest, DIGEST_HEX_SIZE);
    for (size_t i = 1; i < HOSTS; i++)
        approve(i, proposal, &approvals);
    autofree char *text = json_to_text(json_object_get(proposal, "agreement"));
    json_t *document = NULL;
    MUST(document = agreement_document(text, &approvals, &err));
    return document;
}

static json_t *commit_body(json_t *document)
{
    return json_pack("{s:s, s:O}", "exchange", exchange.id, "document", document);
}

static bool has_file(size_t i, const char *suffix)
{
    autofree char *path = string_format("%s/agreements/web1.%s", hosts[i].paths.state, suffix);
    return access(path, F_OK) == 0;
}

static void all_the_way_for_devices(void)
{
    char digest[DIGEST_HEX_SIZE];
    begin(false);
    hellos();
    profiles();
    autojson json_t *document = agree(digest);
    ck_assert(document && exchange.agreement.devices.backend_count == 0);
}

static void all_the_way(bool prove)
{
    char digest[DIGEST_HEX_SIZE];
    begin(prove);
    hellos();
    profiles();
    if (prove)
        proofs();
    autojson json_t *document = agree(digest);
    autojson json_t *body = commit_body(document);
    for (size_t i = 1; i < HOSTS; i++) {
        ck_assert(has_file(i, "pending") && !has_file(i, "json"));
        autojson json_t *answer = NULL;
        MUST(answer = respond_to(&hosts[i].respond, "commit", body, &err));
        ck_assert_str_eq(json_string_value(json_object_get(answer, "committed")), digest);
        ck_assert(!has_file(i, "pending") && has_file(i, "json"));
        ck_assert_int_eq(hosts[i].respond.exchange.step, STEP_COMMITTED);
        /* again: fine */
        autojson json_t *again = NULL;
        MUST(again = respond_to(&hosts[i].respond, "commit", body, &err));
        ck_assert(json_equal(answer, again));
    }
    ck_assert_uint_eq(exchange.agreement.party_count, 3);
    /* What b lacks and what c lacks, neither has. */
    const struct featureset *features = &exchange.agreement.baseline.features;
    ck_assert(featureset_has(features, "avx") && featureset_has(features, "lm"));
    ck_assert(!featureset_has(features, "avx2") && !featureset_has(features, "pcid"));
    /* Nor a property of devices that b cannot give; what c does not know, a is told. */
    const struct device_baseline *devices = &exchange.agreement.devices;
    ck_assert(device_baseline_is_off(devices, "virtio-net", "host_uso") &&
              device_baseline_is_off(devices, "virtio-net", "guest_uso4") &&
              !device_baseline_is_off(devices, "virtio-net", "csum"));
    ck_assert_uint_eq(devices->backend_count, 1);
    ck_assert(strcmp(devices->backends[0].name, "tun") == 0 && devices->backends[0].unknown);
    ck_assert_uint_eq(exchange.device_report.loss_count, 2);
    ck_assert_uint_eq(exchange.device_report.unknown_count, 1);
    ck_assert(device_baseline_is_off(&hosts[2].respond.exchange.agreement.devices, "virtio-net",
                                     "host_uso"));
    /* b is told that it is less safe for the others' sake; c has nothing to lose. */
    const struct strlist *doubts = &hosts[1].respond.exchange.doubts;
    ck_assert_uint_eq(doubts->count, 1);
    ck_assert_ptr_nonnull(strstr(doubts->items[0], "SECURITY feature lost: smap, which b has"));
    ck_assert_uint_eq(hosts[2].respond.exchange.doubts.count, 0);
}

START_TEST(three_agree)
{
    all_the_way(true);
}
END_TEST

START_TEST(three_agree_without_a_proof)
{
    all_the_way(false);
}
END_TEST

static json_t *keep_commit(size_t host, json_t *body, char digest[DIGEST_HEX_SIZE],
                           struct error *err)
{
    autoagreement struct agreement agreement = {0};
    json_t *document;
    const char *id;
    return respond_open_commit(body, &id, &document, &agreement, digest, NULL, err) &&
                   respond_keep(&hosts[host].paths, agreement.vm, document, digest, err)
               ? respond_committed(id, digest, err)
               : NULL;
}

/* An agent that is started anew between approval and commit: the disk knows. */
START_TEST(commit_without_an_exchange)
{
    char digest[DIGEST_HEX_SIZE], got[DIGEST_HEX_SIZE];
    begin(false);
    hellos();
    profiles();
    autojson json_t *document = agree(digest);
    autojson json_t *body = commit_body(document), *answer = NULL, *again = NULL;
    /* c never approved, as far as its disk knows */
    agreement_forget_pending(hosts[2].paths.state, "web1");
    MUST_FAIL(STATUS_PROTOCOL, "not approved here", keep_commit(2, body, got, &err));
    ck_assert(!has_file(2, "json"));
    MUST(answer = keep_commit(1, body, got, &err));
    ck_assert(strcmp(got, digest) == 0 && has_file(1, "json"));
    MUST(again = keep_commit(1, body, got, &err));
    /* one that not all have signed */
    autojson json_t *half = json_deep_copy(document);
    json_array_remove(json_object_get(half, "approvals"), 0);
    autojson json_t *half_body = commit_body(half);
    MUST_FAIL(STATUS_NOT_TRUSTED, "has not approved", keep_commit(1, half_body, got, &err));
    MUST_FAIL(STATUS_DATA, "names no exchange", keep_commit(1, document, got, &err));
}
END_TEST

/* Each request names the exchange that it belongs to, and a commit is of the agreement that was
 * approved in it. */
START_TEST(another_exchange)
{
    static const struct {
        const char *request, *member, *value;
    } rows[] = {
        {"profile", "digest", "\"\""},
        {"propose", "agreement", "{}"},
        {"commit", "document", "{}"},
        {"cancel", "reason", "{}"},
    };
    char first_digest[DIGEST_HEX_SIZE], digest[DIGEST_HEX_SIZE];
    begin(true);
    hellos();
    profiles();
    autojson json_t *prove = prove_body();
    json_object_set_new(prove, "exchange", json_string("0123456789abcdef0123456789abcdef"));
    MUST_FAIL(STATUS_PROTOCOL, "another exchange",
              respond_to(&hosts[1].respond, "prove", prove, &err));
    begin(false);
    hellos();
    profiles();
    autojson json_t *first = agree(first_digest);
    autojson json_t *first_body = commit_body(first);
    begin(false);
    hellos();
    for (size_t i = 1; i < HOSTS; i++) /* both were approved, but not in this exchange */
        MUST_FAIL(STATUS_PROTOCOL, "not approved here",
                  respond_to(&hosts[i].respond, "commit", first_body, &err));
    profiles();
    autojson json_t *document = agree(digest);
    ck_assert_str_ne(digest, first_digest);
    for (size_t i = 0; i < COUNT(rows); i++) {
        autojson json_t *body =
            json_pack("{s:s, s:o}", "exchange", "0123456789abcdef0123456789abcdef", rows[i].member,
                      json_loads(rows[i].value, JSON_DECODE_ANY, NULL));
        struct error failure = ERROR_INIT;
        bool answered = respond_to(&hosts[1].respond, rows[i].request, body, &failure);
        ck_assert_msg(!answered && failure.status == STATUS_PROTOCOL &&
                          strstr(failure.message, "another exchange"),
                      "%s: %d %s", rows[i].request, failure.status, failure.message);
    }
    autojson json_t *body = commit_body(document), *of_first = commit_body(first);
    autojson json_t *by_first = json_deep_copy(body), *answer = NULL;
    json_object_set(by_first, "exchange", json_object_get(first_body, "exchange"));
    MUST_FAIL(STATUS_PROTOCOL, "another exchange",
              respond_to(&hosts[1].respond, "commit", by_first, &err));
    MUST_FAIL(STATUS_PROTOCOL, "not approved here",
              respond_to(&hosts[1].respond, "commit", of_first, &err));
    ck_assert(has_file(1, "pending") && !has_file(1, "json"));
    MUST(answer = respond_to(&hosts[1].respond, "commit", body, &err));
    ck_assert_str_eq(json_string_value(json_object_get(answer, "committed")), digest);
}
END_TEST

/* What an agent approves is what it was asked about. */
START_TEST(proposals)
{
    static const struct {
        const char *path, *value;
        enum status status;
        const char *words;
    } rows[] = {
        {"vm", "\"web2\"", STATUS_PROTOCOL, "another agreement"},
        {"machine", "\"pc-q35-7.1\"", STATUS_PROTOCOL, "another agreement"},
        {"kernel_irqchip", "\"on\"", STATUS_PROTOCOL, "another agreement"},
        {"cpu_pm", "true", STATUS_PROTOCOL, "another agreement"},
        {"form", "\"host\"", STATUS_PROTOCOL, "another agreement"},
        {"issued", "1", STATUS_NOT_TRUSTED, "set the clocks"},
        {"baseline/features", "[\"avx\",\"avx2\",\"lm\"]", STATUS_PROTOCOL, "another agreement"},
        {"baseline/features", "[\"lm\"]", STATUS_PROTOCOL, "another agreement"},
        {"baseline/phys_bits", "39", STATUS_PROTOCOL, "another agreement"},
        {"baseline/identity/model_id", "\"x\"", STATUS_PROTOCOL, "another agreement"},
        {"devices", "{}", STATUS_DATA, "the devices"},
        {"devices", "null", STATUS_DATA, "the devices"},
        {"version", "2", STATUS_DATA, "not valid"},
        {"devices/classes", "{}", STATUS_INCOMPATIBLE, "is not switched off, and b cannot give it"},
        {"devices/classes/virtio-net/off", "[]", STATUS_INCOMPATIBLE, "is not switched off"},
        {"devices/classes/virtio-net/off", "[\"nothing\"]", STATUS_DATA, "nothing"},
        {"devices/classes/virtio-net/kept", "[\"host_uso\"]", STATUS_DATA, "off and kept"},
        {"proof", "null", STATUS_PROTOCOL, "without a proof"},
        {"proof/table/cpuid/0/2", "14", STATUS_PROOFS_DIFFER, "would not see the same CPU"},
        {"MINE/host", "\"d\"", STATUS_PROTOCOL, "another agreement"},
        {"MINE/nonce", "\"" HEX64 "\"", STATUS_PROTOCOL, "another agreement"},
        {"MINE/profile", "\"" HEX64 "\"", STATUS_PROTOCOL, "another agreement"},
        {"MINE/table", "\"" HEX64 "\"", STATUS_PROTOCOL, "another agreement"},
        {"MINE/role", "\"destination\"", STATUS_PROTOCOL, "another agreement"},
        {"MINE/request/enforce", "true", STATUS_PROTOCOL, "another agreement"},
        {"ASKER/host", "\"d\"", STATUS_PROTOCOL, "another agreement"},
        {"ASKER/nonce", "\"" HEX64 "\"", STATUS_PROTOCOL, "another agreement"},
        {"ASKER/profile", "\"" HEX64 "\"", STATUS_PROTOCOL, "another agreement"},
        {"ASKER/role", "\"party\"", STATUS_PROTOCOL, "another agreement"},
    };
    char digest[DIGEST_HEX_SIZE];
    begin(true);
    hellos();
    profiles();
    proofs();
    MUST(exchange_agree(&exchange, time(NULL), &err));
    autojson json_t *good = agreement_to_json(&exchange.agreement);
    for (size_t i = 0; i < COUNT(rows); i++) {
        autojson json_t *bad = json_deep_copy(good);
        autostrlist struct strlist steps = {0};
        ck_assert(strlist_split(&steps, rows[i].path, '/'));
        json_t *place = bad, *party;
        size_t k;
        for (size_t s = 0; s + 1 < steps.count; s++) {
            const char *whose = strcmp(steps.items[s], "MINE") == 0    ? hosts[1].identity->pin
                                : strcmp(steps.items[s], "ASKER") == 0 ? hosts[0].identity->pin
                                                                       : NULL;
            json_t *parties = json_object_get(bad, "parties"), *found = NULL;
            json_array_foreach(parties, k, party)
            {
                if (whose && strcmp(json_string_value(json_object_get(party, "pin")), whose) == 0)
                    found = party;
            }
            place = whose                  ? found
                    : json_is_array(place) ? json_array_get(place, (size_t)atoi(steps.items[s]))
                                           : json_object_get(place, steps.items[s]);
        }
        const char *member = steps.items[steps.count - 1];
        json_t *value = json_loads(rows[i].value, JSON_DECODE_ANY, NULL);
        ck_assert_msg(value != NULL, "%s", rows[i].value);
        if (json_is_array(place))
            json_array_set_new(place, (size_t)atoi(member), value);
        else
            json_object_set_new(place, member, value);
        if (strcmp(rows[i].path, "proof") == 0) /* else it is not well formed */
            json_array_foreach(json_object_get(bad, "parties"), k, party)
            {
                json_object_set_new(party, "table", json_string(""));
            }
        autojson json_t *proposal = sign_proposal(bad, hosts[0].identity, digest);
        struct error err = ERROR_INIT;
        autojson json_t *answer = respond_to(&hosts[1].respond, "propose", proposal, &err);
        ck_assert_msg(!answer, "%s = %s was approved", rows[i].path, rows[i].value);
        ck_assert_msg(err.status == rows[i].status && strstr(err.message, rows[i].words),
                      "%s = %s: %d %s", rows[i].path, rows[i].value, err.status, err.message);
        ck_assert(!has_file(1, "pending"));
    }
    /* by another key, even that of a party */
    autojson json_t *foreign = sign_proposal(good, hosts[2].identity, digest);
    MUST_FAIL(STATUS_NOT_TRUSTED, "by another key",
              respond_to(&hosts[1].respond, "propose", foreign, &err));
    autojson json_t *proposal = sign_proposal(good, hosts[0].identity, digest);
    autojson json_t *answer = NULL;
    MUST(answer = respond_to(&hosts[1].respond, "propose", proposal, &err));
}
END_TEST

/* Of two, both compute; what they use is what the asker's hello says. */
START_TEST(devices_of_two)
{
    char digest[DIGEST_HEX_SIZE];
    for (int known = 0; known < 2; known++) {
        hosts[1].devices = known ? "b tun:vnet-hdr net:csum,guest_uso4,host_uso" : NULL;
        hosts[0].self.prove = false;
        MUST(exchange_begin(&exchange, &hosts[0].self, NULL, 1, &err));
        MUST(greet(1, &err));
        MUST(exchange_choose_machine(&exchange, &err));
        give_profile(&hosts[0], &exchange);
        give_profile(&hosts[1], &hosts[1].respond.exchange);
        autojson json_t *body = NULL, *answer = NULL, *approval = NULL;
        MUST(body = exchange_profile_body(&exchange, true, false, &err));
        MUST(answer = respond_to(&hosts[1].respond, "profile", body, &err));
        MUST(exchange_take_profile(&exchange, &exchange.peers[0], answer, &err));
        MUST(exchange_agree(&exchange, time(NULL), &err));
        const struct device_baseline *devices = &exchange.agreement.devices;
        ck_assert(device_baseline_is_off(devices, "virtio-net", "host_uso") == known);
        ck_assert_uint_eq(devices->backend_count, 1);
        ck_assert(devices->backends[0].unknown == !known);
        autojson json_t *payload = agreement_to_json(&exchange.agreement);
        autojson json_t *other = json_deep_copy(payload);
        json_t *changed = json_object_get(json_object_get(other, "devices"), "classes");
        changed = json_object_get(json_object_get(changed, "virtio-net"), known ? "off" : "kept");
        json_array_remove(changed, 0);
        autojson json_t *wrong = sign_proposal(other, hosts[0].identity, digest);
        ck_assert(json_equal(payload, other) == 0);
        struct error failure = ERROR_INIT;
        ck_assert(!respond_to(&hosts[1].respond, "propose", wrong, &failure));
        ck_assert_msg(failure.status == STATUS_PROTOCOL &&
                          strstr(failure.message, "proposes another agreement"),
                      "%d %s", failure.status, failure.message);
        autojson json_t *proposal = sign_proposal(payload, hosts[0].identity, digest);
        MUST(approval = respond_to(&hosts[1].respond, "propose", proposal, &err));
        ck_assert_uint_eq(hosts[1].respond.exchange.device_report.loss_count, known ? 2 : 0);
        exchange_free(&exchange);
        exchange_free(&hosts[1].respond.exchange);
    }
}
END_TEST

/* [policy] devices = known: of who asks, of one who is asked, and of one who knows all itself. */
START_TEST(devices_must_be_known)
{
    for (size_t i = 0; i < HOSTS; i++) {
        char digest[DIGEST_HEX_SIZE];
        hosts[i].config.devices_known = true;
        begin(false);
        hellos();
        profiles();
        if (i == 0) {
            MUST_FAIL(STATUS_INCOMPATIBLE, "tap devices of c: denied",
                      exchange_agree(&exchange, time(NULL), &err));
        } else {
            MUST(exchange_agree(&exchange, time(NULL), &err));
            autojson json_t *payload = agreement_to_json(&exchange.agreement);
            autojson json_t *proposal = sign_proposal(payload, hosts[0].identity, digest);
            MUST_FAIL(STATUS_INCOMPATIBLE, "tun is not known on all hosts",
                      respond_to(&hosts[i].respond, "propose", proposal, &err));
            ck_assert(!has_file(i, "pending"));
            /* and nobody can say that c knows it */
            json_t *backends = json_object_get(json_object_get(payload, "devices"), "backends");
            json_object_set_new(json_object_get(backends, "tun"), "unknown", json_false());
            autojson json_t *lie = sign_proposal(payload, hosts[0].identity, digest);
            hosts[i].config.devices_known = false;
            if (i == 2)
                MUST_FAIL(STATUS_INCOMPATIBLE, "c does not know it",
                          respond_to(&hosts[i].respond, "propose", lie, &err));
        }
        hosts[i].config.devices_known = false;
        exchange_free(&exchange);
        for (size_t k = 1; k < HOSTS; k++)
            exchange_free(&hosts[k].respond.exchange);
    }
    /* what is not used need not be known */
    strlist_free(&tap);
    for (size_t i = 0; i < HOSTS; i++)
        hosts[i].config.devices_known = true;
    all_the_way_for_devices();
}
END_TEST

/* hello: only backends that have a name, and only of one with a command line. */
START_TEST(hello_backends)
{
    static const struct {
        const char *backends, *role, *words;
    } rows[] = {
        {"[\"tap\"]", "source", "'tap'"},
        {"[1]", "source", "not a valid name"},
        {"null", "source", "not an array"},
        {"[\"tun\"]", "party", "no devices"},
        {"[\"vhost-user\",\"tun\"]", "source", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autoexchange struct exchange theirs = {0};
        hosts[1].self.role = strcmp(rows[i].role, "party") == 0 ? ROLE_SOURCE : ROLE_PARTY;
        hosts[1].self.accel = "tcg";
        begin(false);
        autojson json_t *hello = NULL;
        MUST(hello = exchange_hello_body(&exchange, &err));
        json_object_set_new(hello, "backends", json_loads(rows[i].backends, JSON_DECODE_ANY, NULL));
        json_object_set_new(hello, "role", json_string(rows[i].role));
        MUST(exchange_begin(&theirs, &hosts[1].self, exchange.id, 1, &err));
        theirs.prove = false;
        if (rows[i].words)
            MUST_FAIL(STATUS_DATA, rows[i].words,
                      exchange_take_hello(&theirs, &theirs.peers[0], hello, &hosts[0].entry, &err));
        else
            MUST(exchange_take_hello(&theirs, &theirs.peers[0], hello, &hosts[0].entry, &err));
        exchange_free(&exchange);
    }
}
END_TEST

/* Without a proof the proposal is the first that an agent hears of the CPU. */
START_TEST(proposals_without_a_proof)
{
    char digest[DIGEST_HEX_SIZE];
    begin(false);
    hellos();
    profiles();
    MUST(exchange_agree(&exchange, time(NULL), &err));
    autojson json_t *good = agreement_to_json(&exchange.agreement);
    autojson json_t *bad = json_deep_copy(good);
    json_object_set_new(json_object_get(bad, "baseline"), "features",
                        json_pack("[s, s, s]", "avx", "avx2", "lm"));
    autojson json_t *promised_by_none = sign_proposal(bad, hosts[0].identity, digest);
    MUST_FAIL(STATUS_INCOMPATIBLE, "avx2 (",
              respond_to(&hosts[1].respond, "propose", promised_by_none, &err));
    ck_assert(!has_file(1, "pending"));
    autojson json_t *proposal = sign_proposal(good, hosts[0].identity, digest), *answer = NULL;
    MUST(answer = respond_to(&hosts[1].respond, "propose", proposal, &err));
}
END_TEST

/* A CPU that this host has not promised, or that its user has not asked for. */
START_TEST(given_baselines)
{
    begin(true);
    hellos();
    profiles();
    struct exchange *theirs = &hosts[1].respond.exchange;
    autobaseline struct baseline computed = {0}, given = {0};
    MUST(exchange_baseline(&exchange, &computed, NULL, &err));
#define GIVE(change, status, words)                                                                \
    do {                                                                                           \
        baseline_free(&given);                                                                     \
        given = (struct baseline){0};                                                              \
        MUST(baseline_copy(&computed, &given, &err));                                              \
        change;                                                                                    \
        MUST_FAIL(status, words, exchange_give_baseline(theirs, &given, &err));                    \
        ck_assert(!theirs->is_given);                                                              \
    } while (0)
    GIVE(featureset_add(&given.features, "avx2"), STATUS_INCOMPATIBLE, "avx2 (");
    GIVE(given.phys_bits = 41, STATUS_INCOMPATIBLE, "physical address bits");
    GIVE(cpu_knobs_set(&given.knobs, "kvm", "off"), STATUS_PROTOCOL, "other properties");
    autofeatureset struct featureset required = {0};
    add_names(&required, "pcid");
    theirs->self = &(struct exchange_self){.config = &hosts[1].config,
                                           .identity = hosts[1].identity,
                                           .paths = &hosts[1].paths,
                                           .required = &required};
    GIVE((void)0, STATUS_INCOMPATIBLE, "pcid is required on b");
    theirs->self = &hosts[1].self;
    add_names(&theirs->request.off, "avx");
    GIVE((void)0, STATUS_PROTOCOL, "avx is switched off on b");
    featureset_remove(&theirs->request.off, "avx");
    add_names(&theirs->request.on, "pcid");
    theirs->request.enforce = true;
    GIVE((void)0, STATUS_INCOMPATIBLE, "enforces pcid");
    theirs->request.enforce = false;
    theirs->request.phys_bits = 39;
    GIVE((void)0, STATUS_PROTOCOL, "39 physical address bits");
    theirs->request.phys_bits = 0;
    theirs->request.model = strdup("EPYC-v1");
    GIVE((void)0, STATUS_PROTOCOL, "EPYC-v1");
    free(theirs->request.model);
    theirs->request.model = NULL;
    /* what is good */
    baseline_free(&given);
    given = (struct baseline){0};
    MUST(baseline_copy(&computed, &given, &err));
    MUST(exchange_give_baseline(theirs, &given, &err));
    ck_assert(theirs->is_given);
}
END_TEST

/* Between hello and what is proposed the VM was started on b; or b approved it for somebody else a
 * moment ago; and what was approved long ago is not kept any more. */
START_TEST(much_happens_in_between)
{
    char digest[DIGEST_HEX_SIZE];
    begin(false);
    hellos();
    profiles();
    MUST(exchange_agree(&exchange, time(NULL), &err));
    autojson json_t *payload = agreement_to_json(&exchange.agreement);
    autojson json_t *proposal = sign_proposal(payload, hosts[0].identity, digest);
    autojson json_t *by_c = sign_proposal(payload, hosts[2].identity, digest);
    autofree char *text = json_to_text(json_object_get(by_c, "agreement"));
    MUST(agreement_store_pending(hosts[1].paths.state, "web1", text, &err));
    MUST_FAIL(STATUS_UNAVAILABLE, "with another peer",
              respond_to(&hosts[1].respond, "propose", proposal, &err));
    /* its clock may be ahead */
    json_object_set_new(payload, "issued", json_integer(time(NULL) + 200));
    autojson json_t *ahead = sign_proposal(payload, hosts[2].identity, digest);
    autofree char *ahead_text = json_to_text(json_object_get(ahead, "agreement"));
    MUST(agreement_store_pending(hosts[1].paths.state, "web1", ahead_text, &err));
    MUST_FAIL(STATUS_UNAVAILABLE, "with another peer",
              respond_to(&hosts[1].respond, "propose", proposal, &err));
    agreement_forget_pending(hosts[1].paths.state, "web1");
    autovmrecord struct vm_record record = {.vm = strdup("web1"),
                                            .place = PLACE_HERE,
                                            .socket = strdup("/x"),
                                            .peer = strdup(""),
                                            .peer_host = strdup(""),
                                            .guardian_address = strdup(""),
                                            .qemu = strdup("/q")};
    memcpy(record.agreement, digest, DIGEST_HEX_SIZE);
    MUST(vm_record_set_self(&record, &err));
    int lock = -1;
    MUST((lock = vm_record_lock(&hosts[1].paths, "web1", &err)) >= 0);
    MUST(vm_record_store(&hosts[1].paths, &record, &err));
    MUST_FAIL(STATUS_DECISION, "web1 runs on b",
              respond_to(&hosts[1].respond, "propose", proposal, &err));
    record.pid = 0; /* and when it does not run, it lives there all the same */
    MUST(vm_record_store(&hosts[1].paths, &record, &err));
    MUST_FAIL(STATUS_DECISION, "web1 lives on b",
              respond_to(&hosts[1].respond, "propose", proposal, &err));
    close(lock);
    json_object_set_new(payload, "issued", json_integer(time(NULL) - 3700));
    autojson json_t *old = sign_proposal(payload, hosts[0].identity, digest);
    autofree char *old_text = json_to_text(json_object_get(old, "agreement"));
    autojson json_t *document = json_object();
    MUST(agreement_store_pending(hosts[1].paths.state, "web1", old_text, &err));
    MUST_FAIL(STATUS_PROTOCOL, "more than an hour ago",
              respond_keep(&hosts[1].paths, "web1", document, digest, &err));
    ck_assert(!has_file(1, "json"));
}
END_TEST

/* A peer that makes up names of VMs does not fill the disk. */
START_TEST(no_room)
{
    char digest[DIGEST_HEX_SIZE];
    autofree char *folder = string_format("%s/agreements", hosts[1].paths.state);
    begin(false);
    hellos();
    profiles();
    MUST(exchange_agree(&exchange, time(NULL), &err));
    autojson json_t *payload = agreement_to_json(&exchange.agreement);
    autojson json_t *proposal = sign_proposal(payload, hosts[0].identity, digest), *answer = NULL;
    MUST(folder_make(folder, 0700, &err));
    for (int i = 0; i < AGREEMENTS_MAX; i++) {
        autofree char *path = string_format("%s/vm%d.json", folder, i);
        FILE *file = fopen(path, "w");
        ck_assert(file && fclose(file) == 0);
    }
    MUST_FAIL(STATUS_CANNOT_WRITE, "4096 agreements are kept already",
              respond_to(&hosts[1].respond, "propose", proposal, &err));
    ck_assert(!has_file(1, "pending"));
    /* one less, and then the VM is known */
    autofree char *one = string_format("%s/vm0.json", folder);
    ck_assert_int_eq(unlink(one), 0);
    MUST(answer = respond_to(&hosts[1].respond, "propose", proposal, &err));
    ck_assert(has_file(1, "pending"));
    MUST(agreement_check_room(hosts[1].paths.state, "web1", &err));
    MUST_FAIL(STATUS_CANNOT_WRITE, "", agreement_check_room(hosts[1].paths.state, "web2", &err));
}
END_TEST

/* An agreement that is there is replaced by a party of it, and never under a VM that runs here. */
START_TEST(replacing)
{
    all_the_way(false);
    char known[DIGEST_HEX_SIZE];
    memcpy(known, exchange.agreement_digest, DIGEST_HEX_SIZE);
    struct host *stranger = &hosts[0];
    /* a holds nothing yet: its commit never came to its own disk */
    exchange_free(&exchange);
    begin(false);
    MUST_FAIL(STATUS_INCOMPATIBLE, "--renegotiate replaces it", greet(1, &err));
    exchange_free(&exchange);
    hosts[0].self.renegotiate = true;
    begin(false);
    MUST(greet(1, &err));
    exchange_free(&exchange);
    /* with the same agreement there is no doubt */
    hosts[0].self.renegotiate = false;
    begin(false);
    memcpy(exchange.known, known, DIGEST_HEX_SIZE);
    MUST(greet(1, &err));
    exchange_free(&exchange);
    /* it moved on from there to c, and may have come to a since: a party's word counts */
    autovmrecord struct vm_record record = {.vm = strdup("web1"),
                                            .place = PLACE_MOVED,
                                            .socket = strdup("/x"),
                                            .peer = strdup("c"),
                                            .peer_host = strdup(""),
                                            .guardian_address = strdup(""),
                                            .qemu = strdup("/q")};
    memcpy(record.agreement, known, DIGEST_HEX_SIZE);
    MUST(vm_record_set_self(&record, &err));
    int lock = -1;
    MUST((lock = vm_record_lock(&hosts[1].paths, "web1", &err)) >= 0);
    MUST(vm_record_store(&hosts[1].paths, &record, &err));
    hosts[0].self.renegotiate = true;
    hosts[0].self.lives = true;
    begin(false);
    MUST(greet(1, &err));
    exchange_free(&exchange);
    /* unless a itself does not know that it lives there */
    hosts[0].self.lives = false;
    begin(false);
    MUST_FAIL(STATUS_DECISION, "web1 lives on c, as far as b knows", greet(1, &err));
    exchange_free(&exchange);
    /* it runs on b itself */
    record.place = PLACE_HERE;
    MUST(vm_record_store(&hosts[1].paths, &record, &err));
    begin(false);
    MUST_FAIL(STATUS_DECISION, "web1 runs on b", greet(1, &err));
    exchange_free(&exchange);
    close(lock);
    /* one who is no party to it, on c */
    struct host other;
    host_make(&other, "d", "lm");
    stranger->self.identity = other.identity;
    struct trust_entry before = stranger->entry;
    stranger->entry = other.entry;
    begin(false);
    MUST_FAIL(STATUS_NOT_TRUSTED, "only a party can replace it", greet(2, &err));
    stranger->self.identity = stranger->identity;
    stranger->entry = before;
    identity_free(other.identity);
    paths_free(&other.paths);
    free(other.qemu.version);
    machine_list_free(&other.qemu.machines);
}
END_TEST

/* b's answer to `profile`: by whoever, with one member changed (path: A/B, value NULL: none). */
static json_t *profile_answer(const struct host *signer, const struct host *of, int64_t serial,
                              int64_t issued, const char *path, const char *value)
{
    char digest[DIGEST_HEX_SIZE];
    autofree char *text = NULL;
    autojson json_t *payload = profile_payload(of, serial, issued);
    if (path) {
        autostrlist struct strlist steps = {0};
        ck_assert(strlist_split(&steps, path, '/'));
        json_t *place = steps.count > 1 ? json_object_get(payload, steps.items[0]) : payload;
        json_object_set_new(place, steps.items[steps.count - 1],
                            json_loads(value, JSON_DECODE_ANY, NULL));
    }
    MUST(envelope_sign_digest(signer->identity, PROFILE_TYPE, payload, &text, digest, &err));
    return json_pack("{s:s, s:s, s:o, s:o, s:b}", "exchange", exchange.id, "machine", TYPE,
                     "profile", json_loads(text, 0, NULL), "request",
                     cpu_request_to_json(&exchange.request), "whole", 0);
}

/* Of whom, by whom, for what and since when: else a profile does not count. */
START_TEST(foreign_profiles)
{
    int64_t now = time(NULL);
    const struct {
        size_t signer, of;
        int64_t serial, issued;
        const char *path, *value;
        enum status status;
        const char *words;
    } rows[] = {
        {2, 1, 5, now, NULL, NULL, STATUS_NOT_TRUSTED, "signed by another key"},
        {1, 2, 5, now, NULL, NULL, STATUS_PROTOCOL, "is of host c"},
        {1, 1, 5, now + 400, NULL, NULL, STATUS_NOT_TRUSTED, "clocks"},
        {1, 1, 5, now - 1100, NULL, NULL, STATUS_NOT_TRUSTED, "expired"},
        {1, 1, 5, now, "imported", "true", STATUS_NOT_TRUSTED, "planning only"},
        {1, 1, 5, now, "probe/machine", "\"pc-q35-7.1\"", STATUS_PROTOCOL, "other settings"},
        {1, 1, 5, now, "probe/cpu_pm", "true", STATUS_PROTOCOL, "other settings"},
        {1, 1, 5, now, "serial", "-1", STATUS_DATA, ""},
        {1, 1, 5, now, "more", "1", STATUS_DATA, "more"},
        {1, 1, 5, now, NULL, NULL, STATUS_OK, ""},
        {1, 1, 6, now, NULL, NULL, STATUS_OK, ""},
        {1, 1, 5, now, NULL, NULL, STATUS_NOT_TRUSTED, "is an old one"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct error failure = ERROR_INIT;
        begin(false);
        hellos();
        give_profile(&hosts[0], &exchange);
        autojson json_t *body =
            profile_answer(&hosts[rows[i].signer], &hosts[rows[i].of], rows[i].serial,
                           rows[i].issued, rows[i].path, rows[i].value);
        bool good = exchange_take_profile(&exchange, &exchange.peers[0], body, &failure);
        ck_assert_msg(good == (rows[i].status == STATUS_OK) && failure.status == rows[i].status &&
                          strstr(failure.message, rows[i].words),
                      "row %zu: %d %s", i, failure.status, failure.message);
        ck_assert(exchange.peers[0].has_profile == good);
        exchange_free(&exchange);
        for (size_t k = 1; k < HOSTS; k++)
            exchange_free(&hosts[k].respond.exchange);
    }
    /* An agent's wish for the CPU is the one that it was told. */
    begin(false);
    hellos();
    give_profile(&hosts[0], &exchange);
    autojson json_t *body = profile_answer(&hosts[1], &hosts[1], 7, now, NULL, NULL);
    json_object_set_new(json_object_get(body, "request"), "enforce", json_true());
    MUST_FAIL(STATUS_PROTOCOL, "another wish",
              exchange_take_profile(&exchange, &exchange.peers[0], body, &err));
}
END_TEST

/* An exchange up to its profiles, of a with b and c, all of which have been told before. */
static void begin_known(void)
{
    begin(false);
    hellos();
    give_profile(&hosts[0], &exchange);
    exchange.profile_is_new = false;
}

static void end_known(void)
{
    exchange_free(&exchange);
    for (size_t i = 1; i < HOSTS; i++)
        exchange_free(&hosts[i].respond.exchange);
}

/* What b or c answers to a's profile. */
static json_t *ask_profile(size_t i, bool whole, bool wanted)
{
    autojson json_t *body = NULL;
    json_t *answer = NULL;
    struct exchange *theirs = &hosts[i].respond.exchange;
    if (!theirs->profile_payload) {
        give_profile(&hosts[i], theirs);
        theirs->profile_is_new = false;
    }
    MUST(body = exchange_profile_body(&exchange, whole, wanted, &err));
    ck_assert(json_is_object(json_object_get(body, "profile")) == whole);
    MUST(answer = respond_to(&hosts[i].respond, "profile", body, &err));
    return answer;
}

/* Who knows a profile is told its digest; who does not is told the whole. */
START_TEST(profiles_by_digest)
{
    /* Nobody knows anything. */
    begin_known();
    for (size_t i = 1; i < HOSTS; i++) {
        struct exchange_peer *peer = &exchange.peers[i - 1];
        autojson json_t *unknown = ask_profile(i, false, false);
        ck_assert(json_is_true(json_object_get(unknown, "unknown")));
        ck_assert_int_eq(hosts[i].respond.exchange.step, STEP_HELLO);
        MUST(exchange_take_profile(&exchange, peer, unknown, &err));
        ck_assert(peer->wants_whole && !peer->has_profile);
        autojson json_t *digest = ask_profile(i, true, false);
        ck_assert(json_is_string(json_object_get(digest, "profile")));
        ck_assert_int_eq(hosts[i].respond.exchange.step, STEP_PROFILE);
        MUST(exchange_take_profile(&exchange, peer, digest, &err));
        ck_assert(peer->is_unknown && !peer->has_profile);
        /* Once more, by who is known by now, and wants the whole. */
        autojson json_t *whole = ask_profile(i, false, true);
        MUST(exchange_take_profile(&exchange, peer, whole, &err));
        ck_assert(peer->has_profile && !peer->is_unknown);
    }
    ck_assert_int_eq(exchange.step, STEP_PROFILE);
    end_known();
    /* All know all. */
    begin_known();
    for (size_t i = 1; i < HOSTS; i++) {
        struct exchange_peer *peer = &exchange.peers[i - 1];
        autojson json_t *answer = ask_profile(i, false, false);
        ck_assert_str_eq(json_string_value(json_object_get(answer, "profile")),
                         hosts[i].respond.exchange.profile_digest);
        MUST(exchange_take_profile(&exchange, peer, answer, &err));
        ck_assert(peer->has_profile);
        ck_assert_str_eq(peer->profile_digest, hosts[i].respond.exchange.profile_digest);
        ck_assert_str_eq(peer->profile.offer.host, hosts[i].name);
    }
    ck_assert_int_eq(exchange.step, STEP_PROFILE);
    end_known();
}
END_TEST

/* The file of the last profile of host `of` that a has. */
static char *known_path(const char *of)
{
    return string_format("%s/profiles/%s.json", hosts[0].paths.state, of);
}

static void know(const char *of, const struct host *by, int64_t serial, int64_t issued,
                 char *digest)
{
    autofree char *path = known_path(of);
    autofree char *text = profile_text(by, serial, issued, digest);
    MUST(file_write_atomic(path, text, strlen(text), 0600, &err));
}

/* A digest counts for the last profile by this peer's key alone, and as long as that does. */
START_TEST(foreign_digests)
{
    int64_t now = time(NULL);
    char of_b[DIGEST_HEX_SIZE], older[DIGEST_HEX_SIZE], of_c[DIGEST_HEX_SIZE];
    char by_c[DIGEST_HEX_SIZE], stale[DIGEST_HEX_SIZE];
    autofree char *folder = string_format("%s/profiles", hosts[0].paths.state);
    MUST(folder_make(folder, 0700, &err));
    know("c", &hosts[2], 5, now, of_c);
    enum { LAST, OLDER, DAMAGED, BY_ANOTHER, STALE };
    const struct {
        int kept;
        const char *sent;
        enum status status;
        bool known;
    } rows[] = {
        {LAST, of_b, STATUS_OK, true},
        {LAST, older, STATUS_OK, false},
        {LAST, of_c, STATUS_OK, false},
        {LAST, HEX64, STATUS_OK, false},
        {LAST, "1234", STATUS_DATA, false},
        {LAST, "", STATUS_DATA, false},
        {DAMAGED, of_b, STATUS_OK, false},
        {BY_ANOTHER, by_c, STATUS_OK, false},
        {STALE, stale, STATUS_NOT_TRUSTED, false},
    };
    /* As it is told, opened before that, and opened before it was what it is. */
    enum { TOLD, OPENED, CHANGED, WAYS };
    for (size_t n = 0; n < COUNT(rows) * WAYS; n++) {
        struct error failure = ERROR_INIT;
        size_t i = n / WAYS;
        know("b", &hosts[1], 4, now, older);
        begin_known();
        if (n % WAYS == CHANGED)
            exchange_open_last(&exchange);
        know("b", &hosts[1], 5, now, of_b);
        if (rows[i].kept == BY_ANOTHER)
            know("b", &hosts[2], 5, now, by_c);
        if (rows[i].kept == STALE)
            know("b", &hosts[1], 5, now - 1100, stale);
        if (rows[i].kept == DAMAGED) {
            autofree char *path = known_path("b");
            FILE *file = fopen(path, "r+");
            ck_assert(file && fseek(file, 200, SEEK_SET) == 0 && fputc('_', file) == '_');
            fclose(file);
        }
        if (n % WAYS == OPENED)
            exchange_open_last(&exchange);
        ck_assert(!exchange.peers[0].last_file ==
                  (n % WAYS == TOLD || (n % WAYS == OPENED && rows[i].kept == DAMAGED)));
        autojson json_t *body = profile_answer(&hosts[1], &hosts[1], 6, now, NULL, NULL);
        json_object_set_new(body, "profile", json_string(rows[i].sent));
        struct exchange_peer *peer = &exchange.peers[0];
        bool good = exchange_take_profile(&exchange, peer, body, &failure);
        ck_assert_msg(good == (rows[i].status == STATUS_OK) && failure.status == rows[i].status &&
                          peer->has_profile == rows[i].known &&
                          peer->is_unknown == (good && !rows[i].known),
                      "row %zu, way %zu: %d %s", i, n % WAYS, failure.status, failure.message);
        end_known();
    }
}
END_TEST

/* Asking again is for the whole of the same one, right after. */
START_TEST(profiles_asked_again)
{
    begin_known();
    autojson json_t *first = ask_profile(1, true, false);
    autojson json_t *body = NULL;
    MUST(body = exchange_profile_body(&exchange, false, true, &err));
    autojson json_t *other = json_copy(body), *digest = json_copy(body), *whole = json_copy(body);
    json_object_set_new(other, "profile", json_string(HEX64));
    json_object_set_new(digest, "whole", json_false());
    json_object_set_new(whole, "profile", json_loads(exchange.profile_text, 0, NULL));
    json_t *const bodies[] = {other, digest, whole};
    for (size_t i = 0; i < COUNT(bodies); i++)
        MUST_FAIL(STATUS_PROTOCOL, "out of order",
                  respond_to(&hosts[1].respond, "profile", bodies[i], &err));
    autojson json_t *again = NULL;
    MUST(again = respond_to(&hosts[1].respond, "profile", body, &err));
    ck_assert(json_is_object(json_object_get(again, "profile")));
    hosts[1].respond.exchange.step = STEP_PROVEN;
    MUST_FAIL(STATUS_PROTOCOL, "out of order",
              respond_to(&hosts[1].respond, "profile", body, &err));
    /* Who asks is not asked. */
    struct exchange_peer *peer = &exchange.peers[0];
    MUST(exchange_take_profile(&exchange, peer, again, &err));
    MUST_FAIL(STATUS_PROTOCOL, "out of order", exchange_take_profile(&exchange, peer, again, &err));
    autojson json_t *unknown = NULL;
    MUST(unknown = exchange_unknown_body(&exchange, &err));
    MUST_FAIL(STATUS_DATA, "", exchange_take_profile(&exchange, peer, unknown, &err));
    MUST_FAIL(STATUS_DATA, "", respond_to(&hosts[2].respond, "profile", unknown, &err));
}
END_TEST

/* Proofs cost this host a QEMU each: there is an end to them. */
START_TEST(proofs_without_end)
{
    begin(true);
    hellos();
    profiles();
    struct exchange *theirs = &hosts[1].respond.exchange;
    autojson json_t *body = prove_body();
    for (int i = 0; i < EXCHANGE_PROOFS_MAX; i++) {
        struct error failure = ERROR_INIT;
        autojson json_t *answer = respond_to(&hosts[1].respond, "prove", body, &failure);
        ck_assert_msg(answer || i == 0, "%d: %s", i, failure.message); /* there is no QEMU */
        give_table(&theirs->table);
    }
    MUST_FAIL(STATUS_PROTOCOL, "more than", respond_to(&hosts[1].respond, "prove", body, &err));
}
END_TEST

/* What a guest did not see is nothing that it was not to see, nor known before the first proof. */
START_TEST(unshown_without_a_look)
{
    static const char *const features[] = {"avx", "avx2"};
    hosts[0].self.prove = true;
    MUST(exchange_begin(&exchange, &hosts[0].self, NULL, 1, &err));
    MUST(greet(1, &err));
    MUST(exchange_choose_machine(&exchange, &err));
    give_profile(&hosts[0], &exchange);
    give_profile(&hosts[1], &hosts[1].respond.exchange);
    autojson json_t *body = NULL, *answer = NULL;
    MUST(body = exchange_profile_body(&exchange, true, false, &err));
    MUST(answer = respond_to(&hosts[1].respond, "profile", body, &err));
    for (size_t i = 0; i < COUNT(features); i++) {
        struct exchange *theirs = &hosts[1].respond.exchange;
        autojson json_t *prove = json_pack("{s:s, s:{s:[s], s:[]}, s:n, s:{s:{}, s:{}, s:{}}}",
                                           "exchange", exchange.id, "unshown", "a", features[i],
                                           "b", "baseline", "arguments", "machine", "smp", "accel");
        theirs->proofs = i > 0; /* avx2 was never to be seen: b has none */
        MUST_FAIL(STATUS_PROTOCOL, "was not to see yet",
                  respond_to(&hosts[1].respond, "prove", prove, &err));
    }
}
END_TEST

/* What hello must not say: whose it is, and of the guest's machine. */
START_TEST(foreign_hellos)
{
    static const struct {
        const char *member, *value;
        enum status status;
    } rows[] = {
        {"exchange", "\"0123456789abcdef0123456789abcdef\"", STATUS_PROTOCOL},
        {"versions", "[2]", STATUS_PROTOCOL},
        {"table", "1", STATUS_PROTOCOL},
        {"pin", "\"sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\"", STATUS_NOT_TRUSTED},
        {"vm", "\"web2\"", STATUS_INCOMPATIBLE},
        {"vm", "\"../web1\"", STATUS_DATA},
        {"host", "\"b\"", STATUS_INCOMPATIBLE}, /* its own */
        {"host", "\"a,b\"", STATUS_DATA},
        {"nonce", "\"\"", STATUS_DATA},
        {"incoming", "65536", STATUS_DATA},
        {"machine", "\"q35,accel=kvm\"", STATUS_DATA},
        {"machines", "[{}]", STATUS_DATA},
        {"accel", "\"hvf\"", STATUS_DATA},
        {"kernel_irqchip", "\"on,x=y\"", STATUS_DATA},
        {"qemu", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"", STATUS_DATA},
        {"visible", "1", STATUS_DATA},
        {"visible", "{\"version\":1}", STATUS_DATA},
        {"visible", "{\"version\":" VISIBLE_VERSION ",\"things\":[{}]}", STATUS_DATA},
        {"visible",
         "{\"version\":" VISIBLE_VERSION
         ",\"things\":[{\"option\":\"nothing\",\"label\":\"\",\"id\":\"\","
         "\"properties\":[]}]}",
         STATUS_DATA},
        {"more", "1", STATUS_DATA},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autoexchange struct exchange theirs = {0};
        struct error failure = ERROR_INIT;
        begin(false);
        autojson json_t *hello = NULL;
        MUST(hello = exchange_hello_body(&exchange, &err));
        json_object_set_new(hello, rows[i].member,
                            json_loads(rows[i].value, JSON_DECODE_ANY, NULL));
        MUST(exchange_begin(&theirs, &hosts[1].self, exchange.id, 1, &err));
        bool good =
            exchange_take_hello(&theirs, &theirs.peers[0], hello, &hosts[0].entry, &failure);
        ck_assert_msg(!good && failure.status == rows[i].status, "row %zu: %s = %s: %d %s", i,
                      rows[i].member, rows[i].value, failure.status, failure.message);
        exchange_free(&exchange);
    }
}
END_TEST

/* Stored profiles of hosts that are not asked. */
START_TEST(assumed)
{
    int64_t now = time(NULL);
    const struct {
        const struct host *signer;
        const struct trust_entry *entry;
        int64_t issued;
        enum status status;
        const char *words;
    } rows[] = {
        {&hosts[1], &hosts[1].entry, now, STATUS_OK, ""},
        {&hosts[1], &hosts[1].entry, now - 900, STATUS_OK, ""},
        {&hosts[1], &hosts[1].entry, now - 1100, STATUS_NOT_TRUSTED, "expired"},
        {&hosts[1], &hosts[1].entry, now + 400, STATUS_NOT_TRUSTED, "clocks"},
        {&hosts[2], &hosts[1].entry, now, STATUS_NOT_TRUSTED, "not by a key of b"},
        {&hosts[0], &hosts[0].entry, now, STATUS_INCOMPATIBLE, "a party already"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char digest[DIGEST_HEX_SIZE];
        struct error failure = ERROR_INIT;
        autofree char *text = profile_text(rows[i].signer, 5, rows[i].issued, digest);
        begin(false);
        bool good = exchange_assume(&exchange, text, rows[i].entry, "FILE", &failure);
        ck_assert_msg(failure.status == rows[i].status && good == (rows[i].status == STATUS_OK),
                      "row %zu: %d %s", i, failure.status, failure.message);
        if (!good)
            ck_assert_msg(strstr(failure.message, rows[i].words), "row %zu: %s", i,
                          failure.message);
        ck_assert_uint_eq(exchange.assumed_count >= 1, good || i == 5);
        /* every byte of it counts */
        size_t length = strlen(text);
        for (size_t k = 0; good && i == 0 && k < length; k += 7) {
            char kept = text[k];
            text[k] = kept == 'A' ? 'B' : 'A';
            ck_assert_msg(!exchange_assume(&exchange, text, rows[i].entry, "FILE", NULL),
                          "byte %zu", k);
            text[k] = kept;
        }
        if (good) /* twice */
            MUST_FAIL(STATUS_INCOMPATIBLE, "b is a party already",
                      exchange_assume(&exchange, text, rows[i].entry, "FILE", &err));
        exchange_free(&exchange);
    }
    hosts[1].entry.expires = now - 1;
    char digest[DIGEST_HEX_SIZE];
    autofree char *text = profile_text(&hosts[1], 5, now, digest);
    begin(false);
    MUST_FAIL(STATUS_NOT_TRUSTED, "trusted now",
              exchange_assume(&exchange, text, &hosts[1].entry, "FILE", &err));
    ck_assert_uint_eq(exchange.assumed_count, 0);
}
END_TEST

/* The agent's own table of exchanges. */
START_TEST(responder_requests)
{
    struct responder *responder = NULL;
    hosts[1].config.qemu_binaries = (struct strlist){0};
    ck_assert(strlist_push(&hosts[1].config.qemu_binaries, "/bin/false"));
    const struct responder_setup setup = {&hosts[1].paths, &hosts[1].config, hosts[1].identity,
                                          NULL};
    MUST(responder = responder_new(&setup, &err));
    static const char *const known[] = {"hello", "profile", "prove", "propose", "commit", "cancel"};
    static const char *const unknown[] = {"", "Hello", "agreement", "incoming", "hello2", "hell"};
    for (size_t i = 0; i < COUNT(known); i++)
        ck_assert(responder_knows(known[i]));
    for (size_t i = 0; i < COUNT(unknown); i++)
        ck_assert(!responder_knows(unknown[i]));
    json_t *answer = NULL;
    autojson json_t *nobody = json_pack("{s:s}", "exchange", "0123456789abcdef0123456789abcdef");
    for (size_t i = 1; i < COUNT(known); i++)
        if (strcmp(known[i], "commit") != 0)
            MUST_FAIL(STATUS_PROTOCOL, "start again",
                      responder_handle(responder, &hosts[0].entry, "::1", known[i], nobody, &answer,
                                       &err));
    MUST_FAIL(STATUS_DATA, "commit",
              responder_handle(responder, &hosts[0].entry, "::1", "commit", nobody, &answer, &err));
    MUST_FAIL(STATUS_DATA, "names no VM",
              responder_handle(responder, &hosts[0].entry, "::1", "hello", nobody, &answer, &err));
    autojson json_t *empty = json_object();
    MUST_FAIL(STATUS_DATA, "names no exchange",
              responder_handle(responder, &hosts[0].entry, "::1", "hello", empty, &answer, &err));
    /* It has no QEMU: that is its own fault, and said. */
    begin(false);
    autojson json_t *hello = exchange_hello_body(&exchange, NULL);
    MUST_FAIL(STATUS_CONFIG, "/bin/false",
              responder_handle(responder, &hosts[0].entry, "::1", "hello", hello, &answer, &err));
    ck_assert_ptr_null(answer);
    responder_free(responder);
    strlist_free(&hosts[1].config.qemu_binaries);
}
END_TEST

int main(void)
{
    static const struct unit_fixture fixture = {.setup = setup, .teardown = teardown};
    const TTest *const tests[] = {three_agree,
                                  three_agree_without_a_proof,
                                  commit_without_an_exchange,
                                  another_exchange,
                                  proposals,
                                  proposals_without_a_proof,
                                  given_baselines,
                                  replacing,
                                  no_room,
                                  much_happens_in_between,
                                  assumed,
                                  foreign_profiles,
                                  profiles_by_digest,
                                  foreign_digests,
                                  profiles_asked_again,
                                  foreign_hellos,
                                  proofs_without_end,
                                  unshown_without_a_look,
                                  responder_requests,
                                  devices_of_two,
                                  devices_must_be_known,
                                  hello_backends};
    return unit_run_with("exchange", tests, COUNT(tests), &fixture);
}
