/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the source and the guardian say to each other: what is made is read again.
 */
#include "orders_fixture.h"

#define TESTS_MAX 32

static void check_key(const struct order_key *got)
{
    ck_assert_str_eq(got->vm, key.vm);
    ck_assert_str_eq(got->agreement, key.agreement);
    ck_assert_str_eq(got->migration, key.migration);
}

static void check_offer(const struct migration_offer *one, const struct migration_offer *other)
{
    ck_assert(json_equal(one->capabilities, other->capabilities));
    ck_assert(json_equal(one->parameters, other->parameters));
    ck_assert(one->uri == other->uri && one->channels == other->channels &&
              one->exit_on_error == other->exit_on_error);
}

static void check_status(const struct guardian_status *one, const struct guardian_status *other)
{
    ck_assert(one->stamp == other->stamp && one->lease == other->lease && one->pid == other->pid);
    ck_assert_str_eq(one->run_state, other->run_state);
    ck_assert_str_eq(one->migration, other->migration);
    ck_assert_str_eq(one->reason, other->reason);
}

START_TEST(small_requests)
{
    struct order_key got;
    autojson json_t *plain = sent(order_new(&key));
    MUST(order_take(plain, &got, &err));
    check_key(&got);
    ck_assert_ptr_eq(got.vm, json_string_value(json_object_get(plain, "vm")));
    for (int channel = 0; channel < ORDER_CHANNELS_MAX; channel++) {
        autojson json_t *json = sent(order_new_stream(&key, channel));
        int number = -1;
        MUST(order_take_stream(json, &got, &number, &err));
        check_key(&got);
        ck_assert_int_eq(number, channel);
    }
    for (int i = 0; i < 4; i++) {
        const struct order_renew renew = {i % 2 ? ORDER_NO_GRANT : INT64_C(1) << 40, i * 333,
                                          i < 2};
        struct order_renew back;
        autojson json_t *json = sent(order_new_renew(&key, &renew));
        MUST(order_take_renew(json, &got, &back, &err));
        check_key(&got);
        ck_assert(back.grant == renew.grant && back.wait_ms == renew.wait_ms &&
                  back.disarm == renew.disarm);
    }
    for (int i = 0; i < 4; i++) {
        const struct order_resume resume = {INT64_C(1) << (10 * i), i % 2, i < 2};
        struct order_resume back;
        autojson json_t *json = sent(order_new_resume(&key, &resume));
        MUST(order_take_resume(json, &got, &back, &err));
        check_key(&got);
        ck_assert(back.good_until == resume.good_until && back.run == resume.run &&
                  back.postcopy == resume.postcopy);
    }
}
END_TEST

START_TEST(prepared_with)
{
    static const struct migration_wishes wishes[] = {
        {0},
        {.bandwidth = INT64_MAX, .postcopy = true},
        {.downtime_ms = INT64_MAX, .auto_converge = true},
        {.multifd = INT16_MAX, .direct = true},
    };
    for (size_t i = 0; i < COUNT(wishes); i++) {
        autoprepare struct order_prepare prepare = {
            .grant = (int64_t)i << 40,
            .offer = offer_of(i % 2 ? "7.2" : "10.0", MIGRATION_SOURCE),
            .wishes = wishes[i]};
        autoprepare struct order_prepare back = {0};
        struct order_key got;
        json_t *json = sent(order_new_prepare(&key, &prepare));
        MUST(order_take_prepare(json, &got, &back, &err));
        check_key(&got);
        json_decref(json); /* what was read outlives it, but the key's texts */
        ck_assert_int_eq(back.grant, prepare.grant);
        check_offer(&back.offer, &prepare.offer);
        ck_assert(back.wishes.bandwidth == wishes[i].bandwidth &&
                  back.wishes.downtime_ms == wishes[i].downtime_ms &&
                  back.wishes.multifd == wishes[i].multifd);
        ck_assert(back.wishes.postcopy == wishes[i].postcopy &&
                  back.wishes.auto_converge == wishes[i].auto_converge &&
                  back.wishes.direct == wishes[i].direct);
    }
}
END_TEST

