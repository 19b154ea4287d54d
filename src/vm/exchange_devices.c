/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the parties of an exchange can give to devices.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "device/device_report.h"
#include "vm/exchange.h"

/* The backends of all command lines, sorted. */
static bool list_uses(const struct exchange *exchange, struct strlist *uses, struct error *err)
{
    const struct strlist *own = exchange->self->backends;
    bool mine = own && exchange->self->role != ROLE_PARTY;
    for (size_t i = 0; mine && i < own->count; i++)
        if (!strlist_push(uses, own->items[i]))
            return error_no_memory(err);
    for (size_t i = 0; i < exchange->peer_count; i++)
        for (size_t k = 0; k < exchange->peers[i].backends.count; k++)
            if (!strlist_push(uses, exchange->peers[i].backends.items[k]))
                return error_no_memory(err);
    strlist_sort(uses);
    return true;
}

/* All whose profiles count; the caller frees the array. */
static struct device_host *list_hosts(const struct exchange *exchange, size_t *count,
                                      struct error *err)
{
    struct device_host *hosts =
        calloc(1 + exchange->peer_count + exchange->assumed_count, sizeof(*hosts));
    if (!hosts) {
        error_no_memory(err);
        return NULL;
    }
    hosts[0] = (struct device_host){exchange->profile.offer.host, &exchange->profile.devices};
    *count = 1;
    for (size_t i = 0; i < exchange->peer_count; i++)
        hosts[(*count)++] =
            (struct device_host){exchange->peers[i].host, &exchange->peers[i].profile.devices};
    for (size_t i = 0; i < exchange->assumed_count; i++)
        hosts[(*count)++] = (struct device_host){exchange->assumed[i].profile.offer.host,
                                                 &exchange->assumed[i].profile.devices};
    return hosts;
}

/* What the command line of a source or destination asks for and its host has not. */
static bool add_absent(const struct device_host *host, enum vm_role role,
                       const struct strlist *uses, struct device_report *report, struct error *err)
{
    for (size_t i = 0; role != ROLE_PARTY && uses && i < uses->count; i++)
        if (device_host_knows(host, uses->items[i]) == BACKEND_ABSENT &&
            !device_report_add_unknown(report, uses->items[i], host))
            return error_no_memory(err);
    return true;
}

/* hosts: of list_hosts, this one and then the peers. */
static bool add_all_absent(const struct exchange *exchange, const struct device_host *hosts,
                           struct device_report *report, struct error *err)
{
    const struct exchange_self *self = exchange->self;
    bool good = add_absent(&hosts[0], self->role, self->backends, report, err);
    for (size_t i = 0; good && i < exchange->peer_count; i++)
        good = add_absent(&hosts[1 + i], exchange->peers[i].role, &exchange->peers[i].backends,
                          report, err);
    device_report_sort(report);
    return good;
}

#define MUST_BE_KNOWN                                                                              \
    "the site policy of %s ([policy] devices = known) demands to know what stands behind devices"

static bool check_policy(const struct exchange *exchange, const struct device_report *report,
                         struct error *err)
{
    const struct config *config = exchange->self->config;
    autostrlist struct strlist lines = {0};
    if (!config->devices_known || report->unknown_count == 0)
        return true;
    if (!device_report_unknown(report, &lines, err))
        return false;
    autofree char *unknown = strlist_join(&lines, "; ");
    return error_set(err, STATUS_INCOMPATIBLE,
                     MUST_BE_KNOWN ", and it is not known of %s: run with the rights to look there",
                     config->host_name, unknown ? unknown : "");
}

bool exchange_devices(const struct exchange *exchange, struct device_baseline *baseline,
                      struct device_report *report, struct error *err)
{
    autodevicereport struct device_report made = {0};
    autostrlist struct strlist uses = {0};
    size_t count = 0;
    autofree struct device_host *hosts = list_hosts(exchange, &count, err);
    if (!hosts || !list_uses(exchange, &uses, err) ||
        !device_baseline_equal(hosts, count, &uses, err) ||
        !device_baseline_compute(hosts, count, &uses, baseline, &made, err) ||
        !add_all_absent(exchange, hosts, &made, err) || !check_policy(exchange, &made, err))
        return false;
    if (report) {
        device_report_free(report);
        *report = made;
        made = (struct device_report){0};
    }
    return true;
}

bool exchange_device_lacks(const struct exchange *exchange, struct device_report *report,
                           struct error *err)
{
    autostrlist struct strlist uses = {0};
    size_t count = 0;
    autofree struct device_host *hosts = list_hosts(exchange, &count, err);
    return hosts && list_uses(exchange, &uses, err) &&
           device_baseline_lacks(&exchange->agreement.devices, hosts, count, &uses, report, err);
}

bool exchange_check_devices(const struct exchange *exchange, const struct device_baseline *given,
                            struct error *err)
{
    static const struct strlist none = {0};
    const struct exchange_self *self = exchange->self;
    const struct device_host own = {exchange->profile.offer.host, &exchange->profile.devices};
    autodevicereport struct device_report absent = {0};
    if (!add_absent(&own, self->role, self->backends, &absent, err) ||
        !check_policy(exchange, &absent, err))
        return false;
    for (size_t i = 0; self->config->devices_known && i < given->backend_count; i++)
        if (given->backends[i].unknown)
            return error_set(err, STATUS_INCOMPATIBLE,
                             MUST_BE_KNOWN ", and %s is not known on all hosts",
                             self->config->host_name, given->backends[i].name);
    return device_baseline_check(
        given, &own, self->role == ROLE_PARTY || !self->backends ? &none : self->backends, err);
}
