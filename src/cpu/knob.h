/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Properties of a CPU that are not features: which of them a request may set, and to what.
 */
#ifndef QML_CPU_KNOB_H
#define QML_CPU_KNOB_H

#include <stddef.h>

#include "base/error.h"
#include "base/json.h"

/* A property and its value, as they stand in -cpu. */
struct cpu_knob {
    char *name;
    char *value;
};

/* Knobs sorted by name. Start with {0}. */
struct cpu_knobs {
    struct cpu_knob *items;
    size_t count;
};

void cpu_knobs_free(struct cpu_knobs *knobs);
/* The value, or NULL. */
const char *cpu_knobs_get(const struct cpu_knobs *knobs, const char *name);
/* Set a knob, replacing an earlier value. False for want of memory. */
bool cpu_knobs_set(struct cpu_knobs *knobs, const char *name, const char *value);
/* Take a knob out; one that is not there is fine. */
void cpu_knobs_remove(struct cpu_knobs *knobs, const char *name);
bool cpu_knobs_copy(struct cpu_knobs *copy, const struct cpu_knobs *knobs);
/* {"NAME":"VALUE"}; NULL for want of memory. */
json_t *cpu_knobs_to_json(const struct cpu_knobs *set);
/* Only knobs for which is_good(name, value) is true are taken: knob_is_carried or knob_is_kept.
 * what names it for the message. STATUS_DATA. */
bool cpu_knobs_from_json(json_t *json, const char *what,
                         bool (*is_good)(const char *name, const char *value),
                         struct cpu_knobs *knobs, struct error *err);

/* value as it is carried: a number that QEMU takes in hexadecimal (hv-spinlocks=0x1fff) becomes
 * decimal, for two ways to write it are the same request. The caller frees it; NULL for want of
 * memory. */
char *knob_plain(const char *name, const char *value);

enum knob_verdict {
    KNOB_NONE,     /* no knob: a feature, or nothing that is known */
    KNOB_CARRIED,  /* carried from the request to every party's -cpu */
    KNOB_HARMLESS, /* it asks for what the baseline does anyway: left out */
    KNOB_REFUSED,  /* it would take the CPU out of the baseline's hands, or its value is bad */
};

/* What to make of `name=value` (name canonical). For KNOB_REFUSED err says why (STATUS_USAGE).
 * Sources: QEMU 10.0 target/i386/cpu.c x86_cpu_properties; docs/system/i386/hyperv.rst. */
enum knob_verdict knob_check(const char *name, const char *value, struct error *err);

/* A request may carry it. */
bool knob_is_carried(const char *name, const char *value);
/* An agreement may hold it: beside what a request may carry, what a guest that plain QEMU started
 * has and will keep, where the guest CPU tables of all parties are the same with it. */
bool knob_is_kept(const char *name, const char *value);

#endif
