/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cpu/render.h"

#include <string.h>

#include "base/cleanup.h"
#include "cpu/feature_table.h"

static const char *const form_names[] = {
    [CPU_FORM_NAMED] = "named", [CPU_FORM_BASE] = "base", [CPU_FORM_HOST] = "host"};

const char *cpu_form_name(enum cpu_form form)
{
    return form_names[form];
}

bool cpu_form_parse(const char *text, enum cpu_form *form)
{
    for (size_t i = 0; i < sizeof(form_names) / sizeof(form_names[0]); i++)
        if (strcmp(form_names[i], text) == 0) {
            *form = (enum cpu_form)i;
            return true;
        }
    return false;
}

static bool has_knob(const struct baseline *baseline, const char *name)
{
    return cpu_knobs_get(&baseline->knobs, name) != NULL;
}

/* Family, model and stepping, which the named form has from its model. */
static void put_model_numbers(struct strbuf *cpu, const struct baseline *baseline)
{
    const struct cpu_identity *identity = &baseline->identity;
    if (!has_knob(baseline, "family"))
        strbuf_printf(cpu, ",family=%u", identity->family);
    if (!has_knob(baseline, "model"))
        strbuf_printf(cpu, ",model=%u", identity->model);
    if (!has_knob(baseline, "stepping"))
        strbuf_printf(cpu, ",stepping=%u", identity->stepping);
}

static void put_model_id(struct strbuf *cpu, const struct baseline *baseline)
{
    strbuf_puts(cpu, ",model-id=");
    for (const char *p = baseline->identity.model_id; *p; p++)
        strbuf_add(cpu, *p == ',' ? ";" : p, 1);
}

/* Numbers first: they are the same in every form. What the user set by name stays the user's.
 * model: the one that the form starts from, or NULL. */
static void put_numbers(struct strbuf *cpu, const struct baseline *baseline,
                        const struct cpu_model *model)
{
    const struct cpu_identity *identity = &baseline->identity;
    if (!has_knob(baseline, "vendor"))
        strbuf_printf(cpu, ",vendor=%s", identity->vendor);
    if (!model)
        put_model_numbers(cpu, baseline);
    /* The named form has its model's, but for one with a comma, which no other form could have. */
    if ((!model || strcmp(model->identity.model_id, identity->model_id) != 0) &&
        !has_knob(baseline, "model-id"))
        put_model_id(cpu, baseline);
    /* 0: not known, or as on a 486 none, which QEMU then makes of the features. */
    if (identity->level > 0)
        strbuf_printf(cpu, ",level=%u", identity->level);
    if (identity->xlevel > 0)
        strbuf_printf(cpu, ",xlevel=%u", identity->xlevel);
    /* Without this the `host` form shows the real microcode revision; these are the values that
     * every other model has (QEMU 10.0 target/i386/cpu.c x86_cpu_realizefn). */
    if (!has_knob(baseline, "ucode-rev"))
        strbuf_printf(cpu, ",ucode-rev=%s",
                      strcmp(identity->vendor, "AuthenticAMD") == 0 ? "16777317" : "4294967296");
    /* Under KVM a plain phys-bits= warns, and loses against host-phys-bits=on (QEMU 10.0
     * target/i386/host-cpu.c host_cpu_adjust_phys_bits); without lm it is fatal. */
    if (baseline->phys_bits > 0 && strcmp(baseline->accel, "kvm") == 0)
        strbuf_printf(cpu, ",host-phys-bits=on,host-phys-bits-limit=%u", baseline->phys_bits);
    else if (baseline->phys_bits > 0)
        strbuf_printf(cpu, ",phys-bits=%u", baseline->phys_bits);
    if (!has_knob(baseline, "pmu"))
        strbuf_puts(cpu, ",pmu=off");
    for (size_t i = 0; i < baseline->knobs.count; i++)
        strbuf_printf(cpu, ",%s=%s", baseline->knobs.items[i].name, baseline->knobs.items[i].value);
}

/* A version of AVX10 without it is an error, and no version means this host's (QEMU 10.0
 * target/i386/cpu.c x86_cpu_filter_features, x86_cpu_expand_features): 1 is what all have that have
 * it. */
static void put_avx10_version(struct strbuf *cpu, const struct baseline *baseline,
                              const struct cpu_offer *offer, const struct cpu_model *model)
{
    if (!featureset_has(&offer->known, "avx10"))
        return;
    if (featureset_has(&baseline->features, "avx10"))
        strbuf_puts(cpu, ",avx10-version=1");
    else if (model && featureset_has(&model->features, "avx10"))
        strbuf_puts(cpu, ",avx10-version=0");
}

