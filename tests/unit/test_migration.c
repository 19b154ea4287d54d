/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What two QEMUs get for a migration, from what QEMU 7.2 and 10.0 answered
 * (tests/record-migration).
 */
#include "unit.h"

#include "base/file.h"
#include "base/json.h"
#include "migration/settings.h"

static const char *const names[] = {"src", "dst"};

static json_t *recorded(const char *version)
{
    autofree char *path = string_format(TEST_DATA "/migration/%s.json", version);
    autofree char *data = NULL;
    size_t length;
    json_t *json = NULL;
    MUST(file_read(path, 1 << 20, false, &data, &length, &err));
    MUST(json = json_parse_qmp(data, length, 1 << 20, &err));
    return json;
}

static struct migration_offer offer_of(const char *version, enum migration_end end)
{
    autojson json_t *json = recorded(version);
    struct migration_offer offer = {0};
    MUST(migration_offer_from_replies(json_object_get(json, "query-migrate-capabilities"),
                                      json_object_get(json, "query-migrate-parameters"),
                                      json_object_get(json, "query-qmp-schema"), end, &offer,
                                      &err));
    return offer;
}

/* Two QEMUs, how the user set them ("NAME", "-NAME": not there, "NAME=TEXT": a parameter), and what
 * comes out. */
struct pair {
    struct migration_offer offers[2];
    struct migration_settings settings;
};

static void pair_open(struct pair *pair, const char *source, const char *destination)
{
    *pair = (struct pair){.offers = {offer_of(source, MIGRATION_SOURCE),
                                     offer_of(destination, MIGRATION_DESTINATION)}};
}

static void pair_close(struct pair *pair)
{
    migration_offer_free(&pair->offers[0]);
    migration_offer_free(&pair->offers[1]);
    migration_settings_free(&pair->settings);
}
#define autopair __attribute__((cleanup(pair_close)))

static void pair_set(struct pair *pair, int end, const char *what)
{
    autofree char *name = strdup(what + (*what == '-'));
    char *value = strchr(name, '=');
    struct migration_offer *offer = &pair->offers[end];
    if (value) {
        *value++ = '\0';
        json_object_set_new(offer->parameters, name, json_string(value));
    } else if (*what == '-') {
        json_object_del(offer->capabilities, name);
        json_object_del(offer->parameters, name);
    } else {
        json_object_set_new(offer->capabilities, name, json_true());
    }
}

static bool pair_decide(struct pair *pair, struct migration_wishes wishes, struct error *err)
{
    return migration_settings_decide(pair->offers, names, &wishes, &pair->settings, err);
}

/* 1, 0, or -1: not set at all. */
static int state(const struct pair *pair, int end, const char *name)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(pair->settings.ends[end].capabilities, "capabilities"), i,
                       entry)
    {
        if (strcmp(json_string_value(json_object_get(entry, "capability")), name) == 0)
            return json_is_true(json_object_get(entry, "state"));
    }
    return -1;
}

static void check_state(const struct pair *pair, const char *name, int source, int destination)
{
    ck_assert_msg(state(pair, 0, name) == source && state(pair, 1, name) == destination,
                  "%s: %d, %d", name, state(pair, 0, name), state(pair, 1, name));
}

static void check_parameters(const struct pair *pair, int end, const char *wanted)
{
    autofree char *text = json_to_text(pair->settings.ends[end].parameters);
    ck_assert_str_eq(text, wanted);
}

static void check_notes(const struct pair *pair, const char *wanted)
{
    autofree char *text = strlist_join(&pair->settings.notes, "; ");
    ck_assert_str_eq(text, wanted);
}

static const char *const versions[][2] = {
    {"7.2", "7.2"}, {"7.2", "10.0"}, {"10.0", "7.2"}, {"10.0", "10.0"}};

