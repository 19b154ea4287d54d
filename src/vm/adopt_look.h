/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What else of a running guest is asked before it is adopted.
 */
#ifndef QML_VM_ADOPT_LOOK_H
#define QML_VM_ADOPT_LOOK_H

#include "base/strings.h"
#include "qmp/qmp.h"

/* Start with {0}; owns everything in it. */
struct adopt_look {
    char *model;            /* of the first vCPU, as by adopt_read_model */
    struct strlist blocked; /* why QEMU would not migrate it now; plain ASCII */
};

void adopt_look_free(struct adopt_look *look);
#define autoadoptlook __attribute__((cleanup(adopt_look_free)))

/* Ask. STATUS_DECISION: the guest is not this QEMU's alone: it is coming, on its way, or has gone.
 * STATUS_UNAVAILABLE, STATUS_PROTOCOL. */
bool adopt_look_read(struct qmp *qmp, struct adopt_look *look, struct error *err);

#endif
