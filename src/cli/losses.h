/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * How what a baseline loses is said, to people and to scripts.
 */
#ifndef QML_CLI_LOSSES_H
#define QML_CLI_LOSSES_H

#include "cpu/baseline.h"

/* [{"feature","missing_on":[{"host","why"}],"security"}] (DESIGN 11); NULL for want of memory. */
json_t *losses_to_json(const struct baseline_report *report);

/* Losses with the same cause in one line, security first and as warnings with what each means; the
 * cost of each host; warnings. To standard error. */
void losses_log(const struct baseline_report *report, const char *const hosts[], size_t count);

#endif
