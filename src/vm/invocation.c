/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/invocation.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "vm/cpu_override.h"
#include "vm/query.h"

#define INCOMING_MAX 65536 /* more than any channel's JSON */

void invocation_free(struct invocation *invocation)
{
    free(invocation->cpu);
    strlist_free(&invocation->cpu_overrides);
    free(invocation->machine_type);
    keyval_free(&invocation->machine_options);
    keyval_free(&invocation->smp);
    keyval_free(&invocation->memory);
    for (size_t i = 0; invocation->accel_options && i < invocation->accels.count; i++)
        keyval_free(&invocation->accel_options[i]);
    free(invocation->accel_options);
    strlist_free(&invocation->accels);
    free(invocation->kernel_irqchip);
    free(invocation->name);
    free(invocation->incoming);
    strlist_free(&invocation->readconfig);
    *invocation = (struct invocation){0};
}

/* *copy = a copy of text, if there is one. */
static bool copy_text(const char *text, char **copy, struct error *err)
{
    if (!text)
        return true;
    *copy = strdup(text);
    return *copy ? true : error_no_memory(err);
}

/* Parse an item's value with the implied key of its option. */
static bool parse_item(const struct arg_item *item, enum keyval_syntax syntax,
                       struct keyval *keyval, struct error *err)
{
    if (keyval_parse(keyval, item->value, syntax, item->option->implied_key, err))
        return true;
    return error_wrap(err, "QEMU's option %s %s", item->text, item->value);
}

/* All options of one kind merged, the later ones win (merge_lists in QEMU's QemuOptsList). */
static bool merge_all(const struct arglist *list, enum qemu_option_id id, struct keyval *merged,
                      struct error *err)
{
    const struct arg_item *item;
    for (size_t cursor = 0; (item = arglist_next(list, id, &cursor));) {
        autokeyval struct keyval keyval = {0};
        if (!parse_item(item, KEYVAL_OPTS, &keyval, err))
            return false;
        for (size_t i = 0; i < keyval.count; i++)
            if (!keyval_set(merged, keyval.pairs[i].key, keyval.pairs[i].value, err))
                return false;
    }
    return true;
}

/* Everything that goes into QEMU's one dictionary of machine options and matters here, in the
 * order of the command line. */
static bool read_machine_dict(const struct arglist *list, struct keyval *dict, struct error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct arg_item *item = &list->items[i];
        enum qemu_option_id id = item->option ? item->option->id : QEMU_OPTION_UNNAMED;
        autokeyval struct keyval keyval = {0};
        if (id == QEMU_OPTION_ENABLE_KVM && !keyval_set(dict, "accel", "kvm", err))
            return false;
        if (id != QEMU_OPTION_MACHINE && id != QEMU_OPTION_SMP)
            continue;
        if (!parse_item(item, KEYVAL_DICT, &keyval, err))
            return false;
        if (!keyval_merge(dict, &keyval, id == QEMU_OPTION_SMP ? "smp." : "", err))
            return error_wrap(err, "QEMU's option %s %s", item->text, item->value);
    }
    return true;
}

/* Change '_' to '-' in the first part of each key (keyval_dashify in QEMU's vl.c). */
static bool use_dashes(struct keyval *dict, struct error *err)
{
    for (size_t i = 0; i < dict->count; i++) {
        char *key = dict->pairs[i].key;
        size_t length = strcspn(key, ".");
        if (!memchr(key, '_', length))
            continue;
        autofree char *dashed = strdup(key);
        if (!dashed)
            return error_no_memory(err);
        for (size_t j = 0; j < length; j++)
            if (dashed[j] == '_')
                dashed[j] = '-';
        for (size_t j = 0; j < dict->count; j++)
            if (strncmp(dict->pairs[j].key, dashed, length) == 0 &&
                strcspn(dict->pairs[j].key, ".") == length)
                return error_set(err, STATUS_USAGE,
                                 "QEMU's -machine has both '%.*s' and '%.*s'; use one of them",
                                 (int)length, key, (int)length, dashed);
    }
    for (size_t i = 0; i < dict->count; i++)
        for (char *p = dict->pairs[i].key; *p && *p != '.'; p++)
            if (*p == '_')
                *p = '-';
    return true;
}

