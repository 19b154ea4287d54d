/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Trust on first use, by a person at a terminal (DESIGN 8): --tofu.
 */
#ifndef QML_CLI_TOFU_H
#define QML_CLI_TOFU_H

#include "cli/command.h"
#include "peer/identity.h"
#include "peer/trust.h"

/* If no entry of trust is meant by the value of that option (--peer), HOST[:PORT]: ask what key is
 * there, show its pin at the terminal, and, if the person says so, add an entry called HOST, and
 * read *trust again, so that pointers into it no longer hold. A peer that is known is left alone,
 * whatever key is there now. STATUS_NOT_TRUSTED: there is no terminal, it was not confirmed, or the
 * key is that of another entry; STATUS_USAGE; and what peer_learn_pin and trust_add report. */
bool tofu_meet(const struct context *context, const struct identity *identity, const char *option,
               const char *text, struct trust *trust, struct error *err);

#endif
