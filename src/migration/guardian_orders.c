/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the source asks of the guardian. A refusal because of how things stand is no error: the
 * answer has the status, and the source draws its conclusions.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "migration/cpu_check.h"
#include "migration/guardian_private.h"
#include "migration/inventory.h"

#define START_MS 8000 /* QEMU may still be starting */
#define WATCH_MS 5

static bool is_bound(const struct guardian *guardian)
{
    return *guardian->migration != '\0';
}

bool guardian_check_source(const struct guardian *guardian, const struct trust_entry *peer,
                           const struct order_key *key, struct error *err)
{
    const struct strlist *sources = guardian->setup->sources;
    const struct vm_record *record = &guardian->record;
    bool known = false;
    for (size_t i = 0; i < sources->count; i++)
        known = known || trust_entry_has_pin(peer, sources->items[i]);
    if (!known)
        return error_set(err, STATUS_NOT_TRUSTED, "%s is not who may move %s to here", peer->name,
                         record->vm);
    if (strcmp(key->vm, record->vm) != 0)
        return error_set(err, STATUS_INCOMPATIBLE, "the QEMU that waits here is for %s",
                         record->vm);
    if (strcmp(key->agreement, record->agreement) != 0)
        return error_set(err, STATUS_INCOMPATIBLE,
                         "%s waits here under another agreement (%.12s) than it runs under there "
                         "(%.12s)",
                         record->vm, record->agreement, key->agreement);
    if (is_bound(guardian) && strcmp(key->migration, guardian->migration) != 0)
        return error_set(err, STATUS_DECISION,
                         "another migration of %s was begun to here: a new one needs a new "
                         "QEMU, launched with --incoming --agreement",
                         record->vm);
    return true;
}

static json_t *answer_with(struct guardian *guardian, const struct guardian_status *status,
                           struct error *err)
{
    json_t *answer = order_answer(status);
    if (!answer)
        error_no_memory(err);
    else if (status->lease == LEASE_ENDED)
        guardian->end_heard = true;
    return answer;
}

static json_t *answer_status(struct guardian *guardian, struct error *err)
{
    struct guardian_status status;
    guardian_status(guardian, &status);
    return answer_with(guardian, &status, err);
}

static json_t *look(struct guardian *guardian, struct error *err)
{
    autosight struct order_sight sight = {0};
    struct qmp *qmp = guardian_qmp(guardian, deadline_in_ms(START_MS), err);
    if (!qmp || !migration_offer_read(qmp, MIGRATION_DESTINATION, &sight.offer, err) ||
        !(sight.inventory = inventory_read(qmp, err)) ||
        !cpu_check(guardian->setup->paths, &guardian->record, qmp, &sight.differences, err)) {
        qmp_close(STEAL(guardian->qmp));
        return NULL;
    }
    guardian_status(guardian, &sight.status);
    json_t *answer = order_answer_look(&sight);
    if (!answer)
        error_no_memory(err);
    return answer;
}

/* The same settings as the source's, computed from the same offers. */
static bool set_up_qemu(struct guardian *guardian, struct order_prepare *prepare, struct error *err)
{
    automigrationsettings struct migration_settings settings = {0};
    struct migration_offer offers[MIGRATION_ENDS] = {[MIGRATION_SOURCE] = prepare->offer};
    const char *const names[MIGRATION_ENDS] = {guardian->record.peer,
                                               guardian->setup->config->host_name};
    struct qmp *qmp = guardian_qmp(guardian, deadline_in_ms(START_MS), err);
    if (!qmp ||
        !migration_offer_read(qmp, MIGRATION_DESTINATION, &offers[MIGRATION_DESTINATION], err))
        return false;
    bool good = migration_settings_decide(offers, names, &prepare->wishes, &settings, err) &&
                migration_side_apply(qmp, &settings.ends[MIGRATION_DESTINATION], err);
    migration_offer_free(&offers[MIGRATION_DESTINATION]);
    if (good) {
        guardian->side = settings.ends[MIGRATION_DESTINATION];
        settings.ends[MIGRATION_DESTINATION] = (struct migration_side){0};
    }
    return good && guardian_await_stream(guardian, prepare->wishes.direct, false, err);
}

