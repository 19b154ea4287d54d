/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One QMP conversation with a QEMU over a connected socket (QEMU docs/interop/qmp-spec). QEMU is
 * not trusted either: replies have a size cap, ids are checked, every wait has a deadline.
 */
#ifndef QML_QMP_QMP_H
#define QML_QMP_QMP_H

#include <sys/types.h>

#include <signal.h>

#include "base/deadline.h"
#include "base/json.h"

struct qmp;

/* For a program that is interrupted: from when *flag is not 0 on, every answer counts as late.
 * NULL: never. */
void qmp_give_up_on(const volatile sig_atomic_t *flag);

/* Take over a connected socket: wait for the greeting and leave the negotiation mode. fd belongs to
 * the conversation from the call on, also when it fails. NULL with STATUS_UNAVAILABLE when QEMU
 * says nothing in time or hangs up, STATUS_PROTOCOL when what it says is not QMP. */
struct qmp *qmp_open(int fd, deadline when, struct error *err);

/* Connect to a QMP server's Unix socket. A second client on a busy socket gets no greeting: that is
 * STATUS_UNAVAILABLE after `greeting_ms`. */
struct qmp *qmp_connect(const char *path, int64_t greeting_ms, struct error *err);

/* The process at the other end of a Unix socket: who listened on it (SO_PEERCRED, unix(7)), and as
 * which user. False if the kernel does not tell. */
bool qmp_peer(const struct qmp *qmp, pid_t *pid, uid_t *user);

void qmp_close(struct qmp *qmp);
static inline void cleanup_qmp(struct qmp **qmp)
{
    qmp_close(*qmp);
}
#define autoqmp __attribute__((cleanup(cleanup_qmp)))

/* Execute a command; arguments (may be NULL) is a reference that is used up. *result (may be NULL)
 * gets a new reference to the "return" value. An error that QEMU answers is `refused` with its
 * words; the connection goes on then. Lost connection or late answer: STATUS_UNAVAILABLE. */
bool qmp_execute(struct qmp *qmp, const char *command, json_t *arguments, deadline when,
                 enum status refused, json_t **result, struct error *err);

/* The next event: one that came meanwhile, or wait for it. A new reference, or NULL when none came
 * in time (err untouched, *closed false) or QEMU hung up (*closed true). */
json_t *qmp_next_event(struct qmp *qmp, deadline when, bool *closed);

/* The QEMU version of the greeting, as 10000*major + 100*minor + micro, and what its builder says
 * of the package, as string_plain makes it: any text may have been given to QEMU's configure. */
#define QMP_PACKAGE_MAX 127
unsigned qmp_version(const struct qmp *qmp);
const char *qmp_package(const struct qmp *qmp);

#endif
