/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Strict JSON: what is taken, what is refused, and canonical text.
 */
#include "unit.h"

#include "base/json.h"

#define MAX 4096

struct row {
    const char *text;
    const char *words; /* in the error; NULL: taken */
};

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct error err = ERROR_INIT;
        autojson json_t *json = json_parse_strict(rows[i].text, strlen(rows[i].text), MAX, &err);
        ck_assert_msg((json != NULL) == (rows[i].words == NULL), "row %zu: %s: %s", i, rows[i].text,
                      err.message);
        if (!json)
            check_error(&err, STATUS_DATA, rows[i].words, rows[i].text);
    }
}

START_TEST(forms)
{
    static const struct row rows[] = {
        {"{}", NULL},
        {" \t\r\n{ } \n", NULL},
        {"{\"a\":{\"a\":[{\"a\":null}]},\"b\":true}", NULL},
        {"{\"a\":\"\"}", NULL},
        {"", "not valid JSON"},
        {" ", "not valid JSON"},
        {"[]", "not a JSON object"},
        {"1", "not valid JSON"},
        {"\"a\"", "not valid JSON"},
        {"null", "not valid JSON"},
        {"{", "not valid JSON"},
        {"{}}", "not valid JSON"},
        {"{} {}", "not valid JSON"},
        {"{}x", "not valid JSON"},
        {"{\"a\":1,}", "not valid JSON"},
        {"{\"a\"}", "not valid JSON"},
        {"{a:1}", "not valid JSON"},
        {"{'a':1}", "not valid JSON"},
        {"{\"a\":1}//x", "not valid JSON"},
        {"{\"a\":NaN}", "not valid JSON"},
        {"{\"a\":TRUE}", "not valid JSON"},
        {"{\"a\":1,\"a\":1}", "duplicate"},
        {"{\"a\":1,\"\\u0061\":1}", "duplicate"},
        {"{\"b\":[{\"a\":1,\"a\":2}]}", "duplicate"},
    };
    check_rows(rows, COUNT(rows));
}
END_TEST

START_TEST(numbers)
{
    static const struct row rows[] = {
        {"{\"a\":9223372036854775807}", NULL},
        {"{\"a\":-9223372036854775808}", NULL},
        {"{\"a\":9223372036854775808}", "too big"},
        {"{\"a\":-9223372036854775809}", "too big"},
        {"{\"a\":18446744073709551616}", "too big"},
        {"{\"a\":1.0}", "integer"},
        {"{\"a\":[1e3]}", "integer"},
        {"{\"a\":-0.0}", "integer"},
        {"{\"a\":1e999}", "not valid JSON"},
        {"{\"a\":01}", "not valid JSON"},
        {"{\"a\":+1}", "not valid JSON"},
        {"{\"a\":.5}", "not valid JSON"},
        {"{\"a\":0x1}", "not valid JSON"},
        {"{\"a\":-}", "not valid JSON"},
    };
    check_rows(rows, COUNT(rows));
}
END_TEST

START_TEST(texts)
{
    static const struct row rows[] = {
        {"{\"a\":\"\\\"\\\\\\/ ~\"}", NULL},
        {"{\"a\":\"\\u0041\"}", NULL},
        {"{\"a\":\"\xc3\xa4\"}", "printable ASCII"},
        {"{\"\xc3\xa4\":1}", "printable ASCII"},
        {"{\"a\":\"\x7f\"}", "printable ASCII"},
        {"{\"a\":\"\x01\"}", "printable ASCII"},
        {"\xef\xbb\xbf{}", "printable ASCII"},
        {"{\"a\":\"\\u00e4\"}", "printable ASCII"},
        {"{\"a\":\"\\u007f\"}", "printable ASCII"},
        {"{\"a\":\"\\u001b\"}", "printable ASCII"},
        {"{\"a\":\"\\n\"}", "printable ASCII"},
        {"{\"a\":[\"\\t\"]}", "printable ASCII"},
        {"{\"\\u00e4\":1}", "printable ASCII"},
        {"{\"a\":{\"\\n\":1}}", "printable ASCII"},
        {"{\"a\":\"\\ud83d\\ude00\"}", "printable ASCII"},
        {"{\"a\":\"\\ud83d\"}", "not valid JSON"},
        {"{\"a\":\"\\u0000\"}", "not valid JSON"},
        {"{\"\\u0000\":1}", "not valid JSON"},
        {"{\"a\":\"\n\"}", "not valid JSON"},
        {"{\"a\":\"\\x41\"}", "not valid JSON"},
    };
    check_rows(rows, COUNT(rows));
    MUST_FAIL(STATUS_DATA, "printable ASCII", json_parse_strict("{}\0", 3, MAX, &err));
    MUST_FAIL(STATUS_DATA, "printable ASCII", json_parse_strict("{\"a\0\":1}", 8, MAX, &err));
}
END_TEST

