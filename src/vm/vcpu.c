/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/vcpu.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cpu/feature_table.h"

#define COMMAND_MS 10000
#define VCPUS_MAX 4096 /* QEMU 10.0's q35 has room for as many */
#define WORDS_MAX 128  /* QEMU 10.0 has 31 */
#define TEXT_MAX 64    /* of a property; the longest that counts, model-id, has 48 */

void running_cpu_free(struct running_cpu *cpu)
{
    for (size_t i = 0; i < cpu->count; i++) {
        featureset_free(&cpu->vcpus[i].features);
        cpu_knobs_free(&cpu->vcpus[i].knobs);
    }
    free(cpu->vcpus);
    featureset_free(&cpu->known);
    free(cpu->machine);
    free(cpu->accel);
    *cpu = (struct running_cpu){0};
}

static bool ask(struct qmp *qmp, const char *command, json_t *arguments, json_t **reply,
                struct error *err)
{
    return qmp_execute(qmp, command, arguments, deadline_in_ms(COMMAND_MS), STATUS_PROTOCOL, reply,
                       err);
}

/* One property of a QOM object: a new reference. */
static bool get(struct qmp *qmp, const char *path, const char *property, json_t **value,
                struct error *err)
{
    json_t *arguments = json_pack("{s:s, s:s}", "path", path, "property", property);
    if (!arguments)
        return error_no_memory(err);
    return ask(qmp, "qom-get", arguments, value, err);
}

static bool read_machine(struct qmp *qmp, struct running_cpu *cpu, struct error *err)
{
    static const char suffix[] = "-machine"; /* TYPE_MACHINE_SUFFIX in QEMU's hw/boards.h */
    autojson json_t *type = NULL, *kvm = NULL;
    if (!get(qmp, "/machine", "type", &type, err) || !ask(qmp, "query-kvm", NULL, &kvm, err))
        return false;
    const char *name = json_string_value(type);
    size_t length = name ? strlen(name) : 0, end = strlen(suffix);
    if (length <= end || strcmp(name + length - end, suffix) != 0)
        return error_set(err, STATUS_PROTOCOL, "QEMU tells no machine type");
    if (!(cpu->machine = strndup(name, length - end)) ||
        !(cpu->accel = strdup(json_is_true(json_object_get(kvm, "enabled")) ? "kvm" : "tcg")))
        return error_no_memory(err);
    if (!name_is_machine(cpu->machine))
        return error_set(err, STATUS_PROTOCOL, "QEMU tells no machine type");
    return true;
}

/* A vCPU's properties are many and have aliases; the expansion of any model names the features. */
static bool read_known(struct qmp *qmp, struct featureset *known, struct error *err)
{
    autojson json_t *reply = NULL;
    json_t *arguments = json_pack("{s:s, s:{s:s}}", "type", "static", "model", "name", "base");
    if (!arguments)
        return error_no_memory(err);
    if (!ask(qmp, "query-cpu-model-expansion", arguments, &reply, err))
        return false;
    const char *name;
    json_t *value, *props = json_object_get(json_object_get(reply, "model"), "props");
    json_object_foreach(props, name, value)
    {
        if (json_is_boolean(value) && name_is_feature(name) &&
            knob_check(name, "", NULL) == KNOB_NONE && !featureset_add(known, name))
            return error_no_memory(err);
    }
    return featureset_count(known) > 0 ||
           error_set(err, STATUS_PROTOCOL, "QEMU names no CPU features");
}

/* The CPUID bits of a vCPU: all of them in one answer, where a question for each feature takes a
 * tenth of a second and more. */
struct words {
    struct {
        uint32_t leaf, subleaf;
        enum cpuid_register reg;
        uint32_t bits;
    } items[WORDS_MAX];
    size_t count;
};

