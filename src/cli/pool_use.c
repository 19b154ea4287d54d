/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/pool_use.h"

#include <string.h>
#include <time.h>

bool pool_use_check(const struct pool_use *use, json_t *document, struct agreement *agreement,
                    struct error *err)
{
    if (!agreement_document_open(document, agreement, NULL, err))
        return error_wrap(err, "the pool's agreement for %s", use->vm);
    if (strcmp(agreement->vm, use->vm) != 0)
        return error_set(err, STATUS_DATA, "the pool's agreement for %s is about %s", use->vm,
                         agreement->vm);
    if (agreement_find_party(agreement, use->pin))
        return true;
    for (size_t i = 0; i < agreement->party_count; i++) {
        const struct trust_entry *entry = trust_find_pin(use->trust, agreement->parties[i].pin);
        if (entry && !trust_entry_is_expired(entry, time(NULL)))
            return true;
    }
    return error_set(err, STATUS_NOT_TRUSTED,
                     "the pool's agreement for %s has no party that is trusted here", use->vm);
}

bool pool_use_judge(void *context, json_t *document, int64_t *issued)
{
    autoagreement struct agreement agreement = {0};
    if (!pool_use_check(context, document, &agreement, NULL))
        return false;
    *issued = agreement.issued;
    return true;
}