/* {"a":[[…]]} with that many brackets and braces one in the other. */
static char *nested(int depth, char open, char close)
{
    autostrbuf struct strbuf buf = {0};
    strbuf_puts(&buf, "{\"a\":");
    for (int i = 1; i < depth; i++)
        strbuf_printf(&buf, open == '{' && i < depth - 1 ? "{\"a\":" : "%c", open);
    for (int i = 1; i < depth; i++)
        strbuf_add(&buf, &close, 1);
    strbuf_puts(&buf, "}");
    return strbuf_steal(&buf);
}

/* Many small ones take much more memory than text; QEMU may have them. */
START_TEST(containers)
{
    for (int extra = 0; extra < 2; extra++) {
        autostrbuf struct strbuf text = {0};
        strbuf_puts(&text, "{\"a\":[{}");
        for (int i = 3; i < JSON_MAX_CONTAINERS + extra; i++)
            strbuf_puts(&text, ",{}");
        strbuf_puts(&text, "]}");
        struct error err = ERROR_INIT;
        autojson json_t *json = json_parse_strict(text.data, text.length, 1 << 20, &err);
        ck_assert_msg((json == NULL) == (extra == 1), "%d: %s", extra, err.message);
        if (!json)
            check_error(&err, STATUS_DATA, "too many objects and arrays", "json_parse_strict");
        autojson json_t *reply = json_parse_qmp(text.data, text.length, 1 << 20, NULL);
        ck_assert_ptr_nonnull(reply);
    }
}
END_TEST

START_TEST(depth)
{
    for (int kind = 0; kind < 2; kind++) {
        char open = kind ? '{' : '[', close = kind ? '}' : ']';
        autofree char *good = nested(JSON_MAX_DEPTH, open, close);
        autofree char *bad = nested(JSON_MAX_DEPTH + 1, open, close);
        autojson json_t *json = json_parse_strict(good, strlen(good), MAX, NULL);
        ck_assert_msg(json != NULL, "%s", good);
        MUST_FAIL(STATUS_DATA, "too deeply", json_parse_strict(bad, strlen(bad), MAX, &err));
        MUST_FAIL(STATUS_DATA, "too deeply", json_parse_qmp(bad, strlen(bad), MAX, &err));
    }
    /* Brackets in strings do not count, escaped quotes do not end them. */
    const char *text = "{\"a\":\"\\\"[[[[[[[[[[[[[[[[[[[[{{{{\\\\\"}";
    autojson json_t *json = json_parse_strict(text, strlen(text), MAX, NULL);
    ck_assert_ptr_nonnull(json);
    /* Closing ones do not pay for opening ones. */
    char *many = malloc(200001);
    memset(many, '[', 200000);
    many[200000] = '\0';
    MUST_FAIL(STATUS_DATA, "too deeply", json_parse_strict(many, 200000, 1 << 20, &err));
    memset(many, ']', 100000);
    MUST_FAIL(STATUS_DATA, "", json_parse_strict(many, 200000, 1 << 20, &err));
    free(many);
}
END_TEST

START_TEST(size)
{
    const char *text = "{\"a\":1}";
    autojson json_t *json = json_parse_strict(text, 7, 7, NULL);
    ck_assert_ptr_nonnull(json);
    MUST_FAIL(STATUS_DATA, "limit", json_parse_strict(text, 7, 6, &err));
    MUST_FAIL(STATUS_DATA, "limit", json_parse_qmp(text, 7, 6, &err));
    /* Only the length counts, there need not be a NUL. */
    char exact[7];
    memcpy(exact, text, 7);
    autojson json_t *again = json_parse_strict(exact, 7, 7, NULL);
    ck_assert_ptr_nonnull(again);
    MUST_FAIL(STATUS_DATA, "not valid", json_parse_strict(exact, 6, 7, &err));
}
END_TEST

