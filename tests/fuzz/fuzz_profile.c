/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A host profile from outside: what can be read has a baseline with itself that is that of it
 * alone, in all forms, and one with a lesser host that is the same in either order.
 */
#include "cpu/render.h"
#include "device/device_report.h"
#include "fuzz.h"
#include "host/profile.h"

/* The baseline's bytes, which the caller frees, or NULL if there is none. */
static char *join(const struct cpu_offer *a, const struct cpu_offer *b,
                  const struct cpu_request *request, struct baseline *baseline)
{
    const struct cpu_offer *offers[] = {a, b};
    const struct cpu_request *requests[] = {request, request};
    autobaselinereport struct baseline_report report = {0};
    struct error err = ERROR_INIT;
    if (!baseline_compute(offers, requests, b ? 2 : 1, NULL, baseline, &report, &err)) {
        MUST(err.status == STATUS_INCOMPATIBLE && *err.message);
        return NULL;
    }
    for (size_t i = 0; i < report.loss_count; i++)
        MUST(!featureset_has(&baseline->features, report.losses[i].feature) &&
             report.losses[i].hosts.count > 0);
    return fuzz_written(baseline_to_json(baseline));
}

static void check_forms(const struct baseline *baseline, const struct cpu_offer *offer)
{
    for (int form = CPU_FORM_NAMED; form <= CPU_FORM_HOST; form++) {
        struct error err = ERROR_INIT;
        autofree char *cpu = render_cpu(baseline, offer, (enum cpu_form)form, &err);
        MUST(cpu || (form == CPU_FORM_NAMED && !baseline->model));
    }
}

static void check_round_trip(const char *text)
{
    autojson json_t *json = fuzz_reread(text);
    autobaseline struct baseline baseline = {0};
    MUST(baseline_from_json(json, &baseline, NULL));
    autofree char *again = fuzz_written(baseline_to_json(&baseline));
    MUST(strcmp(text, again) == 0);
}

/* Another host that lacks every third of the features. */
static void make_lesser(const struct cpu_offer *offer, struct cpu_offer *lesser)
{
    autofree char *text = fuzz_written(cpu_offer_to_json(offer));
    autojson json_t *json = fuzz_reread(text);
    MUST(cpu_offer_from_json(json, lesser, NULL));
    autofree char *again = fuzz_written(cpu_offer_to_json(lesser));
    MUST(strcmp(text, again) == 0);
    struct featureset_cursor cursor = {0};
    size_t number = 0;
    for (const char *name; (name = featureset_next(&offer->available, &cursor));)
        if (number++ % 3 == 0)
            featureset_remove(&lesser->available, name);
}

static void check_joins(const struct cpu_offer *offer, const struct cpu_request *request)
{
    autobaseline struct baseline alone = {0}, twice = {0}, less = {0}, reversed = {0};
    autocpuoffer struct cpu_offer lesser = {0};
    make_lesser(offer, &lesser);
    autofree char *text = join(offer, NULL, request, &alone);
    autofree char *both = join(offer, offer, request, &twice);
    MUST(!text == !both && (!text || strcmp(text, both) == 0));
    if (text) {
        check_forms(&alone, offer);
        check_round_trip(text);
    }
    autofree char *mixed = join(offer, &lesser, request, &less);
    autofree char *other = join(&lesser, offer, request, &reversed);
    MUST(!mixed == !other && (!mixed || strcmp(mixed, other) == 0));
    if (!mixed)
        return;
    check_forms(&less, offer);
    check_forms(&less, &lesser);
    struct featureset_cursor cursor = {0};
    for (const char *name; (name = featureset_next(&less.features, &cursor));)
        MUST(featureset_has(&lesser.available, name) || featureset_has(&lesser.unmigratable, name));
}

/* Devices: with itself and with one that says nothing the host loses nothing and misses nothing. */
static void check_devices(const struct profile *profile)
{
    static const struct device_offer nothing = {0};
    const struct device_host hosts[] = {
        {"a", &profile->devices}, {"b", &profile->devices}, {"c", &nothing}};
    autostrlist struct strlist uses = {0}, lines = {0};
    autodevicebaseline struct device_baseline alone = {0}, all = {0}, copy = {0};
    autodevicereport struct device_report report = {0}, gaps = {0};
    size_t count;
    const struct backend_info *backends = backend_table(&count);
    for (size_t i = 0; i < count; i++)
        MUST(strlist_push(&uses, backends[i].name));
    MUST(device_baseline_compute(hosts, 1, &uses, &alone, NULL, NULL));
    MUST(device_baseline_compute(hosts, 3, &uses, &all, &report, NULL));
    MUST(report.loss_count == 0 && report.unknown_count >= count);
    MUST(device_report_losses(&report, &lines, NULL) &&
         device_report_unknown(&report, &lines, NULL));
    MUST(device_baseline_check(&all, &hosts[0], &uses, NULL));
    MUST(device_baseline_gaps(&all, &hosts[0], &uses, &gaps, NULL) && gaps.loss_count == 0);
    MUST(device_baseline_copy(&all, &copy, NULL));
    autofree char *text = fuzz_written(device_baseline_to_json(&all));
    autofree char *again = fuzz_written(device_baseline_to_json(&copy));
    MUST(strcmp(text, again) == 0);
    for (size_t i = 0; i < alone.class_count; i++)
        for (size_t k = 0; k < alone.classes[i].off.count; k++)
            MUST(
                device_baseline_is_off(&all, alone.classes[i].name, alone.classes[i].off.items[k]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    autojson json_t *json = json_parse_strict((const char *)data, size, PROFILE_SIZE_MAX * 2, NULL);
    autoprofile struct profile profile = {0};
    if (!json || !profile_read(json, &profile, NULL))
        return 0;
    profile_check(&profile, profile.issued, NULL);
    check_devices(&profile);
    const struct cpu_offer *offer = &profile.offer;
    struct cpu_request best = {0};
    check_joins(offer, &best);
    if (offer->model_count > 0) {
        struct cpu_request named = {.model = offer->models[0].name};
        check_joins(offer, &named);
    }
    return 0;
}
