/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The baseline of small hosts: who loses what and why, and how it is written for each QEMU.
 */
#include "cpu_fixture.h"

/* "f:a=c,b=q!" for each loss: who and the cause's letter, '!' for security. */
static char *losses(const struct pair *pair)
{
    autostrbuf struct strbuf buf = {0};
    for (size_t i = 0; i < pair->report.loss_count; i++) {
        const struct loss *loss = &pair->report.losses[i];
        strbuf_printf(&buf, "%s%s:", i > 0 ? " " : "", loss->feature);
        for (size_t k = 0; k < loss->hosts.count; k++)
            strbuf_printf(&buf, "%s%s=%s", k > 0 ? "," : "", loss->hosts.items[k],
                          loss->causes[k] == LOSS_QEMU      ? "qemu"
                          : loss->causes[k] == LOSS_POLICY  ? "policy"
                          : loss->causes[k] == LOSS_REQUEST ? "request"
                                                            : "host");
        strbuf_puts(&buf, loss->security ? "!" : "");
    }
    return strbuf_steal(&buf);
}

START_TEST(causes)
{
    autopair struct pair pair = pair_of(
        offer_of("a", "kvm", "avx avx2 lm smap spec-ctrl pcid x-new", "rdtscp"),
        offer_of("b", "kvm", "avx lm pcid rdtscp smap", "avx2 spec-ctrl"), "host", "host,-pcid");
    add_names(&pair.offers[1].denied, "smap");
    gives(&pair, "avx lm");
    autofree char *text = losses(&pair);
    /* security first; avx2: b's host lacks it; x-new: b's QEMU has no name for it */
    ck_assert_str_eq(text, "smap:b=policy! spec-ctrl:b=host! avx2:b=host pcid:a=request,b=request "
                           "rdtscp:a=host x-new:b=qemu");
}
END_TEST

START_TEST(requirements_lost)
{
    autopair struct pair pair =
        pair_of(offer_of("a", "kvm", "arch-capabilities avx ht lm mds-no rdctl-no", ""),
                offer_of("b", "kvm", "arch-capabilities avx lm mds-no rdctl-no", "ht"), "host",
                "host,arch-capabilities=off");
    gives(&pair, "avx lm");
    autofree char *text = losses(&pair);
    ck_assert_str_eq(text, "arch-capabilities:a=request,b=request! mds-no:a=request,b=request! "
                           "rdctl-no:a=request,b=request!");
}
END_TEST

/* What a guest did not see on one party is no party's to promise, with all that needs it. */
START_TEST(unshown)
{
    autopair struct pair pair =
        pair_of(offer_of("a", "kvm", "avx avx2 lm smap xsave", ""),
                offer_of("b", "kvm", "avx avx2 lm smap xsave", ""), "host", "host");
    autofeatureset struct featureset smap = {0};
    add_names(&smap, "smap");
    add_names(&pair.offers[1].unshown, "smap");
    gives(&pair, "avx avx2 lm xsave");
    autofree char *text = losses(&pair);
    ck_assert_str_eq(text, "smap:b=host!");
    ck_assert_int_eq(pair.report.losses[0].causes[0], LOSS_KVM);
    MUST_FAIL(STATUS_INCOMPATIBLE, "smap is required by --require and cannot be had on b (kvm)",
              compute(&pair, &smap, &err));
    add_names(&pair.offers[0].unshown, "xsave");
    gives(&pair, "lm");
}
END_TEST

START_TEST(required)
{
    autofeatureset struct featureset avx2 = {0}, avx = {0}, unheard = {0};
    add_names(&avx2, "avx2");
    add_names(&avx, "avx");
    add_names(&unheard, "unheard-of");
    autopair struct pair pair = pair_of(offer_of("a", "tcg", "avx avx2 lm", ""),
                                        offer_of("b", "tcg", "avx lm", "avx2"), "max", "max");
    MUST_FAIL(STATUS_INCOMPATIBLE, "avx2 is required by --require and cannot be had on b",
              compute(&pair, &avx2, &err));
    MUST_FAIL(STATUS_INCOMPATIBLE, "unheard-of", compute(&pair, &unheard, &err));
    ck_assert_ptr_null(pair.baseline.accel); /* untouched */
    MUST(compute(&pair, &avx, &err));
    add_names(&pair.offers[0].required, "avx2");
    MUST_FAIL(STATUS_INCOMPATIBLE, "avx2 is required by the site policy of a",
              compute(&pair, NULL, &err));
}
END_TEST

