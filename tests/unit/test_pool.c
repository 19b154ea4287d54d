/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which presences count: the honest ones, and all that a store could put in their place.
 */
#include "unit.h"

#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"
#include "peer/envelope.h"
#include "pool/pool.h"

#define NOW 1700000000
#define FOLDER "p/hosts/"

/* us, two hosts that are trusted as B and C, and one that is not. */
static struct identity *us, *b, *c, *mallory;
static char folder[] = "/tmp/qml-pool-XXXXXX";
static struct trust_entry entries[2];
static const struct trust trust = {.entries = entries, .count = 2};
static const struct presence plain = {.host = (char *)"b",
                                      .address = (char *)"b.lan",
                                      .port = 7,
                                      .issued = NOW - 5,
                                      .expires = NOW + 60,
                                      .serial = 50};

/* Once, outside the tests: check's assertions are not for here. */
static struct identity *make_identity(const char *name)
{
    autofree char *path = string_format("%s/%s", folder, name);
    struct identity *identity = identity_create(path, NULL) ? identity_load(path, NULL) : NULL;
    if (!identity)
        exit(99);
    return identity;
}

static void make_identities(void)
{
    if (!mkdtemp(folder))
        exit(99);
    us = make_identity("us");
    b = make_identity("b");
    c = make_identity("c");
    mallory = make_identity("mallory");
    entries[0] = (struct trust_entry){
        .name = (char *)"B", .pin_count = 1, .host = (char *)"10.0.0.2", .expires = TRUST_NEVER};
    entries[1] = (struct trust_entry){.name = (char *)"C", .pin_count = 1, .expires = TRUST_NEVER};
    memcpy(entries[0].pins[0], b->pin, PIN_SIZE);
    memcpy(entries[1].pins[0], c->pin, PIN_SIZE);
}

static void forget_identities(void)
{
    identity_free(us);
    identity_free(b);
    identity_free(c);
    identity_free(mallory);
    autofree char *command = string_format("rm -rf '%s'", folder);
    if (system(command) != 0)
        exit(99);
}

/* The test's store. */
static struct etcd_range range;

static void put(const char *name, const char *value)
{
    range.kvs = realloc(range.kvs, (range.count + 1) * sizeof(*range.kvs));
    struct etcd_kv *kv = &range.kvs[range.count++];
    kv->key = string_format(FOLDER "%s", name);
    kv->key_length = strlen(kv->key);
    kv->value = value ? strdup(value) : NULL;
    kv->value_length = value ? strlen(value) : 0;
}

static void put_signed(const char *name, const struct presence *presence,
                       const struct identity *identity)
{
    struct error err = ERROR_INIT;
    autofree char *text = presence_sign(presence, identity, &err);
    ck_assert_msg(text != NULL, "%s", err.message);
    put(name, text);
}

/* Any payload, rightly signed. */
static char *sign_payload(const struct identity *identity, json_t *payload)
{
    char *text = NULL;
    autojson json_t *owned = payload;
    ck_assert(envelope_sign(identity, PRESENCE_TYPE, owned, &text, NULL));
    return text;
}

static json_t *payload_of(const struct presence *presence)
{
    return json_pack("{s:i, s:s, s:s, s:i, s:I, s:I, s:I, s:[], s:[]}", "version", 1, "host",
                     presence->host, "address", presence->address, "port", (int)presence->port,
                     "issued", (json_int_t)presence->issued, "expires",
                     (json_int_t)presence->expires, "serial", (json_int_t)presence->serial,
                     "accels", "qemu");
}

static struct pool_members members;
static struct seen seen;

static void choose_at(int64_t now)
{
    const struct members_setup setup = {
        .folder = FOLDER, .host_name = "us", .pin = us->pin, .trust = &trust, .now = now};
    pool_members_free(&members);
    MUST(members_choose(&range, &setup, &seen, &members, &err));
}

static void clear(void)
{
    etcd_range_free(&range);
    seen_free(&seen);
    pool_members_free(&members);
}

static bool noted(const char *words)
{
    for (size_t i = 0; i < members.notes.count; i++)
        if (strstr(members.notes.items[i], words))
            return true;
    return false;
}

/* Nothing counts, one is ignored, and a note has these words. */
static void ignored(const char *words)
{
    choose_at(NOW);
    autofree char *notes = strlist_join(&members.notes, " | ");
    ck_assert_msg(members.count == 0, "taken, instead of: %s", words);
    ck_assert_msg(members.ignored == 1, "%zu are ignored: %s", members.ignored, notes);
    ck_assert_msg(noted(words), "'%s' is not in: %s", words, notes);
    ck_assert_uint_eq(seen.count, 0);
    clear();
}