/* ",NAME=VALUE" for each of set that is not in without (which may be NULL). */
static void put_features(struct strbuf *cpu, const struct featureset *set,
                         const struct featureset *without, const char *value)
{
    struct featureset_cursor cursor = {0};
    for (const char *name; (name = featureset_next(set, &cursor));)
        if (!without || !featureset_has(without, name))
            strbuf_printf(cpu, ",%s=%s", name, value);
}

static bool needs_one_of(const char *name, const struct featureset *set)
{
    for (const char *needs = feature_requires(name); needs && *needs;) {
        char one[FEATURE_NAME_SIZE];
        needs = feature_next_name(needs, one);
        if (featureset_has(set, one))
            return true;
    }
    return false;
}

/* Under KVM every named model has svm and vmx switched off (QEMU 10.0 target/i386/kvm/kvm-cpu.c
 * kvm_default_props), so its expansion does not show those of its features that require them. Where
 * these are switched on they come back. */
static bool add_hidden(struct featureset *excess, const struct baseline *baseline,
                       const struct cpu_offer *offer, const struct cpu_model *model)
{
    static const char *const defaults[] = {"svm", "vmx"};
    autofeatureset struct featureset back = {0};
    for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
        if (featureset_has(&baseline->features, defaults[i]) &&
            !featureset_has(&model->features, defaults[i]) && !featureset_add(&back, defaults[i]))
            return false;
    for (bool more = featureset_count(&back) > 0; more;) {
        struct featureset_cursor cursor = {0};
        more = false;
        for (const char *name; (name = featureset_next(&offer->known, &cursor));)
            if (!featureset_has(&model->features, name) && !featureset_has(&back, name) &&
                needs_one_of(name, &back)) {
                more = true;
                if (!featureset_add(&back, name) || !featureset_add(excess, name))
                    return false;
            }
    }
    return true;
}

char *render_cpu(const struct baseline *baseline, const struct cpu_offer *offer, enum cpu_form form,
                 struct error *err)
{
    autostrbuf struct strbuf cpu = {0};
    autofeatureset struct featureset excess = {0};
    struct featureset_cursor cursor = {0};
    for (const char *name; (name = featureset_next(&baseline->features, &cursor));) {
        if (featureset_has(&offer->known, name))
            continue;
        error_set(err, STATUS_INCOMPATIBLE, "the QEMU of %s has no name for %s", offer->host, name);
        return NULL;
    }
    if (form == CPU_FORM_NAMED) {
        const struct cpu_model *model =
            baseline->model ? cpu_offer_find_model(offer, baseline->model) : NULL;
        if (!model) {
            error_set(err, STATUS_INCOMPATIBLE,
                      "no CPU model of all QEMUs fits: use --cpu-form base");
            return NULL;
        }
        strbuf_puts(&cpu, model->name);
        put_avx10_version(&cpu, baseline, offer, model);
        put_numbers(&cpu, baseline, model);
        put_features(&cpu, &baseline->features, &model->features, "on");
        /* A definition lent to a recorded host may have names that its own QEMU has not. */
        if (!featureset_copy(&excess, &model->features)) {
            error_no_memory(err);
            return NULL;
        }
        featureset_intersect(&excess, &offer->known);
        if (!add_hidden(&excess, baseline, offer, model)) {
            error_no_memory(err);
            return NULL;
        }
        put_features(&cpu, &excess, &baseline->features, "off");
    } else if (form == CPU_FORM_BASE) {
        strbuf_puts(&cpu, "base");
        put_avx10_version(&cpu, baseline, offer, NULL);
        put_numbers(&cpu, baseline, NULL);
        put_features(&cpu, &baseline->features, NULL, "on");
    } else {
        strbuf_puts(&cpu, strcmp(baseline->accel, "kvm") == 0 ? "host" : "max");
        put_avx10_version(&cpu, baseline, offer, NULL);
        put_numbers(&cpu, baseline, NULL);
        strbuf_puts(&cpu, ",host-cache-info=off"); /* the other models do not have it */
        put_features(&cpu, &offer->available, &baseline->features, "off");
        put_features(&cpu, &baseline->features, &offer->available, "on"); /* invtsc */
    }
    strbuf_puts(&cpu, ",enforce=on");
    char *text = strbuf_steal(&cpu);
    if (!text)
        error_no_memory(err);
    return text;
}
