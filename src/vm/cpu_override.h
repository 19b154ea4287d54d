/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What changes a guest's CPU from outside -cpu.
 */
#ifndef QML_VM_CPU_OVERRIDE_H
#define QML_VM_CPU_OVERRIDE_H

#include <stdbool.h>

#include "base/error.h"
#include "base/strings.h"
#include "vm/arglist.h"

/* True if a -global for this class reaches an x86 CPU: the class of a CPU model, one that it
 * inherits from, or an interface that it has. Measured on QEMU 7.2.22 and 10.0.13, whose "object",
 * "resettable" and "vmstate-if" are taken too (object_dynamic_cast in QEMU qom/object.c). */
bool driver_reaches_cpu(const char *driver);

/* Add to list, as "-OPTION VALUE", every
 *   -global  for such a class, in either syntax (qemu_global_option in QEMU qdev-monitor.c)
 *   -set     that changes a -global or an -accel, or turns a -device into a CPU
 *   -device  that is a CPU
 * STATUS_INTERNAL for want of memory. */
bool cpu_overrides_find(const struct arglist *arglist, struct strlist *list, struct error *err);

#endif
