/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The agreements that are kept here, for the commands that look at them.
 */
#ifndef QML_CLI_CMD_AGREEMENT_H
#define QML_CLI_CMD_AGREEMENT_H

#include "cli/command.h"
#include "vm/agreement.h"

/* The agreement for a VM that is kept here, checked; digest may be NULL. When there is none: the
 * status `missing`. STATUS_DATA, STATUS_NOT_TRUSTED, STATUS_CONFIG as agreement_load and
 * agreement_document_open. */
bool open_agreement(const struct context *context, const char *vm, enum status missing,
                    struct agreement *agreement, char digest[DIGEST_HEX_SIZE], struct error *err);

/* When it was issued, as local time to the minute; size of 17 is enough for this age. */
void agreement_format_time(const struct agreement *agreement, char *text, size_t size);

/* Whether this host still gives the VM that CPU, to standard output. STATUS_DRIFT if not. */
bool agreement_check(const struct context *context, const char *vm, struct error *err);

/* All of it, for people, to standard output. */
bool agreement_print(const struct agreement *agreement, const char *digest, struct error *err);

#endif
