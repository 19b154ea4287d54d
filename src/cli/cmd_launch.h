/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The parts of the launch command: its options, and how it says what came out.
 */
#ifndef QML_CLI_CMD_LAUNCH_H
#define QML_CLI_CMD_LAUNCH_H

#include "cli/command.h"
#include "cpu/render.h"
#include "vm/negotiate.h"

struct launch_options {
    const char *vm;
    const char *peer; /* HOST[:PORT] or a trust entry's name */
    bool listen;
    const char *listen_address; /* [ADDR]:PORT, or NULL */
    bool incoming;
    const char *plain_incoming;
    enum cpu_form form;
    struct featureset require, deny;
    struct strlist accepted; /* rows by --accept-row */
    bool no_proof, renegotiate, here, dry_run;
    int64_t timeout_ms; /* 0: not given */
};

void launch_options_free(struct launch_options *options);
extern const struct option_spec launch_specs[];

/* A few lines about what was agreed, with whom, what was lost: to standard error. */
void launch_report(const struct exchange *exchange);

/* The document of --dry-run --json; NULL for want of memory. cpu: of this host. */
json_t *launch_document(const struct exchange *exchange, const char *cpu, const char *peer_cpu,
                        const struct strlist *argv);

#endif
