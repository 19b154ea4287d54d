/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A peer that asks the same again and again, for the end-to-end tests:
 *   peer-calls HOME PEER NAME COUNT [AT-ONCE [BODY]]
 * asks PEER, a trust entry with an address in HOME, COUNT times for request NAME with the JSON text
 * BODY ({}) as its body, AT-ONCE (1) at a time. One line of JSON on standard output:
 * {"answered":N,"answer":the last one or null,"statuses":{"STATUS":N,...},"words":{"STATUS":"the
 * last message",...},"slowest_ms":N,"total_ms":N}.
 */
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "base/paths.h"
#include "host/config.h"
#include "peer/client.h"

#define LIMIT_MS 120000
#define AT_ONCE_MAX 256

static struct peer_client client;
static const char *request, *body_text = "{}";
static uint64_t left, answered;
static int64_t slowest;
static json_t *statuses, *words, *last;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void note(bool good, const struct error *err, json_t *answer, int64_t took)
{
    char status[16];
    pthread_mutex_lock(&lock);
    slowest = took > slowest ? took : slowest;
    if (good) {
        answered++;
        json_decref(last);
        last = json_incref(answer);
    } else {
        snprintf(status, sizeof(status), "%d", err->status);
        json_int_t count = json_integer_value(json_object_get(statuses, status));
        json_object_set_new(statuses, status, json_integer(count + 1));
        json_object_set_new(words, status, json_string(err->message));
    }
    pthread_mutex_unlock(&lock);
}

static bool take_one(void)
{
    pthread_mutex_lock(&lock);
    bool more = left > 0;
    left -= more;
    pthread_mutex_unlock(&lock);
    return more;
}

static void *ask(void *context)
{
    while (take_one()) {
        struct error err = ERROR_INIT;
        autojson json_t *body = json_loads(body_text, 0, NULL), *answer = NULL;
        int64_t begun = clock_now_ms();
        bool good = peer_call(&client, request, body, deadline_in_ms(LIMIT_MS), &answer, &err);
        note(good, &err, answer, clock_now_ms() - begun);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct error err = ERROR_INIT;
    struct paths paths = {0};
    struct trust trust = {0};
    pthread_t threads[AT_ONCE_MAX];
    uint64_t at_once = 1;
    if (argc < 5 || !parse_number(argv[4], 1, 10000000, &left) ||
        (argc > 5 && !parse_number(argv[5], 1, AT_ONCE_MAX, &at_once))) {
        fprintf(stderr, "usage: peer-calls HOME PEER NAME COUNT [AT-ONCE [BODY]]\n");
        return STATUS_USAGE;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    request = argv[3];
    body_text = argc > 6 ? argv[6] : body_text;
    statuses = json_object();
    words = json_object();
    if (!paths_init(&paths, argv[1], &err) || !trust_load(paths.config, &trust, &err) ||
        !(client.identity = identity_load(paths.config, &err)) ||
        !(client.peer = trust_find(&trust, argv[2])) || !client.peer->host) {
        log_error("%s", err.status != STATUS_OK ? err.message : "no such peer, or no address");
        return STATUS_CONFIG;
    }
    client.host = client.peer->host;
    client.port = client.peer->port ? client.peer->port : DEFAULT_PORT;
    int64_t begun = clock_now_ms();
    for (uint64_t i = 0; i < at_once; i++)
        if (pthread_create(&threads[i], NULL, ask, NULL) != 0)
            return STATUS_INTERNAL;
    for (uint64_t i = 0; i < at_once; i++)
        pthread_join(threads[i], NULL);
    autojson json_t *result =
        json_pack("{s:I, s:O?, s:O, s:O, s:I, s:I}", "answered", (json_int_t)answered, "answer",
                  last, "statuses", statuses, "words", words, "slowest_ms", (json_int_t)slowest,
                  "total_ms", (json_int_t)(clock_now_ms() - begun));
    json_dumpf(result, stdout, JSON_SORT_KEYS);
    putchar('\n');
    json_decref(statuses);
    json_decref(words);
    json_decref(last);
    identity_free((struct identity *)client.identity);
    trust_free(&trust);
    paths_free(&paths);
    curl_global_cleanup();
    return fflush(stdout) == 0 ? 0 : STATUS_CANNOT_WRITE;
}
