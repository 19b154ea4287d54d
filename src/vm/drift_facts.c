/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/drift_facts.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/paths.h"

#define FACTS_VERSION 1
#define FACTS_SIZE_MAX ((size_t)64 << 10)

#define BECAME "->"

json_t *drift_facts(json_t *payload, struct error *err)
{
    json_t *cpu = json_object_get(payload, "cpu");
    json_t *facts = json_pack(
        "{s:i, s:O*, s:O*, s:O*, s:O*, s:O*}", "version", FACTS_VERSION, "kernel",
        json_object_get(payload, "kernel"), "processor", json_object_get(payload, "processor"),
        "qemu", json_object_get(payload, "qemu"), "denied", json_object_get(cpu, "denied"),
        "required", json_object_get(cpu, "required"));
    if (!facts) {
        error_no_memory(err);
        return NULL;
    }
    /* What changes with each boot, and is long. */
    json_t *processor = json_object_get(facts, "processor");
    if (json_is_object(processor)) {
        json_t *shorter = json_copy(processor);
        if (shorter)
            json_object_del(shorter, "cpuid");
        if (!shorter || json_object_set_new(facts, "processor", shorter) != 0) {
            json_decref(facts);
            error_no_memory(err);
            return NULL;
        }
    }
    return facts;
}

void drift_changes_free(struct drift_changes *changes)
{
    for (size_t i = 0; i < changes->count; i++)
        free(changes->items[i].text);
    free(changes->items);
    *changes = (struct drift_changes){0};
}

/* text is used up. */
static bool add(struct drift_changes *changes, enum loss_cause cause, char *text, struct error *err)
{
    struct drift_change *items =
        text ? reallocarray(changes->items, changes->count + 1, sizeof(*items)) : NULL;
    if (!items) {
        free(text);
        return error_no_memory(err);
    }
    changes->items = items;
    items[changes->count++] = (struct drift_change){.cause = cause, .text = text};
    return true;
}

static const char *text_at(const json_t *json, const char *part, const char *member)
{
    const char *text = json_string_value(json_object_get(json_object_get(json, part), member));
    return text && *text ? text : "?";
}

static bool compare_text(const json_t *then, const json_t *now, const char *part,
                         const char *member, const char *what, enum loss_cause cause,
                         struct drift_changes *changes, struct error *err)
{
    const char *before = text_at(then, part, member), *after = text_at(now, part, member);
    return strcmp(before, after) == 0 ||
           add(changes, cause, string_format("%s %s " BECAME " %s", what, before, after), err);
}

static bool compare_parameters(const char *module, json_t *then, json_t *now,
                               struct drift_changes *changes, struct error *err)
{
    const char *name;
    json_t *value;
    json_object_foreach(now, name, value)
    {
        const char *after = json_string_value(value);
        const char *before = json_string_value(json_object_get(then, name));
        if (after && before && strcmp(before, after) != 0 &&
            !add(changes, LOSS_KVM,
                 string_format("%s: %s %s " BECAME " %s", module, name, before, after), err))
            return false;
    }
    return true;
}

static bool compare_modules(const json_t *then, const json_t *now, struct drift_changes *changes,
                            struct error *err)
{
    json_t *before = json_object_get(json_object_get(then, "kernel"), "modules");
    json_t *after = json_object_get(json_object_get(now, "kernel"), "modules");
    const char *name;
    json_t *module;
    json_object_foreach(before, name, module)
    {
        json_t *same = json_object_get(after, name);
        if (!same && !add(changes, LOSS_KVM, string_format("%s is not loaded any more", name), err))
            return false;
        if (same && !compare_parameters(name, json_object_get(module, "parameters"),
                                        json_object_get(same, "parameters"), changes, err))
            return false;
    }
    json_object_foreach(after, name,
                        module) if (!json_object_get(before, name) &&
                                    !add(changes, LOSS_KVM, string_format("%s is loaded now", name),
                                         err)) return false;
    return true;
}

