/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whom the agent trusts, as trust.d changes under it. An entry that goes does not count from the
 * next request on, whatever else is wrong there.
 */
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/agent_private.h"
#include "base/cleanup.h"
#include "base/log.h"

#define TRUST_FOLDER "trust.d"

static uint64_t mix(uint64_t sum, const struct stat *info)
{
    uint64_t words[] = {info->st_ino,
                        (uint64_t)info->st_size,
                        (uint64_t)info->st_mtim.tv_sec,
                        (uint64_t)info->st_mtim.tv_nsec,
                        (uint64_t)info->st_ctim.tv_nsec,
                        info->st_mode};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        sum = (sum ^ words[i]) * 0x100000001b3; /* FNV-1a's prime: this is no secret */
    return sum;
}

/* A number that is another one when something has changed. */
static uint64_t look_of(const char *folder)
{
    struct stat info;
    if (stat(folder, &info) < 0)
        return 1;
    uint64_t sum = mix(0xcbf29ce484222325, &info);
    DIR *open = opendir(folder);
    if (!open)
        return sum;
    uint64_t files = 0; /* in no order */
    for (const struct dirent *item; (item = readdir(open));)
        if (item->d_name[0] != '.' && fstatat(dirfd(open), item->d_name, &info, 0) == 0)
            files += mix(1, &info);
    closedir(open);
    return sum ^ files;
}

/* What is left of the old entries when the new ones cannot be read: those that are still there, by
 * name, unless others could have put them there. */
static bool keep_present(struct agent *agent, const char *folder, const struct error *problem,
                         struct trust *kept)
{
    autojson json_t *all = agent_trust_to_json(&agent->trust);
    json_t *list = json_object_get(all, "trust");
    if (!list)
        return false;
    for (size_t i = json_array_size(list); i > 0; i--) {
        const char *name = json_string_value(json_object_get(json_array_get(list, i - 1), "name"));
        autofree char *path = name ? path_join(folder, name, ".json") : NULL;
        struct stat info;
        if (!path || problem->status == STATUS_NOT_TRUSTED || stat(path, &info) < 0)
            json_array_remove(list, i - 1);
    }
    return agent_trust_from_json(all, kept, NULL);
}

static bool is_same(const struct trust *one, const struct trust *other)
{
    autojson json_t *a = agent_trust_to_json(one), *b = agent_trust_to_json(other);
    return a && b && json_equal(a, b);
}

bool agent_trust_reload(struct agent *agent, bool always)
{
    const char *config = agent->setup->paths->config;
    autofree char *folder = path_join(config, TRUST_FOLDER, "");
    autotrust struct trust fresh = {0};
    struct error problem = ERROR_INIT;
    uint64_t look = folder ? look_of(folder) : 0;
    if (!folder || (look == agent->trust_seen && !always))
        return false;
    agent->trust_seen = look;
    if (!trust_load(config, &fresh, &problem)) {
        bool kept = keep_present(agent, folder, &problem, &fresh);
        log_error("%s: %s", problem.message,
                  kept && fresh.count > 0 ? "of the peers that were trusted, those that are still "
                                            "there are trusted as before"
                                          : "nobody is trusted until that is put right");
    }
    trust_carry(&fresh, &agent->trust);
    bool changed = !is_same(&agent->trust, &fresh);
    struct trust old = agent->trust;
    agent->trust = fresh;
    fresh = old;
    if (changed)
        log_info("%zu peers are trusted now", agent->trust.count);
    return changed;
}
