/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Recorded QMP replies as a profile: for planning with hosts that are not at hand.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "cpu/feature_table.h"
#include "host/profile.h"
#include "host/qemu_devices.h"
#include "qmp/qmp.h"

/* The name as a host's: in lower case, other characters as '-'. */
static bool take_name(const json_t *record, struct cpu_offer *offer, struct error *err)
{
    const char *name = json_string_value(json_object_get(record, "name"));
    if (!name || !(offer->host = strdup(name)))
        return name ? error_no_memory(err) : error_set(err, STATUS_DATA, "it has no \"name\"");
    for (char *p = offer->host; *p; p++) {
        *p = (char)tolower((unsigned char)*p);
        if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
            *p = '-';
    }
    return name_is_host(offer->host) ||
           error_set(err, STATUS_DATA, "'%.80s' cannot name a host", offer->host);
}

static bool take_text(const json_t *props, const char *key, char *place, size_t size)
{
    autofree char *text = string_plain(json_string_value(json_object_get(props, key)), size - 1);
    if (text)
        memcpy(place, text, strlen(text) + 1);
    return text;
}

static bool take_number(const json_t *props, const char *key, json_int_t max, json_int_t *number,
                        struct error *err)
{
    const json_t *value = json_object_get(props, key);
    *number = json_integer_value(value);
    return !value || (json_is_integer(value) && *number >= 0 && *number <= max) ||
           error_set(err, STATUS_DATA, "%s is not a number of a CPU", key);
}

static bool take_props(json_t *props, struct cpu_offer *offer, struct error *err)
{
    const char *name;
    json_t *value;
    json_int_t family, model, stepping, level, xlevel;
    if (!json_is_object(props))
        return error_set(err, STATUS_DATA, "\"query-cpu-model-expansion\" has no model.props");
    json_object_foreach(props, name, value)
    {
        if (!json_is_boolean(value) || strcmp(name, "lmce") == 0)
            continue;
        if (!name_is_feature(name))
            return error_set(err, STATUS_DATA, "'%.80s' is not a feature", name);
        if (!featureset_add(&offer->known, name) ||
            (json_is_true(value) && !featureset_add(&offer->available, name)))
            return error_no_memory(err);
    }
    if (!take_number(props, "family", 0xff + 0xf, &family, err) ||
        !take_number(props, "model", 0xff, &model, err) ||
        !take_number(props, "stepping", 0xf, &stepping, err) ||
        !take_number(props, "min-level", UINT32_MAX, &level, err) ||
        !take_number(props, "min-xlevel", UINT32_MAX, &xlevel, err))
        return false;
    offer->identity.family = (unsigned)family;
    offer->identity.model = (unsigned)model;
    offer->identity.stepping = (unsigned)stepping;
    offer->identity.level = (uint32_t)level;
    offer->identity.xlevel = (uint32_t)xlevel;
    if (!take_text(props, "vendor", offer->identity.vendor, sizeof(offer->identity.vendor)) ||
        !take_text(props, "model-id", offer->identity.model_id, sizeof(offer->identity.model_id)))
        return error_no_memory(err);
    const char *vendor = json_string_value(json_object_get(props, "vendor"));
    return (vendor && strcmp(vendor, offer->identity.vendor) == 0 &&
            strlen(vendor) == CPU_VENDOR_SIZE - 1 && !strchr(vendor, ',')) ||
           error_set(err, STATUS_DATA, "its CPU's vendor is not twelve characters");
}

static bool take_machines(const json_t *reply, struct machine_list *machines, struct error *err)
{
    size_t i;
    json_t *entry;
    json_array_foreach(reply, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        const char *alias = json_string_value(json_object_get(entry, "alias"));
        if (!name || !name_is_machine(name) || (alias && !name_is_machine(alias)))
            return error_set(err, STATUS_DATA, "\"query-machines\" has a bad name");
        if (!machine_list_add(machines, name, alias,
                              json_is_true(json_object_get(entry, "deprecated")),
                              json_is_true(json_object_get(entry, "is-default"))))
            return error_no_memory(err);
    }
    return true;
}

/* {"devices"} as far as the replies tell of them: its migration capabilities. Nothing, and true,
 * when they do not. */
static bool add_devices(const json_t *record, json_t *payload, struct error *err)
{
    autodeviceoffer struct device_offer offer = {.table = BACKEND_TABLE_VERSION};
    const json_t *reply = json_object_get(record, "query-migrate-capabilities");
    if (!json_is_array(reply))
        return true;
    if (!qemu_take_capabilities(reply, &offer, err))
        return false;
    return json_object_set_new(payload, "devices", device_offer_to_json(&offer)) == 0 ||
           error_no_memory(err);
}

json_t *profile_import(const char *text, size_t length, struct error *err)
{
    autojson json_t *record = json_parse_qmp(text, length, PROFILE_IMPORT_SIZE_MAX, err);
    autocpuoffer struct cpu_offer offer = {0};
    automachinelist struct machine_list machines = {0};
    if (!record)
        return NULL;
    bool kvm = json_is_true(json_object_get(json_object_get(record, "query-kvm"), "enabled"));
    json_t *expansion = json_object_get(record, "query-cpu-model-expansion");
    json_t *props = json_object_get(json_object_get(expansion, "model"), "props");
    if (!take_name(record, &offer, err) || !take_props(props, &offer, err) ||
        !take_machines(json_object_get(record, "query-machines"), &machines, err))
        return NULL;
    offer.accel = strdup(kvm ? "kvm" : "tcg");
    if (!offer.accel) {
        error_no_memory(err);
        return NULL;
    }
    int major = 0, minor = 0, micro = 0;
    const char *package = "";
    json_unpack(json_object_get(record, "query-version"), "{s:{s:i, s:i, s:i}, s?s}", "qemu",
                "major", &major, "minor", &minor, "micro", &micro, "package", &package);
    autofree char *plain_package = string_plain(package, QMP_PACKAGE_MAX);
    if (!plain_package) {
        error_no_memory(err);
        return NULL;
    }
    int64_t now = time(NULL);
    autojson json_t *payload = json_pack(
        "{s:b, s:i, s:i, s:s, s:i, s:I, s:I, s:{}, s:{}, s:{s:o, s:s, s:s}, s:{s:s, s:s, s:s, "
        "s:b}, "
        "s:o, s:o}",
        "imported", 1, "version", PROFILE_VERSION, "table", FEATURE_TABLE_VERSION, "boot_id", "",
        "serial", 0, "issued", (json_int_t)now, "expires", (json_int_t)(now + PROFILE_LIFETIME_S),
        "kernel", "processor", "qemu", "version", json_sprintf("%d.%d.%d", major, minor, micro),
        "package", plain_package, "files", "", "probe", "machine", "none", "accel", offer.accel,
        "kernel_irqchip", "", "cpu_pm", 0, "machines", machine_list_to_json(&machines), "cpu",
        cpu_offer_to_json(&offer));
    if (!payload || !add_devices(record, payload, err)) {
        if (!payload)
            error_no_memory(err);
        return NULL;
    }
    return STEAL(payload);
}
