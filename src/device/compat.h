/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The same machine type in several QEMUs: what each of them sets to make it. Pure.
 *
 * A newer QEMU sets more: it has properties that are new since, and sets them to what was before
 * (QEMU 11.1 sets 27 more than 10.0 for each type that both have, and none to another value). So
 * what only some set is for those who look closely; two values for one property are a warning.
 */
#ifndef QML_DEVICE_COMPAT_H
#define QML_DEVICE_COMPAT_H

#include "device/device_baseline.h"

/* A property that is not set alike. */
struct compat_difference {
    const char *driver; /* a QOM type, an ancestor of a device's perhaps */
    const char *property;
    const char **values; /* for each host; NULL: not set, or nothing known of that host */
    bool contrary;       /* two hosts set different values */
};

/* All that is in it but the arrays belongs to the hosts that were compared. */
struct compat_report {
    struct compat_difference *differences; /* sorted by driver, then property */
    size_t count;
    size_t known; /* hosts whose QEMU tells */
};

void compat_report_free(struct compat_report *report);
#define autocompatreport __attribute__((cleanup(compat_report_free)))

/* Do the two texts set the same: on, yes, true and y; off, no, false and n; numbers in any base
 * (QEMU qapi/qobject-input-visitor.c)? */
bool compat_same_value(const char *one, const char *other);

/* Compare what the hosts' QEMUs set, for one machine type: the caller sees to that. Of a property
 * that is set twice the later value counts. Types of other processors are left out, which the
 * tables of all processors name (hw/core/machine.c). STATUS_INTERNAL. */
bool compat_compare(const struct device_host *hosts, size_t count, struct compat_report *report,
                    struct error *err);

/* "virtio-net-pci.x is off on a, on on b; not set on c", for people; NULL for want of memory. */
char *compat_describe(const struct compat_difference *difference, const struct device_host *hosts,
                      size_t count);

/* {"known": [hosts], "differences": [{"driver", "property", "contrary", "values": {HOST: value or
 * null}}]}, hosts that are known only; NULL for want of memory. */
json_t *compat_report_to_json(const struct compat_report *report, const struct device_host *hosts,
                              size_t count);

#endif
