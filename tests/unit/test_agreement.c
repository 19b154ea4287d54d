/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Agreement, approvals and the document that is kept: only a whole and untouched one counts.
 */
#include "unit.h"

#include <sys/stat.h>

#include "base/file.h"
#include "vm/agreement.h"

#define HEX(c)                                                                                     \
    c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c  \
        c c c c c c c c c c c c c c c c c

#define HEX43 "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz8"

/* Three hosts, sorted by pin; the last one is a stranger. */
static struct identity *hosts[3];
static const char *const names[] = {"a", "b", "c"};
static const char *const nonces[] = {HEX("a"), HEX("b"), HEX("c")};

static int compare(const void *a, const void *b)
{
    return strcmp((*(struct identity *const *)a)->pin, (*(struct identity *const *)b)->pin);
}

static void make_hosts(void)
{
    for (size_t i = 0; i < COUNT(hosts); i++) {
        autofree char *folder = in_folder(names[i]);
        MUST(identity_create(folder, &err));
        MUST(hosts[i] = identity_load(folder, &err));
    }
    qsort(hosts, COUNT(hosts), sizeof(hosts[0]), compare);
}

static void free_hosts(void)
{
    for (size_t i = 0; i < COUNT(hosts); i++)
        identity_free(hosts[i]);
}

/* An agreement of the first `count` hosts; *json is what it gives. */
static void make_agreement(size_t count, struct agreement *agreement, json_t **json)
{
    *agreement = (struct agreement){.vm = strdup("web1"),
                                    .machine = strdup("pc-q35-7.2"),
                                    .kernel_irqchip = strdup(""),
                                    .issued = 1700000000,
                                    .party_count = count};
    agreement->parties = calloc(count, sizeof(*agreement->parties));
    for (size_t i = 0; i < count; i++) {
        struct agreement_party *party = &agreement->parties[i];
        party->host = strdup(names[i]);
        memcpy(party->pin, hosts[i]->pin, PIN_SIZE);
        memcpy(party->nonce, nonces[i], NONCE_SIZE);
        memcpy(party->profile, HEX("0"), DIGEST_HEX_SIZE);
        memcpy(party->table, HEX("1"), DIGEST_HEX_SIZE);
        party->role = i == 0 ? ROLE_SOURCE : ROLE_DESTINATION;
        MUST(cpu_request_parse("host,avx2=off", &party->request, &err));
    }
    struct baseline *baseline = &agreement->baseline;
    static const struct cpu_identity identity = {"GenuineIntel", 6, 85, 7, "X", 22, 0x80000008};
    baseline->identity = identity;
    baseline->phys_bits = 40;
    baseline->accel = strdup("tcg");
    ck_assert(featureset_add(&baseline->features, "lm"));
    struct agreement_proof *proof = &agreement->proof;
    autojson json_t *table =
        json_pack("{s:i, s:i, s:[[i, i, i, i, i, i]], s:[[i, s]]}", "version", 1, "mode", 64,
                  "cpuid", 0, 0, 13, 1, 2, 3, "msr", 139, "#GP");
    proof->made = true;
    MUST(guest_table_from_json(table, &proof->table, &err));
    ck_assert(strlist_push(&proof->accepted, "1.0") && strlist_push(&proof->accepted, "msr.0x8b"));
    ck_assert(featureset_add(&proof->masked, "smap"));
    ck_assert_ptr_nonnull(*json = agreement_to_json(agreement));
}

static char *sign(size_t host, const char *type, json_t *payload, char digest[DIGEST_HEX_SIZE])
{
    char *text = NULL;
    MUST(envelope_sign_digest(hosts[host], type, payload, &text, digest, &err));
    return text;
}

static char *approve(size_t host, const char *digest, const char *nonce)
{
    char *text = NULL;
    MUST(text = approval_make(hosts[host], "web1", digest, nonce, &err));
    return text;
}

static json_t *document_of(const char *agreement, const char *first, const char *second)
{
    autostrlist struct strlist approvals = {0};
    json_t *document = NULL;
    if (first)
        ck_assert(strlist_push(&approvals, first));
    if (second)
        ck_assert(strlist_push(&approvals, second));
    MUST(document = agreement_document(agreement, &approvals, &err));
    return document;
}

