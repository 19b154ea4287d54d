/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "peer/pin.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/strings.h"

#define PIN_PREFIX "sha256//"

bool pin_is_valid(const char *text)
{
    if (!text || strnlen(text, PIN_SIZE) != PIN_SIZE - 1 || !string_starts_with(text, PIN_PREFIX))
        return false;
    /* 32 bytes are 42 characters, one whose last two bits do not count and are 0, and a '='. This
     * takes no memory: a pin that is good does not become bad for want of it. */
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *digits = text + strlen(PIN_PREFIX);
    size_t last = 42;
    return strspn(digits, alphabet) == last + 1 && strchr("AEIMQUYcgkosw048", digits[last]) &&
           digits[last + 1] == '=';
}

bool pin_from_spki(const uint8_t *der, size_t length, char pin[PIN_SIZE], struct error *err)
{
    uint8_t digest[DIGEST_SIZE];
    if (!digest_bytes(der, length, digest, err))
        return false;
    autofree char *text = base64_encode(digest, sizeof(digest));
    if (!text)
        return error_no_memory(err);
    memcpy(pin, PIN_PREFIX, strlen(PIN_PREFIX));
    memcpy(pin + strlen(PIN_PREFIX), text, PIN_SIZE - strlen(PIN_PREFIX));
    return true;
}

bool pin_from_certificate(X509 *certificate, char pin[PIN_SIZE], struct error *err)
{
    unsigned char *der = NULL;
    errno = 0;
    int length = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
    if (length <= 0) {
        ERR_clear_error();
        return error_refuse(err, STATUS_DATA, "a certificate has no usable key");
    }
    bool good = pin_from_spki(der, (size_t)length, pin, err);
    OPENSSL_free(der);
    return good;
}
