/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cpu/feature_table.h"

#define KVM_LEAF 0x40000001

void differences_free(struct differences *differences)
{
    for (size_t i = 0; i < differences->count; i++) {
        free(differences->items[i].what);
        free(differences->items[i].agreed);
        free(differences->items[i].found);
    }
    free(differences->items);
    *differences = (struct differences){0};
}

/* False for want of memory. */
static bool add(struct differences *differences, int vcpu, const char *what, const char *agreed,
                const char *found)
{
    struct difference *items =
        realloc(differences->items, (differences->count + 1) * sizeof(*items));
    if (!items)
        return false;
    differences->items = items;
    struct difference *item = &items[differences->count++];
    *item = (struct difference){.vcpu = vcpu,
                                .what = string_plain(what, FEATURE_NAME_SIZE),
                                .agreed = string_plain(agreed, CPU_MODEL_ID_SIZE),
                                .found = string_plain(found, CPU_MODEL_ID_SIZE)};
    return item->what && item->agreed && item->found;
}

static bool compare_texts(struct differences *differences, int vcpu, const char *what,
                          const char *agreed, const char *found)
{
    return strcmp(agreed, found) == 0 || add(differences, vcpu, what, agreed, found);
}

static bool compare_numbers(struct differences *differences, int vcpu, const char *what,
                            unsigned agreed, unsigned found)
{
    char one[24], other[24];
    /* CPUID leaves of the extended range are known by their hexadecimal numbers. */
    bool hex = agreed >= 0x80000000 || found >= 0x80000000;
    snprintf(one, sizeof(one), hex ? "0x%x" : "%u", agreed);
    snprintf(other, sizeof(other), hex ? "0x%x" : "%u", found);
    return compare_texts(differences, vcpu, what, one, other);
}

/* With kvm=off QEMU shows none of KVM's own features, whatever -cpu says of them (QEMU 10.0
 * target/i386/cpu.c x86_cpu_expand_features): the agreement may have them, the vCPU has not. */
static bool is_hidden(const struct baseline *baseline, const char *name)
{
    const char *kvm = cpu_knobs_get(&baseline->knobs, "kvm");
    const struct feature *feature = feature_find(name);
    return kvm && strcmp(kvm, "off") == 0 && feature && feature->place_count > 0 &&
           feature->places[0].kind == PLACE_CPUID && feature->places[0].leaf == KVM_LEAF;
}

static bool compare_features(struct differences *differences, const struct baseline *baseline,
                             const struct featureset *known, const struct vcpu *vcpu)
{
    const struct featureset *agreed = &baseline->features;
    struct featureset_cursor cursor = {0};
    for (const char *name; (name = featureset_next(known, &cursor));) {
        bool wanted = featureset_has(agreed, name), found = featureset_has(&vcpu->features, name);
        if (wanted != found && !feature_is_benign(name) && !is_hidden(baseline, name) &&
            !add(differences, vcpu->index, name, wanted ? "on" : "off", found ? "on" : "off"))
            return false;
    }
    cursor = (struct featureset_cursor){0};
    for (const char *name; (name = featureset_next(agreed, &cursor));)
        if (!featureset_has(known, name) &&
            !add(differences, vcpu->index, name, "on", "unknown to this QEMU"))
            return false;
    return true;
}

/* What the user set by name stands in the agreement's knobs, and counts instead of the number. */
static bool is_fixed(const struct baseline *baseline, const char *name)
{
    return !cpu_knobs_get(&baseline->knobs, name);
}