static void opens(json_t *document, const char *digest)
{
    autoagreement struct agreement agreement = {0};
    char found[DIGEST_HEX_SIZE];
    MUST(agreement_document_open(document, &agreement, found, &err));
    ck_assert_str_eq(found, digest);
    ck_assert_str_eq(agreement.vm, "web1");
}

static void opens_not(json_t *document, enum status status, const char *words)
{
    struct error err = ERROR_INIT;
    struct agreement agreement = {0};
    ck_assert(!agreement_document_open(document, &agreement, NULL, &err));
    check_error(&err, status, words, "agreement_document_open");
    ck_assert_ptr_null(agreement.vm);
}

static void find_pending(const char *vm, char digest[DIGEST_HEX_SIZE])
{
    struct agreement_pending pending;
    agreement_load_pending(unit_folder, vm, &pending);
    memcpy(digest, pending.digest, DIGEST_HEX_SIZE);
}

START_TEST(round_trip)
{
    make_hosts();
    autoagreement struct agreement agreement, back = {0};
    autojson json_t *json = NULL;
    make_agreement(2, &agreement, &json);
    MUST(agreement_from_json(json, &back, &err));
    autojson json_t *again = agreement_to_json(&back);
    autofree char *one = json_to_text(json), *two = json_to_text(again);
    ck_assert_str_eq(one, two);
    ck_assert_ptr_eq(agreement_find_party(&back, hosts[1]->pin), &back.parties[1]);
    ck_assert_ptr_null(agreement_find_party(&back, hosts[2]->pin));
    ck_assert(back.proof.made && back.proof.table.count == 3 && back.proof.accepted.count == 2);
    ck_assert(featureset_has(&back.proof.masked, "smap"));
    ck_assert_str_eq(back.parties[1].table, agreement.parties[1].table);
    enum vm_role role;
    ck_assert(vm_role_parse("destination", &role) && role == ROLE_DESTINATION);
    ck_assert(!vm_role_parse("Source", &role) && !vm_role_parse("", &role));
    free_hosts();
}
END_TEST

START_TEST(without_a_proof)
{
    make_hosts();
    autoagreement struct agreement agreement, back = {0};
    autojson json_t *json = NULL;
    make_agreement(2, &agreement, &json);
    agreement_proof_free(&agreement.proof);
    autojson json_t *half = agreement_to_json(&agreement);
    MUST_FAIL(STATUS_DATA, "of some parties only", agreement_from_json(half, &back, &err));
    agreement.parties[0].table[0] = '\0';
    autojson json_t *other_half = agreement_to_json(&agreement);
    MUST_FAIL(STATUS_DATA, "of some parties only", agreement_from_json(other_half, &back, &err));
    agreement.parties[1].table[0] = '\0';
    autojson json_t *whole = agreement_to_json(&agreement);
    ck_assert(json_is_null(json_object_get(whole, "proof")));
    MUST(agreement_from_json(whole, &back, &err));
    ck_assert(!back.proof.made && back.proof.table.count == 0 && !*back.parties[0].table);
    free_hosts();
}
END_TEST

