/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/drift_devices.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "device/device_report.h"
#include "vm/args_file.h"
#include "vm/device_use.h"

/* What the host's own command line uses. *known: there is one, and it can be read. */
static bool find_uses(const struct paths *paths, const struct agreement *agreement,
                      const struct vm_record *record, struct strlist *uses, bool *known)
{
    autoarglist struct arglist arguments = {0};
    autostrlist struct strlist kept = {0};
    autofree char *path = NULL;
    struct error why = ERROR_INIT;
    const struct strlist *argv = &record->argv;
    *known = false;
    if (argv->count == 0) {
        if (!args_file_load(paths, agreement->vm, &path, &kept, &why)) {
            log_warning("devices are not checked: %s", why.message);
            return true;
        }
        argv = &kept;
    }
    if (argv->count == 0)
        return true;
    *known = arglist_parse(&arguments, (int)argv->count, argv->items, &why) &&
             device_use_read(&arguments, uses, &why);
    if (!*known && why.status == STATUS_INTERNAL)
        return false;
    if (!*known)
        log_warning("devices are not checked: %s", why.message);
    return true;
}

bool drift_devices(const struct paths *paths, const struct config *config,
                   const struct agreement *agreement, const struct vm_record *record,
                   const struct device_offer *devices, struct strlist *reasons, struct error *err)
{
    const struct device_host own = {config->host_name, devices};
    autodevicereport struct device_report gaps = {0};
    autostrlist struct strlist uses = {0}, unknown = {0}, lost = {0};
    bool known;
    if (!find_uses(paths, agreement, record, &uses, &known))
        return error_no_memory(err);
    if (!known)
        return true;
    if (!device_baseline_gaps(&agreement->devices, &own, &uses, &gaps, err) ||
        !device_report_losses(&gaps, &lost, err) || !device_report_unknown(&gaps, &unknown, err))
        return false;
    for (size_t i = 0; i < lost.count; i++)
        if (!strlist_pushf(reasons, "devices: %s", lost.items[i]))
            return error_no_memory(err);
    for (size_t i = 0; i < unknown.count; i++) {
        if (!config->devices_known)
            log_warning("devices: whether this host has what was agreed on is not known: %s",
                        unknown.items[i]);
        else if (!strlist_pushf(reasons,
                                "devices: the site policy ([policy] devices = known) demands to "
                                "know %s",
                                unknown.items[i]))
            return error_no_memory(err);
    }
    return true;
}
