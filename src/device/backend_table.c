/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "device/backend_table.h"

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct backend_info backends[] = {
#define BACKEND(name, title) {name, title},
#include "device/backend_table.def"
};

static const struct backend_feature features[] = {
#define FEATURE(backend, feature, how, value) {backend, feature, PROBE_##how, value},
#include "device/backend_table.def"
};

static const struct device_driver drivers[] = {
#define CLASS(class, driver) {class, driver},
#include "device/backend_table.def"
};

enum { OFF, ON };
static const struct device_property properties[] = {
#define PROPERTY(class, property, usual) {class, property, usual},
#include "device/backend_table.def"
};

static const struct device_need needs[] = {
#define NEEDS(class, property, backend, feature) {class, property, backend, feature},
#include "device/backend_table.def"
};

static const struct device_equal equals[] = {
#define EQUAL(backend, feature, cure) {backend, feature, cure},
#include "device/backend_table.def"
};

const struct backend_info *backend_table(size_t *count)
{
    *count = COUNT(backends);
    return backends;
}

const struct backend_feature *backend_features(size_t *count)
{
    *count = COUNT(features);
    return features;
}

const struct device_driver *device_drivers(size_t *count)
{
    *count = COUNT(drivers);
    return drivers;
}

const struct device_property *device_properties(size_t *count)
{
    *count = COUNT(properties);
    return properties;
}

const struct device_need *device_needs(size_t *count)
{
    *count = COUNT(needs);
    return needs;
}

const struct device_equal *device_equals(size_t *count)
{
    *count = COUNT(equals);
    return equals;
}

const struct backend_info *backend_find(const char *name)
{
    for (size_t i = 0; i < COUNT(backends); i++)
        if (strcmp(backends[i].name, name) == 0)
            return &backends[i];
    return NULL;
}

const struct backend_feature *backend_find_feature(const char *backend, const char *feature)
{
    for (size_t i = 0; i < COUNT(features); i++)
        if (strcmp(features[i].backend, backend) == 0 && strcmp(features[i].name, feature) == 0)
            return &features[i];
    return NULL;
}

const struct device_property *device_find_property(const char *class, const char *property)
{
    for (size_t i = 0; i < COUNT(properties); i++)
        if (strcmp(properties[i].class, class) == 0 && strcmp(properties[i].name, property) == 0)
            return &properties[i];
    return NULL;
}

bool device_class_is_known(const char *class)
{
    for (size_t i = 0; i < COUNT(drivers); i++)
        if (strcmp(drivers[i].class, class) == 0)
            return true;
    return false;
}

const char *device_class_of(const char *driver)
{
    for (size_t i = 0; i < COUNT(drivers); i++)
        if (strcmp(drivers[i].driver, driver) == 0)
            return drivers[i].class;
    return NULL;
}
