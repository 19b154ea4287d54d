/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a QEMU's answer to a probe depends on, besides the files that it loads while it runs.
 */
#ifndef QML_HOST_PROBE_KEY_H
#define QML_HOST_PROBE_KEY_H

#include "base/json.h"
#include "host/host_view.h"
#include "host/qemu.h"

/* Raise it when the key, an entry, or what is asked of QEMU changes. */
#define PROBE_CACHE_VERSION 3

/* Everything that a key consists of, in clear:
 *   "format", "table", "backend_table": versions of the cache's format and of the two tables;
 *   "asked": what is asked: the probe's parameters, or "open" for version and machine types;
 *   "path", "binary": of the program, with its identity (qemu_files.h) as it is now;
 *   "modules": the folders that QEMU's modules may lie in, those that are not there, too;
 *   "loader": files, folders and environment that decide about which libraries are loaded;
 *   "boot_id", "kernel", "cpuid", "kvm": this host (host/host_view.h).
 * parameters: NULL for "open". A new object, or NULL: without a key nothing is cached.
 * STATUS_CONFIG, STATUS_INTERNAL. */
json_t *probe_key_words(const struct qemu_binary *binary, const struct probe_parameters *parameters,
                        const struct host_view *view, struct error *err);
/* With this host as it is now. */
json_t *probe_key_words_now(const struct qemu_binary *binary,
                            const struct probe_parameters *parameters, struct error *err);

#endif
