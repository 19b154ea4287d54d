/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * For negotiate.c and negotiate_commit.c: one request to all parties, and one error from all.
 */
#ifndef QML_VM_NEGOTIATE_ASK_H
#define QML_VM_NEGOTIATE_ASK_H

#include "peer/client_many.h"
#include "vm/negotiate.h"

/* Those who are asked; asks[i] is of exchange->peers[i]. */
struct round {
    const struct exchange_self *self;
    struct exchange *exchange;
    struct peer_ask *asks;
    size_t count;
    struct peer_links *links; /* one connection to each for all requests */
};

bool round_begin(struct round *round, const struct exchange_self *self,
                 const struct negotiate_target *targets, size_t count, struct error *err);
void round_free(struct round *round);
#define autoround __attribute__((cleanup(round_free)))

/* Give all the same body (used up; NULL if it could not be made) and ask. `patient`: those who do
 * not listen yet are asked again until self->when. True if all answered. */
bool round_ask(struct round *round, const char *name, json_t *body, bool patient,
               struct error *err);

/* Ask those who are not to be skipped what their asks' bodies say. True if all answered. */
bool round_call(struct round *round, const char *name, struct error *err);

/* As round_ask, and nothing is said of those who do not answer: their errors are in asks. */
bool round_send(struct round *round, const char *name, json_t *body, bool patient);

/* One error for all that have one: that of the only one, or a line of the log for each, and err
 * names them all. Returns true if none has one. */
bool round_judge(const struct round *round, struct error *err);

/* Send the document that all have signed, as often as it takes until self->when. id: of the
 * exchange. True if all have acknowledged it. negotiate_commit.c */
bool round_commit(struct round *round, json_t *document, const char *digest, const char *id,
                  struct error *err);

#endif
