/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What QEMU was found to be able to give a guest on this host: STATE/probes/KEY.json. It is used
 * again only when nothing has changed that it could depend on; when in doubt QEMU is asked again.
 */
#ifndef QML_HOST_PROBE_CACHE_H
#define QML_HOST_PROBE_CACHE_H

#include "host/qemu.h"

/* How many are kept: the oldest go. */
#define PROBE_CACHE_MAX 32

/* The key of a probe with these parameters, of this QEMU, on this host as it is now: its boot,
 * kernel, KVM modules and their parameters, microcode and CPUID. STATUS_CONFIG, STATUS_INTERNAL. */
bool probe_cache_key(const struct qemu *qemu, const struct probe_parameters *parameters,
                     char key[DIGEST_HEX_SIZE], struct error *err);

/* What was stored under the key, if the files that QEMU was made of, and the folders that they lie
 * in, are as they were then. False, which is no error, otherwise. *probe must be empty. */
bool probe_cache_find(const char *state_folder, const char *key, struct probe *probe);

/* Keep it, unless it is in doubt which QEMU ran. That it cannot be kept is no error either: a debug
 * message says so. */
void probe_cache_store(const char *state_folder, const char *key, const struct probe *probe);

#endif
