/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What on this host would get in the way of a launch, an agent, a receive or a migration.
 *
 * A table of checks, each a function that looks at one thing and adds findings. Nothing on the host
 * is changed, and nothing left behind.
 */
#ifndef QML_DOCTOR_DOCTOR_H
#define QML_DOCTOR_DOCTOR_H

#include "base/paths.h"
#include "doctor/finding.h"

/* How long all checks together may take. */
#define DOCTOR_MS 90000

struct doctor_setup {
    const struct paths *paths;
    const char *config_file; /* --config, or NULL */
    const char *home;        /* --home, or NULL: for the commands that are named */
};

/* Make all checks, at the same time and each in a process of its own: one that ends badly or does
 * not end is a finding itself. They are added in the order of the table. STATUS_INTERNAL. */
bool doctor_examine(const struct doctor_setup *setup, struct findings *findings, struct error *err);

#endif
