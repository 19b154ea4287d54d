/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Pins: the name of a public key, in the form that curl's --pinnedpubkey takes:
 * sha256//BASE64, of the SHA-256 of the DER SubjectPublicKeyInfo (RFC 7469 section 2.4).
 */
#ifndef QML_PEER_PIN_H
#define QML_PEER_PIN_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define PIN_SIZE 53 /* with the NUL */

/* True for "sha256//" and the padded base64 of exactly 32 bytes; NULL is not valid. */
bool pin_is_valid(const char *text);

/* The pin of a SubjectPublicKeyInfo of `length` bytes DER (RFC 5280 section 4.1). The bytes are
 * hashed as they are; whether they are a key at all is the caller's business. STATUS_INTERNAL. */
bool pin_from_spki(const uint8_t *der, size_t length, char pin[PIN_SIZE], struct error *err);

/* The pin of the key in a certificate. STATUS_DATA if its key cannot be encoded. */
bool pin_from_certificate(X509 *certificate, char pin[PIN_SIZE], struct error *err);

#endif
