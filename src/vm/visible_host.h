/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a guest sees of a command line on this host, its configuration files and firmware included.
 */
#ifndef QML_VM_VISIBLE_HOST_H
#define QML_VM_VISIBLE_HOST_H

#include "vm/visible.h"

/* Of a larger file only the size counts. */
#define VISIBLE_FILE_MAX ((size_t)256 << 20)

/* Read a command line (visible_list_read) with what its configuration files say in it, and of each
 * file that a guest sees the SHA-256 of its content; of flash that the guest writes only the size.
 * A file that is not there stays a name: it is QEMU's business to find it, or not. *list must be
 * empty, and is filled only on success. What visible_list_read and config_files_expand report;
 * STATUS_INCOMPATIBLE: there is more of it than may be told. */
bool visible_host_read(const struct arglist *arguments, struct visible_list *list,
                       struct error *err);

/* Compare what two hosts give a guest (visible_compare), the one that has it first. Doubts and what
 * is accepted become warnings, and names in accept that nothing has. STATUS_INCOMPATIBLE with every
 * difference and what to do. */
bool visible_require_same(const struct visible_list *source, const char *source_name,
                          const struct visible_list *destination, const char *destination_name,
                          const struct strlist *accept, struct error *err);

#endif