/* The payload with one member changed. */
START_TEST(bad_payloads)
{
    static const struct {
        const char *path, *value; /* path: members and indices; value NULL: removed */
    } rows[] = {
        {"version", "1"},
        {"version", "0"},
        {"version", "\"1\""},
        {"version", NULL},
        {"more", "1"},
        {"vm", "\"a/b\""},
        {"vm", "\"\""},
        {"machine", "\"q35,accel=kvm\""},
        {"machine", "\"Q35\""},
        {"kernel_irqchip", "\"on,x=y\""},
        {"cpu_pm", "0"},
        {"issued", "-1"},
        {"proof", "\"some\""},
        {"proof", NULL},
        {"proof", "null"},
        {"proof", "{}"},
        {"proof/more", "1"},
        {"proof/table", NULL},
        {"proof/table", "null"},
        {"proof/table", "{}"},
        {"proof/table/mode", "16"},
        {"proof/table/cpuid", "[]"},
        {"proof/table/cpuid/0/2", "4294967296"},
        {"proof/accepted", "null"},
        {"proof/accepted", "[\"7.0\", \"1.0\"]"},
        {"proof/accepted", "[\"7.0\", \"7.0\"]"},
        {"proof/accepted", "[\"smap\"]"},
        {"proof/accepted", "[7]"},
        {"proof/masked", "{}"},
        {"proof/masked", "[\"smap\", \"smap\"]"},
        {"proof/masked", "[\"sm,ap\"]"},
        {"parties", "{}"},
        {"parties", "[]"},
        {"parties", "[1,2]"},
        {"parties/0/pin", "\"sha256//\""},
        {"parties/0/host", "\"A\""},
        {"parties/0/host", "\"a b\""},
        {"parties/0/nonce", "\"0\""},
        {"parties/0/profile", "\"\""},
        {"parties/0/table", "\"\""},
        {"parties/0/table", "\"0\""},
        {"parties/0/table", "null"},
        {"parties/1/role", "\"witness\""},
        {"parties/1/request", "{}"},
        {"parties/1/request/model", "\"a,b\""},
        {"parties/1/request/on", "[\"a,b\"]"},
        {"parties/1/more", "1"},
        {"baseline/phys_bits", "4294967336"},
        {"version", "4294967297"},
        {"baseline", "{}"},
        {"baseline/accel", "\"hvf\""},
        {"baseline/features", "[\"lm\",\"lm\"]"},
        {"baseline/features", "[\"LM\"]"},
        {"baseline/phys_bits", "65"},
        {"baseline/identity/vendor", "\"GenuineInte\""},
        {"baseline/identity/vendor", "\"Genuine,ntel\""},
        {"baseline/identity/stepping", "16"},
    };
    make_hosts();
    for (size_t i = 0; i < COUNT(rows); i++) {
        autoagreement struct agreement agreement, back = {0};
        autojson json_t *json = NULL;
        make_agreement(2, &agreement, &json);
        autostrlist struct strlist steps = {0};
        ck_assert(strlist_split(&steps, rows[i].path, '/'));
        json_t *place = json;
        for (size_t k = 0; k + 1 < steps.count; k++)
            place = json_is_array(place) ? json_array_get(place, (size_t)atoi(steps.items[k]))
                                         : json_object_get(place, steps.items[k]);
        const char *member = steps.items[steps.count - 1];
        if (json_is_array(place))
            json_array_set_new(place, (size_t)atoi(member),
                               json_loads(rows[i].value, JSON_DECODE_ANY, NULL));
        else if (rows[i].value)
            json_object_set_new(place, member, json_loads(rows[i].value, JSON_DECODE_ANY, NULL));
        else
            json_object_del(place, member);
        struct error err = ERROR_INIT;
        ck_assert_msg(!agreement_from_json(json, &back, &err), "%s = %s", rows[i].path,
                      rows[i].value);
        ck_assert_msg(err.status == STATUS_DATA, "%s: %d: %s", rows[i].path, err.status,
                      err.message);
        ck_assert_ptr_null(back.vm);
    }
    free_hosts();
}
END_TEST

START_TEST(order_of_parties)
{
    make_hosts();
    static const size_t orders[][3] = {{1, 0, 2}, {0, 0, 1}, {0, 1, 1}, {2, 1, 0}, {0, 2, 1}};
    for (size_t i = 0; i < COUNT(orders); i++) {
        autoagreement struct agreement agreement, back = {0};
        autojson json_t *json = NULL, *parties = json_array();
        make_agreement(3, &agreement, &json);
        json_t *right = json_object_get(json, "parties");
        for (size_t k = 0; k < 3; k++)
            json_array_append(parties, json_array_get(right, orders[i][k]));
        json_object_set(json, "parties", parties);
        MUST_FAIL(STATUS_DATA, "not in order", agreement_from_json(json, &back, &err));
    }
    free_hosts();
}
END_TEST

