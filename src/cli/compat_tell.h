/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What QEMUs set differently to make the same machine type, for the launch and baseline commands.
 */
#ifndef QML_CLI_COMPAT_TELL_H
#define QML_CLI_COMPAT_TELL_H

#include "device/compat.h"
#include "host/profile.h"

/* The host of a profile as far as its QEMU was asked about this machine type: of another one
 * nothing is known. NULL: no type. It borrows of the profile. */
struct device_host compat_host(const struct profile *profile, const char *machine);

/* Two values for one property: a warning; what only some set: with -v. */
void compat_log(const char *machine, const struct device_host *hosts, size_t count);

/* The same for --json (device/compat.h); NULL for want of memory. */
json_t *compat_document(const struct device_host *hosts, size_t count);

#endif
