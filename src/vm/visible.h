/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a guest sees of a QEMU command line, as a list that two hosts can compare: a guest that
 * moves must find the same machine, with other paths, networks and displays behind it. Pure;
 * visible_host.h reads what stands in this host's files.
 */
#ifndef QML_VM_VISIBLE_H
#define QML_VM_VISIBLE_H

#include <jansson.h>

#include "vm/arglist.h"

/* In place of what a host does not tell about itself (secrets.h). */
#define VISIBLE_NOT_TOLD "(not told)"

/* Rises with every change of visible.def or of the reading that makes other lists of one command
 * line: lists of different versions are not compared. */
#define VISIBLE_TABLE_VERSION 2

/* More is neither told nor taken: bytes of JSON, and things. */
#define VISIBLE_SIZE_MAX ((size_t)128 << 10)
#define VISIBLE_THINGS_MAX 1024

/* The name by which it is accepted that there is more, and nobody compares it. */
#define VISIBLE_TOO_LONG "length"

/* Start with {0}; owns everything in it. */
struct visible_list {
    struct visible_thing *things; /* in the order in which QEMU makes them */
    size_t count;
    unsigned version; /* of the table that it was made by; 0: it is not known what the guest sees */
};

void visible_list_free(struct visible_list *list);
#define autovisiblelist __attribute__((cleanup(visible_list_free)))

/* Read a command line by the table visible.def. CPU, machine type and accelerator are the
 * agreement's and left out. Of files only their names are known then. *list must be empty, and is
 * filled only on success. STATUS_USAGE: no command line that QEMU would take; STATUS_INTERNAL. */
bool visible_list_read(const struct arglist *arguments, struct visible_list *list,
                       struct error *err);

/* Where two lists differ. */
struct visible_found {
    struct strlist
        differences;         /* "NAME is X on a and Y on b": a guest would find another machine */
    struct strlist doubts;   /* the same, where that cannot be told or does not matter much */
    struct strlist accepted; /* differences whose NAME is in `accept` */
    struct strlist names;    /* the NAMEs of all of these */
    bool compared;           /* false: it is not known what there is */
};

void visible_found_free(struct visible_found *found);
#define autovisiblefound __attribute__((cleanup(visible_found_free)))

/* Compare two lists, of the hosts of these names. accept: names of differences that count no more,
 * or NULL. *found must be empty, and is filled only on success. Whichever list comes first, the
 * same is found. STATUS_INTERNAL. */
bool visible_compare(const struct visible_list *one, const char *one_name,
                     const struct visible_list *other, const char *other_name,
                     const struct strlist *accept, struct visible_found *found, struct error *err);

/* For a peer or a file: no paths in it, and no secrets (doc/FORMATS.md). A new reference; NULL for
 * want of memory. */
json_t *visible_to_json(const struct visible_list *list);
/* Read that again. *list must be empty, and is filled only on success. STATUS_DATA; what is for
 * messages. */
bool visible_from_json(json_t *json, const char *what, struct visible_list *list,
                       struct error *err);

/* Whether the table has a row for that option, by its name without dashes. */
bool visible_knows(const char *option);

#endif
