/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cpu/model_choice.h"

#include <stdlib.h>
#include <string.h>

struct named_vendor {
    const char *name;
    const char *vendor;
};

/* Sorted by name. */
static const struct named_vendor vendors[] = {
#define MODEL(name, vendor) {name, vendor},
#include "cpu/model_table.def"
#undef MODEL
};

static int compare_vendor(const void *name, const void *entry)
{
    return strcmp(name, ((const struct named_vendor *)entry)->name);
}

const char *model_vendor(const char *name)
{
    const struct named_vendor *found = bsearch(name, vendors, sizeof(vendors) / sizeof(vendors[0]),
                                               sizeof(vendors[0]), compare_vendor);
    return found ? found->vendor : NULL;
}

struct model_distance model_measure(const struct cpu_model *model,
                                    const struct featureset *features)
{
    return (struct model_distance){.on = featureset_count_missing(features, &model->features),
                                   .off = featureset_count_missing(&model->features, features)};
}

/* The N of "-vN" at the end of a name, 0 if there is none. */
static unsigned long name_version(const char *name)
{
    const char *mark = strrchr(name, '-');
    if (!mark || mark[1] != 'v' || mark[2] < '1' || mark[2] > '9')
        return 0;
    char *end;
    unsigned long version = strtoul(mark + 2, &end, 10);
    return *end ? 0 : version;
}

static int compare_numbers(unsigned long a, unsigned long b)
{
    return a < b ? -1 : a > b;
}

static int compare_age(const struct cpu_model *a, const struct cpu_model *b)
{
    int order = compare_numbers(a->identity.family, b->identity.family);
    if (order == 0)
        order = compare_numbers(a->identity.model, b->identity.model);
    if (order == 0)
        order = compare_numbers(name_version(a->name), name_version(b->name));
    if (order == 0)
        order = compare_numbers(a->identity.level, b->identity.level);
    return order != 0 ? order : strcmp(a->name, b->name);
}

bool cpu_model_equal(const struct cpu_model *a, const struct cpu_model *b)
{
    return strcmp(a->identity.vendor, b->identity.vendor) == 0 &&
           a->identity.family == b->identity.family && a->identity.model == b->identity.model &&
           a->identity.stepping == b->identity.stepping &&
           strcmp(a->identity.model_id, b->identity.model_id) == 0 &&
           featureset_equal(&a->features, &b->features);
}

static bool all_define(const struct cpu_offer *const offers[], size_t count,
                       const struct cpu_model *model)
{
    for (size_t i = 1; i < count; i++) {
        const struct cpu_model *other = cpu_offer_find_model(offers[i], model->name);
        if (!other || !cpu_model_equal(model, other))
            return false;
    }
    return true;
}

static bool is_better(const struct cpu_model *model, struct model_distance distance,
                      const struct cpu_model *best, struct model_distance best_distance)
{
    if (!best)
        return true;
    int order = compare_numbers(distance.on + distance.off, best_distance.on + best_distance.off);
    if (order == 0)
        order = compare_numbers(distance.off, best_distance.off);
    return order != 0 ? order < 0 : compare_age(model, best) > 0;
}

const struct cpu_model *model_choose(const struct cpu_offer *const offers[], size_t count,
                                     const char *vendor, const struct featureset *features)
{
    const struct cpu_model *best = NULL;
    struct model_distance best_distance = {0};
    for (size_t i = 0; i < offers[0]->model_count; i++) {
        const struct cpu_model *model = &offers[0]->models[i];
        const char *its = model_vendor(model->name);
        if (!its && strcmp(offers[0]->accel, "tcg") == 0)
            its = model->identity.vendor; /* a newer QEMU's model; TCG shows its own vendor */
        if (name_version(model->name) == 0 || !its || strcmp(its, vendor) != 0)
            continue;
        struct model_distance distance = model_measure(model, features);
        if (is_better(model, distance, best, best_distance) && all_define(offers, count, model)) {
            best = model;
            best_distance = distance;
        }
    }
    return best;
}
