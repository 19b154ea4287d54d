/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Drift, looked for by itself: at the start, each day and after a reload; one VM at a time, when no
 * peer waits.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "agent/agent_private.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "vm/drift.h"

#define AGAIN_MS ((int64_t)24 * 3600 * 1000)

bool agent_list_vms(const struct paths *paths, const char *folder, struct strlist *names)
{
    autofree char *path = path_join(paths->state, folder, "");
    DIR *open = path ? opendir(path) : NULL;
    bool good = open || (path && errno == ENOENT);
    const struct dirent *item;
    while (open && good && (item = readdir(open))) {
        size_t length = strlen(item->d_name);
        if (length <= 5 || strcmp(item->d_name + length - 5, ".json") != 0)
            continue;
        autofree char *name = strndup(item->d_name, length - 5);
        good = name && (!name_is_vm(name) || strlist_push(names, name));
    }
    if (open)
        closedir(open);
    if (names->count > 0)
        strlist_sort(names);
    return good;
}

void agent_drift_free(struct agent_drift *drift)
{
    strlist_free(&drift->vms);
    strlist_free(&drift->found);
    strlist_free(&drift->fresh);
}

void agent_drift_begin(struct agent *agent)
{
    struct agent_drift *drift = &agent->drift;
    strlist_free(&drift->vms);
    strlist_free(&drift->fresh);
    drift->next = 0;
    drift->again = deadline_in_ms(AGAIN_MS);
    if (!agent_list_vms(agent->setup->paths, "agreements", &drift->vms))
        log_error("the agreements cannot be listed: drift is looked for again tomorrow");
    drift->finished = drift->vms.count == 0 ? time(NULL) : drift->finished;
    if (drift->vms.count == 0)
        strlist_free(&drift->found);
}

bool agent_drift_is_due(const struct agent *agent)
{
    return agent->drift.next < agent->drift.vms.count || deadline_left_ms(agent->drift.again) == 0;
}

/* This host's own agreement about a VM against this host as it is now. */
static bool check(struct agent *agent, const char *vm, struct strlist *reasons, struct error *err)
{
    const struct paths *paths = agent->setup->paths;
    autojson json_t *document = NULL;
    autoagreement struct agreement agreement = {0};
    autovmrecord struct vm_record record = {0};
    char digest[DIGEST_HEX_SIZE];
    if (!agreement_load(paths->state, vm, &document, err))
        return false;
    if (!document) /* it went meanwhile */
        return true;
    if (!agreement_document_open(document, &agreement, digest, err))
        return false;
    if (!agreement_find_party(&agreement, agent->identity->pin))
        return error_set(err, STATUS_DATA, "this host is no party of the agreement");
    return vm_record_load(paths, vm, &record, err) &&
           drift_check(paths, &agent->config, &agreement, digest, &record, reasons, NULL, err);
}

static void finish(struct agent_drift *drift)
{
    strlist_free(&drift->found);
    drift->found = drift->fresh;
    drift->fresh = (struct strlist){0};
    drift->finished = time(NULL);
    log_info("drift: %zu agreements were checked, %zu no longer hold", drift->vms.count,
             drift->found.count);
}

void agent_drift_step(struct agent *agent)
{
    struct agent_drift *drift = &agent->drift;
    autostrlist struct strlist reasons = {0};
    struct error err = ERROR_INIT;
    if (drift->next >= drift->vms.count) {
        agent_drift_begin(agent);
        return;
    }
    const char *vm = drift->vms.items[drift->next++];
    if (!check(agent, vm, &reasons, &err))
        log_info("%s: cannot be checked for drift: %s", vm, err.message);
    for (size_t i = 0; i < reasons.count; i++)
        log_warning("%s: drift: %s", vm, reasons.items[i]);
    if (reasons.count > 0)
        strlist_push(&drift->fresh, vm);
    if (drift->next == drift->vms.count)
        finish(drift);
}
