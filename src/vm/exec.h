/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Becoming QEMU: with the descriptors, signal dispositions and environment that this program was
 * started with, and nothing of its own (DESIGN 9).
 */
#ifndef QML_VM_EXEC_H
#define QML_VM_EXEC_H

#include "base/strings.h"
#include "host/qemu.h"

struct start_state;

/* What this process was started with. Called first of all in main(). A standard descriptor that was
 * closed is opened on /dev/null, so that no file of ours becomes QEMU's standard output. From now
 * on this process, which may get to have a private key, leaves no core, and neither does what it
 * starts (probes and proofs). NULL for want of memory. */
struct start_state *start_state_save(void);
void start_state_free(struct start_state *state);

/* Put everything back and execute binary with argv; it must still be the file that was examined.
 * A service manager that wants to know (sd_notify(3)) is told that the service is ready now.
 * Returns only if that failed (STATUS_CONFIG), always false. */
bool exec_qemu(const struct start_state *state, const struct qemu_binary *binary,
               const struct strlist *argv, struct error *err);

/* The same for a program that was not examined (QEMU asked for -version). */
bool exec_plain(const struct start_state *state, const char *path, const struct strlist *argv,
                struct error *err);

#endif
