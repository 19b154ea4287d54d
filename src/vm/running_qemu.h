/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which QEMU a running guest has: the process behind its monitor, the program in it, its arguments.
 */
#ifndef QML_VM_RUNNING_QEMU_H
#define QML_VM_RUNNING_QEMU_H

#include <sys/types.h>

#include "qmp/qmp.h"
#include "vm/arglist.h"

/* Start with {0}; owns everything in it. */
struct running_qemu {
    pid_t pid;
    uid_t user;
    char *program; /* QEMU's file by the path under which it was started */
    dev_t device;  /* of the file that runs, which may be at that path no more */
    ino_t inode;
    bool is_there;            /* it is: the same file */
    bool by_loader;           /* a dynamic linker was told to run it: /proc/PID/exe is not QEMU */
    struct arglist arguments; /* without the loader's */
};

void running_qemu_free(struct running_qemu *qemu);
#define autorunningqemu __attribute__((cleanup(running_qemu_free)))

/* A conversation with the QEMU whose QMP socket the user gave; NULL with what to do that there is
 * none: STATUS_USAGE, STATUS_UNAVAILABLE (busy, stopped, gone), STATUS_PROTOCOL,
 * STATUS_NOT_TRUSTED. */
struct qmp *running_qemu_connect(const char *path, struct error *err);

/* The process that listens on the socket at the other end of qmp. STATUS_NOT_TRUSTED: it is another
 * user's, and the kernel does not let us look at it; STATUS_CONFIG: it has ended, its arguments are
 * not QEMU's, or too many. */
bool running_qemu_find(const struct qmp *qmp, struct running_qemu *running, struct error *err);

/* Start the QEMU at path for a moment (a wrapper script may stand there), and see whether it is the
 * file that runs. STATUS_CONFIG if it cannot be started. */
bool running_qemu_is(const struct running_qemu *running, const char *path, bool *same,
                     struct error *err);

/* The program may be started by us: root does not start what another user can change.
 * STATUS_NOT_TRUSTED. */
bool running_qemu_check_owner(const char *path, struct error *err);

#endif
