/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A command line as the things that a guest sees of it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vm/visible_private.h"

typedef bool reader(struct visible_reading *reading, const struct visible_option *option,
                    const struct arg_item *item, struct error *err);

static bool add_text(struct visible_reading *reading, const char *option, const char *label,
                     const char *value, struct error *err)
{
    struct visible_thing *thing = visible_list_add(reading->list, option, label, "", err);
    return thing && visible_thing_set(thing, "", value, VISIBLE_SEEN, err);
}

static bool read_keys(const struct arg_item *item, const char *implied, struct keyval *keys,
                      struct error *err)
{
    return visible_keys(item->value, implied, keys, err) ||
           error_wrap(err, "QEMU's option %s %s", item->text, item->value);
}

static bool read_nothing(struct visible_reading *reading, const struct visible_option *option,
                         const struct arg_item *item, struct error *err)
{
    return true;
}

/* KEY=VALUE, or KEY=% with the option's value in it. */
static bool read_sugar(struct visible_reading *reading, const struct visible_option *option,
                       const struct arg_item *item, struct error *err)
{
    const char *equals = strchr(option->text, '=');
    autofree char *key = strndup(option->text, (size_t)(equals - option->text));
    const char *value = equals[1] == '%' ? item->value : equals + 1;
    return key ? keyval_set(&reading->machine, key, value, err) : error_no_memory(err);
}

/* -boot is the only one of them that invocation.h leaves to us. */
static bool read_machine_option(struct visible_reading *reading,
                                const struct visible_option *option, const struct arg_item *item,
                                struct error *err)
{
    autokeyval struct keyval keys = {0};
    if (strcmp(option->name, "boot") != 0)
        return true;
    return keyval_parse(&keys, item->value, KEYVAL_DICT, item->option->implied_key, err) &&
           keyval_merge(&reading->machine, &keys, "boot.", err);
}

static bool read_flag(struct visible_reading *reading, const struct visible_option *option,
                      const struct arg_item *item, struct error *err)
{
    return visible_list_find(reading->list, option->name, "") ||
           visible_list_add(reading->list, option->name, "", "", err);
}

static bool read_last(struct visible_reading *reading, const struct visible_option *option,
                      const struct arg_item *item, struct error *err)
{
    struct visible_thing *thing = visible_list_find(reading->list, option->name, "");
    return thing ? visible_thing_set(thing, "", item->value, VISIBLE_SEEN, err)
                 : add_text(reading, option->name, "", item->value, err);
}

static bool read_text(struct visible_reading *reading, const struct visible_option *option,
                      const struct arg_item *item, struct error *err)
{
    return add_text(reading, option->name, "", item->value ? item->value : "on", err);
}

/* GROUP.ID.KEY=VALUE into the device that it is about. */
static bool set_device(struct visible_reading *reading, const char *rest, const char *value,
                       struct error *err)
{
    struct visible_list *list = reading->list;
    for (size_t i = 0; i < list->count; i++) {
        struct visible_thing *thing = &list->things[i];
        size_t length = strlen(thing->id);
        if (strcmp(thing->option, "device") == 0 && length > 0 &&
            strncmp(thing->id, rest, length) == 0 && rest[length] == '.') {
            autokeyval struct keyval keys = {0};
            return keyval_set(&keys, rest + length + 1, value, err) &&
                   visible_thing_set_keys(thing, &keys, VISIBLE_SEEN, err) &&
                   visible_add_behind(reading, thing, &keys, err);
        }
    }
    return error_set(err, STATUS_USAGE, "QEMU's option -set device.%s: there is no such device",
                     rest);
}

/* GROUP.ID.KEY=VALUE: what it is set in decides. */
static enum visible_how set_how(const char *name)
{
    static const char *const seen[] = {"machine.", "global.",    "numa.",   "smbios.",
                                       "rtc.",     "boot-opts.", "memory.", "fw_cfg."};
    for (size_t i = 0; i < sizeof(seen) / sizeof(*seen); i++)
        if (string_starts_with(name, seen[i]))
            return VISIBLE_SEEN;
    return VISIBLE_IGNORED;
}

