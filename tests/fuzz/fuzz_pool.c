/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a store answers, and what a host says of itself in it. The input is taken for any answer,
 * for a presence, and for the payload of one that is rightly signed.
 */
#include <unistd.h>

#include "fuzz.h"
#include "peer/envelope.h"
#include "pool/etcd_reply.h"
#include "pool/members.h"

static struct identity *identity;
static struct trust_entry entry = {.name = (char *)"B", .pin_count = 1, .expires = TRUST_NEVER};
static const struct trust trust = {.entries = &entry, .count = 1};

static void forget(void)
{
    identity_free(identity);
}

static void make_identity(void)
{
    char folder[] = "/tmp/qml-fuzz-XXXXXX", path[64];
    MUST(mkdtemp(folder) && identity_create(folder, NULL));
    identity = identity_load(folder, NULL);
    MUST(identity);
    static const char *const files[] = {"identity.key", "identity.crt"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
        unlink(path);
    }
    rmdir(folder);
    memcpy(entry.pins[0], identity->pin, PIN_SIZE);
    atexit(forget);
}

static void try_range(const char *text, size_t size)
{
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
    const struct members_setup setup = {
        .folder = asked.key, .host_name = "us", .pin = "us", .trust = &trust, .now = 1700000000};
    MUST(members_choose(&range, &setup, &seen, &members, &err));
    MUST(members.count + members.ignored <= range.count && seen.count == members.count);
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
    autofree char *written = presence_sign(&presence, identity, &err);
    MUST(written && presence_open(written, strlen(written), &again, &err));
    MUST(strcmp(again.address, presence.address) == 0 && again.serial == presence.serial);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    if (!identity)
        make_identity();
    try_range(text, size);
    try_answers(text, size);
    try_presence(text, size);
    autojson json_t *payload = json_parse_strict(text, size, PRESENCE_SIZE_MAX, NULL);
    autofree char *statement = NULL;
    if (payload && envelope_sign(identity, PRESENCE_TYPE, payload, &statement, NULL))
        try_presence(statement, strlen(statement));
    return 0;
}
