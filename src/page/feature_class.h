/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What kind of feature one is, for people who look for some among hundreds.
 */
#ifndef QML_PAGE_FEATURE_CLASS_H
#define QML_PAGE_FEATURE_CLASS_H

enum feature_class {
    CLASS_SECURITY, /* feature_is_security: before all others */
    CLASS_VECTOR,   /* instructions for vectors, matrices and cryptography */
    CLASS_NESTED,   /* for a guest that runs guests: VMX, SVM */
    CLASS_KVM,      /* KVM's own, by which a guest knows that it is one */
    CLASS_OTHER,
    CLASS_COUNT,
};

/* By the feature table, and by its name where that does not know it. */
enum feature_class feature_class_of(const char *name);

/* A word for programs: "security"; a title for people: "Security". */
const char *feature_class_word(enum feature_class kind);
const char *feature_class_title(enum feature_class kind);

#endif
