/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The signed envelope of statements and messages: JWS in its flattened JSON form (RFC 7515 section
 * 7.2.2), EdDSA with Ed25519 only (RFC 8037 section 3.1):
 *   {"payload":B64URL,"protected":B64URL,"signature":B64URL}
 * The protected header is {"alg":"EdDSA","kid":PIN,"typ":TYP} and nothing else. The payload is a
 * JSON object whose member "key" is the base64 SubjectPublicKeyInfo of the signer, so that a stored
 * statement verifies by itself. The bytes that were signed are verified; nothing is serialised
 * again.
 */
#ifndef QML_PEER_ENVELOPE_H
#define QML_PEER_ENVELOPE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/digest.h"
#include "base/error.h"
#include "peer/identity.h"

struct envelope {
    json_t *payload; /* with its "key" */
    char pin[PIN_SIZE];
    char digest[DIGEST_HEX_SIZE]; /* SHA-256 of the payload's bytes */
};

/* Sign payload (borrowed, an object; not changed: "key" is set in what is signed) as a statement of
 * type typ (printable ASCII). *text is compact ASCII, for the caller to free. digest: that of the
 * payload's bytes, or NULL. STATUS_INTERNAL. */
bool envelope_sign_digest(const struct identity *identity, const char *typ, json_t *payload,
                          char **text, char *digest, struct error *err);
/* The same without the digest. */
bool envelope_sign(const struct identity *identity, const char *typ, json_t *payload, char **text,
                   struct error *err);

/* Check everything about `length` bytes of text, at most max_size, that must be a statement of type
 * typ, and fill *out, which the caller frees with envelope_free. It says who signed; whether that
 * pin is trusted is the caller's business. STATUS_DATA: malformed, another type, another algorithm,
 * badly signed. STATUS_INTERNAL: out of memory. */
bool envelope_open(const char *text, size_t length, size_t max_size, const char *typ,
                   struct envelope *out, struct error *err);

void envelope_free(struct envelope *envelope);
#define autoenvelope __attribute__((cleanup(envelope_free)))

#endif