START_TEST(qmp_is_taken_more_freely)
{
    const char *text = "{\"a\":\"\xc3\xa4\",\"b\":1.5}\r";
    autojson json_t *json = json_parse_qmp(text, strlen(text), MAX, NULL);
    ck_assert_ptr_nonnull(json);
    static const char *const bad[] = {"", "[]", "{\"a\":1,\"a\":1}", "{\"a\":\"\xff\"}", "{}{}"};
    for (size_t i = 0; i < COUNT(bad); i++)
        MUST_FAIL(STATUS_DATA, "", json_parse_qmp(bad[i], strlen(bad[i]), MAX, &err));
}
END_TEST

START_TEST(taking)
{
    static const struct row rows[] = {
        {"{\"a\":1,\"b\":\"x\"}", NULL},
        {"{\"a\":1}", "b"},
        {"{\"a\":1,\"b\":\"x\",\"c\":1}", "unknown member: c"},
        {"{\"a\":\"1\",\"b\":\"x\"}", "integer"},
        {"{\"a\":1,\"b\":null}", "string"},
        {"{\"a\":true,\"b\":\"x\"}", "integer"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct error err = ERROR_INIT;
        json_int_t a = 0;
        const char *b = NULL;
        autojson json_t *json = json_parse_strict(rows[i].text, strlen(rows[i].text), MAX, NULL);
        bool good = json_take(json, &err, "the thing", "{s:I, s:s}", "a", &a, "b", &b);
        ck_assert_msg(good == (rows[i].words == NULL), "%s", rows[i].text);
        if (!good) {
            check_error(&err, STATUS_DATA, rows[i].words, rows[i].text);
            check_error(&err, STATUS_DATA, "the thing: ", rows[i].text);
        }
    }
}
END_TEST

START_TEST(lists_of_names)
{
    static const struct row rows[] = {
        {"[]", NULL},
        {"[\"b\",\"a\"]", NULL},
        {"{}", "not an array"},
        {"[1]", "not a string"},
        {"[\"a\",\"A\"]", "'A'"},
        {"[\"a,b\"]", "'a,b'"},
        {"[\"\"]", "''"},
        {"[null]", "not a string"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct error err = ERROR_INIT;
        autojson json_t *json = json_loads(rows[i].text, 0, NULL);
        autostrlist struct strlist list = {0};
        ck_assert(strlist_push(&list, "old"));
        bool good = json_take_names(json, "names", name_is_feature, &list, &err);
        ck_assert_msg(good == (rows[i].words == NULL), "%s", rows[i].text);
        if (!good) {
            check_error(&err, STATUS_DATA, rows[i].words, rows[i].text);
            ck_assert_str_eq(list.items[0], "old");
            continue;
        }
        autojson json_t *back = json_from_names(&list);
        ck_assert(json_equal(back, json));
    }
    autojson json_t *array = json_array(), *sneaky = json_stringn("a\0b", 3);
    ck_assert_int_eq(json_array_append(array, sneaky), 0);
    autostrlist struct strlist list = {0};
    MUST_FAIL(STATUS_DATA, "names", json_take_names(array, "names", name_is_feature, &list, &err));
    MUST_FAIL(STATUS_DATA, "names", json_take_names(NULL, "names", name_is_feature, &list, &err));
}
END_TEST

START_TEST(canonical_text)
{
    const char *const equal[] = {"{\"b\": [1, 2], \"a\": {\"d\": \"/\", \"c\": null}}",
                                 "{\"a\":{\"c\":null,\"d\":\"\\/\"},\"b\":[1,2]}"};
    for (size_t i = 0; i < COUNT(equal); i++) {
        autojson json_t *json = json_parse_strict(equal[i], strlen(equal[i]), MAX, NULL);
        autofree char *text = json_to_text(json);
        ck_assert_str_eq(text, "{\"a\":{\"c\":null,\"d\":\"/\"},\"b\":[1,2]}");
    }
    ck_assert_ptr_null(json_to_text(NULL));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        forms,  numbers,        texts,          depth, containers, size, qmp_is_taken_more_freely,
        taking, lists_of_names, canonical_text,
    };
    return unit_run("json", tests, COUNT(tests));
}
