/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One call to a peer, by libcurl (client.c) or without (stream.c): its beginning, its end, and
 * turning what libcurl, OpenSSL and HTTP report of it into one error.
 */
#ifndef QML_PEER_CLIENT_ERROR_H
#define QML_PEER_CLIENT_ERROR_H

#include <curl/curl.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/strings.h"
#include "peer/client.h"
#include "peer/tls.h"

#define CONNECT_TIMEOUT_MS 10000
#define RESPONSE_HEADERS_MAX 16384

/* What the TLS of a connection points to, as long as there is one. */
struct call_tls {
    struct tls_peers peers;
    struct tls_session session;
};

/* One call: what libcurl's callbacks share. */
struct call {
    const struct peer_client *client;
    const char *name;
    char *where;  /* HOST:PORT, for messages and URLs */
    json_t *body; /* borrowed */
    CURL *curl;   /* NULL without libcurl */
    struct curl_slist *headers;
    struct call_tls own_tls;
    struct call_tls *tls; /* own_tls, or the one of a connection that stays */
    bool stays;           /* the connection is to stay open for more calls */
    char curl_message[CURL_ERROR_SIZE];

    char *request; /* sealed when the connection is there */
    size_t request_size, sent;
    char exporter[TLS_EXPORTER_SIZE];
    char digest[DIGEST_HEX_SIZE]; /* of the request */

    struct strbuf response;
    size_t header_bytes;
    bool too_big;       /* the response is larger than we take */
    struct error error; /* of a callback; STATUS_OK: none */
};

/* Fill a call that is all zeroes (but for tls and stays), for call_free; all pointers are borrowed,
 * and *client->retryable becomes false. Errors as peer_call: what cannot be asked, or of that peer.
 * client.c */
bool call_begin(struct call *call, const struct peer_client *client, const char *name, json_t *body,
                struct error *err);
/* Make call->curl ready to run, until `when`. call->request_size: 0, or what it was for the same
 * name and body. STATUS_UNAVAILABLE: no time left; STATUS_INTERNAL.
 * client.c */
bool call_prepare(struct call *call, deadline when, struct error *err);
/* The answer of a transfer that ended with code; errors as peer_call. client.c */
bool call_finish(struct call *call, CURLcode code, json_t **answer, struct error *err);
/* The body of the answer in call->response, a new reference; else err as peer_call, also with the
 * error that the peer answered. */
bool call_open_answer(const struct call *call, json_t **answer, struct error *err);
void call_free(struct call *call);

/* Fill err because there is no time to begin. Returns false. */
bool client_error_no_time(const struct call *call, struct error *err);

/* Fill err, and *client->retryable, for a transfer that ended with code, not CURLE_OK. Returns
 * false. */
bool client_error_transfer(const struct call *call, CURLcode code, struct error *err);

/* Fill err for an answer with an HTTP status that is not 200. Returns false. */
bool client_error_http(const struct call *call, long http_status, struct error *err);

#endif
