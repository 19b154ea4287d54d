/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Strict JSON, for everything that comes from outside: a peer, a file, QEMU.
 */
#ifndef QML_BASE_JSON_H
#define QML_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strings.h"

#define JSON_MAX_DEPTH 16
#define JSON_MAX_CONTAINERS 32768

static inline void cleanup_json(json_t **json)
{
    json_decref(*json);
}
/* An owned reference; never holds a borrowed one. */
#define autojson __attribute__((cleanup(cleanup_json)))

/* Parse one JSON object. Refused with STATUS_DATA: more than max_size bytes, any byte outside
 * printable ASCII and blanks, duplicate keys, nesting over JSON_MAX_DEPTH, over JSON_MAX_CONTAINERS
 * objects and arrays, integers outside 64 bits signed, numbers that are not integers, strings with
 * characters outside printable ASCII (also when written as \u escapes), anything but blanks after
 * the object. Returns a new reference, or NULL. */
json_t *json_parse_strict(const char *text, size_t length, size_t max_size, struct error *err);

/* Like json_parse_strict for QEMU's replies: any UTF-8 and real numbers are taken. */
json_t *json_parse_qmp(const char *text, size_t length, size_t max_size, struct error *err);

/* jansson's json_unpack_ex with JSON_STRICT ('!' is implied for every object in the format); what
 * names the thing for the message. STATUS_DATA if the value has another form. */
bool json_take(json_t *json, struct error *err, const char *what, const char *format, ...);

/* Is it a string of printable ASCII, at most max bytes? */
bool json_is_plain(const json_t *value, size_t max);

/* The strings of an array into list; every one must satisfy check. STATUS_DATA otherwise. */
bool json_take_names(const json_t *array, const char *what, bool (*check)(const char *),
                     struct strlist *list, struct error *err);

/* A new array of the strings, or NULL for want of memory. */
json_t *json_from_names(const struct strlist *list);

/* Compact text with sorted keys: the same bytes for equal values. The caller frees it; NULL for
 * want of memory. */
char *json_to_text(const json_t *json);

#endif