START_TEST(every_pairing_by_default)
{
    for (size_t i = 0; i < COUNT(versions); i++) {
        autopair struct pair pair;
        pair_open(&pair, versions[i][0], versions[i][1]);
        MUST(pair_decide(&pair, (struct migration_wishes){0}, &err));
        check_state(&pair, "return-path", 1, 1);
        check_state(&pair, "events", 1, 1);
        check_state(&pair, "pause-before-switchover", 1, 0);
        check_state(&pair, "multifd", 0, 0);
        check_state(&pair, "postcopy-ram", 0, 0);
        check_state(&pair, "auto-converge", 0, 0);
        check_state(&pair, "switchover-ack", i < 2 ? -1 : 0, i % 2 ? 0 : -1);
        check_parameters(&pair, 0, "{}");
        check_parameters(&pair, 1, "{}");
        check_notes(&pair, "");
        /* Every capability that a side has is said, and none that it has not. */
        for (int end = 0; end < 2; end++)
            ck_assert_uint_eq(json_array_size(json_object_get(pair.settings.ends[end].capabilities,
                                                              "capabilities")),
                              json_object_size(pair.offers[end].capabilities));
        bool old = strcmp(versions[i][1], "7.2") == 0;
        ck_assert(pair.settings.ends[1].channels == !old);
        ck_assert(pair.settings.ends[1].exit_on_error == !old);
        ck_assert(pair.settings.ends[0].channels == (strcmp(versions[i][0], "7.2") != 0));
        ck_assert(!pair.settings.ends[0].exit_on_error && pair.settings.ends[1].uri);
    }
}
END_TEST

START_TEST(wishes_are_heeded)
{
    for (size_t i = 0; i < COUNT(versions); i++) {
        autopair struct pair pair;
        pair_open(&pair, versions[i][0], versions[i][1]);
        MUST(pair_decide(
            &pair,
            (struct migration_wishes){
                .bandwidth = 1000, .downtime_ms = 50, .multifd = 4, .auto_converge = true},
            &err));
        check_state(&pair, "multifd", 1, 1);
        check_state(&pair, "auto-converge", 1, 0);
        check_parameters(&pair, 0,
                         "{\"downtime-limit\":50,\"max-bandwidth\":1000,\"multifd-channels\":4}");
        check_parameters(&pair, 1, "{\"multifd-channels\":4}");
        check_notes(&pair, "");
        MUST(pair_decide(&pair, (struct migration_wishes){.postcopy = true, .bandwidth = 7}, &err));
        check_state(&pair, "postcopy-ram", 1, 1);
        check_state(&pair, "multifd", 0, 0);
        check_parameters(&pair, 0, "{\"max-bandwidth\":7,\"max-postcopy-bandwidth\":7}");
        check_parameters(&pair, 1, "{}");
    }
}
END_TEST

START_TEST(one_sided_is_reset)
{
    static const char *const resettable[] = {
        "multifd",        "postcopy-ram",  "switchover-ack", "dirty-bitmaps",
        "xbzrle",         "validate-uuid", "release-ram",    "background-snapshot",
        "auto-converge",  "mapped-ram",    "zero-copy-send", "late-block-activate",
        "x-colo",         "dirty-limit",   "rdma-pin-all",   "postcopy-preempt",
        "not-yet-thought"};
    for (size_t i = 0; i < COUNT(resettable); i++)
        for (int end = 0; end < 2; end++) {
            autopair struct pair pair;
            autofree char *note = string_format("%s: %s was on, and is off for this migration",
                                                names[end], resettable[i]);
            pair_open(&pair, "10.0", "10.0");
            pair_set(&pair, end, resettable[i]);
            MUST(pair_decide(&pair, (struct migration_wishes){0}, &err));
            ck_assert_msg(state(&pair, end, resettable[i]) == 0, "%s", resettable[i]);
            ck_assert_msg(state(&pair, !end, resettable[i]) <= 0, "%s", resettable[i]);
            check_notes(&pair, note);
            /* and can be put back */
            autofree char *undo = json_to_text(pair.settings.ends[end].undo_capabilities);
            autofree char *was =
                string_format("{\"capability\":\"%s\",\"state\":true}", resettable[i]);
            ck_assert_msg(strstr(undo, was) != NULL, "%s", undo);
        }
}
END_TEST

