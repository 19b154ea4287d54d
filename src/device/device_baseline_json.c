/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "device/device_baseline.h"

json_t *device_baseline_to_json(const struct device_baseline *baseline)
{
    autojson json_t *backends = json_object(), *classes = json_object();
    for (size_t i = 0; i < baseline->backend_count; i++)
        if (json_object_set_new(
                backends, baseline->backends[i].name,
                json_pack("{s:b}", "unknown", (int)baseline->backends[i].unknown)) != 0)
            return NULL;
    for (size_t i = 0; i < baseline->class_count; i++)
        if (json_object_set_new(classes, baseline->classes[i].name,
                                json_pack("{s:o, s:o}", "off",
                                          json_from_names(&baseline->classes[i].off), "kept",
                                          json_from_names(&baseline->classes[i].kept))) != 0)
            return NULL;
    return json_pack("{s:i, s:O, s:O}", "table", BACKEND_TABLE_VERSION, "backends", backends,
                     "classes", classes);
}

static int compare_backends(const void *a, const void *b)
{
    return strcmp(((const struct device_backend_baseline *)a)->name,
                  ((const struct device_backend_baseline *)b)->name);
}

static int compare_classes(const void *a, const void *b)
{
    return strcmp(((const struct device_class_baseline *)a)->name,
                  ((const struct device_class_baseline *)b)->name);
}

static bool take_backends(json_t *json, struct device_baseline *baseline, struct error *err)
{
    const char *name;
    json_t *value;
    baseline->backends = calloc(json_object_size(json) + 1, sizeof(*baseline->backends));
    if (!baseline->backends)
        return error_no_memory(err);
    json_object_foreach(json, name, value)
    {
        int unknown;
        struct device_backend_baseline *backend = &baseline->backends[baseline->backend_count];
        if (!backend_find(name))
            return error_set(err, STATUS_DATA, "'%.80s' is not a device backend", name);
        if (!json_take(value, err, name, "{s:b}", "unknown", &unknown))
            return false;
        if (!(backend->name = strdup(name)))
            return error_no_memory(err);
        backend->unknown = unknown;
        baseline->backend_count++;
    }
    qsort(baseline->backends, baseline->backend_count, sizeof(*baseline->backends),
          compare_backends);
    return true;
}

static bool take_properties(const json_t *array, const char *class, struct strlist *list,
                            struct error *err)
{
    if (!json_take_names(array, class, name_is_feature, list, err))
        return false;
    strlist_sort(list);
    for (size_t i = 0; i < list->count; i++)
        if (!device_find_property(class, list->items[i]))
            return error_set(err, STATUS_DATA, "'%.80s' is not a property of %s", list->items[i],
                             class);
    return list->count == json_array_size(array) ||
           error_set(err, STATUS_DATA, "%s: a property stands there twice", class);
}

static bool take_classes(json_t *json, struct device_baseline *baseline, struct error *err)
{
    const char *name;
    json_t *value;
    baseline->classes = calloc(json_object_size(json) + 1, sizeof(*baseline->classes));
    if (!baseline->classes)
        return error_no_memory(err);
    json_object_foreach(json, name, value)
    {
        struct device_class_baseline *class = &baseline->classes[baseline->class_count];
        json_t *off, *kept;
        if (!device_class_is_known(name))
            return error_set(err, STATUS_DATA, "'%.80s' is not a class of devices", name);
        if (!json_take(value, err, name, "{s:o, s:o}", "off", &off, "kept", &kept))
            return false;
        if (!(class->name = strdup(name)))
            return error_no_memory(err);
        baseline->class_count++;
        if (!take_properties(off, name, &class->off, err) ||
            !take_properties(kept, name, &class->kept, err))
            return false;
        for (size_t i = 0; i < class->off.count; i++)
            if (strlist_contains(&class->kept, class->off.items[i]))
                return error_set(err, STATUS_DATA, "%s: %s is off and kept", name,
                                 class->off.items[i]);
    }
    qsort(baseline->classes, baseline->class_count, sizeof(*baseline->classes), compare_classes);
    return true;
}

bool device_baseline_from_json(json_t *json, struct device_baseline *out, struct error *err)
{
    autodevicebaseline struct device_baseline baseline = {0};
    json_t *backends, *classes;
    json_int_t table;
    if (!json_take(json, err, "the devices", "{s:I, s:o, s:o}", "table", &table, "backends",
                   &backends, "classes", &classes))
        return false;
    if (table < 1 || table > BACKEND_TABLE_VERSION || !json_is_object(backends) ||
        !json_is_object(classes))
        return error_set(err, STATUS_DATA,
                         "the devices are not valid, or of a newer version of "
                         "qemu-migrate-launch");
    if (!take_backends(backends, &baseline, err) || !take_classes(classes, &baseline, err))
        return error_wrap(err, "the devices");
    device_baseline_free(out);
    *out = baseline;
    baseline = (struct device_baseline){0};
    return true;
}

bool device_baseline_copy(const struct device_baseline *baseline, struct device_baseline *copy,
                          struct error *err)
{
    autojson json_t *json = device_baseline_to_json(baseline);
    return json ? device_baseline_from_json(json, copy, err) : error_no_memory(err);
}
