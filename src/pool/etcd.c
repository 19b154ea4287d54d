/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/etcd.h"

#include <curl/curl.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"
#include "peer/sigpipe.h"

#define PEM_MAX ((size_t)256 << 10)
#define PASSWORD_MAX 1024
#define HEADERS_MAX 16384
#define CONNECT_TIMEOUT_MS 2000
#define REQUEST_TIMEOUT_MS 5000 /* of one endpoint */

struct etcd {
    const struct pool_config *config;
    struct etcd_stop stop;
    CURL *curl;
    char *ca, *cert, *key, *password; /* what the files held; ca: NULL is the system's */
    char *token;                      /* of our user, or NULL */
    size_t current;                   /* the endpoint that is asked first */
};

/* One request to one endpoint. */
struct post {
    struct etcd *etcd;
    const char *body;
    struct strbuf *reply;
    size_t reply_max, header_bytes;
    bool too_big;
    bool plain_handshake; /* no TLS 1.3 */
    char words[CURL_ERROR_SIZE];
};

static void cleanse(char *text)
{
    if (text)
        OPENSSL_cleanse(text, strlen(text));
    free(text);
}

void etcd_free(struct etcd *etcd)
{
    if (!etcd)
        return;
    if (etcd->curl)
        curl_easy_cleanup(etcd->curl);
    free(etcd->ca);
    free(etcd->cert);
    cleanse(etcd->key);
    cleanse(etcd->password);
    cleanse(etcd->token);
    free(etcd);
}

static bool read_files(struct etcd *etcd, struct error *err)
{
    const struct pool_config *config = etcd->config;
    size_t length;
    if (config->ca && !file_read_trusted(config->ca, PEM_MAX, false, &etcd->ca, &length, err))
        return false;
    if (config->cert && !file_read_trusted(config->cert, PEM_MAX, false, &etcd->cert, &length, err))
        return false;
    if (config->key && !file_read_private(config->key, PEM_MAX, &etcd->key, &length, err))
        return false;
    if (!config->password_file)
        return true;
    if (!file_read_private(config->password_file, PASSWORD_MAX, &etcd->password, &length, err))
        return false;
    etcd->password[strcspn(etcd->password, "\r\n")] = '\0';
    return (*etcd->password && text_is_plain(etcd->password)) ||
           error_set(err, STATUS_CONFIG, "%s: its first line is not a password in printable ASCII",
                     config->password_file);
}

struct etcd *etcd_open(const struct pool_config *config, struct etcd_stop stop, struct error *err)
{
    autoetcd struct etcd *etcd = calloc(1, sizeof(*etcd));
    if (!etcd) {
        error_no_memory(err);
        return NULL;
    }
    etcd->config = config;
    etcd->stop = stop;
    if (!read_files(etcd, err)) {
        error_wrap(err, "[pool]");
        return NULL;
    }
    etcd->curl = curl_easy_init();
    if (!etcd->curl) {
        error_no_memory(err);
        return NULL;
    }
    return STEAL(etcd);
}

const char *etcd_endpoint(const struct etcd *etcd)
{
    return etcd->config->endpoints.items[etcd->current];
}

/* libcurl obeys $SSLKEYLOGFILE; our secrets go into no file. */
static CURLcode set_up_tls(CURL *curl, void *ssl_context, void *context)
{
    SSL_CTX_set_keylog_callback(ssl_context, NULL);
    return CURLE_OK;
}

static size_t take_reply(char *data, size_t size, size_t count, void *context)
{
    struct post *post = context;
    size_t length = size * count;
    if (length > post->reply_max - post->reply->length) {
        post->too_big = true;
        return 0;
    }
    strbuf_add(post->reply, data, length);
    return post->reply->failed ? 0 : length;
}

static size_t count_header(char *data, size_t size, size_t count, void *context)
{
    struct post *post = context;
    post->header_bytes += size * count;
    post->too_big = post->header_bytes > HEADERS_MAX;
    return post->too_big ? 0 : size * count;
}