static bool compare_identity(struct differences *differences, const struct baseline *baseline,
                             const struct vcpu *vcpu)
{
    const struct cpu_identity *agreed = &baseline->identity, *found = &vcpu->identity;
    const struct {
        const char *name;
        unsigned agreed, found;
        bool compared;
    } numbers[] = {
        {"family", agreed->family, found->family, is_fixed(baseline, "family")},
        {"model", agreed->model, found->model, is_fixed(baseline, "model")},
        {"stepping", agreed->stepping, found->stepping, is_fixed(baseline, "stepping")},
        /* 0 in the agreement: not part of it, QEMU makes it of the features. */
        {"level", agreed->level, found->level, agreed->level > 0},
        {"xlevel", agreed->xlevel, found->xlevel, agreed->xlevel > 0},
        {"phys-bits", baseline->phys_bits, vcpu->phys_bits, baseline->phys_bits > 0},
    };
    if ((is_fixed(baseline, "vendor") &&
         !compare_texts(differences, vcpu->index, "vendor", agreed->vendor, found->vendor)) ||
        (is_fixed(baseline, "model-id") &&
         !compare_texts(differences, vcpu->index, "model-id", agreed->model_id, found->model_id)))
        return false;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (numbers[i].compared && !compare_numbers(differences, vcpu->index, numbers[i].name,
                                                    numbers[i].agreed, numbers[i].found))
            return false;
    return true;
}

/* What a knob must be that the agreement does not name; NULL: whatever QEMU makes it. */
static const char *knob_default(const struct baseline *baseline, const char *name,
                                const char *found)
{
    static const struct {
        const char *name, *value;
    } defaults[] = {
        {"host-cache-info", "off"},  {"kvm", "on"}, {"lmce", "off"}, {"pmu", "off"},
        {"x-force-features", "off"},
    };
    if (string_starts_with(name, "hv-") && strcmp(found, "on") == 0)
        return "off";
    /* As cpu/render gives it to every form. */
    if (strcmp(name, "ucode-rev") == 0)
        return strcmp(baseline->identity.vendor, "AuthenticAMD") == 0 ? "16777317" : "4294967296";
    for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
        if (strcmp(defaults[i].name, name) == 0)
            return defaults[i].value;
    return NULL;
}

/* hv-apicv and hv-avic are two names of one property. */
static const char *agreed_knob(const struct baseline *baseline, const char *name)
{
    const char *value = cpu_knobs_get(&baseline->knobs, name);
    if (!value && strcmp(name, "hv-avic") == 0)
        value = cpu_knobs_get(&baseline->knobs, "hv-apicv");
    if (!value && strcmp(name, "hv-apicv") == 0)
        value = cpu_knobs_get(&baseline->knobs, "hv-avic");
    return value;
}

static bool compare_knobs(struct differences *differences, const struct baseline *baseline,
                          const struct vcpu *vcpu)
{
    for (size_t i = 0; i < vcpu->knobs.count; i++) {
        const struct cpu_knob *knob = &vcpu->knobs.items[i];
        const char *agreed = agreed_knob(baseline, knob->name);
        if (!agreed)
            agreed = knob_default(baseline, knob->name, knob->value);
        if (agreed && !compare_texts(differences, vcpu->index, knob->name, agreed, knob->value))
            return false;
    }
    for (size_t i = 0; i < baseline->knobs.count; i++) {
        const struct cpu_knob *knob = &baseline->knobs.items[i];
        if (!cpu_knobs_get(&vcpu->knobs, knob->name) &&
            !add(differences, vcpu->index, knob->name, knob->value, "unknown to this QEMU"))
            return false;
    }
    return true;
}

static bool compare(struct differences *differences, const struct agreement *agreement,
                    const struct running_cpu *cpu)
{
    const struct baseline *baseline = &agreement->baseline;
    if (!compare_texts(differences, DIFFERENCE_MACHINE, "machine type", agreement->machine,
                       cpu->machine) ||
        !compare_texts(differences, DIFFERENCE_MACHINE, "accelerator", baseline->accel, cpu->accel))
        return false;
    for (size_t i = 0; i < cpu->count; i++)
        if (!compare_identity(differences, baseline, &cpu->vcpus[i]) ||
            !compare_features(differences, baseline, &cpu->known, &cpu->vcpus[i]) ||
            !compare_knobs(differences, baseline, &cpu->vcpus[i]))
            return false;
    return true;
}

bool verify_cpu(const struct agreement *agreement, const struct running_cpu *cpu,
                struct differences *out, struct error *err)
{
    autodifferences struct differences differences = {0};
    if (!compare(&differences, agreement, cpu))
        return error_no_memory(err);
    differences_free(out);
    *out = differences;
    differences = (struct differences){0};
    return true;
}
