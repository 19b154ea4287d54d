/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/peer_arguments.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "vm/keyval.h"

#define NUMBER_MAX ((uint64_t)1 << 40)
#define TOPOLOGY_MAX 288 /* vCPUs: each costs the proof milliseconds, and megabytes under TCG */
#define OPTIONS_MAX 64

enum where { IN_MACHINE, IN_SMP, IN_ACCEL };

/* Every option that an agent takes from a peer, with its values: words, or "#" for a number. A '*'
 * in a name stands for a number. Sources: QEMU 10.0 hw/core/machine-smp.c and qapi/machine.json
 * (SMPConfiguration, SmpCacheProperties), accel/kvm/kvm-all.c kvm_accel_class_init and
 * target/i386/kvm/kvm.c kvm_arch_accel_class_init, accel/tcg/tcg-all.c tcg_accel_class_init. */
static const struct option {
    enum where where;
    const char *name;
    const char *values; /* separated by spaces */
} options[] = {
    {IN_MACHINE, "kernel-irqchip", "on off split"},
    {IN_MACHINE, "smp-cache.*.cache", "l1d l1i l2 l3"},
    {IN_MACHINE, "smp-cache.*.topology",
     "default thread core module cluster die socket book drawer"},
    {IN_MACHINE, "bus-lock-ratelimit", "#"},
    {IN_MACHINE, "kvm-shadow-mem", "#"},
    {IN_SMP, "cpus", "#"},
    {IN_SMP, "maxcpus", "#"},
    {IN_SMP, "drawers", "#"},
    {IN_SMP, "books", "#"},
    {IN_SMP, "sockets", "#"},
    {IN_SMP, "dies", "#"},
    {IN_SMP, "clusters", "#"},
    {IN_SMP, "modules", "#"},
    {IN_SMP, "cores", "#"},
    {IN_SMP, "threads", "#"},
    {IN_ACCEL, "kernel-irqchip", "on off split"},
    {IN_ACCEL, "kvm-shadow-mem", "#"},
    {IN_ACCEL, "dirty-ring-size", "#"},
    {IN_ACCEL, "eager-split-size", "#"},
    {IN_ACCEL, "notify-vmexit", "run internal-error disable"},
    {IN_ACCEL, "notify-window", "#"},
    {IN_ACCEL, "honor-guest-pat", "on off auto"},
    {IN_ACCEL, "thread", "single multi"},
    {IN_ACCEL, "tb-size", "#"},
    {IN_ACCEL, "split-wx", "on off"},
    {IN_ACCEL, "one-insn-per-tb", "on off"},
};

static const char *const members[] = {
    [IN_MACHINE] = "machine", [IN_SMP] = "smp", [IN_ACCEL] = "accel"};

/* "NAME,key=value…" or "key=value…" as an object; the name is left out. */
static json_t *to_json(const char *text, enum keyval_syntax syntax, bool has_name)
{
    autokeyval struct keyval words = {0};
    autojson json_t *object = json_object();
    if (text && !keyval_parse(&words, text, syntax, has_name ? "" : NULL, NULL))
        return NULL;
    for (size_t i = has_name && text ? 1 : 0; i < words.count; i++)
        if (json_object_set_new(object, words.pairs[i].key, json_string(words.pairs[i].value)) != 0)
            return NULL;
    return STEAL(object);
}

json_t *peer_arguments_make(const struct proof_arguments *arguments)
{
    return json_pack("{s:o, s:o, s:o}", members[IN_MACHINE],
                     to_json(arguments->machine, KEYVAL_DICT, true), members[IN_SMP],
                     to_json(arguments->smp, KEYVAL_DICT, false), members[IN_ACCEL],
                     to_json(arguments->accel, KEYVAL_OPTS, true));
}

