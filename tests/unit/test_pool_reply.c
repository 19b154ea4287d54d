/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What etcd 3.4.23 answered, and what a store could answer that lies.
 */
#include "unit.h"

#include "base/digest.h"
#include "pool/etcd_reply.h"

#define HEADER                                                                                     \
    "\"header\":{\"cluster_id\":\"14841639068965178418\",\"member_id\":\"10276657743932975437\","  \
    "\"revision\":\"3\",\"raft_term\":\"2\"}"

static const struct etcd_asked all = {
    .key = "p/hosts/", .prefix = true, .kvs_max = 3, .value_max = 8};
static const struct etcd_asked one = {.key = "p/hosts/a", .kvs_max = 1, .value_max = 8};

static char *kv(const char *key, const char *value)
{
    autofree char *key64 = base64_encode(key, strlen(key));
    autofree char *value64 = base64_encode(value, strlen(value));
    return string_format("{\"key\":\"%s\",\"create_revision\":\"2\",\"mod_revision\":\"3\","
                         "\"version\":\"2\",\"value\":\"%s\",\"lease\":\"7587\"}",
                         key64, value64);
}

START_TEST(range_honest)
{
    autorange struct etcd_range range = {0};
    autofree char *a = kv("p/hosts/a", "x"), *b = kv("p/hosts/b", "12345678"),
                  *c = kv("p/hosts/c", "123456789");
    autofree char *text = string_format("{" HEADER ",\"kvs\":[%s,%s,%s],\"count\":\"3\"}", a, b, c);
    MUST(etcd_range_parse(text, strlen(text), &all, &range, &err));
    ck_assert_uint_eq(range.count, 3);
    ck_assert(!range.more);
    ck_assert_str_eq(range.kvs[0].key, "p/hosts/a");
    ck_assert_str_eq(range.kvs[0].value, "x");
    ck_assert_int_eq(range.kvs[0].mod_revision, 3);
    ck_assert_uint_eq(range.kvs[1].value_length, 8);
    ck_assert_ptr_null(range.kvs[2].value); /* too large: that one does not count */
    for (size_t i = 0; i < strlen(text); i++) {
        struct etcd_range cut = {0};
        ck_assert_msg(!etcd_range_parse(text, i, &all, &cut, NULL), "cut at %zu", i);
    }
}
END_TEST

START_TEST(range_more)
{
    static const struct {
        const char *rest;
        bool more;
    } rows[] = {
        {"\"more\":true,\"count\":\"2\"", true},
        {"\"count\":\"2\"", true},
        {"\"count\":2", true},
        {"\"count\":\"1\"", false},
        {"\"more\":false,\"count\":\"1\"", false},
        {"\"more\":true,\"count\":\"1\"", true},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autorange struct etcd_range range = {0};
        autofree char *a = kv("p/hosts/a", "x");
        autofree char *text = string_format("{" HEADER ",\"kvs\":[%s],%s}", a, rows[i].rest);
        MUST(etcd_range_parse(text, strlen(text), &all, &range, &err));
        ck_assert_msg(range.more == rows[i].more, "%s", rows[i].rest);
    }
    autorange struct etcd_range none = {0};
    MUST(etcd_range_parse("{" HEADER "}", strlen("{" HEADER "}"), &all, &none, &err));
    ck_assert_uint_eq(none.count, 0);
}
END_TEST

