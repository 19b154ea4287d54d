/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The proof's arguments for a party that has no command line of its own: from who has one to an
 * agent. Nothing that a peer says becomes a word for QEMU: what comes in is matched against a table
 * of names, words and numbers, and written anew from that. Pure.
 */
#ifndef QML_VM_PEER_ARGUMENTS_H
#define QML_VM_PEER_ARGUMENTS_H

#include <jansson.h>

#include "vm/proof_arguments.h"

/* {"machine":{KEY:VALUE…},"smp":{…},"accel":{…}}, all values texts: what -machine, -smp and -accel
 * say beside type and name. NULL for want of memory. */
json_t *peer_arguments_make(const struct proof_arguments *arguments);

/* Read that for a machine type and accelerator (already checked). *out must be empty, and is filled
 * only on success. Memory stays out of it: the one with the command line looks after that.
 * STATUS_DATA: malformed; STATUS_INCOMPATIBLE: an option or value that is not in the table. */
bool peer_arguments_take(json_t *json, const char *machine, const char *accel, bool cpu_pm,
                         struct proof_arguments *out, struct error *err);

#endif
