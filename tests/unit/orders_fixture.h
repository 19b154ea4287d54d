/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the tests of migration/orders.h share: what is put into requests and answers.
 */
#ifndef QML_TESTS_ORDERS_FIXTURE_H
#define QML_TESTS_ORDERS_FIXTURE_H

#include "unit.h"

#include "base/file.h"
#include "base/json.h"
#include "migration/inventory.h"
#include "migration/orders.h"

#define HEX32 "0123456789abcdef0123456789abcdef"
#define HEX64 HEX32 HEX32

/* Each file adds its tests. */
void add_damage_tests(const TTest **tests, size_t *count);

static const struct order_key key = {"web1", HEX64, HEX32};

static inline json_t *recorded(const char *name)
{
    autofree char *path = string_format(TEST_DATA "/migration/%s.json", name);
    autofree char *data = NULL;
    size_t length;
    json_t *json = NULL;
    MUST(file_read(path, 1 << 20, false, &data, &length, &err));
    MUST(json = json_parse_qmp(data, length, 1 << 20, &err));
    return json;
}

static inline struct migration_offer offer_of(const char *version, enum migration_end end)
{
    autojson json_t *json = recorded(version);
    struct migration_offer offer = {0};
    MUST(migration_offer_from_replies(json_object_get(json, "query-migrate-capabilities"),
                                      json_object_get(json, "query-migrate-parameters"),
                                      json_object_get(json, "query-qmp-schema"), end, &offer,
                                      &err));
    return offer;
}

/* As the other host has it: from its text, read strictly. */
static inline json_t *sent(json_t *made)
{
    autojson UNREAD json_t *owned = made;
    ck_assert_ptr_nonnull(made);
    autofree char *text = json_to_text(made);
    json_t *json = NULL;
    MUST(json = json_parse_strict(text, strlen(text), 1 << 20, &err));
    return json;
}

static const struct guardian_status status_of_all = {.stamp = 77,
                                                     .lease = LEASE_TOLD,
                                                     .run_state = "inmigrate",
                                                     .migration = "active",
                                                     .reason = "no room: it is said why",
                                                     .pid = 4711};

/* What was read has been let go of: nobody has a reference but the document. */
static inline void check_references(const json_t *json)
{
    const char *name;
    json_t *member;
    size_t i;
    if (json_is_null(json) || json_is_boolean(json))
        return;
    ck_assert_uint_eq(json->refcount, 1);
    json_object_foreach((json_t *)json, name, member)
    {
        check_references(member);
    }
    json_array_foreach(json, i, member)
    {
        check_references(member);
    }
}

#endif
