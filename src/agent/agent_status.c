/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What people see of the agent: its log, and the line in `systemctl status`.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "agent/agent_private.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "vm/record.h"

#define TELL_MS 1000
#define LOG_LINES 50 /* in each LOG_WINDOW_MS */

/* A number that changes with a folder: what is written there is renamed into place. */
static int64_t look_at(const struct agent *agent, const char *folder)
{
    struct stat info;
    autofree char *path = path_join(agent->setup->paths->state, folder, "");
    if (!path || stat(path, &info) < 0)
        return 0;
    return (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
}

static size_t count_agreements(const struct agent *agent)
{
    autostrlist struct strlist names = {0};
    return agent_list_vms(agent->setup->paths, "agreements", &names) ? names.count : 0;
}

/* VMs that live here: a host has records of others, too. */
static size_t count_vms(const struct agent *agent)
{
    autostrlist struct strlist names = {0};
    size_t count = 0;
    if (!agent_list_vms(agent->setup->paths, "vms", &names))
        return 0;
    for (size_t i = 0; i < names.count; i++) {
        autovmrecord struct vm_record record = {0};
        if (vm_record_load(agent->setup->paths, names.items[i], &record, NULL) && record.vm &&
            (record.place == PLACE_HERE || record.place == PLACE_MOVING))
            count++;
    }
    return count;
}

static char *describe_drift(const struct agent_drift *drift)
{
    char when[32] = "";
    struct tm utc;
    time_t finished = (time_t)drift->finished;
    if (drift->finished == 0)
        return string_format("drift: not checked yet");
    if (gmtime_r(&finished, &utc))
        strftime(when, sizeof(when), "%Y-%m-%d %H:%M UTC", &utc);
    autofree char *names = strlist_join(&drift->found, " ");
    return string_format("drift: %s (%s)", drift->found.count > 0 ? names : "none", when);
}

void agent_status_tell(struct agent *agent)
{
    char text[sizeof(agent->status)];
    if (agent->systemd.fd < 0 || deadline_left_ms(agent->tell) > 0)
        return;
    agent->tell = deadline_in_ms(TELL_MS);
    int64_t vms = look_at(agent, "vms"), agreements = look_at(agent, "agreements");
    int64_t newest = vms > agreements ? vms : agreements;
    /* The kernel's clock for files stands still for some milliseconds: what is young may have
     * changed again since it was counted. */
    if (newest != agent->folders_seen || newest / 1000000000 >= time(NULL) - 2) {
        agent->folders_seen = newest;
        agent->vm_count = count_vms(agent);
        agent->agreement_count = count_agreements(agent);
    }
    autofree char *drift = describe_drift(&agent->drift);
    snprintf(text, sizeof(text), "%s: %zu VMs, %zu agreements, %zu peers trusted; %s",
             agent->config.host_name, agent->vm_count, agent->agreement_count, agent->trust.count,
             drift ? drift : "");
    if (strcmp(text, agent->status) == 0)
        return;
    memcpy(agent->status, text, sizeof(text));
    systemd_notify(&agent->systemd, "STATUS=%s", text);
}

/* The VM that a request is about, "" if it does not say. */
static const char *find_vm(struct agent_log *log, json_t *body)
{
    const char *vm = json_string_value(json_object_get(body, "vm"));
    const char *id = json_string_value(json_object_get(body, "exchange"));
    if (vm && !name_is_vm(vm))
        return "";
    if (!id || strlen(id) >= sizeof(log->exchanges[0].id))
        return vm ? vm : "";
    for (size_t i = 0; !vm && i < AGENT_EXCHANGES; i++)
        if (strcmp(log->exchanges[i].id, id) == 0)
            return log->exchanges[i].vm;
    if (!vm)
        return "";
    size_t place = log->next++ % AGENT_EXCHANGES;
    snprintf(log->exchanges[place].id, sizeof(log->exchanges[place].id), "%s", id);
    snprintf(log->exchanges[place].vm, sizeof(log->exchanges[place].vm), "%s", vm);
    return vm;
}

void agent_log_request(struct agent *agent, const char *peer, const struct agent_question *question,
                       const struct error *problem, int64_t took_ms)
{
    struct agent_log *log = &agent->log;
    const char *vm = find_vm(log, question->body);
    if (!log_rate_take(&log->rate, LOG_LINES, "requests were answered"))
        return;
    const char *blank = *vm ? " " : "";
    if (problem)
        log_info("%s (%s): %s%s%s: status %d after %lld ms: %s", peer, question->remote,
                 question->name, blank, vm, problem->status, (long long)took_ms, problem->message);
    else
        log_info("%s (%s): %s%s%s: done in %lld ms", peer, question->remote, question->name, blank,
                 vm, (long long)took_ms);
}
