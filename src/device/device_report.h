/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Filling the report of the baseline of devices, and saying it; and what the hosts' QEMUs can do in
 * a migration.
 */
#ifndef QML_DEVICE_DEVICE_REPORT_H
#define QML_DEVICE_DEVICE_REPORT_H

#include "device/device_baseline.h"

/* Is that need one of the property's? */
bool device_need_is_of(const struct device_need *need, const struct device_property *property);
/* One that is not in the offer is unknown. */
enum backend_state device_host_knows(const struct device_host *host, const char *backend);

/* NULL or false for want of memory. The lack's host is name, whatever it says. */
struct device_loss *device_report_add_loss(struct device_report *report,
                                           const struct device_property *property);
bool device_loss_add(struct device_loss *loss, const char *name, const struct device_lack *lack);
bool device_report_add_unknown(struct device_report *report, const char *backend,
                               const struct device_host *host);
/* Into the order that does not depend on the order of the hosts. */
void device_report_sort(struct device_report *report);

/* For each loss who lacks it and why, in one line for all properties with the same cause:
 * "host_uso, guest_uso4 of virtio-net: b's kernel lacks uso of tap devices". Added to lines.
 * STATUS_INTERNAL. */
bool device_report_losses(const struct device_report *report, struct strlist *lines,
                          struct error *err);
/* Of one loss, who lacks it and why; the caller frees it; NULL for want of memory. */
char *device_loss_why(const struct device_loss *loss);
/* What is not known, a line for each backend and cause: "tap devices of b: permission denied". */
bool device_report_unknown(const struct device_report *report, struct strlist *lines,
                           struct error *err);

/* {"dropped": [{"class", "property", "missing_on": [{"host", "why"}]}], "unknown": [{"backend",
 * "host", "why"}]}; NULL for want of memory. */
json_t *device_report_to_json(const struct device_report *report);

/* What the QEMUs of the hosts can do in a migration: {"all": [capabilities], "missing":
 * [{"capability", "missing_on": [hosts]}], "unknown": [hosts]}; NULL for want of memory. */
json_t *device_capabilities_to_json(const struct device_host *hosts, size_t count);
/* The same for people, of capabilities that make a difference to them: "multifd, tls; not
 * switchover-ack (a)". *line = NULL when no host says anything. The caller frees it.
 * STATUS_INTERNAL. */
bool device_capabilities_line(const struct device_host *hosts, size_t count, char **line,
                              struct error *err);

#endif
