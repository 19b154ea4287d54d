/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the agent answers about the VMs that run here: `agreement`, to whoever wants to receive one,
 * and `incoming`, from whoever waits for one (doc/PROTOCOL.md).
 */
#ifndef QML_AGENT_VM_ANSWERS_H
#define QML_AGENT_VM_ANSWERS_H

#include <jansson.h>

#include "base/paths.h"
#include "peer/trust.h"

struct vm_answers_setup {
    const struct paths *paths;
};

/* Whether requests of that name are answered here. */
bool vm_answers_know(const char *name);

/* As peer_handler.handle (peer/server.h). STATUS_INCOMPATIBLE: there is no such agreement here;
 * STATUS_DECISION: the VM does not run here, or something is at work on it; STATUS_DATA:
 * malformed, or what is kept here is damaged; STATUS_NOT_TRUSTED: not for this peer. */
bool vm_answers_handle(const struct vm_answers_setup *setup, const struct trust_entry *peer,
                       const char *remote, const char *name, json_t *body, json_t **answer,
                       struct error *err);

#endif
