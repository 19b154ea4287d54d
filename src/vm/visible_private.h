/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The parts of visible.h: the table, and reading a command line into things that a guest sees.
 */
#ifndef QML_VM_VISIBLE_PRIVATE_H
#define QML_VM_VISIBLE_PRIVATE_H

#include "vm/invocation.h"
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
    VISIBLE_MAC,
    VISIBLE_NUMBER,
    VISIBLE_BUS,
    VISIBLE_CONTENT,
    VISIBLE_SECRET,
    VISIBLE_TOLD,
    VISIBLE_HOW_COUNT
};

struct visible_key {
    const char *option;
    const char *key;
    enum visible_how how;
};

struct visible_default {
    const char *option;
    const char *key;
    const char *value;
};

/* The table's rows. */
const struct visible_option *visible_option_rows(size_t *count);
const struct visible_key *visible_key_rows(size_t *count);
const struct visible_default *visible_default_rows(size_t *count);

/* Whether a row is for that name: one that ends in '-', or is empty, is for all that begin so. */
bool visible_name_fits(const char *name, const char *row);
const struct visible_option *visible_option_find(const char *name);
/* How a key counts; otherwise: of one that has no row. A row for "a" is one for "a.b", too. */
enum visible_how visible_key_how(const char *option, const char *key, enum visible_how otherwise);
/* What a key is that is not given; NULL: there is no such row. label: of a device its driver. */
const char *visible_default_find(const char *option, const char *label, const char *key);

/* A key of a thing. */
struct visible_property {
    char *key;   /* "": the thing is all there is to it */
    char *value; /* for comparing; of CONTENT "sha256:HEX", "size:BYTES" or "name:FILE" */
    char *shown; /* for people; of SECRET it is not the value */
    enum visible_how how;
    char *path;    /* of CONTENT: the file, until it has been read; never told */
    bool writable; /* of CONTENT: the guest writes into it */
};

/* Something that a guest sees. */
struct visible_thing {
    const char *option; /* by which name it is called, without dash */
    char *label;        /* what it is: a device's driver; "" if the option says it all */
    char *id;           /* or "": for finding its like, and not seen */
    struct visible_property *properties;
    size_t count;
};

/* A new thing at the end, or NULL with STATUS_INTERNAL; it is good until the next one. */
struct visible_thing *visible_list_add(struct visible_list *list, const char *option,
                                       const char *label, const char *id, struct error *err);
/* The first one with that option and label, or NULL. */
struct visible_thing *visible_list_find(const struct visible_list *list, const char *option,
                                        const char *label);
const struct visible_property *visible_thing_get(const struct visible_thing *thing,
                                                 const char *key);
/* Give it a key, in place of one that it has; VISIBLE_IGNORED: nothing is done. */
bool visible_thing_set(struct visible_thing *thing, const char *key, const char *value,
                       enum visible_how how, struct error *err);
/* The same with all keys, by their rows. */
bool visible_thing_set_keys(struct visible_thing *thing, const struct keyval *keys,
                            enum visible_how otherwise, struct error *err);
void visible_thing_unset(struct visible_thing *thing, const char *key);

/* value in the form that equal ones share: a size in bytes, a PCI address as SLOT.FUNCTION, on and
 * off for switches, numbers in decimal, of a file "name:" and what stands behind the last slash.
 * The caller frees it; NULL for want of memory. */
char *visible_canonical(const char *value, enum visible_how how);
/* "sha256:HEX" of a secret; salt: what it is for. The same. */
char *visible_digest(const char *salt, const char *value);
/* As people get to see it: escaped, and not too long. NULL for want of memory. */
char *visible_show(const char *text);

/* The keys of a value in JSON, members of members as "a.b", or of one in QEMU's own syntax.
 * STATUS_USAGE. */
bool visible_keys(const char *value, const char *implied, struct keyval *keys, struct error *err);

/* The driver's own name of one of its aliases, else name itself. */
const char *visible_driver(const char *name);

