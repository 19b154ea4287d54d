/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the kernel said of taps to a process that could ask it, for one that cannot.
 */
#ifndef QML_HOST_BACKENDS_KEPT_H
#define QML_HOST_BACKENDS_KEPT_H

#include "device/device_offer.h"

/* To try a tap takes a network namespace, which an agent that systemd locks in does not get. What a
 * tap can do is the kernel's: it stays as it is until the next boot. So what is known of taps is
 * kept, STATE/backends/KEY.json, and what is not known is taken from there, if it was kept since
 * this boot, under this kernel and table. Other backends are asked each time: whoever may use one
 * may ask it. That nothing can be kept or found is no error. STATUS_INTERNAL: no memory, no boot
 * id.
 */
bool backends_keep(const char *state_folder, struct device_offer *offer, struct error *err);

#endif
