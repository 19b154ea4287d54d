/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * [map] of config.ini: what another host has under one path, this host has under another. Pure.
 */
#ifndef QML_HOST_PATH_MAP_H
#define QML_HOST_PATH_MAP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct path_mapping {
    char *there;
    char *here;
};

/* Start with {0}; owns everything in it. */
struct path_map {
    struct path_mapping *items; /* the longest `there` first */
    size_t count;
};

void path_map_free(struct path_map *map);

/* Both absolute, without "." and ".." in them; slashes at the end do not count. STATUS_CONFIG: they
 * are not, or there has a mapping already. */
bool path_map_add(struct path_map *map, const char *there, const char *here, struct error *err);

/* A word of a QEMU command line with the paths in it mapped. A path begins with '/' at the
 * beginning of the word or behind one of "=,:\"", and ends before one of these; the longest `there`
 * that is the path or a folder above it counts. The caller frees it; NULL for want of memory. */
char *path_map_apply(const struct path_map *map, const char *word);

#endif
