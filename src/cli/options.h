/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Reading our own command line by a table.
 */
#ifndef QML_CLI_OPTIONS_H
#define QML_CLI_OPTIONS_H

#include <stdbool.h>

#include "base/error.h"
#include "base/strings.h"

enum option_argument {
    ARGUMENT_NONE,
    ARGUMENT_REQUIRED,
    /* The next word is the value only if it has a ':' and no leading '-' (--listen). */
    ARGUMENT_ADDRESS,
};

/* One option of a command. A table ends with a NULL name. */
struct option_spec {
    const char *name; /* without "--" */
    char letter;      /* short form, 0: none */
    enum option_argument argument;
    /* Called for each occurrence, in order; value is NULL if there is none. */
    bool (*set)(void *target, const char *value, struct error *err);
};

/* What is left of the words. Borrowed from argv. */
struct operands {
    int count;
    char **words; /* before "--" (or all) */
    int rest_count;
    char **rest; /* after "--"; rest_count is -1 when there was no "--" */
};

/* Read words[0..count) by two tables: the command's (target) and the one for everywhere (common).
 * Options and operands may be mixed; "--" ends both. Words are permuted. STATUS_USAGE. */
bool options_parse(int count, char **words, const struct option_spec *specs, void *target,
                   const struct option_spec *common, void *common_target, struct operands *operands,
                   struct error *err);

#endif