START_TEST(asked_for_by_name)
{
    autopair struct pair pair = pair_of(offer_of("a", "tcg", "avx avx2 lm", ""),
                                        offer_of("b", "tcg", "avx lm", "avx2"), "max,+avx2", "max");
    gives(&pair, "avx lm");
    ck_assert_uint_eq(pair.report.warnings.count, 1);
    ck_assert_ptr_nonnull(strstr(pair.report.warnings.items[0], "avx2"));
    ck_assert_ptr_nonnull(strstr(pair.report.warnings.items[0], "on b"));
    cpu_request_free(&pair.requests[0]);
    pair.requests[0] = request_of("max,+avx2,enforce");
    MUST_FAIL(STATUS_INCOMPATIBLE, "enforce", compute(&pair, NULL, &err));
    cpu_request_free(&pair.requests[0]);
    pair.requests[0] = request_of("max,+avx,enforce");
    gives(&pair, "avx lm");
    ck_assert_uint_eq(pair.report.warnings.count, 0);
}
END_TEST

START_TEST(named_model)
{
    autopair struct pair pair =
        pair_of(offer_of("a", "kvm", "avx avx2 lm pcid x2apic", "tsx"),
                offer_of("b", "kvm", "avx lm pcid x2apic", "avx2 tsx"), "Old-v1,+x2apic", "host");
    MUST_FAIL(STATUS_INCOMPATIBLE, "does not know the CPU model Old-v1",
              compute(&pair, NULL, &err));
    add_model(&pair.offers[0], "Old-v1", 13, "avx avx2 lm tsx");
    MUST_FAIL(STATUS_INCOMPATIBLE, "QEMU of b does not know", compute(&pair, NULL, &err));
    add_model(&pair.offers[1], "Old-v1", 13, "avx avx2 lm tsx");
    gives(&pair, "avx lm x2apic"); /* the model and what was asked for, not pcid */
    ck_assert_str_eq(pair.baseline.model, "Old-v1");
    ck_assert_uint_eq(pair.baseline.identity.model, 60);
    ck_assert_uint_eq(pair.baseline.identity.level, 13);
    autofree char *text = losses(&pair);
    /* b wanted the best, so what the other's model takes from it is a loss as well, and is said */
    ck_assert_str_eq(text, "avx2:b=host pcid:a=request,b=request tsx:a=host,b=host");
    ck_assert_uint_eq(pair.report.warnings.count, 1);
    ck_assert_ptr_nonnull(strstr(pair.report.warnings.items[0], "Old-v1 is the wish of a"));
    /* a model of another vendor is another model: no host's text gets into the other's -cpu */
    autofree char *vendor = strdup(pair.offers[1].models[0].identity.vendor);
    snprintf(pair.offers[1].models[0].identity.vendor, CPU_VENDOR_SIZE, "x=on id=\"../");
    MUST_FAIL(STATUS_INCOMPATIBLE, "not the same", compute(&pair, NULL, &err));
    snprintf(pair.offers[1].models[0].identity.vendor, CPU_VENDOR_SIZE, "%s", vendor);
    /* a level that is not the same counts where it is lowest, in both orders */
    for (int i = 0; i < 2; i++) {
        pair.offers[i].models[0].identity.level = 11;
        pair.offers[1 - i].models[0].identity.level = 13;
        MUST(compute(&pair, NULL, &err));
        ck_assert_uint_eq(pair.baseline.identity.level, 11);
    }
    /* the QEMUs must mean the same by it */
    featureset_remove(&pair.offers[1].models[0].features, "tsx");
    MUST_FAIL(STATUS_INCOMPATIBLE, "not the same in the QEMUs", compute(&pair, NULL, &err));
}
END_TEST

/* Two that cannot go together. */
START_TEST(refused)
{
    autopair struct pair accel =
        pair_of(offer_of("a", "kvm", "lm", ""), offer_of("b", "tcg", "lm", ""), "host", "max");
    MUST_FAIL(STATUS_INCOMPATIBLE, "tcg", compute(&accel, NULL, &err));
    autopair struct pair vendor =
        pair_of(offer_of("a", "kvm", "lm", ""), offer_of("b", "kvm", "lm", ""), "host", "host");
    memcpy(vendor.offers[1].identity.vendor, "AuthenticAMD", CPU_VENDOR_SIZE);
    MUST_FAIL(STATUS_INCOMPATIBLE, "AuthenticAMD", compute(&vendor, NULL, &err));
    autopair struct pair request = pair_of(offer_of("a", "kvm", "lm", ""),
                                           offer_of("b", "kvm", "lm", ""), "host,kvm=off", "host");
    MUST_FAIL(STATUS_INCOMPATIBLE, "kvm", compute(&request, NULL, &err));
}
END_TEST