static bool parse_word(json_t *entry, struct words *words)
{
    static const char *const names[] = {
        [REGISTER_EAX] = "EAX",
        [REGISTER_EBX] = "EBX",
        [REGISTER_ECX] = "ECX",
        [REGISTER_EDX] = "EDX",
    };
    json_int_t leaf, subleaf = 0, bits;
    const char *name;
    size_t reg = 0;
    if (json_unpack(entry, "{s:I, s?I, s:s, s:I}", "cpuid-input-eax", &leaf, "cpuid-input-ecx",
                    &subleaf, "cpuid-register", &name, "features", &bits) != 0)
        return false;
    while (reg < sizeof(names) / sizeof(names[0]) && strcmp(names[reg], name) != 0)
        reg++;
    if (leaf < 0 || leaf > UINT32_MAX || subleaf < 0 || subleaf > UINT32_MAX || bits < 0 ||
        bits > UINT32_MAX || words->count == WORDS_MAX)
        return false;
    if (reg == sizeof(names) / sizeof(names[0]))
        return true; /* ESI and the like hold no features */
    words->items[words->count].leaf = (uint32_t)leaf;
    words->items[words->count].subleaf = (uint32_t)subleaf;
    words->items[words->count].reg = (enum cpuid_register)reg;
    words->items[words->count++].bits = (uint32_t)bits;
    return true;
}

static bool read_words(struct qmp *qmp, const char *path, struct words *words, struct error *err)
{
    autojson json_t *reply = NULL;
    size_t i;
    json_t *entry;
    if (!get(qmp, path, "feature-words", &reply, err))
        return false;
    json_array_foreach(reply, i, entry)
    {
        if (!parse_word(entry, words))
            return error_set(err, STATUS_PROTOCOL, "QEMU's feature-words are not valid");
    }
    return true;
}

enum answer { OFF, ON, NOT_THERE };

static enum answer look_up(const struct words *words, const struct feature_place *place)
{
    for (size_t i = 0; place->kind == PLACE_CPUID && i < words->count; i++)
        if (words->items[i].leaf == place->leaf && words->items[i].subleaf == place->subleaf &&
            words->items[i].reg == place->reg)
            return words->items[i].bits >> place->bit & 1 ? ON : OFF;
    return NOT_THERE;
}

/* A feature of two bits is on when both are (QEMU 10.0 target/i386/cpu.c x86_cpu_get_bit_prop). */
static enum answer in_words(const struct words *words, const char *name)
{
    const struct feature *feature = feature_find(name);
    enum answer all = feature && feature->place_count > 0 ? ON : NOT_THERE;
    for (unsigned i = 0; all == ON && i < (feature ? feature->place_count : 0); i++)
        all = look_up(words, &feature->places[i]);
    return all;
}

/* Bits of MSRs: QEMU clears them when the feature that announces them is off (QEMU 10.0
 * target/i386/cpu.c feature_dependencies), so that most need no question. */
static bool is_unannounced(const struct words *words, const char *name)
{
    char need[FEATURE_NAME_SIZE];
    for (const char *needs = feature_requires(name); needs && *needs;) {
        needs = feature_next_name(needs, need);
        if (in_words(words, need) == OFF)
            return true;
    }
    return false;
}

static bool read_features(struct qmp *qmp, const char *path, const struct featureset *known,
                          struct featureset *features, struct error *err)
{
    struct words words = {.count = 0};
    struct featureset_cursor cursor = {0};
    if (!read_words(qmp, path, &words, err))
        return false;
    for (const char *name; (name = featureset_next(known, &cursor));) {
        autojson json_t *value = NULL;
        enum answer answer = in_words(&words, name);
        if (answer == NOT_THERE && !is_unannounced(&words, name)) {
            if (!get(qmp, path, name, &value, err))
                return false;
            if (!json_is_boolean(value))
                return error_set(err, STATUS_PROTOCOL, "QEMU's CPU: %s is not on or off", name);
            answer = json_is_true(value) ? ON : OFF;
        }
        if (answer == ON && !featureset_add(features, name))
            return error_no_memory(err);
    }
    return true;
}

/* A property's value as -cpu would say it; *text = NULL for what could not stand there. */
static bool value_to_text(const json_t *value, char **text)
{
    if (json_is_boolean(value))
        *text = strdup(json_is_true(value) ? "on" : "off");
    else if (json_is_integer(value))
        *text = string_format("%lld", (long long)json_integer_value(value));
    else if (json_is_string(value))
        *text = string_plain(json_string_value(value), TEXT_MAX);
    else
        return true;
    return *text != NULL;
}