static bool read_named(struct visible_reading *reading, const struct visible_option *option,
                       const struct arg_item *item, struct error *err)
{
    autokeyval struct keyval keys = {0};
    bool is_set = strcmp(option->name, "set") == 0;
    const char *equals = strchr(item->value, '=');
    if (!is_set && !read_keys(item, NULL, &keys, err))
        return false;
    const char *driver = keyval_get(&keys, "driver"), *property = keyval_get(&keys, "property");
    const char *value = keyval_get(&keys, "value");
    bool is_long = driver && property && value;
    if (!is_long && !equals)
        return error_set(err, STATUS_USAGE, "QEMU's option %s %s", item->text, item->value);
    autofree char *name = is_long ? string_format("%s.%s", driver, property)
                                  : strndup(item->value, (size_t)(equals - item->value));
    if (!name)
        return error_no_memory(err);
    value = is_long ? value : equals + 1;
    if (is_set && string_starts_with(name, "device."))
        return set_device(reading, name + strlen("device."), value, err);
    enum visible_how how = is_set ? set_how(name) : VISIBLE_SEEN;
    if (how == VISIBLE_IGNORED)
        return true;
    struct visible_thing *thing = visible_list_find(reading->list, option->name, name);
    thing = thing ? thing : visible_list_add(reading->list, option->name, name, "", err);
    return thing && visible_thing_set(thing, "", value, how, err);
}

static bool read_merged(struct visible_reading *reading, const struct visible_option *option,
                        const struct arg_item *item, struct error *err)
{
    autokeyval struct keyval keys = {0};
    struct visible_thing *thing = visible_list_find(reading->list, option->name, "");
    thing = thing ? thing : visible_list_add(reading->list, option->name, "", "", err);
    return thing && read_keys(item, option->text, &keys, err) &&
           visible_thing_set_keys(thing, &keys, VISIBLE_SEEN, err);
}

static bool read_device(struct visible_reading *reading, const struct visible_option *option,
                        struct keyval *keys, struct error *err)
{
    const char *driver = keyval_get(keys, "driver"), *id = keyval_get(keys, "id");
    struct visible_thing *thing = visible_list_add(
        reading->list, option->name, driver ? visible_driver(driver) : "", id ? id : "", err);
    if (!thing)
        return false;
    keyval_remove(keys, "driver");
    keyval_remove(keys, "id");
    return visible_thing_set_keys(thing, keys, VISIBLE_SEEN, err) &&
           visible_set_network(reading, keys, false, thing, err) &&
           visible_add_behind(reading, thing, keys, err);
}

/* Keys that may come several times in one option, where QEMU takes all of them: they get numbers.
 * (qemu_opt_foreach in QEMU hw/smbios/smbios.c, the list "cpus" in qapi/machine.json.) */
static bool number_keys(struct visible_thing *thing, const struct keyval *keys, const char *name,
                        struct error *err)
{
    autofree char *numbered = NULL;
    for (size_t i = 0, n = 0; i < keys->count; i++) {
        const struct keyval_pair *pair = &keys->pairs[i];
        bool counted = strcmp(pair->key, name) == 0 || strcmp(pair->key, "path") == 0;
        do {
            free(numbered);
            numbered = counted && n > 0 ? string_format("%s.%zu", pair->key, n) : strdup(pair->key);
            if (!numbered)
                return error_no_memory(err);
        } while (counted && visible_thing_get(thing, numbered) && ++n);
        if (!visible_thing_set(thing, numbered, pair->value,
                               visible_key_how(thing->option, pair->key, VISIBLE_SEEN), err))
            return false;
        /* Strings that the guest's programs read, passwords among them. */
        if (strcmp(pair->key, "value") == 0 && strcmp(thing->label, "type=11") == 0 &&
            !visible_thing_set(thing, numbered, pair->value, VISIBLE_SECRET, err))
            return false;
    }
    return true;
}

