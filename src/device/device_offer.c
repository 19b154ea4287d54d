/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "device/device_offer.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

void device_offer_free(struct device_offer *offer)
{
    for (size_t i = 0; i < offer->backend_count; i++) {
        free(offer->backends[i].name);
        free(offer->backends[i].why);
        strlist_free(&offer->backends[i].features);
    }
    free(offer->backends);
    for (size_t i = 0; i < offer->class_count; i++) {
        free(offer->classes[i].name);
        strlist_free(&offer->classes[i].properties);
    }
    free(offer->classes);
    for (size_t i = 0; i < offer->compat_count; i++) {
        free(offer->compat[i].driver);
        free(offer->compat[i].property);
        free(offer->compat[i].value);
    }
    free(offer->compat);
    strlist_free(&offer->capabilities);
    *offer = (struct device_offer){0};
}

struct backend_offer *device_offer_add_backend(struct device_offer *offer, const char *name,
                                               enum backend_state state, const char *why)
{
    struct backend_offer *grown =
        realloc(offer->backends, (offer->backend_count + 1) * sizeof(*grown));
    if (!grown)
        return NULL;
    offer->backends = grown;
    struct backend_offer made = {.name = strdup(name), .state = state};
    if (!made.name || (why && !(made.why = strdup(why)))) {
        free(made.name);
        return NULL;
    }
    size_t place = offer->backend_count;
    while (place > 0 && strcmp(grown[place - 1].name, name) > 0)
        place--;
    memmove(&grown[place + 1], &grown[place], (offer->backend_count - place) * sizeof(*grown));
    grown[place] = made;
    offer->backend_count++;
    return &grown[place];
}

struct class_offer *device_offer_add_class(struct device_offer *offer, const char *name)
{
    struct class_offer *grown = realloc(offer->classes, (offer->class_count + 1) * sizeof(*grown));
    if (!grown)
        return NULL;
    offer->classes = grown;
    struct class_offer made = {.name = strdup(name)};
    if (!made.name)
        return NULL;
    size_t place = offer->class_count;
    while (place > 0 && strcmp(grown[place - 1].name, name) > 0)
        place--;
    memmove(&grown[place + 1], &grown[place], (offer->class_count - place) * sizeof(*grown));
    grown[place] = made;
    offer->class_count++;
    return &grown[place];
}

bool device_offer_add_compat(struct device_offer *offer, const char *driver, const char *property,
                             const char *value)
{
    struct compat_entry *grown = realloc(offer->compat, (offer->compat_count + 1) * sizeof(*grown));
    if (!grown)
        return false;
    offer->compat = grown;
    struct compat_entry made = {strdup(driver), strdup(property), strdup(value)};
    if (!made.driver || !made.property || !made.value) {
        free(made.driver);
        free(made.property);
        free(made.value);
        return false;
    }
    grown[offer->compat_count++] = made;
    return true;
}

static bool is_word(const char *text)
{
    size_t length = strlen(text);
    for (const char *c = text; *c; c++)
        if (*c <= ' ' || *c > '~')
            return false;
    return length > 0 && length <= 63;
}

bool compat_entry_fits(const char *driver, const char *property, const char *value)
{
    return is_word(driver) && is_word(property) && text_is_plain(value) && strlen(value) <= 127;
}

const struct backend_offer *device_offer_find_backend(const struct device_offer *offer,
                                                      const char *name)
{
    for (size_t i = 0; i < offer->backend_count; i++)
        if (strcmp(offer->backends[i].name, name) == 0)
            return &offer->backends[i];
    return NULL;
}

const struct class_offer *device_offer_find_class(const struct device_offer *offer,
                                                  const char *name)
{
    for (size_t i = 0; i < offer->class_count; i++)
        if (strcmp(offer->classes[i].name, name) == 0)
            return &offer->classes[i];
    return NULL;
}

/* virtio-net-device among the properties of which virtio-net-pci passes on, and the common base. */
static bool is_driver_of(const char *driver, const char *class)
{
    const char *of = device_class_of(driver);
    return strcmp(driver, "virtio-device") == 0 || (of && strcmp(of, class) == 0);
}

bool device_offer_compat_off(const struct device_offer *offer, const char *class,
                             const char *property)
{
    bool off = false;
    for (size_t i = 0; i < offer->compat_count; i++) {
        const struct compat_entry *entry = &offer->compat[i];
        if (strcmp(entry->property, property) == 0 && is_driver_of(entry->driver, class))
            off = strcmp(entry->value, "off") == 0 || strcmp(entry->value, "false") == 0;
    }
    return off;
}
