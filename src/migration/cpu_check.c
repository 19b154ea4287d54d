/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "migration/cpu_check.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vm/verify.h"

static bool load_agreement(const struct paths *paths, const struct vm_record *record,
                           struct agreement *agreement, struct error *err)
{
    autojson json_t *document = NULL;
    char digest[DIGEST_HEX_SIZE];
    if (!agreement_load(paths->state, record->vm, &document, err))
        return false;
    if (!document)
        return error_set(err, STATUS_CONFIG, "the agreement about %s is not kept here any more",
                         record->vm);
    if (!agreement_document_open(document, agreement, digest, err))
        return error_wrap(err, "the agreement about %s", record->vm);
    return strcmp(digest, record->agreement) == 0 ||
           error_set(err, STATUS_DATA,
                     "%s was started under the agreement %.12s, and the one that is kept here is "
                     "%.12s",
                     record->vm, record->agreement, digest);
}

static bool contains(const struct strlist *lines, const char *line)
{
    for (size_t i = 0; i < lines->count; i++)
        if (strcmp(lines->items[i], line) == 0)
            return true;
    return false;
}

bool cpu_check(const struct paths *paths, const struct vm_record *record, struct qmp *qmp,
               struct strlist *lines, struct error *err)
{
    autoagreement struct agreement agreement = {0};
    autorunningcpu struct running_cpu cpu = {0};
    autodifferences struct differences differences = {0};
    if (!load_agreement(paths, record, &agreement, err) || !running_cpu_read(qmp, &cpu, err) ||
        !verify_cpu(&agreement, &cpu, &differences, err))
        return false;
    for (size_t i = 0; i < differences.count; i++) {
        const struct difference *item = &differences.items[i];
        autofree char *line =
            string_format("%s is %s, agreed %s", item->what, item->found, item->agreed);
        if (!line || (!contains(lines, line) && !strlist_push(lines, line)))
            return error_no_memory(err);
    }
    return true;
}
