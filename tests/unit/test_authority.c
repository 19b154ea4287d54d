/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Trust entries of a certificate authority: whom it vouches for, until when, and what is kept.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <time.h>

#include "agent/agent_pipe.h"
#include "base/file.h"
#include "base/json.h"
#include "peer/trust.h"
#include "unit.h"

#define DAY (24L * 3600)

struct signer {
    EVP_PKEY *key;
    X509 *certificate;
};

static void add_extension(X509 *certificate, int kind, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, kind, value);
    ck_assert_ptr_nonnull(extension);
    ck_assert_int_eq(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

/* by: NULL: signed by itself. names: as in subjectAltName, or NULL. */
static struct signer make(const struct signer *by, bool is_authority, const char *names,
                          long begins, long ends)
{
    struct signer made = {.key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"),
                          .certificate = X509_new()};
    static long serial;
    X509 *own = made.certificate;
    const struct signer *signer = by ? by : &made;
    ck_assert(made.key && own);
    X509_set_version(own, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(own), ++serial);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(own), "CN", MBSTRING_ASC,
                               (const unsigned char *)(is_authority ? "authority" : "host"), -1, -1,
                               0);
    X509_set_issuer_name(own, X509_get_subject_name(signer->certificate));
    X509_gmtime_adj(X509_getm_notBefore(own), begins);
    X509_gmtime_adj(X509_getm_notAfter(own), ends);
    X509_set_pubkey(own, made.key);
    add_extension(own, NID_basic_constraints, is_authority ? "critical,CA:TRUE" : "CA:FALSE");
    if (names)
        add_extension(own, NID_subject_alt_name, names);
    ck_assert_int_gt(X509_sign(own, signer->key, NULL), 0);
    return made;
}

static void drop(struct signer *signer)
{
    EVP_PKEY_free(signer->key);
    X509_free(signer->certificate);
}

static void put_pem(const char *name, X509 *certificate)
{
    autofree char *path = in_folder(name);
    BIO *bio = BIO_new_file(path, "w");
    ck_assert(bio && PEM_write_bio_X509(bio, certificate) == 1);
    BIO_free(bio);
    ck_assert_int_eq(chmod(path, 0644), 0);
}

static void put(const char *name, const char *text)
{
    autofree char *path = in_folder(name);
    MUST(file_write_atomic(path, text, strlen(text), 0644, &err));
}

/* trust.d of the test's folder, with an authority "fleet" for a and b. */
static void begin(const struct signer *authority)
{
    autofree char *folder = in_folder("trust.d");
    ck_assert_int_eq(mkdir(folder, 0755), 0);
    put_pem("trust.d/fleet.pem", authority->certificate);
    put("trust.d/fleet.json", "{\"version\":1,\"name\":\"fleet\",\"ca\":\"fleet.pem\","
                              "\"names\":[\"a\",\"b\"],\"addresses\":{\"b\":\"192.0.2.1:7\"}}");
}

START_TEST(entries)
{
    struct signer authority = make(NULL, true, NULL, -DAY, DAY);
    begin(&authority);
    autotrust struct trust trust = {0};
    MUST(trust_load(unit_folder, &trust, &err));
    ck_assert_uint_eq(trust.count, 2);
    ck_assert_str_eq(trust.entries[0].name, "a");
    ck_assert_str_eq(trust.entries[0].host, "a");
    ck_assert_str_eq(trust.entries[1].host, "192.0.2.1");
    ck_assert_uint_eq(trust.entries[1].port, 7);
    ck_assert_uint_eq(trust.entries[0].pin_count, 0);
    ck_assert_str_eq(trust.entries[0].authority->name, "fleet");
    ck_assert_ptr_eq(trust_find(&trust, "b"), &trust.entries[1]);
    static const char *const twice[] = {"\"a\",\"a\"", "\"a\",\"b\",\"A\""};
    for (size_t i = 0; i < COUNT(twice); i++) {
        autofree char *text = string_format(
            "{\"version\":1,\"name\":\"fleet\",\"ca\":\"fleet.pem\",\"names\":[%s]}", twice[i]);
        struct trust none = {0};
        put("trust.d/fleet.json", text);
        MUST_FAIL(STATUS_CONFIG, "twice", trust_load(unit_folder, &none, &err));
    }
    drop(&authority);
}
END_TEST

