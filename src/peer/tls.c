/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "peer/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/digest.h"

#define EXPORTER_LABEL "EXPORTER-Channel-Binding"
#define EXPORTER_BYTES 32
#define CERTIFICATE_MAX 16384

/* Where OpenSSL keeps our pointers: the one thing here that belongs to the whole process. */
static CRYPTO_ONCE index_once = CRYPTO_ONCE_STATIC_INIT;
static int ssl_index = -1;
static int context_index = -1;

static void release_session(void *ssl, void *pointer, CRYPTO_EX_DATA *data, int index, long number,
                            void *context)
{
    struct tls_session *session = pointer;
    if (session && session->release)
        session->release(session);
}

static void make_indices(void)
{
    ssl_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, release_session);
    context_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

static bool have_indices(void)
{
    return CRYPTO_THREAD_run_once(&index_once, make_indices) == 1 && ssl_index >= 0 &&
           context_index >= 0;
}

bool tls_session_attach(SSL *ssl, struct tls_session *session)
{
    return have_indices() && SSL_set_ex_data(ssl, ssl_index, session) == 1;
}

bool tls_session_attach_context(SSL_CTX *context, struct tls_session *session)
{
    return have_indices() && SSL_CTX_set_ex_data(context, context_index, session) == 1;
}

struct tls_session *tls_session_of(const SSL *ssl)
{
    if (!have_indices())
        return NULL;
    struct tls_session *session = SSL_get_ex_data(ssl, ssl_index);
    return session ? session : SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), context_index);
}

void tls_session_note_remote(struct tls_session *session, int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof(address);
    char text[INET6_ADDRSTRLEN] = "";
    if (fd < 0 || getpeername(fd, (struct sockaddr *)&address, &size) < 0)
        return;
    if (address.ss_family == AF_INET6)
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&address)->sin6_addr, text, sizeof(text));
    else if (address.ss_family == AF_INET)
        inet_ntop(AF_INET, &((struct sockaddr_in *)&address)->sin_addr, text, sizeof(text));
    /* A dual-stack socket shows IPv4 as ::ffff:192.0.2.1. */
    const char *plain = text;
    if (strncmp(text, "::ffff:", 7) == 0 && strchr(text, '.'))
        plain = text + 7;
    snprintf(session->remote, sizeof(session->remote), "%s", plain);
}

/* What the alert on the wire says of each refusal: the peer must be able to tell "not trusted"
 * from a broken handshake. */
static int refuse(X509_STORE_CTX *store, struct tls_session *session, enum tls_refusal refusal)
{
    int code = X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT; /* alert unknown_ca, 48 */
    if (refusal == TLS_REFUSAL_EXPIRED || refusal == TLS_REFUSAL_CERTIFICATE_EXPIRED)
        code = X509_V_ERR_CERT_HAS_EXPIRED; /* certificate_expired, 45 */
    else if (refusal == TLS_REFUSAL_NAME || refusal == TLS_REFUSAL_BAD_CERTIFICATE ||
             refusal == TLS_REFUSAL_NO_CERTIFICATE)
        code = X509_V_ERR_CERT_REJECTED; /* bad_certificate, 42 */
    else if (refusal == TLS_REFUSAL_NO_MEMORY)
        code = X509_V_ERR_OUT_OF_MEM; /* internal_error, 80 */
    X509_STORE_CTX_set_error(store, code);
    if (session)
        session->refusal = refusal;
    return 0;
}

static enum tls_refusal refusal_of(enum vouch verdict)
{
    static const enum tls_refusal refusals[] = {
        [VOUCH_GOOD] = TLS_REFUSAL_NONE,    [VOUCH_NOBODY] = TLS_REFUSAL_AUTHORITY,
        [VOUCH_NAME] = TLS_REFUSAL_NAME,    [VOUCH_EXPIRED] = TLS_REFUSAL_CERTIFICATE_EXPIRED,
        [VOUCH_OVER] = TLS_REFUSAL_EXPIRED,
    };
    return refusals[verdict];
}

