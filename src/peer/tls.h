/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * TLS between peers: version 1.3 only (RFC 8446), both sides show a certificate, and what counts of
 * it is the pin of its key. No tickets, no early data, no resumption; names and dates in
 * certificates are not looked at, only trust entries expire: but where an entry names an authority,
 * it is what that vouches for.
 */
#ifndef QML_PEER_TLS_H
#define QML_PEER_TLS_H

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>

#include "base/error.h"
#include "peer/identity.h"
#include "peer/message.h"
#include "peer/trust.h"

#define TLS_EXPORTER_SIZE MESSAGE_EXPORTER_SIZE

/* Who may be at the other end: exactly `only`, or, if that is NULL, any entry of `any`. */
struct tls_peers {
    const struct trust_entry *only;
    const struct trust *any;
};

enum tls_refusal {
    TLS_REFUSAL_NONE,
    TLS_REFUSAL_NO_CERTIFICATE,
    TLS_REFUSAL_BAD_CERTIFICATE, /* its key has no pin */
    TLS_REFUSAL_UNKNOWN_PIN,     /* no entry of `any` has it */
    TLS_REFUSAL_WRONG_PIN,       /* it is not that of `only` */
    TLS_REFUSAL_EXPIRED,         /* its entry has expired */
    TLS_REFUSAL_AUTHORITY,       /* no authority vouches for it */
    TLS_REFUSAL_NAME, /* its certificate has another name than that of `only`, or several */
    TLS_REFUSAL_CERTIFICATE_EXPIRED,
    TLS_REFUSAL_NO_MEMORY, /* memory lacked to look at its key: that is not the peer's fault */
};

/* What is learnt about one connection. It must live as long as its SSL (or SSL_CTX). */
struct tls_session {
    enum tls_refusal refusal;       /* why we refused the peer */
    char pin[PIN_SIZE];             /* what the peer showed (not yet proven), or "" */
    int alert_received, alert_sent; /* number of the alert (RFC 8446 section 6), 0: none */
    bool heard;                     /* the peer has sent something, whatever it was */
    char remote[INET6_ADDRSTRLEN];  /* the peer's address, or "" */
    /* Called when the SSL is freed, if not NULL: it may free the session itself. */
    void (*release)(struct tls_session *session);
    /* Called when an alert has been sent, if not NULL: we have refused the peer. */
    void (*refused)(struct tls_session *session, const SSL *ssl);
};

/* Set up an SSL_CTX for either side. identity is used now only; peers is borrowed for as long as
 * the context lives. STATUS_INTERNAL. */
bool tls_context_setup(SSL_CTX *context, const struct identity *identity,
                       const struct tls_peers *peers, struct error *err);

/* A new context, set up; client or server depends on the SSL. NULL with STATUS_INTERNAL. */
SSL_CTX *tls_context_new(const struct identity *identity, const struct tls_peers *peers,
                         struct error *err);

/* Have session filled by this connection, or by the one connection that will be made with this
 * context (of which `release` is not called). False for want of memory. */
bool tls_session_attach(SSL *ssl, struct tls_session *session);
bool tls_session_attach_context(SSL_CTX *context, struct tls_session *session);
/* The session attached to this connection, or NULL. */
struct tls_session *tls_session_of(const SSL *ssl);

/* Fill session->remote from a connected socket; without effect if it is not one. */
void tls_session_note_remote(struct tls_session *session, int fd);

/* Whether alert_received is one that says: your certificate is not accepted here. */
bool tls_session_was_refused(const struct tls_session *session);

/* Why the peer was refused, for a message: "it showed no certificate". */
const char *tls_refusal_text(enum tls_refusal refusal);

/* The channel binding of RFC 9266 ("EXPORTER-Channel-Binding", 32 bytes, empty context) in
 * base64url. STATUS_INTERNAL, also before the handshake is done. */
bool tls_exporter(SSL *ssl, char exporter[TLS_EXPORTER_SIZE], struct error *err);

/* The pin of the peer's key, which it has proven to hold. STATUS_NOT_TRUSTED if there is none, or
 * the handshake is not done. */
bool tls_peer_pin(SSL *ssl, char pin[PIN_SIZE], struct error *err);

#endif
