/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Asking this host's kernel what its device backends can do, in a child process: what it opens and
 * makes goes with it.
 */
#ifndef QML_HOST_BACKEND_ASK_H
#define QML_HOST_BACKEND_ASK_H

#include <stdint.h>

#include "base/deadline.h"
#include "base/error.h"
#include "device/backend_table.h"

/* More rows than the table of features has (backend_table.h). */
#define BACKEND_FEATURES_MAX 256

/* How far a question came. */
enum backend_step {
    BACKEND_NOT_ASKED,  /* the child ended before it */
    BACKEND_NOT_LOADED, /* the module that a file would load when it is opened */
    BACKEND_NAMESPACE,  /* no network namespace of its own */
    BACKEND_OPEN,
    BACKEND_TAP,      /* no temporary tap */
    BACKEND_QUESTION, /* an ioctl is refused */
    BACKEND_ANSWERED
};

struct backend_question {
    const char *backend; /* the table's name */
    const char *path;
    const char *loaded; /* NULL, or a file that is there only when the module is */
};

struct backend_answer {
    enum backend_step step;         /* the one that failed */
    int error;                      /* the errno of it */
    uint32_t kind;                  /* of vhost-vdpa: the virtio device's id (linux/virtio_ids.h) */
    bool has[BACKEND_FEATURES_MAX]; /* by the rows of backend_features(): those of its backend */
};

/* Ask all of them, in order. "tun" is asked in a network namespace of the child's own, which goes
 * with it, and must be the last: nothing else is asked in there. answers[] is filled as far as it
 * came until the deadline; *signal gets the one that ended the child before, or 0. STATUS_INTERNAL:
 * no process or pipe is to be had. */
bool backend_ask(const struct backend_question *questions, size_t count, deadline when,
                 struct backend_answer *answers, int *signal, struct error *err);

#endif
