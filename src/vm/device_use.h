/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What of a host's kernel a QEMU command line puts behind its devices.
 */
#ifndef QML_VM_DEVICE_USE_H
#define QML_VM_DEVICE_USE_H

#include "base/error.h"
#include "base/strings.h"
#include "vm/arglist.h"
#include "vm/keyval.h"

/* A process that only its own socket could be asked about: no profile has it. */
#define BACKEND_VHOST_USER "vhost-user"

/* The backends that a command line uses, by the names of a profile ("tun", "vhost-net",
 * "vhost-vsock", "vhost-scsi", "vhost-vdpa") and BACKEND_VHOST_USER, sorted: of -netdev, -nic, -net
 * and -device, in QEMU's own syntax and in JSON, with what -set changes of them, and of the same
 * groups in the configuration files that QEMU would read.
 * A network backend counts whether or not a device is at it: QEMU opens it all the same, and one
 * can be plugged into it later.
 * *backends must be empty, and is filled only on success. STATUS_USAGE for JSON that says something
 * of a backend and cannot be read here; errors of config_files_expand. */
bool device_use_read(const struct arglist *list, struct strlist *backends, struct error *err);

/* What "-set GROUP.ID.KEY=VALUE" makes of the keys of an option of that group (qemu_set_option in
 * QEMU's vl.c). STATUS_INTERNAL. */
bool device_use_apply_sets(const struct arglist *list, const char *group, struct keyval *keys,
                           struct error *err);

#endif
