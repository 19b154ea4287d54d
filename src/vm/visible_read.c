/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A command line as the things that a guest sees of it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vm/invocation.h"
#include "vm/visible_private.h"

/* What is gathered while the options are gone through. */
struct reading {
    const struct arglist *arguments;
    struct visible_list *list;
    struct keyval machine; /* of options that are other words for -machine's */
    bool nodefaults;
};

typedef bool reader(struct reading *reading, const struct visible_option *option,
                    const struct arg_item *item, struct error *err);

static bool set_keys(struct visible_thing *thing, const struct keyval *keys,
                     enum visible_how otherwise, struct error *err)
{
    for (size_t i = 0; i < keys->count; i++) {
        const struct keyval_pair *pair = &keys->pairs[i];
        enum visible_how how = visible_key_how(thing->option, pair->key, otherwise);
        if (!visible_thing_set(thing, pair->key, pair->value, how, err))
            return false;
    }
    return true;
}

static bool set_defaults(struct visible_thing *thing, struct error *err)
{
    const struct visible_default *entry;
    for (size_t cursor = 0; (entry = visible_default_next(thing->option, &cursor));) {
        bool there = false;
        for (size_t i = 0; i < thing->count; i++)
            there = there || strcmp(thing->properties[i].key, entry->key) == 0;
        enum visible_how how = visible_key_how(thing->option, entry->key, VISIBLE_SEEN);
        if (!there && !visible_thing_set(thing, entry->key, entry->value, how, err))
            return false;
    }
    return true;
}

static bool add_text(struct reading *reading, const char *option, const char *label,
                     const char *value, struct error *err)
{
    struct visible_thing *thing = visible_list_add(reading->list, option, label, err);
    return thing && visible_thing_set(thing, "", value, VISIBLE_SEEN, err);
}

static bool read_keys(const struct arg_item *item, const char *implied, struct keyval *keys,
                      struct error *err)
{
    return visible_keys(item->value, implied, keys, err) ||
           error_wrap(err, "QEMU's option %s %s", item->text, item->value);
}

static bool read_nothing(struct reading *reading, const struct visible_option *option,
                         const struct arg_item *item, struct error *err)
{
    return true;
}

/* KEY=VALUE, or KEY=% with the option's value in it. */
static bool read_sugar(struct reading *reading, const struct visible_option *option,
                       const struct arg_item *item, struct error *err)
{
    const char *equals = strchr(option->text, '=');
    autofree char *key = strndup(option->text, (size_t)(equals - option->text));
    const char *value = equals[1] == '%' ? item->value : equals + 1;
    return key ? keyval_set(&reading->machine, key, value, err) : error_no_memory(err);
}

/* -boot is the only one of them that invocation.h leaves to us. */
static bool read_machine_option(struct reading *reading, const struct visible_option *option,
                                const struct arg_item *item, struct error *err)
{
    autokeyval struct keyval keys = {0};
    if (strcmp(option->name, "boot") != 0)
        return true;
    return keyval_parse(&keys, item->value, KEYVAL_DICT, item->option->implied_key, err) &&
           keyval_merge(&reading->machine, &keys, "boot.", err);
}

static bool read_flag(struct reading *reading, const struct visible_option *option,
                      const struct arg_item *item, struct error *err)
{
    for (size_t i = 0; i < reading->list->count; i++)
        if (reading->list->things[i].option == option->name)
            return true;
    return visible_list_add(reading->list, option->name, "", err) != NULL;
}

static bool read_last(struct reading *reading, const struct visible_option *option,
                      const struct arg_item *item, struct error *err)
{
    for (size_t i = 0; i < reading->list->count; i++)
        if (reading->list->things[i].option == option->name)
            return visible_thing_set(&reading->list->things[i], "", item->value, VISIBLE_SEEN, err);
    return add_text(reading, option->name, "", item->value, err);
}

static bool read_text(struct reading *reading, const struct visible_option *option,
                      const struct arg_item *item, struct error *err)
{
    return add_text(reading, option->name, "", item->value ? item->value : "on", err);
}

/* GROUP.ID.KEY=VALUE: what it is set in decides. */
static enum visible_how set_how(const char *name)
{
    static const char *const seen[] = {"device.", "machine.",   "global.", "numa.",  "smbios.",
                                       "rtc.",    "boot-opts.", "memory.", "fw_cfg."};
    const char *key = strrchr(name, '.');
    if (string_starts_with(name, seen[0]) && key)
        return visible_key_how("device", key + 1, VISIBLE_SEEN);
    for (size_t i = 1; i < sizeof(seen) / sizeof(*seen); i++)
        if (string_starts_with(name, seen[i]))
            return VISIBLE_SEEN;
    return VISIBLE_IGNORED;
}

