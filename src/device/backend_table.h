/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The table of device backends, their features, and the device properties that need them
 * (backend_table.def).
 */
#ifndef QML_DEVICE_BACKEND_TABLE_H
#define QML_DEVICE_BACKEND_TABLE_H

#include <stdbool.h>
#include <stddef.h>

/* Parties with different tables would compute different baselines: they refuse each other by it. */
#define BACKEND_TABLE_VERSION 2

/* What of a host's kernel stands behind a device. */
struct backend_info {
    const char *name;
    const char *title; /* for people */
};

/* How a feature is asked of the kernel. */
enum backend_probe {
    PROBE_VIRTIO_BIT,  /* a bit of VHOST_GET_FEATURES; over 63 of VHOST_GET_FEATURES_ARRAY */
    PROBE_TUN_FLAG,    /* a flag in what TUNGETFEATURES gives */
    PROBE_TUN_OFFLOAD, /* flags that TUNSETOFFLOAD takes */
    PROBE_TUN_HEADER   /* a size, in bytes, that TUNSETVNETHDRSZ takes */
};

struct backend_feature {
    const char *backend;
    const char *name;
    enum backend_probe how;
    unsigned value; /* see how */
};

/* A QEMU device of a class of devices that have the same properties. */
struct device_driver {
    const char *class;
    const char *driver;
};

struct device_property {
    const char *class;
    const char *name;
    bool usual; /* on when nobody says anything and no machine type switches it off */
};

/* The property can be on only if that backend, when it stands behind the device, has the feature.
 */
struct device_need {
    const char *class;
    const char *property;
    const char *backend;
    const char *feature;
};

/* When that backend is in use all hosts have the feature, or none; else: cure, for people. */
struct device_equal {
    const char *backend;
    const char *feature;
    const char *cure;
};

/* The whole tables; *count gets how many entries. Backends, and properties of a class, are in byte
 * order. */
const struct backend_info *backend_table(size_t *count);
const struct backend_feature *backend_features(size_t *count);
const struct device_driver *device_drivers(size_t *count);
const struct device_property *device_properties(size_t *count);
const struct device_need *device_needs(size_t *count);
const struct device_equal *device_equals(size_t *count);

/* NULL when there is none of that name. */
const struct backend_info *backend_find(const char *name);
const struct backend_feature *backend_find_feature(const char *backend, const char *feature);
const struct device_property *device_find_property(const char *class, const char *property);

bool device_class_is_known(const char *class);
/* The class of that QEMU driver, e.g. "virtio-net" of "virtio-net-pci"; NULL: of none. */
const char *device_class_of(const char *driver);

#endif
