/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whether a host could take a VM: its profile against the VM's agreement. Pure. The last word has
 * the proof on that host; where something is missing here, none would hold there.
 */
#ifndef QML_VM_FIT_H
#define QML_VM_FIT_H

#include "host/profile.h"
#include "vm/agreement.h"

/* What stands against it. Start with {0}. */
struct fit {
    struct strlist missing;  /* features that the host would not give, in the order of names */
    enum loss_cause *causes; /* one for each of them */
    struct strlist reasons; /* what else, as ends of a sentence: "has no machine type pc-q35-9.0" */
    struct strlist doubts;  /* what the profile does not tell for sure, likewise */
};

void fit_free(struct fit *fit);
#define autofit __attribute__((cleanup(fit_free)))

/* Fills *fit, which must be empty. The profile may be of anyone and any age: that is the caller's
 * business. STATUS_INTERNAL. */
bool fit_find(const struct agreement *agreement, const struct profile *profile, struct fit *fit,
              struct error *err);

/* Nothing stands against it. */
bool fit_is_good(const struct fit *fit);

/* "lacks avx2 (cpu) smap (policy), has no machine type pc-q35-9.0"; for the caller to free, NULL
 * for want of memory. */
char *fit_describe(const struct fit *fit);

#endif
