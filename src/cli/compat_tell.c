/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/compat_tell.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"

struct device_host compat_host(const struct profile *profile, const char *machine)
{
    static const struct device_offer nothing = {0};
    bool same = machine && strcmp(profile->machine, machine) == 0;
    return (struct device_host){profile->offer.host, same ? &profile->devices : &nothing};
}

void compat_log(const char *machine, const struct device_host *hosts, size_t count)
{
    autocompatreport struct compat_report report = {0};
    if (!compat_compare(hosts, count, &report, NULL))
        return;
    for (size_t i = 0; i < report.count; i++) {
        const struct compat_difference *difference = &report.differences[i];
        autofree char *line = compat_describe(difference, hosts, count);
        if (line && difference->contrary)
            log_warning("%s is not the same everywhere: %s", machine, line);
        else if (line)
            log_debug("%s: only some QEMUs set this: %s", machine, line);
    }
}

json_t *compat_document(const struct device_host *hosts, size_t count)
{
    autocompatreport struct compat_report report = {0};
    return compat_compare(hosts, count, &report, NULL)
               ? compat_report_to_json(&report, hosts, count)
               : NULL;
}
