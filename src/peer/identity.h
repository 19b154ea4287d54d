/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Who this host and user are: one Ed25519 key (RFC 8410) and a certificate that carries it.
 *
 * The certificate says nothing but the key: its subject is the same everywhere and its dates are
 * not looked at, since TLS 1.3 shows it to anyone who connects.
 */
#ifndef QML_PEER_IDENTITY_H
#define QML_PEER_IDENTITY_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>

#include "base/error.h"
#include "peer/pin.h"

struct identity {
    EVP_PKEY *key; /* Ed25519, with the private half */
    X509 *certificate;
    char pin[PIN_SIZE];
    char *spki; /* base64 of the DER SubjectPublicKeyInfo */
};

/* Make identity.key (PKCS#8 PEM, 0600) and identity.crt (0644) in config_folder, which is made
 * (0700) if needed. A key that exists is never replaced: STATUS_CANNOT_WRITE if its certificate is
 * there too; if it is not, only the certificate is made, again. Two at once make one key.
 * STATUS_CANNOT_WRITE,
 * STATUS_NOT_TRUSTED (an existing key that others can read), STATUS_CONFIG (it is not a key). */
bool identity_create(const char *config_folder, struct error *err);

/* Read both files. The caller frees the result with identity_free; NULL with STATUS_CONFIG (none
 * yet; unreadable; not an Ed25519 key; the two do not belong together), STATUS_NOT_TRUSTED (owner
 * or mode), STATUS_DATA (far too large). */
struct identity *identity_load(const char *config_folder, struct error *err);

/* Frees it, the private key's memory wiped. NULL is fine. */
void identity_free(struct identity *identity);

static inline void cleanup_identity(struct identity **identity)
{
    identity_free(*identity);
}
#define autoidentity __attribute__((cleanup(cleanup_identity)))

#endif
