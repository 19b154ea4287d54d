/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A baseline that somebody else computed, held against what one host can give: a host takes what it
 * would have promised itself, and nothing else.
 */
#include "cpu_fixture.h"

#define OTHERS "avx avx2 lm pcid smap"

struct case_ {
    struct cpu_offer offers[2];
    struct cpu_request request;
    struct baseline baseline;
};

static void case_free(struct case_ *c)
{
    for (int i = 0; i < 2; i++)
        cpu_offer_free(&c->offers[i]);
    cpu_request_free(&c->request);
    baseline_free(&c->baseline);
}
#define autocase __attribute__((cleanup(case_free)))

/* What host b and host a, which is the one that checks, agree on. */
static struct case_ case_of(const char *accel, const char *mine, const char *cpu)
{
    struct case_ c = {
        .offers = {offer_of("a", accel, mine, OTHERS), offer_of("b", accel, OTHERS, "")},
        .request = request_of(cpu)};
    for (int i = 0; i < 2; i++)
        add_model(&c.offers[i], "Model-v1", 13, "avx lm");
    const struct cpu_offer *offers[] = {&c.offers[0], &c.offers[1]};
    const struct cpu_request *requests[] = {&c.request, &c.request};
    MUST(baseline_compute(offers, requests, 2, NULL, &c.baseline, NULL, &err));
    return c;
}

static void refused(const struct case_ *c, const char *words)
{
    MUST_FAIL(STATUS_INCOMPATIBLE, words, baseline_check(&c->baseline, &c->offers[0], &err));
}

static void taken(const struct case_ *c)
{
    MUST(baseline_check(&c->baseline, &c->offers[0], &err));
}

static void set_model(struct baseline *baseline, const char *name)
{
    free(baseline->model);
    baseline->model = name ? strdup(name) : NULL;
}

START_TEST(what_was_computed_is_taken)
{
    static const char *const requests[] = {"host",
                                           "max",
                                           "Model-v1",
                                           "host,-avx",
                                           "host,+pcid",
                                           "Model-v1,hv-time=on",
                                           "host,hv-vapic=on"};
    static const char *const offers[] = {OTHERS, "avx lm", "lm", "avx avx2 lm pcid smap fma"};
    static const char *const accels[] = {"kvm", "tcg"};
    for (size_t r = 0; r < COUNT(requests); r++)
        for (size_t o = 0; o < COUNT(offers); o++)
            for (size_t a = 0; a < COUNT(accels); a++) {
                autocase struct case_ c = case_of(accels[a], offers[o], requests[r]);
                taken(&c);
            }
}
END_TEST

/* A feature that this host did not promise. */
START_TEST(features)
{
    autocase struct case_ c = case_of("kvm", "avx lm", "host");
    taken(&c);
    ck_assert(featureset_add(&c.baseline.features, "avx2"));
    refused(&c, "avx2 (");
    ck_assert(featureset_add(&c.baseline.features, "pcid"));
    refused(&c, "pcid (");
    featureset_remove(&c.baseline.features, "avx2");
    featureset_remove(&c.baseline.features, "pcid");
    /* one that its QEMU does not even know */
    ck_assert(featureset_add(&c.baseline.features, "x-new"));
    refused(&c, "x-new (qemu) cannot be had on a");
    featureset_remove(&c.baseline.features, "x-new");
    taken(&c);
    /* and one that could not be migrated */
    add_names(&c.offers[0].known, "invtsc");
    add_names(&c.offers[0].unmigratable, "invtsc");
    ck_assert(featureset_add(&c.baseline.features, "invtsc"));
    refused(&c, "invtsc (");
}
END_TEST

START_TEST(site_policy)
{
    autocase struct case_ c = case_of("kvm", OTHERS, "host");
    taken(&c);
    add_names(&c.offers[0].denied, "smap");
    refused(&c, "smap (policy) cannot be had on a");
    featureset_remove(&c.offers[0].denied, "smap");
    add_names(&c.offers[0].required, "pcid");
    taken(&c);
    featureset_remove(&c.baseline.features, "pcid");
    refused(&c, "pcid is required by the site policy of a");
}
END_TEST

