/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "peer/envelope.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/strings.h"
#include "peer/ed25519.h"

#define SIGNATURE_SIZE 64
#define HEADER_MAX 1024

static void cleanup_context(EVP_MD_CTX **context)
{
    EVP_MD_CTX_free(*context);
}

static void cleanup_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static char *make_header(const struct identity *identity, const char *typ)
{
    autojson json_t *header =
        json_pack("{s:s,s:s,s:s}", "alg", "EdDSA", "kid", identity->pin, "typ", typ);
    return header ? json_to_text(header) : NULL;
}

static char *make_payload(const struct identity *identity, json_t *payload)
{
    autojson json_t *copy = json_copy(payload);
    if (!copy || json_object_set_new(copy, "key", json_string(identity->spki)) != 0)
        return NULL;
    return json_to_text(copy);
}

/* The signing input of RFC 7515 section 5.1: ASCII(protected '.' payload). */
static bool sign_text(EVP_PKEY *key, const char *input, uint8_t signature[SIGNATURE_SIZE],
                      struct error *err)
{
    EVP_MD_CTX *context __attribute__((cleanup(cleanup_context))) = EVP_MD_CTX_new();
    size_t size = SIGNATURE_SIZE;
    if (!context || EVP_DigestSignInit(context, NULL, NULL, NULL, key) != 1 ||
        EVP_DigestSign(context, signature, &size, (const uint8_t *)input, strlen(input)) != 1 ||
        size != SIGNATURE_SIZE) {
        ERR_clear_error();
        return error_set(err, STATUS_INTERNAL, "OpenSSL cannot sign");
    }
    return true;
}

bool envelope_sign_digest(const struct identity *identity, const char *typ, json_t *payload,
                          char **text, char *digest, struct error *err)
{
    uint8_t signature[SIGNATURE_SIZE];
    char hex[DIGEST_HEX_SIZE];
    autofree char *header = make_header(identity, typ);
    autofree char *body = make_payload(identity, payload);
    if (!header || !body)
        return error_no_memory(err);
    autofree char *header64 = base64url_encode(header, strlen(header));
    autofree char *body64 = base64url_encode(body, strlen(body));
    autofree char *input = header64 && body64 ? string_format("%s.%s", header64, body64) : NULL;
    if (!input)
        return error_no_memory(err);
    if (!sign_text(identity->key, input, signature, err) ||
        !digest_hex(body, strlen(body), hex, err))
        return false;
    autofree char *signature64 = base64url_encode(signature, sizeof(signature));
    char *result = signature64
                       ? string_format("{\"payload\":\"%s\",\"protected\":\"%s\",\"signature\":"
                                       "\"%s\"}",
                                       body64, header64, signature64)
                       : NULL;
    if (!result)
        return error_no_memory(err);
    if (digest)
        memcpy(digest, hex, sizeof(hex));
    *text = result;
    return true;
}

bool envelope_sign(const struct identity *identity, const char *typ, json_t *payload, char **text,
                   struct error *err)
{
    return envelope_sign_digest(identity, typ, payload, text, NULL, err);
}

static bool open_header(const char *header64, const char *typ, char pin[PIN_SIZE],
                        struct error *err)
{
    autofree uint8_t *bytes = NULL;
    size_t length = 0;
    const char *alg = NULL, *kid = NULL, *its_typ = NULL;
    if (!base64url_decode(header64, &bytes, &length, err))
        return error_wrap(err, "protected header");
    autojson json_t *header = json_parse_strict((const char *)bytes, length, HEADER_MAX, err);
    if (!header)
        return error_wrap(err, "protected header");
    if (!json_take(header, err, "protected header", "{s:s,s:s,s:s}", "alg", &alg, "kid", &kid,
                   "typ", &its_typ))
        return false;
    if (strcmp(alg, "EdDSA") != 0)
        return error_set(err, STATUS_DATA, "signed with '%.40s', not with EdDSA", alg);
    if (strcmp(its_typ, typ) != 0)
        return error_set(err, STATUS_DATA, "this is a '%.80s', not the '%s' expected", its_typ,
                         typ);
    if (!pin_is_valid(kid))
        return error_set(err, STATUS_DATA, "its kid '%.80s' is not a pin", kid);
    memcpy(pin, kid, PIN_SIZE);
    return true;
}