static bool read_named(struct reading *reading, const struct visible_option *option,
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
    enum visible_how how = is_set ? set_how(name) : VISIBLE_SEEN;
    if (how == VISIBLE_IGNORED)
        return true;
    struct visible_thing *thing = visible_list_add(reading->list, option->name, name, err);
    return thing && visible_thing_set(thing, "", is_long ? value : equals + 1, how, err);
}

static bool read_merged(struct reading *reading, const struct visible_option *option,
                        const struct arg_item *item, struct error *err)
{
    autokeyval struct keyval keys = {0};
    struct visible_thing *thing = NULL;
    for (size_t i = 0; i < reading->list->count && !thing; i++)
        if (reading->list->things[i].option == option->name)
            thing = &reading->list->things[i];
    thing = thing ? thing : visible_list_add(reading->list, option->name, "", err);
    return thing && read_keys(item, option->text, &keys, err) &&
           set_keys(thing, &keys, VISIBLE_SEEN, err);
}

static bool read_device(struct reading *reading, const struct visible_option *option,
                        struct keyval *keys, struct error *err)
{
    const char *driver = keyval_get(keys, "driver"), *id = keyval_get(keys, "id");
    driver = driver ? visible_driver(driver) : "";
    autofree char *label = string_format("%s%s%s", driver, id ? ",id=" : "", id ? id : "");
    struct visible_thing *thing =
        label ? visible_list_add(reading->list, option->name, label, err) : NULL;
    if (!thing)
        return label ? false : error_no_memory(err);
    keyval_remove(keys, "driver");
    keyval_remove(keys, "id");
    return set_keys(thing, keys, VISIBLE_SEEN, err);
}

static bool read_item(struct reading *reading, const struct visible_option *option,
                      const struct arg_item *item, struct error *err)
{
    autokeyval struct keyval keys = {0};
    if (!read_keys(item, option->text, &keys, err))
        return false;
    if (strcmp(option->name, "device") == 0)
        return read_device(reading, option, &keys, err);
    /* Of objects only the memory. */
    const char *type = keyval_get(&keys, "qom-type"), *id = keyval_get(&keys, "id");
    bool is_object = strcmp(option->name, "object") == 0;
    if (is_object && !(type && string_starts_with(type, "memory-backend")))
        return true;
    struct visible_thing *thing =
        visible_list_add(reading->list, option->name, is_object && id ? id : "", err);
    return thing && set_keys(thing, &keys,
                             option->kind == VISIBLE_ONLY ? VISIBLE_IGNORED : VISIBLE_SEEN, err);
}

static bool add_drive(struct reading *reading, const char *text, struct error *err)
{
    autokeyval struct keyval keys = {0};
    if (!keyval_parse(&keys, text, KEYVAL_OPTS, NULL, err))
        return error_wrap(err, "QEMU's option -drive %s", text);
    const char *interface = keyval_get(&keys, "if");
    if (interface && strcmp(interface, "none") == 0)
        return true;
    autofree char *label = string_format("if=%s", interface ? interface : "default");
    struct visible_thing *thing =
        label ? visible_list_add(reading->list, "drive", label, err) : NULL;
    keyval_remove(&keys, "if");
    return thing ? set_keys(thing, &keys, VISIBLE_IGNORED, err) : label || error_no_memory(err);
}

static bool read_drive(struct reading *reading, const struct visible_option *option,
                       const struct arg_item *item, struct error *err)
{
    return add_drive(reading, *option->text ? option->text : item->value, err);
}

/* -nic ..., and of -net only "nic". */
static bool read_nic(struct reading *reading, const struct visible_option *option,
                     const struct arg_item *item, struct error *err)
{
    autokeyval struct keyval keys = {0};
    if (!read_keys(item, option->text, &keys, err))
        return false;
    const char *type = keyval_get(&keys, "type");
    bool is_net = strcmp(option->name, "net") == 0;
    if (!type || strcmp(type, "none") == 0 || (is_net && strcmp(type, "nic") != 0))
        return true;
    const char *mac = keyval_get(&keys, "macaddr");
    if (mac && !keyval_set(&keys, "mac", mac, err))
        return false;
    keyval_remove(&keys, "macaddr");
    struct visible_thing *thing = visible_list_add(reading->list, "nic", "", err);
    return thing && set_keys(thing, &keys, VISIBLE_IGNORED, err);
}

static bool read_port(struct reading *reading, const struct visible_option *option,
                      const struct arg_item *item, struct error *err)
{
    return strcmp(item->value, "none") == 0 ||
           visible_list_add(reading->list, option->name, "", err) != NULL;
}

