/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The pre-flight: everything that is known to go wrong is said before a byte of memory is sent.
 */
#include <pthread.h>
#include <signal.h>
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

/* What is asked of QEMU here: some hundred questions. */
struct own_sight {
    struct migration_offer offer;
    json_t *inventory;
    struct strlist differences; /* of its CPU from the agreement */
};

static void own_sight_free(struct own_sight *own)
{
    migration_offer_free(&own->offer);
    json_decref(own->inventory);
    strlist_free(&own->differences);
}

static bool look_here(struct migration *m, struct own_sight *own, struct error *err)
{
    return migration_offer_read(m->qmp, MIGRATION_SOURCE, &own->offer, err) &&
           (own->inventory = inventory_read(m->qmp, err)) &&
           cpu_check(m->paths, m->record, m->qmp, &own->differences, err);
}

/* The same, asked over there by the guardian, at the same time. */
struct look_there {
    struct guardian_link *link;
    struct order_sight sight;
    struct error err;
    bool good;
};

static void *look_there(void *context)
{
    struct look_there *there = context;
    there->good = guardian_link_look(there->link, PATIENCE_MS, &there->sight, &there->err);
    return NULL;
}

/* What went wrong over there is said first: it is more often the cause. */
static bool look(struct migration *m, struct own_sight *own, struct order_sight *sight,
                 struct error *err)
{
    struct look_there there = {.link = m->link, .err = ERROR_INIT};
    struct error here = ERROR_INIT;
    sigset_t all, saved;
    pthread_t thread;
    sigfillset(&all); /* signals are the program's */
    pthread_sigmask(SIG_SETMASK, &all, &saved);
    int errnum = pthread_create(&thread, NULL, look_there, &there);
    pthread_sigmask(SIG_SETMASK, &saved, NULL);
    if (errnum != 0)
        return error_set_errno(err, STATUS_INTERNAL, errnum, "cannot start a thread");
    bool good = look_here(m, own, &here);
    pthread_join(thread, NULL);
    *sight = there.sight;
    if (there.good && good)
        return true;
    *err = there.good ? here : there.err;
    return false;
}

static bool find_differences(const struct migration *m, const struct own_sight *own,
                             const struct order_sight *sight, struct strlist *findings,
                             struct strlist *warnings, struct error *err)
{
    const char *const names[] = {m->self, m->peer->name};
    autostrlist struct strlist machines = {0};
    if (!preflight_find(own->inventory, sight->inventory, names, &machines, warnings) ||
        !check_waits(m, &sight->status, findings) ||
        !add_all(findings, m->self, &own->differences) ||
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
    __attribute__((cleanup(own_sight_free))) struct own_sight own = {0};
    autosight struct order_sight sight = {0};
    autostrlist struct strlist findings = {0}, warnings = {0};
    if (!look(m, &own, &sight, err) ||
        !find_differences(m, &own, &sight, &findings, &warnings, err) ||
        !decide_settings(m, &own.offer, &sight.offer, &findings, err))
        return false;
    if (findings.count > 0)
        return refuse(m, &findings, err);
    for (size_t i = 0; i < warnings.count; i++)
        log_warning("%s", warnings.items[i]);
    /* All that may have taken seconds: the grant that comes next needs a fresh stamp. */
    const struct link_renewal question = {.limit_ms = LINK_CALL_MS};
    if (!guardian_link_renew(m->link, &question, NULL, err))
        return false;
    *out = own.offer;
    own.offer = (struct migration_offer){0};
    return true;
}
