/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "page/feature_class.h"

#include "base/strings.h"
#include "cpu/feature_table.h"

#define KVM_LEAF 0x40000001 /* Linux, Documentation/virt/kvm/x86/cpuid.rst */
#define SVM_LEAF 0x8000000a /* AMD APM volume 3, E.4.9 */

/* How names begin. */
static const struct {
    const char *start;
    enum feature_class kind;
} names[] = {
    {"3dnow", CLASS_VECTOR},      {"aes", CLASS_VECTOR},   {"amx-", CLASS_VECTOR},
    {"avx", CLASS_VECTOR},        {"f16c", CLASS_VECTOR},  {"fma", CLASS_VECTOR},
    {"gfni", CLASS_VECTOR},       {"mmx", CLASS_VECTOR},   {"pclmulqdq", CLASS_VECTOR},
    {"sha", CLASS_VECTOR},        {"sm3", CLASS_VECTOR},   {"sm4", CLASS_VECTOR},
    {"sse", CLASS_VECTOR},        {"ssse3", CLASS_VECTOR}, {"vaes", CLASS_VECTOR},
    {"vpclmulqdq", CLASS_VECTOR}, {"xop", CLASS_VECTOR},   {"kvm", CLASS_KVM},
    {"svm", CLASS_NESTED},        {"vmx", CLASS_NESTED},
};

enum feature_class feature_class_of(const char *name)
{
    const struct feature *feature = feature_find(name);
    if (feature_is_security(name))
        return CLASS_SECURITY;
    for (unsigned i = 0; feature && i < feature->place_count; i++) {
        const struct feature_place *place = &feature->places[i];
        if (place->kind == PLACE_CPUID && place->leaf == KVM_LEAF)
            return CLASS_KVM;
        if (place->kind == PLACE_CPUID && place->leaf == SVM_LEAF)
            return CLASS_NESTED;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (string_starts_with(name, names[i].start))
            return names[i].kind;
    return CLASS_OTHER;
}

const char *feature_class_word(enum feature_class kind)
{
    static const char *const words[CLASS_COUNT] = {"security", "vector", "nested", "kvm", "other"};
    return words[kind];
}

const char *feature_class_title(enum feature_class kind)
{
    static const char *const titles[CLASS_COUNT] = {"Security", "Vectors and cryptography",
                                                    "Nested virtualization", "KVM's own", "Other"};
    return titles[kind];
}
