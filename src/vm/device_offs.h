/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What of a baseline of devices is written into one host's QEMU command line. Pure.
 */
#ifndef QML_VM_DEVICE_OFFS_H
#define QML_VM_DEVICE_OFFS_H

#include "device/device_baseline.h"
#include "vm/device_mask.h"

void device_offs_free(struct device_offs *offs);
#define autodeviceoffs __attribute__((cleanup(device_offs_free)))

/* For a QEMU that has what own says: only properties that it has; it does not start with another
 * one, not even as off. report: who lacks what, for the reasons (device_baseline_lacks), or NULL.
 * *offs must be empty, and is filled only on success. STATUS_INTERNAL. */
bool device_offs_make(const struct device_baseline *baseline, const struct device_offer *own,
                      const struct device_report *report, struct device_offs *offs,
                      struct error *err);

#endif
