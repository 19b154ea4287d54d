/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The source's line to the guardian: asking it (orders.h), the lease, and the thread that renews
 * that, so that a network that stands still holds up nobody.
 */
#ifndef QML_MIGRATION_LINK_H
#define QML_MIGRATION_LINK_H

#include "migration/orders.h"
#include "peer/client.h"

#define LINK_CALL_MS 4000   /* for a question to the guardian */
#define LINK_URGENT_MS 5000 /* while the guest stands still */

struct guardian_link;

/* client and key, and all that they point at, are borrowed until guardian_link_free; of client,
 * interrupted counts in look and prepare only, and retryable not at all. lease: LEASE_SOURCE_INIT
 * or from lease_source_recover. NULL with STATUS_INTERNAL. */
struct guardian_link *guardian_link_new(const struct peer_client *client,
                                        const struct order_key *key,
                                        const struct lease_source *lease, struct error *err);
/* Ends the thread, within a second or so. NULL is fine. */
void guardian_link_free(struct guardian_link *link);
static inline void cleanup_guardian_link(struct guardian_link **link)
{
    guardian_link_free(*link);
}
#define autolink __attribute__((cleanup(cleanup_guardian_link)))

/* Every question below has as its errors those of peer_call, with the guardian's own refusals, and
 * STATUS_DATA for an answer that is none. *status and *retryable (client.h) may be NULL. */

/* As long as nobody listens there it is tried again, for patience milliseconds. */
bool guardian_link_look(struct guardian_link *link, int64_t patience, struct order_sight *sight,
                        struct error *err);

/* The grant in it is filled here. */
bool guardian_link_prepare(struct guardian_link *link, struct order_prepare *prepare,
                           struct guardian_status *status, uint16_t *port, struct error *err);

/* How is it? With grant, the lease goes on, too (unless the guest was given away: then it is only a
 * question). wait_ms and disarm: order_renew. */
struct link_renewal {
    bool grant;
    int wait_ms;
    bool disarm;
    int64_t limit_ms; /* for the whole call, besides wait_ms */
};
bool guardian_link_renew(struct guardian_link *link, const struct link_renewal *renewal,
                         struct guardian_status *status, struct error *err);

/* recover, abort or done. */
bool guardian_link_order(struct guardian_link *link, const char *name, int64_t limit_ms,
                         struct guardian_status *status, struct error *err);

/* Resume, after guardian_link_tell. good_until is filled here. */
bool guardian_link_resume(struct guardian_link *link, struct order_resume *resume, int64_t limit_ms,
                          struct guardian_status *status, bool *retryable, struct error *err);

/* The lease, as lease.h has it. */
bool guardian_link_tell(struct guardian_link *link);
void guardian_link_untold(struct guardian_link *link);
void guardian_link_returned(struct guardian_link *link);
/* The migration is over, and the guest is this host's for good. */
bool guardian_link_is_over(struct guardian_link *link);
bool guardian_link_may_run_here(struct guardian_link *link, int64_t *wait);

/* Start the thread that renews the lease, after prepare. STATUS_INTERNAL. */
bool guardian_link_start(struct guardian_link *link, struct error *err);
/* It grants no more: what is granted from now on is the caller's business. */
void guardian_link_cease(struct guardian_link *link);

/* Is all well over there, as far as the thread or anybody else has heard? False: the lease has run
 * out, the guardian does not want it any more, its QEMU has ended or its migration failed; err is
 * STATUS_MIGRATION and says which. */
bool guardian_link_check(struct guardian_link *link, struct error *err);

/* The same judgement of one answer. peer: the guardian's host, for the message. */
bool guardian_status_check(const struct guardian_status *status, const char *peer,
                           struct error *err);

/* The newest answer, all zero if there was none. */
struct guardian_status guardian_link_status(struct guardian_link *link);

#endif
