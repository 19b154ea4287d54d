/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The proof as a part of the agreement.
 */
#include <string.h>

#include "base/cleanup.h"
#include "guest/compare.h"
#include "vm/agreement.h"

void agreement_proof_free(struct agreement_proof *proof)
{
    guest_table_free(&proof->table);
    strlist_free(&proof->accepted);
    featureset_free(&proof->masked);
    *proof = (struct agreement_proof){0};
}

json_t *agreement_proof_to_json(const struct agreement_proof *proof)
{
    if (!proof->made)
        return json_null();
    return json_pack("{s:o, s:o, s:o}", "table", guest_table_to_json(&proof->table), "accepted",
                     json_from_names(&proof->accepted), "masked",
                     featureset_to_json(&proof->masked));
}

static bool rows_are_sorted(const struct strlist *rows)
{
    if (rows->count > ACCEPTED_ROWS_MAX)
        return false;
    for (size_t i = 1; i < rows->count; i++)
        if (strcmp(rows->items[i - 1], rows->items[i]) >= 0)
            return false;
    return true;
}

bool agreement_proof_from_json(json_t *json, struct agreement_proof *out, struct error *err)
{
    struct agreement_proof proof = {.made = true};
    json_t *table, *accepted, *masked;
    if (json_is_null(json)) {
        agreement_proof_free(out);
        return true;
    }
    bool good =
        json_take(json, err, "the proof", "{s:o, s:o, s:o}", "table", &table, "accepted", &accepted,
                  "masked", &masked) &&
        guest_table_from_json(table, &proof.table, err) &&
        json_take_names(accepted, "rows that are accepted", guest_row_name_is_good, &proof.accepted,
                        err) &&
        featureset_from_json(&proof.masked, masked, "masked features", err) &&
        (rows_are_sorted(&proof.accepted) ||
         error_set(err, STATUS_DATA, "rows that are accepted are too many, or not in order"));
    agreement_proof_free(good ? out : &proof);
    if (good)
        *out = proof;
    return good;
}
