/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Reading the answers of etcd's v3 JSON gateway (etcd 3.4 and later, "gRPC gateway": bytes are
 * base64, 64-bit integers are strings, members that are zero are left out). Pure. The store is
 * not trusted: every answer has a limit, and holds only what was asked for.
 */
#ifndef QML_POOL_ETCD_REPLY_H
#define QML_POOL_ETCD_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Codes of gRPC (google.golang.org/grpc/codes) that the store's errors carry. */
#define ETCD_NOT_FOUND 5
#define ETCD_PERMISSION_DENIED 7
#define ETCD_UNAVAILABLE 14
#define ETCD_UNAUTHENTICATED 16

#define ETCD_REPLY_MAX ((size_t)16 << 10) /* of those that carry no values */
#define ETCD_KEY_MAX 512

/* One key. Both texts end with a NUL that the lengths do not count, and may have others. */
struct etcd_kv {
    char *key;
    size_t key_length;
    char *value; /* NULL: larger than asked for */
    size_t value_length;
    int64_t mod_revision; /* of the last change */
};

struct etcd_range {
    struct etcd_kv *kvs; /* by key, no key twice */
    size_t count;
    bool more; /* there are more than the limit */
};

void etcd_kv_free(struct etcd_kv *kv);
void etcd_range_free(struct etcd_range *range);
#define autorange __attribute__((cleanup(etcd_range_free)))

/* What was asked for. */
struct etcd_asked {
    const char *key; /* this one */
    bool prefix;     /* or all that begin with it */
    size_t kvs_max, value_max;
};

/* The largest answer to that. */
size_t etcd_range_reply_max(const struct etcd_asked *asked);

/* Each takes `length` bytes of an answer. STATUS_DATA: it is none. */
bool etcd_range_parse(const char *text, size_t length, const struct etcd_asked *asked,
                      struct etcd_range *range, struct error *err);
/* kv->key stays NULL when there was no value before. */
bool etcd_put_parse(const char *text, size_t length, const struct etcd_asked *asked,
                    struct etcd_kv *previous, struct error *err);
bool etcd_txn_parse(const char *text, size_t length, bool *succeeded, struct error *err);
/* *id > 0; *ttl in seconds. */
bool etcd_lease_parse(const char *text, size_t length, int64_t *id, int64_t *ttl,
                      struct error *err);
/* *ttl is 0 for a lease that has ended. */
bool etcd_keepalive_parse(const char *text, size_t length, int64_t id, int64_t *ttl,
                          struct error *err);
/* *token is for the caller to free. */
bool etcd_token_parse(const char *text, size_t length, char **token, struct error *err);
/* What an error of the store says, at most 200 characters, for the caller to free (NULL for want of
 * memory), and its code, 0: not known. Whatever the text is. */
char *etcd_error_parse(const char *text, size_t length, int *code);

#endif
