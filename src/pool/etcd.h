/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A client of etcd's v3 JSON gateway: POST to one of the endpoints; one that is down, or that says
 * that it has no leader, is passed over for the next.
 */
#ifndef QML_POOL_ETCD_H
#define QML_POOL_ETCD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/deadline.h"
#include "base/error.h"
#include "host/config.h"
#include "pool/etcd_reply.h"

struct etcd;

/* Asked while a request waits: true ends it with STATUS_INTERRUPTED. */
struct etcd_stop {
    bool (*asked)(void *context);
    void *context;
};

/* Read the files that config (borrowed) names and check their modes; nothing is asked yet. The
 * caller frees it with etcd_free. NULL with STATUS_CONFIG, STATUS_NOT_TRUSTED (a key or a password
 * that others can read), STATUS_DATA (far too large), STATUS_INTERNAL. */
struct etcd *etcd_open(const struct pool_config *config, struct etcd_stop stop, struct error *err);
void etcd_free(struct etcd *etcd);

static inline void cleanup_etcd(struct etcd **etcd)
{
    etcd_free(*etcd);
}
#define autoetcd __attribute__((cleanup(cleanup_etcd)))

/* The endpoint that answered last. */
const char *etcd_endpoint(const struct etcd *etcd);

/* Each asks until `when`. STATUS_UNAVAILABLE: no endpoint answers, each named with the reason;
 * STATUS_NOT_TRUSTED: the store's certificate is not good, or it refuses us; STATUS_DATA: the
 * answer is no answer; STATUS_PROTOCOL: the store reports another error; STATUS_INTERRUPTED. */
bool etcd_range(struct etcd *etcd, const struct etcd_asked *asked, deadline when,
                struct etcd_range *range, struct error *err);
/* *previous, if not NULL: the value before, if there was one of at most value_max bytes.
 * *lease_gone: the lease has ended, nothing was written. */
bool etcd_put(struct etcd *etcd, const char *key, const char *value, size_t value_max,
              int64_t lease, deadline when, struct etcd_kv *previous, bool *lease_gone,
              struct error *err);
/* Write only if the key's last change is mod_revision (0: there is no such key). */
bool etcd_put_if(struct etcd *etcd, const char *key, const char *value, int64_t mod_revision,
                 deadline when, bool *written, struct error *err);
bool etcd_lease_grant(struct etcd *etcd, int64_t ttl_s, deadline when, int64_t *id,
                      struct error *err);
/* *alive: false when the lease has ended. */
bool etcd_lease_keep(struct etcd *etcd, int64_t id, deadline when, bool *alive, struct error *err);
/* End the lease; its keys go with it. */
bool etcd_lease_revoke(struct etcd *etcd, int64_t id, deadline when, struct error *err);

/* One request; the answer's text, at most reply_max bytes. For the functions above. *code: of the
 * store's error, 0 for none; may be NULL. etcd.c */
struct strbuf;
bool etcd_post(struct etcd *etcd, const char *path, const json_t *request, size_t reply_max,
               deadline when, struct strbuf *reply, int *code, struct error *err);

#endif
