/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The configuration files that a QEMU command line makes QEMU read.
 */
#ifndef QML_VM_CONFIG_FILES_H
#define QML_VM_CONFIG_FILES_H

#include "vm/invocation.h"

/* Look through QEMU's own configuration file, which may be missing, unless -no-user-config, and
 * those of -readconfig. missing_ok: these may be missing, too, as those of a QEMU that has read
 * them. STATUS_USAGE as config_file_check; STATUS_CONFIG, STATUS_DATA for one that cannot be read:
 * QEMU would end there, on the destination when the guest already runs on the source. */
bool config_files_check(const struct invocation *invocation, bool missing_ok, struct error *err);

/* The command line with what these files say in it, as options in the place of each -readconfig;
 * of QEMU's own file in front of all others. A file that is missing or of which QEMU would say that
 * it is none adds nothing. *out must be empty, and is filled only on success. Errors as above. */
bool config_files_expand(const struct arglist *list, struct arglist *out, struct error *err);

/* Only what these files say, in their order; out->program is the list's. As above. */
bool config_files_options(const struct arglist *list, struct arglist *out, struct error *err);

#endif