/* Whether it is `only`, at the other end of a connection that is made from here. */
static enum tls_refusal look_at_one(const struct trust_entry *only, X509 *certificate,
                                    const char *pin, const struct trust_entry **entry)
{
    *entry = only;
    if (only->authority)
        return refusal_of(trust_vouch_entry(only, certificate, true));
    return trust_entry_has_pin(only, pin) ? TLS_REFUSAL_NONE : TLS_REFUSAL_WRONG_PIN;
}

/* Who of them it is that comes. A key that an authority has vouched for before has to be vouched
 * for by what is shown now. */
static enum tls_refusal look_at_all(const struct trust *any, X509 *certificate, const char *pin,
                                    const struct trust_entry **entry)
{
    *entry = any ? trust_find_pin(any, pin) : NULL;
    if (*entry && !(*entry)->authority)
        return TLS_REFUSAL_NONE;
    enum vouch verdict = any ? trust_vouch(any, certificate, entry) : VOUCH_NOBODY;
    return verdict == VOUCH_NOBODY ? TLS_REFUSAL_UNKNOWN_PIN : refusal_of(verdict);
}

/* Takes the place of all of OpenSSL's verification. That the peer holds the key of the certificate
 * is proven after this, by its CertificateVerify. */
static int verify_certificate(X509_STORE_CTX *store, void *context)
{
    const struct tls_peers *peers = context;
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_session *session = ssl ? tls_session_of(ssl) : NULL;
    X509 *certificate = X509_STORE_CTX_get0_cert(store);
    char pin[PIN_SIZE];
    struct error problem = ERROR_INIT;
    if (!certificate)
        return refuse(store, session, TLS_REFUSAL_NO_CERTIFICATE);
    if (!pin_from_certificate(certificate, pin, &problem))
        return refuse(store, session,
                      problem.status == STATUS_INTERNAL ? TLS_REFUSAL_NO_MEMORY
                                                        : TLS_REFUSAL_BAD_CERTIFICATE);
    if (session)
        memcpy(session->pin, pin, PIN_SIZE);
    const struct trust_entry *entry = NULL;
    enum tls_refusal refusal = peers->only ? look_at_one(peers->only, certificate, pin, &entry)
                                           : look_at_all(peers->any, certificate, pin, &entry);
    if (refusal != TLS_REFUSAL_NONE)
        return refuse(store, session, refusal);
    if (trust_entry_is_expired(entry, time(NULL)))
        return refuse(store, session, TLS_REFUSAL_EXPIRED);
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

static void watch_connection(const SSL *ssl, int where, int value)
{
    struct tls_session *session = tls_session_of(ssl);
    if (!session)
        return;
    if ((where & SSL_CB_HANDSHAKE_START) && !session->remote[0])
        tls_session_note_remote(session, SSL_get_fd(ssl));
    if (where & SSL_CB_EXIT)
        session->heard = BIO_number_read(SSL_get_rbio(ssl)) > 0;
    if (!(where & SSL_CB_ALERT) || (value & 0xff) == SSL_AD_CLOSE_NOTIFY)
        return;
    if (where & SSL_CB_READ)
        session->alert_received = value & 0xff;
    else
        session->alert_sent = value & 0xff;
    if (session->alert_sent == SSL_AD_CERTIFICATE_REQUIRED)
        session->refusal = TLS_REFUSAL_NO_CERTIFICATE; /* the callback above is not asked then */
    if (!(where & SSL_CB_READ) && session->refused)
        session->refused(session, ssl);
}

bool tls_context_setup(SSL_CTX *context, const struct identity *identity,
                       const struct tls_peers *peers, struct error *err)
{
    bool good = have_indices() && SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
                SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
                SSL_CTX_set1_groups_list(context, "X25519:P-256") == 1 &&
                /* said here, so that a system's policy file cannot take Ed25519 away */
                SSL_CTX_set1_sigalgs_list(context, "ed25519:ECDSA+SHA256:RSA-PSS+SHA256") == 1 &&
                SSL_CTX_set_num_tickets(context, 0) == 1 &&
                SSL_CTX_set_max_early_data(context, 0) == 1 &&
                SSL_CTX_set_recv_max_early_data(context, 0) == 1 &&
                SSL_CTX_use_certificate(context, identity->certificate) == 1 &&
                SSL_CTX_use_PrivateKey(context, identity->key) == 1;
    ERR_clear_error();
    if (!good)
        return error_set(err, STATUS_INTERNAL, "OpenSSL cannot set up TLS 1.3");
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_cert_list(context, CERTIFICATE_MAX);
    /* libcurl obeys $SSLKEYLOGFILE; our secrets go into no file. */
    SSL_CTX_set_keylog_callback(context, NULL);
    SSL_CTX_set_info_callback(context, watch_connection);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_cert_verify_callback(context, verify_certificate, (void *)peers);
    return true;
}

SSL_CTX *tls_context_new(const struct identity *identity, const struct tls_peers *peers,
                         struct error *err)
{
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    if (!context) {
        ERR_clear_error();
        error_set(err, STATUS_INTERNAL, "OpenSSL has no TLS");
        return NULL;
    }
    if (!tls_context_setup(context, identity, peers, err)) {
        SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

bool tls_session_was_refused(const struct tls_session *session)
{
    int alert = session->alert_received;
    return (alert >= SSL_AD_BAD_CERTIFICATE && alert <= SSL_AD_CERTIFICATE_UNKNOWN) ||
           alert == SSL_AD_UNKNOWN_CA || alert == SSL_AD_ACCESS_DENIED ||
           alert == SSL_AD_CERTIFICATE_REQUIRED;
}

const char *tls_refusal_text(enum tls_refusal refusal)
{
    switch (refusal) {
    case TLS_REFUSAL_NONE:
        return "it was not refused";
    case TLS_REFUSAL_NO_CERTIFICATE:
        return "it showed no certificate";
    case TLS_REFUSAL_BAD_CERTIFICATE:
        return "its certificate has no usable key";
    case TLS_REFUSAL_UNKNOWN_PIN:
        return "its key is not trusted here";
    case TLS_REFUSAL_WRONG_PIN:
        return "its key is another one than expected";
    case TLS_REFUSAL_EXPIRED:
        return "its trust entry here has expired";
    case TLS_REFUSAL_AUTHORITY:
        return "its certificate is not by the authority that is trusted for it";
    case TLS_REFUSAL_NAME:
        return "its certificate has not the name that is allowed for it, or has several";
    case TLS_REFUSAL_CERTIFICATE_EXPIRED:
        return "its certificate, or the authority's, has expired or does not count yet";
    case TLS_REFUSAL_NO_MEMORY:
        return "out of memory";
    }
    return "it was refused";
}

bool tls_exporter(SSL *ssl, char exporter[TLS_EXPORTER_SIZE], struct error *err)
{
    uint8_t bytes[EXPORTER_BYTES];
    if (!SSL_is_init_finished(ssl) ||
        SSL_export_keying_material(ssl, bytes, sizeof(bytes), EXPORTER_LABEL,
                                   strlen(EXPORTER_LABEL), (const uint8_t *)"", 0, 1) != 1) {
        ERR_clear_error();
        return error_set(err, STATUS_INTERNAL, "OpenSSL has no exporter value");
    }
    autofree char *text = base64url_encode(bytes, sizeof(bytes));
    if (!text)
        return error_no_memory(err);
    memcpy(exporter, text, TLS_EXPORTER_SIZE);
    return true;
}

bool tls_peer_pin(SSL *ssl, char pin[PIN_SIZE], struct error *err)
{
    X509 *certificate = SSL_is_init_finished(ssl) ? SSL_get0_peer_certificate(ssl) : NULL;
    if (!certificate)
        return error_set(err, STATUS_NOT_TRUSTED, "the peer has shown no key");
    return pin_from_certificate(certificate, pin, err);
}
