/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The agent's network process: TLS, HTTP, messages, trust, limits. It runs nothing, opens no file
 * and writes none: what it needs is opened before agent_network_run, and from there on it has its
 * listening socket, its connections, the pipe to the worker and standard error.
 */
#ifndef QML_AGENT_AGENT_NETWORK_H
#define QML_AGENT_AGENT_NETWORK_H

#include "peer/identity.h"

#define AGENT_GRACE_MS 10000 /* for what is under way when the agent is told to stop */

#define AGENT_REST_MS 3000 /* without work, after which memory is given back */

/* Serve on the listening socket, asking the worker at the other end of pipe; both are owned. It
 * ends with the worker, or when SIGTERM has come and all is answered. The process's exit status. */
int agent_network_run(const struct identity *identity, int listener, int pipe);

#endif
