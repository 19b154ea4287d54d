/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "host/qemu_devices.h"

#include <string.h>

#include "base/cleanup.h"

/* Ask what QEMU may refuse: *result stays NULL then, and *words has what it said. */
static bool try_asking(struct qemu_session *session, const char *command, json_t *arguments,
                       json_t **result, struct error *words, struct error *err)
{
    if (!arguments)
        return error_no_memory(err);
    if (qmp_execute(session->qmp, command, arguments, session->when, STATUS_USAGE, result, words) ||
        words->status == STATUS_USAGE)
        return true;
    if (words->status == STATUS_INTERNAL) /* nothing that QEMU could be asked about */
        return error_set(err, words->status, "%s", words->message);
    /* The conversation is over: this tells what became of QEMU. */
    return qemu_session_ask(session, command, json_object(), NULL, err) ||
           error_set(err, STATUS_CONFIG, "QEMU: %s", words->message);
}

static bool add_class(const char *class, const json_t *reply, struct device_offer *offer,
                      struct error *err)
{
    struct class_offer *made = device_offer_add_class(offer, class);
    size_t i;
    json_t *entry;
    if (!made)
        return error_no_memory(err);
    json_array_foreach(reply, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (name && device_find_property(class, name) && !strlist_push(&made->properties, name))
            return error_no_memory(err);
    }
    strlist_sort(&made->properties);
    return true;
}

/* The properties of a class are those of its first driver that this QEMU has: a build may lack one
 * (virtio-mmio, PCI). device-list-properties loads the one module that the driver is in. */
static bool ask_classes(struct qemu_session *session, struct device_offer *offer, struct error *err)
{
    size_t count;
    const struct device_driver *drivers = device_drivers(&count);
    for (size_t i = 0; i < count; i++) {
        autojson json_t *reply = NULL;
        struct error words = ERROR_INIT;
        if (device_offer_find_class(offer, drivers[i].class))
            continue;
        if (!try_asking(session, "device-list-properties",
                        json_pack("{s:s}", "typename", drivers[i].driver), &reply, &words, err) ||
            (reply && !add_class(drivers[i].class, reply, offer, err)))
            return false;
    }
    return true;
}

bool qemu_take_capabilities(const json_t *reply, struct device_offer *offer, struct error *err)
{
    size_t i;
    json_t *entry;
    json_array_foreach(reply, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "capability"));
        if (name && name_is_feature(name) && offer->capabilities.count + 1 < CAPABILITIES_MAX &&
            !strlist_push(&offer->capabilities, name))
            return error_no_memory(err);
    }
    strlist_sort(&offer->capabilities);
    offer->capabilities_known = true;
    return true;
}

/* Credentials that are nowhere: a QEMU with TLS misses a file, one without says so, or does not
 * know the type (crypto/tlscredsx509.c, QEMU 7.2 to 11.1). qom-list-types would not tell the two
 * apart, and would load every module that lies there. */
static bool ask_tls(struct qemu_session *session, struct device_offer *offer, struct error *err)
{
    autojson json_t *reply = NULL;
    struct error words = ERROR_INIT;
    if (!try_asking(session, "object-add",
                    json_pack("{s:s, s:s, s:s, s:s}", "qom-type", "tls-creds-x509", "id", "qml-tls",
                              "dir", "/proc/self/nowhere", "endpoint", "client"),
                    &reply, &words, err))
        return false;
    if (!strstr(words.message, "ca-cert.pem"))
        return true;
    if (!strlist_push(&offer->capabilities, "tls"))
        return error_no_memory(err);
    strlist_sort(&offer->capabilities);
    return true;
}

static bool ask_capabilities(struct qemu_session *session, struct device_offer *offer,
                             struct error *err)
{
    autojson json_t *reply = NULL;
    return qemu_session_ask(session, "query-migrate-capabilities", NULL, &reply, err) &&
           qemu_take_capabilities(reply, offer, err) && ask_tls(session, offer, err);
}

static bool add_compat(const json_t *table, struct device_offer *offer, struct error *err)
{
    size_t i;
    json_t *entry;
    json_array_foreach(table, i, entry)
    {
        const char *driver = json_string_value(json_object_get(entry, "qom-type"));
        const char *property = json_string_value(json_object_get(entry, "property"));
        const char *value = json_string_value(json_object_get(entry, "value"));
        if (driver && property && value && compat_entry_fits(driver, property, value) &&
            offer->compat_count < COMPAT_ENTRIES_MAX &&
            !device_offer_add_compat(offer, driver, property, value))
            return error_no_memory(err);
    }
    offer->compat_known = true;
    return true;
}

/* QEMU before 9.1 has no such argument, and refuses it; the argument is declared unstable, so one
 * that does not answer as expected leaves it unknown, too. */
static bool ask_compat(struct qemu_session *session, const char *machine,
                       struct device_offer *offer, struct error *err)
{
    autojson json_t *reply = NULL;
    struct error words = ERROR_INIT;
    size_t i;
    json_t *entry;
    if (!try_asking(session, "query-machines", json_pack("{s:b}", "compat-props", 1), &reply,
                    &words, err))
        return false;
    json_array_foreach(reply, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        const json_t *table = json_object_get(entry, "compat-props");
        if (name && strcmp(name, machine) == 0 && json_is_array(table))
            return add_compat(table, offer, err);
    }
    return true;
}

bool qemu_ask_devices(struct qemu_session *session, const char *machine, struct device_offer *out,
                      struct error *err)
{
    autodeviceoffer struct device_offer offer = {.table = BACKEND_TABLE_VERSION};
    if (!ask_classes(session, &offer, err) || !ask_capabilities(session, &offer, err) ||
        !ask_compat(session, machine, &offer, err))
        return false;
    *out = offer;
    offer = (struct device_offer){0};
    return true;
}
