/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What must hold for every baseline, on many synthetic hosts from a fixed seed.
 */
#include "cpu_fixture.h"

#define PARTIES_MAX 5
#define ROUNDS 150

static uint64_t state;

/* Knuth's MMIX generator: the same everywhere. */
static unsigned roll(unsigned sides)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(state >> 33) % sides;
}

static const char *const futures[] = {"future-a", "future-b", "zzz-future"};

/* A host with most features of a QEMU that lacks some names, and a policy now and then. */
static struct cpu_offer random_offer(size_t number, const char *accel, bool policies)
{
    autofree char *host = string_format("host-%zu", number);
    struct cpu_offer offer = offer_of(host, accel, "", "lm");
    size_t count;
    const struct feature *table = feature_table(&count);
    unsigned unknown = roll(10), missing = 1 + roll(40);
    for (size_t i = 0; i < count + COUNT(futures); i++) {
        const char *name = i < count ? table[i].name : futures[i - count];
        if (roll(100) < unknown)
            continue;
        ck_assert(featureset_add(&offer.known, name));
        if (roll(100) >= missing)
            ck_assert(featureset_add(&offer.available, name));
        if (policies && roll(100) == 0)
            ck_assert(featureset_add(&offer.denied, name));
    }
    /* A QEMU that has a name has those that it requires. */
    for (size_t i = 0; i < count; i++)
        for (const char *rest = featureset_has(&offer.known, table[i].name)
                                    ? feature_requires(table[i].name)
                                    : NULL;
             rest && *rest;) {
            char name[FEATURE_NAME_SIZE];
            rest = feature_next_name(rest, name);
            ck_assert(featureset_add(&offer.known, name));
        }
    offer.identity.model = 60 + roll(3);
    offer.identity.stepping = roll(3);
    snprintf(offer.identity.model_id, CPU_MODEL_ID_SIZE, "Model, %u", roll(3));
    offer.identity.level = 13 + roll(10);
    offer.phys_bits = 36 + roll(17);
    return offer;
}

static bool is_closed(const struct featureset *features, const struct featureset *known)
{
    autofeatureset struct featureset closed = {0};
    ck_assert(featureset_copy(&closed, features));
    featureset_close(&closed, known);
    return featureset_equal(&closed, features);
}

/* All that a -cpu value switches, held against the QEMU that it is for and the promise. */
static void check_rendered(const struct baseline *baseline, const struct cpu_offer *offer,
                           enum cpu_form form)
{
    autofree char *text = NULL;
    MUST(text = render_cpu(baseline, offer, form, &err));
    autostrlist struct strlist words = {0};
    ck_assert(strlist_split(&words, text, ','));
    autofeatureset struct featureset result = {0};
    if (form == CPU_FORM_HOST)
        ck_assert(featureset_copy(&result, &offer->available));
    bool numbers = true; /* they come first, and end with pmu=off */
    for (size_t i = 1; i < words.count; i++) {
        char *value = strchr(words.items[i], '=');
        ck_assert_msg(value != NULL, "'%s' in %s", words.items[i], text);
        *value++ = '\0';
        const char *name = words.items[i];
        bool fixed =
            numbers || strcmp(name, "enforce") == 0 || strcmp(name, "host-cache-info") == 0;
        numbers = numbers && strcmp(name, "pmu") != 0;
        if (fixed)
            continue;
        ck_assert_msg(featureset_has(&offer->known, name), "%s for %s", name, offer->host);
        if (strcmp(value, "on") == 0)
            ck_assert(featureset_add(&result, name));
        else
            featureset_remove(&result, name);
    }
    ck_assert_msg(featureset_equal(&result, &baseline->features), "%s for %s", text, offer->host);
}

static void check_report(const struct baseline *baseline, const struct baseline_report *report)
{
    for (size_t i = 0; i < report->loss_count; i++) {
        const struct loss *loss = &report->losses[i];
        ck_assert(!featureset_has(&baseline->features, loss->feature));
        ck_assert_msg(loss->hosts.count > 0, "nobody lacks %s", loss->feature);
        ck_assert(loss->security == feature_is_security(loss->feature));
        if (i > 0)
            ck_assert(report->losses[i - 1].security > loss->security ||
                      (report->losses[i - 1].security == loss->security &&
                       strcmp(report->losses[i - 1].feature, loss->feature) < 0));
    }
}

