/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The host profile: what one host can give a guest, as a statement's payload (DESIGN 5). Signing
 * and trust are peer/'s business.
 */
#ifndef QML_HOST_PROFILE_H
#define QML_HOST_PROFILE_H

#include "device/device_offer.h"
#include "host/config.h"
#include "host/qemu.h"

#define PROFILE_TYPE "qemu-migrate-launch-profile+json"
#define PROFILE_VERSION 3 /* 1 and 2 are read, too: every model whole; 1: nothing of devices */
#define PROFILE_SIZE_MAX ((size_t)256 << 10)
/* How long a profile counts after it was made. */
#define PROFILE_LIFETIME_S ((int64_t)7 * 24 * 3600)
/* How far in the future `issued` may lie: clocks differ. */
#define CLOCK_TOLERANCE_S 300

struct profile {
    unsigned table;  /* FEATURE_TABLE_VERSION of who made it */
    int64_t serial;  /* rises with every change */
    int64_t issued;  /* Unix seconds */
    int64_t expires; /* Unix seconds */
    char *qemu_version;
    char *machine;        /* the probe's parameters */
    char *kernel_irqchip; /* "" when it was not given */
    bool cpu_pm;
    bool imported; /* made of recorded replies: for planning only */
    struct machine_list machines;
    struct cpu_offer offer; /* with host and accel */
    struct device_offer devices;
};

void profile_free(struct profile *profile);
#define autoprofile __attribute__((cleanup(profile_free)))

/* Examine this host for the given QEMU, machine type, accelerator and so on. model: as for
 * qemu_probe_cpu. state_folder: where the serial is kept, and what QEMU has answered before
 * (probe_cache.h), and the kernel of taps (backends_kept.h); NULL: both are asked anew, serial 0,
 * nothing is written. host: NULL, or gets a digest of all that is said of this host and its QEMU,
 * but for when it is said: what was found out under it holds as long as it stays the same; "" when
 * it is in doubt which QEMU runs. A new payload for envelope_sign; NULL with STATUS_CONFIG or
 * STATUS_CANNOT_WRITE. */
json_t *profile_make(const struct config *config, const char *state_folder, const struct qemu *qemu,
                     const struct probe_parameters *parameters, char **model,
                     char host[DIGEST_HEX_SIZE], struct error *err);

#define PROFILE_IMPORT_SIZE_MAX ((size_t)4 << 20)

/* A payload, marked as imported, from the text of {"name","query-version","query-kvm",
 * "query-machines","query-cpu-definitions","query-cpu-model-expansion",
 * "query-migrate-capabilities"}, each QEMU's return value or null for "not known"; other members
 * are ignored. What the replies do not tell (physical
 * address bits, the definitions of CPU models, the raw CPUID) is left unknown. STATUS_DATA. */
json_t *profile_import(const char *text, size_t length, struct error *err);

/* Read a profile's payload. STATUS_DATA: malformed, or of another version. */
bool profile_read(json_t *payload, struct profile *profile, struct error *err);

/* It counts now: not expired, not issued more than CLOCK_TOLERANCE_S ahead, the same tables.
 * now: Unix seconds. STATUS_NOT_TRUSTED with both clocks, STATUS_PROTOCOL. */
bool profile_check(const struct profile *profile, int64_t now, struct error *err);

#endif
