/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a store answers, and what a host says of itself in it. The input is taken for any answer,
 * for a presence, and for the payload of one that is rightly signed; an object with "members", an
 * array of [KEY, payload, "own" or "peer": who signs it], for an answer with these in it. "seen" is
 * the last serial of the peer that is known here, "until" when its trust entry expires, 0: there is
 * none.
 */
#include "home.h"
#include "peer/envelope.h"
#include "pool/etcd_reply.h"
#include "pool/members.h"

static void try_range(const char *text, size_t size, const json_t *json)
{
    const struct fuzz_home *home = fuzz_home();
    static const struct etcd_asked asked = {
        .key = "p/hosts/", .prefix = true, .kvs_max = 4, .value_max = PRESENCE_SIZE_MAX};
    autorange struct etcd_range range = {0};
    automembers struct pool_members members = {0};
    autoseen struct seen seen = {0};
    struct error err = ERROR_INIT;
    if (!etcd_range_parse(text, size, &asked, &range, &err)) {
        MUST(err.status == STATUS_DATA && *err.message && !range.kvs);
        return;
    }
    MUST(range.count <= asked.kvs_max);
    for (size_t i = 0; i < range.count; i++)
        MUST(strncmp(range.kvs[i].key, asked.key, strlen(asked.key)) == 0 &&
             range.kvs[i].value_length < size && range.kvs[i].mod_revision >= 0);
    const json_t *last = json_object_get(json, "seen"), *until = json_object_get(json, "until");
    struct trust_entry entry = home->entry;
    struct trust trust = {.entries = &entry, .count = !until || json_integer_value(until) != 0};
    entry.expires = until ? json_integer_value(until) : TRUST_NEVER;
    const struct members_setup setup = {.folder = asked.key,
                                        .host_name = "us",
                                        .pin = home->own->pin,
                                        .trust = &trust,
                                        .now = FUZZ_NOW};
    if (last)
        MUST(seen_note(&seen, home->peer->pin, "peer", json_integer_value(last), FUZZ_NOW - 60));
    MUST(members_choose(&range, &setup, &seen, &members, &err));
    MUST(members.count + members.ignored <= range.count);
    MUST(seen.count >= members.count && seen.count <= members.count + 1);
}

static void try_answers(const char *text, size_t size)
{
    static const struct etcd_asked one = {.key = "p/hosts/b", .kvs_max = 1, .value_max = 64};
    struct etcd_kv before = {0};
    struct error err = ERROR_INIT;
    int64_t id = 0, ttl = 0;
    bool succeeded;
    int code;
    autofree char *token = NULL;
    if (etcd_put_parse(text, size, &one, &before, &err))
        MUST(!before.key || (strcmp(before.key, one.key) == 0 && before.mod_revision >= 0));
    etcd_kv_free(&before);
    etcd_txn_parse(text, size, &succeeded, &err);
    if (etcd_lease_parse(text, size, &id, &ttl, &err))
        MUST(id > 0 && ttl > 0);
    if (etcd_keepalive_parse(text, size, 12345, &ttl, &err))
        MUST(ttl >= 0);
    if (etcd_token_parse(text, size, &token, &err))
        MUST(*token && text_is_plain(token));
    autofree char *words = etcd_error_parse(text, size, &code);
    MUST(words && *words && text_is_plain(words) && code >= 0);
}

static void try_presence(const char *text, size_t size)
{
    autopresence struct presence presence = {0}, again = {0};
    struct error err = ERROR_INIT;
    if (!presence_open(text, size, &presence, &err)) {
        MUST(err.status == STATUS_DATA && *err.message && !presence.host);
        return;
    }
    MUST(name_is_host(presence.host) && presence.port > 0 && presence.serial > 0);
    MUST(presence.expires - presence.issued <= PRESENCE_LIFETIME_S);
    autofree char *written = presence_sign(&presence, fuzz_home()->own, &err);
    MUST(written && presence_open(written, strlen(written), &again, &err));
    MUST(strcmp(again.address, presence.address) == 0 && again.serial == presence.serial);
}

/* As etcd's JSON gateway gives it: keys and values in base64. */
static json_t *make_kv(const json_t *member)
{
    const struct fuzz_home *home = fuzz_home();
    const char *key = json_string_value(json_array_get(member, 0));
    const char *by = json_string_value(json_array_get(member, 2));
    const struct identity *signer = by && strcmp(by, "own") == 0 ? home->own : home->peer;
    json_t *payload = json_array_get(member, 1);
    autofree char *text = NULL;
    if (!key || !json_is_object(payload) ||
        !envelope_sign(signer, PRESENCE_TYPE, payload, &text, NULL))
        return json_null();
    autofree char *key64 = base64_encode(key, strlen(key));
    autofree char *value64 = base64_encode(text, strlen(text));
    return json_pack("{s:s, s:s, s:s, s:s}", "key", key64, "value", value64, "mod_revision", "5",
                     "create_revision", "4");
}

static void try_members(json_t *json)
{
    autojson json_t *kvs = json_array();
    size_t i;
    json_t *member;
    json_array_foreach(json_object_get(json, "members"), i, member)
    {
        json_array_append_new(kvs, make_kv(member));
    }
    autojson json_t *reply = json_pack("{s:{s:s}, s:O, s:I}", "header", "revision", "9", "kvs", kvs,
                                       "count", (json_int_t)json_array_size(kvs));
    autofree char *text = reply ? json_dumps(reply, JSON_COMPACT) : NULL;
    MUST(text);
    try_range(text, strlen(text), json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    try_range(text, size, NULL);
    try_answers(text, size);
    try_presence(text, size);
    autojson json_t *payload = json_parse_strict(text, size, PRESENCE_SIZE_MAX, NULL);
    autofree char *statement = NULL;
    if (payload && envelope_sign(fuzz_home()->own, PRESENCE_TYPE, payload, &statement, NULL))
        try_presence(statement, strlen(statement));
    if (json_object_get(payload, "members"))
        try_members(payload);
    return 0;
}
