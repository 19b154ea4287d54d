/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The DER forms of Ed25519 keys (RFC 8410). Each is a fixed beginning and the 32 bytes of the key,
 * so they are read and written here: OpenSSL's decoders, which know all kinds of keys, cost more
 * than a handshake (3.0: 3 ms for a private key, 1 ms for a public one).
 */
#ifndef QML_PEER_ED25519_H
#define QML_PEER_ED25519_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ED25519_SPKI_SIZE 44

/* Whether these bytes are the SubjectPublicKeyInfo of an Ed25519 key. A key has this one encoding,
 * so it has one pin. */
bool ed25519_is_spki(const uint8_t *der, size_t length);

/* The key of such bytes, which the caller frees; NULL if they are none, or for want of memory. */
EVP_PKEY *ed25519_from_spki(const uint8_t *der, size_t length);

/* The SubjectPublicKeyInfo of an Ed25519 key. False: it is another kind of key. */
bool ed25519_to_spki(const EVP_PKEY *key, uint8_t spki[ED25519_SPKI_SIZE]);

/* The private key of a PKCS#8 PrivateKeyInfo without attributes, as `identity init` and `openssl
 * genpkey` write it. The caller frees it; NULL if it is something else. */
EVP_PKEY *ed25519_from_pkcs8(const uint8_t *der, size_t length);

#endif
