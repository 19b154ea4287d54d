/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What one host can give a guest's devices: the part of a host profile that the baseline of devices
 * is computed from. Data only.
 */
#ifndef QML_DEVICE_DEVICE_OFFER_H
#define QML_DEVICE_DEVICE_OFFER_H

#include "base/json.h"
#include "device/backend_table.h"

/* What is known of a backend on a host. */
enum backend_state {
    BACKEND_ABSENT, /* there is no such device or module: ENOENT, ENODEV, ENXIO */
    BACKEND_UNKNOWN,
    BACKEND_KNOWN
};

struct backend_offer {
    char *name; /* the table's */
    enum backend_state state;
    char *why;               /* of BACKEND_UNKNOWN: "permission denied"; else NULL */
    struct strlist features; /* of BACKEND_KNOWN: the table's, sorted */
};

/* A class of devices that this QEMU has. */
struct class_offer {
    char *name;                /* the table's */
    struct strlist properties; /* of the table's those that this QEMU has, sorted */
};

/* One line of what a machine type makes different: driver's property has that value. */
struct compat_entry {
    char *driver;
    char *property;
    char *value;
};

/* All zero: nothing is known of the host. */
struct device_offer {
    unsigned table; /* BACKEND_TABLE_VERSION of who made it; another one: nothing else is read; 0:
                       the profile does not speak of devices */
    struct backend_offer *backends; /* sorted by name; one that is not there is unknown */
    size_t backend_count;
    struct class_offer *classes; /* sorted by name; one that is not there: QEMU has it not, or
                                    nobody asked */
    size_t class_count;
    bool compat_known;           /* QEMU 9.1 and later can be asked */
    struct compat_entry *compat; /* of the probe's machine type; in QEMU's order, later ones win */
    size_t compat_count;
    bool capabilities_known;
    struct strlist capabilities; /* of migration, sorted; "tls" when QEMU has tls-creds-x509 */
};

/* What an offer may have; more is malformed. */
#define COMPAT_ENTRIES_MAX 2048
#define CAPABILITIES_MAX 256
#define BACKEND_WHY_MAX 200 /* characters */

void device_offer_free(struct device_offer *offer);
#define autodeviceoffer __attribute__((cleanup(device_offer_free)))

/* Add one entry; in byte order of the names. A backend's features, a class's properties are added
 * to what comes back. NULL for want of memory. The table's names only; each once. */
struct backend_offer *device_offer_add_backend(struct device_offer *offer, const char *name,
                                               enum backend_state state, const char *why);
struct class_offer *device_offer_add_class(struct device_offer *offer, const char *name);
/* false for want of memory. */
bool device_offer_add_compat(struct device_offer *offer, const char *driver, const char *property,
                             const char *value);
/* They fit into an offer: names of 1 to 63 printable characters without blanks, a value of at most
 * 127. Others are for the caller to leave out. */
bool compat_entry_fits(const char *driver, const char *property, const char *value);

/* What is known of that backend; NULL when the offer does not have it: nothing is known. */
const struct backend_offer *device_offer_find_backend(const struct device_offer *offer,
                                                      const char *name);
/* NULL: the QEMU has no such devices, or nobody asked. */
const struct class_offer *device_offer_find_class(const struct device_offer *offer,
                                                  const char *name);
/* Does the machine type switch the property off on a driver of that class, or the classes that it
 * is made of? false when it is not known. */
bool device_offer_compat_off(const struct device_offer *offer, const char *class,
                             const char *property);

/* {"table", "backends": {NAME: {"state": "known", "features"} | {"state": "absent"} | {"state":
 * "unknown", "why"}}, "classes": {NAME: [properties]}, "compat": null | [[driver, property,
 * value]], "capabilities": null | []}; NULL for want of memory. */
json_t *device_offer_to_json(const struct device_offer *offer);
/* STATUS_DATA: malformed, names that are not in the table, too much. Of another table's version
 * only `table` is read. */
bool device_offer_from_json(json_t *json, struct device_offer *offer, struct error *err);

#endif