/* Whether key is the option's name; a number in it is filled in. */
static bool is_named(const char *key, const char *name, uint64_t *number)
{
    const char *star = strchr(name, '*');
    if (!star)
        return strcmp(key, name) == 0;
    size_t length = (size_t)(star - name);
    if (strncmp(key, name, length) != 0)
        return false;
    size_t digits = strspn(key + length, "0123456789");
    autofree char *text = strndup(key + length, digits);
    return text && digits > 0 && strcmp(key + length + digits, star + 1) == 0 &&
           parse_number(text, 0, OPTIONS_MAX, number);
}

/* The value from our own table, or the number written anew; NULL if it is none of them. */
static char *own_value(const struct option *option, const char *value)
{
    uint64_t number;
    if (strcmp(option->values, "#") == 0)
        return parse_number(value, 0, option->where == IN_SMP ? TOPOLOGY_MAX : NUMBER_MAX, &number)
                   ? string_format("%llu", (unsigned long long)number)
                   : NULL;
    for (const char *word = option->values; *word;) {
        size_t length = strcspn(word, " ");
        if (strlen(value) == length && strncmp(word, value, length) == 0)
            return strndup(word, length);
        word += length + (word[length] == ' ');
    }
    return NULL;
}

static char *own_name(const struct option *option, uint64_t number)
{
    const char *star = strchr(option->name, '*');
    return star ? string_format("%.*s%llu%s", (int)(star - option->name), option->name,
                                (unsigned long long)number, star + 1)
                : strdup(option->name);
}

static bool take_one(enum where where, const char *key, const char *value, struct keyval *taken,
                     struct error *err)
{
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        uint64_t number = 0;
        if (options[i].where != where || !is_named(key, options[i].name, &number))
            continue;
        autofree char *mine = own_value(&options[i], value);
        autofree char *name = own_name(&options[i], number);
        if (!name)
            return error_no_memory(err);
        return mine ? keyval_set(taken, name, mine, err)
                    : error_set(err, STATUS_INCOMPATIBLE,
                                "a guest with -%s %s=%.40s cannot be proven here: only %s",
                                members[where], options[i].name, value,
                                *options[i].values != '#' ? options[i].values
                                : where == IN_SMP         ? "numbers up to 288 are taken"
                                                          : "numbers are known");
    }
    return error_set(err, STATUS_INCOMPATIBLE,
                     "a guest with -%s %.60s cannot be proven here: it is not an option that is "
                     "taken from a peer",
                     members[where], key);
}

/* name and the options behind it, as proof_arguments has them; name may be NULL. */
static bool take_all(json_t *object, enum where where, const char *name, char **text,
                     struct error *err)
{
    autokeyval struct keyval taken = {0};
    const char *key;
    json_t *value;
    if (!json_is_object(object) || json_object_size(object) > OPTIONS_MAX)
        return error_set(err, STATUS_DATA, "the proof's arguments are not valid");
    json_object_foreach(object, key, value)
    {
        if (!json_is_string(value))
            return error_set(err, STATUS_DATA, "the proof's arguments are not valid");
        if (!take_one(where, key, json_string_value(value), &taken, err))
            return false;
    }
    if (!name && taken.count == 0)
        return true;
    autofree char *rendered = keyval_render(&taken);
    *text = rendered
                ? string_format("%s%s%s", name ? name : "", name && *rendered ? "," : "", rendered)
                : NULL;
    return *text || error_no_memory(err);
}

bool peer_arguments_take(json_t *json, const char *machine, const char *accel, bool cpu_pm,
                         struct proof_arguments *out, struct error *err)
{
    autoproofarguments struct proof_arguments taken = {.cpu_pm = cpu_pm};
    json_t *of_machine, *of_smp, *of_accel;
    if (!json_take(json, err, "the proof's arguments", "{s:o, s:o, s:o}", members[IN_MACHINE],
                   &of_machine, members[IN_SMP], &of_smp, members[IN_ACCEL], &of_accel) ||
        !take_all(of_machine, IN_MACHINE, machine, &taken.machine, err) ||
        !take_all(of_smp, IN_SMP, NULL, &taken.smp, err) ||
        !take_all(of_accel, IN_ACCEL, accel, &taken.accel, err))
        return false;
    *out = taken;
    taken = (struct proof_arguments){0};
    return true;
}
