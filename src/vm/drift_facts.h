/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was true of this host when it last honoured an agreement: so that drift has a cause with a
 * name. STATE/agreements/VM.facts.
 */
#ifndef QML_VM_DRIFT_FACTS_H
#define QML_VM_DRIFT_FACTS_H

#include "base/json.h"
#include "cpu/baseline.h"

/* Of a profile's payload what can change what a guest is given: kernel, microcode, KVM's modules,
 * QEMU, policy, processor. A new object, or NULL with STATUS_DATA or STATUS_INTERNAL. */
json_t *drift_facts(json_t *payload, struct error *err);

/* One thing that is other than it was. */
struct drift_change {
    enum loss_cause cause; /* what kind of loss it can be the cause of */
    char *text;            /* "kernel 6.1.0-30 -> 6.1.0-31" */
};

/* Start with {0}. */
struct drift_changes {
    struct drift_change *items;
    size_t count;
};

void drift_changes_free(struct drift_changes *changes);
#define autodriftchanges __attribute__((cleanup(drift_changes_free)))

/* then and now: by drift_facts; then may be NULL: nothing is known, nothing has changed. */
bool drift_facts_compare(const json_t *then, const json_t *now, struct drift_changes *changes,
                         struct error *err);

/* The changes that can be the cause of such a loss, as "A, B"; NULL if there are none, or for want
 * of memory. The caller frees it. */
char *drift_changes_for(const struct drift_changes *changes, enum loss_cause cause);

/* All of them, likewise. */
char *drift_changes_text(const struct drift_changes *changes);

/* *facts stays NULL, and true is returned, when there are none. */
bool drift_facts_load(const char *state_folder, const char *vm, json_t **facts, struct error *err);
bool drift_facts_store(const char *state_folder, const char *vm, const json_t *facts,
                       struct error *err);

#endif
