/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Turning what libcurl, OpenSSL and HTTP report of one call into one error.
 */
#ifndef QML_PEER_CLIENT_ERROR_H
#define QML_PEER_CLIENT_ERROR_H

#include <curl/curl.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/strings.h"
#include "peer/client.h"
#include "peer/tls.h"

/* One call: what libcurl's callbacks share. */
struct call {
    const struct peer_client *client;
    const char *name;
    const char *where; /* HOST:PORT, for messages */
    json_t *body;      /* borrowed */
    CURL *curl;
    struct tls_peers peers;
    struct tls_session session;
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

/* Fill err for a transfer that ended with code, not CURLE_OK. Returns false. */
bool client_error_transfer(const struct call *call, CURLcode code, struct error *err);

/* Fill err for an answer with an HTTP status that is not 200. Returns false. */
bool client_error_http(const struct call *call, long http_status, struct error *err);

/* Whether code says that no connection came about. */
bool client_error_is_retryable(const struct call *call, CURLcode code);

#endif
