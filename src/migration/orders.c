/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "migration/orders.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "migration/inventory.h"

#define KEY "s:s, s:s, s:s"
#define KEY_OF(key) "vm", (key)->vm, "agreement", (key)->agreement, "migration", (key)->migration
#define KEY_INTO(key)                                                                              \
    "vm", &(key)->vm, "agreement", &(key)->agreement, "migration", &(key)->migration
#define DIFFERENCES_MAX 256
#define LINE_MAX_LENGTH 511          /* of a difference */
#define STAMP_MAX (INT64_C(1) << 53) /* milliseconds: room to add to it */

static const char *const state_names[] = {
    [LEASE_NONE] = "none", [LEASE_HELD] = "held",     [LEASE_TOLD] = "told",
    [LEASE_RUN] = "run",   [LEASE_ENDING] = "ending", [LEASE_ENDED] = "ended",
};
#define STATES (sizeof(state_names) / sizeof(state_names[0]))

const char *lease_state_name(enum lease_guardian_state state)
{
    return state_names[state];
}

void order_sight_free(struct order_sight *sight)
{
    migration_offer_free(&sight->offer);
    json_decref(sight->inventory);
    strlist_free(&sight->differences);
    *sight = (struct order_sight){0};
}

void order_prepare_free(struct order_prepare *prepare)
{
    migration_offer_free(&prepare->offer);
    *prepare = (struct order_prepare){0};
}

json_t *order_new(const struct order_key *key)
{
    return json_pack("{" KEY "}", KEY_OF(key));
}

json_t *order_new_prepare(const struct order_key *key, const struct order_prepare *prepare)
{
    return json_pack("{" KEY ", s:I, s:o, s:o}", KEY_OF(key), "grant", (json_int_t)prepare->grant,
                     "offer", migration_offer_to_json(&prepare->offer), "wishes",
                     migration_wishes_to_json(&prepare->wishes));
}

json_t *order_new_stream(const struct order_key *key, int channel)
{
    return json_pack("{" KEY ", s:i}", KEY_OF(key), "channel", channel);
}

json_t *order_new_renew(const struct order_key *key, const struct order_renew *renew)
{
    return json_pack("{" KEY ", s:I, s:i, s:b}", KEY_OF(key), "grant", (json_int_t)renew->grant,
                     "wait_ms", renew->wait_ms, "disarm", renew->disarm);
}

json_t *order_new_resume(const struct order_key *key, const struct order_resume *resume)
{
    return json_pack("{" KEY ", s:I, s:b, s:b}", KEY_OF(key), "good_until",
                     (json_int_t)resume->good_until, "run", resume->run, "postcopy",
                     resume->postcopy);
}

static bool check_key(const struct order_key *key, struct error *err)
{
    return (name_is_vm(key->vm) && digest_is_hex(key->agreement) &&
            migration_id_is_good(key->migration)) ||
           error_set(err, STATUS_DATA,
                     "a request about a migration: vm, agreement or migration is "
                     "not valid");
}

/* A moment of the guardian's clock. */
static bool is_stamp(int64_t stamp)
{
    return stamp >= 0 && stamp <= STAMP_MAX;
}

static bool refuse_stamp(const char *request, struct error *err)
{
    return error_set(err, STATUS_DATA, "%s: that is no time", request);
}

bool order_take(json_t *body, struct order_key *out, struct error *err)
{
    struct order_key key;
    if (!json_take(body, err, "a request about a migration", "{" KEY "}", KEY_INTO(&key)) ||
        !check_key(&key, err))
        return false;
    *out = key;
    return true;
}

bool order_take_prepare(json_t *body, struct order_key *out_key, struct order_prepare *out,
                        struct error *err)
{
    struct order_key key;
    autoprepare struct order_prepare prepare = {0};
    json_int_t grant;
    json_t *offer, *wishes;
    if (!json_take(body, err, "prepare", "{" KEY ", s:I, s:o, s:o}", KEY_INTO(&key), "grant",
                   &grant, "offer", &offer, "wishes", &wishes) ||
        !check_key(&key, err) ||
        !migration_offer_from_json(offer, "prepare: offer", &prepare.offer, err) ||
        !migration_wishes_from_json(wishes, "prepare: wishes", &prepare.wishes, err))
        return false;
    if (!is_stamp(grant))
        return refuse_stamp("prepare", err);
    prepare.grant = grant;
    *out_key = key;
    *out = prepare;
    prepare = (struct order_prepare){0};
    return true;
}

bool order_take_stream(json_t *body, struct order_key *out_key, int *channel, struct error *err)
{
    struct order_key key;
    json_int_t number;
    if (!json_take(body, err, "stream", "{" KEY ", s:I}", KEY_INTO(&key), "channel", &number) ||
        !check_key(&key, err))
        return false;
    if (number < 0 || number >= ORDER_CHANNELS_MAX)
        return error_set(err, STATUS_DATA, "stream: there is no such channel");
    *out_key = key;
    *channel = (int)number;
    return true;
}

bool order_take_renew(json_t *body, struct order_key *out_key, struct order_renew *renew,
                      struct error *err)
{
    struct order_key key;
    json_int_t grant, wait_ms;
    int disarm;
    if (!json_take(body, err, "renew", "{" KEY ", s:I, s:I, s:b}", KEY_INTO(&key), "grant", &grant,
                   "wait_ms", &wait_ms, "disarm", &disarm) ||
        !check_key(&key, err))
        return false;
    if (grant != ORDER_NO_GRANT && !is_stamp(grant))
        return refuse_stamp("renew", err);
    if (wait_ms < 0 || wait_ms > ORDER_WAIT_MAX_MS)
        return error_set(err, STATUS_DATA, "renew: it cannot wait that long");
    *out_key = key;
    *renew = (struct order_renew){.grant = grant, .wait_ms = (int)wait_ms, .disarm = disarm};
    return true;
}