/* Types 0 to 4, 11 and 17 are one table, whatever the number of options; each of the others is
 * one. */
static bool read_smbios(struct visible_reading *reading, struct keyval *keys, struct error *err)
{
    static const char *const merged[] = {"0", "1", "2", "3", "4", "11", "17"};
    const char *type = keyval_get(keys, "type");
    autofree char *label = type ? string_format("type=%s", type) : strdup("");
    struct visible_thing *thing = NULL;
    for (size_t i = 0; label && type && i < sizeof(merged) / sizeof(*merged); i++)
        if (strcmp(merged[i], type) == 0)
            thing = visible_list_find(reading->list, "smbios", label);
    if (label && !thing)
        thing = visible_list_add(reading->list, "smbios", label, "", err);
    keyval_remove(keys, "type");
    return thing ? number_keys(thing, keys, "value", err) : label || error_no_memory(err);
}

/* What tells an option's things apart: of -fw_cfg the name, of -numa what it is about. */
static const char *label_key(const char *option)
{
    static const char *const keys[][2] = {{"fw_cfg", "name"}, {"numa", "type"}, {"object", "id"}};
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
        if (strcmp(keys[i][0], option) == 0)
            return keys[i][1];
    return NULL;
}

static bool read_item(struct visible_reading *reading, const struct visible_option *option,
                      const struct arg_item *item, struct error *err)
{
    autokeyval struct keyval keys = {0};
    if (!read_keys(item, option->text, &keys, err))
        return false;
    if (strcmp(option->name, "device") == 0)
        return read_device(reading, option, &keys, err);
    if (strcmp(option->name, "smbios") == 0)
        return read_smbios(reading, &keys, err);
    /* Of objects only the memory. */
    const char *type = keyval_get(&keys, "qom-type");
    if (strcmp(option->name, "object") == 0 &&
        !(type && string_starts_with(type, "memory-backend")))
        return true;
    const char *key = label_key(option->name), *label = key ? keyval_get(&keys, key) : NULL;
    struct visible_thing *thing =
        visible_list_add(reading->list, option->name, label ? label : "", "", err);
    if (key)
        keyval_remove(&keys, key);
    if (option->kind == VISIBLE_ONLY)
        return thing && visible_thing_set_keys(thing, &keys, VISIBLE_IGNORED, err);
    return thing && number_keys(thing, &keys, "cpus", err);
}

/* Drives are put in their places when all are known. */
static bool note_drive(struct visible_reading *reading, const char *keys, const char *file,
                       struct error *err)
{
    autokeyval struct keyval drive = {0};
    if (!keyval_parse(&drive, keys, KEYVAL_OPTS, NULL, err) ||
        !keyval_set(&drive, "file", file, err))
        return false;
    return strlist_push_owned(&reading->drives, keyval_render(&drive)) || error_no_memory(err);
}

static bool read_drive(struct visible_reading *reading, const struct visible_option *option,
                       const struct arg_item *item, struct error *err)
{
    if (*option->text)
        return note_drive(reading, option->text, item->value, err);
    return strlist_push(&reading->drives, item->value) || error_no_memory(err);
}

/* -nic ..., and of -net only "nic". */
static bool read_nic(struct visible_reading *reading, const struct visible_option *option,
                     const struct arg_item *item, struct error *err)
{
    autokeyval struct keyval keys = {0};
    if (!read_keys(item, option->text, &keys, err))
        return false;
    const char *type = keyval_get(&keys, "type");
    bool is_net = strcmp(option->name, "net") == 0;
    if (!type || strcmp(type, "none") == 0 || (is_net && strcmp(type, "nic") != 0))
        return true;
    const char *mac = keyval_get(&keys, "macaddr"), *model = keyval_get(&keys, "model");
    if ((mac && !keyval_set(&keys, "mac", mac, err)) ||
        (model && !keyval_set(&keys, "model", visible_nic_model(model), err)))
        return false;
    keyval_remove(&keys, "macaddr");
    struct visible_thing *thing = visible_list_add(reading->list, "nic", "", "", err);
    return thing && visible_thing_set_keys(thing, &keys, VISIBLE_IGNORED, err) &&
           visible_set_network(reading, &keys, !is_net, thing, err) &&
           visible_add_nic_queues(reading, thing, &keys, err);
}

