/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The value of one -device, in QEMU's own syntax or in JSON: what it is, and with properties
 * switched off in it. Pure.
 */
#ifndef QML_VM_DEVICE_VALUE_H
#define QML_VM_DEVICE_VALUE_H

#include "base/error.h"
#include "base/strings.h"
#include "vm/keyval.h"

/* Read a value. *keys must be empty, and is filled only on success; it has one key, "", for JSON
 * that QEMU may take and that cannot be read here: with single quotes, or a member twice.
 * STATUS_USAGE for what QEMU would refuse, with the option's name and value. */
bool device_value_read(const char *value, struct keyval *keys, struct error *err);
bool device_value_unread(const struct keyval *keys);

/* How QEMU spells a boolean: on, yes, true, y; off, no, false, n. false for NULL. */
bool device_value_is_on(const char *value);
bool device_value_is_off(const char *value);

/* The value with those properties switched off: one that is given is replaced where it first
 * stands, others of off come to the end, in its order, others of over do not: they are off by
 * themselves. What is off already stays as it is, and so does all else: byte for byte in QEMU's
 * syntax, in its order in JSON. keys: as read from value, and not unread. The caller frees it; NULL
 * for want of memory. */
char *device_value_switch_off(const char *value, const struct keyval *keys,
                              const struct strlist *off, const struct strlist *over);

#endif