/* Which properties that are no features a vCPU has; all vCPUs of a machine are of one type. */
static bool list_knobs(struct qmp *qmp, const char *path, struct strlist *names, struct error *err)
{
    autojson json_t *list = NULL;
    json_t *entry, *arguments = json_pack("{s:s}", "path", path);
    size_t i;
    if (!arguments)
        return error_no_memory(err);
    if (!ask(qmp, "qom-list", arguments, &list, err))
        return false;
    json_array_foreach(list, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (name && knob_check(name, "", NULL) != KNOB_NONE && !strlist_push(names, name))
            return error_no_memory(err);
    }
    return true;
}

static bool read_knobs(struct qmp *qmp, const char *path, const struct strlist *names,
                       struct cpu_knobs *knobs, struct error *err)
{
    for (size_t i = 0; i < names->count; i++) {
        autojson json_t *value = NULL;
        autofree char *text = NULL;
        if (!get(qmp, path, names->items[i], &value, err))
            return false;
        if (!value_to_text(value, &text) || (text && !cpu_knobs_set(knobs, names->items[i], text)))
            return error_no_memory(err);
    }
    return true;
}

static bool read_identity(struct qmp *qmp, const char *path, struct vcpu *vcpu, struct error *err)
{
    /* Names of ours and of QEMU's. */
    static const char *const members[][2] = {
        {"vendor", "vendor"},     {"family", "family"},     {"model", "model"},
        {"stepping", "stepping"}, {"model_id", "model-id"}, {"level", "level"},
        {"xlevel", "xlevel"},
    };
    autojson json_t *identity = json_object(), *bits = NULL;
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        json_t *value = NULL;
        if (!get(qmp, path, members[i][1], &value, err))
            return false;
        if (json_object_set_new(identity, members[i][0], value) != 0)
            return error_no_memory(err);
    }
    if (!get(qmp, path, "phys-bits", &bits, err))
        return false;
    if (!json_is_integer(bits) || json_integer_value(bits) < 0 || json_integer_value(bits) > 64)
        return error_set(err, STATUS_PROTOCOL, "QEMU's CPU: phys-bits is not a number of bits");
    vcpu->phys_bits = (unsigned)json_integer_value(bits);
    struct error inner = ERROR_INIT;
    return cpu_identity_from_json(identity, "QEMU's CPU", &vcpu->identity, &inner) ||
           error_set(err, STATUS_PROTOCOL, "%s", inner.message);
}

static bool read_vcpu(struct qmp *qmp, const json_t *entry, const struct featureset *known,
                      struct strlist *knobs, struct vcpu *vcpu, struct error *err)
{
    const char *path = json_string_value(json_object_get(entry, "qom-path"));
    const json_t *index = json_object_get(entry, "cpu-index");
    if (!path || !json_is_integer(index) || json_integer_value(index) < 0 ||
        json_integer_value(index) > INT32_MAX)
        return error_set(err, STATUS_PROTOCOL, "QEMU's list of CPUs is not valid");
    vcpu->index = (int)json_integer_value(index);
    return ((knobs->count > 0 || list_knobs(qmp, path, knobs, err)) &&
            read_identity(qmp, path, vcpu, err) &&
            read_features(qmp, path, known, &vcpu->features, err) &&
            read_knobs(qmp, path, knobs, &vcpu->knobs, err)) ||
           error_wrap(err, "vCPU %d", vcpu->index);
}

bool running_cpu_read(struct qmp *qmp, struct running_cpu *out, struct error *err)
{
    autorunningcpu struct running_cpu cpu = {0};
    autostrlist struct strlist knobs = {0};
    autojson json_t *list = NULL;
    size_t i;
    json_t *entry;
    if (!read_machine(qmp, &cpu, err) || !read_known(qmp, &cpu.known, err) ||
        !ask(qmp, "query-cpus-fast", NULL, &list, err))
        return false;
    if (!json_is_array(list) || json_array_size(list) < 1 || json_array_size(list) > VCPUS_MAX)
        return error_set(err, STATUS_PROTOCOL, "QEMU's list of CPUs is not valid");
    if (!(cpu.vcpus = calloc(json_array_size(list), sizeof(*cpu.vcpus))))
        return error_no_memory(err);
    json_array_foreach(list, i, entry)
    {
        cpu.count++;
        if (!read_vcpu(qmp, entry, &cpu.known, &knobs, &cpu.vcpus[i], err))
            return false;
    }
    running_cpu_free(out);
    *out = cpu;
    cpu = (struct running_cpu){0};
    return true;
}
