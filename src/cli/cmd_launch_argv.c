/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/cleanup.h"
#include "base/log.h"
#include "cli/cmd_launch.h"
#include "vm/device_offs.h"

bool launch_make_known_argv(const struct launch *launch, const struct agreement *agreement,
                            const struct drift_given *given, struct strlist *argv,
                            struct error *err)
{
    const struct device_host own = {launch->config.host_name, &given->devices};
    autodevicereport struct device_report lacks = {0};
    return device_baseline_lacks(&agreement->devices, &own, 1, &launch->backends, &lacks, err) &&
           launch_make_argv(launch, agreement, given->cpu, &given->devices, &lacks, argv, err);
}

bool launch_make_argv(const struct launch *launch, const struct agreement *agreement,
                      const char *cpu, const struct device_offer *own,
                      const struct device_report *report, struct strlist *argv, struct error *err)
{
    autodeviceoffs struct device_offs offs = {0};
    autostrlist struct strlist overruled = {0};
    struct command_line parts = {.cpu = cpu,
                                 .machine = agreement->machine,
                                 .accel = agreement->baseline.accel,
                                 .offs = &offs,
                                 .sockets = &launch->sockets,
                                 .paused = launch->guarded,
                                 .incoming = launch->incoming};
    if (!device_offs_make(&agreement->devices, own, report, &offs, err) ||
        !command_line_make(&launch->arguments, &parts, argv, &overruled, err))
        return false;
    for (size_t i = 0; i < overruled.count; i++)
        log_warning("%s: %s", launch->vm, overruled.items[i]);
    return true;
}
