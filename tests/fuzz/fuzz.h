/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the fuzz targets share (libFuzzer: https://llvm.org/docs/LibFuzzer.html). Each takes any
 * bytes, gives them to readers of the program, and holds what was read against what must be true
 * of it; memory errors and undefined behaviour are the sanitizers' to find.
 */
#ifndef QML_TESTS_FUZZ_H
#define QML_TESTS_FUZZ_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the run with a finding. Not assert: it counts whatever NDEBUG says. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The input as a string, up to its first NUL; the caller frees it. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);
    MUST(text);
    return text;
}

/* The bytes of a new JSON value, which is given away; it must be one that can be written. */
static inline char *fuzz_written(json_t *json)
{
    autojson json_t *owned = json;
    MUST(owned);
    char *text = json_to_text(owned);
    MUST(text);
    return text;
}

/* What was written can be read: strictly, from its text, as another host would. */
static inline json_t *fuzz_reread(const char *text)
{
    struct error err = ERROR_INIT;
    json_t *json = json_parse_strict(text, strlen(text), strlen(text), &err);
    if (!json)
        fprintf(stderr, "%s\n", err.message);
    MUST(json);
    return json;
}

#endif
