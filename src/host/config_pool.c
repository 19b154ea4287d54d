/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "host/config_pool.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define URL_FORM "etcd+https://HOST[:PORT][,HOST[:PORT]...]/PREFIX"

void pool_config_free(struct pool_config *pool)
{
    strlist_free(&pool->endpoints);
    free(pool->prefix);
    free(pool->ca);
    free(pool->cert);
    free(pool->key);
    free(pool->user);
    free(pool->password_file);
    free(pool->address);
    *pool = (struct pool_config){0};
}

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 ? IN6_IS_ADDR_LOOPBACK(&v6)
                                               : strcmp(host, "localhost") == 0;
}

/* Names as those of VMs, separated by single slashes. */
static bool prefix_is_valid(const char *prefix)
{
    if (strlen(prefix) > POOL_PREFIX_MAX || !*prefix)
        return false;
    for (const char *p = prefix;; p++) {
        size_t length = strcspn(p, "/");
        autofree char *name = strndup(p, length);
        if (!name || !name_is_vm(name))
            return false;
        p += length;
        if (!*p)
            return true;
    }
}

static bool add_endpoint(struct strlist *endpoints, bool tls, const char *text, struct error *err)
{
    autofree char *host = NULL;
    uint16_t port = POOL_DEFAULT_PORT;
    if (!parse_address(text, &host, &port) || !*host)
        return error_refuse(err, STATUS_CONFIG, "'%.80s' is not HOST[:PORT]", text);
    if (!tls && !is_loopback(host))
        return error_set(err, STATUS_CONFIG,
                         "etcd+http:// is for this machine only (127.0.0.1, [::1]): %.80s needs "
                         "etcd+https://",
                         text);
    const char *scheme = tls ? "https" : "http";
    autofree char *url = strchr(host, ':') ? string_format("%s://[%s]:%u", scheme, host, port)
                                           : string_format("%s://%s:%u", scheme, host, port);
    if (!url)
        return error_no_memory(err);
    if (strlist_contains(endpoints, url))
        return error_set(err, STATUS_CONFIG, "%s is given twice", url);
    if (endpoints->count >= POOL_ENDPOINTS_MAX)
        return error_set(err, STATUS_CONFIG, "more than %d endpoints", POOL_ENDPOINTS_MAX);
    return strlist_push(endpoints, url) || error_no_memory(err);
}

static bool set_url(struct pool_config *pool, const char *value, struct error *err)
{
    bool tls = string_starts_with(value, "etcd+https://");
    if (!tls && !string_starts_with(value, "etcd+http://"))
        return error_set(err, STATUS_CONFIG, "'%.80s' is not " URL_FORM, value);
    const char *hosts = strstr(value, "://") + 3;
    const char *prefix = strchr(hosts, '/');
    if (!prefix || !prefix_is_valid(prefix + 1))
        return error_set(err, STATUS_CONFIG,
                         "'%.120s' has no valid prefix: " URL_FORM ", where PREFIX is names of "
                         "letters, digits, '.', '_', '-', separated by '/'",
                         value);
    if (pool->prefix && strcmp(pool->prefix, prefix + 1) != 0)
        return error_set(err, STATUS_CONFIG, "two prefixes: '%.80s' and '%.80s'", pool->prefix,
                         prefix + 1);
    /* Not strlist_split: an empty piece is a slip here. */
    for (const char *p = hosts; p <= prefix; p++) {
        size_t length = strcspn(p, ",/");
        autofree char *text = strndup(p, length);
        if (!text)
            return error_no_memory(err);
        if (!add_endpoint(&pool->endpoints, tls, text, err))
            return false;
        p += length;
    }
    return pool->prefix || (pool->prefix = strdup(prefix + 1)) || error_no_memory(err);
}

static bool set_text(char **place, const char *value, struct error *err)
{
    char *copy = strdup(value);
    if (!copy)
        return error_no_memory(err);
    free(*place);
    *place = copy;
    return true;
}

static bool set_file(char **place, const char *value, struct error *err)
{
    if (*value != '/')
        return error_set(err, STATUS_CONFIG, "'%.80s' is not a file's whole path", value);
    return set_text(place, value, err);
}

static bool set_user(struct pool_config *pool, const char *value, struct error *err)
{
    if (!name_is_vm(value))
        return error_set(err, STATUS_CONFIG, "'%.80s' is not a user's name", value);
    return set_text(&pool->user, value, err);
}

static bool set_address(struct pool_config *pool, const char *value, struct error *err)
{
    autofree char *host = NULL;
    uint16_t port = 0;
    if (!parse_address(value, &host, &port) || !*host)
        return error_refuse(err, STATUS_CONFIG, "'%.80s' is not HOST[:PORT]", value);
    return set_text(&pool->address, value, err);
}

static bool set_ca(struct pool_config *pool, const char *value, struct error *err)
{
    return set_file(&pool->ca, value, err);
}

static bool set_cert(struct pool_config *pool, const char *value, struct error *err)
{
    return set_file(&pool->cert, value, err);
}

static bool set_key(struct pool_config *pool, const char *value, struct error *err)
{
    return set_file(&pool->key, value, err);
}

static bool set_password_file(struct pool_config *pool, const char *value, struct error *err)
{
    return set_file(&pool->password_file, value, err);
}

static const struct {
    const char *key;
    bool (*set)(struct pool_config *pool, const char *value, struct error *err);
} keys[] = {
    {"url", set_url},         {"ca", set_ca},     {"cert", set_cert},
    {"key", set_key},         {"user", set_user}, {"password-file", set_password_file},
    {"address", set_address},
};

bool pool_config_set(struct pool_config *pool, const char *key, const char *value,
                     struct error *err)
{
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (strcmp(keys[i].key, key) == 0)
            return keys[i].set(pool, value, err);
    return error_set(err, STATUS_CONFIG, "unknown key '%.60s' in [pool]", key);
}

bool pool_config_check(const struct pool_config *pool, struct error *err)
{
    bool tls = pool->endpoints.count > 0 && string_starts_with(pool->endpoints.items[0], "https:");
    for (size_t i = 0; i < pool->endpoints.count; i++)
        if (string_starts_with(pool->endpoints.items[i], "https:") != tls)
            return error_set(err, STATUS_CONFIG, "[pool]: etcd+https and etcd+http in one pool");
    if (pool->endpoints.count == 0 &&
        (pool->ca || pool->cert || pool->key || pool->user || pool->password_file || pool->address))
        return error_set(err, STATUS_CONFIG, "[pool]: there is no url");
    if (!pool->cert != !pool->key)
        return error_set(err, STATUS_CONFIG, "[pool]: cert and key go together");
    if (!pool->user != !pool->password_file)
        return error_set(err, STATUS_CONFIG, "[pool]: user and password-file go together");
    if (!tls && (pool->ca || pool->cert))
        return error_set(err, STATUS_CONFIG, "[pool]: ca, cert and key are for etcd+https");
    return true;
}