static int look_for_stop(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct etcd_stop *stop = &((const struct post *)context)->etcd->stop;
    return stop->asked && stop->asked(stop->context);
}

static bool set_pem(CURL *curl, CURLoption option, char *text)
{
    struct curl_blob blob = {.data = text, .len = strlen(text), .flags = CURL_BLOB_COPY};
    return curl_easy_setopt(curl, option, &blob) == CURLE_OK;
}

static bool set_options(struct post *post, const char *url, const struct curl_slist *headers,
                        long left)
{
    const struct etcd *etcd = post->etcd;
    CURL *curl = etcd->curl;
    bool good = true;
    curl_easy_reset(curl); /* open connections stay */
#define OPTION(name, value) good = curl_easy_setopt(curl, name, value) == CURLE_OK && good
    OPTION(CURLOPT_URL, url);
    OPTION(CURLOPT_ERRORBUFFER, post->words);
    OPTION(CURLOPT_NOSIGNAL, 1L);
    OPTION(CURLOPT_PROTOCOLS_STR, string_starts_with(url, "https:") ? "https" : "http");
    OPTION(CURLOPT_PROXY, "");
    OPTION(CURLOPT_FOLLOWLOCATION, 0L);
    OPTION(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    OPTION(CURLOPT_HTTPHEADER, headers);
    OPTION(CURLOPT_TIMEOUT_MS, left < REQUEST_TIMEOUT_MS ? left : REQUEST_TIMEOUT_MS);
    OPTION(CURLOPT_CONNECTTIMEOUT_MS, left < CONNECT_TIMEOUT_MS ? left : CONNECT_TIMEOUT_MS);
    OPTION(CURLOPT_SSLVERSION,
           (long)CURL_SSLVERSION_TLSv1_2 |
               (post->plain_handshake ? (long)CURL_SSLVERSION_MAX_TLSv1_2 : 0L));
    OPTION(CURLOPT_FRESH_CONNECT, (long)post->plain_handshake);
    OPTION(CURLOPT_SSL_VERIFYPEER, 1L);
    OPTION(CURLOPT_SSL_VERIFYHOST, 2L);
    OPTION(CURLOPT_SSL_CTX_FUNCTION, set_up_tls);
    OPTION(CURLOPT_POST, 1L);
    OPTION(CURLOPT_POSTFIELDS, post->body);
    OPTION(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(post->body));
    OPTION(CURLOPT_WRITEFUNCTION, take_reply);
    OPTION(CURLOPT_WRITEDATA, post);
    OPTION(CURLOPT_HEADERFUNCTION, count_header);
    OPTION(CURLOPT_HEADERDATA, post);
    OPTION(CURLOPT_NOPROGRESS, 0L);
    OPTION(CURLOPT_XFERINFOFUNCTION, look_for_stop);
    OPTION(CURLOPT_XFERINFODATA, post);
    if (etcd->ca) {
        OPTION(CURLOPT_CAINFO, NULL);
        OPTION(CURLOPT_CAPATH, NULL);
        good = set_pem(curl, CURLOPT_CAINFO_BLOB, etcd->ca) && good;
    }
#undef OPTION
    if (etcd->cert)
        good = set_pem(curl, CURLOPT_SSLCERT_BLOB, etcd->cert) &&
               set_pem(curl, CURLOPT_SSLKEY_BLOB, etcd->key) && good;
    return good;
}

/* What one endpoint made of a request. */
enum outcome {
    ANSWERED,
    REFUSED,  /* its word is the store's */
    PASSED,   /* it is down or has no leader: the next one */
    BROKEN,   /* it closed the connection: once more, then the next one */
    UNTRUSTED /* its certificate is not good, or ours is not for it: the next one */
};

static enum outcome judge_transfer(const struct post *post, CURLcode code, struct error *err)
{
    const char *words = *post->words ? post->words : curl_easy_strerror(code);
    if (code == CURLE_ABORTED_BY_CALLBACK) {
        error_set(err, STATUS_INTERRUPTED, "interrupted");
        return REFUSED;
    }
    if (post->reply->failed || code == CURLE_OUT_OF_MEMORY) {
        error_no_memory(err);
        return REFUSED;
    }
    if (post->too_big) {
        error_set(err, STATUS_DATA, "its answer has more than %zu bytes", post->reply_max);
        return REFUSED;
    }
    if (code == CURLE_SSL_CERTPROBLEM || code == CURLE_SSL_CACERT_BADFILE) {
        error_set(err, STATUS_CONFIG, "[pool] ca, cert or key cannot be used: %s", words);
        return REFUSED;
    }
    if (code == CURLE_PEER_FAILED_VERIFICATION) {
        error_set(err, STATUS_NOT_TRUSTED, "its certificate is not good under [pool] ca: %s",
                  words);
        return UNTRUSTED;
    }
    /* TLS 1.3 says after the handshake that it does not want our certificate. */
    if (strstr(words, "alert") && (strstr(words, "certificate") || strstr(words, "unknown ca"))) {
        error_set(err, STATUS_NOT_TRUSTED, "it does not take our certificate ([pool] cert): %s",
                  words);
        return UNTRUSTED;
    }
    bool broken = code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING;
    error_set(err, STATUS_UNAVAILABLE, "%s", words);
    return broken ? BROKEN : PASSED;
}

static enum outcome judge_status(const struct post *post, long status, int *code, struct error *err)
{
    if (status == 200)
        return ANSWERED;
    const char *text = post->reply->data ? post->reply->data : "";
    autofree char *words = etcd_error_parse(text, post->reply->length, code);
    if (!words) {
        error_no_memory(err);
        return REFUSED;
    }
    /* Also 408 and 5xx: no leader, timed out, too many requests under way. */
    if (status >= 500 || status == 408 || status == 429 || *code == ETCD_UNAVAILABLE) {
        error_set(err, STATUS_UNAVAILABLE, "HTTP status %ld: %s", status, words);
        return PASSED;
    }
    bool refused = *code == ETCD_PERMISSION_DENIED || *code == ETCD_UNAUTHENTICATED ||
                   status == 401 || status == 403;
    error_set(err, refused ? STATUS_NOT_TRUSTED : STATUS_PROTOCOL, "HTTP status %ld: %s", status,
              words);
    return REFUSED;
}

static enum outcome post_once(struct post *post, const char *path, deadline when, int *code,
                              struct error *err)
{
    struct etcd *etcd = post->etcd;
    autofree char *url = string_format("%s%s", etcd_endpoint(etcd), path);
    autofree char *token = etcd->token ? string_format("Authorization: %s", etcd->token) : NULL;
    int left = deadline_left_ms(when);
    struct sigpipe_guard guard;
    long status = 0;
    if (left == 0) {
        error_set(err, STATUS_UNAVAILABLE, "not asked: no time is left");
        return PASSED;
    }
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    struct curl_slist *more = headers ? curl_slist_append(headers, "Expect:") : NULL;
    if (more && token)
        more = curl_slist_append(headers, token);
    enum outcome outcome = REFUSED;
    if (!url || !more || (etcd->token && !token)) {
        error_no_memory(err);
    } else if (!set_options(post, url, headers, left < 0 ? REQUEST_TIMEOUT_MS : left)) {
        error_set(err, STATUS_INTERNAL, "libcurl lacks an option that is needed");
    } else {
        sigpipe_block(&guard);
        CURLcode result = curl_easy_perform(etcd->curl);
        sigpipe_restore(&guard);
        curl_easy_getinfo(etcd->curl, CURLINFO_RESPONSE_CODE, &status);
        outcome = result == CURLE_OK ? judge_status(post, status, code, err)
                                     : judge_transfer(post, result, err);
    }
    curl_easy_reset(etcd->curl); /* it must not keep pointers into this call */
    curl_slist_free_all(headers);
    if (token)
        OPENSSL_cleanse(token, strlen(token));
    return outcome;
}

/* A connection that was closed after the handshake, once more. With TLS 1.3 a server sees our
 * certificate when the handshake is over for us, and its alert may be lost behind what we write; up
 * to 1.2 it comes in time. */
static enum outcome post_again(struct post *post, const char *path, deadline when, int *code,
                               struct error *err)
{
    struct error reason = ERROR_INIT;
    strbuf_free(post->reply);
    *post = (struct post){.etcd = post->etcd,
                          .body = post->body,
                          .reply = post->reply,
                          .reply_max = post->reply_max,
                          .plain_handshake = true};
    enum outcome outcome = post_once(post, path, when, code, &reason);
    if (outcome != PASSED && outcome != BROKEN && err)
        *err = reason;
    return outcome == BROKEN ? PASSED : outcome;
}

/* All endpoints in turn, beginning with the one that answered last. */
static bool post_around(struct etcd *etcd, const char *path, const char *body, size_t reply_max,
                        deadline when, struct strbuf *reply, int *code, struct error *err)
{
    const struct strlist *endpoints = &etcd->config->endpoints;
    autostrbuf struct strbuf reasons = {0};
    bool all_untrusted = true;
    for (size_t i = 0; i < endpoints->count; i++) {
        struct error reason = ERROR_INIT;
        struct post post = {.etcd = etcd, .body = body, .reply = reply, .reply_max = reply_max};
        strbuf_free(reply);
        *code = 0;
        enum outcome outcome = post_once(&post, path, when, code, &reason);
        if (outcome == BROKEN)
            outcome = post_again(&post, path, when, code, &reason);
        if (outcome == ANSWERED)
            return true;
        if (outcome == REFUSED) {
            if (err)
                *err = reason;
            return reason.status == STATUS_INTERRUPTED
                       ? false
                       : error_wrap(err, "pool: %s", etcd_endpoint(etcd));
        }
        all_untrusted = all_untrusted && outcome == UNTRUSTED;
        log_debug("pool: %s: %s", etcd_endpoint(etcd), reason.message);
        strbuf_printf(&reasons, "%s%s: %s", i > 0 ? "; " : "", etcd_endpoint(etcd), reason.message);
        etcd->current = (etcd->current + 1) % endpoints->count;
    }
    if (reasons.failed)
        return error_no_memory(err);
    return error_set(err, all_untrusted ? STATUS_NOT_TRUSTED : STATUS_UNAVAILABLE,
                     "the pool cannot be asked: %s", reasons.data);
}

/* A token of etcd's for our user. */
static bool log_in(struct etcd *etcd, deadline when, struct error *err)
{
    autostrbuf struct strbuf reply = {0};
    int code;
    autojson json_t *request =
        json_pack("{s:s, s:s}", "name", etcd->config->user, "password", etcd->password);
    char *body = request ? json_to_text(request) : NULL;
    if (!body)
        return error_no_memory(err);
    cleanse(etcd->token);
    etcd->token = NULL;
    bool good =
        post_around(etcd, "/v3/auth/authenticate", body, ETCD_REPLY_MAX, when, &reply, &code, err);
    cleanse(body);
    return (good && etcd_token_parse(reply.data, reply.length, &etcd->token, err)) ||
           error_wrap(err, "logging in as %s", etcd->config->user);
}

bool etcd_post(struct etcd *etcd, const char *path, const json_t *request, size_t reply_max,
               deadline when, struct strbuf *reply, int *code, struct error *err)
{
    int ignored;
    autofree char *body = json_to_text(request);
    if (!body)
        return error_no_memory(err);
    if (!code)
        code = &ignored;
    *code = 0;
    bool fresh = etcd->password && !etcd->token;
    if (fresh && !log_in(etcd, when, err))
        return false;
    if (post_around(etcd, path, body, reply_max, when, reply, code, err))
        return true;
    /* Tokens end (after 5 minutes unused, etcd 3.4). */
    if (*code != ETCD_UNAUTHENTICATED || !etcd->password || fresh)
        return false;
    return log_in(etcd, when, err) &&
           post_around(etcd, path, body, reply_max, when, reply, code, err);
}
