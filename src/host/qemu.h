/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What one QEMU binary can do on this host, asked of QEMU itself over QMP.
 */
#ifndef QML_HOST_QEMU_H
#define QML_HOST_QEMU_H

#include <stdint.h>
#include <sys/types.h>

#include "base/deadline.h"
#include "base/digest.h"
#include "cpu/cpu_offer.h"
#include "cpu/machine.h"
#include "device/device_offer.h"
#include "host/host_view.h"

/* How long one start of QEMU may take before it counts as hung. */
#define QEMU_PROBE_MS 20000

/* The file that is executed: the one that was probed and no other. */
struct qemu_binary {
    char *path; /* as found; never searched for again */
    dev_t device;
    ino_t inode;
    struct timespec changed; /* ctime */
};

struct qemu {
    struct qemu_binary binary;
    char *version; /* "7.2.22" */
    char *package; /* the distributor's word, may be empty */
    struct machine_list machines;
    struct host_view view; /* of the host, when it was opened with what was kept; or {0} */
};

/* What changes the answer about the CPU. */
struct probe_parameters {
    const char *machine;        /* a versioned type */
    const char *accel;          /* "kvm" or "tcg" */
    const char *kernel_irqchip; /* "on", "off", "split" or NULL */
    bool cpu_pm;
};

void qemu_free(struct qemu *qemu);
#define autoqemu __attribute__((cleanup(qemu_free)))

/* Find name (PATH is searched when it has no slash), start it once with no machine, and read its
 * version and machine types. STATUS_CONFIG: no such program, not QEMU, not for x86-64, it dies, it
 * hangs; each with what it printed last. */
bool qemu_open(const char *name, struct qemu *qemu, struct error *err);

/* The same, without starting it when it was examined before under the same circumstances
 * (probe_cache.h). state_folder: NULL: it is started in any case, and nothing is kept. */
bool qemu_open_cached(const char *name, const char *state_folder, struct qemu *qemu,
                      struct error *err);

/* The binary is still the file that qemu_open found. STATUS_CONFIG if not. */
bool qemu_binary_check(const struct qemu_binary *binary, struct error *err);

/* Start it with the given machine, accelerator and so on, stopped, and fill identity, phys_bits,
 * available, known, models and accel of *offer (which must be empty); the rest is the caller's.
 * state_folder: as for qemu_open_cached. model, when neither it nor *model is NULL: a CPU model's
 * name, replaced by the versioned name that it is an alias of on this machine type. devices, if not
 * NULL (and empty): what this QEMU says of devices (qemu_devices.h), without backends. files, if
 * not NULL: what qemu_files_digest says of it. view: the host as it is now; NULL: it is read, where
 * it is needed. STATUS_CONFIG as above, when QEMU does not know the model, and when the accelerator
 * that runs is not the one that was asked for. */
bool qemu_probe_cpu(const struct qemu *qemu, const struct probe_parameters *parameters,
                    const char *state_folder, char **model, struct cpu_offer *offer,
                    struct device_offer *devices, char files[DIGEST_HEX_SIZE],
                    const struct host_view *view, struct error *err);

/* Choose from the accelerators asked for, in order, the first that this host can use, as QEMU
 * would: "kvm" needs /dev/kvm. One of accels. STATUS_CONFIG says why none. */
const char *qemu_choose_accel(const char *const accels[], size_t count, struct error *err);

#endif
