/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The CPU engine on real CPUs and on every named model of two QEMU versions (tests/data): what must
 * hold for all pairs, and for many random sets from a fixed seed.
 */
#include <dirent.h>

#include "cpu_fixture.h"

#include "base/file.h"
#include "host/profile.h"

#define HOSTS_MAX 256
#define DATA_SIZE_MAX ((size_t)1 << 20)
#define SET_MAX 12
#define SETS 400
#define ARCH_CAPABILITIES_MSR 0x10a

static struct cpu_offer hosts[HOSTS_MAX];
static size_t host_count, real_count;
/* The definitions that hosts borrow, and every feature name, of QEMU 7.2 and 10.0. */
static struct cpu_offer old_qemu, new_qemu;
static struct cpu_request best;
static uint64_t state;

/* Knuth's MMIX generator: the same everywhere. */
static unsigned roll(size_t sides)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((state >> 33) % sides);
}

static char *data_read(const char *name, size_t *length)
{
    autofree char *path = string_format("%s/%s", TEST_DATA, name);
    char *text = NULL;
    ck_assert_ptr_nonnull(path);
    MUST(file_read(path, DATA_SIZE_MAX, false, &text, length, &err));
    return text;
}

static void borrow_models(struct cpu_offer *offer, const struct cpu_offer *lender)
{
    free(offer->models); /* of none */
    offer->models = lender->models;
    offer->model_count = lender->model_count;
    offer->models_borrowed = true;
}

/* What profile --from-qmp makes of a recorded host. */
static void load_real_host(const char *name)
{
    size_t length;
    autofree char *path = string_format("hosts/%s", name);
    autofree char *text = data_read(path, &length);
    autojson json_t *payload = NULL;
    autoprofile struct profile profile = {0};
    MUST(payload = profile_import(text, length, &err));
    MUST(profile_read(payload, &profile, &err));
    hosts[host_count] = profile.offer;
    profile.offer = (struct cpu_offer){0};
    borrow_models(&hosts[host_count++], &new_qemu);
}

static int is_json(const struct dirent *entry)
{
    const char *end = strrchr(entry->d_name, '.');
    return end && strcmp(end, ".json") == 0;
}

