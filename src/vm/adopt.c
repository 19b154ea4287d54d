/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/adopt.h"

#include <string.h>

#include "base/cleanup.h"
#include "cpu/feature_table.h"
#include "vm/verify.h"

bool adopt_read_model(const char *type, char **model, struct error *err)
{
    static const char suffix[] =
        "-x86_64-cpu"; /* X86_CPU_TYPE_SUFFIX, QEMU target/i386/cpu-qom.h */
    size_t length = type ? strlen(type) : 0, end = strlen(suffix);
    if (length <= end || strcmp(type + length - end, suffix) != 0)
        return error_set(err, STATUS_PROTOCOL, "QEMU tells no CPU model");
    autofree char *name = strndup(type, length - end);
    if (!name)
        return error_no_memory(err);
    if (!name_is_model(name))
        return error_set(err, STATUS_PROTOCOL, "QEMU tells no CPU model");
    *model = STEAL(name);
    return true;
}

bool adopt_model_is_named(const char *model)
{
    static const char *const none[] = {"base", "host", "max"};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        if (strcmp(none[i], model) == 0)
            return false;
    return true;
}

/* The numbers and texts of a vCPU, as an agreement about the first one would have them. */
static bool describe_first(const struct running_cpu *cpu, struct agreement *agreement)
{
    const struct vcpu *first = &cpu->vcpus[0];
    struct baseline *baseline = &agreement->baseline;
    baseline->identity = first->identity;
    baseline->phys_bits = first->phys_bits;
    return (agreement->machine = strdup(cpu->machine)) && (baseline->accel = strdup(cpu->accel)) &&
           featureset_copy(&baseline->features, &first->features) &&
           cpu_knobs_copy(&baseline->knobs, &first->knobs);
}

bool adopt_compare_vcpus(const struct running_cpu *cpu, struct strlist *reasons, struct error *err)
{
    autoagreement struct agreement first = {0};
    autodifferences struct differences differences = {0};
    if (!describe_first(cpu, &first))
        return error_no_memory(err);
    if (!verify_cpu(&first, cpu, &differences, err))
        return false;
    for (size_t i = 0; i < differences.count; i++) {
        const struct difference *item = &differences.items[i];
        if (!strlist_pushf(reasons,
                           "vCPU %d is not like vCPU %d: %s is %s, not %s: an agreement is about "
                           "one CPU",
                           item->vcpu, cpu->vcpus[0].index, item->what, item->found, item->agreed))
            return error_no_memory(err);
    }
    return true;
}

/* Properties with which a guest has what another host, or this one later, does not give it. */
static const struct {
    const char *name, *value, *why;
} refused[] = {
    {"host-cache-info", "on",
     "the guest sees the caches of this very host: start it without host-cache-info"},
    {"hv-no-nonarch-coresharing", "auto",
     "it is whatever the host says: start the guest with hv-no-nonarch-coresharing=on or =off"},
    {"hv-passthrough", "on",
     "the guest has whatever this host's Hyper-V emulation has, and QEMU does not migrate it: "
     "start it with the hv- options by name"},
    {"x-force-features", "on",
     "features are forced upon the guest that the host cannot give: start it without "
     "x-force-features"},
};

static bool find_knobs(const struct vcpu *vcpu, struct strlist *reasons)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        const char *value = cpu_knobs_get(&vcpu->knobs, refused[i].name);
        if (value && strcmp(value, refused[i].value) == 0 &&
            !strlist_pushf(reasons, "%s=%s: %s", refused[i].name, value, refused[i].why))
            return false;
    }
    return true;
}

/* Features by what is said of them: a line for all with the same words. */
static bool add_line(struct strlist *reasons, const struct strlist *names, const char *words)
{
    autofree char *list = strlist_join(names, " ");
    return list && (names->count == 0 || strlist_pushf(reasons, "%s: %s", list, words));
}

static bool find_features(const struct vcpu *vcpu, const struct cpu_offer *offer, bool fixed_tsc,
                          struct strlist *reasons)
{
    struct cpu_knob frequency = {.name = (char *)"tsc-frequency", .value = (char *)"0"};
    struct cpu_request request = {.knobs = {.items = &frequency, .count = fixed_tsc ? 1 : 0}};
    autostrlist struct strlist unmigratable = {0}, denied = {0}, gone = {0};
    struct featureset_cursor cursor = {0};
    for (const char *name; (name = featureset_next(&vcpu->features, &cursor));) {
        enum loss_cause cause;
        if (feature_is_benign(name) || offer_keeps(offer, &request, name, &cause))
            continue;
        /* QEMU 10.0 target/i386/cpu.c: the one feature with a migration blocker. */
        bool stays = featureset_has(&offer->unmigratable, name) || strcmp(name, "invtsc") == 0;
        struct strlist *names = stays ? &unmigratable : cause == LOSS_POLICY ? &denied : &gone;
        if (!(names == &gone ? strlist_pushf(names, "%s (%s)", name, loss_cause_name(cause))
                             : strlist_push(names, name)))
            return false;
    }
    bool tsc = strlist_contains(&unmigratable, "invtsc");
    return add_line(reasons, &unmigratable,
                    tsc ? "QEMU does not migrate it: start the guest without it, or with "
                          "tsc-frequency=HZ, too"
                        : "QEMU does not migrate it: start the guest without it") &&
           add_line(reasons, &denied,
                    "the site policy here denies it and the guest has it: change [policy] deny, or "
                    "start the guest without it") &&
           add_line(reasons, &gone,
                    "a guest that is started here now would not get it: switch it off in the "
                    "guest's -cpu, or undo what has changed on this host");
}

