/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What QEMU says when it does not want a CPU.
 */
#ifndef QML_GUEST_REFUSAL_H
#define QML_GUEST_REFUSAL_H

#include "base/strings.h"

/* The features that QEMU names in what it printed, in that order, each once: those that `enforce`
 * misses, those that lack another one, and for an MSR that KVM did not take the feature that brings
 * the MSR. Names are checked, not known to be QEMU's. False for want of memory. */
bool guest_refusal_features(const char *said, struct strlist *names);

#endif