START_TEST(vouching)
{
    struct signer authority = make(NULL, true, NULL, -DAY, 2 * DAY);
    struct signer other = make(NULL, true, NULL, -DAY, DAY);
    struct signer between = make(&authority, true, NULL, -DAY, DAY);
    begin(&authority);
    autotrust struct trust trust = {0};
    MUST(trust_load(unit_folder, &trust, &err));
    const struct {
        const struct signer *by;
        const char *names;
        long begins, ends;
        enum vouch verdict;
    } cases[] = {
        {&authority, "DNS:a", -DAY, DAY, VOUCH_GOOD},
        {&authority, "DNS:x,DNS:a", -DAY, DAY, VOUCH_GOOD},
        {&authority, "DNS:A", -DAY, DAY, VOUCH_GOOD},
        {&authority, "DNS:a", -2 * DAY, -DAY, VOUCH_EXPIRED},
        {&authority, "DNS:a", DAY, 2 * DAY, VOUCH_EXPIRED},
        {&authority, "DNS:a,DNS:b", -DAY, DAY, VOUCH_NAME},
        {&authority, "DNS:c", -DAY, DAY, VOUCH_NOBODY},
        {&authority, "DNS:*", -DAY, DAY, VOUCH_NOBODY},
        {&authority, "DNS:a.b", -DAY, DAY, VOUCH_NOBODY},
        {&authority, "email:a", -DAY, DAY, VOUCH_NOBODY},
        {&authority, NULL, -DAY, DAY, VOUCH_NOBODY},
        {&other, "DNS:a", -DAY, DAY, VOUCH_NOBODY},
        {&between, "DNS:a", -DAY, DAY, VOUCH_NOBODY},
        {NULL, "DNS:a", -DAY, DAY, VOUCH_NOBODY},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct signer host =
            make(cases[i].by, false, cases[i].names, cases[i].begins, cases[i].ends);
        const struct trust_entry *entry = NULL;
        enum vouch verdict = trust_vouch(&trust, host.certificate, &entry);
        ck_assert_msg(verdict == cases[i].verdict, "case %zu: %d", i, verdict);
        ck_assert((entry != NULL) == (verdict == VOUCH_GOOD));
        if (entry) {
            char pin[PIN_SIZE];
            MUST(pin_from_certificate(host.certificate, pin, &err));
            ck_assert_str_eq(entry->name, "a");
            ck_assert_ptr_eq(trust_find_pin(&trust, pin), entry);
            ck_assert(entry->expires > (int64_t)time(NULL) &&
                      entry->expires <= (int64_t)time(NULL) + DAY);
        }
        drop(&host);
    }
    ck_assert_uint_eq(ERR_peek_error(), 0);
    drop(&between);
    drop(&other);
    drop(&authority);
}
END_TEST