/* The key that the payload carries, which must be the one that the header names. */
static bool take_key(const json_t *payload, const char *pin, EVP_PKEY **key, struct error *err)
{
    const char *text = json_string_value(json_object_get(payload, "key"));
    autofree uint8_t *der = NULL;
    size_t length = 0;
    char its_pin[PIN_SIZE];
    if (!text)
        return error_set(err, STATUS_DATA, "it has no key");
    if (!base64_decode(text, &der, &length, err))
        return error_wrap(err, "key");
    if (!ed25519_is_spki(der, length))
        return error_set(err, STATUS_DATA, "its key is not an Ed25519 key");
    if (!pin_from_spki(der, length, its_pin, err))
        return false;
    if (strcmp(its_pin, pin) != 0)
        return error_set(err, STATUS_DATA, "its key is %s, its kid says %s", its_pin, pin);
    errno = 0;
    EVP_PKEY *result = ed25519_from_spki(der, length);
    if (!result)
        return error_refuse(err, STATUS_DATA, "its key cannot be used");
    *key = result;
    return true;
}

static bool verify_signature(EVP_PKEY *key, const char *input, const char *signature64,
                             struct error *err)
{
    autofree uint8_t *signature = NULL;
    size_t length = 0;
    if (!base64url_decode(signature64, &signature, &length, err))
        return error_wrap(err, "signature");
    if (length != SIGNATURE_SIZE)
        return error_set(err, STATUS_DATA, "its signature has %zu bytes, not %d", length,
                         SIGNATURE_SIZE);
    EVP_MD_CTX *context __attribute__((cleanup(cleanup_context))) = EVP_MD_CTX_new();
    if (!context || EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) != 1) {
        ERR_clear_error();
        return error_set(err, STATUS_INTERNAL, "OpenSSL cannot verify");
    }
    errno = 0;
    if (EVP_DigestVerify(context, signature, length, (const uint8_t *)input, strlen(input)) != 1) {
        ERR_clear_error();
        return error_refuse(err, STATUS_DATA, "its signature is wrong");
    }
    return true;
}

bool envelope_open(const char *text, size_t length, size_t max_size, const char *typ,
                   struct envelope *out, struct error *err)
{
    autoenvelope struct envelope envelope = {0};
    const char *body64 = NULL, *header64 = NULL, *signature64 = NULL;
    autofree uint8_t *body = NULL;
    size_t body_length = 0;
    EVP_PKEY *key __attribute__((cleanup(cleanup_key))) = NULL;

    autojson json_t *json = json_parse_strict(text, length, max_size, err);
    if (!json || !json_take(json, err, "signed envelope", "{s:s,s:s,s:s}", "payload", &body64,
                            "protected", &header64, "signature", &signature64))
        return false;
    if (!open_header(header64, typ, envelope.pin, err))
        return false;
    if (!base64url_decode(body64, &body, &body_length, err))
        return error_wrap(err, "payload");
    envelope.payload = json_parse_strict((const char *)body, body_length, max_size, err);
    if (!envelope.payload)
        return error_wrap(err, "payload");
    autofree char *input = string_format("%s.%s", header64, body64);
    if (!input)
        return error_no_memory(err);
    if (!take_key(envelope.payload, envelope.pin, &key, err) ||
        !verify_signature(key, input, signature64, err) ||
        !digest_hex(body, body_length, envelope.digest, err))
        return false;
    *out = envelope;
    envelope = (struct envelope){0};
    return true;
}

void envelope_free(struct envelope *envelope)
{
    json_decref(envelope->payload);
    *envelope = (struct envelope){0};
}
