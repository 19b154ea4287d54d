/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/strings.h"
#include "pool/etcd.h"

static json_t *bytes(const char *text, size_t length)
{
    autofree char *encoded = base64_encode(text, length);
    return encoded ? json_string(encoded) : NULL;
}

static json_t *text_bytes(const char *text)
{
    return bytes(text, strlen(text));
}

/* 64-bit integers are strings, as the gateway writes them. */
static json_t *number(int64_t value)
{
    return json_sprintf("%lld", (long long)value);
}

/* What begins with key ends before key with its last byte one higher. */
static json_t *range_end(const char *key)
{
    autofree char *end = strdup(key);
    if (!end)
        return NULL;
    end[strlen(end) - 1]++;
    return text_bytes(end);
}

static bool wrong(const struct etcd *etcd, struct error *err)
{
    return error_wrap(err, "pool: %s: its answer", etcd_endpoint(etcd));
}

bool etcd_range(struct etcd *etcd, const struct etcd_asked *asked, deadline when,
                struct etcd_range *range, struct error *err)
{
    autojson json_t *request = json_pack("{s:o, s:o}", "key", text_bytes(asked->key), "limit",
                                         number((int64_t)asked->kvs_max));
    autostrbuf struct strbuf reply = {0};
    if (!request ||
        (asked->prefix && json_object_set_new(request, "range_end", range_end(asked->key)) != 0))
        return error_no_memory(err);
    if (!etcd_post(etcd, "/v3/kv/range", request, etcd_range_reply_max(asked), when, &reply, NULL,
                   err))
        return false;
    return etcd_range_parse(reply.data, reply.length, asked, range, err) || wrong(etcd, err);
}

bool etcd_put(struct etcd *etcd, const char *key, const char *value, size_t value_max,
              int64_t lease, deadline when, struct etcd_kv *previous, bool *lease_gone,
              struct error *err)
{
    const struct etcd_asked asked = {.key = key, .kvs_max = 1, .value_max = value_max};
    autojson json_t *request =
        json_pack("{s:o, s:o, s:o, s:b}", "key", text_bytes(key), "value", text_bytes(value),
                  "lease", number(lease), "prev_kv", previous != NULL);
    autostrbuf struct strbuf reply = {0};
    int code = 0;
    *lease_gone = false;
    if (!request)
        return error_no_memory(err);
    if (!etcd_post(etcd, "/v3/kv/put", request, etcd_range_reply_max(&asked), when, &reply, &code,
                   err)) {
        *lease_gone = code == ETCD_NOT_FOUND;
        return false;
    }
    struct etcd_kv before = {0};
    if (!etcd_put_parse(reply.data, reply.length, &asked, &before, err))
        return wrong(etcd, err);
    if (previous)
        *previous = before;
    else
        etcd_kv_free(&before);
    return true;
}

bool etcd_put_if(struct etcd *etcd, const char *key, const char *value, int64_t mod_revision,
                 deadline when, bool *written, struct error *err)
{
    autojson json_t *request = json_pack(
        "{s:[{s:o, s:s, s:s, s:o}], s:[{s:{s:o, s:o}}]}", "compare", "key", text_bytes(key),
        "target", "MOD", "result", "EQUAL", "mod_revision", number(mod_revision), "success",
        "requestPut", "key", text_bytes(key), "value", text_bytes(value));
    autostrbuf struct strbuf reply = {0};
    if (!request)
        return error_no_memory(err);
    if (!etcd_post(etcd, "/v3/kv/txn", request, ETCD_REPLY_MAX, when, &reply, NULL, err))
        return false;
    return etcd_txn_parse(reply.data, reply.length, written, err) || wrong(etcd, err);
}

bool etcd_lease_grant(struct etcd *etcd, int64_t ttl_s, deadline when, int64_t *id,
                      struct error *err)
{
    autojson json_t *request = json_pack("{s:o}", "TTL", number(ttl_s));
    autostrbuf struct strbuf reply = {0};
    int64_t ttl;
    if (!request)
        return error_no_memory(err);
    if (!etcd_post(etcd, "/v3/lease/grant", request, ETCD_REPLY_MAX, when, &reply, NULL, err))
        return false;
    return etcd_lease_parse(reply.data, reply.length, id, &ttl, err) || wrong(etcd, err);
}

bool etcd_lease_keep(struct etcd *etcd, int64_t id, deadline when, bool *alive, struct error *err)
{
    autojson json_t *request = json_pack("{s:o}", "ID", number(id));
    autostrbuf struct strbuf reply = {0};
    int64_t ttl;
    if (!request)
        return error_no_memory(err);
    if (!etcd_post(etcd, "/v3/lease/keepalive", request, ETCD_REPLY_MAX, when, &reply, NULL, err))
        return false;
    if (!etcd_keepalive_parse(reply.data, reply.length, id, &ttl, err))
        return wrong(etcd, err);
    *alive = ttl > 0;
    return true;
}

bool etcd_lease_revoke(struct etcd *etcd, int64_t id, deadline when, struct error *err)
{
    autojson json_t *request = json_pack("{s:o}", "ID", number(id));
    autostrbuf struct strbuf reply = {0};
    return request ? etcd_post(etcd, "/v3/lease/revoke", request, ETCD_REPLY_MAX, when, &reply,
                               NULL, err)
                   : error_no_memory(err);
}