bool order_take_resume(json_t *body, struct order_key *out_key, struct order_resume *resume,
                       struct error *err)
{
    struct order_key key;
    json_int_t good_until;
    int run, postcopy;
    if (!json_take(body, err, "resume", "{" KEY ", s:I, s:b, s:b}", KEY_INTO(&key), "good_until",
                   &good_until, "run", &run, "postcopy", &postcopy) ||
        !check_key(&key, err))
        return false;
    if (!is_stamp(good_until))
        return refuse_stamp("resume", err);
    *out_key = key;
    *resume = (struct order_resume){.good_until = good_until, .run = run, .postcopy = postcopy};
    return true;
}

static json_t *status_to_json(const struct guardian_status *status)
{
    return json_pack("{s:I, s:s, s:s, s:s, s:s, s:I}", "stamp", (json_int_t)status->stamp, "lease",
                     state_names[status->lease], "run_state", status->run_state, "migration",
                     status->migration, "reason", status->reason, "pid", (json_int_t)status->pid);
}

json_t *order_answer_look(const struct order_sight *sight)
{
    autojson json_t *differences = json_array();
    for (size_t i = 0; i < sight->differences.count && i < DIFFERENCES_MAX; i++) {
        /* QEMU's words may be in it; and none may be lost. */
        autofree char *line = string_plain(sight->differences.items[i], LINE_MAX_LENGTH);
        if (!line || json_array_append_new(differences, json_string(line)) != 0)
            return NULL;
    }
    return json_pack("{s:o, s:o, s:O, s:O}", "status", status_to_json(&sight->status), "offer",
                     migration_offer_to_json(&sight->offer), "inventory", sight->inventory,
                     "differences", differences);
}

json_t *order_answer_prepare(const struct guardian_status *status, uint16_t port)
{
    return json_pack("{s:o, s:i}", "status", status_to_json(status), "port", (int)port);
}

json_t *order_answer(const struct guardian_status *status)
{
    return json_pack("{s:o}", "status", status_to_json(status));
}

/* Copies a text of a peer's for people; false when it is too long or not plain. */
static bool copy_plain(char *to, size_t size, const char *text)
{
    size_t length = strlen(text);
    if (length >= size || !text_is_plain(text))
        return false;
    memcpy(to, text, length + 1);
    return true;
}

/* A line for people. */
static bool is_line(const char *text)
{
    return strlen(text) <= LINE_MAX_LENGTH && text_is_plain(text);
}

static bool take_status(json_t *json, struct guardian_status *out, struct error *err)
{
    struct guardian_status status = {0};
    const char *lease, *run_state, *migration, *reason;
    json_int_t stamp, pid;
    size_t index = 0;
    if (!json_take(json, err, "the guardian's status", "{s:I, s:s, s:s, s:s, s:s, s:I}", "stamp",
                   &stamp, "lease", &lease, "run_state", &run_state, "migration", &migration,
                   "reason", &reason, "pid", &pid))
        return false;
    while (index < STATES && strcmp(state_names[index], lease) != 0)
        index++;
    if (index == STATES || !is_stamp(stamp) || pid < 0 ||
        !copy_plain(status.run_state, sizeof(status.run_state), run_state) ||
        !copy_plain(status.migration, sizeof(status.migration), migration) ||
        !copy_plain(status.reason, sizeof(status.reason), reason))
        return error_set(err, STATUS_DATA, "the guardian's status is not valid");
    status.stamp = stamp;
    status.lease = (enum lease_guardian_state)index;
    status.pid = pid;
    *out = status;
    return true;
}

bool order_take_sight(json_t *answer, struct order_sight *out, struct error *err)
{
    autosight struct order_sight sight = {0};
    json_t *status, *offer, *inventory, *differences;
    if (!json_take(answer, err, "the answer to look", "{s:o, s:o, s:o, s:o}", "status", &status,
                   "offer", &offer, "inventory", &inventory, "differences", &differences) ||
        !take_status(status, &sight.status, err) ||
        !migration_offer_from_json(offer, "the answer to look: offer", &sight.offer, err) ||
        !inventory_check(inventory, "the answer to look: inventory", err))
        return false;
    if (!json_is_array(differences) || json_array_size(differences) > DIFFERENCES_MAX)
        return error_set(err, STATUS_DATA, "the answer to look: differences is no list of lines");
    if (!json_take_names(differences, "the answer to look: differences", is_line,
                         &sight.differences, err))
        return false;
    sight.inventory = json_incref(inventory);
    *out = sight;
    sight = (struct order_sight){0};
    return true;
}

bool order_take_prepared(json_t *answer, struct guardian_status *out, uint16_t *port,
                         struct error *err)
{
    struct guardian_status status;
    json_t *json;
    json_int_t number;
    if (!json_take(answer, err, "the answer to prepare", "{s:o, s:I}", "status", &json, "port",
                   &number) ||
        !take_status(json, &status, err))
        return false;
    if (number < 0 || number > 65535)
        return error_set(err, STATUS_DATA, "the answer to prepare: there is no such port");
    *out = status;
    *port = (uint16_t)number;
    return true;
}

bool order_take_status(json_t *answer, struct guardian_status *status, struct error *err)
{
    json_t *json;
    return json_take(answer, err, "the guardian's answer", "{s:o}", "status", &json) &&
           take_status(json, status, err);
}
