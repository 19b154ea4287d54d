/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * [pool] of config.ini: the etcd in which a fleet's hosts find each other.
 */
#ifndef QML_HOST_CONFIG_POOL_H
#define QML_HOST_CONFIG_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strings.h"

#define POOL_DEFAULT_PORT 2379
#define POOL_ENDPOINTS_MAX 16
#define POOL_PREFIX_MAX 128

struct pool_config {
    struct strlist endpoints; /* "https://HOST:PORT", in the order given; none: no pool */
    char *prefix;             /* of all keys: names separated by '/', none at either end */
    char *ca;                 /* a file; NULL: the system's CAs */
    char *cert, *key;         /* files: our certificate for the store, or NULL both */
    char *user;               /* of etcd's own users, or NULL; then there is password_file */
    char *password_file;
    char *address; /* where others reach this host: HOST[:PORT], or NULL */
};

void pool_config_free(struct pool_config *pool);

/* Take one key of the section; a url may come again, with further endpoints. STATUS_CONFIG. */
bool pool_config_set(struct pool_config *pool, const char *key, const char *value,
                     struct error *err);

/* Whether the keys fit together. STATUS_CONFIG. */
bool pool_config_check(const struct pool_config *pool, struct error *err);

#endif
