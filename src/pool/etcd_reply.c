/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/etcd_reply.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/strings.h"

#define TOKEN_MAX 4096
#define ERROR_WORDS_MAX 200
/* What an answer has beside keys and values: for each key, and once. */
#define KV_MEMBERS_MAX 256
/* etcd's own limit of a request: one who can write the store can put so much under one key, which
 * must not hide the others. */
#define ETCD_VALUE_MAX ((size_t)1536 << 10)

void etcd_kv_free(struct etcd_kv *kv)
{
    free(kv->key);
    free(kv->value);
    *kv = (struct etcd_kv){0};
}

void etcd_range_free(struct etcd_range *range)
{
    for (size_t i = 0; i < range->count; i++)
        etcd_kv_free(&range->kvs[i]);
    free(range->kvs);
    *range = (struct etcd_range){0};
}

static size_t base64_size(size_t length)
{
    return (length + 2) / 3 * 4;
}

size_t etcd_range_reply_max(const struct etcd_asked *asked)
{
    return ETCD_REPLY_MAX + base64_size(ETCD_VALUE_MAX) +
           asked->kvs_max *
               (base64_size(asked->value_max) + base64_size(ETCD_KEY_MAX) + KV_MEMBERS_MAX);
}

/* A 64-bit integer: a string, or missing when it is 0; a number from gateways to come. */
static bool take_number(const json_t *object, const char *name, int64_t *number, struct error *err)
{
    const json_t *member = json_object_get(object, name);
    uint64_t value = 0;
    if (json_is_integer(member) && json_integer_value(member) >= 0)
        value = (uint64_t)json_integer_value(member);
    else if (member && (!json_is_string(member) ||
                        !parse_number(json_string_value(member), 0, INT64_MAX, &value)))
        return error_set(err, STATUS_DATA, "'%s' is not a number", name);
    *number = (int64_t)value;
    return true;
}

/* Bytes in base64; missing means none. A NUL is put behind them. */
static bool take_bytes(const json_t *object, const char *name, char **bytes, size_t *length,
                       struct error *err)
{
    const json_t *member = json_object_get(object, name);
    autofree uint8_t *data = NULL;
    size_t size = 0;
    if (member && !json_is_string(member))
        return error_set(err, STATUS_DATA, "'%s' is not a string", name);
    if (member && !base64_decode(json_string_value(member), &data, &size, err))
        return error_wrap(err, "'%s'", name);
    char *result = malloc(size + 1);
    if (!result)
        return error_no_memory(err);
    if (size > 0)
        memcpy(result, data, size);
    result[size] = '\0';
    *bytes = result;
    *length = size;
    return true;
}

static bool is_asked_for(const struct etcd_asked *asked, const struct etcd_kv *kv)
{
    size_t length = strlen(asked->key);
    if (kv->key_length < length || memcmp(kv->key, asked->key, length) != 0)
        return false;
    return asked->prefix || kv->key_length == length;
}

static bool take_kv(const json_t *item, const struct etcd_asked *asked, struct etcd_kv *kv,
                    struct error *err)
{
    if (!json_is_object(item))
        return error_set(err, STATUS_DATA, "a key-value pair is not an object");
    if (!take_bytes(item, "key", &kv->key, &kv->key_length, err) ||
        !take_number(item, "mod_revision", &kv->mod_revision, err))
        return false;
    if (!is_asked_for(asked, kv))
        return error_set(err, STATUS_DATA, "it has a key that was not asked for");
    if (kv->key_length > ETCD_KEY_MAX)
        return error_set(err, STATUS_DATA, "it has a key of %zu bytes", kv->key_length);
    if (!take_bytes(item, "value", &kv->value, &kv->value_length, err))
        return false;
    if (kv->value_length > asked->value_max) {
        free(kv->value);
        kv->value = NULL;
    }
    return true;
}

/* Byte order, as etcd's. */
static bool comes_after(const struct etcd_kv *kv, const struct etcd_kv *before)
{
    size_t common = kv->key_length < before->key_length ? kv->key_length : before->key_length;
    int order = memcmp(kv->key, before->key, common);
    return order > 0 || (order == 0 && kv->key_length > before->key_length);
}

static bool take_kvs(const json_t *list, const struct etcd_asked *asked, struct etcd_range *range,
                     struct error *err)
{
    size_t i;
    json_t *item;
    if (list && !json_is_array(list))
        return error_set(err, STATUS_DATA, "'kvs' is not a list");
    if (json_array_size(list) > asked->kvs_max)
        return error_set(err, STATUS_DATA, "it has %zu keys, of at most %zu asked for",
                         json_array_size(list), asked->kvs_max);
    range->kvs = calloc(json_array_size(list) + 1, sizeof(*range->kvs));
    if (!range->kvs)
        return error_no_memory(err);
    json_array_foreach(list, i, item)
    {
        range->count++;
        if (!take_kv(item, asked, &range->kvs[i], err))
            return false;
        if (i > 0 && !comes_after(&range->kvs[i], &range->kvs[i - 1]))
            return error_set(err, STATUS_DATA, "its keys are not in order, each once");
    }
    return true;
}