START_TEST(approvals)
{
    make_hosts();
    autoagreement struct agreement agreement;
    autojson json_t *json = NULL;
    char digest[DIGEST_HEX_SIZE], pin[PIN_SIZE] = "";
    make_agreement(2, &agreement, &json);
    autofree char *text = sign(0, AGREEMENT_TYPE, json, digest);
    autofree char *good = approve(1, digest, nonces[1]);
    MUST(approval_check(good, &agreement, digest, pin, &err));
    ck_assert_str_eq(pin, hosts[1]->pin);

    autofree char *other_digest = approve(1, HEX("f"), nonces[1]);
    autofree char *other_nonce = approve(1, digest, nonces[0]);
    autofree char *stranger = approve(2, digest, nonces[1]);
    autofree char *other_vm = NULL;
    MUST(other_vm = approval_make(hosts[1], "web2", digest, nonces[1], &err));
    const char *const bad[] = {other_digest, other_nonce, stranger, other_vm};
    for (size_t i = 0; i < COUNT(bad); i++)
        MUST_FAIL(STATUS_NOT_TRUSTED, "approval",
                  approval_check(bad[i], &agreement, digest, pin, &err));
    /* Another statement by the same key. */
    MUST_FAIL(STATUS_DATA, APPROVAL_TYPE, approval_check(text, &agreement, digest, pin, &err));
    MUST_FAIL(STATUS_DATA, "", approval_check("{}", &agreement, digest, pin, &err));
    MUST_FAIL(STATUS_DATA, "", approval_check("", &agreement, digest, pin, &err));
    /* Every byte counts. */
    size_t length = strlen(good);
    for (size_t i = 0; i < length; i++) {
        char kept = good[i];
        good[i] = kept == 'A' ? 'B' : 'A';
        struct error err = ERROR_INIT;
        ck_assert_msg(!approval_check(good, &agreement, digest, pin, &err), "byte %zu", i);
        ck_assert_msg(err.status == STATUS_DATA, "byte %zu: %d %s", i, err.status, err.message);
        good[i] = kept;
    }
    MUST(approval_check(good, &agreement, digest, pin, &err));
    free_hosts();
}
END_TEST

START_TEST(documents)
{
    make_hosts();
    autoagreement struct agreement agreement;
    autojson json_t *json = NULL;
    char digest[DIGEST_HEX_SIZE];
    make_agreement(3, &agreement, &json);
    autofree char *text = sign(0, AGREEMENT_TYPE, json, digest);
    autofree char *by_self = approve(0, digest, nonces[0]), *by_b = approve(1, digest, nonces[1]);
    autofree char *by_c = approve(2, digest, nonces[2]),
                  *of_other = approve(2, HEX("1"), nonces[2]);
    const struct {
        const char *first, *second;
        enum status status;
        const char *words;
    } rows[] = {
        {by_b, by_c, STATUS_OK, ""},
        {by_c, by_b, STATUS_OK, ""},
        {NULL, NULL, STATUS_NOT_TRUSTED, "has not approved"},
        {by_b, NULL, STATUS_NOT_TRUSTED, "c has not approved"},
        {by_c, NULL, STATUS_NOT_TRUSTED, "b has not approved"},
        {by_b, by_b, STATUS_DATA, "two approvals"},
        {by_b, by_self, STATUS_DATA, "two approvals"},
        {by_b, of_other, STATUS_NOT_TRUSTED, "another agreement"},
        {by_b, text, STATUS_DATA, APPROVAL_TYPE},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autojson json_t *document = document_of(text, rows[i].first, rows[i].second);
        if (rows[i].status == STATUS_OK)
            opens(document, digest);
        else
            opens_not(document, rows[i].status, rows[i].words);
    }
    /* Signed by who is no party of it, though all of them approve. */
    autojson json_t *two = NULL;
    autoagreement struct agreement of_two;
    make_agreement(2, &of_two, &two);
    autofree char *foreign = sign(2, AGREEMENT_TYPE, two, digest);
    autofree char *one = approve(0, digest, nonces[0]), *other = approve(1, digest, nonces[1]);
    autojson json_t *strange = document_of(foreign, one, other);
    opens_not(strange, STATUS_NOT_TRUSTED, "not signed by a party");
    free_hosts();
}
END_TEST

