/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whom the agent trusts, as trust.d changes under it. An entry that goes does not count from the
 * next request on, whatever else is wrong there.
 */
#include "agent/agent_private.h"
#include "base/cleanup.h"
#include "base/log.h"

static bool is_same(const struct trust *one, const struct trust *other)
{
    autojson json_t *a = agent_trust_to_json(one), *b = agent_trust_to_json(other);
    return a && b && json_equal(a, b);
}

bool agent_trust_reload(struct agent *agent, bool always)
{
    autotrust struct trust fresh = {0};
    if (always)
        agent->trust_seen = 0;
    if (!trust_follow(agent->setup->paths->config, &agent->trust_seen, &fresh))
        return false;
    trust_carry(&fresh, &agent->trust);
    bool changed = !is_same(&agent->trust, &fresh);
    struct trust old = agent->trust;
    agent->trust = fresh;
    fresh = old;
    if (changed)
        log_info("%zu peers are trusted now", agent->trust.count);
    return changed;
}