static bool read_machine(const struct arglist *list, struct invocation *invocation, char **accels,
                         struct error *err)
{
    autokeyval struct keyval dict = {0};
    if (!read_machine_dict(list, &dict, err) || !use_dashes(&dict, err))
        return false;
    const char *type = keyval_get(&dict, "type");
    if (type && !*type)
        return error_set(err, STATUS_USAGE, "QEMU's -machine has an empty type");
    if (!copy_text(type, &invocation->machine_type, err) ||
        !copy_text(keyval_get(&dict, "accel"), accels, err) ||
        !copy_text(keyval_get(&dict, "kernel-irqchip"), &invocation->kernel_irqchip, err))
        return false;
    invocation->machine_none = type && strcmp(type, "none") == 0;
    keyval_remove(&dict, "type");
    keyval_remove(&dict, "accel");
    for (size_t i = 0; i < dict.count; i++) {
        const struct keyval_pair *pair = &dict.pairs[i];
        bool smp = string_starts_with(pair->key, "smp.");
        if (string_starts_with(pair->key, "type.") || string_starts_with(pair->key, "accel."))
            return error_set(err, STATUS_USAGE, "QEMU's -machine has no option '%.60s'", pair->key);
        if (!(smp ? keyval_set(&invocation->smp, pair->key + strlen("smp."), pair->value, err)
                  : keyval_set(&invocation->machine_options, pair->key, pair->value, err)))
            return false;
    }
    return true;
}

static bool add_accel(struct invocation *invocation, const char *name, size_t length,
                      struct error *err)
{
    size_t count = invocation->accels.count;
    struct keyval *options = reallocarray(invocation->accel_options, count + 1, sizeof(*options));
    if (!options)
        return error_no_memory(err);
    invocation->accel_options = options;
    options[count] = (struct keyval){0};
    return strlist_push_owned(&invocation->accels, strndup(name, length)) ? true
                                                                          : error_no_memory(err);
}

/* "kvm:tcg", as configure_accelerators in QEMU's vl.c splits it. */
static bool add_accels(struct invocation *invocation, const char *names, struct error *err)
{
    for (const char *p = names; *p;) {
        size_t length = strcspn(p, ":");
        if (length > 0 && !add_accel(invocation, p, length, err))
            return false;
        p += length + (p[length] == ':');
    }
    return true;
}

static bool read_accel_options(const struct arglist *list, struct invocation *invocation,
                               struct error *err)
{
    const struct arg_item *item;
    for (size_t cursor = 0; (item = arglist_next(list, QEMU_OPTION_ACCEL, &cursor));) {
        autokeyval struct keyval keyval = {0};
        if (!parse_item(item, KEYVAL_OPTS, &keyval, err))
            return false;
        const char *name = keyval_get(&keyval, "accel"); /* else it is a query */
        if (!name || !add_accel(invocation, name, strlen(name), err))
            return name ? false : error_set(err, STATUS_USAGE, "QEMU's -accel has no name");
        keyval_remove(&keyval, "accel");
        invocation->accel_options[invocation->accels.count - 1] = keyval;
        keyval = (struct keyval){0};
    }
    return true;
}

/* -accel kvm,kernel-irqchip= is set on the accelerator after what -machine says. */
static bool read_irqchip(struct invocation *invocation, struct error *err)
{
    size_t kvm = 0;
    while (kvm < invocation->accels.count && strcmp(invocation->accels.items[kvm], "kvm") != 0)
        kvm++;
    if (kvm == invocation->accels.count)
        return true; /* QEMU sets it on an accelerator that it does not make */
    const char *own = keyval_get(&invocation->accel_options[kvm], "kernel-irqchip");
    if (own) {
        free(STEAL(invocation->kernel_irqchip));
        if (!copy_text(own, &invocation->kernel_irqchip, err))
            return false;
    }
    const char *value = invocation->kernel_irqchip;
    if (value && strcmp(value, "on") != 0 && strcmp(value, "off") != 0 &&
        strcmp(value, "split") != 0)
        return error_set(err, STATUS_USAGE, "QEMU's kernel-irqchip is on, off or split, not '%s'",
                         value);
    return true;
}

static bool read_accels(const struct arglist *list, struct invocation *invocation,
                        const char *by_machine, struct error *err)
{
    size_t length = strlen(list->program);
    bool is_kvm = length >= 3 && strcmp(list->program + length - 3, "kvm") == 0;
    if (!read_accel_options(list, invocation, err))
        return false;
    if (invocation->accels.count > 0 && by_machine)
        return error_set(err, STATUS_USAGE,
                         "QEMU's -accel does not go with -machine accel= or -enable-kvm");
    if (invocation->accels.count > 0) {
        invocation->accel_source = ACCEL_BY_OPTION;
    } else {
        invocation->accel_source = by_machine ? ACCEL_BY_MACHINE : ACCEL_BY_DEFAULT;
        if (!add_accels(invocation, by_machine ? by_machine : is_kvm ? "kvm:tcg" : "tcg:kvm", err))
            return false;
    }
    if (invocation->accels.count == 0)
        return error_set(err, STATUS_USAGE, "QEMU's -machine accel= names no accelerator");
    return read_irqchip(invocation, err);
}

/* -overcommit without cpu-pm= means off to QEMU 7.2, whatever one before it said, and leaves it as
 * it is to 10.0 (overcommit_parse). */