START_TEST(bad_documents)
{
    make_hosts();
    autoagreement struct agreement agreement;
    autojson json_t *json = NULL;
    char digest[DIGEST_HEX_SIZE];
    make_agreement(2, &agreement, &json);
    autofree char *text = sign(1, AGREEMENT_TYPE, json, digest);
    autofree char *approval = approve(0, digest, nonces[0]);
    autojson json_t *good = document_of(text, approval, NULL);
    opens(good, digest);
    static const struct {
        const char *member, *value;
    } rows[] = {
        {"version", "1"},
        {"version", "\"2\""},
        {"version", "4294967297"},
        {"agreement", "{}"},
        {"agreement", "\"x\""},
        {"agreement", "1"},
        {"agreement", "[]"},
        {"approvals", "{}"},
        {"approvals", "[1]"},
        {"approvals", "[\"x\"]"},
        {"approvals", "[{}]"},
        {"approvals", "1"},
        {"more", "1"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autojson json_t *bad = json_deep_copy(good);
        json_object_set_new(bad, rows[i].member, json_loads(rows[i].value, JSON_DECODE_ANY, NULL));
        opens_not(bad, STATUS_DATA, "");
    }
    /* One that was signed again with the same key after a change: the approval is of the old one.
     */
    json_object_set_new(json, "issued", json_integer(1700000001));
    autofree char *changed = sign(1, AGREEMENT_TYPE, json, NULL);
    autojson json_t *tampered = document_of(changed, approval, NULL);
    opens_not(tampered, STATUS_NOT_TRUSTED, "another agreement");
    MUST_FAIL(STATUS_DATA, "", agreement_document("x", &(struct strlist){0}, &err));
    free_hosts();
}
END_TEST

START_TEST(kept)
{
    make_hosts();
    autoagreement struct agreement agreement;
    autojson json_t *json = NULL, *back = NULL, *none = NULL;
    char digest[DIGEST_HEX_SIZE];
    make_agreement(2, &agreement, &json);
    autofree char *text = sign(0, AGREEMENT_TYPE, json, digest);
    autofree char *approval = approve(1, digest, nonces[1]);
    autojson json_t *document = document_of(text, approval, NULL);
    autofree char *pending = in_folder("agreements/web1.pending");
    autofree char *path = in_folder("agreements/web1.json");
    MUST(agreement_load(unit_folder, "web1", &none, &err));
    ck_assert_ptr_null(none);
    MUST(agreement_store_pending(unit_folder, "web1", text, &err));
    ck_assert_int_eq(access(pending, F_OK), 0);
    MUST(agreement_store(unit_folder, "web1", document, &err));
    ck_assert_int_ne(access(pending, F_OK), 0);
    MUST(agreement_load(unit_folder, "web1", &back, &err));
    opens(back, digest);
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    agreement_forget_pending(unit_folder, "web1"); /* there is none: fine */
    ck_assert_int_eq(chmod(path, 0666), 0);
    MUST_FAIL(STATUS_NOT_TRUSTED, path, agreement_load(unit_folder, "web1", &none, &err));
    MUST(file_write_atomic(path, "{", 1, 0600, &err));
    MUST_FAIL(STATUS_DATA, path, agreement_load(unit_folder, "web1", &none, &err));
    MUST_FAIL(STATUS_CANNOT_WRITE, "", agreement_store("/dev/null", "web1", document, &err));
    free_hosts();
}
END_TEST

/* One that the makers' maximum allows, with approvals of all, is small enough to be kept and sent;
 * one more is not taken. */
START_TEST(many_parties)
{
    make_hosts();
    static const size_t counts[] = {1, 3, PARTIES_MAX};
    for (size_t c = 0; c < COUNT(counts); c++) {
        autoagreement struct agreement agreement, back = {0};
        autojson json_t *json = NULL, *parties = json_array();
        make_agreement(counts[c] < 3 ? counts[c] : 3, &agreement, &json);
        for (size_t i = 0; counts[c] > 3 && i <= counts[c]; i++) {
            json_t *party = json_deep_copy(json_array_get(json_object_get(json, "parties"), 0));
            autofree char *pin = string_format("sha256//%042zuA=", i);
            json_object_set_new(party, "pin", json_string(pin));
            if (i < counts[c])
                json_array_append_new(parties, party);
            else
                json_decref(party);
        }
        if (counts[c] > 3)
            json_object_set(json, "parties", parties);
        MUST(agreement_from_json(json, &back, &err));
        ck_assert_uint_eq(back.party_count, counts[c]);
        autofree char *text = json_to_text(json);
        autofree char *approval = approve(0, HEX("0"), nonces[0]);
        size_t room = AGREEMENT_SIZE_MAX - strlen(text) * 4 / 3 - 1000;
        ck_assert_uint_lt(counts[c] * (strlen(approval) + 1), room - 40000); /* a real table */
        if (counts[c] < PARTIES_MAX)
            continue;
        json_t *party = json_deep_copy(json_array_get(parties, 0));
        json_object_set_new(party, "pin", json_string("sha256//" HEX43 "="));
        json_array_append_new(parties, party);
        MUST_FAIL(STATUS_DATA, "parties are not valid", agreement_from_json(json, &back, &err));
    }
    free_hosts();
}
END_TEST

/* Hosts that were not asked. */
START_TEST(assumed_hosts)
{
    make_hosts();
    autoagreement struct agreement agreement;
    autojson json_t *json = NULL;
    make_agreement(2, &agreement, &json);
    const char *a = hosts[0]->pin, *c = hosts[2]->pin;
    const char *low = "sha256//++++++++++++++++++++++++++++++++++++++++++A=";
    const char *high = "sha256//zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz8=";
    const struct {
        const char *first, *second, *host, *profile;
        bool good;
    } rows[] = {
        {c, NULL, "c", HEX("0"), true},
        {low, c, "c", HEX("0"), true},
        {low, high, "c", HEX("0"), true},
        {high, low, "c", HEX("0"), false},
        {c, c, "c", HEX("0"), false},
        {a, NULL, "c", HEX("0"), false},
        {low, a, "c", HEX("0"), false},
        {c, NULL, "C", HEX("0"), false},
        {c, NULL, "", HEX("0"), false},
        {c, NULL, "c", "", false},
        {c, NULL, "c", HEX("g"), false},
        {"", NULL, "c", HEX("0"), false},
        {"sha256//", NULL, "c", HEX("0"), false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autoagreement struct agreement back = {0};
        struct error err = ERROR_INIT;
        json_t *list = json_array();
        const char *const pins[] = {rows[i].first, rows[i].second};
        for (size_t k = 0; k < 2 && pins[k]; k++)
            json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "host", rows[i].host, "pin",
                                                  pins[k], "profile", rows[i].profile));
        json_object_set_new(json, "assumed", list);
        bool good = agreement_from_json(json, &back, &err);
        ck_assert_msg(good == rows[i].good, "row %zu: %s", i, err.message);
        if (!good) {
            ck_assert_int_eq(err.status, STATUS_DATA);
            continue;
        }
        ck_assert_uint_eq(back.assumed_count, rows[i].second ? 2 : 1);
        autojson json_t *again = agreement_to_json(&back);
        ck_assert(json_equal(again, json));
        /* none of them has promised anything */
        ck_assert_ptr_null(agreement_find_party(&back, rows[i].first));
    }
    static const char *const bad[] = {"{}", "1", "[1]", "[{}]", "null"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct agreement back = {0};
        json_object_set_new(json, "assumed", json_loads(bad[i], JSON_DECODE_ANY, NULL));
        MUST_FAIL(STATUS_DATA, "", agreement_from_json(json, &back, &err));
    }
    free_hosts();
}
END_TEST

