/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the user asked for with -cpu: the words that count in the baseline.
 */
#ifndef QML_CPU_CPU_REQUEST_H
#define QML_CPU_CPU_REQUEST_H

#include "cpu/featureset.h"
#include "cpu/knob.h"

struct cpu_request {
    char *model;          /* a named model as the user wrote it; NULL: the best that all can give */
    struct featureset on; /* asked for by name */
    struct featureset off; /* to be off everywhere */
    struct cpu_knobs knobs;
    unsigned phys_bits; /* at most so many physical address bits; 0: no wish */
    bool enforce;       /* what is asked for by name and cannot be had is an error */
};

void cpu_request_free(struct cpu_request *request);
#define autocpurequest __attribute__((cleanup(cpu_request_free)))

/* Understand the value of QEMU's -cpu (NULL: none was given) as QEMU does (QEMU 7.2
 * target/i386/cpu.c, x86_cpu_parse_featurestr): the first word is the model; `+f` and `-f` beat
 * `f=on|off` in any order, and `-f` beats `+f`; of several `f=` the last counts; '_' is '-';
 * aliases are known. `host` and `max` mean the best. Refused: what would escape the baseline
 * (STATUS_USAGE, by name) and what QEMU could not read either (STATUS_USAGE). */
bool cpu_request_parse(const char *text, struct cpu_request *request, struct error *err);

/* Every feature that the request names is one that this QEMU knows, as QEMU itself would demand.
 * STATUS_USAGE with the first that is not. */
bool cpu_request_check_names(const struct cpu_request *request, const struct featureset *known,
                             struct error *err);

/* *copy, which must be empty, becomes an independent copy. STATUS_INTERNAL. */
bool cpu_request_copy(const struct cpu_request *request, struct cpu_request *copy,
                      struct error *err);

/* A new JSON object; NULL for want of memory. */
json_t *cpu_request_to_json(const struct cpu_request *request);
/* STATUS_DATA for anything that cpu_request_to_json would not have made. */
bool cpu_request_from_json(json_t *json, struct cpu_request *request, struct error *err);

/* The request of all parties together, the same in any order of them: a named model beats "the
 * best", two different named models are refused; off beats on; knobs must be the same everywhere;
 * the smallest phys-bits. hosts names them for the messages. STATUS_INCOMPATIBLE. */
bool cpu_request_join(const struct cpu_request *const requests[], const char *const hosts[],
                      size_t count, struct cpu_request *joined, struct error *err);

#endif
