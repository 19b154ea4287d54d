/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Shared by trust.c (reading, finding), trust_authority.c (those of authorities) and trust_edit.c
 * (changing the files).
 */
#ifndef QML_PEER_TRUST_PRIVATE_H
#define QML_PEER_TRUST_PRIVATE_H

#include "base/json.h"
#include "peer/trust.h"

#define TRUST_FOLDER "trust.d"
#define TRUST_SUFFIX ".json"
#define TRUST_VERSION 1
#define TRUST_FILE_MAX 65536
#define TRUST_ENTRIES_MAX 4096

void trust_entry_free(struct trust_entry *entry);

/* The entries, one a name, of NAME.json in folder that names an authority; *entries is for the
 * caller to free. Errors as trust_load's, STATUS_DATA for what is not as it should be.
 * trust_authority.c */
bool trust_authority_read(json_t *json, const char *folder, const char *name,
                          struct trust_entry **entries, size_t *count, struct error *err);

#endif