static bool read_port(struct visible_reading *reading, const struct visible_option *option,
                      const struct arg_item *item, struct error *err)
{
    return strcmp(item->value, "none") == 0 ||
           visible_list_add(reading->list, option->name, "", "", err) != NULL;
}

bool visible_given(const struct visible_reading *reading, const char *option)
{
    for (size_t i = 0; i < reading->arguments->count; i++) {
        const struct arg_item *item = &reading->arguments->items[i];
        if (item->option && strcmp(item->option->name, option) == 0)
            return true;
    }
    return false;
}

/* QEMU makes devices that are given in JSON after all others, and drives of if=virtio between them
 * (qemu_create_cli_devices and configure_blockdev in QEMU system/vl.c). */
static bool read_all(struct visible_reading *reading, bool late, struct error *err)
{
    static reader *const readers[] = {
        [VISIBLE_HOST] = read_nothing, [VISIBLE_MACHINE] = read_machine_option,
        [VISIBLE_SUGAR] = read_sugar,  [VISIBLE_FLAG] = read_flag,
        [VISIBLE_LAST] = read_last,    [VISIBLE_TEXTS] = read_text,
        [VISIBLE_NAMED] = read_named,  [VISIBLE_MERGED] = read_merged,
        [VISIBLE_ITEMS] = read_item,   [VISIBLE_ONLY] = read_item,
        [VISIBLE_DRIVE] = read_drive,  [VISIBLE_NIC] = read_nic,
        [VISIBLE_PORT] = read_port,    [VISIBLE_POLICY] = read_text,
    };
    for (size_t i = 0; i < reading->arguments->count; i++) {
        const struct arg_item *item = &reading->arguments->items[i];
        const struct visible_option *option =
            item->option ? visible_option_find(item->option->name) : NULL;
        bool json = option && strcmp(option->name, "device") == 0 && keyval_is_json(item->value);
        if (json != late)
            continue;
        if (!item->option && !note_drive(reading, "index=0,media=disk", item->text, err))
            return false;
        if (option && !readers[option->kind](reading, option, item, err))
            return false;
    }
    return true;
}

static bool read_line(struct visible_reading *reading, struct error *err)
{
    if (!invocation_read(reading->arguments, &reading->invocation, err))
        return false;
    if (reading->invocation.is_query)
        return error_set(err, STATUS_USAGE, "this QEMU would only print something");
    reading->nodefaults = visible_given(reading, "nodefaults");
    reading->board = visible_machine_find(reading->invocation.machine_type);
    return read_all(reading, false, err) && visible_add_machine(reading, err) &&
           visible_add_drives(reading, err) && read_all(reading, true, err) &&
           visible_add_defaults(reading, err) && visible_end_networks(reading, err) &&
           visible_tidy_places(reading, err);
}

bool visible_list_read(const struct arglist *arguments, struct visible_list *out, struct error *err)
{
    autovisiblelist struct visible_list list = {.version = VISIBLE_TABLE_VERSION};
    struct visible_reading reading = {.arguments = arguments, .list = &list};
    bool good = read_line(&reading, err) && visible_escape_names(&list, err);
    keyval_free(&reading.machine);
    invocation_free(&reading.invocation);
    strlist_free(&reading.drives);
    if (!good)
        return false;
    *out = list;
    list = (struct visible_list){0};
    return true;
}