START_TEST(honest)
{
    struct presence presence = plain;
    put_signed("b", &presence, b);
    presence = (struct presence){.host = (char *)"c-host",
                                 .address = (char *)"",
                                 .port = 9,
                                 .issued = NOW + PRESENCE_TOLERANCE_S,
                                 .expires = NOW + PRESENCE_TOLERANCE_S + PRESENCE_LIFETIME_S,
                                 .serial = 1};
    ck_assert(strlist_push(&presence.accels, "kvm"));
    ck_assert(strlist_push(&presence.qemu, "10.0.2"));
    put_signed("c-host", &presence, c);
    strlist_free(&presence.accels);
    strlist_free(&presence.qemu);
    presence = plain;
    presence.host = (char *)"us";
    put_signed("us", &presence, us);
    choose_at(NOW);
    ck_assert_uint_eq(members.count, 2);
    ck_assert_uint_eq(members.ignored, 0);
    ck_assert_uint_eq(members.notes.count, 0);
    ck_assert_ptr_eq(members.items[0].entry, &entries[0]);
    ck_assert_str_eq(members.items[0].address, "b.lan"); /* its own word before the entry's */
    ck_assert_uint_eq(members.items[0].port, 7);
    ck_assert_str_eq(members.items[1].entry->name, "C");
    ck_assert_str_eq(members.items[1].address, "c-host"); /* nothing else is known */
    ck_assert_str_eq(members.items[1].presence.accels.items[0], "kvm");
    ck_assert_str_eq(members.items[1].presence.qemu.items[0], "10.0.2");
    clear();
    presence.host = (char *)"b";
    presence.address = (char *)"";
    put_signed("b", &presence, b);
    choose_at(NOW);
    ck_assert_str_eq(members.items[0].address, "10.0.0.2");
    clear();
}
END_TEST

START_TEST(strangers)
{
    struct presence presence = plain;
    for (int i = 0; i < 20; i++) {
        autofree char *name = string_format("m%02d", i);
        presence.host = name;
        put_signed(name, &presence, mallory);
    }
    presence.host = (char *)"b";
    put_signed("b", &presence, b);
    choose_at(NOW);
    ck_assert_uint_eq(members.count, 1);
    ck_assert_uint_eq(members.ignored, 20);
    ck_assert_uint_eq(members.notes.count, 1);
    ck_assert(noted("20 hosts are not trusted here"));
    ck_assert(noted("m00, m01, m02, m03, m04, m05, m06, m07, ..."));
    ck_assert_uint_eq(seen.count, 1);
    clear();
    /* wrong pin: b's name by another key */
    put_signed("b", &plain, mallory);
    ignored("1 host is not trusted here and ignored: b ");
}
END_TEST

START_TEST(lies)
{
    struct presence presence = plain;
    autofree char *good = presence_sign(&plain, b, NULL);
    /* signatures, and what is none */
    autofree char *forged = strdup(good);
    char *last = strrchr(forged, '"') - 10;
    *last = *last == 'A' ? 'B' : 'A';
    put("b", forged);
    ignored("its signature is wrong");
    for (size_t length = 0; length < strlen(good); length += 7) {
        autofree char *cut = strndup(good, length);
        put("b", cut);
        ignored("b is ignored");
    }
    put("b", "hello");
    ignored("not valid JSON");
    put("b", "\xff\xfe");
    ignored("ASCII");
    put("b", "{\"payload\":\"*\",\"protected\":\"*\",\"signature\":\"*\"}");
    ignored("base64");
    put("b", NULL); /* as etcd_range_parse leaves what is too large */
    ignored("larger than 4096");
    autofree char *large = string_format("%*s", 5000, good);
    put("b", large);
    ignored("limit of 4096");
    autofree char *profile = NULL;
    autojson json_t *payload = payload_of(&plain);
    ck_assert(envelope_sign(b, "qemu-migrate-launch-profile+json", payload, &profile, NULL));
    put("b", profile);
    ignored("not the 'qemu-migrate-launch-presence+json' expected");
    /* names */
    put_signed("c", &plain, b);
    ignored("signed by B for the name b");
    put("B", good);
    ignored("it names no host");
    put("b/x", good);
    ignored("it names no host");
    put("", good);
    ignored("it names no host");
    put("b", good);
    range.kvs[0].key = realloc(range.kvs[0].key, 64);
    memcpy(range.kvs[0].key + range.kvs[0].key_length, "\0x", 3);
    range.kvs[0].key_length += 2;
    ignored("it names no host");
    presence.host = (char *)"us";
    put_signed("us", &presence, b);
    ignored("this host's own name");
    /* times */
    presence = plain;
    presence.expires = NOW;
    put_signed("b", &presence, b);
    ignored("expired at 1700000000, it is 1700000000 here");
    presence.issued = NOW + PRESENCE_TOLERANCE_S + 1;
    presence.expires = presence.issued + 1;
    put_signed("b", &presence, b);
    ignored("set the clocks right");
    entries[0].expires = NOW;
    put("b", good);
    ignored("its trust entry 'B' has expired");
    entries[0].expires = TRUST_NEVER;
    put("b", good);
    choose_at(NOW);
    ck_assert_uint_eq(members.count, 1);
    clear();
}
END_TEST

