/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "peer/ed25519.h"

#include <openssl/err.h>
#include <string.h>

#define KEY_SIZE 32

/* RFC 8410 section 4: SEQUENCE { SEQUENCE { 1.3.101.112 }, BIT STRING }. */
static const uint8_t spki_prefix[ED25519_SPKI_SIZE - KEY_SIZE] = {
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};

/* RFC 8410 section 7: SEQUENCE { 0, SEQUENCE { 1.3.101.112 }, OCTET STRING { OCTET STRING } }. */
static const uint8_t pkcs8_prefix[] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
                                       0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};

static bool begins_with(const uint8_t *der, size_t length, const uint8_t *prefix, size_t size)
{
    return length == size + KEY_SIZE && memcmp(der, prefix, size) == 0;
}

bool ed25519_is_spki(const uint8_t *der, size_t length)
{
    return begins_with(der, length, spki_prefix, sizeof(spki_prefix));
}

EVP_PKEY *ed25519_from_spki(const uint8_t *der, size_t length)
{
    if (!ed25519_is_spki(der, length))
        return NULL;
    EVP_PKEY *key =
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, der + sizeof(spki_prefix), KEY_SIZE);
    if (!key)
        ERR_clear_error();
    return key;
}

bool ed25519_to_spki(const EVP_PKEY *key, uint8_t spki[ED25519_SPKI_SIZE])
{
    size_t size = KEY_SIZE;
    if (EVP_PKEY_get_id(key) != EVP_PKEY_ED25519 ||
        EVP_PKEY_get_raw_public_key(key, spki + sizeof(spki_prefix), &size) != 1 ||
        size != KEY_SIZE) {
        ERR_clear_error();
        return false;
    }
    memcpy(spki, spki_prefix, sizeof(spki_prefix));
    return true;
}

EVP_PKEY *ed25519_from_pkcs8(const uint8_t *der, size_t length)
{
    if (!begins_with(der, length, pkcs8_prefix, sizeof(pkcs8_prefix)))
        return NULL;
    EVP_PKEY *key =
        EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, der + sizeof(pkcs8_prefix), KEY_SIZE);
    if (!key)
        ERR_clear_error();
    return key;
}
