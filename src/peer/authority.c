/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "peer/authority.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/digest.h"

#define CERTIFICATES_MAX 8 /* two for a change of the authority's own key, and some between */
#define SECURITY_LEVEL 2   /* SSL_CTX_set_security_level(3): 112 bits, no SHA-1 */

struct authority *authority_hold(struct authority *authority)
{
    if (authority)
        authority->holders++;
    return authority;
}

void authority_free(struct authority *authority)
{
    if (!authority || --authority->holders > 0)
        return;
    X509_STORE_free(authority->store);
    free(authority->name);
    strlist_free(&authority->certificates);
    free(authority);
}

bool authority_read_pem(const char *pem, struct strlist *certificates, struct error *err)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    bool good = bio != NULL;
    ERR_clear_error();
    for (X509 *item; good && (item = PEM_read_bio_X509(bio, NULL, NULL, NULL));) {
        char *text = certificate_to_text(item);
        good = text && strlist_push_owned(certificates, text);
        X509_free(item);
    }
    /* What ended it: no more of them, or one that is none. */
    bool ended = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    BIO_free(bio);
    ERR_clear_error();
    if (!good)
        return error_no_memory(err);
    return (ended && certificates->count > 0) ||
           error_set(err, STATUS_CONFIG, "no certificates in PEM");
}

static bool add_certificate(struct authority *authority, const char *text, struct error *err)
{
    X509 *certificate = certificate_from_text(text, err);
    if (!certificate)
        return false;
    bool good = X509_check_ca(certificate) == 1;
    bool added = good && X509_STORE_add_cert(authority->store, certificate) == 1 &&
                 strlist_push(&authority->certificates, text);
    X509_free(certificate);
    ERR_clear_error();
    if (good && !added)
        return error_no_memory(err);
    return good || error_set(err, STATUS_CONFIG,
                             "a certificate that is not an authority's (basicConstraints CA:TRUE)");
}

struct authority *authority_new(const char *name, const struct strlist *certificates,
                                int64_t expires, struct error *err)
{
    struct authority *authority = calloc(1, sizeof(*authority));
    if (!authority) {
        error_no_memory(err);
        return NULL;
    }
    *authority = (struct authority){
        .name = strdup(name), .store = X509_STORE_new(), .expires = expires, .holders = 1};
    bool good = (authority->name && authority->store) || error_no_memory(err);
    if (good && (certificates->count < 1 || certificates->count > CERTIFICATES_MAX))
        good = error_set(err, STATUS_CONFIG, "%zu certificates, not 1 to %d", certificates->count,
                         CERTIFICATES_MAX);
    for (size_t i = 0; good && i < certificates->count; i++)
        good = add_certificate(authority, certificates->items[i], err);
    if (good)
        return authority;
    authority_free(authority);
    return NULL;
}

bool authority_is_same(const struct authority *one, const struct authority *other)
{
    bool same = one->certificates.count == other->certificates.count;
    for (size_t i = 0; same && i < one->certificates.count; i++)
        same = strcmp(one->certificates.items[i], other->certificates.items[i]) == 0;
    return same;
}

bool authority_has_name(X509 *certificate, const char *name)
{
    bool has = X509_check_host(certificate, name, 0,
                               X509_CHECK_FLAG_NO_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT,
                               NULL) == 1;
    ERR_clear_error();
    return has;
}

/* The first end of what is in the chain. */
static int64_t chain_end(const STACK_OF(X509) * chain)
{
    int64_t end = INT64_MAX;
    for (int i = 0; i < sk_X509_num(chain); i++) {
        struct tm date;
        if (ASN1_TIME_to_tm(X509_get0_notAfter(sk_X509_value(chain, i)), &date) != 1)
            return 0;
        int64_t seconds = (int64_t)timegm(&date);
        end = seconds < end ? seconds : end;
    }
    return end;
}

enum vouch authority_vouch(const struct authority *authority, X509 *certificate, const char *name,
                           bool server, int64_t *until)
{
    if (!authority_has_name(certificate, name))
        return VOUCH_NAME;
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    enum vouch verdict = VOUCH_NOBODY;
    if (context && X509_STORE_CTX_init(context, authority->store, certificate, NULL) == 1) {
        X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(context);
        X509_VERIFY_PARAM_set_auth_level(param, SECURITY_LEVEL);
        X509_VERIFY_PARAM_set_purpose(param,
                                      server ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT);
        if (X509_verify_cert(context) == 1) {
            *until = chain_end(X509_STORE_CTX_get0_chain(context));
            verdict = VOUCH_GOOD;
        } else if (X509_STORE_CTX_get_error(context) == X509_V_ERR_CERT_HAS_EXPIRED ||
                   X509_STORE_CTX_get_error(context) == X509_V_ERR_CERT_NOT_YET_VALID) {
            verdict = VOUCH_EXPIRED;
        }
    }
    X509_STORE_CTX_free(context);
    ERR_clear_error();
    return verdict;
}

char *certificate_to_text(X509 *certificate)
{
    unsigned char *der = NULL;
    int length = i2d_X509(certificate, &der);
    char *text = length > 0 ? base64_encode(der, (size_t)length) : NULL;
    OPENSSL_free(der);
    ERR_clear_error();
    return text;
}

X509 *certificate_from_text(const char *text, struct error *err)
{
    autofree uint8_t *der = NULL;
    size_t length = 0;
    if (!base64_decode(text, &der, &length, err))
        return NULL;
    const unsigned char *end = der;
    X509 *certificate = d2i_X509(NULL, &end, (long)length);
    if (certificate && end != der + length) {
        X509_free(certificate);
        certificate = NULL;
    }
    ERR_clear_error();
    if (!certificate)
        error_set(err, STATUS_DATA, "not a certificate");
    return certificate;
}
