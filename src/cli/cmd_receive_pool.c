/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Where a VM runs, when nobody says: the pool's agreement says who could have it, and they say who
 * does.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/cmd_receive.h"
#include "cli/pool_use.h"
#include "peer/client_many.h"

#define POOL_MS 10000
#define ASK_MS 10000

/* Everybody who is in the pool, and what each says. */
struct search {
    struct pool_members members;
    struct peer_ask *asks; /* one for each member */
    struct agreement agreement;
    bool known; /* agreement is good */
    const struct pool_member *found;
    struct strbuf said; /* by those who do not have it */
};

static void search_free(struct search *search)
{
    for (size_t i = 0; search->asks && i < search->members.count; i++)
        peer_ask_clear(&search->asks[i]);
    free(search->asks);
    pool_members_free(&search->members);
    agreement_free(&search->agreement);
    strbuf_free(&search->said);
}

/* The agreement is only a hint at whom to ask first: whoever has the VM hands over its own. */
static bool read_pool(const struct receive *receive, struct search *search, struct error *err)
{
    const struct launch *launch = &receive->launch;
    const struct pool_use use = {
        .vm = receive->vm, .trust = &launch->trust, .pin = launch->identity->pin};
    struct error reason = ERROR_INIT;
    autojson json_t *document = NULL;
    autopool struct pool *pool = launch_open_pool(launch, err);
    if (!pool || !launch_read_pool(launch, &search->members, err))
        return false;
    if (!pool_find_agreement(pool, receive->vm, deadline_in_ms(POOL_MS), &document, &reason) &&
        reason.status != STATUS_DATA)
        return error_set(err, reason.status, "%s", reason.message);
    search->known = document && pool_use_check(&use, document, &search->agreement, &reason);
    if (reason.status != STATUS_OK)
        log_warning("%s: it does not count, all in the pool are asked", reason.message);
    search->asks = calloc(search->members.count + 1, sizeof(*search->asks));
    return search->asks || error_no_memory(err);
}

static bool is_party(const struct search *search, const struct trust_entry *entry)
{
    for (size_t i = 0; search->known && i < entry->pin_count; i++)
        if (agreement_find_party(&search->agreement, entry->pins[i]))
            return true;
    return false;
}

/* Ask those who are parties, or those who are not. */
static bool ask(const struct receive *receive, struct search *search, bool parties,
                struct error *err)
{
    const struct launch *launch = &receive->launch;
    size_t count = search->members.count;
    for (size_t i = 0; i < count; i++) {
        const struct pool_member *member = &search->members.items[i];
        struct peer_ask *one = &search->asks[i];
        peer_ask_clear(one);
        *one = (struct peer_ask){.client = {.identity = launch->identity,
                                            .peer = member->entry,
                                            .host = member->address,
                                            .port = member->port,
                                            .interrupted = &interrupted},
                                 .body = json_pack("{s:s}", "vm", receive->vm),
                                 .skip = is_party(search, member->entry) != parties};
        if (!one->body)
            return error_no_memory(err);
    }
    peer_call_many(search->asks, count, "agreement", deadline_in_ms(ASK_MS), &interrupted, NULL);
    if (interrupted)
        return error_set(err, STATUS_INTERRUPTED, "interrupted");
    for (size_t i = 0; i < count; i++) {
        const struct peer_ask *one = &search->asks[i];
        const struct pool_member *member = &search->members.items[i];
        if (one->skip)
            continue;
        if (!one->answer)
            strbuf_printf(&search->said, "%s%s", search->said.length > 0 ? "; " : "",
                          one->error.message);
        else if (search->found)
            return error_set(err, STATUS_DECISION,
                             "both %s and %s say that %s runs there: say which by --from",
                             search->found->entry->name, member->entry->name, receive->vm);
        else
            search->found = member;
    }
    return true;
}

bool receive_find_in_pool(struct receive *receive, struct error *err)
{
    struct search search __attribute__((cleanup(search_free))) = {.known = false};
    if (!pool_is_configured(&receive->launch.config))
        return error_set(err, STATUS_USAGE,
                         "receive needs --from PEER, where the VM runs: there is no [pool] in the "
                         "configuration that could tell");
    if (!read_pool(receive, &search, err))
        return error_wrap(err, "no --from names the source, so the pool is asked");
    if (!ask(receive, &search, true, err) || (!search.found && !ask(receive, &search, false, err)))
        return false;
    if (!search.found)
        return error_set(err, STATUS_UNAVAILABLE,
                         "nobody in the pool says that %s runs there (%s): give --from PEER",
                         receive->vm,
                         search.said.length > 0 ? search.said.data : "nobody is there");
    receive->peer = search.found->entry;
    receive->peer_port = search.found->port;
    receive->peer_host = strdup(search.found->address);
    if (!receive->peer_host)
        return error_no_memory(err);
    log_info("%s: runs on %s, found by the pool", receive->vm, receive->peer->name);
    return true;
}
