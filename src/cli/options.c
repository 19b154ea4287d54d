/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/options.h"

#include <string.h>

#include "base/cleanup.h"

static const struct option_spec *find_long(const struct option_spec *specs, const char *name,
                                           size_t length)
{
    for (; specs && specs->name; specs++)
        if (strlen(specs->name) == length && strncmp(specs->name, name, length) == 0)
            return specs;
    return NULL;
}

static const struct option_spec *find_short(const struct option_spec *specs, char letter)
{
    for (; specs && specs->name; specs++)
        if (specs->letter == letter)
            return specs;
    return NULL;
}

struct reading {
    const struct option_spec *tables[2];
    void *targets[2];
    int count;
    char **words;
    int next;
};

/* Apply an option whose value, if it was attached by '=', is `attached`. */
static bool apply(struct reading *reading, int table, const struct option_spec *spec,
                  const char *attached, struct error *err)
{
    const char *value = attached;
    const char *following = reading->next < reading->count ? reading->words[reading->next] : NULL;
    if (spec->argument == ARGUMENT_NONE && attached)
        return error_set(err, STATUS_USAGE, "--%s takes no value", spec->name);
    if (spec->argument == ARGUMENT_REQUIRED && !value) {
        if (!following)
            return error_set(err, STATUS_USAGE, "--%s needs a value", spec->name);
        value = following;
        reading->next++;
    } else if (spec->argument == ARGUMENT_ADDRESS && !value && following && following[0] != '-' &&
               strchr(following, ':')) {
        value = following;
        reading->next++;
    }
    return spec->set(reading->targets[table], value, err);
}

static bool read_long(struct reading *reading, const char *word, struct error *err)
{
    const char *name = word + 2, *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    for (int t = 0; t < 2; t++) {
        const struct option_spec *spec = find_long(reading->tables[t], name, length);
        if (spec)
            return apply(reading, t, spec, equals ? equals + 1 : NULL, err);
    }
    return error_set(err, STATUS_USAGE, "unknown option %.80s (see --help)", word);
}

static bool read_short(struct reading *reading, const char *word, struct error *err)
{
    for (int t = 0; t < 2 && word[1] && !word[2]; t++) {
        const struct option_spec *spec = find_short(reading->tables[t], word[1]);
        if (spec)
            return apply(reading, t, spec, NULL, err);
    }
    return error_set(err, STATUS_USAGE, "unknown option %.80s (see --help)", word);
}

bool options_parse(int count, char **words, const struct option_spec *specs, void *target,
                   const struct option_spec *common, void *common_target, struct operands *operands,
                   struct error *err)
{
    struct reading reading = {.tables = {specs, common},
                              .targets = {target, common_target},
                              .count = count,
                              .words = words};
    struct operands left = {.words = words, .rest_count = -1};
    while (reading.next < count) {
        char *word = words[reading.next++];
        if (strcmp(word, "--") == 0) {
            left.rest = words + reading.next;
            left.rest_count = count - reading.next;
            break;
        }
        if (word[0] != '-' || word[1] == '\0')
            left.words[left.count++] = word;
        else if (!(word[1] == '-' ? read_long(&reading, word, err)
                                  : read_short(&reading, word, err)))
            return false;
    }
    *operands = left;
    return true;
}