START_TEST(identity_of_the_lesser)
{
    autopair struct pair pair =
        pair_of(offer_of("a", "kvm", "lm", ""), offer_of("b", "kvm", "lm", ""), "host,phys-bits=44",
                "host");
    static const struct cpu_identity older = {"GenuineIntel", 6, 62, 9, "Old", 23, 0x80000004};
    pair.offers[1].identity = older;
    pair.offers[1].phys_bits = 52;
    MUST(compute(&pair, NULL, &err));
    ck_assert_uint_eq(pair.baseline.identity.model, 62);
    ck_assert_uint_eq(pair.baseline.identity.stepping, 9);
    /* no named model fits; what one host calls its CPU is not told to the others' QEMU */
    ck_assert_str_eq(pair.baseline.identity.model_id, "QEMU Virtual CPU");
    ck_assert_uint_eq(pair.baseline.identity.level, 22);
    ck_assert_uint_eq(pair.baseline.identity.xlevel, 0x80000004);
    ck_assert_uint_eq(pair.baseline.phys_bits, 44);
    pair.offers[1].phys_bits = 40;
    MUST(compute(&pair, NULL, &err));
    ck_assert_uint_eq(pair.baseline.phys_bits, 40);
    featureset_remove(&pair.offers[1].available, "lm"); /* then there is no such number */
    MUST(compute(&pair, NULL, &err));
    ck_assert_uint_eq(pair.baseline.phys_bits, 0);
}
END_TEST

/* What a model has behind svm shows in no expansion and comes back with it. */
START_TEST(what_svm_brings_back)
{
    autopair struct pair pair =
        pair_of(offer_of("a", "kvm", "lm npt svm", "nrip-save avic"),
                offer_of("b", "kvm", "lm npt svm", "nrip-save avic"), "Old-v1,+svm,+npt", "host");
    for (int i = 0; i < 2; i++)
        add_model(&pair.offers[i], "Old-v1", 13, "lm");
    gives(&pair, "lm npt svm");
    autofree char *cpu = NULL, *base = NULL;
    MUST(cpu = render_cpu(&pair.baseline, &pair.offers[0], CPU_FORM_NAMED, &err));
    ck_assert_msg(strstr(cpu, "npt=on") && strstr(cpu, "svm=on"), "%s", cpu);
    ck_assert_msg(strstr(cpu, ",nrip-save=off") && strstr(cpu, ",avic=off"), "%s", cpu);
    ck_assert_msg(!strstr(cpu, "npt=off"), "%s", cpu);
    MUST(base = render_cpu(&pair.baseline, &pair.offers[0], CPU_FORM_BASE, &err));
    ck_assert_msg(!strstr(base, "nrip-save"), "%s", base);
}
END_TEST

