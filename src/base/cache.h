/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was found out once and may be used again: FOLDER/KEY.json, a JSON object each. An entry that
 * cannot be read or written is none; a debug message says why.
 */
#ifndef QML_BASE_CACHE_H
#define QML_BASE_CACHE_H

#include "base/digest.h"
#include "base/json.h"

/* How many entries a folder keeps: the oldest go. */
#define CACHE_ENTRIES_MAX 64

/* The entry under that key (64 hexadecimal digits) in FOLDER/KIND, or NULL: there is none, others
 * can write it, it is larger than max_size bytes, or no strict JSON object. */
json_t *cache_read(const char *folder, const char *kind, const char *key, size_t max_size);

/* Keep it, whole or not at all, readable for its owner only. */
void cache_write(const char *folder, const char *kind, const char *key, const json_t *entry);

#endif
