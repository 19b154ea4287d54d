/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What to make of two guest CPU tables: equal, equal once more is masked, or different.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "guest/compare.h"
#include "vm/exchange.h"

#define TOLD_MAX 24

/* Differences between the two tables, in the order in which both sides tell them. */
static bool compare(const struct exchange *exchange, const struct guest_table *mine,
                    const struct guest_table *theirs, const struct strlist *accepted,
                    struct guest_differences *differences, struct error *err)
{
    struct guest_host hosts[2] = {{exchange->self->config->host_name, mine},
                                  {exchange->peer.host, theirs}};
    if (strcmp(hosts[0].name, hosts[1].name) > 0) {
        struct guest_host first = hosts[0];
        hosts[0] = hosts[1];
        hosts[1] = first;
    }
    return guest_tables_compare(hosts, 2, accepted, differences, err);
}

static bool shows_none(const struct guest_table *table, const struct guest_difference *difference)
{
    const struct guest_row *row =
        guest_table_find(table, difference->kind, difference->number, difference->subleaf);
    uint64_t bits = !row                                  ? 0
                    : difference->kind == GUEST_ROW_CPUID ? row->registers[difference->reg]
                                                          : row->value;
    return (bits & difference->mask) == 0;
}

static bool is_decisive(const struct guest_difference *difference)
{
    return !difference->accepted && !difference->advisory;
}

/* A feature that one side's guest does not see goes from both. *found: there was one. */
static bool mask(struct exchange *exchange, const struct guest_differences *differences,
                 bool *found, struct error *err)
{
    autobaseline struct baseline baseline = {0};
    struct cpu_offer *offers[] = {&exchange->profile.offer, &exchange->peer.profile.offer};
    const struct guest_table *tables[] = {&exchange->table, &exchange->peer.table};
    if (!exchange_baseline(exchange, &baseline, NULL, err))
        return false;
    for (size_t i = 0; i < differences->count; i++) {
        const struct guest_difference *difference = &differences->items[i];
        bool both = shows_none(tables[0], difference) == shows_none(tables[1], difference);
        for (size_t k = 0; !difference->advisory && k < difference->features.count; k++) {
            const char *name = difference->features.items[k];
            if (!featureset_has(&baseline.features, name))
                continue;
            *found = true;
            for (size_t h = 0; h < 2; h++)
                if ((both || shows_none(tables[h], difference)) &&
                    !featureset_add(&offers[h]->unshown, name))
                    return error_no_memory(err);
        }
    }
    return true;
}

/* What a QEMU refuses goes from its host's offer, if that is something it was to give. */
static bool mask_refused(struct exchange *exchange, struct error *err)
{
    struct cpu_offer *offers[] = {&exchange->profile.offer, &exchange->peer.profile.offer};
    const struct strlist *refused[] = {&exchange->refused, &exchange->peer.refused};
    autobaseline struct baseline baseline = {0};
    if (!exchange_baseline(exchange, &baseline, NULL, err))
        return false;
    for (size_t h = 0; h < 2; h++) {
        bool fresh = refused[h]->count == 0;
        for (size_t i = 0; i < refused[h]->count; i++) {
            if (!featureset_has(&baseline.features, refused[h]->items[i]))
                continue;
            fresh = true;
            if (!featureset_add(&offers[h]->unshown, refused[h]->items[i]))
                return error_no_memory(err);
        }
        autofree char *names = strlist_join(refused[h], ", ");
        if (!fresh || (refused[h]->count > 0 && exchange->proofs >= EXCHANGE_PROOFS_MAX))
            return error_set(err, STATUS_INCOMPATIBLE,
                             "QEMU on %s refuses this CPU, and again without what it named before: "
                             "%s",
                             offers[h]->host, names ? names : "");
    }
    exchange_prove_again(exchange);
    return true;
}

/* As --accept-row takes it. */
static char *row_name(const struct guest_difference *difference)
{
    autofree char *first =
        string_format(difference->number > 9 ? "0x%x" : "%u", difference->number);
    if (!first || difference->kind == GUEST_ROW_MSR)
        return first ? string_format("msr.%s", first) : NULL;
    return string_format(difference->subleaf > 9 ? "%s.0x%x" : "%s.%u", first, difference->subleaf);
}

