/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "device/device_offer.h"

static const char *const state_names[] = {
    [BACKEND_ABSENT] = "absent", [BACKEND_UNKNOWN] = "unknown", [BACKEND_KNOWN] = "known"};

static json_t *backend_to_json(const struct backend_offer *backend)
{
    const char *state = state_names[backend->state];
    if (backend->state == BACKEND_KNOWN)
        return json_pack("{s:s, s:o}", "state", state, "features",
                         json_from_names(&backend->features));
    if (backend->state == BACKEND_UNKNOWN)
        return json_pack("{s:s, s:s}", "state", state, "why", backend->why ? backend->why : "");
    return json_pack("{s:s}", "state", state);
}

static json_t *backends_to_json(const struct device_offer *offer)
{
    autojson json_t *object = json_object();
    for (size_t i = 0; i < offer->backend_count; i++)
        if (json_object_set_new(object, offer->backends[i].name,
                                backend_to_json(&offer->backends[i])) != 0)
            return NULL;
    return STEAL(object);
}

static json_t *classes_to_json(const struct device_offer *offer)
{
    autojson json_t *object = json_object();
    for (size_t i = 0; i < offer->class_count; i++)
        if (json_object_set_new(object, offer->classes[i].name,
                                json_from_names(&offer->classes[i].properties)) != 0)
            return NULL;
    return STEAL(object);
}

static json_t *compat_to_json(const struct device_offer *offer)
{
    if (!offer->compat_known)
        return json_null();
    autojson json_t *array = json_array();
    for (size_t i = 0; i < offer->compat_count; i++) {
        const struct compat_entry *entry = &offer->compat[i];
        if (json_array_append_new(
                array, json_pack("[s, s, s]", entry->driver, entry->property, entry->value)) != 0)
            return NULL;
    }
    return STEAL(array);
}

json_t *device_offer_to_json(const struct device_offer *offer)
{
    return json_pack("{s:i, s:o, s:o, s:o, s:o}", "table", (int)offer->table, "backends",
                     backends_to_json(offer), "classes", classes_to_json(offer), "compat",
                     compat_to_json(offer), "capabilities",
                     offer->capabilities_known ? json_from_names(&offer->capabilities)
                                               : json_null());
}

/* The names of an array, each of them once, sorted. */
static bool take_set(const json_t *array, const char *what, bool (*check)(const char *),
                     struct strlist *list, struct error *err)
{
    if (!json_take_names(array, what, check, list, err))
        return false;
    strlist_sort(list);
    if (list->count != json_array_size(array))
        return error_set(err, STATUS_DATA, "%s: a name stands there twice", what);
    return true;
}

static bool take_backend(json_t *json, const char *name, struct device_offer *offer,
                         struct error *err)
{
    const char *state, *why = NULL;
    json_t *features = NULL;
    enum backend_state made = BACKEND_ABSENT;
    if (!backend_find(name))
        return error_set(err, STATUS_DATA, "'%.80s' is not a device backend", name);
    if (!json_take(json, err, name, "{s:s, s?o, s?s}", "state", &state, "features", &features,
                   "why", &why))
        return false;
    while (made <= BACKEND_KNOWN && strcmp(state, state_names[made]) != 0)
        made++;
    if (made > BACKEND_KNOWN || (features != NULL) != (made == BACKEND_KNOWN) ||
        (why != NULL) != (made == BACKEND_UNKNOWN) || (why && strlen(why) > BACKEND_WHY_MAX))
        return error_set(err, STATUS_DATA, "%s: not the state of a device backend", name);
    struct backend_offer *backend = device_offer_add_backend(offer, name, made, why);
    if (!backend)
        return error_no_memory(err);
    if (features && !take_set(features, name, name_is_feature, &backend->features, err))
        return false;
    for (size_t i = 0; i < backend->features.count; i++)
        if (!backend_find_feature(name, backend->features.items[i]))
            return error_set(err, STATUS_DATA, "'%.80s' is not a feature of %s",
                             backend->features.items[i], name);
    return true;
}

static bool take_class(const json_t *json, const char *name, struct device_offer *offer,
                       struct error *err)
{
    if (!device_class_is_known(name))
        return error_set(err, STATUS_DATA, "'%.80s' is not a class of devices", name);
    struct class_offer *class = device_offer_add_class(offer, name);
    if (!class)
        return error_no_memory(err);
    if (!take_set(json, name, name_is_feature, &class->properties, err))
        return false;
    for (size_t i = 0; i < class->properties.count; i++)
        if (!device_find_property(name, class->properties.items[i]))
            return error_set(err, STATUS_DATA, "'%.80s' is not a property of %s",
                             class->properties.items[i], name);
    return true;
}

static bool take_compat(json_t *json, struct device_offer *offer, struct error *err)
{
    static const char what[] = "the machine type's properties";
    size_t i;
    json_t *value;
    offer->compat_known = !json_is_null(json);
    if (!offer->compat_known)
        return true;
    if (!json_is_array(json) || json_array_size(json) > COMPAT_ENTRIES_MAX)
        return error_set(err, STATUS_DATA, "%s: not a list of at most %d", what,
                         COMPAT_ENTRIES_MAX);
    json_array_foreach(json, i, value)
    {
        const char *driver, *property, *text;
        if (!json_take(value, err, what, "[s, s, s]", &driver, &property, &text))
            return false;
        if (!compat_entry_fits(driver, property, text))
            return error_set(err, STATUS_DATA, "%s: '%.80s', '%.80s' is not a property", what,
                             driver, property);
        if (!device_offer_add_compat(offer, driver, property, text))
            return error_no_memory(err);
    }
    return true;
}

static bool take_all(json_t *json, struct device_offer *offer, struct error *err)
{
    json_int_t table;
    const char *name;
    json_t *backends, *classes, *compat, *capabilities, *value;
    if (!json_take(json, err, "the devices", "{s:I, s:o, s:o, s:o, s:o}", "table", &table,
                   "backends", &backends, "classes", &classes, "compat", &compat, "capabilities",
                   &capabilities))
        return false;
    if (!json_is_object(backends) || !json_is_object(classes) ||
        json_array_size(capabilities) > CAPABILITIES_MAX)
        return error_set(err, STATUS_DATA, "the devices: not valid");
    json_object_foreach(backends, name, value)
    {
        if (!take_backend(value, name, offer, err))
            return false;
    }
    json_object_foreach(classes, name, value)
    {
        if (!take_class(value, name, offer, err))
            return false;
    }
    offer->capabilities_known = !json_is_null(capabilities);
    return take_compat(compat, offer, err) &&
           (!offer->capabilities_known || take_set(capabilities, "migration capabilities",
                                                   name_is_feature, &offer->capabilities, err));
}

bool device_offer_from_json(json_t *json, struct device_offer *out, struct error *err)
{
    autodeviceoffer struct device_offer offer = {0};
    const json_t *version = json_object_get(json, "table");
    json_int_t table = json_integer_value(version);
    if (!json_is_integer(version) || table < 1 || table > 1000000)
        return error_set(err, STATUS_DATA, "the devices have no table's version");
    if (table == BACKEND_TABLE_VERSION && !take_all(json, &offer, err))
        return false;
    offer.table = (unsigned)table;
    device_offer_free(out);
    *out = offer;
    offer = (struct device_offer){0};
    return true;
}
