/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Adopting a guest: what of its CPU can be agreed on, as data.
 */
#include "cpu_fixture.h"

#include "vm/adopt.h"

static void set_knob(struct cpu_knobs *knobs, const char *name, const char *value)
{
    ck_assert(cpu_knobs_set(knobs, name, value));
}

/* A guest of count vCPUs with these features, all alike. */
static void make_cpu(struct running_cpu *cpu, const char *accel, size_t count, const char *features)
{
    *cpu = (struct running_cpu){.machine = strdup("pc-q35-7.2"), .accel = strdup(accel)};
    cpu->vcpus = calloc(count, sizeof(*cpu->vcpus));
    cpu->count = count;
    add_names(&cpu->known, features);
    add_names(&cpu->known, "smap invtsc");
    for (size_t i = 0; i < count; i++) {
        struct vcpu *vcpu = &cpu->vcpus[i];
        vcpu->index = (int)i;
        vcpu->identity = (struct cpu_identity){"GenuineIntel", 6, 85, 7, "Xeon", 22, 0x80000008};
        vcpu->phys_bits = 40;
        add_names(&vcpu->features, features);
        set_knob(&vcpu->knobs, "pmu", "off");
        set_knob(&vcpu->knobs, "host-cache-info", "off");
        set_knob(&vcpu->knobs, "l3-cache", "on");
        set_knob(&vcpu->knobs, "ucode-rev", "4294967296");
        set_knob(&vcpu->knobs, "tsc-frequency", "2000000000");
    }
}

