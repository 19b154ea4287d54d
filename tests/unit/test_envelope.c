/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Pins, envelopes and messages, without a network.
 */
#include <check.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/strings.h"
#include "peer/ed25519.h"
#include "peer/envelope.h"
#include "peer/message.h"
#include "unit.h"

#define TYP "test+json"
#define MAX 65536
#define EXPORTER "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define OTHER_EXPORTER "BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define REQUEST "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static struct identity *us, *other;
static char folder[] = "/tmp/qml-envelope-XXXXXX";

static struct identity *make_identity(const char *name)
{
    struct error err = ERROR_INIT;
    autofree char *path = string_format("%s/%s", folder, name);
    ck_assert_msg(identity_create(path, &err), "%s", err.message);
    struct identity *identity = identity_load(path, &err);
    ck_assert_msg(identity != NULL, "%s", err.message);
    return identity;
}

static void setup(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    us = make_identity("us");
    other = make_identity("other");
}

static void teardown(void)
{
    identity_free(us);
    identity_free(other);
    autofree char *command = string_format("rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
}

static char *sign(void)
{
    char *text = NULL;
    autojson json_t *payload = json_pack("{s:i,s:s}", "version", 1, "what", "a statement");
    ck_assert(envelope_sign(us, TYP, payload, &text, NULL));
    ck_assert_ptr_null(json_object_get(payload, "key"));
    return text;
}

/* Must be refused with STATUS_DATA and words that contain `word`. */
static void refused(const char *text, const char *word)
{
    struct error err = ERROR_INIT;
    struct envelope envelope = {.payload = NULL};
    ck_assert_msg(!envelope_open(text, strlen(text), MAX, TYP, &envelope, &err), "taken: %s", text);
    ck_assert_msg(err.status == STATUS_DATA, "status %d: %s", err.status, err.message);
    ck_assert_msg(strstr(err.message, word) != NULL, "'%s' is not in: %s", word, err.message);
    ck_assert_ptr_null(envelope.payload);
}

static char *encode(const char *text)
{
    return base64url_encode(text, strlen(text));
}

/* An envelope around any two texts, rightly signed by us. */
static char *sign_raw(const char *header, const char *payload)
{
    autofree char *header64 = encode(header), *payload64 = encode(payload);
    autofree char *input = string_format("%s.%s", header64, payload64);
    uint8_t signature[64];
    size_t size = sizeof(signature);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    ck_assert_int_eq(EVP_DigestSignInit(context, NULL, NULL, NULL, us->key), 1);
    ck_assert_int_eq(EVP_DigestSign(context, signature, &size, (uint8_t *)input, strlen(input)), 1);
    EVP_MD_CTX_free(context);
    autofree char *signature64 = base64url_encode(signature, size);
    return string_format("{\"protected\":\"%s\",\"payload\":\"%s\",\"signature\":\"%s\"}", header64,
                         payload64, signature64);
}

START_TEST(pins)
{
    ck_assert(pin_is_valid("sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="));
    static const char *const bad[] = {
        "",
        "sha256//",
        "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "SHA256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
        "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=", /* spare bits */
        "sha256//47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=",
        "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU= ",
        "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuA==",
        "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFUA",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!pin_is_valid(bad[i]), "%s", bad[i]);
    ck_assert(!pin_is_valid(NULL));
    char pin[PIN_SIZE];
    ck_assert(pin_from_spki((const uint8_t *)"", 0, pin, NULL));
    ck_assert_str_eq(pin, "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    ck_assert(pin_from_certificate(us->certificate, pin, NULL));
    ck_assert_str_eq(pin, us->pin);
    ck_assert_str_ne(us->pin, other->pin);
}
END_TEST

START_TEST(envelope_round_trip)
{
    autofree char *text = sign();
    autoenvelope struct envelope envelope = {0};
    struct error err = ERROR_INIT;
    ck_assert_msg(envelope_open(text, strlen(text), MAX, TYP, &envelope, &err), "%s", err.message);
    ck_assert_str_eq(envelope.pin, us->pin);
    ck_assert_str_eq(json_string_value(json_object_get(envelope.payload, "what")), "a statement");
    ck_assert_str_eq(json_string_value(json_object_get(envelope.payload, "key")), us->spki);
    ck_assert(digest_is_hex(envelope.digest));
    ck_assert(string_starts_with(text, "{\"payload\":\""));
    ck_assert(!envelope_open(text, strlen(text), strlen(text) - 1, TYP, &envelope, &err));
    ck_assert_int_eq(err.status, STATUS_DATA);
}
END_TEST

/* A key has one encoding, and so one pin: the same bytes as a key of another kind are none. */
START_TEST(envelope_key_has_one_encoding)
{
    autofree uint8_t *der = NULL;
    size_t length = 0;
    char pin[PIN_SIZE];
    ck_assert(base64_decode(us->spki, &der, &length, NULL));
    ck_assert_uint_eq(length, 44);
    ck_assert_uint_eq(der[8], 0x70);
    der[8] = 0x6e; /* X25519's OID, RFC 8410 section 3 */
    ck_assert(pin_from_spki(der, length, pin, NULL));
    autofree char *spki = base64_encode(der, length);
    autofree char *header =
        string_format("{\"alg\":\"EdDSA\",\"kid\":\"%s\",\"typ\":\"" TYP "\"}", pin);
    autofree char *payload = string_format("{\"key\":\"%s\"}", spki);
    autofree char *text = sign_raw(header, payload);
    refused(text, "not an Ed25519 key");
}
END_TEST

/* Whatever byte is changed, it is not taken (or is the same text to a JSON parser: none is). */
START_TEST(envelope_every_byte_counts)
{
    autofree char *text = sign();
    size_t length = strlen(text);
    for (size_t i = 0; i < length; i++) {
        struct envelope envelope = {.payload = NULL};
        char saved = text[i];
        text[i] = saved == 'A' ? 'B' : 'A';
        ck_assert_msg(!envelope_open(text, length, MAX, TYP, &envelope, NULL), "byte %zu", i);
        text[i] = saved;
        ck_assert_msg(!envelope_open(text, i, MAX, TYP, &envelope, NULL), "cut at %zu", i);
    }
}
END_TEST

START_TEST(envelope_header)
{
    autofree char *payload = string_format("{\"key\":\"%s\"}", us->spki);
    const struct {
        const char *format, *word;
    } rows[] = {
        {"{\"alg\":\"none\",\"kid\":\"%s\",\"typ\":\"" TYP "\"}", "EdDSA"},
        {"{\"alg\":\"HS256\",\"kid\":\"%s\",\"typ\":\"" TYP "\"}", "EdDSA"},
        {"{\"alg\":\"eddsa\",\"kid\":\"%s\",\"typ\":\"" TYP "\"}", "EdDSA"},
        {"{\"alg\":\"EdDSA\",\"kid\":\"%s\",\"typ\":\"other+json\"}", "other+json"},
        {"{\"alg\":\"EdDSA\",\"kid\":\"%s\",\"typ\":\"" TYP "\",\"b64\":false}", "header"},
        {"{\"alg\":\"EdDSA\",\"kid\":\"%s\"}", "header"},
        {"{\"alg\":\"EdDSA\",\"alg\":\"EdDSA\",\"kid\":\"%s\",\"typ\":\"" TYP "\"}", "header"},
        {"{\"alg\":\"EdDSA\",\"kid\":\"x%s\",\"typ\":\"" TYP "\"}", "kid"},
        {"[\"%s\"]", "header"},
        {"%s", "header"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        autofree char *header = string_format(rows[i].format, us->pin);
#pragma GCC diagnostic pop
        autofree char *text = sign_raw(header, payload);
        refused(text, rows[i].word);
    }
}
END_TEST

START_TEST(envelope_key)
{
    autofree char *header =
        string_format("{\"alg\":\"EdDSA\",\"kid\":\"%s\",\"typ\":\"" TYP "\"}", us->pin);
    autofree char *others = string_format("{\"key\":\"%s\"}", other->spki);
    autofree char *good = string_format("{\"key\":\"%s\"}", us->spki);
    const struct {
        const char *payload, *word;
    } rows[] = {
        {others, "kid says"},
        {"{}", "no key"},
        {"{\"key\":7}", "no key"},
        {"{\"key\":\"\"}", "not an Ed25519 key"},
        {"{\"key\":\"=\"}", "base64"},
        {"{\"key\":\"AAAA\"}", "not an Ed25519 key"},
        {"{\"key\":\"a\",\"key\":\"a\"}", "JSON"},
        {"[]", "object"},
        {"", "payload"},
        {"{\"a\":1.5}", "integer"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        autofree char *text = sign_raw(header, rows[i].payload);
        refused(text, rows[i].word);
    }
    autofree char *text = sign_raw(header, good);
    autoenvelope struct envelope envelope = {0};
    ck_assert(envelope_open(text, strlen(text), MAX, TYP, &envelope, NULL));
    /* Somebody else's signature under our name. */
    struct identity liar = *other;
    memcpy(liar.pin, us->pin, PIN_SIZE);
    liar.spki = us->spki;
    autofree char *forged = NULL;
    autojson json_t *payload = json_object();
    ck_assert(envelope_sign(&liar, TYP, payload, &forged, NULL));
    refused(forged, "signature is wrong");
}
END_TEST

START_TEST(envelope_shape)
{
    autofree char *good = sign();
    static const char *const bad[] = {
        "",
        "{}",
        "[]",
        "null",
        "{\"payload\":\"\",\"protected\":\"\",\"signature\":\"\"}",
        "{\"payload\":1,\"protected\":2,\"signature\":3}",
        "\xff\xfe",
        "{\"payload\":",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        refused(bad[i], "");
    good[strlen(good) - 1] = '\0';
    autofree char *fourth = string_format("%s,\"header\":{}}", good);
    refused(fourth, "envelope");
    autofree char *padded = string_format("%.*s=\"}", (int)strlen(good) - 1, good);
    refused(padded, "signature");
    autofree char *shorter = string_format("%.*s\"}", (int)strlen(good) - 3, good);
    refused(shorter, "signature");
}
END_TEST

static char *seal(const char *name, const char *role, const char *exporter, const char *answers)
{
    char *text = NULL;
    autojson json_t *body = json_pack("{s:s}", "say", "hello");
    ck_assert(message_seal(us, name, role, exporter, answers, body, &text, NULL, NULL));
    return text;
}

static bool open_request(const char *text, const char *pin, struct error *err)
{
    json_t *body = NULL;
    bool good = message_open(text, strlen(text), "hello", MESSAGE_INITIATOR, EXPORTER, "", pin,
                             &body, NULL, err);
    ck_assert(good == (body != NULL));
    json_decref(body);
    return good;
}

START_TEST(message_fields)
{
    const struct {
        const char *name, *role, *exporter, *answers, *word;
    } rows[] = {
        {"hello", MESSAGE_INITIATOR, OTHER_EXPORTER, "", "another connection"},
        {"hello", MESSAGE_RESPONDER, EXPORTER, "", "other direction"},
        {"commit", MESSAGE_INITIATOR, EXPORTER, "", "another kind"},
        {"hello", MESSAGE_INITIATOR, EXPORTER, REQUEST, "another request"},
    };
    struct error err = ERROR_INIT;
    autofree char *good = seal("hello", MESSAGE_INITIATOR, EXPORTER, "");
    ck_assert_msg(open_request(good, us->pin, &err), "%s", err.message);
    ck_assert(!open_request(good, other->pin, &err));
    ck_assert_int_eq(err.status, STATUS_NOT_TRUSTED);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        autofree char *text = seal(rows[i].name, rows[i].role, rows[i].exporter, rows[i].answers);
        ck_assert(!open_request(text, us->pin, &err));
        ck_assert_int_eq(err.status, STATUS_NOT_TRUSTED);
        ck_assert_msg(strstr(err.message, rows[i].word) != NULL, "%s", err.message);
    }
    /* The size is known before the connection is. */
    autofree char *again = seal("hello", MESSAGE_INITIATOR, OTHER_EXPORTER, "");
    ck_assert_uint_eq(strlen(again), strlen(good));
}
END_TEST

START_TEST(message_versions)
{
    struct error err = ERROR_INIT;
    autofree char *text = NULL, *odd = NULL, *none = NULL;
    autojson json_t *payload = json_pack("{s:i,s:s}", "version", 2, "new", "things");
    ck_assert(envelope_sign(us, MESSAGE_TYP, payload, &text, NULL));
    ck_assert(!open_request(text, us->pin, &err));
    ck_assert_int_eq(err.status, STATUS_PROTOCOL);
    json_object_set_new(payload, "version", json_integer(1));
    ck_assert(envelope_sign(us, MESSAGE_TYP, payload, &odd, NULL));
    ck_assert(!open_request(odd, us->pin, &err));
    ck_assert_int_eq(err.status, STATUS_DATA);
    json_object_del(payload, "version");
    ck_assert(envelope_sign(us, MESSAGE_TYP, payload, &none, NULL));
    ck_assert(!open_request(none, us->pin, &err));
    ck_assert_int_eq(err.status, STATUS_DATA);
}
END_TEST

START_TEST(message_limits)
{
    struct error err = ERROR_INIT;
    char *big = malloc(MESSAGE_MAX);
    memset(big, 'a', MESSAGE_MAX - 1);
    big[MESSAGE_MAX - 1] = '\0';
    autojson json_t *body = json_pack("{s:s}", "big", big);
    char *text = NULL;
    free(big);
    ck_assert(!message_seal(us, "hello", MESSAGE_INITIATOR, EXPORTER, "", body, &text, NULL, &err));
    ck_assert_int_eq(err.status, STATUS_INTERNAL);
    ck_assert_ptr_null(text);
    ck_assert(message_name_is_valid("a"));
    ck_assert(message_name_is_valid("abcdefghijklmnop"));
    ck_assert(!message_name_is_valid(""));
    ck_assert(!message_name_is_valid("abcdefghijklmnopq"));
    ck_assert(!message_name_is_valid("Hello"));
    ck_assert(!message_name_is_valid("a/b"));
}
END_TEST

START_TEST(message_errors)
{
    const struct {
        int said;
        enum status becomes;
    } rows[] = {
        {12, STATUS_DRIFT},   {77, STATUS_NOT_TRUSTED}, {0, STATUS_PROTOCOL},
        {1, STATUS_PROTOCOL}, {-1, STATUS_PROTOCOL},    {66, STATUS_PROTOCOL},
    };
    struct error err = ERROR_INIT;
    autojson json_t *plain = json_object();
    ck_assert(!message_error_take(plain, &err));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        autojson json_t *body =
            json_pack("{s:{s:i,s:s}}", "error", "status", rows[i].said, "message", "no\x1b[2J");
        ck_assert(message_error_take(body, &err));
        ck_assert_int_eq(err.status, rows[i].becomes);
        ck_assert_str_eq(err.message, "no?[2J");
    }
    error_set(&err, STATUS_INCOMPATIBLE, "it cannot be");
    autojson json_t *made = message_error_new(&err);
    err = (struct error)ERROR_INIT;
    ck_assert(message_error_take(made, &err));
    ck_assert_int_eq(err.status, STATUS_INCOMPATIBLE);
    ck_assert_str_eq(err.message, "it cannot be");
    autojson json_t *broken = json_pack("{s:s}", "error", "text");
    ck_assert(message_error_take(broken, &err));
    ck_assert_int_eq(err.status, STATUS_PROTOCOL);
}
END_TEST

/* Keys of other kinds, and none. */
START_TEST(foreign_keys)
{
    uint8_t spki[ED25519_SPKI_SIZE] = {0};
    char pin[PIN_SIZE];
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    X509 *certificate = X509_new();
    ck_assert(key && certificate);
    ck_assert(!ed25519_to_spki(key, spki));
    ck_assert_ptr_null(ed25519_from_spki(spki, sizeof(spki)));
    MUST_FAIL(STATUS_DATA, "no usable key", pin_from_certificate(certificate, pin, &err));
    X509_free(certificate);
    EVP_PKEY_free(key);
}
END_TEST

int main(void)
{
    static const struct unit_fixture fixture = {.setup = setup, .teardown = teardown, .once = true};
    const TTest *const tests[] = {pins,
                                  envelope_round_trip,
                                  envelope_every_byte_counts,
                                  envelope_header,
                                  envelope_key,
                                  envelope_key_has_one_encoding,
                                  envelope_shape,
                                  message_fields,
                                  message_versions,
                                  message_limits,
                                  message_errors,
                                  foreign_keys};
    return unit_run_with("envelope", tests, COUNT(tests), &fixture);
}
