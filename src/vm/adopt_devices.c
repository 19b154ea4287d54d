/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/adopt_devices.h"

#include "base/cleanup.h"
#include "vm/device_use.h"

bool adopt_devices(const char *host, const struct device_offer *offer, bool with_qemu,
                   const struct arglist *arguments, struct device_baseline *devices,
                   struct error *err)
{
    static const struct device_offer nothing = {0};
    const struct device_host own = {host, with_qemu ? offer : &nothing};
    autostrlist struct strlist uses = {0};
    if (!device_use_read(arguments, &uses, err) ||
        !device_baseline_compute(&own, 1, &uses, devices, NULL, err))
        return false;
    for (size_t i = 0; i < devices->class_count; i++)
        strlist_free(&devices->classes[i].off);
    return true;
}
