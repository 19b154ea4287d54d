/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Sets, offers and requests from short texts, for the tests of src/cpu.
 */
#ifndef QML_TESTS_CPU_FIXTURE_H
#define QML_TESTS_CPU_FIXTURE_H

#include "unit.h"

#include "cpu/baseline.h"
#include "cpu/feature_table.h"
#include "cpu/render.h"

#define TESTS_MAX 64

/* Each file adds its tests. */
void add_request_tests(const TTest **tests, size_t *count);
void add_baseline_tests(const TTest **tests, size_t *count);
void add_check_tests(const TTest **tests, size_t *count);
void add_property_tests(const TTest **tests, size_t *count);
void add_report_tests(const TTest **tests, size_t *count);

/* "a b c" into a set that may hold something already. */
static inline void add_names(struct featureset *set, const char *names)
{
    autostrlist struct strlist list = {0};
    ck_assert(strlist_split(&list, names, ' '));
    for (size_t i = 0; i < list.count; i++)
        ck_assert(featureset_add(set, list.items[i]));
}

/* The names of a set in its order, with blanks between them. */
static inline char *names_of(const struct featureset *set)
{
    autojson json_t *array = featureset_to_json(set);
    autostrlist struct strlist list = {0};
    ck_assert(json_take_names(array, "the set", name_is_feature, &list, NULL));
    char *text = strlist_join(&list, " ");
    ck_assert_ptr_nonnull(text);
    return text;
}

static inline bool is_subset(const struct featureset *small, const struct featureset *large)
{
    autofeatureset struct featureset rest = {0};
    ck_assert(featureset_copy(&rest, small));
    featureset_subtract(&rest, large);
    return featureset_count(&rest) == 0;
}

/* An offer whose QEMU knows what it has and `known`. */
static inline struct cpu_offer offer_of(const char *host, const char *accel, const char *available,
                                        const char *known)
{
    struct cpu_offer offer = {
        .host = strdup(host),
        .accel = strdup(accel),
        .identity = {"GenuineIntel", 6, 85, 7, "Xeon", 22, 0x80000008},
        .phys_bits = 46,
    };
    add_names(&offer.available, available);
    add_names(&offer.known, available);
    add_names(&offer.known, known);
    return offer;
}

static inline void add_model(struct cpu_offer *offer, const char *name, unsigned level,
                             const char *features)
{
    offer->models = realloc(offer->models, (offer->model_count + 1) * sizeof(*offer->models));
    struct cpu_model *model = &offer->models[offer->model_count++];
    *model = (struct cpu_model){
        .name = strdup(name),
        .identity = {"GenuineIntel", 6, 60, 4, "Model", level, 0x80000008},
    };
    add_names(&model->features, features);
    add_names(&offer->known, features);
}

static inline struct cpu_request request_of(const char *text)
{
    struct cpu_request request = {0};
    MUST(cpu_request_parse(text, &request, &err));
    return request;
}

static inline char *baseline_text(const struct baseline *baseline)
{
    autojson json_t *json = baseline_to_json(baseline);
    char *text = json ? json_to_text(json) : NULL;
    ck_assert_ptr_nonnull(text);
    return text;
}

/* Two hosts and what they ask for. */
struct pair {
    struct cpu_offer offers[2];
    struct cpu_request requests[2];
    struct baseline baseline;
    struct baseline_report report;
};

static inline void pair_free(struct pair *pair)
{
    for (int i = 0; i < 2; i++) {
        cpu_offer_free(&pair->offers[i]);
        cpu_request_free(&pair->requests[i]);
    }
    baseline_free(&pair->baseline);
    baseline_report_free(&pair->report);
}
#define autopair __attribute__((cleanup(pair_free)))

static inline struct pair pair_of(struct cpu_offer a, struct cpu_offer b, const char *cpu_a,
                                  const char *cpu_b)
{
    return (struct pair){.offers = {a, b}, .requests = {request_of(cpu_a), request_of(cpu_b)}};
}

static inline bool compute(struct pair *pair, const struct featureset *required, struct error *err)
{
    const struct cpu_offer *offers[] = {&pair->offers[0], &pair->offers[1]};
    const struct cpu_request *requests[] = {&pair->requests[0], &pair->requests[1]};
    return baseline_compute(offers, requests, 2, required, &pair->baseline, &pair->report, err);
}

static inline void gives(struct pair *pair, const char *features)
{
    MUST(compute(pair, NULL, &err));
    autofree char *text = names_of(&pair->baseline.features);
    ck_assert_str_eq(text, features);
}

#endif
