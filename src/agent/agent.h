/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The agent: `serve`. This process is the worker: state, QEMU for probes and proofs, drift,
 * systemd. Its child is the network process (agent_network.h).
 */
#ifndef QML_AGENT_AGENT_H
#define QML_AGENT_AGENT_H

#include "base/error.h"
#include "base/paths.h"

struct agent_setup {
    const struct paths *paths;
    const char *config_file; /* --config, or NULL */
    const char *listen; /* --listen, or NULL: systemd's socket, the configuration, the default */
};

/* Serve until SIGTERM or SIGINT, then true. STATUS_USAGE: --listen; STATUS_CONFIG,
 * STATUS_NOT_TRUSTED: configuration, trust or identity; STATUS_UNAVAILABLE: the port is taken, or
 * another agent serves this home; STATUS_INTERNAL: the network process does not stay alive. */
bool agent_serve(const struct agent_setup *setup, struct error *err);

#endif
