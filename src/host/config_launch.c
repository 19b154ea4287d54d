/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "host/config_launch.h"

#include <stdlib.h>
#include <string.h>

/* The options of launch, those of cli/cmd_launch_options.c: tests/check-synopsis compares. */
static const char *const launch_keys[] = {
    "accept-difference",
    "accept-row",
    "agreement",
    "cpu-form",
    "deny",
    "dry-run",
    "here",
    "incoming",
    "listen",
    "no-proof",
    "offline-ok",
    "peer",
    "peer-profile",
    "plain-incoming",
    "renegotiate",
    "require",
    "timeout",
    "tofu",
    "vm",
    "wait",
};

void config_launch_free(struct config_launch *launch)
{
    for (size_t i = 0; i < launch->count; i++) {
        free(launch->entries[i].key);
        free(launch->entries[i].value);
    }
    free(launch->entries);
    *launch = (struct config_launch){0};
}

static bool is_key(const char *key)
{
    for (size_t i = 0; i < sizeof(launch_keys) / sizeof(launch_keys[0]); i++)
        if (strcmp(launch_keys[i], key) == 0)
            return true;
    return false;
}

bool config_launch_add(struct config_launch *launch, const char *key, const char *value, int line,
                       struct error *err)
{
    if (!is_key(key))
        return error_set(err, STATUS_CONFIG,
                         "unknown key '%.60s' in [launch]: its keys are the long options of "
                         "launch, without --",
                         key);
    struct config_launch_entry *entries =
        realloc(launch->entries, (launch->count + 1) * sizeof(*entries));
    if (!entries)
        return error_no_memory(err);
    launch->entries = entries;
    struct config_launch_entry entry = {.key = strdup(key), .value = strdup(value), .line = line};
    if (!entry.key || !entry.value) {
        free(entry.key);
        free(entry.value);
        return error_no_memory(err);
    }
    entries[launch->count++] = entry;
    return true;
}