START_TEST(any_parties_in_any_order)
{
    state = 1;
    for (int round = 0; round < ROUNDS; round++) {
        size_t count = 2 + roll(PARTIES_MAX - 1);
        const char *accel = roll(2) ? "kvm" : "tcg";
        struct cpu_offer each[PARTIES_MAX] = {0};
        struct cpu_request asked[PARTIES_MAX] = {0};
        const struct cpu_offer *offers[PARTIES_MAX];
        const struct cpu_request *requests[PARTIES_MAX];
        for (size_t i = 0; i < count; i++) {
            static const char *const words[] = {"host",
                                                "host",
                                                "host,-avx,+avx2",
                                                "max,phys-bits=39",
                                                "host,-arch-capabilities",
                                                "max,+future-a,-svm"};
            each[i] = random_offer(i, accel, true);
            asked[i] = request_of(words[roll(COUNT(words))]);
            offers[i] = &each[i];
            requests[i] = &asked[i];
        }
        autofree char *first = NULL;
        for (int order = 0; order < 4; order++) {
            autobaseline struct baseline baseline = {0};
            autobaselinereport struct baseline_report report = {0};
            MUST(baseline_compute(offers, requests, count, NULL, &baseline, &report, &err));
            autofree char *text = baseline_text(&baseline);
            if (!first)
                first = strdup(text);
            ck_assert_msg(strcmp(text, first) == 0, "round %d: %s and %s", round, first, text);
            for (size_t i = 0; i < count; i++) {
                ck_assert(is_subset(&baseline.features, &offers[i]->available));
                ck_assert(is_subset(&baseline.features, &offers[i]->known));
                ck_assert(is_closed(&baseline.features, &offers[i]->known));
                ck_assert_uint_le(baseline.phys_bits, offers[i]->phys_bits);
                autofeatureset struct featureset forbidden = {0};
                ck_assert(featureset_copy(&forbidden, &offers[i]->denied) &&
                          featureset_unite(&forbidden, &requests[i]->off));
                featureset_intersect(&forbidden, &baseline.features);
                ck_assert_uint_eq(featureset_count(&forbidden), 0);
                check_rendered(&baseline, offers[i], CPU_FORM_BASE);
                check_rendered(&baseline, offers[i], CPU_FORM_HOST);
            }
            ck_assert((baseline.phys_bits > 0) == featureset_has(&baseline.features, "lm"));
            check_report(&baseline, &report);
            for (size_t i = count - 1; i > 0; i--) { /* another order */
                size_t k = roll((unsigned)i + 1);
                const struct cpu_offer *offer = offers[i];
                const struct cpu_request *request = requests[i];
                offers[i] = offers[k];
                requests[i] = requests[k];
                offers[k] = offer;
                requests[k] = request;
            }
        }
        for (size_t i = 0; i < count; i++) {
            cpu_offer_free(&each[i]);
            cpu_request_free(&asked[i]);
        }
    }
}
END_TEST

static struct baseline join(const struct cpu_offer *a, const struct cpu_offer *b,
                            const struct cpu_offer *c)
{
    const struct cpu_offer *offers[] = {a, b, c};
    autocpurequest struct cpu_request best = request_of(NULL);
    const struct cpu_request *requests[] = {&best, &best, &best};
    struct baseline baseline = {0};
    MUST(baseline_compute(offers, requests, c ? 3 : b ? 2 : 1, NULL, &baseline, NULL, &err));
    return baseline;
}

/* What two hosts can give together, as if it were one host. */
static struct cpu_offer as_offer(const struct baseline *baseline, const struct cpu_offer *a,
                                 const struct cpu_offer *b)
{
    struct cpu_offer offer = {.host = strdup("both"), .accel = strdup(baseline->accel)};
    offer.identity = baseline->identity;
    offer.phys_bits = baseline->phys_bits;
    ck_assert(featureset_copy(&offer.available, &baseline->features) &&
              featureset_copy(&offer.known, &a->known));
    featureset_intersect(&offer.known, &b->known);
    return offer;
}

START_TEST(associative_and_idempotent)
{
    state = 2;
    for (int round = 0; round < ROUNDS; round++) {
        autocpuoffer struct cpu_offer a = random_offer(0, "kvm", false),
                                      b = random_offer(1, "kvm", false),
                                      c = random_offer(2, "kvm", false);
        autobaseline struct baseline all = join(&a, &b, &c), ab = join(&a, &b, NULL),
                                     bc = join(&b, &c, NULL), alone = join(&a, NULL, NULL),
                                     twice = join(&a, &a, NULL);
        autocpuoffer struct cpu_offer of_ab = as_offer(&ab, &a, &b), of_bc = as_offer(&bc, &b, &c),
                                      of_a = as_offer(&alone, &a, &a);
        autobaseline struct baseline left = join(&of_ab, &c, NULL), right = join(&a, &of_bc, NULL),
                                     again = join(&of_a, &a, NULL);
        autofree char *one = baseline_text(&all), *two = baseline_text(&left),
                      *three = baseline_text(&right);
        ck_assert_str_eq(one, two);
        ck_assert_str_eq(one, three);
        autofree char *single = baseline_text(&alone), *pair = baseline_text(&twice),
                      *same = baseline_text(&again);
        ck_assert_str_eq(single, pair);
        ck_assert_str_eq(single, same);
    }
}
END_TEST

void add_property_tests(const TTest **tests, size_t *count)
{
    tests[(*count)++] = any_parties_in_any_order;
    tests[(*count)++] = associative_and_idempotent;
}
