/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/qemu_options.h"

#include <string.h>

#define VALUE true
#define FLAG false
#define X86 true
#define OTHER false

static const struct qemu_option options[] = {
#define OPTION(text, value, since, target, help, implied, number)                                  \
    {.name = (text),                                                                               \
     .id = QEMU_OPTION_##number,                                                                   \
     .takes_value = (value),                                                                       \
     .for_x86 = (target),                                                                          \
     .versions = VERSIONS_##since,                                                                 \
     .query = QUERY_##help,                                                                        \
     .implied_key = (implied)},
#include "vm/qemu_options.def"
#undef OPTION
};

const struct qemu_option *qemu_options_all(size_t *count)
{
    *count = sizeof(options) / sizeof(*options);
    return options;
}

const struct qemu_option *qemu_option_find(const char *word)
{
    if (word[0] != '-')
        return NULL;
    const char *name = word + (word[1] == '-' ? 2 : 1);
    for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
        if (strcmp(options[i].name, name) == 0)
            return &options[i];
    return NULL;
}