START_TEST(range_lies)
{
    autofree char *a = kv("p/hosts/a", "x"), *b = kv("p/hosts/b", "x"), *other = kv("p/other", "x"),
                  *longer = kv("p/hosts/aa", "x");
    const struct {
        const struct etcd_asked *asked;
        const char *kvs, *words;
    } rows[] = {
        {&all, "[]x", "not valid JSON"},
        {&all, "{}", "'kvs' is not a list"},
        {&all, "[1]", "not an object"},
        {&all, "[{}]", "not asked for"},
        {&all, other, "not asked for"},
        {&one, b, "not asked for"},
        {&one, longer, "not asked for"},
        {&all, "[{\"key\":\"!\"}]", "'key'"},
        {&all, "[{\"key\":\"cC9ob3N0cy9h\",\"value\":\"e\"}]", "'value'"},
        {&all, "[{\"key\":\"cC9ob3N0cy9h\",\"value\":5}]", "'value' is not a string"},
        {&all, "[{\"key\":\"cC9ob3N0cy9h\",\"mod_revision\":\"-1\"}]", "'mod_revision'"},
        {&all, "[{\"key\":\"cC9ob3N0cy9h\",\"mod_revision\":\"9223372036854775808\"}]",
         "'mod_revision'"},
        {&all, "[{\"key\":\"cC9ob3N0cy9h\",\"mod_revision\":1.5}]", "not an integer"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct etcd_range range = {0};
        autofree char *text = string_format(*rows[i].kvs == '{' && rows[i].kvs[1] != '}'
                                                ? "{" HEADER ",\"kvs\":[%s],\"count\":\"1\"}"
                                                : "{" HEADER ",\"kvs\":%s,\"count\":\"1\"}",
                                            rows[i].kvs);
        MUST_FAIL(STATUS_DATA, rows[i].words,
                  etcd_range_parse(text, strlen(text), rows[i].asked, &range, &err));
        ck_assert_ptr_null(range.kvs);
    }
    struct etcd_range range = {0};
    autofree char *twice = string_format("{\"kvs\":[%s,%s],\"count\":\"2\"}", a, a);
    autofree char *disorder = string_format("{\"kvs\":[%s,%s],\"count\":\"2\"}", b, a);
    autofree char *many = string_format("{\"kvs\":[%s,%s,%s,%s],\"count\":\"4\"}", a, longer, b, b);
    autofree char *miscounted = string_format("{\"kvs\":[%s,%s],\"count\":\"1\"}", a, b);
    MUST_FAIL(STATUS_DATA, "order", etcd_range_parse(twice, strlen(twice), &all, &range, &err));
    MUST_FAIL(STATUS_DATA, "order",
              etcd_range_parse(disorder, strlen(disorder), &all, &range, &err));
    MUST_FAIL(STATUS_DATA, "4 keys", etcd_range_parse(many, strlen(many), &all, &range, &err));
    MUST_FAIL(STATUS_DATA, "says 1",
              etcd_range_parse(miscounted, strlen(miscounted), &all, &range, &err));
    size_t size = etcd_range_reply_max(&all) + 1;
    autofree char *large = malloc(size);
    memset(large, ' ', size);
    MUST_FAIL(STATUS_DATA, "limit", etcd_range_parse(large, size, &all, &range, &err));
}
END_TEST

START_TEST(puts_and_transactions)
{
    struct etcd_kv before = {0};
    bool succeeded = false;
    autofree char *a = kv("p/hosts/a", "x"), *b = kv("p/hosts/b", "x");
    autofree char *right = string_format("{" HEADER ",\"prev_kv\":%s}", a);
    autofree char *wrong = string_format("{" HEADER ",\"prev_kv\":%s}", b);
    MUST(etcd_put_parse("{" HEADER "}", strlen("{" HEADER "}"), &one, &before, &err));
    ck_assert_ptr_null(before.key);
    MUST(etcd_put_parse(right, strlen(right), &one, &before, &err));
    ck_assert_str_eq(before.value, "x");
    etcd_kv_free(&before);
    MUST_FAIL(STATUS_DATA, "not asked", etcd_put_parse(wrong, strlen(wrong), &one, &before, &err));
    const char *good = "{" HEADER ",\"succeeded\":true,\"responses\":[{}]}";
    MUST(etcd_txn_parse(good, strlen(good), &succeeded, &err));
    ck_assert(succeeded);
    MUST(etcd_txn_parse("{}", 2, &succeeded, &err));
    ck_assert(!succeeded);
    MUST_FAIL(STATUS_DATA, "'succeeded'",
              etcd_txn_parse("{\"succeeded\":1}", strlen("{\"succeeded\":1}"), &succeeded, &err));
}
END_TEST

START_TEST(leases)
{
    int64_t id = 0, ttl = 0;
    const char *granted = "{" HEADER ",\"ID\":\"7587899077279245576\",\"TTL\":\"20\"}";
    const char *kept = "{\"result\":{" HEADER ",\"ID\":\"12345\",\"TTL\":\"20\"}}\n";
    const char *ended = "{\"result\":{" HEADER ",\"ID\":\"12345\"}}\n";
    MUST(etcd_lease_parse(granted, strlen(granted), &id, &ttl, &err));
    ck_assert_int_eq(id, 7587899077279245576);
    ck_assert_int_eq(ttl, 20);
    MUST_FAIL(STATUS_DATA, "no lease", etcd_lease_parse("{}", 2, &id, &ttl, &err));
    MUST(etcd_keepalive_parse(kept, strlen(kept), 12345, &ttl, &err));
    ck_assert_int_eq(ttl, 20);
    MUST(etcd_keepalive_parse(ended, strlen(ended), 12345, &ttl, &err));
    ck_assert_int_eq(ttl, 0);
    MUST_FAIL(STATUS_DATA, "another lease",
              etcd_keepalive_parse(kept, strlen(kept), 1, &ttl, &err));
    MUST_FAIL(STATUS_DATA, "'result'", etcd_keepalive_parse("{}", 2, 1, &ttl, &err));
}
END_TEST

START_TEST(tokens_and_errors)
{
    char *token = NULL;
    int code = -1;
    MUST(etcd_token_parse("{\"token\":\"aB.1\"}", strlen("{\"token\":\"aB.1\"}"), &token, &err));
    ck_assert_str_eq(token, "aB.1");
    free(token);
    MUST_FAIL(STATUS_DATA, "no token", etcd_token_parse("{}", 2, &token, &err));
    /* No second header line. */
    const char *lines = "{\"token\":\"a\\r\\nX: y\"}";
    MUST_FAIL(STATUS_DATA, "ASCII", etcd_token_parse(lines, strlen(lines), &token, &err));
    static const struct {
        const char *text, *words;
        int code;
    } rows[] = {
        {"{\"error\":\"e\",\"message\":\"etcdserver: requested lease not found\",\"code\":5}",
         "etcdserver: requested lease not found", 5},
        {"{\"error\":\"only this\",\"code\":1000}", "only this", 0},
        {"{\"message\":{},\"code\":\"5\"}", "no reason given", 0},
        {"<html>", "no reason given", 0},
        {"", "no reason given", 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autofree char *words = etcd_error_parse(rows[i].text, strlen(rows[i].text), &code);
        ck_assert_str_eq(words, rows[i].words);
        ck_assert_int_eq(code, rows[i].code);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {range_honest,          range_more, range_lies,
                                  puts_and_transactions, leases,     tokens_and_errors};
    return unit_run("pool-reply", tests, COUNT(tests));
}