/* What is gathered while the options are gone through. */
struct visible_reading {
    const struct arglist *arguments;
    struct visible_list *list;
    struct keyval machine; /* of options that are other words for -machine's */
    struct invocation invocation;
    const struct visible_machine *board;
    struct strlist drives; /* -drive and its like, as keys, in their order */
    bool nodefaults;
};

/* What boards have of themselves (QEMU hw/i386/pc_piix.c, pc_q35.c, isapc, microvm.c). */
struct visible_machine {
    const char *prefix;    /* of the type's name */
    const char *interface; /* of a -drive without one */
    unsigned ide_units;    /* on a bus of IDE */
    bool cdrom, floppy, serial, parallel;
    const char *nic, *vga;
    const char *root;    /* the bus of PCI devices without one */
    const char *irqchip; /* -machine kernel-irqchip, where it is not the usual one; or NULL */
};
const struct visible_machine *visible_machine_find(const char *type);
/* Whether it is a type of a version before that one; one without a version is not. */
bool visible_machine_before(const char *type, unsigned major, unsigned minor);
/* The driver behind a model of -nic. */
const char *visible_nic_model(const char *model);

/* visible_network.c: the key of a virtio-net that says whether its network has headers. */
#define VISIBLE_NETWORK "network"
/* Set it, whatever card it is. direct: the keys describe the network, too, when none is named. */
bool visible_set_network(const struct visible_reading *reading, const struct keyval *keys,
                         bool direct, struct visible_thing *thing, struct error *err);
/* Only virtio-net keeps it; when all is there. */
bool visible_end_networks(struct visible_reading *reading, struct error *err);

bool visible_given(const struct visible_reading *reading, const char *option);

/* visible_drive.c: the drives that have an interface, each in its place, and flash. */
bool visible_add_drives(struct visible_reading *reading, struct error *err);
/* Those that are there although nobody says so; after all devices. */
bool visible_add_board_drives(struct visible_reading *reading, struct error *err);
/* visible_behind.c: the keys of the -drive or -blockdev of that name. *keys must be empty, and
 * stays so when there is none. STATUS_USAGE, STATUS_INTERNAL. */
bool visible_node_find(const struct visible_reading *reading, const char *name, struct keyval *keys,
                       struct error *err);
/* To a device what it shows of the drive and the netdev that `keys`, of its own, name. The same. */
bool visible_add_behind(struct visible_reading *reading, struct visible_thing *thing,
                        const struct keyval *keys, struct error *err);
/* To a card of -nic or -net nic, with these keys, the queues of its network. The same. */
bool visible_add_nic_queues(struct visible_reading *reading, struct visible_thing *thing,
                            const struct keyval *keys, struct error *err);
/* visible_machine.c: machine, memory, CPUs; and what is there although nobody says so. */
bool visible_add_machine(struct visible_reading *reading, struct error *err);
bool visible_add_defaults(struct visible_reading *reading, struct error *err);
/* visible_places.c: buses, numbers and queues as if nobody, or everybody, had written them out;
 * after everything else. */
bool visible_tidy_places(struct visible_reading *reading, struct error *err);

/* visible_match.c: which thing of `other` is the one that `one`'s i-th is, or -1: match[i]. Both
 * arrays have room for all things. */
bool visible_match(const struct visible_list *one, const struct visible_list *other, ssize_t *match,
                   ssize_t *back);
/* Where devices take their places in the order in which they come, those that both have must come
 * in one order: the first that does not, or NULL. */
const struct visible_thing *visible_out_of_order(const struct visible_list *one,
                                                 const struct visible_list *other,
                                                 const ssize_t *match);

/* Labels, ids and keys as a peer is told them: plain ASCII, and not too long. Once for each list
 * that was read from a command line; values are so from the beginning. STATUS_INTERNAL: no memory.
 */
bool visible_escape_names(struct visible_list *list, struct error *err);

#endif
