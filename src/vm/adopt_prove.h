/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The proof of an adoption: the CPU of a guest that runs already is made a second time, and the
 * built-in guest has to see the same in it as in one that is started as the guest was.
 */
#ifndef QML_VM_ADOPT_PROVE_H
#define QML_VM_ADOPT_PROVE_H

#include <signal.h>

#include "base/paths.h"
#include "host/qemu.h"
#include "vm/adopt.h"
#include "vm/proof_arguments.h"

/* What is known of the guest; all borrowed. */
struct adopt_guest {
    const struct paths *paths;
    const struct qemu *qemu; /* with which it is started from now on */
    const char *running;     /* a path to the very file that runs; may be qemu's */
    const struct running_cpu *cpu;
    const struct cpu_offer *offer; /* of qemu on this host */
    const char *host;              /* a digest for the proof's cache, or "" */
    const char *written;           /* -cpu as the user gave it, or the machine type's own model */
    const struct strlist *globals; /* -global that reach the CPU */
    const struct proof_arguments *arguments;
    const volatile sig_atomic_t *interrupted;
};

/* Find the form in which the baseline gives a guest what the running one has: fills
 * agreement->form,
 * ->proof and the knobs of ->baseline, which holds all else already, as does ->machine. A CPU that
 * cannot be had a second time is no failure: *reasons then has why, a line each. *doubts gets a
 * line for each thing in which the table does not tell what QEMU says. STATUS_CONFIG,
 * STATUS_INTERRUPTED, STATUS_INTERNAL. */
bool adopt_prove(const struct adopt_guest *guest, struct agreement *agreement,
                 struct strlist *reasons, struct strlist *doubts, struct error *err);

#endif
