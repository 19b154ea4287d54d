/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "peer/client_many.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "peer/client_error.h"
#include "peer/sigpipe.h"

#define AT_ONCE 256 /* connections, those that stay included */
#define POLL_MS 100

struct peer_links {
    CURLM *multi; /* it has the connections */
    struct link {
        struct link *next;
        struct call_tls tls;
    } * first;
    void (*meanwhile)(void *context); /* or NULL */
    void *context;
};

struct peer_links *peer_links_new(void)
{
    struct peer_links *links = calloc(1, sizeof(*links));
    if (!links)
        return NULL;
    links->multi = curl_multi_init();
    if (links->multi &&
        curl_multi_setopt(links->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)AT_ONCE) ==
            CURLM_OK &&
        curl_multi_setopt(links->multi, CURLMOPT_MAXCONNECTS, (long)AT_ONCE) == CURLM_OK)
        return links;
    peer_links_free(links);
    return NULL;
}

void peer_links_free(struct peer_links *links)
{
    struct sigpipe_guard guard;
    if (!links)
        return;
    sigpipe_block(&guard);
    curl_multi_cleanup(links->multi); /* first: the connections point to the rest */
    sigpipe_restore(&guard);
    while (links->first) {
        struct link *link = links->first;
        links->first = link->next;
        free(link);
    }
    free(links);
}

void peer_links_meanwhile(struct peer_links *links, void (*work)(void *context), void *context)
{
    links->meanwhile = work;
    links->context = context;
}

static struct call_tls *add_link(struct peer_links *links)
{
    struct link *link = calloc(1, sizeof(*link));
    if (!link)
        return NULL;
    link->next = links->first;
    links->first = link;
    return &link->tls;
}

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

static bool all_sent(const struct call *calls, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (calls[i].curl && calls[i].sent < calls[i].request_size)
            return false;
    return true;
}

static void work_meanwhile(struct peer_links *links)
{
    void (*work)(void *context) = links->meanwhile;
    links->meanwhile = NULL;
    if (work)
        work(links->context);
}

static bool run(struct peer_ask *asks, struct call *calls, size_t count, struct peer_links *links,
                const volatile sig_atomic_t *interrupted)
{
    CURLM *multi = links->multi;
    int running = 1;
    while (running > 0 && !(interrupted && *interrupted)) {
        if (curl_multi_perform(multi, &running) != CURLM_OK)
            return false;
        collect(asks, calls, multi);
        if (running > 0 && links->meanwhile && all_sent(calls, count))
            work_meanwhile(links);
        else if (running > 0 && curl_multi_poll(multi, NULL, 0, POLL_MS, NULL) != CURLM_OK)
            return false;
    }
    return true;
}

static bool call_many(struct peer_ask *asks, size_t count, const char *name, deadline when,
                      const volatile sig_atomic_t *interrupted, struct peer_links *links, bool stay)
{
    autofree struct call *calls = calloc(count + 1, sizeof(*calls));
    CURLM *multi = links ? links->multi : NULL;
    struct sigpipe_guard guard;
    bool good = calls && multi;
    for (size_t i = 0; i < count; i++) {
        struct peer_ask *ask = &asks[i];
        if (ask->skip)
            continue;
        json_decref(ask->answer);
        ask->answer = NULL;
        if (stay && !ask->tls)
            ask->tls = links ? add_link(links) : NULL;
        if (!good || (stay && !ask->tls))
            error_no_memory(&ask->error);
        else {
            calls[i].stays = stay;
            calls[i].tls = stay ? ask->tls : NULL;
            /* One body for all has one size. */
            if (i > 0 && ask->body == asks[i - 1].body)
                calls[i].request_size = calls[i - 1].request_size;
            begin(ask, &calls[i], multi, name, when);
        }
    }
    sigpipe_block(&guard);
    bool ran = good && run(asks, calls, count, links, interrupted);
    sigpipe_restore(&guard);
    if (links)
        links->meanwhile = NULL;
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
    return all;
}

bool peer_call_many(struct peer_ask *asks, size_t count, const char *name, deadline when,
                    const volatile sig_atomic_t *interrupted, struct peer_links *links)
{
    struct peer_links *own = links ? NULL : peer_links_new();
    bool all = call_many(asks, count, name, when, interrupted, links ? links : own, links != NULL);
    peer_links_free(own);
    return all;
}
