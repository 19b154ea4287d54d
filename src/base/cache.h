/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A folder of what was found out earlier: files KEY.json, each key a digest.
 */
#ifndef QML_BASE_CACHE_H
#define QML_BASE_CACHE_H

#include <stddef.h>

/* Before an entry is added: remove the oldest one if there are `most` of them. */
void cache_make_room(const char *folder, size_t most);

#endif