START_TEST(statuses)
{
    static const char *const names[] = {"none", "held", "told", "run", "ending", "ended"};
    for (size_t i = 0; i < COUNT(names); i++) {
        struct guardian_status status = {.stamp = (int64_t)i << 45,
                                         .lease = (enum lease_guardian_state)i,
                                         .pid = i ? INT64_MAX : 0};
        struct guardian_status back, also;
        uint16_t port = 1;
        if (i % 2) { /* as full as can be */
            memset(status.run_state, '~', sizeof(status.run_state) - 1);
            memset(status.migration, ' ', sizeof(status.migration) - 1);
            memset(status.reason, '"', sizeof(status.reason) - 1);
        }
        ck_assert_str_eq(lease_state_name(status.lease), names[i]);
        autojson json_t *answer = sent(order_answer(&status));
        ck_assert_str_eq(
            json_string_value(json_object_get(json_object_get(answer, "status"), "lease")),
            names[i]);
        MUST(order_take_status(answer, &back, &err));
        check_status(&back, &status);
        autojson json_t *prepared = sent(order_answer_prepare(&status, i % 2 ? 65535 : 0));
        MUST(order_take_prepared(prepared, &also, &port, &err));
        check_status(&also, &status);
        ck_assert_uint_eq(port, i % 2 ? 65535 : 0);
    }
}
END_TEST

START_TEST(sights)
{
    static const char *const versions[] = {"7.2", "10.0"};
    for (size_t i = 0; i < COUNT(versions); i++) {
        autofree char *name = string_format("inventory-%s", versions[i]);
        autosight struct order_sight sight = {.status = status_of_all,
                                              .offer = offer_of(versions[i], MIGRATION_DESTINATION),
                                              .inventory = recorded(name)};
        autosight struct order_sight back = {0};
        for (int k = 0; i == 1 && k < 300; k++)
            ck_assert(strlist_pushf(&sight.differences, "line %d", k));
        json_t *json = sent(order_answer_look(&sight));
        MUST(order_take_sight(json, &back, &err));
        json_decref(json);
        check_status(&back.status, &sight.status);
        check_offer(&back.offer, &sight.offer);
        ck_assert(json_equal(back.inventory, sight.inventory));
        ck_assert_uint_eq(back.differences.count, i == 1 ? 256 : 0); /* that is enough */
        for (size_t k = 0; k < back.differences.count; k++)
            ck_assert_str_eq(back.differences.items[k], sight.differences.items[k]);
        check_references(sight.inventory); /* still ours, and only ours */
    }
}
END_TEST

/* A difference is told whatever a QEMU calls it. */
START_TEST(no_difference_is_lost)
{
    autosight struct order_sight sight = {.offer = offer_of("7.2", MIGRATION_DESTINATION),
                                          .inventory = recorded("inventory-7.2")};
    autosight struct order_sight back = {0};
    autofree char *line = malloc(1001);
    memset(line, 'x', 1000);
    line[1000] = '\0';
    ck_assert(strlist_push(&sight.differences, "model-id is \xff\xc3(\n, agreed \xc3\xa9"));
    ck_assert(strlist_push(&sight.differences, line));
    ck_assert(strlist_push(&sight.differences, "smap is off"));
    autojson json_t *json = sent(order_answer_look(&sight));
    MUST(order_take_sight(json, &back, &err));
    ck_assert_uint_eq(back.differences.count, 3);
    ck_assert_str_eq(back.differences.items[0], "model-id is (, agreed");
    line[511] = '\0';
    ck_assert_str_eq(back.differences.items[1], line);
    ck_assert_str_eq(back.differences.items[2], "smap is off");
}
END_TEST

int main(void)
{
    const TTest *tests[TESTS_MAX] = {small_requests, prepared_with, statuses, sights,
                                     no_difference_is_lost};
    size_t count = 5;
    add_damage_tests(tests, &count);
    return unit_run("orders", tests, count);
}
