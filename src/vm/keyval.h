/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * QEMU's key=value,key=value texts, which QEMU reads in two slightly different ways:
 *
 *   KEYVAL_DICT  -machine, -smp, -boot, -audio … (QEMU util/keyval.c): keys are dotted paths of
 *                QAPI names; every piece but an implied first one must have a '='; the value of an
 *                implied first key ends at the first comma, doubled or not
 *   KEYVAL_OPTS  -accel, -name, -m, -device, -overcommit … (QEMU util/qemu-option.c): any keys; a
 *                piece without '=' is a switch, "x" for x=on and "nox" for x=off
 *
 * In both a comma in a value is doubled, one comma may end the text, and the last of equal keys
 * counts. The same from QEMU 7.2 to 10.2.
 */
#ifndef QML_VM_KEYVAL_H
#define QML_VM_KEYVAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum keyval_syntax { KEYVAL_DICT, KEYVAL_OPTS };

struct keyval_pair {
    char *key;
    char *value; /* with commas single */
    char *raw;   /* the piece as it was written, or NULL for one that was set */
};

/* Start with {0}; owns everything in it. The pairs are in the order of the text, equal keys too. */
struct keyval {
    struct keyval_pair *pairs;
    size_t count;
    size_t capacity;
    bool help; /* a piece was "help" or "?": not in pairs for DICT, in them for OPTS */
};

/* True for a value in JSON, which some options (-device, -object, -blockdev, -netdev …) take
 * instead; such a value is no keyval. */
bool keyval_is_json(const char *text);

/* True for "help" and "?" (is_help_option in QEMU include/qemu/help_option.h). */
bool keyval_is_help(const char *text);

/* Read a text. implied: the key of a first piece without '=', or NULL. *keyval must be empty, and
 * is filled only on success. STATUS_USAGE for what QEMU would refuse. */
bool keyval_parse(struct keyval *keyval, const char *text, enum keyval_syntax syntax,
                  const char *implied, struct error *err);

void keyval_free(struct keyval *keyval);
#define autokeyval __attribute__((cleanup(keyval_free)))

/* The value that counts (the last one), borrowed; NULL if there is none. */
const char *keyval_get(const struct keyval *keyval, const char *key);

/* Give key one value, in the place of the first one it had. Key and value are copied.
 * STATUS_INTERNAL for want of memory. */
bool keyval_set(struct keyval *keyval, const char *key, const char *value, struct error *err);

/* Take out every pair with the key, which must not be a string of the keyval's own. */
void keyval_remove(struct keyval *keyval, const char *key);

/* Set in dest all of from, with prefix ("" for none) before each key: what a further option of the
 * same kind does (keyval_merge and keyval_parse_put in QEMU util/keyval.c). STATUS_USAGE if a key
 * would have both a value and members ("a=1" and "a.b=1"), which QEMU refuses. */
bool keyval_merge(struct keyval *dest, const struct keyval *from, const char *prefix,
                  struct error *err);

/* key=value,key=value with commas in values doubled; "" for none. The caller frees it; NULL for
 * want of memory. */
char *keyval_render(const struct keyval *keyval);

#endif