START_TEST(numbers)
{
    autocase struct case_ c = case_of("kvm", OTHERS, "host");
    c.baseline.phys_bits = c.offers[0].phys_bits;
    taken(&c);
    c.baseline.phys_bits++;
    refused(&c, "physical address bits");
    c.offers[0].phys_bits = 0; /* it does not know how many it has */
    taken(&c);
    c.offers[0].phys_bits = 46;
    c.baseline.phys_bits = 40;
    taken(&c);
}
END_TEST

START_TEST(accelerator_and_vendor)
{
    autocase struct case_ c = case_of("kvm", OTHERS, "host");
    free(c.baseline.accel);
    c.baseline.accel = strdup("tcg");
    refused(&c, "accelerator tcg, not kvm");
    free(c.baseline.accel);
    c.baseline.accel = strdup("kvm");
    memcpy(c.baseline.identity.vendor, "AuthenticAMD", CPU_VENDOR_SIZE);
    refused(&c, "vendors never mix");
    memcpy(c.baseline.identity.vendor, "genuineintel", CPU_VENDOR_SIZE);
    refused(&c, "vendors never mix");
}
END_TEST

/* Under TCG a CPU of any vendor can be had, by a model that is known here; never a text of a
 * peer's. */
START_TEST(vendor_under_tcg)
{
    autocase struct case_ c = case_of("tcg", OTHERS, "Model-v1");
    taken(&c);
    memcpy(c.offers[0].identity.vendor, "AuthenticAMD", CPU_VENDOR_SIZE);
    taken(&c); /* the model is one of GenuineIntel */
    memcpy(c.baseline.identity.vendor, "x=on/tmp/yyy", CPU_VENDOR_SIZE);
    refused(&c, "vendor");
    memcpy(c.baseline.identity.vendor, "AuthenticAMD", CPU_VENDOR_SIZE);
    taken(&c); /* this host's own */
    set_model(&c.baseline, NULL);
    snprintf(c.baseline.identity.model_id, CPU_MODEL_ID_SIZE, "QEMU Virtual CPU");
    taken(&c);
    memcpy(c.baseline.identity.vendor, "GenuineIntel", CPU_VENDOR_SIZE);
    refused(&c, "vendor");
}
END_TEST

/* The named model, and what a guest reads of it. */
START_TEST(models)
{
    autocase struct case_ c = case_of("kvm", OTHERS, "Model-v1");
    ck_assert_str_eq(c.baseline.model, "Model-v1");
    taken(&c);
    set_model(&c.baseline, "Model-v2");
    refused(&c, "Model-v2 is not known to the QEMU of a");
    set_model(&c.baseline, "Model-v1");
    static const char *const texts[] = {"model",         "Model ", "", "QEMU Virtual CPU",
                                        "x,firmware=/x", "Model,x"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        snprintf(c.baseline.identity.model_id, CPU_MODEL_ID_SIZE, "%s", texts[i]);
        refused(&c, "is another one there");
    }
    snprintf(c.baseline.identity.model_id, CPU_MODEL_ID_SIZE, "Model");
    taken(&c);
    unsigned *const members[] = {&c.baseline.identity.family, &c.baseline.identity.model,
                                 &c.baseline.identity.stepping};
    for (size_t i = 0; i < COUNT(members); i++) {
        (*members[i])++;
        refused(&c, "is another one there");
        (*members[i])--;
    }
    taken(&c);
    /* another definition of it here */
    c.offers[0].models[0].identity.stepping = 9;
    refused(&c, "is another one there");
}
END_TEST

/* Without a model the text is QEMU's own. */
START_TEST(without_a_model)
{
    autocase struct case_ c = case_of("kvm", OTHERS, "host");
    set_model(&c.baseline, NULL);
    snprintf(c.baseline.identity.model_id, CPU_MODEL_ID_SIZE, "Model");
    refused(&c, "(none)");
    snprintf(c.baseline.identity.model_id, CPU_MODEL_ID_SIZE, "QEMU Virtual CPU");
    taken(&c);
    snprintf(c.baseline.identity.model_id, CPU_MODEL_ID_SIZE, "QEMU Virtual CPU ");
    refused(&c, "(none)");
}
END_TEST