/* The decisive differences, to the log; the first one's words into err. */
static bool tell(const struct exchange *exchange, const struct guest_differences *differences,
                 struct error *err)
{
    autostrlist struct strlist rows = {0};
    const struct guest_difference *first = NULL;
    bool nameless = false;
    size_t count = 0;
    for (size_t i = 0; i < differences->count; i++) {
        const struct guest_difference *difference = &differences->items[i];
        if (!is_decisive(difference))
            continue;
        first = first ? first : difference;
        if (count++ < TOLD_MAX)
            log_error("%s%s%s", difference->text, difference->help ? ": " : "",
                      difference->help ? difference->help : "");
        if (difference->kind != GUEST_ROW_CPUID && difference->kind != GUEST_ROW_MSR)
            nameless = true; /* XCR0, the mode: nobody can accept these */
        else if (!strlist_push_owned(&rows, row_name(difference)))
            return error_no_memory(err);
    }
    strlist_sort(&rows);
    autofree char *list = strlist_join(&rows, " --accept-row ");
    if (!list || !first)
        return error_no_memory(err);
    if (count > TOLD_MAX)
        log_error("and %zu differences more", count - TOLD_MAX);
    if (!nameless)
        log_info("who knows that they do no harm can accept these rows: --accept-row %s", list);
    error_set(err, STATUS_PROOFS_DIFFER, "a guest would not see the same CPU on %s and %s: %s",
              exchange->self->config->host_name, exchange->peer.name, first->text);
    if (count == 1)
        return false;
    autofree char *message = strdup(err->message);
    return error_set(err, STATUS_PROOFS_DIFFER, "%s (and %zu more)", message ? message : "",
                     count - 1);
}

/* What stays in the agreement: only rows that differ. Who accepted them is said. */
static bool keep_accepted(struct exchange *exchange, const struct guest_table *theirs,
                          const struct guest_differences *differences, struct error *err)
{
    autoguestdifferences struct guest_differences by_us = {0};
    if (!compare(exchange, &exchange->table, theirs, exchange->self->accepted, &by_us, err))
        return false;
    strlist_free(&exchange->accepted);
    for (size_t i = 0; i < differences->count; i++) {
        const struct guest_difference *difference = &differences->items[i];
        if (!difference->accepted)
            continue;
        if (!strlist_push_owned(&exchange->accepted, row_name(difference)) ||
            !strlist_pushf(&exchange->doubts, "accepted %s: %s",
                           by_us.items[i].accepted ? "here" : "by the other side, not here",
                           difference->text))
            return error_no_memory(err);
    }
    strlist_sort(&exchange->accepted);
    return true;
}

bool exchange_settle(struct exchange *exchange, bool *settled, struct error *err)
{
    autoguestdifferences struct guest_differences differences = {0};
    autostrlist struct strlist accepted = {0};
    const struct strlist *lists[] = {exchange->self->accepted, &exchange->peer.accepted};
    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0; i < lists[l]->count; i++)
            if (!strlist_push(&accepted, lists[l]->items[i]))
                return error_no_memory(err);
    exchange->proofs++;
    *settled = false;
    if (exchange->refused.count > 0 || exchange->peer.refused.count > 0)
        return mask_refused(exchange, err);
    if (!compare(exchange, &exchange->table, &exchange->peer.table, &accepted, &differences, err))
        return false;
    /* A feature can be left out: that comes before accepting the row that it is in. */
    bool masked = false;
    if (exchange->proofs < EXCHANGE_PROOFS_MAX && !mask(exchange, &differences, &masked, err))
        return false;
    *settled = !masked && guest_differences_decisive(&differences) == 0;
    if (*settled) {
        exchange->step = STEP_PROVEN;
        return keep_accepted(exchange, &exchange->peer.table, &differences, err);
    }
    if (!masked)
        return tell(exchange, &differences, err);
    exchange_prove_again(exchange);
    return true;
}

/* A feature that can be left out is left out, never accepted: else a peer could have this side
 * agree on what its guest does not see. */
static bool check_accepted(const struct exchange *exchange,
                           const struct guest_differences *differences, struct error *err)
{
    autobaseline struct baseline baseline = {0};
    if (!exchange_baseline(exchange, &baseline, NULL, err))
        return false;
    for (size_t i = 0; exchange->proofs < EXCHANGE_PROOFS_MAX && i < differences->count; i++) {
        const struct guest_difference *difference = &differences->items[i];
        for (size_t k = 0; difference->accepted && k < difference->features.count; k++)
            if (featureset_has(&baseline.features, difference->features.items[k]))
                return error_set(err, STATUS_PROTOCOL, "%s accepts what can be left out (%s): %s",
                                 exchange->peer.name, difference->features.items[k],
                                 difference->text);
    }
    return true;
}

bool exchange_check_proof(struct exchange *exchange, const struct agreement_proof *proof,
                          struct error *err)
{
    autoguestdifferences struct guest_differences differences = {0};
    if (proof->made != exchange->self->prove)
        return error_set(err, STATUS_PROTOCOL, "%s proposes an agreement with%s a proof",
                         exchange->peer.name, proof->made ? "" : "out");
    if (!proof->made)
        return true;
    if (exchange->step != STEP_PROVEN)
        return error_set(err, STATUS_PROTOCOL, "a message out of order");
    if (!compare(exchange, &exchange->table, &proof->table, &proof->accepted, &differences, err))
        return false;
    if (guest_differences_decisive(&differences) > 0)
        return tell(exchange, &differences, err);
    if (!check_accepted(exchange, &differences, err) ||
        !keep_accepted(exchange, &proof->table, &differences, err))
        return false;
    guest_table_free(&exchange->peer.table);
    return guest_table_copy(&proof->table, &exchange->peer.table) || error_no_memory(err);
}
