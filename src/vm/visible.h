/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Two QEMU command lines as a guest sees them: a guest that moves must find the same machine, with
 * other paths, networks and displays behind it. Pure.
 */
#ifndef QML_VM_VISIBLE_H
#define QML_VM_VISIBLE_H

#include "vm/arglist.h"

/* In place of what a host does not tell about itself (secrets.h). */
#define VISIBLE_NOT_TOLD "(not told)"

/* Compare, by the table visible.def. CPU, machine type and accelerator are the agreement's and not
 * looked at. there_name: the other host, for the texts. *differences gets a line for each thing
 * that a guest would find another one, *doubts one for each that cannot be told from a command
 * line: the contents of a file, what -readconfig adds. Both may have lines already.
 * STATUS_USAGE: one of the two is no command line that QEMU would take; STATUS_INTERNAL. */
bool visible_compare(const struct arglist *here, const struct arglist *there,
                     const char *there_name, struct strlist *differences, struct strlist *doubts,
                     struct error *err);

/* Whether the table has a row for that option, by its name without dashes. */
bool visible_knows(const char *option);

#endif
