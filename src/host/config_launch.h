/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * [launch] of config.ini: options of launch for when the program is called as QEMU. Which keys
 * there are is known here, what they mean in cli/masquerade.c.
 */
#ifndef QML_HOST_CONFIG_LAUNCH_H
#define QML_HOST_CONFIG_LAUNCH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct config_launch_entry {
    char *key; /* the long name of an option of launch, without "--" */
    char *value;
    int line; /* of the file, from 1 on */
};

/* Start with {0}; owns everything in it. */
struct config_launch {
    struct config_launch_entry *entries; /* in the order of the file */
    size_t count;
};

void config_launch_free(struct config_launch *launch);

/* STATUS_CONFIG for a key that is no option of launch; STATUS_INTERNAL for want of memory. */
bool config_launch_add(struct config_launch *launch, const char *key, const char *value, int line,
                       struct error *err);

#endif