START_TEST(bad_payloads)
{
    static const struct {
        const char *member, *value; /* "": taken away */
    } rows[] = {
        {"version", "2"},
        {"version", "\"1\""},
        {"version", ""},
        {"host", "\"B\""},
        {"host", "\"\""},
        {"host", ""},
        {"address", "\"a b\""},
        {"address", "\"[::1]\""},
        {"address", "\"::g\""},
        {"address", "\"a/b\""},
        {"address", "5"},
        {"port", "0"},
        {"port", "65536"},
        {"port", "-1"},
        {"issued", "-1"},
        {"expires", "1699999995"}, /* when it was issued */
        {"expires", "1700000596"}, /* 601 s later */
        {"serial", "0"},
        {"serial", "9223372036854775808"},
        {"accels", "[\"KVM\"]"},
        {"accels", "[5]"},
        {"accels", "{}"},
        {"accels", "[\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\","
                   "\"a\",\"a\",\"a\",\"a\",\"a\"]"},
        {"qemu", "[\"7.2 \"]"},
        {"qemu", ""},
        {"extra", "1"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        json_t *payload = payload_of(&plain);
        json_t *value = json_loads(rows[i].value, JSON_DECODE_ANY, NULL);
        if (value)
            json_object_set_new(payload, rows[i].member, value);
        else if (!*rows[i].value)
            json_object_del(payload, rows[i].member);
        else /* an integer that jansson does not take */
            json_object_set_new(payload, rows[i].member, json_real(1e19));
        autofree char *text = sign_payload(b, payload);
        put("b", text);
        choose_at(NOW);
        ck_assert_msg(members.count == 0 && members.ignored == 1, "taken: %s = %s", rows[i].member,
                      rows[i].value);
        clear();
    }
    autofree char *text = sign_payload(b, payload_of(&plain));
    put("b", text);
    choose_at(NOW);
    ck_assert_uint_eq(members.count, 1);
    clear();
    struct presence odd = plain;
    odd.port = 0;
    MUST_FAIL(STATUS_INTERNAL, "own presence", presence_sign(&odd, b, &err));
}
END_TEST

START_TEST(replay)
{
    struct presence presence = plain;
    put_signed("b", &presence, b);
    choose_at(NOW);
    choose_at(NOW + 1); /* the same again is no replay */
    ck_assert_uint_eq(members.count, 1);
    etcd_range_free(&range);
    presence.serial = 49;
    presence.address = (char *)"old.lan";
    put_signed("b", &presence, b);
    choose_at(NOW + 2);
    ck_assert_uint_eq(members.count, 0);
    ck_assert(noted("b is ignored: its presence is older than one read before"));
    ck_assert(noted("B is not in the pool now"));
    ck_assert_int_eq(seen.hosts[0].serial, 50);
    ck_assert_int_eq(seen.hosts[0].when, NOW + 1);
    /* one that does not count says nothing about serials */
    etcd_range_free(&range);
    presence.serial = INT64_MAX;
    presence.issued = NOW + 10000;
    presence.expires = NOW + 10001;
    put_signed("b", &presence, b);
    choose_at(NOW + 3);
    ck_assert_int_eq(seen.hosts[0].serial, 50);
    clear();
}
END_TEST

START_TEST(two_names)
{
    struct presence old = plain, new = plain;
    old.host = (char *)"a";
    new.serial = 51;
    for (int order = 0; order < 2; order++) {
        put_signed(order ? "b" : "a", order ? &new : &old, b);
        put_signed(order ? "a" : "b", order ? &old : &new, b);
        choose_at(NOW);
        ck_assert_uint_eq(members.count, 1);
        ck_assert_str_eq(members.items[0].presence.host, "b");
        ck_assert_uint_eq(members.ignored, 1);
        ck_assert(noted("a is ignored: an older presence of a host"));
        clear();
    }
}
END_TEST

START_TEST(missing)
{
    struct presence presence = plain;
    put_signed("b", &presence, b);
    presence.host = (char *)"c";
    put_signed("c", &presence, c);
    choose_at(NOW);
    ck_assert_uint_eq(members.notes.count, 0);
    etcd_kv_free(&range.kvs[1]);
    range.count = 1;
    presence.host = (char *)"b";
    choose_at(NOW + 50);
    ck_assert_uint_eq(members.count, 1);
    ck_assert_uint_eq(members.notes.count, 1);
    ck_assert(noted("C is not in the pool now (it was 0 minutes ago)"));
    clear();
    ck_assert(seen_note(&seen, c->pin, "c", 1, NOW - 3 * 3600));
    choose_at(NOW);
    ck_assert(noted("C is not in the pool now (it was 3 hours ago)"));
    entries[1].expires = NOW; /* no longer trusted: no longer missed */
    choose_at(NOW);
    ck_assert_uint_eq(members.notes.count, 0);
    entries[1].expires = TRUST_NEVER;
    clear();
}
END_TEST

START_TEST(many)
{
    autofree char *good = presence_sign(&plain, b, NULL);
    for (int i = 0; i < 1000; i++) {
        autofree char *name = string_format("x%d", i);
        put(name, i == 500 ? "junk" : good);
    }
    range.kvs[7].key[8] = 'b';
    range.kvs[7].key[9] = '\0';
    range.kvs[7].key_length = 9;
    choose_at(NOW);
    ck_assert_uint_eq(members.count, 1);
    ck_assert_uint_eq(members.ignored, 999);
    ck_assert_uint_le(members.notes.count, 34);
    ck_assert(noted("967 more are ignored"));
    clear();
}
END_TEST

START_TEST(seen_file)
{
    autofree char *path = string_format("%s/pool/seen.json", unit_folder);
    MUST(seen_load(unit_folder, &seen, &err));
    ck_assert_uint_eq(seen.count, 0);
    autoclose int lock = seen_lock(unit_folder, NULL);
    ck_assert_int_ge(lock, 0);
    ck_assert(seen_note(&seen, b->pin, "b", 5, NOW));
    ck_assert(seen_note(&seen, b->pin, "b2", 6, NOW + 1));
    ck_assert(seen_note(&seen, c->pin, "c", 7, NOW - SEEN_LIFETIME_S));
    ck_assert_uint_eq(seen.count, 2);
    MUST(seen_store(unit_folder, &seen, NOW, &err));
    seen_free(&seen);
    MUST(seen_load(unit_folder, &seen, &err));
    ck_assert_uint_eq(seen.count, 1);
    ck_assert_ptr_null(seen_find(&seen, c->pin));
    ck_assert_str_eq(seen_find(&seen, b->pin)->host, "b2");
    ck_assert_int_eq(seen_find(&seen, b->pin)->serial, 6);
    ck_assert_int_eq(seen_find(&seen, b->pin)->when, NOW + 1);
    /* A time that is as late as can be. */
    seen_find(&seen, b->pin)->when = INT64_MAX;
    MUST(seen_store(unit_folder, &seen, NOW, &err));
    seen_free(&seen);
    MUST(seen_load(unit_folder, &seen, &err));
    ck_assert_int_eq(seen_find(&seen, b->pin)->when, INT64_MAX);
    seen_free(&seen);
    static const char *const bad[] = {
        "", "{}", "{\"version\":2,\"hosts\":[]}", "{\"version\":1,\"hosts\":{}}",
        "{\"version\":1,\"hosts\":[{\"pin\":\"x\",\"host\":\"b\",\"serial\":1,\"when\":1}]}"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        ck_assert(file_write_atomic(path, bad[i], strlen(bad[i]), 0600, NULL));
        MUST_FAIL(STATUS_DATA, "seen.json", seen_load(unit_folder, &seen, &err));
    }
    ck_assert(file_write_atomic(path, "{}", 2, 0666, NULL));
    ck_assert_int_eq(chmod(path, 0666), 0);
    MUST_FAIL(STATUS_NOT_TRUSTED, "seen.json", seen_load(unit_folder, &seen, &err));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {honest,    strangers, lies, bad_payloads, replay,
                                  two_names, missing,   many, seen_file};
    make_identities();
    int result = unit_run("pool", tests, COUNT(tests));
    forget_identities();
    return result;
}
