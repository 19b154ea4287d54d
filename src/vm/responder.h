/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * This host as a party to agreements that others launch under: the exchanges of an agent, several
 * at a time. It has no command line of its own: QEMU is the configured one, the rest is the
 * asker's.
 */
#ifndef QML_VM_RESPONDER_H
#define QML_VM_RESPONDER_H

#include <jansson.h>
#include <signal.h>

#include "base/paths.h"
#include "host/config.h"
#include "peer/identity.h"
#include "peer/trust.h"

struct responder;

/* All borrowed, for as long as the responder is there. */
struct responder_setup {
    const struct paths *paths;
    const struct config *config;
    const struct identity *identity;
    const volatile sig_atomic_t *interrupted; /* not 0: give up what is under way; or NULL */
};

/* NULL with STATUS_INTERNAL. */
struct responder *responder_new(const struct responder_setup *setup, struct error *err);
void responder_free(struct responder *responder);

/* Whether requests of that name are for it. */
bool responder_knows(const char *name);

/* Answer one, as peer_handler.handle does. It takes as long as QEMU's answers and a proof take.
 * After a commit the agreement is on disk, and the VM's record says where it lives. */
bool responder_handle(struct responder *responder, const struct trust_entry *peer,
                      const char *remote, const char *name, json_t *body, json_t **answer,
                      struct error *err);

/* After each answer, when it is on its way: make what will be asked for next, and forget what is
 * over. */
void responder_rest(struct responder *responder);

#endif
