/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The parts of visible.h: reading a command line into things that a guest sees, and comparing
 * these.
 */
#ifndef QML_VM_VISIBLE_PRIVATE_H
#define QML_VM_VISIBLE_PRIVATE_H

#include "vm/keyval.h"
#include "vm/visible.h"

enum visible_kind {
    VISIBLE_HOST,
    VISIBLE_MACHINE,
    VISIBLE_SUGAR,
    VISIBLE_FLAG,
    VISIBLE_LAST,
    VISIBLE_TEXTS,
    VISIBLE_NAMED,
    VISIBLE_MERGED,
    VISIBLE_ITEMS,
    VISIBLE_ONLY,
    VISIBLE_DRIVE,
    VISIBLE_NIC,
    VISIBLE_PORT,
    VISIBLE_POLICY,
};

struct visible_option {
    const char *name;
    enum visible_kind kind;
    const char *text;
};

enum visible_how {
    VISIBLE_IGNORED,
    VISIBLE_SEEN,
    VISIBLE_SIZE,
    VISIBLE_MIB,
    VISIBLE_ADDRESS,
    VISIBLE_CONTENT,
};

const struct visible_option *visible_option_find(const char *name);
/* How a key counts; otherwise: of one that has no row. */
enum visible_how visible_key_how(const char *option, const char *key, enum visible_how otherwise);

/* A key of a thing. */
struct visible_property {
    char *key;   /* "": the thing is all there is to it */
    char *value; /* for comparing */
    char *shown; /* as it was written */
    enum visible_how how;
};

/* The next default of that option after *cursor, which begins at 0; NULL: no more. */
struct visible_default {
    const char *option;
    const char *key;
    const char *value;
};
const struct visible_default *visible_default_next(const char *option, size_t *cursor);

/* Something that a guest sees. */
struct visible_thing {
    const char *option; /* by which name it is called, without dash */
    char *label;        /* what it is, as "virtio-net-pci,id=n0"; "" if the option says it all */
    struct visible_property *properties;
    size_t count;
};

/* All of them, in the order of the command line. Start with {0}. */
struct visible_list {
    struct visible_thing *things;
    size_t count;
};

void visible_list_free(struct visible_list *list);
#define autovisiblelist __attribute__((cleanup(visible_list_free)))

bool visible_list_read(const struct arglist *arguments, struct visible_list *list,
                       struct error *err);
/* A new thing at the end, or NULL with STATUS_INTERNAL; it is good until the next one. */
struct visible_thing *visible_list_add(struct visible_list *list, const char *option,
                                       const char *label, struct error *err);
/* Give it a key, in place of one that it has; VISIBLE_IGNORED: nothing is done. */
bool visible_thing_set(struct visible_thing *thing, const char *key, const char *value,
                       enum visible_how how, struct error *err);

/* value in the form that equal ones share: a size in bytes, a PCI address as SLOT.FUNCTION, on and
 * off for switches, numbers in decimal, of a file what stands behind the last slash. The caller
 * frees it; NULL for want of memory. */
char *visible_canonical(const char *value, enum visible_how how);

/* The keys of a value in JSON, members of members as "a.b", or of one in QEMU's own syntax.
 * STATUS_USAGE. */
bool visible_keys(const char *value, const char *implied, struct keyval *keys, struct error *err);

/* The driver's own name of one of its aliases, else name itself. */
const char *visible_driver(const char *name);

#endif
