/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the kernel said of taps, so that it is asked once a boot: to try one takes a process and a
 * network namespace, a third of the time that a launch has.
 */
#ifndef QML_HOST_BACKENDS_KEPT_H
#define QML_HOST_BACKENDS_KEPT_H

#include "device/device_offer.h"

/* What a tap can do is the kernel's: it stays as it is until the next boot. So what is known of
 * taps is kept, STATE/backends/KEY.json, and counts for this boot, kernel and table; also for a
 * process that cannot try one, as an agent that systemd locks in, which gets no network namespace.
 * Other backends are asked each time: modules come, and whoever may use one may ask it. That
 * nothing can be kept or found is no error. Both: STATUS_INTERNAL: no memory, no boot id.
 *
 * Add what is kept to *offer, which has no tun yet, if the device's file is there. */
bool backends_take_kept(const char *state_folder, struct device_offer *offer, struct error *err);

/* Keep what is known of taps in *offer; what is not known is taken from what was kept. */
bool backends_keep(const char *state_folder, struct device_offer *offer, struct error *err);

#endif
