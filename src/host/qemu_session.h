/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A QEMU that was started only to be asked: no guest runs, and it ends with the session.
 */
#ifndef QML_HOST_QEMU_SESSION_H
#define QML_HOST_QEMU_SESSION_H

#include "base/process.h"
#include "qmp/qmp.h"

struct qemu_session {
    struct process process;
    int fd; /* for its monitor, until it is greeted; -1: none */
    struct qmp *qmp;
    deadline when; /* for all that is asked */
    bool quits;    /* it was asked to */
};

#define QEMU_SESSION_INIT                                                                          \
    {                                                                                              \
        .process = PROCESS_INIT, .fd = -1                                                          \
    }

/* Start path with arguments (after -nodefaults and the like, which are added) and a QMP monitor on
 * a socket pair. STATUS_CONFIG with what QEMU printed last if it dies or says nothing until the
 * deadline. */
bool qemu_session_start(struct qemu_session *session, const char *path,
                        const struct strlist *arguments, deadline when, struct error *err);

/* The two halves of it: QEMU starts while the caller does something else, and then its greeting is
 * waited for. */
bool qemu_session_begin(struct qemu_session *session, const char *path,
                        const struct strlist *arguments, deadline when, struct error *err);
bool qemu_session_greet(struct qemu_session *session, struct error *err);

/* qmp_execute with the session's deadline; if QEMU died over it, that is the error. A refusal is
 * STATUS_CONFIG. */
bool qemu_session_ask(struct qemu_session *session, const char *command, json_t *arguments,
                      json_t **result, struct error *err);

/* Ask it to quit, without waiting for that: qemu_session_end does. Under KVM a QEMU takes 5 to 40
 * ms to end. */
void qemu_session_quit(struct qemu_session *session);

/* Ask it to quit, and kill it if it does not. */
void qemu_session_end(struct qemu_session *session);
#define autoqemusession __attribute__((cleanup(qemu_session_end)))

#endif
