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

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct guest_host *)a)->name, ((const struct guest_host *)b)->name);
}

/* Differences between mine, this host's table, and others, in the order of the hosts' names: both
 * sides tell the same. others: count of them. */
static bool compare(const struct exchange *exchange, const struct guest_table *mine,
                    const struct guest_host *others, size_t count, const struct strlist *accepted,
                    struct guest_differences *differences, struct error *err)
{
    autofree struct guest_host *hosts = calloc(count + 1, sizeof(*hosts));
    if (!hosts)
        return error_no_memory(err);
    hosts[0] = (struct guest_host){exchange->self->config->host_name, mine};
    memcpy(hosts + 1, others, count * sizeof(*hosts));
    qsort(hosts, count + 1, sizeof(*hosts), compare_names);
    return guest_tables_compare(hosts, count + 1, accepted, differences, err);
}

/* The tables of all peers; the caller frees it. */
static struct guest_host *peer_tables(const struct exchange *exchange, struct error *err)
{
    struct guest_host *hosts = calloc(exchange->peer_count + 1, sizeof(*hosts));
    if (!hosts)
        error_no_memory(err);
    for (size_t i = 0; hosts && i < exchange->peer_count; i++)
        hosts[i] = (struct guest_host){exchange->peers[i].host, &exchange->peers[i].table};
    return hosts;
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

/* A host of the exchange, this one first: what it offers, what was seen there. */
struct seen {
    struct cpu_offer *offer;
    const struct guest_table *table;
    const struct strlist *refused;
};

static struct seen *list_seen(struct exchange *exchange, struct error *err)
{
    struct seen *seen = calloc(exchange->peer_count + 1, sizeof(*seen));
    if (!seen) {
        error_no_memory(err);
        return NULL;
    }
    seen[0] = (struct seen){&exchange->profile.offer, &exchange->table, &exchange->refused};
    for (size_t i = 0; i < exchange->peer_count; i++) {
        struct exchange_peer *peer = &exchange->peers[i];
        seen[i + 1] = (struct seen){&peer->profile.offer, &peer->table, &peer->refused};
    }
    return seen;
}

/* A feature that some host's guest does not see goes from all. *found: there was one. */
static bool mask(struct exchange *exchange, const struct guest_differences *differences,
                 bool *found, struct error *err)
{
    autobaseline struct baseline baseline = {0};
    autofree struct seen *seen = list_seen(exchange, err);
    size_t hosts = exchange->peer_count + 1;
    if (!seen || !exchange_baseline(exchange, &baseline, NULL, err))
        return false;
    for (size_t i = 0; i < differences->count; i++) {
        const struct guest_difference *difference = &differences->items[i];
        bool same = true;
        for (size_t h = 1; h < hosts; h++)
            same = same &&
                   shows_none(seen[0].table, difference) == shows_none(seen[h].table, difference);
        for (size_t k = 0; !difference->advisory && k < difference->features.count; k++) {
            const char *name = difference->features.items[k];
            if (!featureset_has(&baseline.features, name))
                continue;
            *found = true;
            for (size_t h = 0; h < hosts; h++)
                if ((same || shows_none(seen[h].table, difference)) &&
                    !featureset_add(&seen[h].offer->unshown, name))
                    return error_no_memory(err);
        }
    }
    return true;
}

/* What a QEMU refuses goes from its host's offer, if that is something it was to give. */
static bool mask_refused(struct exchange *exchange, struct error *err)
{
    autofree struct seen *seen = list_seen(exchange, err);
    autobaseline struct baseline baseline = {0};
    if (!seen || !exchange_baseline(exchange, &baseline, NULL, err))
        return false;
    for (size_t h = 0; h < exchange->peer_count + 1; h++) {
        const struct strlist *refused = seen[h].refused;
        bool fresh = refused->count == 0;
        for (size_t i = 0; i < refused->count; i++) {
            if (!featureset_has(&baseline.features, refused->items[i]))
                continue;
            fresh = true;
            if (!featureset_add(&seen[h].offer->unshown, refused->items[i]))
                return error_no_memory(err);
        }
        autofree char *names = strlist_join(refused, ", ");
        if (!fresh || (refused->count > 0 && exchange->proofs >= EXCHANGE_PROOFS_MAX))
            return error_set(err, STATUS_INCOMPATIBLE,
                             "QEMU on %s refuses this CPU, and again without what it named before: "
                             "%s",
                             seen[h].offer->host, names ? names : "");
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
    autofree char *others = exchange_peer_names(exchange);
    error_set(err, STATUS_PROOFS_DIFFER, "a guest would not see the same CPU on %s and %s: %s",
              exchange->self->config->host_name, others ? others : "", first->text);
    if (count == 1)
        return false;
    autofree char *message = strdup(err->message);
    return error_set(err, STATUS_PROOFS_DIFFER, "%s (and %zu more)", message ? message : "",
                     count - 1);
}

/* What stays in the agreement: only rows that differ. Who accepted them is said. */
static bool keep_accepted(struct exchange *exchange, const struct guest_host *others, size_t count,
                          const struct guest_differences *differences, struct error *err)
{
    autoguestdifferences struct guest_differences by_us = {0};
    if (!compare(exchange, &exchange->table, others, count, exchange->self->accepted, &by_us, err))
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

/* The rows that anybody accepts. */
static bool join_accepted(const struct exchange *exchange, struct strlist *accepted,
                          struct error *err)
{
    const struct strlist *mine = exchange->self->accepted;
    for (size_t i = 0; mine && i < mine->count; i++)
        if (!strlist_push(accepted, mine->items[i]))
            return error_no_memory(err);
    for (size_t p = 0; p < exchange->peer_count; p++)
        for (size_t i = 0; i < exchange->peers[p].accepted.count; i++)
            if (!strlist_push(accepted, exchange->peers[p].accepted.items[i]))
                return error_no_memory(err);
    return true;
}

bool exchange_settle(struct exchange *exchange, bool *settled, struct error *err)
{
    autoguestdifferences struct guest_differences differences = {0};
    autostrlist struct strlist accepted = {0};
    autofree struct guest_host *others = peer_tables(exchange, err);
    size_t count = exchange->peer_count;
    bool refused = exchange->refused.count > 0;
    if (!others || !join_accepted(exchange, &accepted, err))
        return false;
    for (size_t i = 0; i < count; i++)
        refused = refused || exchange->peers[i].refused.count > 0;
    exchange->proofs++;
    *settled = false;
    if (refused)
        return mask_refused(exchange, err);
    if (!compare(exchange, &exchange->table, others, count, &accepted, &differences, err))
        return false;
    /* A feature can be left out: that comes before accepting the row that it is in. */
    bool masked = false;
    if (exchange->proofs < EXCHANGE_PROOFS_MAX && !mask(exchange, &differences, &masked, err))
        return false;
    *settled = !masked && guest_differences_decisive(&differences) == 0;
    if (*settled) {
        exchange->step = STEP_PROVEN;
        return keep_accepted(exchange, others, count, &differences, err);
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
                                 exchange->peers[0].name, difference->features.items[k],
                                 difference->text);
    }
    return true;
}

bool exchange_check_proof(struct exchange *exchange, const struct agreement_proof *proof,
                          struct error *err)
{
    autoguestdifferences struct guest_differences differences = {0};
    struct exchange_peer *asker = &exchange->peers[0];
    if (proof->made != exchange->prove)
        return error_set(err, STATUS_PROTOCOL, "%s proposes an agreement with%s a proof",
                         asker->name, proof->made ? "" : "out");
    if (!proof->made)
        return true;
    if (exchange->step != STEP_PROVEN)
        return error_set(err, STATUS_PROTOCOL, "a message out of order");
    const struct guest_host theirs = {asker->host, &proof->table};
    if (!compare(exchange, &exchange->table, &theirs, 1, &proof->accepted, &differences, err))
        return false;
    if (guest_differences_decisive(&differences) > 0)
        return tell(exchange, &differences, err);
    if (!check_accepted(exchange, &differences, err) ||
        !keep_accepted(exchange, &theirs, 1, &differences, err))
        return false;
    guest_table_free(&asker->table);
    return guest_table_copy(&proof->table, &asker->table) || error_no_memory(err);
}
