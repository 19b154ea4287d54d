/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the hosts' QEMUs can do in a migration.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "device/device_report.h"

/* What makes a difference to who plans a migration; the others are between the two QEMUs. */
static const char *const telling[] = {"dirty-limit",
                                      "mapped-ram",
                                      "multifd",
                                      "postcopy-preempt",
                                      "postcopy-ram",
                                      "switchover-ack",
                                      "tls",
                                      "zero-copy-send",
                                      NULL};

/* Every capability that some host has, sorted. */
static bool list_all(const struct device_host *hosts, size_t count, struct strlist *names)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < hosts[i].offer->capabilities.count; k++)
            if (!strlist_push(names, hosts[i].offer->capabilities.items[k]))
                return false;
    strlist_sort(names);
    return true;
}

/* The hosts that are known not to have it, sorted. */
static bool list_lacking(const struct device_host *hosts, size_t count, const char *name,
                         struct strlist *lacking)
{
    for (size_t i = 0; i < count; i++)
        if (hosts[i].offer->capabilities_known &&
            !strlist_contains(&hosts[i].offer->capabilities, name) &&
            !strlist_push(lacking, hosts[i].name))
            return false;
    strlist_sort(lacking);
    return true;
}

json_t *device_capabilities_to_json(const struct device_host *hosts, size_t count)
{
    autojson json_t *all = json_array(), *missing = json_array();
    autostrlist struct strlist names = {0}, unknown = {0};
    if (!list_all(hosts, count, &names))
        return NULL;
    for (size_t i = 0; i < names.count; i++) {
        autostrlist struct strlist lacking = {0};
        if (!list_lacking(hosts, count, names.items[i], &lacking))
            return NULL;
        int failed = lacking.count == 0
                         ? json_array_append_new(all, json_string(names.items[i]))
                         : json_array_append_new(missing, json_pack("{s:s, s:o}", "capability",
                                                                    names.items[i], "missing_on",
                                                                    json_from_names(&lacking)));
        if (failed)
            return NULL;
    }
    for (size_t i = 0; i < count; i++)
        if (!hosts[i].offer->capabilities_known && !strlist_push(&unknown, hosts[i].name))
            return NULL;
    strlist_sort(&unknown);
    return json_pack("{s:O, s:O, s:o}", "all", all, "missing", missing, "unknown",
                     json_from_names(&unknown));
}

bool device_capabilities_line(const struct device_host *hosts, size_t count, char **line,
                              struct error *err)
{
    autostrlist struct strlist names = {0}, can = {0}, cannot = {0};
    bool known = false;
    for (size_t i = 0; i < count; i++)
        known |= hosts[i].offer->capabilities_known;
    *line = NULL;
    if (!known)
        return true;
    if (!list_all(hosts, count, &names))
        return error_no_memory(err);
    for (const char *const *name = telling; *name; name++) {
        autostrlist struct strlist lacking = {0};
        if (!strlist_contains(&names, *name))
            continue;
        if (!list_lacking(hosts, count, *name, &lacking))
            return error_no_memory(err);
        autofree char *who = strlist_join(&lacking, ", ");
        if (!who || !(lacking.count == 0 ? strlist_push(&can, *name)
                                         : strlist_pushf(&cannot, "%s (%s)", *name, who)))
            return error_no_memory(err);
    }
    autofree char *all = strlist_join(&can, ", "), *some = strlist_join(&cannot, ", ");
    if (!all || !some)
        return error_no_memory(err);
    *line = string_format("%s%s%s", *all ? all : "nothing of note", *some ? "; not " : "", some);
    return *line || error_no_memory(err);
}