START_TEST(alike_is_kept)
{
    static const char *const kept[] = {"switchover-ack", "dirty-bitmaps", "validate-uuid",
                                       "x-ignore-shared"};
    for (size_t i = 0; i < COUNT(kept); i++) {
        autopair struct pair pair;
        pair_open(&pair, "10.0", "10.0");
        pair_set(&pair, 0, kept[i]);
        pair_set(&pair, 1, kept[i]);
        MUST(pair_decide(&pair, (struct migration_wishes){0}, &err));
        check_state(&pair, kept[i], 1, 1);
        check_notes(&pair, "");
    }
    autopair struct pair pair;
    pair_open(&pair, "10.0", "7.2");
    pair_set(&pair, 0, "switchover-ack"); /* which 7.2 has not */
    pair_set(&pair, 0, "quite-new");
    pair_set(&pair, 1, "quite-new");
    MUST(pair_decide(&pair, (struct migration_wishes){0}, &err));
    check_state(&pair, "switchover-ack", 0, -1);
    check_state(&pair, "quite-new", -1, -1);
    check_notes(&pair, "src: switchover-ack was on, and is off for this migration");
}
END_TEST

START_TEST(refused_by_name)
{
    static const struct {
        int end;
        const char *what;
        struct migration_wishes wishes;
        enum status status;
        const char *words;
    } cases[] = {
        {0, "-return-path", {0}, STATUS_INCOMPATIBLE, "the QEMU on src has no return-path"},
        {1, "-return-path", {0}, STATUS_INCOMPATIBLE, "the QEMU on dst has no return-path"},
        {0, "-pause-before-switchover", {0}, STATUS_INCOMPATIBLE, "on src has no pause-before"},
        {1, "-multifd", {.multifd = 2}, STATUS_INCOMPATIBLE, "--multifd: the QEMU on dst has no"},
        {0, "-multifd", {.multifd = 2}, STATUS_INCOMPATIBLE, "--multifd: the QEMU on src has no"},
        {1,
         "-postcopy-ram",
         {.postcopy = true},
         STATUS_INCOMPATIBLE,
         "--postcopy: the QEMU on dst"},
        {0, "x-ignore-shared", {0}, STATUS_INCOMPATIBLE, "is on at src and off at dst"},
        {1, "x-ignore-shared", {0}, STATUS_INCOMPATIBLE, "is on at dst and off at src"},
        {0, "tls-creds=t", {.direct = true}, STATUS_INCOMPATIBLE, "is set on src and not on dst"},
        {1, "tls-creds=t", {.direct = true}, STATUS_INCOMPATIBLE, "is set on dst and not on src"},
        {0, "events", {.multifd = 64}, STATUS_USAGE, "--multifd: 1 to 63"},
        {0, "events", {.multifd = -1}, STATUS_USAGE, "--multifd"},
        {0, "events", {.downtime_ms = 2000001}, STATUS_USAGE, "--downtime: 1 to 2000000"},
        {0, "events", {.multifd = 1, .postcopy = true}, STATUS_USAGE, "do not go together"},
        {0, "events", {.bandwidth = -1}, STATUS_USAGE, "--bandwidth"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        autopair struct pair pair;
        pair_open(&pair, "10.0", "7.2");
        pair_set(&pair, cases[i].end, cases[i].what);
        MUST_FAIL(cases[i].status, cases[i].words, pair_decide(&pair, cases[i].wishes, &err));
    }
}
END_TEST

START_TEST(goes_without)
{
    autopair struct pair pair;
    pair_open(&pair, "10.0", "7.2");
    pair_set(&pair, 0, "-auto-converge");
    pair_set(&pair, 0, "-events");
    pair_set(&pair, 1, "-pause-before-switchover");
    pair_set(&pair, 1, "-multifd");
    pair_set(&pair, 0, "-downtime-limit");
    MUST(pair_decide(&pair, (struct migration_wishes){.auto_converge = true, .downtime_ms = 1},
                     &err));
    check_parameters(&pair, 0, "{}");
    check_state(&pair, "auto-converge", -1, 0);
    check_state(&pair, "events", -1, 1);
    check_state(&pair, "pause-before-switchover", 1, -1);
    check_state(&pair, "multifd", 0, -1);
    check_notes(&pair, "src: its QEMU has no auto-converge: it goes without");
}
END_TEST

START_TEST(parameters_alike)
{
    autopair struct pair pair;
    pair_open(&pair, "10.0", "7.2");
    pair_set(&pair, 0, "zero-page-detection=multifd"); /* which 7.2 would take for pages */
    pair_set(&pair, 0, "multifd-compression=zstd");
    pair_set(&pair, 0, "mode=cpr-reboot");
    pair_set(&pair, 0, "tls-creds=t");
    pair_set(&pair, 0, "tls-hostname=h");
    pair_set(&pair, 1, "tls-authz=z");
    MUST(pair_decide(&pair, (struct migration_wishes){.multifd = 3}, &err));
    check_parameters(
        &pair, 0,
        "{\"mode\":\"normal\",\"multifd-channels\":3,\"multifd-compression\":\"none\","
        "\"tls-creds\":\"\",\"tls-hostname\":\"\",\"zero-page-detection\":\"legacy\"}");
    check_parameters(&pair, 1, "{\"multifd-channels\":3,\"tls-authz\":\"\"}");
    check_notes(&pair,
                "src: multifd-compression was zstd, and is none for this migration; "
                "src: zero-page-detection was multifd, and is legacy for this migration; "
                "src: QEMU's own TLS (tls-creds) is off for this migration: it goes through ours");
    autofree char *undo = json_to_text(pair.settings.ends[0].undo_parameters);
    ck_assert_str_eq(undo, "{\"mode\":\"cpr-reboot\",\"multifd-channels\":2,"
                           "\"multifd-compression\":\"zstd\",\"tls-creds\":\"t\","
                           "\"tls-hostname\":\"h\",\"zero-page-detection\":\"multifd\"}");
    /* Without multifd nobody sends pages that way. Alike is kept. */
    MUST(pair_decide(&pair, (struct migration_wishes){0}, &err));
    check_parameters(&pair, 0, "{\"mode\":\"normal\",\"tls-creds\":\"\",\"tls-hostname\":\"\"}");
    pair_set(&pair, 1, "multifd-compression=zstd");
    pair_set(&pair, 1, "zero-page-detection=multifd");
    pair_set(&pair, 1, "tls-creds=t");
    MUST(pair_decide(&pair, (struct migration_wishes){.multifd = 3, .direct = true}, &err));
    check_parameters(&pair, 0, "{\"mode\":\"normal\",\"multifd-channels\":3}");
    check_parameters(&pair, 1, "{\"multifd-channels\":3}");
}
END_TEST

/* The reader's order of members decides nothing, nor do their copies from the network. */
START_TEST(deterministic_over_the_network)
{
    autopair struct pair pair, other;
    struct migration_wishes wishes = {1, 2, 3, false, true, false}, again;
    pair_open(&pair, "10.0", "7.2");
    for (int i = 'z'; i >= 'a'; i--) {
        char name[] = {'n', 'e', 'w', (char)i, 0};
        pair_set(&pair, i % 2, name);
    }
    pair_open(&other, "7.2", "10.0");
    for (int end = 0; end < 2; end++) {
        autojson json_t *json = migration_offer_to_json(&pair.offers[end]);
        autofree char *text = json_to_text(json); /* sorted */
        autojson json_t *parsed = NULL;
        MUST(parsed = json_parse_strict(text, strlen(text), 1 << 16, &err));
        MUST(migration_offer_from_json(parsed, "offer", &other.offers[end], &err));
    }
    autojson json_t *json = migration_wishes_to_json(&wishes);
    MUST(migration_wishes_from_json(json, "wishes", &again, &err));
    MUST(pair_decide(&pair, wishes, &err));
    MUST(pair_decide(&other, again, &err));
    for (int end = 0; end < 2; end++) {
        ck_assert(json_equal(pair.settings.ends[end].capabilities,
                             other.settings.ends[end].capabilities));
        ck_assert(
            json_equal(pair.settings.ends[end].parameters, other.settings.ends[end].parameters));
        ck_assert(pair.settings.ends[end].exit_on_error == other.settings.ends[end].exit_on_error);
    }
    autofree char *one = strlist_join(&pair.settings.notes, ";");
    autofree char *two = strlist_join(&other.settings.notes, ";");
    ck_assert_str_eq(one, two);
}
END_TEST

START_TEST(strict_reader)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"{}", "capabilities"},
        {"{'capabilities':{},'parameters':{},'uri':true,'channels':false}", "exit_on_error"},
        {"{'capabilities':{},'parameters':{},'uri':true,'channels':false,'exit_on_error':false,"
         "'x':1}",
         "unknown member"},
        {"{'capabilities':[],'parameters':{},'uri':true,'channels':false,'exit_on_error':false}",
         "not valid"},
        {"{'capabilities':{'a':1},'parameters':{},'uri':true,'channels':false,"
         "'exit_on_error':false}",
         "a capability"},
        {"{'capabilities':{'a b':true},'parameters':{},'uri':true,'channels':false,"
         "'exit_on_error':false}",
         "a capability"},
        {"{'capabilities':{},'parameters':{'a':{}},'uri':true,'channels':false,"
         "'exit_on_error':false}",
         "a parameter"},
        {"{'capabilities':{},'parameters':{'':1},'uri':true,'channels':false,"
         "'exit_on_error':false}",
         "a parameter"},
        {"{'capabilities':{},'parameters':{},'uri':false,'channels':false,'exit_on_error':false}",
         "no way to give an address"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        autofree char *text = strdup(cases[i].text);
        struct migration_offer offer = {0};
        for (char *c = text; *c; c++)
            *c = *c == '\'' ? '"' : *c;
        autojson json_t *json = json_loads(text, 0, NULL);
        ck_assert_ptr_nonnull(json);
        MUST_FAIL(STATUS_DATA, cases[i].words,
                  migration_offer_from_json(json, "dst", &offer, &err));
    }
    autojson json_t *json =
        json_pack("{s:i, s:i, s:i, s:b, s:b, s:b}", "bandwidth", 1, "downtime_ms", -1, "multifd", 0,
                  "postcopy", 0, "auto_converge", 0, "direct", 0);
    struct migration_wishes wishes;
    MUST_FAIL(STATUS_DATA, "out of range",
              migration_wishes_from_json(json, "wishes", &wishes, &err));
}
END_TEST

