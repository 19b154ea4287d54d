/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Source or destination; and the guardian of a destination.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/cmd_launch.h"
#include "migration/guardian.h"
#include "migration/guardian_control.h"
#include "peer/server.h"

/* --listen's address, or the configuration's; the host stays NULL for all addresses. */
static bool listen_address(struct launch *launch, struct error *err)
{
    const char *text = launch->options.listen_address ? launch->options.listen_address
                                                      : launch->config.listen_address;
    launch->listen_port = DEFAULT_PORT;
    if (!text)
        return true;
    if (!parse_address(text, &launch->listen_host, &launch->listen_port))
        return error_refuse(err, STATUS_USAGE, "--listen: '%.80s' is not [ADDR]:PORT", text);
    if (!*launch->listen_host) {
        free(launch->listen_host);
        launch->listen_host = NULL;
    }
    return true;
}

/* Source or destination, and where a destination's QEMU is to listen. */
bool launch_choose_role(struct launch *launch, struct error *err)
{
    const struct launch_options *options = &launch->options;
    const struct invocation *invocation = &launch->invocation;
    if (!listen_address(launch, err))
        return false;
    if (options->plain_incoming && (options->incoming || invocation->has_incoming))
        return error_set(err, STATUS_USAGE,
                         "--plain-incoming, --incoming and QEMU's -incoming: give "
                         "one of them");
    if (options->incoming && invocation->has_incoming)
        return error_set(err, STATUS_USAGE, "--incoming and QEMU's -incoming: give one of them");
    if (options->wait_ms > 0 && !options->incoming)
        return error_set(err, STATUS_USAGE, "--wait is for a destination: give --incoming");
    launch->role = options->plain_incoming || options->incoming || invocation->has_incoming
                       ? ROLE_DESTINATION
                       : ROLE_SOURCE;
    if (launch->role == ROLE_SOURCE)
        return true;
    if (!options->incoming) {
        const char *uri = options->plain_incoming ? options->plain_incoming : invocation->incoming;
        launch->incoming_port = incoming_port(uri);
        if (options->plain_incoming && !(launch->incoming = strdup(uri)))
            return error_no_memory(err);
        return true;
    }
    launch->guarded = true;
    guardian_dismiss(&launch->context->paths, launch->vm);
    launch->incoming_port = launch->listen_port;
    if (launch->known && (options->agreement || options->listen)) {
        launch->listener = peer_listen(launch->listen_host, launch->listen_port, err);
        if (launch->listener < 0)
            return err->status == STATUS_UNAVAILABLE
                       ? error_advise(err, "end what has that port ('ss -ltnp' tells), or choose "
                                           "another with --listen [ADDR]:PORT")
                       : false;
    } else if (!options->listen) {
        launch->listener =
            peer_listen_range(launch->listen_host, launch->config.migration_port_first,
                              launch->config.migration_port_last, &launch->incoming_port, err);
        if (launch->listener < 0)
            return false;
    }
    launch->incoming = strdup("defer");
    return launch->incoming || error_no_memory(err);
}

bool launch_guardian(struct launch *launch, const struct strlist *sources, int listener,
                     struct error *err)
{
    const struct guardian_setup setup = {
        .paths = &launch->context->paths,
        .config = &launch->config,
        .identity = launch->identity,
        .record = &launch->record,
        .sockets = &launch->sockets,
        .sources = sources,
        .listener = listener,
        .wait_ms = launch->options.wait_ms,
    };
    /* No guardian for a QEMU that will not be started. */
    if (!qemu_binary_check(&launch->qemu.binary, err))
        return false;
    autofree char *log = guardian_log_path(setup.paths, launch->vm);
    if (!log)
        return error_no_memory(err);
    if (!guardian_start(&setup, err))
        return false;
    log_info("%s waits here for 'migrate %s' on %s (its guardian writes to %s)", launch->vm,
             launch->vm, launch->record.peer, log);
    return true;
}