START_TEST(keeping)
{
    struct signer authority = make(NULL, true, NULL, -DAY, DAY);
    struct signer host = make(&authority, false, "DNS:a", -DAY, DAY);
    struct signer late = make(&authority, false, "DNS:b", -2 * DAY, -DAY);
    struct signer other = make(NULL, true, NULL, -DAY, DAY);
    const struct trust_entry *entry;
    autotrust struct trust trust = {0}, later = {0}, fresh = {0}, changed = {0};
    char pin[PIN_SIZE];
    begin(&authority);
    MUST(trust_load(unit_folder, &trust, &err));
    MUST(trust_load(unit_folder, &fresh, &err));
    MUST(pin_from_certificate(host.certificate, pin, &err));
    ck_assert_int_eq(trust_vouch(&trust, host.certificate, &entry), VOUCH_GOOD);
    trust_carry(&fresh, &trust);
    ck_assert_str_eq(trust_find_pin(&fresh, pin)->name, "a");
    trust_keep(unit_folder, &trust);
    put_pem("trust.d/b.crt", late.certificate);
    MUST(trust_load(unit_folder, &later, &err));
    ck_assert_str_eq(trust_find_pin(&later, pin)->name, "a");
    ck_assert_uint_eq(later.entries[1].pin_count, 0);
    /* Another authority under the same names has vouched for nobody. */
    put_pem("trust.d/fleet.pem", other.certificate);
    MUST(trust_load(unit_folder, &changed, &err));
    ck_assert_ptr_null(trust_find_pin(&changed, pin));
    trust_carry(&changed, &trust);
    ck_assert_ptr_null(trust_find_pin(&changed, pin));
    drop(&other);
    drop(&late);
    drop(&host);
    drop(&authority);
}
END_TEST

/* What the agent's network process is told, and what its worker hears. */
START_TEST(between_processes)
{
    struct signer authority = make(NULL, true, NULL, -DAY, DAY);
    struct signer host = make(&authority, false, "DNS:a", -DAY, DAY);
    const struct trust_entry *entry = NULL;
    autotrust struct trust trust = {0}, back = {0};
    begin(&authority);
    MUST(trust_load(unit_folder, &trust, &err));
    ck_assert_int_eq(trust_vouch(&trust, host.certificate, &entry), VOUCH_GOOD);
    autojson json_t *frame = agent_trust_to_json(&trust);
    MUST(agent_trust_from_json(frame, &back, &err));
    ck_assert_uint_eq(back.count, 2);
    ck_assert_uint_eq(back.entries[0].pin_count, 0);
    autojson json_t *again = agent_trust_to_json(&back);
    ck_assert(json_equal(frame, again));
    autofree char *text = certificate_to_text(host.certificate);
    X509 *certificate = certificate_from_text(text, NULL);
    ck_assert_int_eq(trust_vouch(&back, certificate, &entry), VOUCH_GOOD);
    ck_assert_ptr_eq(entry, &back.entries[0]);
    X509_free(certificate);
    json_t *first = json_array_get(json_object_get(frame, "trust"), 0);
    json_object_set_new(first, "authority", json_integer(1));
    struct trust none = {0};
    MUST_FAIL(STATUS_DATA, "not a trust entry", agent_trust_from_json(frame, &none, &err));
    json_object_set_new(first, "authority", json_integer(-1));
    MUST_FAIL(STATUS_DATA, "not a trust entry", agent_trust_from_json(frame, &none, &err));
    json_object_set_new(first, "authority", json_integer(0));
    json_object_set_new(first, "expires", json_integer(7));
    MUST_FAIL(STATUS_DATA, "two ends", agent_trust_from_json(frame, &none, &err));
    json_t *list = json_object_get(frame, "authorities");
    json_array_append_new(list, json_deep_copy(json_array_get(list, 0)));
    MUST_FAIL(STATUS_DATA, "twice", agent_trust_from_json(frame, &none, &err));
    json_object_set_new(json_array_get(list, 1), "name", json_string("a\nb"));
    MUST_FAIL(STATUS_DATA, "not an authority", agent_trust_from_json(frame, &none, &err));
    static const char *const bad[] = {"", "AA==", "!", "MAA"};
    for (size_t i = 0; i < COUNT(bad); i++)
        MUST_FAIL(STATUS_DATA, "", (certificate_from_text(bad[i], &err) != NULL));
    drop(&host);
    drop(&authority);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {entries, vouching, keeping, between_processes};
    return unit_run("authority", tests, COUNT(tests));
}
