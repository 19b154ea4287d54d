/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The baseline of devices: which properties of devices are written `=off`, since not all hosts can
 * give them, and which a host that comes later must be able to give. Pure: the same hosts, in any
 * order, give the same baseline.
 *
 * Rule `all`. A property is off when the QEMU of one host does not have it, when the machine type
 * switches it off in one QEMU and not in another, or when a backend in use on which it depends is
 * known on one host and lacks the feature. What is not known constrains nothing, and is told.
 */
#ifndef QML_DEVICE_DEVICE_BASELINE_H
#define QML_DEVICE_DEVICE_BASELINE_H

#include "device/device_offer.h"

/* One host whose offer counts; borrowed. */
struct device_host {
    const char *name; /* for messages */
    const struct device_offer *offer;
};

/* A class of devices that the QEMU of some host is known to have. */
struct device_class_baseline {
    char *name;          /* the table's */
    struct strlist off;  /* `=off` on every device of the class, on each host whose QEMU has the
                            property; sorted. One that is not usual (backend_table.h) is off by
                            itself: it need only be written over an `=on` */
    struct strlist kept; /* on by themselves, and all hosts that are known can give them; sorted */
};

/* A backend in use. */
struct device_backend_baseline {
    char *name;   /* the table's */
    bool unknown; /* some host could not say what it can do there */
};

/* All zero: nothing is known, nothing is off. */
struct device_baseline {
    struct device_class_baseline *classes; /* sorted by name */
    size_t class_count;
    struct device_backend_baseline *backends; /* sorted by name */
    size_t backend_count;
};

void device_baseline_free(struct device_baseline *baseline);
#define autodevicebaseline __attribute__((cleanup(device_baseline_free)))
/* *copy must be empty. STATUS_INTERNAL. */
bool device_baseline_copy(const struct device_baseline *baseline, struct device_baseline *copy,
                          struct error *err);

/* Why a host cannot give a property. */
enum device_cause { DEVICE_KERNEL, DEVICE_QEMU };
const char *device_cause_name(enum device_cause cause); /* "kernel", "qemu" */

/* One host that cannot give a property. */
struct device_lack {
    char *host;
    enum device_cause cause;
    const char *backend; /* DEVICE_KERNEL: the table's, which lacks the feature; else NULL */
    const char *feature;
    bool machine; /* DEVICE_QEMU: it has the property, and its machine type switches it off */
};

/* A property of the table that is off, and some host could give it. */
struct device_loss {
    const char *class;
    const char *property;
    struct device_lack *lacks; /* sorted by host */
    size_t lack_count;
};

struct device_unknown {
    const char *backend; /* the table's */
    char *host;
    char *why;
};

/* For people. */
struct device_report {
    struct device_loss *losses; /* in the table's order */
    size_t loss_count;
    struct device_unknown *unknown; /* by backend, then host */
    size_t unknown_count;
};

void device_report_free(struct device_report *report);
#define autodevicereport __attribute__((cleanup(device_report_free)))

/* Compute it. uses: the backends (of the table) that the command lines of source and destination
 * use. report may be NULL; else it gets what somebody could give and all lose (what no backend in
 * use stands behind, and what is off by itself, is nobody's loss), and what is not known.
 * STATUS_DATA: a backend that is not in the table; STATUS_INTERNAL. */
bool device_baseline_compute(const struct device_host *hosts, size_t count,
                             const struct strlist *uses, struct device_baseline *baseline,
                             struct device_report *report, struct error *err);

/* Of each property that is off in a baseline, whether somebody loses it or not, who of these hosts
 * cannot give it: as losses into *report, which must be empty. STATUS_INTERNAL. */
bool device_baseline_lacks(const struct device_baseline *baseline, const struct device_host *hosts,
                           size_t count, const struct strlist *uses, struct device_report *report,
                           struct error *err);

/* What of the baseline that host cannot give with the backends that it uses: the losses are kept
 * properties; unknown: what of these backends is not known there. STATUS_INTERNAL. */
bool device_baseline_gaps(const struct device_baseline *baseline, const struct device_host *host,
                          const struct strlist *uses, struct device_report *gaps,
                          struct error *err);

/* A baseline that another computed fits this host: it names all backends of own_uses, what the host
 * cannot give is off, all that is kept it can give. STATUS_INCOMPATIBLE with what does not. */
bool device_baseline_check(const struct device_baseline *baseline, const struct device_host *host,
                           const struct strlist *own_uses, struct error *err);

/* What no property can make good: that a kernel has a feature and another's has not, with a backend
 * in use where QEMU wants them to be equal (backend_table.def). What is not known is no difference.
 * STATUS_INCOMPATIBLE with which hosts, and what helps. */
bool device_baseline_equal(const struct device_host *hosts, size_t count,
                           const struct strlist *uses, struct error *err);

/* The backends' names into uses, sorted. STATUS_INTERNAL. */
bool device_baseline_uses(const struct device_baseline *baseline, struct strlist *uses,
                          struct error *err);
/* Is the property to be written off? */
bool device_baseline_is_off(const struct device_baseline *baseline, const char *class,
                            const char *property);

/* {"table", "backends": {NAME: {"unknown"}}, "classes": {NAME: {"off", "kept"}}}: the same bytes
 * for the same content. NULL for want of memory. */
json_t *device_baseline_to_json(const struct device_baseline *baseline);
/* STATUS_DATA: malformed, or names that are not in the table. */
bool device_baseline_from_json(json_t *json, struct device_baseline *baseline, struct error *err);

#endif
