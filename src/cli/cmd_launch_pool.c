/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A launch and the pool: with whom it is agreed when nobody is named, and where others find what
 * was agreed.
 */
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/cmd_launch.h"
#include "cli/pool_use.h"

#define READ_MS 15000
#define WRITE_MS 5000

struct pool *launch_open_pool(const struct launch *launch, struct error *err)
{
    const struct pool_setup setup = {.config = &launch->config,
                                     .identity = launch->identity,
                                     .trust = &launch->trust,
                                     .state_folder = launch->context->paths.state,
                                     .interrupted = &interrupted};
    return pool_open(&setup, err);
}

bool launch_may_use_pool(const struct launch *launch)
{
    const struct launch_options *options = &launch->options;
    return pool_is_configured(&launch->config) && !options->listen &&
           options->peers.count + options->profiles.count == 0;
}

bool launch_read_pool(const struct launch *launch, struct pool_members *members, struct error *err)
{
    autopool struct pool *pool = launch_open_pool(launch, err);
    int64_t timeout = launch->options.timeout_ms;
    if (!pool || !pool_members(pool, deadline_in_ms(timeout > 0 ? timeout : READ_MS), members, err))
        return false;
    for (size_t i = 0; i < members->notes.count; i++)
        log_warning("%s", members->notes.items[i]);
    return true;
}

bool launch_find_in_pool(struct launch *launch, struct error *err)
{
    if (!launch_read_pool(launch, &launch->members, err))
        return error_wrap(err, "no --peer names the parties, so the pool is asked");
    if (launch->members.count == 0)
        return error_set(err, STATUS_UNAVAILABLE,
                         "the pool has no other host now that is trusted here: start its agents "
                         "('serve'), 'trust add' them, or name a party by --peer");
    return true;
}

void launch_tell_pool(const struct launch *launch)
{
    struct error err = ERROR_INIT;
    autojson json_t *document = NULL;
    autoagreement struct agreement agreement = {0};
    struct pool_use use = {.vm = launch->vm, .trust = &launch->trust, .pin = launch->identity->pin};
    if (!pool_is_configured(&launch->config) || launch->options.listen)
        return;
    autopool struct pool *pool = launch_open_pool(launch, &err);
    bool good = pool && agreement_load(launch->context->paths.state, launch->vm, &document, &err) &&
                document && agreement_document_open(document, &agreement, NULL, &err) &&
                pool_put_agreement(pool, launch->vm, document, agreement.issued,
                                   (struct pool_judge){pool_use_judge, &use},
                                   deadline_in_ms(WRITE_MS), &err);
    if (!good)
        log_warning("%s: the agreement is not in the pool, so 'receive' needs --from: %s",
                    launch->vm, err.message);
}