/* An assumed host's approval counts nothing, and the document is whole without it. */
START_TEST(assumed_approve_nothing)
{
    make_hosts();
    autoagreement struct agreement agreement;
    autojson json_t *json = NULL;
    char digest[DIGEST_HEX_SIZE];
    make_agreement(2, &agreement, &json);
    json_object_set_new(
        json, "assumed",
        json_pack("[{s:s, s:s, s:s}]", "host", "c", "pin", hosts[2]->pin, "profile", HEX("0")));
    autofree char *text = sign(0, AGREEMENT_TYPE, json, digest);
    autofree char *by_b = approve(1, digest, nonces[1]), *by_c = approve(2, digest, nonces[2]);
    autojson json_t *whole = document_of(text, by_b, NULL), *more = document_of(text, by_b, by_c),
                    *other = document_of(text, by_c, NULL);
    opens(whole, digest);
    opens_not(more, STATUS_NOT_TRUSTED, "not by a party");
    opens_not(other, STATUS_NOT_TRUSTED, "not by a party");
    autofree char *foreign = sign(2, AGREEMENT_TYPE, json, digest);
    autojson json_t *signed_by_c = document_of(foreign, by_b, NULL);
    opens_not(signed_by_c, STATUS_NOT_TRUSTED, "not signed by a party");
    free_hosts();
}
END_TEST