/* Knobs are carried as they are: their values are checked where they are read. */
START_TEST(knobs)
{
    autocase struct case_ c = case_of("kvm", OTHERS, "host,hv-time=on,hv-vendor-id=abc");
    taken(&c);
    autobaseline struct baseline copy = {0};
    MUST(baseline_copy(&c.baseline, &copy, &err));
    MUST(baseline_check(&copy, &c.offers[0], &err));
    ck_assert_str_eq(cpu_knobs_get(&copy.knobs, "hv-vendor-id"), "abc");
    static const struct {
        const char *name, *value;
    } bad[] = {
        {"hv-time", "on,firmware=/x"},
        {"hv-time", ""},
        {"hv-vendor-id", "a,b"},
        {"hv-vendor-id", "abcdefghijklm"},
        {"hv-vendor-id", "a\n"},
        {"hv-spinlocks", "0x1000,x=on"},
        {"hv-passthrough", "on"},
        {"x-force-features", "on"},
        {"migratable", "off"},
        {"avx", "on"},
        {"firmware", "/x"},
        {"hv-time,x", "on"},
        {"x-migrate-smi-count=on,+avx2,+svm,x-vendor-cpuid-only", "on"},
        {"x-a,+svm", "on"},
        {"x-a=b", "on"},
        {"x-A", "on"},
        {"x-force_features", "on"}, /* QEMU takes '_' for '-' */
        {"x_force_features", "on"},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        autojson json_t *json = baseline_to_json(&c.baseline);
        json_object_set_new(json_object_get(json, "knobs"), bad[i].name, json_string(bad[i].value));
        autobaseline struct baseline read = {0};
        MUST_FAIL(STATUS_DATA, "", baseline_from_json(json, &read, &err));
    }
    autojson json_t *many = baseline_to_json(&c.baseline);
    autobaseline struct baseline read = {0};
    for (int i = 0; i < 128; i++) {
        autofree char *name = string_format("x-%d", i);
        json_object_set_new(json_object_get(many, "knobs"), name, json_string("on"));
    }
    MUST_FAIL(STATUS_DATA, "at most 128", baseline_from_json(many, &read, &err));
}
END_TEST

/* A comma would end the property in -cpu. */
START_TEST(texts)
{
    autocase struct case_ c = case_of("kvm", OTHERS, "host");
    static const struct {
        const char *member, *value;
    } bad[] = {{"model_id", "a,+svm"}, {"vendor", "Genuine,Inte"}};
    for (size_t i = 0; i < COUNT(bad); i++) {
        autojson json_t *json = baseline_to_json(&c.baseline);
        autobaseline struct baseline read = {0};
        MUST(baseline_from_json(json, &read, &err));
        json_object_set_new(json_object_get(json, "identity"), bad[i].member,
                            json_string(bad[i].value));
        MUST_FAIL(STATUS_DATA, "", baseline_from_json(json, &read, &err));
    }
}
END_TEST

/* No leaves that the host has not, unless the model or a feature has them. */
START_TEST(levels)
{
    autocase struct case_ c = case_of("kvm", OTHERS, "host");
    struct cpu_identity *identity = &c.baseline.identity;
    const struct cpu_identity before = *identity;
    taken(&c);
    identity->level = 0x7fffffff;
    refused(&c, "CPUID leaves");
    *identity = before;
    identity->xlevel = 0xffffffff;
    refused(&c, "CPUID leaves");
    *identity = before;
    c.baseline.phys_bits = 0;
    refused(&c, "are not said");
    featureset_remove(&c.baseline.features, "lm");
    taken(&c);
}
END_TEST

void add_check_tests(const TTest **tests, size_t *count)
{
    const TTest *const mine[] = {
        what_was_computed_is_taken,
        features,
        site_policy,
        numbers,
        accelerator_and_vendor,
        vendor_under_tcg,
        models,
        without_a_model,
        knobs,
        texts,
        levels,
    };
    for (size_t i = 0; i < COUNT(mine); i++)
        tests[(*count)++] = mine[i];
}
