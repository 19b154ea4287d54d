/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "peer/client.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "peer/client_error.h"
#include "peer/message.h"
#include "peer/sigpipe.h"

#define IDLE_MAX_S                                                                                 \
    5L /* half of what the server gives a connection until its next request is there */

static CURLcode set_up_tls(CURL *curl, void *ssl_context, void *context)
{
    struct call *call = context;
    call->tls->session = (struct tls_session){0}; /* of a connection that was there before */
    if (!tls_context_setup(ssl_context, call->client->identity, &call->tls->peers, &call->error))
        return CURLE_ABORTED_BY_CALLBACK;
    if (!tls_session_attach_context(ssl_context, &call->tls->session)) {
        error_no_memory(&call->error);
        return CURLE_ABORTED_BY_CALLBACK;
    }
    return CURLE_OK;
}

/* Whether the connection is the peer's: one that stayed, and was made for another call, too. */
static bool check_connection(struct call *call, SSL *ssl)
{
    char pin[PIN_SIZE];
    if (!tls_peer_pin(ssl, pin, &call->error))
        return false;
    memcpy(call->tls->session.pin, pin, PIN_SIZE);
    return trust_entry_has_pin(call->client->peer, pin) ||
           error_set(&call->error, STATUS_NOT_TRUSTED, "the connection to %s is not one to %s",
                     call->where, call->client->peer->name);
}

/* Bind the request to the connection, which is there when libcurl asks for the first byte. */
static bool seal_request(struct call *call)
{
    const struct curl_tlssessioninfo *info = NULL;
    char *text = NULL;
    if (curl_easy_getinfo(call->curl, CURLINFO_TLS_SSL_PTR, &info) != CURLE_OK || !info ||
        info->backend != CURLSSLBACKEND_OPENSSL || !info->internals)
        return error_set(&call->error, STATUS_INTERNAL, "libcurl does not use OpenSSL");
    if (!check_connection(call, info->internals) ||
        !tls_exporter(info->internals, call->exporter, &call->error) ||
        !message_seal(call->client->identity, call->name, MESSAGE_INITIATOR, call->exporter, "",
                      call->body, &text, call->digest, &call->error))
        return false;
    if (strlen(text) != call->request_size) {
        free(text);
        return error_set(&call->error, STATUS_INTERNAL, "a sealed message has another size");
    }
    call->request = text;
    return true;
}

static size_t give_request(char *buffer, size_t size, size_t count, void *context)
{
    struct call *call = context;
    if (!call->request && !seal_request(call))
        return CURL_READFUNC_ABORT;
    size_t chunk = call->request_size - call->sent;
    if (chunk > size * count)
        chunk = size * count;
    memcpy(buffer, call->request + call->sent, chunk);
    call->sent += chunk;
    return chunk;
}

static size_t take_response(char *data, size_t size, size_t count, void *context)
{
    struct call *call = context;
    size_t length = size * count;
    if (length > MESSAGE_MAX - call->response.length) {
        call->too_big = true;
        return 0;
    }
    strbuf_add(&call->response, data, length);
    if (call->response.failed) {
        error_no_memory(&call->error);
        return 0;
    }
    return length;
}

static size_t count_header(char *data, size_t size, size_t count, void *context)
{
    struct call *call = context;
    call->header_bytes += size * count;
    if (call->header_bytes > RESPONSE_HEADERS_MAX) {
        call->too_big = true;
        return 0;
    }
    return size * count;
}

static int check_interrupted(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct call *call = context;
    return call->client->interrupted && *call->client->interrupted;
}

