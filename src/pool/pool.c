/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/pool.h"

#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "pool/pool_private.h"

bool pool_is_configured(const struct config *config)
{
    return config->pool.endpoints.count > 0;
}

static bool is_interrupted(void *context)
{
    const struct pool_setup *setup = context;
    return setup->interrupted && *setup->interrupted;
}

struct pool *pool_open(const struct pool_setup *setup, struct error *err)
{
    autopool struct pool *pool = calloc(1, sizeof(*pool));
    if (!pool) {
        error_no_memory(err);
        return NULL;
    }
    pool->setup = *setup;
    pool->etcd =
        etcd_open(&setup->config->pool, (struct etcd_stop){is_interrupted, &pool->setup}, err);
    return pool->etcd ? STEAL(pool) : NULL;
}

void pool_close(struct pool *pool)
{
    if (!pool)
        return;
    etcd_free(pool->etcd);
    free(pool);
}

bool pool_members(struct pool *pool, deadline when, struct pool_members *out, struct error *err)
{
    const struct pool_setup *setup = &pool->setup;
    automembers struct pool_members members = {0};
    autorange struct etcd_range range = {0};
    autoseen struct seen seen = {0};
    autofree char *folder = string_format("%s/hosts/", setup->config->pool.prefix);
    if (!folder)
        return error_no_memory(err);
    /* The lock is older than the answer: else what another launch reads meanwhile would make this
     * answer look played back. */
    autoclose int lock = seen_lock(setup->state_folder, err);
    const struct etcd_asked asked = {
        .key = folder, .prefix = true, .kvs_max = POOL_MEMBERS_MAX, .value_max = PRESENCE_SIZE_MAX};
    if (lock < 0 || !seen_load(setup->state_folder, &seen, err) ||
        !etcd_range(pool->etcd, &asked, when, &range, err))
        return false;
    if (range.more)
        return error_set(err, STATUS_DATA, "pool: %s: more than %d hosts under %s",
                         etcd_endpoint(pool->etcd), POOL_MEMBERS_MAX, folder);
    int64_t now = time(NULL);
    const struct members_setup choice = {.folder = folder,
                                         .host_name = setup->config->host_name,
                                         .pin = setup->identity->pin,
                                         .trust = setup->trust,
                                         .now = now};
    if (!members_choose(&range, &choice, &seen, &members, err) ||
        !seen_store(setup->state_folder, &seen, now, err))
        return false;
    *out = members;
    members = (struct pool_members){0};
    return true;
}
