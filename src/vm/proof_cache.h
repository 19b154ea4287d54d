/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Proofs that were made on this host: STATE/proofs/KEY.json. A proof is used again only when
 * nothing has changed that it could depend on; when in doubt it is made again.
 */
#ifndef QML_VM_PROOF_CACHE_H
#define QML_VM_PROOF_CACHE_H

#include "base/digest.h"
#include "base/strings.h"
#include "guest/records.h"

/* The key of a proof under these circumstances: `host` is a digest of all that is known of the host
 * and its QEMU, words are QEMU's arguments. Our own guest's image is part of it. STATUS_INTERNAL.
 */
bool proof_cache_key(const char *host, const struct strlist *words, char key[DIGEST_HEX_SIZE],
                     struct error *err);

/* The table that was stored under the key. False when there is none that can be used, which is no
 * error: the proof is made, then. */
bool proof_cache_find(const char *state_folder, const char *key, struct guest_table *table);

/* Keep it. That it cannot be kept is no error either: a debug message says so. */
void proof_cache_store(const char *state_folder, const char *key, const struct guest_table *table);

#endif
