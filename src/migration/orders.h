/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What `migrate` on the source and the guardian on the destination say to each other
 * (doc/PROTOCOL.md): the forms of the requests and of their answers, made and read in one place.
 * Every request names the VM, the digest of its agreement and the migration; every answer has the
 * guardian's status. What is read here came from a peer: it is taken only in exactly this form.
 */
#ifndef QML_MIGRATION_ORDERS_H
#define QML_MIGRATION_ORDERS_H

#include "base/strings.h"
#include "migration/lease.h"
#include "migration/settings.h"
#include "vm/record.h"

/* The requests, by their names. */
#define ORDER_LOOK "look"       /* what is there, before anything is begun */
#define ORDER_PREPARE "prepare" /* set QEMU up and let it wait for the stream */
#define ORDER_STREAM "stream"   /* the connection becomes one channel of it (peer/stream.h) */
#define ORDER_RENEW "renew"     /* how is it? And, with a grant: the lease goes on */
#define ORDER_RESUME "resume"   /* told: from now on only the destination may run the guest */
#define ORDER_RECOVER "recover" /* wait for a new stream: postcopy has lost its old one */
#define ORDER_ABORT "abort"     /* end the QEMU there, unless it has run the guest */
#define ORDER_DONE "done"       /* the source is through: the guardian can go */

#define ORDER_WAIT_MAX_MS 1000
#define ORDER_NO_GRANT (-1)
#define ORDER_CHANNELS_MAX 64

/* What every request says. The texts are borrowed. */
struct order_key {
    const char *vm;
    const char *agreement; /* its digest */
    const char *migration; /* its id */
};

/* Of the guardian, in every answer. */
struct guardian_status {
    int64_t stamp; /* its clock: lease.h */
    enum lease_guardian_state lease;
    char run_state[32]; /* QEMU's, "ended" when it has, "" if it does not answer */
    char migration[32]; /* QEMU's status of the migration, "" if it tells none */
    char reason[512];   /* of a failure, plain text, or "" */
    int64_t pid;        /* of QEMU there, to be named to people */
};

struct order_prepare {
    int64_t grant;                /* a stamp */
    struct migration_offer offer; /* of the source's QEMU */
    struct migration_wishes wishes;
};

struct order_renew {
    int64_t grant; /* a stamp, or ORDER_NO_GRANT: a question only */
    int wait_ms;   /* answer when the migration is over there, or after so long */
    bool disarm;   /* send QEMU a `stop`, so that it does not run by itself when all is there */
};

struct order_resume {
    int64_t good_until; /* of the guardian's clock */
    bool run;           /* false: the guest was paused at the source and stays so */
    bool postcopy;      /* run it as soon as postcopy is active, which is yet to come */
};

/* What a look finds. */
struct order_sight {
    struct guardian_status status;
    struct migration_offer offer;
    json_t *inventory;          /* passed inventory_check */
    struct strlist differences; /* of its CPU from the agreement: lines for people */
};

void order_sight_free(struct order_sight *sight);
#define autosight __attribute__((cleanup(order_sight_free)))
void order_prepare_free(struct order_prepare *prepare);
#define autoprepare __attribute__((cleanup(order_prepare_free)))

/* Each makes a new object; NULL for want of memory. order_new makes look, recover, abort, done. */
json_t *order_new(const struct order_key *key);
json_t *order_new_prepare(const struct order_key *key, const struct order_prepare *prepare);
json_t *order_new_stream(const struct order_key *key, int channel);
json_t *order_new_renew(const struct order_key *key, const struct order_renew *renew);
json_t *order_new_resume(const struct order_key *key, const struct order_resume *resume);

/* The guardian reads a request; the texts in *key point into body. STATUS_DATA. */
bool order_take(json_t *body, struct order_key *key, struct error *err);
bool order_take_prepare(json_t *body, struct order_key *key, struct order_prepare *prepare,
                        struct error *err);
bool order_take_stream(json_t *body, struct order_key *key, int *channel, struct error *err);
bool order_take_renew(json_t *body, struct order_key *key, struct order_renew *renew,
                      struct error *err);
bool order_take_resume(json_t *body, struct order_key *key, struct order_resume *resume,
                       struct error *err);

/* The guardian's answers: to look; to prepare (port > 0: QEMU itself waits at that TCP port, for
 * --direct); to all others. */
json_t *order_answer_look(const struct order_sight *sight);
json_t *order_answer_prepare(const struct guardian_status *status, uint16_t port);
json_t *order_answer(const struct guardian_status *status);

/* And the source reads them. STATUS_DATA. */
bool order_take_sight(json_t *answer, struct order_sight *sight, struct error *err);
bool order_take_prepared(json_t *answer, struct guardian_status *status, uint16_t *port,
                         struct error *err);
bool order_take_status(json_t *answer, struct guardian_status *status, struct error *err);

/* "held", "told" … */
const char *lease_state_name(enum lease_guardian_state state);

#endif
