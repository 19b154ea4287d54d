/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What an agreement says of the devices of a guest that plain QEMU runs.
 */
#ifndef QML_VM_ADOPT_DEVICES_H
#define QML_VM_ADOPT_DEVICES_H

#include "device/device_baseline.h"
#include "vm/arglist.h"

/* The devices are as they are: nothing is off, so that no host which has the guest later takes
 * anything from them that they have here. Not even what this host's kernel lacks: it is off in a
 * device that stands on that kernel, but a network card of the same class may have another netdev,
 * and there it is on. What is kept: what this host gives by itself to what the guest's arguments
 * use; a host that has the guest later must have it, too.
 * host: this one's name; offer: what it can give; with_qemu: what is known of its QEMU holds for
 * the one that runs, else nothing is known and nothing is kept. *devices must be empty. As
 * device_use_read. */
bool adopt_devices(const char *host, const struct device_offer *offer, bool with_qemu,
                   const struct arglist *arguments, struct device_baseline *devices,
                   struct error *err);

#endif
