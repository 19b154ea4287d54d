/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Command lines that only ask QEMU something: -version, -cpu help, -machine q35,help …
 */
#ifndef QML_VM_QUERY_H
#define QML_VM_QUERY_H

#include <stdbool.h>

#include "vm/arglist.h"

/* True only if QEMU 7.2 to 10.2 surely print something (or complain) and exit before they run a
 * guest, so that starting it needs no agreement. Of the options that QEMU looks at one after the
 * other any one will do; of -cpu only the last one counts (qemu_process_help_options in QEMU 7.2
 * softmmu/vl.c, 10.0 system/vl.c). The real binaries are asked in tests/e2e/check-options.
 * A text that cannot be read, or for want of memory, is no query. */
bool arglist_is_query(const struct arglist *list);

#endif
