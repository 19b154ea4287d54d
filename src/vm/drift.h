/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Drift: whether this host can still give a VM the CPU, and the devices, that it agreed on.
 */
#ifndef QML_VM_DRIFT_H
#define QML_VM_DRIFT_H

#include "base/paths.h"
#include "host/config.h"
#include "host/qemu.h"
#include "vm/record.h"

/* What this host gives a VM under its agreement. Start with {0}. */
struct drift_given {
    char *cpu; /* the -cpu, or NULL if there are reasons against it */
    struct device_offer devices;
};

void drift_given_free(struct drift_given *given);
#define autodriftgiven __attribute__((cleanup(drift_given_free)))

/* Look at this host as it is now, and prove the agreement on it; earlier proofs do not count.
 * record: with which QEMU and arguments it was proven when the VM was launched or agreed on; when
 * it does not say, [qemu] binary, and what -smp changes is left out of the comparison. Fills
 * *reasons, one line each, with the cause if it is known what has changed since it held the last
 * time (drift_facts.h); empty when the agreement holds, and that is remembered then. False when it
 * could not be found out: STATUS_CONFIG, STATUS_DATA (the agreement has no proof to compare with,
 * or the record is of another one). digest: of the agreement. *given (may be NULL) must be empty.
 */
bool drift_check(const struct paths *paths, const struct config *config,
                 const struct agreement *agreement, const char *digest,
                 const struct vm_record *record, struct strlist *reasons, struct drift_given *given,
                 struct error *err);

/* The same without a proof: only what this host offers is looked at. record: for the command line,
 * from which follows what stands behind devices here (drift_devices.h). */
bool drift_render(const struct paths *paths, const struct config *config,
                  const struct agreement *agreement, const struct vm_record *record,
                  const struct qemu *qemu, struct strlist *reasons, struct drift_given *given,
                  struct error *err);

/* Keep what is true of this host, now that it has promised to honour the agreement about a VM.
 * payload: of its profile (host/profile.h). STATUS_CANNOT_WRITE. */
bool drift_remember(const struct paths *paths, const char *vm, json_t *payload, struct error *err);

#endif