START_TEST(bad_replies)
{
    struct migration_offer offer = {0};
    autojson json_t *good = recorded("10.0");
    json_t *capabilities = json_object_get(good, "query-migrate-capabilities");
    json_t *parameters = json_object_get(good, "query-migrate-parameters");
    autojson json_t *empty = json_array();
    autojson json_t *bad = json_pack("[{s:s, s:i}]", "capability", "events", "state", 1);
    MUST_FAIL(STATUS_PROTOCOL, "no migrate-incoming",
              migration_offer_from_replies(capabilities, parameters, empty, MIGRATION_DESTINATION,
                                           &offer, &err));
    MUST_FAIL(STATUS_PROTOCOL, "not valid",
              migration_offer_from_replies(bad, parameters, empty, MIGRATION_SOURCE, &offer, &err));
    MUST_FAIL(
        STATUS_PROTOCOL, "not valid",
        migration_offer_from_replies(capabilities, empty, empty, MIGRATION_SOURCE, &offer, &err));
}
END_TEST

START_TEST(addresses)
{
    static const struct {
        struct migration_side side;
        const char *where;
        uint16_t port;
        const char *wanted;
    } cases[] = {
        {{.uri = true}, "/run/s", 0, "{\"uri\":\"unix:/run/s\"}"},
        {{.uri = true}, "::1", 7, "{\"uri\":\"tcp:[::1]:7\"}"},
        {{.uri = true}, "h", 7, "{\"uri\":\"tcp:h:7\"}"},
        {{.uri = true, .channels = true, .exit_on_error = true},
         "/run/s",
         0,
         "{\"channels\":[{\"addr\":{\"path\":\"/run/s\",\"transport\":\"socket\","
         "\"type\":\"unix\"},\"channel-type\":\"main\"}],\"exit-on-error\":false}"},
        {{.channels = true},
         "::1",
         7,
         "{\"channels\":[{\"addr\":{\"host\":\"::1\",\"port\":\"7\",\"transport\":\"socket\","
         "\"type\":\"inet\"},\"channel-type\":\"main\"}]}"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        autojson json_t *json = migration_arguments(&cases[i].side, cases[i].where, cases[i].port);
        autofree char *text = json_to_text(json);
        ck_assert_str_eq(text, cases[i].wanted);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        every_pairing_by_default,
        wishes_are_heeded,
        one_sided_is_reset,
        alike_is_kept,
        refused_by_name,
        goes_without,
        parameters_alike,
        strict_reader,
        deterministic_over_the_network,
        bad_replies,
        addresses,
    };
    return unit_run("migration", tests, COUNT(tests));
}
