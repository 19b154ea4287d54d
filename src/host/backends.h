/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What this host's kernel can do for a guest's devices.
 */
#ifndef QML_HOST_BACKENDS_H
#define QML_HOST_BACKENDS_H

#include "device/device_offer.h"

/* How long the kernel may take to answer. */
#define BACKENDS_MS 2000

/* Add every backend of the table that *offer does not have: asked of the kernel each time, for
 * modules come and rights change; where a device's file is not there, without a process. What this
 * process may not ask, and what does not answer in time, is unknown, and why; a device or module
 * that is not there is absent. Leaves nothing behind: the tap that is made lives and dies in a
 * network namespace of its own. STATUS_INTERNAL. */
bool backends_examine(struct device_offer *offer, struct error *err);

#endif
