/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Drift, of what stands behind devices: what a host has to have that a guest comes to later.
 */
#ifndef QML_VM_DRIFT_DEVICES_H
#define QML_VM_DRIFT_DEVICES_H

#include "base/paths.h"
#include "host/profile.h"
#include "vm/agreement.h"
#include "vm/record.h"

/* Hold what the agreement keeps of devices against this host, by what its own command line uses:
 * that in the record, or the one that is kept for `receive` (args_file.h). *reasons gets a line for
 * what is known to be missing. What is not known is logged, and does not hinder, unless the site
 * policy demands to know it; without a command line nothing is looked at. STATUS_INTERNAL. */
bool drift_devices(const struct paths *paths, const struct config *config,
                   const struct agreement *agreement, const struct vm_record *record,
                   const struct device_offer *devices, struct strlist *reasons, struct error *err);

#endif
