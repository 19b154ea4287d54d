/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * QEMU's configuration files (-readconfig, and its default one): what in them would change the CPU
 * or machine behind the agreement's back, and what they say as options. Pure.
 */
#ifndef QML_VM_CONFIG_FILE_H
#define QML_VM_CONFIG_FILE_H

#include <stdbool.h>

#include "base/error.h"
#include "vm/arglist.h"

/* Where distributors' QEMUs look unless -no-user-config (QEMU 7.2 and 10.0 of Debian). */
#define QEMU_DEFAULT_CONFIG "/etc/qemu/qemu.conf"
#define QEMU_CONFIG_SIZE_MAX ((size_t)1 << 20)

/* Look through a file's text. STATUS_USAGE with path and line for a group [machine] or [accel]
 * (what they say belongs on the command line, where it is read), a [global] or [device] whose
 * driver reaches the CPU, and a line that QEMU could not read either (QEMU 7.2 util/qemu-config.c
 * qemu_config_foreach). */
bool config_file_check(const char *path, const char *text, struct error *err);

/* Append to list what each group of a file says, as the option it stands for: [device "d0"] with
 * driver = "a" becomes "-device id=d0,driver=a". A group that no option is like is left out.
 * STATUS_USAGE with path and line for a line that QEMU could not read. */
bool config_file_options(const char *path, const char *text, struct arglist *list,
                         struct error *err);

#endif
