/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "peer/identity.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/paths.h"
#include "peer/ed25519.h"

#define IDENTITY_FILE_MAX 16384
#define COMMON_NAME "qemu-migrate-launch"

static void cleanup_bio(BIO **bio)
{
    BIO_free(*bio);
}

static void cleanup_key(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void cleanup_certificate(X509 **certificate)
{
    X509_free(*certificate);
}

#define autobio __attribute__((cleanup(cleanup_bio)))
#define autokey __attribute__((cleanup(cleanup_key)))
#define autocertificate __attribute__((cleanup(cleanup_certificate)))

/* What OpenSSL has queued means nothing to the next one who looks. */
static bool fail_internal(struct error *err, const char *what)
{
    ERR_clear_error();
    return error_set(err, STATUS_INTERNAL, "OpenSSL cannot %s", what);
}

/* OpenSSL would ask on the terminal; keys of a program that runs alone have no passphrase. */
static int no_passphrase(char *buffer, int size, int writing, void *context)
{
    return -1;
}

/* NULL: it is something else than a key without passphrase. */
static EVP_PKEY *parse_key(const char *text, size_t length)
{
    autobio BIO *bio = BIO_new_mem_buf(text, (int)length);
    unsigned char *der = NULL;
    long size = 0;
    EVP_PKEY *key = NULL;
    if (bio && PEM_bytes_read_bio_secmem(&der, &size, NULL, PEM_STRING_PKCS8INF, bio, no_passphrase,
                                         NULL) == 1)
        key = ed25519_from_pkcs8(der, (size_t)size);
    OPENSSL_secure_clear_free(der, (size_t)size);
    if (!key && bio && BIO_reset(bio) == 1)
        key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    ERR_clear_error();
    return key;
}

static bool read_key(const char *path, EVP_PKEY **result, struct error *err)
{
    char *text = NULL;
    size_t length = 0;
    if (!file_read_private(path, IDENTITY_FILE_MAX, &text, &length, err))
        return false;
    errno = 0;
    autokey EVP_PKEY *key = parse_key(text, length);
    int saved = errno;
    OPENSSL_cleanse(text, length);
    free(text);
    errno = saved;
    if (!key)
        return error_refuse(err, STATUS_CONFIG, "%s: not a private key in PEM without passphrase",
                            path);
    if (EVP_PKEY_get_id(key) != EVP_PKEY_ED25519)
        return error_set(err, STATUS_CONFIG, "%s: not an Ed25519 key", path);
    *result = STEAL(key);
    return true;
}

static bool read_certificate(const char *path, X509 **result, struct error *err)
{
    autofree char *text = NULL;
    size_t length = 0;
    if (!file_read_trusted(path, IDENTITY_FILE_MAX, false, &text, &length, err))
        return false;
    errno = 0;
    autobio BIO *bio = BIO_new_mem_buf(text, (int)length);
    X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, no_passphrase, NULL) : NULL;
    ERR_clear_error();
    if (!certificate)
        return error_refuse(err, STATUS_CONFIG, "%s: not a certificate in PEM", path);
    *result = certificate;
    return true;
}

/* Subject and issuer; version; dates: RFC 5280 sections 4.1.2.4 to 4.1.2.6, and 4.1.2.5 for
 * 99991231235959Z, "no well-defined expiration date". */
static bool fill_certificate(X509 *certificate, EVP_PKEY *key)
{
    X509_NAME *name = X509_get_subject_name(certificate);
    unsigned char serial[8];
    if (RAND_bytes(serial, sizeof(serial)) != 1)
        return false;
    uint64_t number = 0;
    memcpy(&number, serial, sizeof(number));
    number = (number >> 1) | 1; /* positive and not 0: RFC 5280 section 4.1.2.2 */
    return X509_set_version(certificate, X509_VERSION_3) == 1 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), number) == 1 &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)COMMON_NAME,
                                      -1, -1, 0) == 1 &&
           X509_set_issuer_name(certificate, name) == 1 &&
           ASN1_TIME_set_string_X509(X509_getm_notBefore(certificate), "19700101000000Z") == 1 &&
           ASN1_TIME_set_string_X509(X509_getm_notAfter(certificate), "99991231235959Z") == 1 &&
           X509_set_pubkey(certificate, key) == 1 && X509_sign(certificate, key, NULL) > 0;
}