static bool given(const struct reading *reading, const char *option)
{
    for (size_t i = 0; i < reading->arguments->count; i++) {
        const struct arg_item *item = &reading->arguments->items[i];
        if (item->option && strcmp(item->option->name, option) == 0)
            return true;
    }
    return false;
}

/* default_list in QEMU's vl.c: with one of these there is no other. */
static bool has_vga_device(const struct visible_list *list)
{
    static const char *const drivers[] = {
        "isa-vga",     "cirrus-vga", "isa-cirrus-vga", "vga",           "ati-vga",       "VGA",
        "vmware-svga", "qxl-vga",    "virtio-vga",     "virtio-vga-gl", "vhost-user-vga"};
    for (size_t i = 0; i < list->count; i++)
        for (size_t j = 0; j < sizeof(drivers) / sizeof(*drivers); j++) {
            const char *label = list->things[i].label;
            size_t length = strlen(drivers[j]);
            if (strcmp(list->things[i].option, "device") == 0 &&
                strncmp(label, drivers[j], length) == 0 && (!label[length] || label[length] == ','))
                return true;
        }
    return false;
}

/* What is there although nobody says so. */
static bool add_defaults(struct reading *reading, struct error *err)
{
    bool no = reading->nodefaults;
    bool network = given(reading, "nic") || given(reading, "net") || given(reading, "netdev");
    if (!given(reading, "vga") &&
        !add_text(reading, "vga", "", no || has_vga_device(reading->list) ? "none" : "std", err))
        return false;
    if (!given(reading, "rtc") && !visible_list_add(reading->list, "rtc", "", err))
        return false;
    return no ||
           ((given(reading, "serial") || visible_list_add(reading->list, "serial", "", err)) &&
            (given(reading, "parallel") || visible_list_add(reading->list, "parallel", "", err)) &&
            (network || visible_list_add(reading->list, "nic", "", err)));
}

/* maxcpus counts when it is more than cpus. */
static bool add_smp(struct reading *reading, const struct keyval *smp, struct error *err)
{
    struct visible_thing *thing = visible_list_add(reading->list, "smp", "", err);
    const char *cpus = keyval_get(smp, "cpus");
    for (size_t i = 0; thing && i < smp->count; i++) {
        const struct keyval_pair *pair = &smp->pairs[i];
        bool same = strcmp(pair->key, "maxcpus") == 0 && cpus && strcmp(pair->value, cpus) == 0;
        if (!same && !visible_thing_set(thing, pair->key, pair->value, VISIBLE_SEEN, err))
            return false;
    }
    return thing && set_defaults(thing, err);
}

static bool add_machine(struct reading *reading, struct error *err)
{
    autoinvocation struct invocation invocation = {0};
    if (!invocation_read(reading->arguments, &invocation, err))
        return false;
    if (invocation.is_query)
        return error_set(err, STATUS_USAGE, "this QEMU would only print something");
    struct visible_thing *thing = visible_list_add(reading->list, "machine", "", err);
    if (!thing || !set_keys(thing, &invocation.machine_options, VISIBLE_SEEN, err) ||
        !set_keys(thing, &reading->machine, VISIBLE_SEEN, err) ||
        (invocation.kernel_irqchip &&
         !visible_thing_set(thing, "kernel-irqchip", invocation.kernel_irqchip, VISIBLE_SEEN, err)))
        return false;
    thing = visible_list_add(reading->list, "m", "", err);
    if (!thing || !set_keys(thing, &invocation.memory, VISIBLE_SEEN, err))
        return false;
    return add_smp(reading, &invocation.smp, err);
}

bool visible_list_read(const struct arglist *arguments, struct visible_list *out, struct error *err)
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
    autovisiblelist struct visible_list list = {0};
    autokeyval struct keyval machine = {0};
    struct reading reading = {.arguments = arguments, .list = &list};
    bool good = true;
    for (size_t i = 0; i < arguments->count && good; i++) {
        const struct arg_item *item = &arguments->items[i];
        const struct visible_option *option =
            item->option ? visible_option_find(item->option->name) : NULL;
        if (!item->option)
            good = add_drive(&reading, "index=0,media=disk", err);
        else if (option)
            good = readers[option->kind](&reading, option, item, err);
    }
    reading.nodefaults = given(&reading, "nodefaults");
    good = good && add_machine(&reading, err) && add_defaults(&reading, err);
    for (size_t i = 0; i < list.count && good; i++)
        good = set_defaults(&list.things[i], err);
    machine = reading.machine; /* to be freed */
    if (!good)
        return false;
    *out = list;
    list = (struct visible_list){0};
    return true;
}
