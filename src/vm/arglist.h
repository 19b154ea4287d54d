/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * QEMU's command line as a list of options, each with the value that belongs to it. What is not
 * touched is rendered again byte for byte, in its place.
 */
#ifndef QML_VM_ARGLIST_H
#define QML_VM_ARGLIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/strings.h"
#include "vm/qemu_options.h"

struct arg_item {
    const struct qemu_option *option; /* NULL: a disk image without an option */
    char *text;                       /* the option as it was spelled, or the disk image */
    char *value;                      /* NULL for an option that takes none */
};

/* Start with {0}; owns everything in it. */
struct arglist {
    char *program; /* argv[0] */
    struct arg_item *items;
    size_t count;
    size_t capacity;
};

/* Read an argument vector as QEMU's two passes do (qemu_init in QEMU 7.2 softmmu/vl.c, 10.0
 * system/vl.c): a word without a leading '-' (the empty one too) is a disk image; an option that
 * takes a value has the next word, whatever it looks like.
 * argc: at least 1; argv[0] is QEMU. Fills *list, which must be empty, only on success.
 * STATUS_USAGE, naming the word, for what QEMU would not know or a value that is missing. */
bool arglist_parse(struct arglist *list, int argc, char *const argv[], struct error *err);

void arglist_free(struct arglist *list);
#define autoarglist __attribute__((cleanup(arglist_free)))

/* *copy, which must be empty, becomes an independent copy. STATUS_INTERNAL for want of memory. */
bool arglist_copy(const struct arglist *list, struct arglist *copy, struct error *err);

/* How many times the option is there, under any of its names. id: not UNNAMED. */
size_t arglist_count(const struct arglist *list, enum qemu_option_id id);

/* The value of the last one, borrowed from the list; NULL if there is none or it takes none. */
const char *arglist_last(const struct arglist *list, enum qemu_option_id id);

/* Go through them: start with *cursor = 0. Borrowed; NULL after the last one. After a call,
 * *cursor - 1 is the index of the item returned. */
const struct arg_item *arglist_next(const struct arglist *list, enum qemu_option_id id,
                                    size_t *cursor);

/* Take out every one of them; how many there were. */
size_t arglist_remove(struct arglist *list, enum qemu_option_id id);
/* Take out one item by its index, below count. */
void arglist_remove_at(struct arglist *list, size_t index);

/* Give an item another value (copied). index: below count. STATUS_INTERNAL for want of memory. */
bool arglist_set_value(struct arglist *list, size_t index, const char *value, struct error *err);

/* Put an option before the item at index (count: at the end). option: with its dash, one that the
 * table knows; value: NULL if and only if it takes none. Both are copied. STATUS_INTERNAL if the
 * caller got that wrong, or for want of memory; the list stays as it was then. */
bool arglist_insert(struct arglist *list, size_t index, const char *option, const char *value,
                    struct error *err);
bool arglist_append(struct arglist *list, const char *option, const char *value, struct error *err);

/* The argument vector, the program first. *argv must be empty; filled only on success.
 * STATUS_INTERNAL for want of memory. */
bool arglist_render(const struct arglist *list, struct strlist *argv, struct error *err);

#endif
