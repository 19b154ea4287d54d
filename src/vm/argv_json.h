/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * An argument vector as JSON. Ours is ASCII only, a command line need not be: a backslash is
 * written twice, and a byte that is not printable ASCII as \\xHH, as in "/images/caf\\xc3\\xa9".
 */
#ifndef QML_VM_ARGV_JSON_H
#define QML_VM_ARGV_JSON_H

#include "base/json.h"

/* More is not kept, nor taken: bytes, each word's NUL too, and words. */
#define ARGV_SIZE_MAX ((size_t)64 << 10)
#define ARGV_COUNT_MAX 4096

bool argv_fits(const struct strlist *argv);

/* One word; the caller frees it; NULL for want of memory. */
char *argv_word_escape(const char *word);

/* A new array, or NULL for want of memory. */
json_t *argv_to_json(const struct strlist *argv);

/* Read what argv_to_json made. *argv must be empty, and is filled only on success. STATUS_DATA for
 * anything else, and for more than fits. */
bool argv_from_json(const json_t *json, struct strlist *argv, struct error *err);

#endif