bool adopt_find_refused(const struct running_cpu *cpu, const struct cpu_offer *offer,
                        bool fixed_tsc, struct strlist *reasons, struct error *err)
{
    const struct vcpu *vcpu = &cpu->vcpus[0];
    if (!find_knobs(vcpu, reasons) || !find_features(vcpu, offer, fixed_tsc, reasons))
        return error_no_memory(err);
    /* QEMU gives a guest what its -cpu says, and KVM's CPU is the host's. */
    if (strcmp(cpu->accel, "kvm") == 0 && featureset_has(&vcpu->features, "lm") &&
        offer->phys_bits > 0 && vcpu->phys_bits > offer->phys_bits &&
        !strlist_pushf(reasons,
                       "phys-bits=%u: this host has only %u physical address bits: start the guest "
                       "with host-phys-bits=on",
                       vcpu->phys_bits, offer->phys_bits))
        return error_no_memory(err);
    return true;
}

/* A feature that may differ is the agreement's only where QEMU offers it, as in every baseline. */
static void drop_benign(struct featureset *features, const struct cpu_offer *offer)
{
    struct featureset_cursor cursor = {0};
    for (const char *name; (name = featureset_next(features, &cursor));)
        if (feature_is_benign(name) && !featureset_has(&offer->available, name)) {
            featureset_remove(features, name);
            cursor.other = 0; /* the list of others moved up */
        }
}

bool adopt_baseline(const struct running_cpu *cpu, const struct cpu_offer *offer, const char *model,
                    bool fixed_tsc, struct baseline *out, struct error *err)
{
    const struct vcpu *vcpu = &cpu->vcpus[0];
    const char *frequency = cpu_knobs_get(&vcpu->knobs, "tsc-frequency");
    autobaseline struct baseline baseline = {.identity = vcpu->identity,
                                             .model_asked_for = model != NULL};
    if (!featureset_copy(&baseline.features, &vcpu->features) ||
        !(baseline.accel = strdup(cpu->accel)) || (model && !(baseline.model = strdup(model))) ||
        (fixed_tsc && frequency && !cpu_knobs_set(&baseline.knobs, "tsc-frequency", frequency)))
        return error_no_memory(err);
    drop_benign(&baseline.features, offer);
    if (featureset_has(&baseline.features, "lm"))
        baseline.phys_bits = vcpu->phys_bits;
    *out = baseline;
    baseline = (struct baseline){0};
    return true;
}

bool adopt_take_knobs(const struct vcpu *running, const struct vcpu *made, struct cpu_knobs *knobs)
{
    for (size_t i = 0; i < running->knobs.count; i++) {
        const struct cpu_knob *knob = &running->knobs.items[i];
        const char *value = cpu_knobs_get(&made->knobs, knob->name);
        if (value && strcmp(value, knob->value) != 0 && knob_is_kept(knob->name, knob->value) &&
            !cpu_knobs_set(knobs, knob->name, knob->value))
            return false;
    }
    return true;
}

bool adopt_find_undescribed(const struct agreement *agreement, const struct running_cpu *cpu,
                            struct strlist *reasons, struct error *err)
{
    autodifferences struct differences differences = {0};
    if (!verify_cpu(agreement, cpu, &differences, err))
        return false;
    for (size_t i = 0; i < differences.count; i++) {
        const struct difference *item = &differences.items[i];
        autofree char *line = string_format("%s is %s in the guest, and only %s can be agreed on",
                                            item->what, item->found, item->agreed);
        if (!line || (!strlist_contains(reasons, line) && !strlist_push(reasons, line)))
            return error_no_memory(err);
    }
    return true;
}

size_t adopt_order_forms(const struct baseline *baseline, enum cpu_form forms[ADOPT_FORMS])
{
    size_t count = 0;
    if (baseline->model) /* its caches are its own */
        forms[count++] = CPU_FORM_NAMED;
    forms[count++] = CPU_FORM_BASE;
    forms[count++] = CPU_FORM_HOST;
    return count;
}