bool etcd_range_parse(const char *text, size_t length, const struct etcd_asked *asked,
                      struct etcd_range *out, struct error *err)
{
    autorange struct etcd_range range = {0};
    int64_t count = 0;
    autojson json_t *json = json_parse_strict(text, length, etcd_range_reply_max(asked), err);
    if (!json || !take_kvs(json_object_get(json, "kvs"), asked, &range, err) ||
        !take_number(json, "count", &count, err))
        return false;
    if (count < (int64_t)range.count)
        return error_set(err, STATUS_DATA, "it has %zu keys and says %lld", range.count,
                         (long long)count);
    /* The number is the server's of all keys; "more" says the same in another way. */
    range.more = count > (int64_t)range.count || json_is_true(json_object_get(json, "more"));
    *out = range;
    range = (struct etcd_range){0};
    return true;
}

bool etcd_put_parse(const char *text, size_t length, const struct etcd_asked *asked,
                    struct etcd_kv *previous, struct error *err)
{
    struct etcd_kv kv __attribute__((cleanup(etcd_kv_free))) = {0};
    autojson json_t *json = json_parse_strict(text, length, etcd_range_reply_max(asked), err);
    const json_t *item = json_object_get(json, "prev_kv");
    if (!json || (item && !take_kv(item, asked, &kv, err)))
        return false;
    *previous = kv;
    kv = (struct etcd_kv){0};
    return true;
}

bool etcd_txn_parse(const char *text, size_t length, bool *succeeded, struct error *err)
{
    autojson json_t *json = json_parse_strict(text, length, ETCD_REPLY_MAX, err);
    const json_t *member = json_object_get(json, "succeeded");
    if (!json)
        return false;
    if (member && !json_is_boolean(member))
        return error_set(err, STATUS_DATA, "'succeeded' is not true or false");
    *succeeded = json_is_true(member);
    return true;
}

bool etcd_lease_parse(const char *text, size_t length, int64_t *id, int64_t *ttl, struct error *err)
{
    int64_t its_id, its_ttl;
    autojson json_t *json = json_parse_strict(text, length, ETCD_REPLY_MAX, err);
    if (!json || !take_number(json, "ID", &its_id, err) || !take_number(json, "TTL", &its_ttl, err))
        return false;
    if (its_id == 0 || its_ttl == 0)
        return error_set(err, STATUS_DATA, "it is no lease");
    *id = its_id;
    *ttl = its_ttl;
    return true;
}

bool etcd_keepalive_parse(const char *text, size_t length, int64_t id, int64_t *ttl,
                          struct error *err)
{
    int64_t its_id, its_ttl;
    autojson json_t *json = json_parse_strict(text, length, ETCD_REPLY_MAX, err);
    const json_t *result = json_object_get(json, "result");
    if (!json)
        return false;
    if (!json_is_object(result))
        return error_set(err, STATUS_DATA, "there is no 'result'");
    if (!take_number(result, "ID", &its_id, err) || !take_number(result, "TTL", &its_ttl, err))
        return false;
    if (its_id != id)
        return error_set(err, STATUS_DATA, "it is about another lease");
    *ttl = its_ttl;
    return true;
}

bool etcd_token_parse(const char *text, size_t length, char **token, struct error *err)
{
    autojson json_t *json = json_parse_strict(text, length, ETCD_REPLY_MAX, err);
    const char *value = json_string_value(json_object_get(json, "token"));
    if (!json)
        return false;
    if (!value || !*value || strlen(value) > TOKEN_MAX || strchr(value, ' '))
        return error_set(err, STATUS_DATA, "there is no token");
    return (*token = strdup(value)) || error_no_memory(err);
}

char *etcd_error_parse(const char *text, size_t length, int *code)
{
    autojson json_t *json = json_parse_strict(text, length, ETCD_REPLY_MAX, NULL);
    const char *words = json_string_value(json_object_get(json, "message"));
    json_int_t value = json_integer_value(json_object_get(json, "code"));
    if (!words)
        words = json_string_value(json_object_get(json, "error"));
    *code = value > 0 && value < 100 ? (int)value : 0;
    return string_plain(words && *words ? words : "no reason given", ERROR_WORDS_MAX);
}