static bool read_overcommit(const struct arglist *list, struct invocation *invocation,
                            struct error *err)
{
    static const char *const yes[] = {"on", "yes", "true", "y"};
    static const char *const no[] = {"off", "no", "false", "n"};
    bool old = false, new = false;
    const struct arg_item *item;
    for (size_t cursor = 0; (item = arglist_next(list, QEMU_OPTION_OVERCOMMIT, &cursor));) {
        autokeyval struct keyval keyval = {0};
        if (!parse_item(item, KEYVAL_OPTS, &keyval, err))
            return false;
        const char *value = keyval_get(&keyval, "cpu-pm");
        bool on = false, off = false; /* qapi_bool_parse in QEMU qapi/qapi-util.c */
        for (size_t i = 0; value && i < sizeof(yes) / sizeof(*yes); i++) {
            on |= strcmp(value, yes[i]) == 0;
            off |= strcmp(value, no[i]) == 0;
        }
        if (value && !on && !off)
            return error_set(err, STATUS_USAGE, "QEMU's -overcommit cpu-pm is on or off, not '%s'",
                             value);
        old = on;
        new = value ? on : new;
    }
    if (old != new)
        return error_set(
            err, STATUS_USAGE,
            "several -overcommit mean cpu-pm=off to older QEMUs and cpu-pm=on to newer "
            "ones; write one");
    invocation->cpu_pm = new;
    return true;
}

static bool is_cpr_channel(const char *value)
{
    if (keyval_is_json(value)) {
        autojson json_t *channel = json_parse_qmp(value, strlen(value), INCOMING_MAX, NULL);
        const char *type = json_string_value(json_object_get(channel, "channel-type"));
        return type && strcmp(type, "cpr") == 0;
    }
    autokeyval struct keyval keyval = {0};
    if (!keyval_parse(&keyval, value, KEYVAL_DICT, "channel-type", NULL))
        return false;
    const char *type = keyval_get(&keyval, "channel-type");
    return type && strcmp(type, "cpr") == 0;
}

/* incoming_option_parse in QEMU 10.0 system/vl.c; 7.2 knows no channels. */
static bool read_incoming(const struct arglist *list, struct invocation *invocation,
                          struct error *err)
{
    const char *value = NULL;
    const struct arg_item *item;
    for (size_t cursor = 0; (item = arglist_next(list, QEMU_OPTION_INCOMING, &cursor));) {
        invocation->has_incoming = true;
        if (!is_cpr_channel(item->value))
            value = item->value;
    }
    return copy_text(value, &invocation->incoming, err);
}

static bool read_rest(const struct arglist *list, struct invocation *invocation, struct error *err)
{
    autokeyval struct keyval names = {0};
    const char *cpu = arglist_last(list, QEMU_OPTION_CPU);
    if (cpu && !*cpu)
        return error_set(err, STATUS_USAGE, "QEMU's -cpu cannot be empty");
    if (!copy_text(cpu, &invocation->cpu, err) ||
        !cpu_overrides_find(list, &invocation->cpu_overrides, err) ||
        !merge_all(list, QEMU_OPTION_M, &invocation->memory, err) ||
        !merge_all(list, QEMU_OPTION_NAME, &names, err) ||
        !copy_text(keyval_get(&names, "guest"), &invocation->name, err) ||
        !read_overcommit(list, invocation, err) || !read_incoming(list, invocation, err))
        return false;
    const struct arg_item *item;
    for (size_t cursor = 0; (item = arglist_next(list, QEMU_OPTION_READCONFIG, &cursor));)
        if (!strlist_push(&invocation->readconfig, item->value))
            return error_no_memory(err);
    invocation->cpu_count = arglist_count(list, QEMU_OPTION_CPU);
    invocation->daemonize = arglist_count(list, QEMU_OPTION_DAEMONIZE) > 0;
    invocation->paused = arglist_count(list, QEMU_OPTION_S) > 0;
    invocation->uses_loadvm = arglist_count(list, QEMU_OPTION_LOADVM) > 0;
    invocation->no_user_config = arglist_count(list, QEMU_OPTION_NO_USER_CONFIG) > 0;
    return true;
}

bool invocation_read(const struct arglist *list, struct invocation *invocation, struct error *err)
{
    autoinvocation struct invocation found = {.is_query = arglist_is_query(list)};
    autofree char *by_machine = NULL;
    for (size_t i = 0; i < list->count && !found.is_query; i++)
        if (list->items[i].option && !list->items[i].option->for_x86)
            return error_set(err, STATUS_USAGE, "QEMU's option '%s' is not for x86",
                             list->items[i].text);
    if (!found.is_query &&
        (!read_machine(list, &found, &by_machine, err) ||
         !read_accels(list, &found, by_machine, err) || !read_rest(list, &found, err)))
        return false;
    *invocation = found;
    found = (struct invocation){0};
    return true;
}
