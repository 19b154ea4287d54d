/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "pool/pool_private.h"

#define TRIES 5

/* What the store has under a VM's key; both are NULL when there is nothing. */
struct stored {
    struct etcd_range range;
    json_t *document; /* NULL: no JSON, or too large */
};

static void stored_free(struct stored *stored)
{
    etcd_range_free(&stored->range);
    json_decref(stored->document);
}
#define autostored __attribute__((cleanup(stored_free)))

static char *agreement_key(const struct pool *pool, const char *vm, struct error *err)
{
    char *key = NULL;
    if (!name_is_vm(vm))
        error_set(err, STATUS_INTERNAL, "'%.80s' is no name of a VM", vm);
    else if (!(key = string_format("%s/agreements/%s", pool->setup.config->pool.prefix, vm)))
        error_no_memory(err);
    return key;
}

/* why: what is wrong with the document, if there is one. */
static bool read_stored(struct pool *pool, const char *key, deadline when, struct stored *stored,
                        struct error *why, struct error *err)
{
    const struct etcd_asked asked = {.key = key, .kvs_max = 1, .value_max = POOL_DOCUMENT_SIZE_MAX};
    if (!etcd_range(pool->etcd, &asked, when, &stored->range, err))
        return false;
    if (stored->range.count == 0)
        return true;
    const struct etcd_kv *kv = &stored->range.kvs[0];
    if (!kv->value)
        error_set(why, STATUS_DATA, "it has more than %zu bytes", POOL_DOCUMENT_SIZE_MAX);
    else
        stored->document =
            json_parse_strict(kv->value, kv->value_length, POOL_DOCUMENT_SIZE_MAX, why);
    return true;
}

/* Whether what is there must stay: it is good, newer, and not from the future. */
static bool is_newer(const struct stored *stored, struct pool_judge judge, int64_t issued)
{
    int64_t its = 0;
    return stored->document && judge.good(judge.context, stored->document, &its) && its > issued &&
           its <= time(NULL) + PRESENCE_TOLERANCE_S;
}

bool pool_put_agreement(struct pool *pool, const char *vm, json_t *document, int64_t issued,
                        struct pool_judge judge, deadline when, struct error *err)
{
    autofree char *key = agreement_key(pool, vm, err);
    autofree char *text = json_to_text(document);
    if (!key)
        return false;
    if (!text)
        return error_no_memory(err);
    if (strlen(text) > POOL_DOCUMENT_SIZE_MAX)
        return error_set(err, STATUS_INTERNAL, "the agreement is too large for the pool");
    for (int i = 0; i < TRIES; i++) {
        autostored struct stored stored = {0};
        bool written = false;
        if (!read_stored(pool, key, when, &stored, NULL, err))
            return false;
        const struct etcd_kv *kv = stored.range.count > 0 ? &stored.range.kvs[0] : NULL;
        if (kv && kv->value && strcmp(kv->value, text) == 0)
            return true; /* perhaps by a request of ours whose answer was lost */
        if (is_newer(&stored, judge, issued))
            return error_set(err, STATUS_INCOMPATIBLE,
                             "pool: there is a newer agreement for %s, it stays", vm);
        if (!etcd_put_if(pool->etcd, key, text, kv ? kv->mod_revision : 0, when, &written, err))
            return false;
        if (written)
            return true;
    }
    return error_set(err, STATUS_UNAVAILABLE,
                     "pool: others write the agreement for %s at the same time", vm);
}

bool pool_find_agreement(struct pool *pool, const char *vm, deadline when, json_t **document,
                         struct error *err)
{
    autostored struct stored stored = {0};
    struct error why = ERROR_INIT;
    autofree char *key = agreement_key(pool, vm, err);
    if (!key || !read_stored(pool, key, when, &stored, &why, err))
        return false;
    if (stored.range.count > 0 && !stored.document)
        return error_set(err, STATUS_DATA, "pool: %s: the agreement for %s: %s",
                         etcd_endpoint(pool->etcd), vm, why.message);
    *document = STEAL(stored.document);
    return true;
}
