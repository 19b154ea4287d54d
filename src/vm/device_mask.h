/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the parties agreed to switch off on a VM's devices, in its QEMU command line. Pure.
 */
#ifndef QML_VM_DEVICE_MASK_H
#define QML_VM_DEVICE_MASK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/strings.h"
#include "vm/arglist.h"

/* A property that the devices of a class must not have. */
struct device_off {
    const char *class; /* the table's (device/backend_table.h), as property */
    const char *property;
    bool usual; /* on by itself; one that is not need only be written over what says otherwise */
    char *why;  /* who cannot have it and why, for a user who asked for it; NULL: not known */
};

struct device_offs {
    struct device_off *items; /* by class, then property */
    size_t count;
};

/* Write them into a command line, so that no device of these classes has them, however it comes:
 *   -device   gets PROPERTY=off (in JSON false) in place of a value of its own, or at its end
 *   -set      of such a device gets "off" for its value
 *   -global   the same, if it is for a driver of the class; and one more for each property is added
 *             behind everything: for network cards of -nic and -net nic, and for devices that are
 *             plugged in later; of one that is not usual only against another -global
 *   of devices in configuration files, which are not touched, what they say is set anew behind
 *             everything: by -set for one with an id
 * Measured on QEMU 7.2 and 10.0: a property of -device beats every -global; of those, one for the
 * PCI device beats one for the device in it, whatever their order; of two for one driver the later
 * counts; one for the device in it reaches all three PCI variants; -set reaches no device in JSON.
 * -device knows drivers by aliases, -global does not; properties have none, not "mrg-rxbuf" either.
 *
 * files: the options of the configuration files that QEMU would read
 * (config_files_options). *overruled gets a line for each that the user had asked to be on; it may
 * have lines already. list: changed in place, and possibly half when this fails. STATUS_USAGE: JSON
 * of such a device that cannot be read here; one in a file that has no id and switches a property
 * on; STATUS_INTERNAL. */
bool device_mask_write(const struct device_offs *offs, const struct arglist *files,
                       struct arglist *list, struct strlist *overruled, struct error *err);

#endif