static bool write_certificate(const char *path, EVP_PKEY *key, struct error *err)
{
    autocertificate X509 *certificate = X509_new();
    autobio BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    if (!certificate || !bio || !fill_certificate(certificate, key) ||
        PEM_write_bio_X509(bio, certificate) != 1)
        return fail_internal(err, "make a certificate");
    long length = BIO_get_mem_data(bio, &text);
    return file_write_atomic(path, text, (size_t)length, 0644, err);
}

static bool create_key(const char *path, EVP_PKEY **result, struct error *err)
{
    autokey EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    autobio BIO *bio = BIO_new(BIO_s_secmem()); /* wiped when freed */
    char *text = NULL;
    if (!key || !bio || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
        return fail_internal(err, "make a key");
    long length = BIO_get_mem_data(bio, &text);
    if (!file_create_atomic(path, text, (size_t)length, 0600, err))
        return false;
    *result = STEAL(key);
    return true;
}

bool identity_create(const char *config_folder, struct error *err)
{
    autofree char *key_path = path_join(config_folder, "identity.key", "");
    autofree char *certificate_path = path_join(config_folder, "identity.crt", "");
    autokey EVP_PKEY *key = NULL;
    if (!key_path || !certificate_path)
        return error_no_memory(err);
    if (!folder_make(config_folder, 0700, err))
        return false;
    bool have_key = access(key_path, F_OK) == 0;
    if (have_key && access(certificate_path, F_OK) == 0)
        return error_set(err, STATUS_CANNOT_WRITE,
                         "%s exists and is not replaced (see it with 'identity show')", key_path);
    struct error problem = ERROR_INIT;
    if (!have_key && !create_key(key_path, &key, &problem)) {
        if (access(key_path, F_OK) != 0)
            return error_set(err, problem.status, "%s", problem.message);
        have_key = true; /* another command has made one just now: that is the host's */
    }
    if (have_key && !read_key(key_path, &key, err))
        return false;
    return write_certificate(certificate_path, key, err);
}

static bool fill_pin(struct identity *identity, struct error *err)
{
    uint8_t spki[ED25519_SPKI_SIZE];
    if (!ed25519_to_spki(identity->key, spki))
        return fail_internal(err, "encode a key");
    if (!pin_from_spki(spki, sizeof(spki), identity->pin, err))
        return false;
    identity->spki = base64_encode(spki, sizeof(spki));
    return identity->spki || error_no_memory(err);
}

struct identity *identity_load(const char *config_folder, struct error *err)
{
    autofree char *key_path = path_join(config_folder, "identity.key", "");
    autofree char *certificate_path = path_join(config_folder, "identity.crt", "");
    autoidentity struct identity *identity = calloc(1, sizeof(*identity));
    if (!key_path || !certificate_path || !identity) {
        error_no_memory(err);
        return NULL;
    }
    bool have_key = access(key_path, F_OK) == 0;
    if (!have_key || access(certificate_path, F_OK) != 0) {
        if (errno != ENOENT) { /* the folder is another user's, say */
            error_set_errno(err, STATUS_CONFIG, errno, "%s",
                            have_key ? certificate_path : key_path);
            return NULL;
        }
        error_set(err, STATUS_CONFIG, "%s: no %s yet: run 'qemu-migrate-launch identity init'",
                  config_folder, have_key ? "certificate" : "identity");
        return NULL;
    }
    if (!read_key(key_path, &identity->key, err) ||
        !read_certificate(certificate_path, &identity->certificate, err))
        return NULL;
    /* OpenSSL reads a certificate without its key when memory lacks just then: errno is of both. */
    if (X509_check_private_key(identity->certificate, identity->key) != 1) {
        ERR_clear_error();
        error_refuse(err, STATUS_CONFIG,
                     "%s: not the certificate of %s (remove it and run "
                     "'qemu-migrate-launch identity init')",
                     certificate_path, key_path);
        return NULL;
    }
    if (!fill_pin(identity, err))
        return NULL;
    return STEAL(identity);
}

void identity_free(struct identity *identity)
{
    if (!identity)
        return;
    EVP_PKEY_free(identity->key);
    X509_free(identity->certificate);
    free(identity->spki);
    free(identity);
}
