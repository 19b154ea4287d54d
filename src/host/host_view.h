/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is to be known of this host for a probe's key and a profile, read once for both.
 */
#ifndef QML_HOST_HOST_VIEW_H
#define QML_HOST_HOST_VIEW_H

#include "base/deadline.h"
#include "base/digest.h"
#include "base/json.h"

/* As long as it stands for what is so: a launch reads it when it opens QEMU, and needs it again
 * some milliseconds later. Whoever waits for a peer in between reads it anew. */
#define HOST_VIEW_MS 1000

/* Start with {0}. */
struct host_view {
    char boot_id[40];
    json_t *kernel;              /* system_kernel */
    json_t *processor;           /* system_processor */
    json_t *kvm;                 /* system_kvm */
    char cpuid[DIGEST_HEX_SIZE]; /* of processor */
    deadline until;              /* it stands for what is so */
};

/* STATUS_CONFIG, STATUS_INTERNAL: as host/system.h says. */
bool host_view_read(struct host_view *view, struct error *err);
/* Whether it was read, and just now. */
bool host_view_is_fresh(const struct host_view *view);
void host_view_free(struct host_view *view);
#define autohostview __attribute__((cleanup(host_view_free)))

#endif
