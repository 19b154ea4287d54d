/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a QEMU can do for devices and for migrations, whatever the host.
 */
#ifndef QML_HOST_QEMU_DEVICES_H
#define QML_HOST_QEMU_DEVICES_H

#include "device/device_offer.h"
#include "host/qemu_session.h"

/* Ask a QEMU that runs: the classes of the table that it has, with their properties; its migration
 * capabilities, and "tls" when it can; the properties that this machine type sets, where QEMU tells
 * (9.1 and later). machine: a versioned type that it knows. Fills all of *offer but the backends;
 * it must be empty. STATUS_CONFIG. */
bool qemu_ask_devices(struct qemu_session *session, const char *machine, struct device_offer *offer,
                      struct error *err);

/* The names in a reply of query-migrate-capabilities, and that they are known, into *offer. Others
 * than names of ours are left out. STATUS_INTERNAL. */
bool qemu_take_capabilities(const json_t *reply, struct device_offer *offer, struct error *err);

#endif