static void load_real_hosts(void)
{
    struct dirent **entries;
    int count = scandir(TEST_DATA "/hosts", &entries, is_json, alphasort);
    ck_assert_int_ge(count, 12);
    for (int i = 0; i < count; i++) {
        load_real_host(entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    real_count = host_count;
}

/* A host whose CPU is exactly that model. */
static void add_model_host(const struct cpu_model *model, const struct cpu_offer *qemu)
{
    struct cpu_offer *offer = &hosts[host_count++];
    ck_assert_uint_lt(host_count, HOSTS_MAX);
    *offer = (struct cpu_offer){.host = string_format("%s-on-%s", model->name, qemu->host),
                                .accel = strdup("kvm"),
                                .identity = model->identity};
    offer->phys_bits = featureset_has(&model->features, "lm") ? 36 + roll(17) : 0;
    ck_assert(featureset_copy(&offer->available, &model->features) &&
              featureset_copy(&offer->known, &qemu->known));
    borrow_models(offer, qemu);
}

static void load_models(const char *name, const char *version, struct cpu_offer *qemu)
{
    size_t length;
    autofree char *text = data_read(name, &length);
    autojson json_t *json = NULL;
    MUST(json = json_parse_strict(text, length, DATA_SIZE_MAX, &err));
    /* As the CPU of a profile, which it is but for what a host would add. */
    autojson json_t *offer = json_pack(
        "{s:s, s:s, s:{s:s, s:i, s:i, s:i, s:s, s:i, s:i}, s:i, s:[], s:O, s:[], s:n, s:i, s:b, "
        "s:[], s:[], s:O}",
        "host", version, "accel", "kvm", "identity", "vendor", "GenuineIntel", "family", 0, "model",
        0, "stepping", 0, "model_id", "", "level", 0, "xlevel", 0, "phys_bits", 0, "available",
        "known", json_object_get(json, "known"), "unmigratable", "physical", "tsc_khz", 0,
        "tsc_scales", 0, "denied", "required", "models", json_object_get(json, "models"));
    MUST(cpu_offer_from_json(offer, qemu, &err));
}

static void setup(void)
{
    state = 6;
    best = request_of(NULL);
    load_models("models-7.2.json", "7.2", &old_qemu);
    load_models("models-10.0.json", "10.0", &new_qemu);
    ck_assert_uint_gt(new_qemu.model_count, old_qemu.model_count);
    load_real_hosts();
    for (size_t i = 0; i < old_qemu.model_count; i++)
        add_model_host(&old_qemu.models[i], &old_qemu);
    for (size_t i = 0; i < new_qemu.model_count; i++)
        add_model_host(&new_qemu.models[i], &new_qemu);
}

static void teardown(void)
{
    for (size_t i = 0; i < host_count; i++)
        cpu_offer_free(&hosts[i]);
    cpu_offer_free(&old_qemu);
    cpu_offer_free(&new_qemu);
    cpu_request_free(&best);
}

static bool same_vendor(const struct cpu_offer *a, const struct cpu_offer *b)
{
    return strcmp(a->identity.vendor, b->identity.vendor) == 0;
}

static void compute_best(const struct cpu_offer *const offers[], size_t count,
                         struct baseline *baseline)
{
    const struct cpu_request *requests[SET_MAX];
    for (size_t i = 0; i < count; i++)
        requests[i] = &best;
    MUST(baseline_compute(offers, requests, count, NULL, baseline, NULL, &err));
}

/* The CPU that QEMU makes of a -cpu value. */
struct evaluated {
    struct featureset features;
    struct cpu_identity identity;
};

static void set_number(unsigned *number, const char *value)
{
    uint64_t parsed;
    ck_assert_msg(parse_number(value, 0, UINT32_MAX, &parsed), "%s", value);
    *number = (unsigned)parsed;
}

/* One property; false if it is a feature. */
static bool set_identity(struct cpu_identity *identity, const char *name, const char *value)
{
    static const char *const others[] = {
        "ucode-rev",       "host-phys-bits", "host-phys-bits-limit", "avx10-version", "pmu",
        "host-cache-info", "enforce"};
    const struct {
        const char *name;
        unsigned *number;
    } numbers[] = {
        {"family", &identity->family},     {"model", &identity->model},
        {"stepping", &identity->stepping}, {"level", &identity->level},
        {"xlevel", &identity->xlevel},
    };
    for (size_t i = 0; i < COUNT(numbers); i++)
        if (strcmp(numbers[i].name, name) == 0) {
            set_number(numbers[i].number, value);
            return true;
        }
    if (strcmp(name, "vendor") == 0)
        snprintf(identity->vendor, sizeof(identity->vendor), "%s", value);
    else if (strcmp(name, "model-id") == 0)
        snprintf(identity->model_id, sizeof(identity->model_id), "%s", value);
    else {
        for (size_t i = 0; i < COUNT(others); i++)
            if (strcmp(others[i], name) == 0)
                return true;
        return false;
    }
    return true;
}

/* Where the first word of -cpu starts from: a model's definition, nothing, or what the host has. */
static void start_from(struct evaluated *cpu, const char *word, const struct cpu_offer *offer)
{
    if (strcmp(word, "host") == 0) {
        ck_assert(featureset_copy(&cpu->features, &offer->available));
        return;
    }
    if (strcmp(word, "base") == 0)
        return;
    const struct cpu_model *model = cpu_offer_find_model(offer, word);
    ck_assert_msg(model != NULL, "%s has no %s", offer->host, word);
    ck_assert(featureset_copy(&cpu->features, &model->features));
    /* Definitions lent to a recorded host are of a newer QEMU; its own has no more than it knows.
     */
    featureset_intersect(&cpu->features, &offer->known);
    cpu->identity = model->identity;
}

static void evaluate(const char *text, const struct cpu_offer *offer, struct evaluated *cpu)
{
    autostrlist struct strlist words = {0};
    ck_assert(strlist_split(&words, text, ','));
    start_from(cpu, words.items[0], offer);
    for (size_t i = 1; i < words.count; i++) {
        const char *name = words.items[i];
        char *value = strchr(words.items[i], '=');
        if (!value)
            ck_abort_msg("'%s' in %s", name, text);
        *value++ = '\0';
        if (set_identity(&cpu->identity, name, value))
            continue;
        if (!featureset_has(&offer->known, name))
            ck_abort_msg("the QEMU of %s has no name %s: %s", offer->host, name, text);
        bool on = strcmp(value, "on") == 0;
        if (!on)
            featureset_remove(&cpu->features, name);
        else if (!featureset_add(&cpu->features, name)) /* ck_assert writes a note each time */
            ck_abort_msg("no memory");
    }
}

static bool identity_equal(const struct cpu_identity *a, const struct cpu_identity *b)
{
    return strcmp(a->vendor, b->vendor) == 0 && a->family == b->family && a->model == b->model &&
           a->stepping == b->stepping && strcmp(a->model_id, b->model_id) == 0 &&
           a->level == b->level && a->xlevel == b->xlevel;
}

/* All forms are the promise, in names that this QEMU has. */
static void check_forms(const struct baseline *baseline, const struct cpu_offer *offer)
{
    for (int form = CPU_FORM_NAMED; form <= CPU_FORM_HOST; form++) {
        struct evaluated cpu = {0};
        autofree char *text = NULL;
        MUST(text = render_cpu(baseline, offer, (enum cpu_form)form, &err));
        evaluate(text, offer, &cpu);
        if (!featureset_equal(&cpu.features, &baseline->features))
            ck_abort_msg("not the features promised to %s: %s", offer->host, text);
        if (!identity_equal(&cpu.identity, &baseline->identity))
            ck_abort_msg("not the identity promised to %s: %s", offer->host, text);
        featureset_free(&cpu.features);
    }
}

static void check_subset(const struct featureset *features, const struct featureset *of,
                         const char *host)
{
    struct featureset rest = {0};
    ck_assert(featureset_copy(&rest, features));
    featureset_subtract(&rest, of);
    if (featureset_count(&rest) > 0)
        ck_abort_msg("%s lacks %s", host,
                     featureset_next(&rest, &(struct featureset_cursor){0, 0}));
    featureset_free(&rest);
}

static void check_closed(const struct featureset *features, const struct featureset *known)
{
    autofeatureset struct featureset closed = {0};
    ck_assert(featureset_copy(&closed, features));
    featureset_close(&closed, known);
    if (!featureset_equal(&closed, features))
        ck_abort_msg("the baseline has a feature without what it requires");
}

/* A guest can read all its features: none is beyond the levels (0: left to QEMU). */
static void check_levels(const struct baseline *baseline)
{
    uint32_t level = baseline->identity.level, xlevel = baseline->identity.xlevel;
    struct featureset_cursor cursor = {0};
    for (const char *name; (name = featureset_next(&baseline->features, &cursor));) {
        const struct feature *feature = feature_find(name);
        if (!feature || feature->places[0].kind != PLACE_CPUID)
            continue;
        uint32_t leaf = feature->places[0].leaf;
        if ((leaf < 0x40000000 && level > 0 && leaf > level) ||
            (leaf >= 0x80000000 && leaf < 0xc0000000 && xlevel > 0 && leaf > xlevel))
            ck_abort_msg("%s is in leaf %#x, the levels are %#x and %#x", name, leaf, level,
                         xlevel);
    }
}

/* What must hold between a baseline and each of its parties. */
static void check_party(const struct baseline *baseline, const struct cpu_offer *offer)
{
    check_subset(&baseline->features, &offer->available, offer->host);
    check_subset(&baseline->features, &offer->known, offer->host);
    check_closed(&baseline->features, &offer->known);
    if (offer->phys_bits > 0)
        ck_assert_uint_le(baseline->phys_bits, offer->phys_bits);
    check_forms(baseline, offer);
}

START_TEST(all_pairs)
{
    size_t step = unit_rounds(20) == 20 ? 1 : 5;
    for (size_t i = 0; i < host_count; i += step) {
        for (size_t k = i % step; k <= i; k += step) {
            const struct cpu_offer *pair[] = {&hosts[i], &hosts[k]};
            const struct cpu_offer *reverse[] = {&hosts[k], &hosts[i]};
            if (!same_vendor(pair[0], pair[1])) {
                const struct cpu_request *requests[] = {&best, &best};
                struct baseline none = {0};
                MUST_FAIL(STATUS_INCOMPATIBLE, "vendors never mix",
                          baseline_compute(pair, requests, 2, NULL, &none, NULL, &err));
                continue;
            }
            autobaseline struct baseline one = {0}, two = {0};
            compute_best(pair, i == k ? 1 : 2, &one);
            compute_best(reverse, 2, &two); /* for i == k: with itself */
            autofree char *text = baseline_text(&one), *other = baseline_text(&two);
            if (strcmp(text, other) != 0)
                ck_abort_msg("%s with %s: %s, the other way %s", pair[0]->host, pair[1]->host, text,
                             other);
            check_levels(&one);
            check_party(&one, pair[0]);
            if (i != k)
                check_party(&one, pair[1]);
        }
    }
}
END_TEST

/* Up to SET_MAX hosts of one vendor, the real ones as often as all others. */
static size_t choose_set(const struct cpu_offer *set[SET_MAX])
{
    size_t wanted = 3 + roll(SET_MAX - 2), count = 0;
    const struct cpu_offer *first = &hosts[roll(roll(2) ? real_count : host_count)];
    set[count++] = first;
    while (count < wanted) {
        const struct cpu_offer *next = &hosts[roll(roll(2) ? real_count : host_count)];
        if (same_vendor(first, next))
            set[count++] = next;
    }
    return count;
}

static void shuffle(const struct cpu_offer *set[], size_t count)
{
    for (size_t i = count - 1; i > 0; i--) {
        size_t k = roll(i + 1);
        const struct cpu_offer *offer = set[i];
        set[i] = set[k];
        set[k] = offer;
    }
}

START_TEST(random_sets_in_any_order)
{
    for (int round = 0; round < unit_rounds(SETS); round++) {
        const struct cpu_offer *set[SET_MAX];
        size_t count = choose_set(set);
        autobaseline struct baseline first = {0};
        compute_best(set, count, &first);
        autofree char *text = baseline_text(&first);
        check_levels(&first);
        for (size_t i = 0; i < count; i++)
            check_party(&first, set[i]);
        for (int order = 0; order < 3; order++) {
            autobaseline struct baseline again = {0};
            shuffle(set, count);
            compute_best(set, count, &again);
            autofree char *other = baseline_text(&again);
            ck_assert_str_eq(text, other);
        }
    }
}
END_TEST

/* What some hosts give together, as if they were one host: without models, whose definitions are
 * those of the single QEMUs. */
static struct cpu_offer join(const struct cpu_offer *const set[], size_t count)
{
    autobaseline struct baseline baseline = {0};
    compute_best(set, count, &baseline);
    struct cpu_offer offer = {.host = strdup("joined"), .accel = strdup(baseline.accel)};
    offer.identity = baseline.identity;
    offer.phys_bits = baseline.phys_bits;
    ck_assert(featureset_copy(&offer.available, &baseline.features) &&
              featureset_copy(&offer.known, &set[0]->known));
    for (size_t i = 1; i < count; i++)
        featureset_intersect(&offer.known, &set[i]->known);
    return offer;
}

/* The set in any grouping: split in two at random, each joined likewise. */
static struct cpu_offer join_grouped(const struct cpu_offer *const set[], size_t count)
{
    if (count == 1)
        return join(set, 1);
    size_t split = 1 + roll(count - 1);
    autocpuoffer struct cpu_offer left = join_grouped(set, split),
                                  right = join_grouped(set + split, count - split);
    return join((const struct cpu_offer *const[]){&left, &right}, 2);
}

START_TEST(any_grouping)
{
    for (int round = 0; round < unit_rounds(SETS); round++) {
        const struct cpu_offer *set[SET_MAX];
        size_t count = choose_set(set);
        autocpuoffer struct cpu_offer all = join(set, count);
        for (int grouping = 0; grouping < 4; grouping++) {
            autocpuoffer struct cpu_offer grouped = join_grouped(set, count);
            autocpuoffer struct cpu_offer twice =
                join((const struct cpu_offer *const[]){&grouped, &grouped, &all}, 3);
            ck_assert(featureset_equal(&grouped.available, &all.available));
            ck_assert(featureset_equal(&twice.available, &all.available));
            ck_assert_uint_eq(grouped.phys_bits, all.phys_bits);
            shuffle(set, count);
        }
    }
}
END_TEST

START_TEST(every_triple_of_real_hosts)
{
    for (size_t a = 0; a < real_count; a += unit_rounds(20) == 20 ? 1 : 7)
        for (size_t b = 0; b < real_count; b++)
            for (size_t c = 0; c < real_count; c++) {
                const struct cpu_offer *set[] = {&hosts[a], &hosts[b], &hosts[c]};
                if (!same_vendor(set[0], set[1]) || !same_vendor(set[0], set[2]))
                    continue;
                autocpuoffer struct cpu_offer all = join(set, 3), ab = join(set, 2);
                autocpuoffer struct cpu_offer left =
                    join((const struct cpu_offer *const[]){&ab, set[2]}, 2);
                ck_assert(featureset_equal(&left.available, &all.available));
            }
}
END_TEST

static struct cpu_offer *find_host(const char *name)
{
    for (size_t i = 0; i < host_count; i++)
        if (strcmp(hosts[i].host, name) == 0)
            return &hosts[i];
    ck_abort_msg("no host %s", name);
    return NULL;
}

START_TEST(a_name_of_one_qemu_is_not_named_to_the_other)
{
    autofeatureset struct featureset newer = {0};
    ck_assert(featureset_copy(&newer, &new_qemu.known));
    featureset_subtract(&newer, &old_qemu.known);
    ck_assert_uint_gt(featureset_count(&newer), 50);
    const struct cpu_offer *pair[] = {find_host("GraniteRapids-v1-on-10.0"),
                                      find_host("Icelake-Server-v5-on-7.2")};
    const struct cpu_request *requests[] = {&best, &best};
    autofeatureset struct featureset lost = {0};
    ck_assert(featureset_copy(&lost, &pair[0]->available));
    featureset_intersect(&lost, &newer);
    ck_assert_uint_gt(featureset_count(&lost), 5);
    autobaseline struct baseline baseline = {0};
    autobaselinereport struct baseline_report report = {0};
    MUST(baseline_compute(pair, requests, 2, NULL, &baseline, &report, &err));
    for (int form = CPU_FORM_NAMED; form <= CPU_FORM_HOST; form++) {
        autofree char *text = NULL;
        MUST(text = render_cpu(&baseline, pair[1], (enum cpu_form)form, &err));
        struct featureset_cursor cursor = {0};
        for (const char *name; (name = featureset_next(&newer, &cursor));) {
            autofree char *on = string_format(",%s=", name);
            ck_assert_msg(!strstr(text, on), "%s in %s", name, text);
        }
    }
    size_t blamed = 0;
    for (size_t i = 0; i < report.loss_count; i++)
        if (featureset_has(&lost, report.losses[i].feature)) {
            ck_assert_str_eq(report.losses[i].hosts.items[0], pair[1]->host);
            ck_assert_int_eq(report.losses[i].causes[0], LOSS_QEMU);
            blamed++;
        }
    ck_assert_uint_eq(blamed, featureset_count(&lost));
}
END_TEST

/* Features that live in IA32_ARCH_CAPABILITIES, which is not there without arch-capabilities. */
static size_t count_dependents(const struct featureset *features)
{
    size_t count = 0;
    struct featureset_cursor cursor = {0};
    for (const char *name; (name = featureset_next(features, &cursor));) {
        const struct feature *feature = feature_find(name);
        count += feature && feature->places[0].kind == PLACE_MSR &&
                 feature->places[0].leaf == ARCH_CAPABILITIES_MSR;
    }
    return count;
}

START_TEST(arch_capabilities_off_drops_its_dependents)
{
    autocpurequest struct cpu_request off = request_of("host,-arch-capabilities");
    size_t with = 0;
    for (size_t i = 0; i < host_count; i++) {
        const struct cpu_offer *offer = &hosts[i];
        const struct cpu_request *request = &off;
        autobaseline struct baseline baseline = {0};
        MUST(baseline_compute(&offer, &request, 1, NULL, &baseline, NULL, &err));
        ck_assert_uint_eq(count_dependents(&baseline.features), 0);
        check_party(&baseline, offer);
        with += count_dependents(&offer->available) > 2;
    }
    ck_assert_uint_gt(with, 20);
    /* Likewise when it is another host that lacks it. */
    const struct cpu_offer *pair[] = {find_host("xeon-w7-3465x"), find_host("xeon-e5-2623-v4")};
    ck_assert_uint_gt(count_dependents(&pair[0]->available), 8);
    autobaseline struct baseline baseline = {0};
    compute_best(pair, 2, &baseline);
    ck_assert_uint_eq(count_dependents(&baseline.features), 0);
}
END_TEST

START_TEST(intel_with_amd_is_refused)
{
    const struct cpu_offer *three[] = {find_host("xeon-gold-6130"), find_host("cooperlake"),
                                       find_host("epyc-7502-32-core")};
    const struct cpu_request *requests[] = {&best, &best, &best};
    struct baseline none = {0};
    MUST_FAIL(STATUS_INCOMPATIBLE, "epyc-7502-32-core",
              baseline_compute(three, requests, 3, NULL, &none, NULL, &err));
    ck_assert_ptr_null(none.model);
}
END_TEST

START_TEST(a_feature_beside_an_old_model_can_be_read)
{
    static const struct {
        const char *cpu;
        uint32_t level, xlevel;
    } rows[] = {
        {"486-v1,+smap", 7, 0},
        {"486-v1,+lm,+lahf-lm", 1, 0x80000001},
        {"Conroe-v1,+xsave,+xgetbv1", 0xd, 0x80000008},
        {"Conroe-v1", 10, 0x80000008},
    };
    const struct cpu_offer *offer = find_host("xeon-w7-3465x");
    for (size_t i = 0; i < COUNT(rows); i++) {
        autocpurequest struct cpu_request request = request_of(rows[i].cpu);
        const struct cpu_request *requests = &request;
        autobaseline struct baseline baseline = {0};
        MUST(baseline_compute(&offer, &requests, 1, NULL, &baseline, NULL, &err));
        ck_assert_uint_eq(baseline.identity.level, rows[i].level);
        ck_assert_uint_eq(baseline.identity.xlevel, rows[i].xlevel);
        check_levels(&baseline);
        check_party(&baseline, offer);
    }
}
END_TEST

int main(void)
{
    static const struct unit_fixture fixture = {.setup = setup, .teardown = teardown, .once = true};
    const TTest *const tests[] = {all_pairs,
                                  random_sets_in_any_order,
                                  any_grouping,
                                  every_triple_of_real_hosts,
                                  a_name_of_one_qemu_is_not_named_to_the_other,
                                  arch_capabilities_off_drops_its_dependents,
                                  intel_with_amd_is_refused,
                                  a_feature_beside_an_old_model_can_be_read};
    return unit_run_with("engine", tests, COUNT(tests), &fixture);
}