/* From now on it is about this migration only; the record knows it, too. */
static bool bind_to(struct guardian *guardian, const struct order_key *key, struct error *err)
{
    struct vm_migration *migration = &guardian->record.migration;
    char *host = strdup("");
    if (!host)
        return error_no_memory(err);
    vm_migration_free(migration);
    *migration = (struct vm_migration){.host = host, .port = guardian->record.guardian_port};
    memcpy(migration->id, key->migration, MIGRATION_ID_SIZE);
    memcpy(guardian->migration, key->migration, MIGRATION_ID_SIZE);
    /* A host that cannot write it down now could not later, when the guest is here. */
    return guardian_note_place(guardian, PLACE_INCOMING, err);
}

/* What peers do may not fill the log, which ends at 64 MiB, and with it the guardian. */
static bool may_log(struct guardian *guardian)
{
    return log_rate_take(&guardian->log, 20, "requests were answered");
}

static json_t *prepare(struct guardian *guardian, const struct order_key *key,
                       struct order_prepare *prepare, struct error *err)
{
    struct guardian_status status;
    if (!guardian->prepared) {
        if (!lease_guardian_grant(&guardian->lease, clock_now_ms(), prepare->grant)) {
            error_set(err, STATUS_UNAVAILABLE, "the request came too late");
            return NULL;
        }
        if (!bind_to(guardian, key, err))
            return NULL;
        if (may_log(guardian))
            log_info("%s comes from %s: migration %.8s", guardian->record.vm, guardian->record.peer,
                     guardian->migration);
        if (!set_up_qemu(guardian, prepare, err))
            return NULL;
        guardian->prepared = true;
    }
    guardian_status(guardian, &status);
    json_t *answer = order_answer_prepare(&status, guardian->direct_port);
    if (!answer)
        error_no_memory(err);
    return answer;
}

/* Is there anything more to wait for? */
static bool is_over(const struct guardian_status *status)
{
    static const char *const going[] = {
        "", "none", "setup", "active", "device", "postcopy-active", "postcopy-device"};
    if (strcmp(status->run_state, "ended") == 0)
        return true;
    for (size_t i = 0; i < sizeof(going) / sizeof(going[0]); i++)
        if (strcmp(status->migration, going[i]) == 0)
            return false;
    return true;
}

static json_t *renew(struct guardian *guardian, const struct order_renew *renew, struct error *err)
{
    struct guardian_status status;
    deadline when = deadline_in_ms(renew->wait_ms);
    if (renew->grant != ORDER_NO_GRANT)
        lease_guardian_grant(&guardian->lease, clock_now_ms(), renew->grant);
    if (renew->disarm && guardian->lease.state == LEASE_HELD &&
        !guardian_command(guardian, "stop", NULL, NULL, err))
        return NULL;
    for (guardian_status(guardian, &status); !is_over(&status) && deadline_left_ms(when) > 0;
         guardian_status(guardian, &status))
        poll(NULL, 0, WATCH_MS);
    return answer_with(guardian, &status, err);
}

/* All of the guest is here, so that it can run. */
static bool is_complete(struct guardian *guardian, struct error *err)
{
    struct guardian_status status;
    guardian_status(guardian, &status);
    return strcmp(status.migration, "completed") == 0 ||
           error_set(err, STATUS_PROTOCOL, "the guest is not here: its migration is '%s'",
                     status.migration);
}

static json_t *resume(struct guardian *guardian, const struct order_resume *resume,
                      struct error *err)
{
    struct error why = ERROR_INIT;
    if (guardian_look_at_qemu(guardian))
        return answer_status(guardian, err);
    bool first = guardian->lease.state != LEASE_TOLD && guardian->lease.state != LEASE_RUN;
    if (guardian->lease.state != LEASE_RUN && !resume->postcopy && !is_complete(guardian, err))
        return NULL;
    if (lease_guardian_told(&guardian->lease, clock_now_ms(), resume->good_until)) {
        guardian->stay_paused = !resume->run;
        guardian->when_active = resume->postcopy && first;
        if (first && !guardian_note_place(guardian, PLACE_TOLD, &why)) {
            log_error("%s: %s", guardian->record.vm, why.message);
            lease_guardian_abort(&guardian->lease);
            guardian_end_qemu(guardian, "what it was told cannot be written");
            return answer_status(guardian, err);
        }
        if (first)
            log_info("%s: from now on it runs only here", guardian->record.vm);
        if (!guardian->when_active && guardian->lease.state == LEASE_TOLD &&
            !guardian_run_guest(guardian, &why) && strcmp(why.message, guardian->refused) != 0) {
            log_error("%s: %s", guardian->record.vm, why.message);
            memcpy(guardian->refused, why.message, sizeof(guardian->refused));
        }
    } else {
        log_error("%s: the word to run it came too late", guardian->record.vm);
    }
    return answer_status(guardian, err);
}