START_TEST(rendering)
{
    static const struct {
        const char *accel, *b, *base, *host;
    } rows[] = {
        {"kvm", "avx lm",
         "base,vendor=GenuineIntel,family=6,model=85,stepping=7,model-id=QEMU Virtual CPU,level=22,"
         "xlevel=2147483656,ucode-rev=4294967296,host-phys-bits=on,host-phys-bits-limit=46,pmu=off,"
         "avx=on,lm=on,enforce=on",
         "host,vendor=GenuineIntel,family=6,model=85,stepping=7,model-id=QEMU Virtual CPU,level=22,"
         "xlevel=2147483656,ucode-rev=4294967296,host-phys-bits=on,host-phys-bits-limit=46,pmu=off,"
         "host-cache-info=off,smap=off,enforce=on"},
        {"tcg", "avx lm",
         "base,vendor=GenuineIntel,family=6,model=85,stepping=7,model-id=QEMU Virtual CPU,level=22,"
         "xlevel=2147483656,ucode-rev=4294967296,phys-bits=46,pmu=off,avx=on,lm=on,enforce=on",
         "max,vendor=GenuineIntel,family=6,model=85,stepping=7,model-id=QEMU Virtual CPU,level=22,"
         "xlevel=2147483656,ucode-rev=4294967296,phys-bits=46,pmu=off,host-cache-info=off,smap=off,"
         "enforce=on"},
        {"tcg", "avx",
         "base,vendor=GenuineIntel,family=6,model=85,stepping=7,model-id=QEMU Virtual CPU,level=22,"
         "xlevel=2147483656,ucode-rev=4294967296,pmu=off,avx=on,enforce=on",
         "max,vendor=GenuineIntel,family=6,model=85,stepping=7,model-id=QEMU Virtual CPU,level=22,"
         "xlevel=2147483656,ucode-rev=4294967296,pmu=off,host-cache-info=off,lm=off,smap=off,"
         "enforce=on"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autopair struct pair pair =
            pair_of(offer_of("a", rows[i].accel, "avx lm smap", "x-a"),
                    offer_of("b", rows[i].accel, rows[i].b, "smap lm x-b"), "host", "host");
        for (int k = 0; k < 2; k++)
            strcpy(pair.offers[k].identity.model_id, "X, Inc, @ 2");
        MUST(compute(&pair, NULL, &err));
        autofree char *base = NULL, *host = NULL;
        MUST(base = render_cpu(&pair.baseline, &pair.offers[0], CPU_FORM_BASE, &err));
        MUST(host = render_cpu(&pair.baseline, &pair.offers[0], CPU_FORM_HOST, &err));
        ck_assert_str_eq(base, rows[i].base);
        ck_assert_str_eq(host, rows[i].host);
        /* never a name that this QEMU does not have */
        featureset_remove(&pair.offers[0].known, "avx");
        MUST_FAIL(STATUS_INCOMPATIBLE, "QEMU of a has no name for avx",
                  render_cpu(&pair.baseline, &pair.offers[0], CPU_FORM_BASE, &err));
    }
}
END_TEST

START_TEST(rendering_knobs)
{
    autopair struct pair pair = pair_of(
        offer_of("a", "kvm", "lm", ""), offer_of("b", "kvm", "lm", ""),
        "host,kvm=off,vendor=AuthenticAMD,stepping=1", "host,stepping=1,vendor=AuthenticAMD,-kvm");
    MUST(compute(&pair, NULL, &err));
    autofree char *text = NULL;
    MUST(text = render_cpu(&pair.baseline, &pair.offers[1], CPU_FORM_BASE, &err));
    /* what the user set by name stands there once */
    static const char *const once[] = {"vendor=", "stepping=", "kvm=off", "family="};
    for (size_t i = 0; i < COUNT(once); i++) {
        const char *first = strstr(text, once[i]);
        ck_assert_msg(first && !strstr(first + 1, once[i]), "%s in %s", once[i], text);
    }
    ck_assert_ptr_nonnull(strstr(text, ",vendor=AuthenticAMD,"));
    enum cpu_form form;
    ck_assert(cpu_form_parse("host", &form) && form == CPU_FORM_HOST);
    ck_assert(!cpu_form_parse("Host", &form) && !cpu_form_parse("", &form));
}
END_TEST

/* The same models, by name, each as it was. */
static void must_have_models(const struct cpu_offer *offer, const struct cpu_offer *was)
{
    ck_assert_uint_eq(offer->model_count, was->model_count);
    for (size_t i = 0; i < offer->model_count; i++) {
        const struct cpu_model *is = &offer->models[i];
        const struct cpu_model *model = cpu_offer_find_model(was, is->name);
        ck_assert(model && featureset_equal(&model->features, &is->features));
        autojson json_t *one = cpu_identity_to_json(&model->identity);
        autojson json_t *other = cpu_identity_to_json(&is->identity);
        ck_assert_msg(json_equal(one, other), "identity of %s", is->name);
    }
}

START_TEST(as_json)
{
    autopair struct pair pair =
        pair_of(offer_of("a", "kvm", "avx lm x-new", ""), offer_of("b", "kvm", "avx lm x-new", ""),
                "host,kvm=off", "host,kvm=off");
    autobaseline struct baseline back = {0};
    MUST(compute(&pair, NULL, &err));
    autojson json_t *json = baseline_to_json(&pair.baseline);
    MUST(baseline_from_json(json, &back, &err));
    autofree char *one = baseline_text(&pair.baseline), *two = baseline_text(&back);
    ck_assert_str_eq(one, two);
    autocpuoffer struct cpu_offer offer = {0};
    add_model(&pair.offers[0], "Old-v1", 13, "avx lm");
    add_model(&pair.offers[0], "Old-v2", 13, "avx lm newer smap");
    add_model(&pair.offers[0], "Old-v3", 14, "avx lm smap");
    /* Each with one member of the identity that is not as that of the model before. */
    const struct cpu_identity identities[] = {
        {"AuthenticAMD", 6, 60, 4, "Model", 14, 0x80000008},
        {"AuthenticAMD", 6, 60, 4, "Model B", 14, 0x80000008},
        {"AuthenticAMD", 15, 60, 4, "Model B", 14, 0x80000008},
        {"AuthenticAMD", 15, 61, 4, "Model B", 14, 0x80000008},
        {"AuthenticAMD", 15, 61, 5, "Model B", 14, 0x80000008},
        {"AuthenticAMD", 15, 61, 5, "Model B", 14, 0x8000000a},
    };
    for (size_t i = 0; i < COUNT(identities); i++) {
        autofree char *name = string_format("Old-v%zu", 4 + i);
        add_model(&pair.offers[0], name, 14, "avx lm smap");
        pair.offers[0].models[3 + i].identity = identities[i];
    }
    add_model(&pair.offers[0], "Small-v1", 14, "lm");
    autojson json_t *as_offer = cpu_offer_to_json(&pair.offers[0]);
    MUST(cpu_offer_from_json(as_offer, &offer, &err));
    autojson json_t *again = cpu_offer_to_json(&offer);
    ck_assert(json_equal(as_offer, again));
    /* What differs from the model before is all that is said of one. */
    json_t *second = json_object_get(json_object_get(as_offer, "models"), "Old-v2");
    ck_assert_str_eq(json_string_value(json_object_get(second, "like")), "Old-v1");
    ck_assert(json_array_size(json_object_get(second, "on")) == 2 &&
              !json_object_get(second, "identity"));
    /* A model that has little is told in full, where that is less. */
    json_t *small = json_object_get(json_object_get(as_offer, "models"), "Small-v1");
    ck_assert(!json_object_get(small, "like") && json_object_get(small, "features"));
    must_have_models(&offer, &pair.offers[0]);
    /* The order of names counts, not that in which they come. */
    autojson json_t *turned = json_deep_copy(as_offer), *last_first = json_object();
    for (size_t i = offer.model_count; i-- > 0;) {
        const char *name = offer.models[i].name;
        json_object_set(last_first, name,
                        json_object_get(json_object_get(as_offer, "models"), name));
    }
    json_object_set(turned, "models", last_first);
    MUST(cpu_offer_from_json(turned, &offer, &err));
    must_have_models(&offer, &pair.offers[0]);
    static const struct {
        const char *member, *value;
    } bad[] = {
        {"host", "\"A\""},
        {"host", "\"\""},
        {"accel", "\"xen\""},
        {"phys_bits", "65"},
        {"phys_bits", "-1"},
        {"known", "[\"AVX\"]"},
        {"available", "{}"},
        {"denied", "[\"a\",\"a\"]"},
        {"required", "1"},
        {"models", "[]"},
        {"models", "{\"a,b\":{}}"},
        {"models", "{\"a\":{}}"},
        {"models", "{\"a\":{\"like\":\"a\",\"on\":[],\"off\":[]}}"},
        {"models", "{\"a\":{\"like\":\"b\",\"on\":[],\"off\":[]}}"},
        {"models", "{\"a\":{\"like\":1,\"on\":[],\"off\":[]}}"},
        {"identity", "{}"},
        {"more", "1"},
    };
    /* Names that nobody here knows are not multiplied by models that are like each other. */
    autojson json_t *many = json_deep_copy(as_offer), *models = json_object(),
                    *names = json_array();
    for (int i = 0; i < 600; i++)
        json_array_append_new(names, json_sprintf("n%d", i));
    for (int i = 0; i < 40; i++) {
        autofree char *name = string_format("m%02d", i), *like = string_format("m%02d", i - 1);
        json_object_set_new(models, name,
                            i == 0 ? json_pack("{s:O, s:O}", "identity",
                                               json_object_get(as_offer, "identity"), "features",
                                               names)
                                   : json_pack("{s:s, s:[], s:[]}", "like", like, "on", "off"));
        json_object_set(many, "models", models);
        if (i < 27)
            MUST(cpu_offer_from_json(many, &offer, &err));
    }
    MUST_FAIL(STATUS_DATA, "too many", cpu_offer_from_json(many, &offer, &err));
    for (size_t i = 0; i < COUNT(bad); i++) {
        autojson json_t *copy = json_deep_copy(as_offer);
        json_object_set_new(copy, bad[i].member, json_loads(bad[i].value, JSON_DECODE_ANY, NULL));
        MUST_FAIL(STATUS_DATA, "", cpu_offer_from_json(copy, &offer, &err));
    }
}
END_TEST

void add_baseline_tests(const TTest **tests, size_t *count)
{
    const TTest *const mine[] = {
        causes,    requirements_lost,      unshown,
        required,  asked_for_by_name,      named_model,
        refused,   identity_of_the_lesser, what_svm_brings_back,
        rendering, rendering_knobs,        as_json,
    };
    for (size_t i = 0; i < COUNT(mine); i++)
        tests[(*count)++] = mine[i];
}
