/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cpu/feature_table.h"

#include <stdlib.h>
#include <string.h>

#include "base/strings.h"

struct feature {
    const char *name;
    const char *requires_names;
    const char *aliases;
};

/* Sorted by name. */
static const struct feature features[] = {
#define FEATURE(name, requires, aliases) {name, requires, aliases},
#include "cpu/feature_table.def"
#undef FEATURE
};

#define FEATURE_COUNT (sizeof(features) / sizeof(features[0]))

/* Mitigations the guest's kernel can use, and the bits that say that one is not needed (Linux
 * arch/x86/kernel/cpu/bugs.c and Intel's and AMD's documents on them). */
static const char *const security_features[] = {
    "amd-no-ssb",
    "amd-psfd",
    "amd-ssbd",
    "amd-stibp",
    "arch-capabilities",
    "auto-ibrs",
    "bhi-ctrl",
    "bhi-no",
    "core-capability",
    "ddpd-u",
    "fb-clear",
    "fbsdp-no",
    "flush-l1d",
    "gds-no",
    "ibpb",
    "ibpb-brtype",
    "ibrs",
    "ibrs-all",
    "ipred-ctrl",
    "mcdt-no",
    "md-clear",
    "mds-no",
    "pbrsb-no",
    "pschange-mc-no",
    "psdp-no",
    "rdctl-no",
    "rfds-clear",
    "rfds-no",
    "rrsba-ctrl",
    "sbdr-ssdp-no",
    "sbpb",
    "skip-l1dfl-vmentry",
    "smap",
    "smep",
    "spec-ctrl",
    "srso-no",
    "srso-user-kernel-no",
    "ssb-no",
    "ssbd",
    "stibp",
    "stibp-always-on",
    "taa-no",
    "tsx-ctrl",
    "umip",
    "virt-ssbd",
};

static int compare_feature(const void *name, const void *entry)
{
    return strcmp(name, ((const struct feature *)entry)->name);
}

static const struct feature *find_feature(const char *name)
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
    if (!find_feature(name))
        for (size_t i = 0; i < FEATURE_COUNT; i++)
            if (list_has(features[i].aliases, name) || list_has(features[i].aliases, written))
                result = features[i].name;
    memcpy(canonical, result, strlen(result) + 1);
    return true;
}

const char *feature_requires(const char *name)
{
    const struct feature *feature = find_feature(name);
    return feature && *feature->requires_names ? feature->requires_names : NULL;
}

bool feature_is_security(const char *name)
{
    for (size_t i = 0; i < sizeof(security_features) / sizeof(security_features[0]); i++)
        if (strcmp(security_features[i], name) == 0)
            return true;
    return false;
}

bool feature_is_benign(const char *name)
{
    return strcmp(name, "ht") == 0 || strcmp(name, "cmp-legacy") == 0;
}