static json_t *abort_migration(struct guardian *guardian, struct error *err)
{
    if (is_bound(guardian) && lease_guardian_abort(&guardian->lease))
        guardian_end_qemu(guardian, "the source has called it off");
    return answer_status(guardian, err);
}

/* Only in place of a stream that is lost: asked late or twice, it must not cut a good one. */
static json_t *recover(struct guardian *guardian, struct error *err)
{
    struct guardian_status status;
    guardian_status(guardian, &status);
    if (strcmp(status.migration, "postcopy-paused") == 0 &&
        !guardian_await_stream(guardian, false, true, err))
        return NULL;
    return answer_status(guardian, err);
}

static json_t *done(struct guardian *guardian, struct error *err)
{
    json_t *answer = answer_status(guardian, err);
    guardian->leave = guardian->lease.state == LEASE_RUN ||
                      (guardian->lease.state == LEASE_TOLD && guardian->stay_paused) ||
                      guardian->lease.state == LEASE_ENDED;
    if (answer && guardian->leave)
        peer_server_stop(guardian->server);
    return answer;
}

static bool is_source(const struct guardian *guardian, const struct trust_entry *peer)
{
    const struct strlist *sources = guardian->setup->sources;
    for (size_t i = 0; i < sources->count; i++)
        if (trust_entry_has_pin(peer, sources->items[i]))
            return true;
    return false;
}

static json_t *answer_order(struct guardian *guardian, const struct trust_entry *peer,
                            const char *name, json_t *body, struct error *err)
{
    struct order_key key;
    struct order_renew how;
    struct order_resume when;
    if (strcmp(name, ORDER_PREPARE) == 0) {
        autoprepare struct order_prepare what = {0};
        return order_take_prepare(body, &key, &what, err) &&
                       guardian_check_source(guardian, peer, &key, err)
                   ? prepare(guardian, &key, &what, err)
                   : NULL;
    }
    if (strcmp(name, ORDER_RENEW) == 0)
        return order_take_renew(body, &key, &how, err) &&
                       guardian_check_source(guardian, peer, &key, err)
                   ? renew(guardian, &how, err)
                   : NULL;
    if (strcmp(name, ORDER_RESUME) == 0)
        return order_take_resume(body, &key, &when, err) &&
                       guardian_check_source(guardian, peer, &key, err)
                   ? resume(guardian, &when, err)
                   : NULL;
    static const struct {
        const char *name;
        json_t *(*answer)(struct guardian *guardian, struct error *err);
    } plain[] = {{ORDER_LOOK, look},
                 {ORDER_ABORT, abort_migration},
                 {ORDER_RECOVER, recover},
                 {ORDER_DONE, done}};
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        if (strcmp(name, plain[i].name) == 0)
            return order_take(body, &key, err) && guardian_check_source(guardian, peer, &key, err)
                       ? plain[i].answer(guardian, err)
                       : NULL;
    const char *other = json_string_value(json_object_get(body, "vm"));
    if (strcmp(name, "hello") == 0 && other && strcmp(other, guardian->record.vm) != 0)
        error_set(
            err, STATUS_UNAVAILABLE,
            "at this port %s is waited for: another VM needs another port, --listen [ADDR]:PORT "
            "here and --peer HOST:PORT there",
            guardian->record.vm);
    else if (strcmp(name, "hello") == 0 && is_source(guardian, peer))
        error_set(err, STATUS_UNAVAILABLE,
                  "%s waits here for %s under the agreement that there is: to agree anew, end that "
                  "QEMU (pid %lld) and give --renegotiate here, too",
                  guardian->record.vm, guardian->record.peer, (long long)guardian->record.pid);
    else
        error_set(err, STATUS_UNAVAILABLE,
                  "%s waits here for %s, and for nobody else: '%s' is not answered",
                  guardian->record.vm, guardian->record.peer, name);
    return NULL;
}

bool guardian_handle(void *context, const struct trust_entry *peer, const char *remote,
                     const char *name, json_t *body, json_t **answer, struct error *err)
{
    struct guardian *guardian = context;
    struct error failure = ERROR_INIT;
    *answer = answer_order(guardian, peer, name, body, &failure);
    if (*answer)
        return true;
    if (may_log(guardian))
        log_error("%s (%s): %s: %s", peer->name, remote, name, failure.message);
    *err = failure;
    return false;
}
