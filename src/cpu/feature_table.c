/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cpu/feature_table.h"

#include <stdlib.h>
#include <string.h>

#include "base/strings.h"

/* Sorted by name. */
static const struct feature features[] = {
#define CPUID(leaf_, subleaf_, register_, bit_)                                                    \
    {                                                                                              \
        .kind = PLACE_CPUID, .leaf = (leaf_), .subleaf = (subleaf_), .reg = REGISTER_##register_,  \
        .bit = (bit_)                                                                              \
    }
#define MSR(number_, bit_)                                                                         \
    {                                                                                              \
        .kind = PLACE_MSR, .leaf = (number_), .bit = (bit_)                                        \
    }
#define PLACES(...)                                                                                \
    {__VA_ARGS__}, sizeof((struct feature_place[]){__VA_ARGS__}) / sizeof(struct feature_place)
#define FEATURE(name_, places_, rule_, needs_, aliases_, loss_)                                    \
    {name_, places_, RULE_##rule_, needs_, aliases_, loss_},
#include "cpu/feature_table.def"
#undef FEATURE
#undef PLACES
#undef MSR
#undef CPUID
};

const struct feature *feature_table(size_t *count)
{
    *count = FEATURE_COUNT;
    return features;
}

static int compare_feature(const void *name, const void *entry)
{
    return strcmp(name, ((const struct feature *)entry)->name);
}

const struct feature *feature_find(const char *name)
{
    return bsearch(name, features, FEATURE_COUNT, sizeof(features[0]), compare_feature);
}

const char *feature_next_name(const char *list, char name[FEATURE_NAME_SIZE])
{
    size_t length = strcspn(list, " ");
    size_t copied = length < FEATURE_NAME_SIZE ? length : FEATURE_NAME_SIZE - 1;
    memcpy(name, list, copied);
    name[copied] = '\0';
    return list[length] ? list + length + 1 : list + length;
}

static bool list_has(const char *list, const char *name)
{
    char one[FEATURE_NAME_SIZE];
    while (*list) {
        list = feature_next_name(list, one);
        if (strcmp(one, name) == 0)
            return true;
    }
    return false;
}

bool feature_canonical_name(const char *written, char canonical[FEATURE_NAME_SIZE])
{
    char name[FEATURE_NAME_SIZE];
    size_t length = strlen(written);
    if (length >= sizeof(name))
        return false;
    for (size_t i = 0; i <= length; i++)
        name[i] = written[i] == '_' ? '-' : written[i];
    if (!name_is_feature(name))
        return false;
    const char *result = name;
    if (!feature_find(name))
        for (size_t i = 0; i < FEATURE_COUNT; i++)
            if (list_has(features[i].aliases, name) || list_has(features[i].aliases, written))
                result = features[i].name;
    memcpy(canonical, result, strlen(result) + 1);
    return true;
}

const char *feature_requires(const char *name)
{
    const struct feature *feature = feature_find(name);
    return feature && *feature->needs ? feature->needs : NULL;
}

bool feature_is_security(const char *name)
{
    const struct feature *feature = feature_find(name);
    return feature && feature->loss;
}

bool feature_is_benign(const char *name)
{
    const struct feature *feature = feature_find(name);
    return feature && feature->rule == RULE_BENIGN;
}