START_TEST(models)
{
    static const struct {
        const char *type, *model;
        bool named;
    } rows[] = {
        {"EPYC-Rome-v2-x86_64-cpu", "EPYC-Rome-v2", true},
        {"qemu64-x86_64-cpu", "qemu64", true},
        {"486-x86_64-cpu", "486", true},
        {"max-x86_64-cpu", "max", false},
        {"host-x86_64-cpu", "host", false},
        {"base-x86_64-cpu", "base", false},
        {"-x86_64-cpu", NULL, false},
        {"cortex-a57-arm-cpu", NULL, false},
        {"a b-x86_64-cpu", NULL, false},
        {"", NULL, false},
        {NULL, NULL, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autofree char *model = NULL;
        if (!rows[i].model) {
            MUST_FAIL(STATUS_PROTOCOL, "CPU model", adopt_read_model(rows[i].type, &model, &err));
            ck_assert_ptr_null(model);
            continue;
        }
        MUST(adopt_read_model(rows[i].type, &model, &err));
        ck_assert_str_eq(model, rows[i].model);
        ck_assert(adopt_model_is_named(model) == rows[i].named);
    }
}
END_TEST

START_TEST(unlike)
{
    autorunningcpu struct running_cpu cpu = {0};
    autostrlist struct strlist reasons = {0};
    make_cpu(&cpu, "tcg", 3, "lm avx");
    MUST(adopt_compare_vcpus(&cpu, &reasons, &err));
    ck_assert_uint_eq(reasons.count, 0);
    add_names(&cpu.vcpus[2].features, "smap");
    cpu.vcpus[1].identity.stepping = 6;
    set_knob(&cpu.vcpus[1].knobs, "l3-cache", "off");
    MUST(adopt_compare_vcpus(&cpu, &reasons, &err));
    ck_assert_uint_eq(reasons.count, 3);
    static const char *const words[] = {
        "vCPU 1 is not like vCPU 0: stepping is 6, not 7",
        "vCPU 1 is not like vCPU 0: l3-cache is off, not on",
        "vCPU 2 is not like vCPU 0: smap is on, not off",
    };
    for (size_t i = 0; i < COUNT(words); i++)
        ck_assert_msg(strstr(reasons.items[i], words[i]), "%s", reasons.items[i]);
}
END_TEST

/* One thing about a guest that could be adopted otherwise, and what is said. NULL: nothing. */
START_TEST(refused)
{
    static const struct {
        const char *features, *knob, *value, *words;
        bool fixed_tsc;
    } rows[] = {
        {"", NULL, NULL, NULL, false},
        {"ht", NULL, NULL, NULL, false}, /* not offered, and harmless */
        {"invtsc", NULL, NULL, "invtsc: QEMU does not migrate it: start the guest without it, or",
         false},
        {"invtsc", NULL, NULL, NULL, true},
        {"smap", NULL, NULL, "smap: the site policy here denies it", false},
        {"sha-ni", NULL, NULL, "sha-ni (cpu): a guest that is started here now would not get it",
         false},
        {"newer-name", NULL, NULL, "newer-name (qemu): a guest", false},
        {"topoext", NULL, NULL, NULL, false}, /* `host` has it not, EPYC has */
        {"", "host-cache-info", "on", "host-cache-info=on: the guest sees the caches", false},
        {"", "hv-passthrough", "on", "hv-passthrough=on: ", false},
        {"", "hv-passthrough", "off", NULL, false},
        {"", "hv-no-nonarch-coresharing", "auto", "hv-no-nonarch-coresharing=auto: ", false},
        {"", "hv-no-nonarch-coresharing", "on", NULL, false},
        {"", "x-force-features", "on", "x-force-features=on: ", false},
        {"", "pmu", "on", NULL, false},
        {"", "migratable", "off", NULL, false},
    };
    autocpuoffer struct cpu_offer offer = offer_of("a", "kvm", "lm avx xsave smap", "sha-ni");
    add_names(&offer.known, "invtsc topoext");
    add_names(&offer.unmigratable, "invtsc");
    add_names(&offer.denied, "smap");
    offer.physical_known = true;
    for (size_t i = 0; i < COUNT(rows); i++) {
        autorunningcpu struct running_cpu cpu = {0};
        autostrlist struct strlist reasons = {0};
        make_cpu(&cpu, "kvm", 1, "lm avx xsave");
        add_names(&cpu.vcpus[0].features, rows[i].features);
        if (rows[i].knob)
            set_knob(&cpu.vcpus[0].knobs, rows[i].knob, rows[i].value);
        MUST(adopt_find_refused(&cpu, &offer, rows[i].fixed_tsc, &reasons, &err));
        ck_assert_msg(reasons.count == (rows[i].words ? 1 : 0), "row %zu: %s", i,
                      reasons.count > 0 ? reasons.items[0] : "nothing said");
        if (rows[i].words)
            ck_assert_msg(string_starts_with(reasons.items[0], rows[i].words), "row %zu: %s", i,
                          reasons.items[0]);
    }
}
END_TEST

/* Features that share a cause are in one line; address bits that only KVM cannot give. */
START_TEST(refused_together)
{
    autocpuoffer struct cpu_offer offer = offer_of("a", "kvm", "lm", "avx sha-ni");
    autorunningcpu struct running_cpu cpu = {0};
    autostrlist struct strlist reasons = {0};
    make_cpu(&cpu, "kvm", 1, "lm avx sha-ni");
    offer.phys_bits = 39;
    MUST(adopt_find_refused(&cpu, &offer, false, &reasons, &err));
    ck_assert_uint_eq(reasons.count, 2);
    ck_assert_msg(strstr(reasons.items[0], "avx (cpu) sha-ni (cpu): "), "%s", reasons.items[0]);
    ck_assert_msg(strstr(reasons.items[1], "phys-bits=40: this host has only 39 "), "%s",
                  reasons.items[1]);
    featureset_free(&cpu.vcpus[0].features);
    add_names(&cpu.vcpus[0].features, "sha-ni");
    add_names(&offer.available, "sha-ni");
    strlist_free(&reasons);
    MUST(adopt_find_refused(&cpu, &offer, false, &reasons, &err)); /* no lm: no such number */
    ck_assert_uint_eq(reasons.count, 0);
}
END_TEST

START_TEST(baseline_of_guest)
{
    autocpuoffer struct cpu_offer offer = offer_of("a", "tcg", "lm avx", "ht");
    autorunningcpu struct running_cpu cpu = {0};
    autobaseline struct baseline baseline = {0}, other = {0};
    enum cpu_form forms[ADOPT_FORMS];
    make_cpu(&cpu, "tcg", 1, "lm avx ht");
    MUST(adopt_baseline(&cpu, &offer, "Haswell-v4", false, &baseline, &err));
    autofree char *names = names_of(&baseline.features);
    ck_assert_str_eq(names, "avx lm"); /* -smp decides about ht */
    ck_assert_str_eq(baseline.model, "Haswell-v4");
    ck_assert(baseline.model_asked_for);
    ck_assert_uint_eq(baseline.phys_bits, 40);
    ck_assert_uint_eq(baseline.identity.stepping, 7);
    ck_assert_uint_eq(baseline.knobs.count, 0);
    ck_assert_str_eq(baseline.accel, "tcg");
    ck_assert_uint_eq(adopt_order_forms(&baseline, forms), 3);
    ck_assert(forms[0] == CPU_FORM_NAMED && forms[1] == CPU_FORM_BASE);
    /* It is what another one reads, too. */
    autojson json_t *json = baseline_to_json(&baseline);
    MUST(baseline_from_json(json, &other, &err));
    /* No model, no long mode, a fixed TSC, ht offered. */
    featureset_remove(&cpu.vcpus[0].features, "lm");
    add_names(&offer.available, "ht");
    baseline_free(&baseline);
    MUST(adopt_baseline(&cpu, &offer, NULL, true, &baseline, &err));
    ck_assert_ptr_null(baseline.model);
    ck_assert_uint_eq(baseline.phys_bits, 0);
    ck_assert(featureset_has(&baseline.features, "ht"));
    ck_assert_str_eq(cpu_knobs_get(&baseline.knobs, "tsc-frequency"), "2000000000");
    ck_assert_uint_eq(adopt_order_forms(&baseline, forms), 2);
    ck_assert(forms[0] == CPU_FORM_BASE && forms[1] == CPU_FORM_HOST);
}
END_TEST

/* A property becomes a knob where QEMU would make it otherwise and -cpu may say it. */
START_TEST(knobs)
{
    static const struct {
        const char *name, *running, *made, *taken;
    } rows[] = {
        {"pmu", "on", "off", "on"},
        {"pmu", "off", "on", NULL}, /* cpu/render says that by itself */
        {"lmce", "on", "off", "on"},
        {"l3-cache", "off", "on", "off"},
        {"l3-cache", "on", "on", NULL},
        {"family", "15", "6", "15"},
        {"hv-spinlocks", "8191", "4294967295", "8191"},
        {"host-cache-info", "on", "off", NULL},
        {"x-force-features", "on", "off", NULL},
        {"migratable", "off", NULL, NULL},
        {"check", "off", "on", NULL},
        {"level", "13", "22", NULL},
        {"x-new", "on", "off", "on"},
        {"x-new", "13", "12", NULL},
        {"model-id", "a, b", "a; b", NULL}, /* no -cpu can have the comma */
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct vcpu running = {0}, made = {0};
        struct cpu_knobs taken = {0};
        set_knob(&running.knobs, rows[i].name, rows[i].running);
        if (rows[i].made)
            set_knob(&made.knobs, rows[i].name, rows[i].made);
        ck_assert(adopt_take_knobs(&running, &made, &taken));
        const char *value = cpu_knobs_get(&taken, rows[i].name);
        ck_assert_msg(rows[i].taken ? value && strcmp(value, rows[i].taken) == 0 : !value,
                      "row %zu: %s", i, value ? value : "none");
        cpu_knobs_free(&running.knobs);
        cpu_knobs_free(&made.knobs);
        cpu_knobs_free(&taken);
    }
}
END_TEST

/* What an agreement may hold no request may bring. */
START_TEST(kept_knobs)
{
    static const struct {
        const char *name, *value;
        bool carried, kept;
    } rows[] = {
        {"pmu", "on", false, true},
        {"pmu", "off", false, false},
        {"lmce", "on", false, true},
        {"hv-relaxed", "on", true, true},
        {"hv-passthrough", "on", false, false},
        {"host-cache-info", "on", false, false},
        {"smap", "on", false, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autojson json_t *json = json_pack("{s:s}", rows[i].name, rows[i].value);
        struct cpu_knobs set = {0};
        ck_assert(cpu_knobs_from_json(json, "x", knob_is_carried, &set, NULL) == rows[i].carried);
        ck_assert(cpu_knobs_from_json(json, "x", knob_is_kept, &set, NULL) == rows[i].kept);
        cpu_knobs_free(&set);
    }
    /* And said in -cpu once. */
    autocpuoffer struct cpu_offer offer = offer_of("a", "tcg", "lm", "");
    autorunningcpu struct running_cpu cpu = {0};
    autobaseline struct baseline baseline = {0};
    make_cpu(&cpu, "tcg", 1, "lm");
    MUST(adopt_baseline(&cpu, &offer, NULL, false, &baseline, &err));
    autofree char *without = render_cpu(&baseline, &offer, CPU_FORM_BASE, NULL);
    set_knob(&baseline.knobs, "pmu", "on");
    autofree char *with = render_cpu(&baseline, &offer, CPU_FORM_BASE, NULL);
    ck_assert(strstr(without, ",pmu=off") && strstr(with, ",pmu=on") && !strstr(with, "pmu=off"));
}
END_TEST

START_TEST(undescribed)
{
    autoagreement struct agreement agreement = {.machine = strdup("pc-q35-7.2")};
    autocpuoffer struct cpu_offer offer = offer_of("a", "tcg", "lm avx", "");
    autorunningcpu struct running_cpu cpu = {0};
    autostrlist struct strlist reasons = {0};
    make_cpu(&cpu, "tcg", 2, "lm avx");
    MUST(adopt_baseline(&cpu, &offer, NULL, false, &agreement.baseline, &err));
    MUST(adopt_find_undescribed(&agreement, &cpu, &reasons, &err));
    ck_assert_uint_eq(reasons.count, 0);
    for (size_t i = 0; i < 2; i++) /* said once */
        set_knob(&cpu.vcpus[i].knobs, "pmu", "on");
    MUST(adopt_find_undescribed(&agreement, &cpu, &reasons, &err));
    ck_assert_uint_eq(reasons.count, 1);
    ck_assert_str_eq(reasons.items[0], "pmu is on in the guest, and only off can be agreed on");
    set_knob(&agreement.baseline.knobs, "pmu", "on");
    strlist_free(&reasons);
    MUST(adopt_find_undescribed(&agreement, &cpu, &reasons, &err));
    ck_assert_uint_eq(reasons.count, 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        models, unlike,     refused,     refused_together, baseline_of_guest,
        knobs,  kept_knobs, undescribed,
    };
    return unit_run("adopt", tests, COUNT(tests));
}
