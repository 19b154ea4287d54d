/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The readers of what the source and the guardian of a migration say to each other. One object with
 * any of "request", "answer", "offers" (of the two QEMUs, for "wishes") and "inventories" (of two
 * machines): each is given to all readers of its kind. What is read and written again is the same,
 * byte for byte; what is decided from it is the same each time.
 */
#include "fuzz.h"
#include "migration/orders.h"
#include "migration/preflight.h"

static const char *const names[] = {"src", "dst"};

/* These readers take one form only: the text of what was read is the text that it was read from. */
static void check_same(json_t *json, json_t *written)
{
    autofree char *one = json_to_text(json);
    autofree char *other = fuzz_written(written);
    MUST(one && strcmp(one, other) == 0);
}

static void check_request(json_t *json)
{
    struct order_key key;
    autoprepare struct order_prepare prepare = {0};
    struct order_renew renew;
    struct order_resume resume;
    int channel, taken = 0;
    if (order_take(json, &key, NULL) && ++taken)
        check_same(json, order_new(&key));
    if (order_take_prepare(json, &key, &prepare, NULL) && ++taken)
        check_same(json, order_new_prepare(&key, &prepare));
    if (order_take_stream(json, &key, &channel, NULL) && ++taken) {
        MUST(channel >= 0 && channel < ORDER_CHANNELS_MAX);
        check_same(json, order_new_stream(&key, channel));
    }
    if (order_take_renew(json, &key, &renew, NULL) && ++taken) {
        MUST(renew.grant >= ORDER_NO_GRANT && renew.wait_ms >= 0);
        MUST(renew.wait_ms <= ORDER_WAIT_MAX_MS);
        check_same(json, order_new_renew(&key, &renew));
    }
    if (order_take_resume(json, &key, &resume, NULL) && ++taken)
        check_same(json, order_new_resume(&key, &resume));
    MUST(taken <= 1);
    MUST(taken == 0 || (name_is_vm(key.vm) && migration_id_is_good(key.migration)));
}

static void check_status(const struct guardian_status *status)
{
    struct lease_source lease = LEASE_SOURCE_INIT;
    int64_t stamp, good_until;
    MUST(text_is_plain(status->run_state) && text_is_plain(status->migration));
    MUST(text_is_plain(status->reason) && lease_state_name(status->lease));
    /* A guardian may say any time. */
    lease_source_heard(&lease, 1000, status->stamp);
    MUST(lease_source_grant(&lease, 1000, &stamp) && stamp == status->stamp);
    MUST(lease_source_tell(&lease, 1000, &good_until) && good_until > stamp);
}

/* Its lines lose blanks at their ends when it is written. */
static void check_sight(const struct order_sight *sight)
{
    autosight struct order_sight again = {0};
    autofree char *text = fuzz_written(order_answer_look(sight));
    autojson json_t *json = fuzz_reread(text);
    MUST(order_take_sight(json, &again, NULL));
    MUST(again.differences.count == sight->differences.count);
    check_same(json, order_answer_look(&again));
    check_status(&again.status);
}

static void check_answer(json_t *json)
{
    autosight struct order_sight sight = {0};
    struct guardian_status status;
    uint16_t port;
    if (order_take_sight(json, &sight, NULL))
        check_sight(&sight);
    if (order_take_prepared(json, &status, &port, NULL)) {
        check_status(&status);
        check_same(json, order_answer_prepare(&status, port));
    }
    if (order_take_status(json, &status, NULL)) {
        check_status(&status);
        check_same(json, order_answer(&status));
    }
}

static bool is_same_decision(const struct migration_settings *one,
                             const struct migration_settings *other)
{
    autofree char *notes = strlist_join(&one->notes, ";");
    autofree char *also = strlist_join(&other->notes, ";");
    MUST(notes && also);
    for (int end = 0; end < MIGRATION_ENDS; end++)
        if (!json_equal(one->ends[end].capabilities, other->ends[end].capabilities) ||
            !json_equal(one->ends[end].parameters, other->ends[end].parameters))
            return false;
    return strcmp(notes, also) == 0;
}

static void check_settings(const struct migration_offer offers[MIGRATION_ENDS],
                           const struct migration_wishes *wishes)
{
    automigrationsettings struct migration_settings settings = {0}, again = {0};
    bool good = migration_settings_decide(offers, names, wishes, &settings, NULL);
    MUST(migration_settings_decide(offers, names, wishes, &again, NULL) == good);
    MUST(!good || is_same_decision(&settings, &again));
}

static void check_offers(json_t *list, json_t *json)
{
    struct migration_offer offers[MIGRATION_ENDS] = {{0}};
    struct migration_wishes wishes = {0};
    bool wished = migration_wishes_from_json(json, "wishes", &wishes, NULL), both = wished;
    if (wished)
        check_same(json, migration_wishes_to_json(&wishes));
    for (int end = 0; end < MIGRATION_ENDS; end++) {
        json_t *offer = json_array_get(list, (size_t)end);
        if (migration_offer_from_json(offer, "offer", &offers[end], NULL))
            check_same(offer, migration_offer_to_json(&offers[end]));
        else
            both = false;
    }
    if (both)
        check_settings(offers, &wishes);
    for (int end = 0; end < MIGRATION_ENDS; end++)
        migration_offer_free(&offers[end]);
}

/* A machine can move to one like it, but for what blocks it. */
static void check_inventories(const json_t *one, const json_t *other)
{
    autostrlist struct strlist findings = {0}, again = {0}, none = {0}, warnings = {0};
    MUST(preflight_find(one, other, names, &findings, &warnings));
    for (size_t i = 0; i < warnings.count; i++)
        MUST(text_is_plain(warnings.items[i]));
    MUST(preflight_find(one, other, names, &again, &warnings) && findings.count == again.count);
    for (size_t i = 0; i < findings.count; i++)
        MUST(text_is_plain(findings.items[i]) && strcmp(findings.items[i], again.items[i]) == 0);
    MUST(preflight_find(one, one, names, &none, &warnings) && warnings.count == 0);
    MUST(none.count == json_array_size(json_object_get(one, "blocked")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    autojson json_t *json = json_parse_strict((const char *)data, size, size, NULL);
    if (!json)
        return 0;
    check_request(json_object_get(json, "request"));
    check_answer(json_object_get(json, "answer"));
    check_offers(json_object_get(json, "offers"), json_object_get(json, "wishes"));
    json_t *machines = json_object_get(json, "inventories");
    json_t *one = json_array_get(machines, 0), *other = json_array_get(machines, 1);
    if (inventory_check(one, "one", NULL) && inventory_check(other, "other", NULL))
        check_inventories(one, other);
    return 0;
}