static bool list_has(const json_t *list, const char *name)
{
    size_t i;
    json_t *entry;
    json_array_foreach(list, i, entry) if (json_is_string(entry) &&
                                           strcmp(json_string_value(entry), name) == 0) return true;
    return false;
}

static bool compare_policy(const json_t *then, const json_t *now, struct drift_changes *changes,
                           struct error *err)
{
    static const char *const lists[][2] = {{"denied", "denies"}, {"required", "requires"}};
    for (size_t k = 0; k < 2; k++) {
        size_t i;
        json_t *entry;
        json_array_foreach(json_object_get(now, lists[k][0]), i, entry)
        {
            const char *name = json_string_value(entry);
            if (name && !list_has(json_object_get(then, lists[k][0]), name) &&
                !add(changes, LOSS_POLICY, string_format("[policy] %s %s now", lists[k][1], name),
                     err))
                return false;
        }
    }
    return true;
}

bool drift_facts_compare(const json_t *then, const json_t *now, struct drift_changes *changes,
                         struct error *err)
{
    if (!then)
        return true;
    if (!compare_text(then, now, "processor", "brand", "processor", LOSS_CPU, changes, err) ||
        !compare_text(then, now, "kernel", "release", "kernel", LOSS_KVM, changes, err) ||
        !compare_text(then, now, "kernel", "microcode", "microcode", LOSS_KVM, changes, err) ||
        !compare_modules(then, now, changes, err) ||
        !compare_text(then, now, "qemu", "version", "QEMU", LOSS_QEMU, changes, err) ||
        !compare_policy(then, now, changes, err))
        return false;
    /* The same version, and another build of it. */
    return strcmp(text_at(then, "qemu", "version"), text_at(now, "qemu", "version")) != 0 ||
           compare_text(then, now, "qemu", "package", "QEMU's package", LOSS_QEMU, changes, err);
}

/* A kernel or microcode can hide what the CPU has, too. */
static bool fits(enum loss_cause change, enum loss_cause cause)
{
    return change == cause || (change == LOSS_KVM && cause == LOSS_CPU);
}

static char *join(const struct drift_changes *changes, bool all, enum loss_cause cause)
{
    autostrlist struct strlist texts = {0};
    for (size_t i = 0; i < changes->count; i++)
        if ((all || fits(changes->items[i].cause, cause)) &&
            !strlist_push(&texts, changes->items[i].text))
            return NULL;
    return texts.count > 0 ? strlist_join(&texts, ", ") : NULL;
}

char *drift_changes_for(const struct drift_changes *changes, enum loss_cause cause)
{
    return join(changes, false, cause);
}

char *drift_changes_text(const struct drift_changes *changes)
{
    return join(changes, true, LOSS_CPU);
}

static char *facts_path(const char *state_folder, const char *vm)
{
    return string_format("%s/agreements/%s.facts", state_folder, vm);
}

bool drift_facts_load(const char *state_folder, const char *vm, json_t **facts, struct error *err)
{
    autofree char *path = facts_path(state_folder, vm);
    autofree char *text = NULL;
    size_t length;
    if (!path)
        return error_no_memory(err);
    if (!file_read_trusted(path, FACTS_SIZE_MAX, true, &text, &length, err))
        return false;
    if (!text)
        return true;
    autojson json_t *json = json_parse_strict(text, length, FACTS_SIZE_MAX, err);
    if (!json)
        return error_wrap(err, "%s", path);
    /* Of another version: as if there were none. */
    if (json_integer_value(json_object_get(json, "version")) == FACTS_VERSION)
        *facts = json_incref(json);
    return true;
}

bool drift_facts_store(const char *state_folder, const char *vm, const json_t *facts,
                       struct error *err)
{
    autofree char *folder = path_join(state_folder, "agreements", "");
    autofree char *path = facts_path(state_folder, vm);
    autofree char *text = json_to_text(facts);
    if (!folder || !path || !text)
        return error_no_memory(err);
    return folder_make(folder, 0700, err) && file_write_atomic(path, text, strlen(text), 0600, err);
}
