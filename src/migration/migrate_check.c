/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The pre-flight: everything that is known to go wrong is said before a byte of memory is sent.
 */
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "migration/cpu_check.h"
#include "migration/inventory.h"
#include "migration/preflight.h"
#include "migration/sequence.h"

#define PATIENCE_MS 8000 /* QEMU or its guardian over there may still be starting */

static bool add_all(struct strlist *findings, const char *host, const struct strlist *lines)
{
    for (size_t i = 0; i < lines->count; i++)
        if (!strlist_pushf(findings, "%s: %s", host, lines->items[i]))
            return false;
    return true;
}

/* What is there waits for this guest, and for nobody else. */
static bool check_waits(const struct migration *m, const struct guardian_status *status,
                        struct strlist *findings)
{
    const char *state = status->run_state;
    if (status->lease == LEASE_NONE &&
        (strcmp(state, "inmigrate") == 0 || strcmp(state, "paused") == 0))
        return true;
    return strlist_pushf(findings, "%s: its QEMU does not wait for the guest: it is '%s' (%s)",
                         m->peer->name, state, lease_state_name(status->lease));
}

static bool find_differences(struct migration *m, const struct order_sight *sight,
                             struct strlist *findings, struct strlist *warnings, struct error *err)
{
    const char *const names[] = {m->self, m->peer->name};
    autostrlist struct strlist lines = {0};
    autojson json_t *inventory = inventory_read(m->qmp, err);
    if (!inventory || !cpu_check(m->paths, m->record, m->qmp, &lines, err))
        return false;
    autostrlist struct strlist machines = {0};
    if (!preflight_find(inventory, sight->inventory, names, &machines, warnings) ||
        !check_waits(m, &sight->status, findings) || !add_all(findings, m->self, &lines) ||
        !add_all(findings, m->peer->name, &sight->differences))
        return error_no_memory(err);
    for (size_t i = 0; i < machines.count; i++)
        if (!strlist_push(findings, machines.items[i]))
            return error_no_memory(err);
    return true;
}

static bool decide_settings(struct migration *m, const struct migration_offer *own,
                            const struct migration_offer *theirs, struct strlist *findings,
                            struct error *err)
{
    const char *const names[] = {m->self, m->peer->name};
    const struct migration_offer offers[MIGRATION_ENDS] = {*own, *theirs};
    struct error why = ERROR_INIT;
    if (migration_settings_decide(offers, names, &m->options->wishes, &m->settings, &why)) {
        for (size_t i = 0; i < m->settings.notes.count; i++)
            log_info("%s", m->settings.notes.items[i]);
        return true;
    }
    if (why.status != STATUS_INCOMPATIBLE)
        return error_set(err, why.status, "%s", why.message);
    return strlist_push(findings, why.message) || error_no_memory(err);
}

static bool refuse(const struct migration *m, const struct strlist *findings, struct error *err)
{
    if (findings->count == 1)
        return error_set(err, STATUS_MIGRATION, "%s", findings->items[0]);
    for (size_t i = 0; i < findings->count; i++)
        log_error("%s", findings->items[i]);
    return error_set(err, STATUS_MIGRATION,
                     "the destination on %s does not fit (%zu reasons above)", m->peer->name,
                     findings->count);
}

bool migration_check(struct migration *m, struct migration_offer *out, struct error *err)
{
    automigrationoffer struct migration_offer offer = {0};
    autosight struct order_sight sight = {0};
    autostrlist struct strlist findings = {0}, warnings = {0};
    if (!guardian_link_look(m->link, PATIENCE_MS, &sight, err))
        return false;
    if (!migration_offer_read(m->qmp, MIGRATION_SOURCE, &offer, err) ||
        !find_differences(m, &sight, &findings, &warnings, err) ||
        !decide_settings(m, &offer, &sight.offer, &findings, err))
        return false;
    if (findings.count > 0)
        return refuse(m, &findings, err);
    for (size_t i = 0; i < warnings.count; i++)
        log_warning("%s", warnings.items[i]);
    /* All that may have taken seconds: the grant that comes next needs a fresh stamp. */
    const struct link_renewal question = {.limit_ms = LINK_CALL_MS};
    if (!guardian_link_renew(m->link, &question, NULL, err))
        return false;
    *out = offer;
    offer = (struct migration_offer){0};
    return true;
}
