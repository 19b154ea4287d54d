/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/cpu_override.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "vm/keyval.h"

#define NAME_MAX_LENGTH 63     /* of a driver or property in the short form of -global */
#define DEVICE_JSON_MAX 262144 /* more than any -device has */

static bool is_cpu_model_class(const char *driver)
{
    static const char suffix[] = "-x86_64-cpu";
    size_t length = strlen(driver);
    return length >= strlen(suffix) && strcmp(driver + length - strlen(suffix), suffix) == 0;
}

bool driver_reaches_cpu(const char *driver)
{
    static const char *const classes[] = {"x86_64-cpu", "cpu",        "device",
                                          "object",     "resettable", "vmstate-if"};
    for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++)
        if (strcmp(driver, classes[i]) == 0)
            return true;
    return is_cpu_model_class(driver);
}

static bool global_reaches_cpu(const char *value)
{
    size_t driver = strcspn(value, ".=");
    if (driver > 0 && driver <= NAME_MAX_LENGTH && value[driver] == '.') {
        size_t property = strcspn(value + driver + 1, "=");
        if (property > 0 && property <= NAME_MAX_LENGTH && value[driver + 1 + property] == '=') {
            char name[NAME_MAX_LENGTH + 1] = {0};
            memcpy(name, value, driver);
            return driver_reaches_cpu(name);
        }
    }
    autokeyval struct keyval keyval = {0};
    if (!keyval_parse(&keyval, value, KEYVAL_OPTS, NULL, NULL))
        return true; /* for want of memory */
    const char *name = keyval_get(&keyval, "driver");
    return name && driver_reaches_cpu(name);
}

static bool device_is_cpu(const char *value, const char *implied)
{
    if (keyval_is_json(value)) {
        autojson json_t *json = json_parse_qmp(value, strlen(value), DEVICE_JSON_MAX, NULL);
        const char *name = json_string_value(json_object_get(json, "driver"));
        if (json)
            return name && is_cpu_model_class(name);
        /* QEMU's parser takes more than ours does, single quotes for one. */
        return strstr(value, "x86_64-cpu") || strstr(value, "\\u");
    }
    autokeyval struct keyval keyval = {0};
    if (!keyval_parse(&keyval, value, KEYVAL_OPTS, implied, NULL))
        return true; /* for want of memory */
    const char *name = keyval_get(&keyval, "driver");
    return name && is_cpu_model_class(name);
}

/* GROUP.ID.KEY=VALUE (qemu_set_option in QEMU's vl.c). */
static bool set_reaches_cpu(const char *value)
{
    if (string_starts_with(value, "global.") || string_starts_with(value, "accel."))
        return true;
    const char *equals = strchr(value, '=');
    return string_starts_with(value, "device.") && equals && is_cpu_model_class(equals + 1);
}

bool cpu_overrides_find(const struct arglist *arglist, struct strlist *list, struct error *err)
{
    for (size_t i = 0; i < arglist->count; i++) {
        const struct arg_item *item = &arglist->items[i];
        enum qemu_option_id id = item->option ? item->option->id : QEMU_OPTION_UNNAMED;
        bool reaches =
            (id == QEMU_OPTION_GLOBAL && global_reaches_cpu(item->value)) ||
            (id == QEMU_OPTION_SET && set_reaches_cpu(item->value)) ||
            (id == QEMU_OPTION_DEVICE && device_is_cpu(item->value, item->option->implied_key));
        if (reaches && !strlist_pushf(list, "-%s %s", item->option->name, item->value))
            return error_no_memory(err);
    }
    return true;
}
