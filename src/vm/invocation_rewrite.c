/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/invocation.h"

#include <string.h>

#include "base/cleanup.h"

/* A -machine value without type and accel, the rest as it was written. NULL with err set. */
static char *strip_machine(const struct arg_item *item, struct error *err)
{
    autokeyval struct keyval keyval = {0};
    autostrbuf struct strbuf rest = {0};
    if (!keyval_parse(&keyval, item->value, KEYVAL_DICT, item->option->implied_key, err))
        return NULL;
    for (size_t i = 0; i < keyval.count; i++) {
        const struct keyval_pair *pair = &keyval.pairs[i];
        if (strcmp(pair->key, "type") == 0 || strcmp(pair->key, "accel") == 0)
            continue;
        strbuf_puts(&rest, rest.length > 0 ? "," : "");
        strbuf_puts(&rest, pair->raw);
    }
    char *text = strbuf_steal(&rest);
    if (!text)
        error_no_memory(err);
    return text;
}

/* The index behind the last item of an option, 0 if there is none. */
static size_t after_last(const struct arglist *list, enum qemu_option_id id)
{
    size_t after = 0;
    for (size_t cursor = 0; arglist_next(list, id, &cursor);)
        after = cursor;
    return after;
}

/* accel: to be written here too, or NULL. */
static bool rewrite_machine(struct arglist *list, const char *type, const char *accel,
                            struct error *err)
{
    autofree char *chosen = accel ? string_format("%s,accel=%s", type, accel) : strdup(type);
    if (!chosen)
        return error_no_memory(err);
    size_t last = after_last(list, QEMU_OPTION_MACHINE);
    size_t config = after_last(list, QEMU_OPTION_READCONFIG);
    /* A configuration file that comes later would win with a type of its own. */
    if (last > config) {
        last--;
    } else {
        if (!arglist_insert(list, config, "-machine", "", err))
            return false;
        last = config;
    }
    for (size_t i = list->count; i-- > 0;) {
        const struct arg_item *item = &list->items[i];
        if (!item->option || item->option->id != QEMU_OPTION_MACHINE)
            continue;
        autofree char *rest = strip_machine(item, err);
        if (!rest)
            return false;
        if (i != last) {
            if (!*rest)
                arglist_remove_at(list, i);
            else if (!arglist_set_value(list, i, rest, err))
                return false;
            continue;
        }
        autofree char *whole = string_format("%s%s%s", chosen, *rest ? "," : "", rest);
        if (!whole)
            return error_no_memory(err);
        if (!arglist_set_value(list, i, whole, err))
            return false;
    }
    return true;
}

/* Keep of the -accel options the first for accel. */
static bool keep_accel(struct arglist *list, const char *accel, struct error *err)
{
    bool found = false;
    const struct arg_item *item;
    for (size_t cursor = 0; (item = arglist_next(list, QEMU_OPTION_ACCEL, &cursor));) {
        autokeyval struct keyval keyval = {0};
        if (!keyval_parse(&keyval, item->value, KEYVAL_OPTS, item->option->implied_key, err))
            return false;
        const char *name = keyval_get(&keyval, "accel");
        if (!found && name && strcmp(name, accel) == 0)
            found = true;
        else
            arglist_remove_at(list, --cursor);
    }
    return found ? true
                 : error_set(err, STATUS_INTERNAL, "no -accel of the command line is '%s'", accel);
}

static bool rewrite_cpu(struct arglist *list, const char *cpu, struct error *err)
{
    size_t place = after_last(list, QEMU_OPTION_CPU);
    size_t removed = arglist_remove(list, QEMU_OPTION_CPU);
    return arglist_insert(list, place - removed, "-cpu", cpu, err);
}

bool invocation_rewrite(const struct arglist *list, const char *cpu, const char *machine_type,
                        const char *accel, struct arglist *out, struct error *err)
{
    autoarglist struct arglist made = {0};
    if (!*cpu || !name_is_machine(machine_type) || !name_is_feature(accel))
        return error_set(err, STATUS_INTERNAL, "cannot write '%s', '%s', '%s' for QEMU", cpu,
                         machine_type, accel);
    if (!arglist_copy(list, &made, err))
        return false;
    bool by_option = arglist_count(&made, QEMU_OPTION_ACCEL) > 0;
    if (by_option && !keep_accel(&made, accel, err))
        return false;
    arglist_remove(&made, QEMU_OPTION_ENABLE_KVM);
    /* -machine accel= and not -accel: a wrapper such as Debian's kvm adds -enable-kvm. */
    if (!rewrite_cpu(&made, cpu, err) ||
        !rewrite_machine(&made, machine_type, by_option ? NULL : accel, err))
        return false;
    *out = made;
    made = (struct arglist){0};
    return true;
}
