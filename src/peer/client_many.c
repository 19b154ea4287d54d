/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "peer/client_many.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "peer/client_error.h"
#include "peer/sigpipe.h"

#define AT_ONCE 64 /* connections */
#define POLL_MS 100

void peer_ask_clear(struct peer_ask *ask)
{
    json_decref(ask->body);
    json_decref(ask->answer);
    ask->body = ask->answer = NULL;
}

/* Queue one; false if nothing can come of it any more. */
static bool begin(struct peer_ask *ask, struct call *call, CURLM *multi, const char *name,
                  deadline when)
{
    struct error *err = &ask->error;
    *err = (struct error)ERROR_INIT;
    ask->retryable = false;
    ask->client.retryable = &ask->retryable;
    if (!ask->body)
        return error_no_memory(err);
    if (!call_begin(call, &ask->client, name, ask->body, err) || !call_prepare(call, when, err))
        return false;
    if (curl_easy_setopt(call->curl, CURLOPT_PRIVATE, ask) != CURLE_OK ||
        curl_multi_add_handle(multi, call->curl) != CURLM_OK)
        return error_set(err, STATUS_INTERNAL, "libcurl takes no request");
    return true;
}

/* Those that have ended. */
static void collect(struct peer_ask *asks, struct call *calls, CURLM *multi)
{
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(multi, &left));) {
        struct peer_ask *ask = NULL;
        CURL *curl = message->easy_handle;
        CURLcode code = message->data.result;
        if (message->msg != CURLMSG_DONE ||
            curl_easy_getinfo(curl, CURLINFO_PRIVATE, (char **)&ask) != CURLE_OK || !ask)
            continue;
        call_finish(&calls[ask - asks], code, &ask->answer, &ask->error);
        curl_multi_remove_handle(multi, curl);
    }
}

static bool run(struct peer_ask *asks, struct call *calls, size_t count, CURLM *multi,
                const volatile sig_atomic_t *interrupted)
{
    int running = 1;
    while (running > 0 && !(interrupted && *interrupted)) {
        if (curl_multi_perform(multi, &running) != CURLM_OK)
            return false;
        collect(asks, calls, multi);
        if (running > 0 && curl_multi_poll(multi, NULL, 0, POLL_MS, NULL) != CURLM_OK)
            return false;
    }
    return true;
}

bool peer_call_many(struct peer_ask *asks, size_t count, const char *name, deadline when,
                    const volatile sig_atomic_t *interrupted)
{
    autofree struct call *calls = calloc(count + 1, sizeof(*calls));
    CURLM *multi = curl_multi_init();
    struct sigpipe_guard guard;
    bool good = calls && multi &&
                curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)AT_ONCE) == CURLM_OK;
    for (size_t i = 0; i < count; i++) {
        struct peer_ask *ask = &asks[i];
        if (ask->skip)
            continue;
        json_decref(ask->answer);
        ask->answer = NULL;
        if (!good)
            error_no_memory(&ask->error);
        else {
            /* One body for all has one size. */
            if (i > 0 && ask->body == asks[i - 1].body)
                calls[i].request_size = calls[i - 1].request_size;
            begin(ask, &calls[i], multi, name, when);
        }
    }
    sigpipe_block(&guard);
    bool ran = good && run(asks, calls, count, multi, interrupted);
    sigpipe_restore(&guard);
    bool all = true;
    for (size_t i = 0; i < count; i++) {
        struct peer_ask *ask = &asks[i];
        if (good && calls[i].curl) {
            curl_multi_remove_handle(multi, calls[i].curl);
            if (!ask->answer && ask->error.status == STATUS_OK)
                error_set(&ask->error, ran ? STATUS_INTERRUPTED : STATUS_INTERNAL, "%s",
                          ran ? "interrupted" : "libcurl failed");
        }
        if (calls)
            call_free(&calls[i]);
        all = all && (ask->skip || ask->answer);
    }
    curl_multi_cleanup(multi);
    return all;
}
