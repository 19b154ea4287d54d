/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Machine types, and the one that all parties can have. Pure.
 */
#ifndef QML_CPU_MACHINE_H
#define QML_CPU_MACHINE_H

#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"

struct machine_type {
    char *name;  /* pc-q35-7.2 */
    char *alias; /* q35, or NULL */
    bool deprecated;
    bool is_default;
};

struct machine_list {
    struct machine_type *types; /* sorted by name */
    size_t count;
};

void machine_list_free(struct machine_list *list);
#define automachinelist __attribute__((cleanup(machine_list_free)))

/* Append a type; texts are copied. False for want of memory. */
bool machine_list_add(struct machine_list *list, const char *name, const char *alias,
                      bool deprecated, bool is_default);
/* The type of that name or alias; NULL as name: the default type. NULL if there is none. */
const struct machine_type *machine_list_find(const struct machine_list *list, const char *name);

/* An array of {"name","alias","deprecated","default"}; NULL for want of memory. */
json_t *machine_list_to_json(const struct machine_list *list);
bool machine_list_from_json(const json_t *json, struct machine_list *list, struct error *err);

/* One party's wish. */
struct machine_wish {
    const char *host;
    const char *machine; /* as the user wrote it, may be an alias; NULL: QEMU's default */
    const struct machine_list *types;
    const char *qemu_version; /* "7.2.22" */
    bool follows;             /* it has no wish of its own: machine is another's */
};

/* In the order of the hosts' names, so that messages are the same on all parties. */
void machine_wishes_sort(struct machine_wish *wishes, size_t count);

/* The machine type for all parties, the same in any order of them: a versioned type that somebody
 * named, else the newest versioned type of the family wanted that all QEMUs know and none calls
 * deprecated. The caller frees it. NULL with STATUS_INCOMPATIBLE: different families or versions,
 * nothing in common, or an unversioned type (microvm) across QEMU versions. */
char *machine_choose(const struct machine_wish *wishes, size_t count, struct error *err);

#endif
