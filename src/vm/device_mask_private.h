/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The parts of device_mask.h.
 */
#ifndef QML_VM_DEVICE_MASK_PRIVATE_H
#define QML_VM_DEVICE_MASK_PRIVATE_H

#include "vm/device_mask.h"

/* What device_mask_write was given. */
struct masking {
    const struct device_off *off;
    size_t count;
    const struct arglist *files;
    struct arglist *list;
    struct strlist *overruled;
};

/* Tell the user, if value switches the property on. where: "-device virtio-net-pci". */
bool device_mask_note(struct masking *masking, const struct device_off *off, const char *value,
                      const char *where, struct error *err);

/* Take care of the value of one -global: of the item at *index, or of one in a file (NULL). */
bool device_mask_global(struct masking *masking, const char *value, const size_t *index,
                        struct error *err);

/* Add a -global for each property to the end. */
bool device_mask_add_globals(struct masking *masking, struct error *err);

#endif