/* Whether a host may stand in a URL: what parse_address lets through. */
static bool host_is_plain(const char *host)
{
    if (!host || !*host)
        return false;
    for (const char *p = host; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-:", *p))
            return false;
    return true;
}

static bool set_options(struct call *call, const char *url, long left)
{
    CURL *curl = call->curl;
    long connect = left > 0 && left < CONNECT_TIMEOUT_MS ? left : CONNECT_TIMEOUT_MS;
    bool good = true;
#define OPTION(name, value) good = curl_easy_setopt(curl, name, value) == CURLE_OK && good
    OPTION(CURLOPT_URL, url);
    OPTION(CURLOPT_ERRORBUFFER, call->curl_message);
    OPTION(CURLOPT_NOSIGNAL, 1L);
    OPTION(CURLOPT_PROTOCOLS_STR, "https");
    OPTION(CURLOPT_PROXY, "");
    OPTION(CURLOPT_FOLLOWLOCATION, 0L);
    OPTION(CURLOPT_FRESH_CONNECT, call->stays ? 0L : 1L);
    OPTION(CURLOPT_FORBID_REUSE, call->stays ? 0L : 1L);
    OPTION(CURLOPT_MAXAGE_CONN, IDLE_MAX_S);
    OPTION(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    OPTION(CURLOPT_HTTPHEADER, call->headers);
    OPTION(CURLOPT_TIMEOUT_MS, left);
    OPTION(CURLOPT_CONNECTTIMEOUT_MS, connect);
    /* Trust is decided by the callback that set_up_tls installs; VERIFYPEER makes libcurl heed it.
     * Names do not matter, and no list of CAs is read. */
    OPTION(CURLOPT_SSLVERSION, (long)(CURL_SSLVERSION_TLSv1_3 | CURL_SSLVERSION_MAX_TLSv1_3));
    OPTION(CURLOPT_SSL_VERIFYPEER, 1L);
    OPTION(CURLOPT_SSL_VERIFYHOST, 0L);
    OPTION(CURLOPT_CAINFO, NULL);
    OPTION(CURLOPT_CAPATH, NULL);
    OPTION(CURLOPT_SSL_ENABLE_ALPN, 0L);
    OPTION(CURLOPT_SSL_SESSIONID_CACHE, 0L);
    OPTION(CURLOPT_SSL_CTX_FUNCTION, set_up_tls);
    OPTION(CURLOPT_SSL_CTX_DATA, call);
    OPTION(CURLOPT_POST, 1L);
    OPTION(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->request_size);
    OPTION(CURLOPT_READFUNCTION, give_request);
    OPTION(CURLOPT_READDATA, call);
    OPTION(CURLOPT_WRITEFUNCTION, take_response);
    OPTION(CURLOPT_WRITEDATA, call);
    OPTION(CURLOPT_HEADERFUNCTION, count_header);
    OPTION(CURLOPT_HEADERDATA, call);
    OPTION(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)MESSAGE_MAX);
    OPTION(CURLOPT_NOPROGRESS, 0L);
    OPTION(CURLOPT_XFERINFOFUNCTION, check_interrupted);
    OPTION(CURLOPT_XFERINFODATA, call);
#undef OPTION
    return good;
}

/* The size of the request: that of one sealed with an exporter value of the same length. */
static bool measure_request(struct call *call, struct error *err)
{
    autofree char *text = NULL;
    char placeholder[TLS_EXPORTER_SIZE];
    memset(placeholder, 'A', sizeof(placeholder) - 1);
    placeholder[sizeof(placeholder) - 1] = '\0';
    if (!message_seal(call->client->identity, call->name, MESSAGE_INITIATOR, placeholder, "",
                      call->body, &text, NULL, err))
        return false;
    call->request_size = strlen(text);
    return true;
}

bool call_prepare(struct call *call, deadline when, struct error *err)
{
    int left = deadline_left_ms(when);
    if (left == 0)
        return client_error_no_time(call, err);
    autofree char *url = string_format("https://%s/v1/%s", call->where, call->name);
    if (!url)
        return error_no_memory(err);
    if (call->request_size == 0 && !measure_request(call, err))
        return false;
    call->headers = curl_slist_append(NULL, "Content-Type: application/jose+json");
    /* An empty value takes a header away: the body comes with the headers, without waiting. */
    struct curl_slist *more = call->headers ? curl_slist_append(call->headers, "Expect:") : NULL;
    if (more && call->stays)
        more = curl_slist_append(call->headers, "Connection: keep-alive");
    call->curl = curl_easy_init();
    if (!more || !call->curl)
        return error_no_memory(err);
    return set_options(call, url, left < 0 ? 0 : left) ||
           error_set(err, STATUS_INTERNAL, "libcurl lacks an option that is needed");
}

bool call_finish(struct call *call, CURLcode code, json_t **answer, struct error *err)
{
    long http_status = 0;
    curl_easy_getinfo(call->curl, CURLINFO_RESPONSE_CODE, &http_status);
    if (code != CURLE_OK)
        return client_error_transfer(call, code, err);
    /* A peer may answer before it has read the request; then nothing is bound to the connection. */
    if (http_status != 200 || call->sent != call->request_size)
        return client_error_http(call, http_status, err);
    return call_open_answer(call, answer, err);
}

bool call_open_answer(const struct call *call, json_t **answer, struct error *err)
{
    autojson json_t *body = NULL;
    const char *text = call->response.data ? call->response.data : "";
    if (text[0] != '{')
        return error_set(err, STATUS_PROTOCOL, "%s answered '%s' with something that is not JSON",
                         call->where, call->name);
    if (!message_open(text, call->response.length, call->name, MESSAGE_RESPONDER, call->exporter,
                      call->digest, call->tls->session.pin, &body, NULL, err))
        return error_wrap(err, "answer of %s", call->where);
    if (message_error_take(body, err))
        return error_wrap(err, "%s", call->client->peer->name);
    *answer = STEAL(body);
    return true;
}

void call_free(struct call *call)
{
    if (call->curl)
        curl_easy_cleanup(call->curl);
    curl_slist_free_all(call->headers);
    free(call->where);
    free(call->request);
    strbuf_free(&call->response);
}

bool call_begin(struct call *call, const struct peer_client *client, const char *name, json_t *body,
                struct error *err)
{
    call->client = client;
    call->name = name;
    call->body = body;
    if (!call->tls)
        call->tls = &call->own_tls;
    call->tls->peers.only = client->peer;
    if (client->retryable)
        *client->retryable = false;
    if (!message_name_is_valid(name) || !host_is_plain(client->host) || client->port == 0)
        return error_set(err, STATUS_INTERNAL, "no such request: '%s' to '%s' port %u", name,
                         client->host ? client->host : "", client->port);
    /* What an authority vouches for is seen when it is there. */
    if (!client->peer->authority && trust_entry_is_expired(client->peer, time(NULL)))
        return error_set(err, STATUS_NOT_TRUSTED,
                         "the trust entry '%s' has expired: 'trust add %s %s' renews it",
                         client->peer->name, client->peer->name, client->peer->pins[0]);
    call->where = strchr(client->host, ':') ? string_format("[%s]:%u", client->host, client->port)
                                            : string_format("%s:%u", client->host, client->port);
    return call->where ? true : error_no_memory(err);
}

bool peer_call(const struct peer_client *client, const char *name, json_t *body, deadline when,
               json_t **answer, struct error *err)
{
    struct error ignored = ERROR_INIT;
    if (!err)
        err = &ignored;
    struct call call __attribute__((cleanup(call_free))) = {0};
    if (!call_begin(&call, client, name, body, err))
        return false;
    if (!call_prepare(&call, when, err))
        return false;
    struct sigpipe_guard guard;
    sigpipe_block(&guard);
    CURLcode code = curl_easy_perform(call.curl);
    sigpipe_restore(&guard);
    return call_finish(&call, code, answer, err);
}
