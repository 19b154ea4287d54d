/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A certificate authority that vouches for peers by their names (RFC 5280), in place of pins.
 */
#ifndef QML_PEER_AUTHORITY_H
#define QML_PEER_AUTHORITY_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strings.h"

struct authority {
    char *name;                  /* of the trust entry that names it */
    struct strlist certificates; /* each certificate_to_text() */
    X509_STORE *store;
    int64_t expires; /* of that entry: Unix seconds; TRUST_NEVER */
    unsigned holders;
};

enum vouch {
    VOUCH_GOOD,
    VOUCH_NOBODY,  /* it is not by this authority, or for something else */
    VOUCH_NAME,    /* it has not the name */
    VOUCH_EXPIRED, /* it, or the authority's own, has expired, or does not count yet */
    VOUCH_OVER,    /* the trust entry that names the authority has expired */
};

/* The certificates in PEM, in order, as texts; what stands between them is left out. STATUS_CONFIG:
 * there is none, or something else begins as one. */
bool authority_read_pem(const char *pem, struct strlist *certificates, struct error *err);
/* Of one certificate or several (copied), each that of an authority. The result has one holder, the
 * caller; NULL with STATUS_CONFIG. */
struct authority *authority_new(const char *name, const struct strlist *certificates,
                                int64_t expires, struct error *err);
/* Whether both vouch by the same certificates. */
bool authority_is_same(const struct authority *one, const struct authority *other);
/* One holder more; one less. NULL is fine. */
struct authority *authority_hold(struct authority *authority);
void authority_free(struct authority *authority);

/* Whether the certificate has this name: as a DNS name among its subjectAltNames, in full; neither
 * wildcards nor the subject count. */
bool authority_has_name(X509 *certificate, const char *name);

/* Whether the authority vouches now that the key in the certificate is name's, for TLS as a server
 * or else as a client. *until: when all that says so ends, in Unix seconds. */
enum vouch authority_vouch(const struct authority *authority, X509 *certificate, const char *name,
                           bool server, int64_t *until);

/* A certificate as base64 of its DER, for the caller to free; NULL for want of memory. And back:
 * NULL with STATUS_DATA. */
char *certificate_to_text(X509 *certificate);
X509 *certificate_from_text(const char *text, struct error *err);

#endif