/* What could not be read again, nor sent, is not written. */
START_TEST(too_large_a_document)
{
    autofree char *text = malloc(AGREEMENT_SIZE_MAX);
    memset(text, 'a', AGREEMENT_SIZE_MAX - 1);
    text[AGREEMENT_SIZE_MAX - 1] = '\0';
    autojson json_t *large = json_pack("{s:s}", "text", text), *none = NULL;
    MUST_FAIL(STATUS_INCOMPATIBLE, "too large",
              agreement_store_committing(unit_folder, "web1", large, &err));
    MUST_FAIL(STATUS_INCOMPATIBLE, "too large", agreement_store(unit_folder, "web1", large, &err));
    MUST(agreement_load(unit_folder, "web1", &none, &err));
    ck_assert_ptr_null(none);
}
END_TEST

/* Pending, committing, kept: each goes when the next comes, and none counts for another. */
START_TEST(transitions)
{
    make_hosts();
    autoagreement struct agreement agreement;
    autojson json_t *json = NULL, *back = NULL, *none = NULL;
    char digest[DIGEST_HEX_SIZE], found[DIGEST_HEX_SIZE] = "x";
    make_agreement(2, &agreement, &json);
    autofree char *text = sign(0, AGREEMENT_TYPE, json, digest);
    autofree char *approval = approve(1, digest, nonces[1]);
    autojson json_t *document = document_of(text, approval, NULL);
    autofree char *pending = in_folder("agreements/web1.pending");
    autofree char *committing = in_folder("agreements/web1.committing");
    find_pending("web1", found);
    ck_assert_str_eq(found, "");
    MUST(agreement_load_committing(unit_folder, "web1", &none, &err));
    ck_assert_ptr_null(none);
    MUST(agreement_store_pending(unit_folder, "web1", text, &err));
    find_pending("web1", found);
    ck_assert_str_eq(found, digest);
    find_pending("web2", found);
    ck_assert_str_eq(found, "");
    MUST(agreement_store_committing(unit_folder, "web1", document, &err));
    MUST(agreement_load_committing(unit_folder, "web1", &back, &err));
    ck_assert(json_equal(back, document));
    MUST(agreement_load(unit_folder, "web1", &none, &err));
    ck_assert_ptr_null(none);
    struct stat st;
    ck_assert_int_eq(stat(committing, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    MUST(agreement_store(unit_folder, "web1", document, &err));
    ck_assert(access(pending, F_OK) != 0 && access(committing, F_OK) != 0);
    /* what is damaged counts as nothing, or is an error, never as an agreement */
    MUST(file_write_atomic(pending, "{", 1, 0600, &err));
    find_pending("web1", found);
    ck_assert_str_eq(found, "");
    MUST(agreement_store_pending(unit_folder, "web1", approval, &err)); /* another statement */
    find_pending("web1", found);
    ck_assert_str_eq(found, "");
    MUST(file_write_atomic(committing, "{", 1, 0600, &err));
    MUST_FAIL(STATUS_DATA, committing, agreement_load_committing(unit_folder, "web1", &none, &err));
    agreement_forget_committing(unit_folder, "web1");
    MUST(agreement_load_committing(unit_folder, "web1", &none, &err));
    ck_assert_ptr_null(none);
    free_hosts();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {round_trip,
                                  without_a_proof,
                                  bad_payloads,
                                  order_of_parties,
                                  approvals,
                                  documents,
                                  bad_documents,
                                  kept,
                                  many_parties,
                                  assumed_hosts,
                                  assumed_approve_nothing,
                                  too_large_a_document,
                                  transitions};
    return unit_run("agreement", tests, COUNT(tests));
}
