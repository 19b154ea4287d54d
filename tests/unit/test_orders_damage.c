/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Requests and answers that are not quite right: every member of every document is taken out, and
 * changed in every way that counts.
 */
#include "orders_fixture.h"

#include <fnmatch.h>

#define STAMP_MAX (INT64_C(1) << 53)
#define UNTOUCHED 0xa5 /* in every byte of what a reader must leave alone */

/* One good document of each kind. */

static json_t *make_plain(void)
{
    return order_new(&key);
}

static json_t *make_prepare(void)
{
    autoprepare struct order_prepare prepare = {.grant = 5,
                                                .offer = offer_of("10.0", MIGRATION_SOURCE),
                                                .wishes = {1, 2, 3, false, true, true}};
    return order_new_prepare(&key, &prepare);
}

static json_t *make_stream(void)
{
    return order_new_stream(&key, 63);
}

static json_t *make_renew(void)
{
    return order_new_renew(&key, &(struct order_renew){8, 900, true});
}

static json_t *make_resume(void)
{
    return order_new_resume(&key, &(struct order_resume){9, true, false});
}

static json_t *make_sight(void)
{
    autosight struct order_sight sight = {.status = status_of_all,
                                          .offer = offer_of("7.2", MIGRATION_DESTINATION),
                                          .inventory = recorded("inventory-7.2")};
    ck_assert(strlist_push(&sight.differences, "smap is off, agreed on"));
    json_array_append_new(json_object_get(sight.inventory, "blocked"), json_string("VFIO"));
    return order_answer_look(&sight);
}

static json_t *make_prepared(void)
{
    return order_answer_prepare(&status_of_all, 49152);
}

static json_t *make_status(void)
{
    return order_answer(&status_of_all);
}

/* Its reader: what it fills is left alone when it fails. */

static bool is_untouched(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != UNTOUCHED)
            return false;
    return true;
}

#define DEFINE_TAKE(name, type, call, clean)                                                       \
    static bool take_##name(json_t *json, struct error *err)                                       \
    {                                                                                              \
        struct order_key got;                                                                      \
        struct guardian_status status;                                                             \
        type value;                                                                                \
        memset(&got, UNTOUCHED, sizeof(got));                                                      \
        memset(&status, UNTOUCHED, sizeof(status));                                                \
        memset(&value, UNTOUCHED, sizeof(value));                                                  \
        if (call) {                                                                                \
            clean;                                                                                 \
            return true;                                                                           \
        }                                                                                          \
        ck_assert_msg(is_untouched(&got, sizeof(got)) && is_untouched(&status, sizeof(status)) &&  \
                          is_untouched(&value, sizeof(value)),                                     \
                      "%s has filled something", #call);                                           \
        return false;                                                                              \
    }

DEFINE_TAKE(plain, char, order_take(json, &got, err), )
DEFINE_TAKE(prepare, struct order_prepare, order_take_prepare(json, &got, &value, err),
            order_prepare_free(&value))
DEFINE_TAKE(stream, int, order_take_stream(json, &got, &value, err), )
DEFINE_TAKE(renew, struct order_renew, order_take_renew(json, &got, &value, err), )
DEFINE_TAKE(resume, struct order_resume, order_take_resume(json, &got, &value, err), )
DEFINE_TAKE(sight, struct order_sight, order_take_sight(json, &value, err),
            order_sight_free(&value))
DEFINE_TAKE(prepared, uint16_t, order_take_prepared(json, &status, &value, err), )
DEFINE_TAKE(status, char, order_take_status(json, &status, err), )

static const struct form {
    const char *name;
    json_t *(*make)(void);
    bool (*take)(json_t *json, struct error *err);
} forms[] = {
    {"plain", make_plain, take_plain},          {"prepare", make_prepare, take_prepare},
    {"stream", make_stream, take_stream},       {"renew", make_renew, take_renew},
    {"resume", make_resume, take_resume},       {"sight", make_sight, take_sight},
    {"prepared", make_prepared, take_prepared}, {"status", make_status, take_status},
};

/* A document of one form; path says where in it something is: "sight/inventory/devices/#/at". */
struct document {
    const struct form *form;
    json_t *json;
};

static void check_taken(const struct document *document, const char *path, const char *what)
{
    struct error err = ERROR_INIT;
    ck_assert_msg(document->form->take(document->json, &err), "%s: %s: %s", path, what,
                  err.message);
    check_references(document->json);
}

static void check_refused(const struct document *document, const char *path, const char *what)
{
    struct error err = ERROR_INIT;
    ck_assert_msg(!document->form->take(document->json, &err), "%s: %s was taken", path, what);
    ck_assert_msg(err.status == STATUS_DATA && *err.message, "%s: %s: status %d: %s", path, what,
                  err.status, err.message);
    check_references(document->json);
}

/* A place: a member of an object, or an element of an array (name is NULL). */
struct place {
    json_t *parent;
    const char *name;
    size_t index;
    const char *path, *above; /* its own, its parent's */
};

static json_t *value_at(const struct place *place)
{
    return place->name ? json_object_get(place->parent, place->name)
                       : json_array_get(place->parent, place->index);
}

static void put_at(const struct place *place, json_t *value)
{
    ck_assert_int_eq(place->name ? json_object_set_new(place->parent, place->name, value)
                                 : json_array_set_new(place->parent, place->index, value),
                     0);
}

/* With another value there, which is used up, the document is taken or not; then it is as before.
 */
static void try_value(const struct document *document, const struct place *place, json_t *value,
                      bool good)
{
    json_t *before = json_incref(value_at(place));
    autofree char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    autofree char *what = string_format("%.80s", text ? text : "(not to be shown)");
    put_at(place, json_deep_copy(value));
    if (good)
        check_taken(document, place->path, what);
    else
        check_refused(document, place->path, what);
    json_decref(value);
    put_at(place, before);
}

static bool is_path(const char *path, const char *pattern)
{
    return fnmatch(pattern, path, 0) == 0;
}

/* Objects that are lists of names. */
static bool is_map(const char *path)
{
    return is_path(path, "*/offer/capabilities") || is_path(path, "*/offer/parameters") ||
           is_path(path, "*/inventory/blocks");
}

static void visit(const struct document *document, json_t *value, const char *path,
                  void (*at)(const struct document *document, const struct place *place))
{
    autostrlist struct strlist names = {0};
    const char *name;
    json_t *member;
    json_object_foreach(value, name, member)
    {
        ck_assert(strlist_push(&names, name));
    }
    size_t count = json_is_array(value) ? json_array_size(value) : names.count;
    for (size_t i = 0; i < count; i++) {
        const char *own = json_is_array(value) ? NULL : names.items[i];
        autofree char *below = string_format("%s/%s", path, own ? own : "#");
        const struct place place = {value, own, i, below, path};
        at(document, &place);
        visit(document, value_at(&place), below, at);
    }
}

/* Calls `at` for every place in every document. */
static void visit_all(void (*at)(const struct document *document, const struct place *place))
{
    for (size_t i = 0; i < COUNT(forms); i++) {
        struct document document = {&forms[i], sent(forms[i].make())};
        check_taken(&document, forms[i].name, "as it is");
        visit(&document, document.json, forms[i].name, at);
        check_taken(&document, forms[i].name, "as it was again");
        json_decref(document.json);
    }
}

static bool is_same_type(const json_t *one, const json_t *other)
{
    return json_typeof(one) == json_typeof(other) ||
           (json_is_boolean(one) && json_is_boolean(other));
}

static void give_other_types(const struct document *document, const struct place *place)
{
    json_t *others[] = {json_null(),      json_true(),  json_integer(1), json_real(1.5),
                        json_string("a"), json_array(), json_object()};
    const json_t *now = value_at(place);
    for (size_t i = 0; i < COUNT(others); i++) {
        bool scalar =
            json_is_boolean(others[i]) || json_is_integer(others[i]) || json_is_string(others[i]);
        if (is_same_type(now, others[i]))
            json_decref(others[i]);
        else
            try_value(document, place, others[i],
                      scalar && is_path(place->path, "*/offer/parameters/*"));
    }
}

START_TEST(other_types)
{
    visit_all(give_other_types);
}
END_TEST

static void take_out(const struct document *document, const struct place *place)
{
    if (!place->name || is_map(place->above))
        return;
    json_t *before = json_incref(value_at(place));
    json_object_del(place->parent, place->name);
    check_refused(document, place->path, "its absence");
    put_at(place, before);
}

/* A name that is not there yet, with a value that is good nowhere. */
static void add_more(const struct document *document, json_t *object, const char *path)
{
    if (!json_is_object(object))
        return;
    json_object_set_new(object, "more", json_array());
    check_refused(document, path, "a member more");
    json_object_del(object, "more");
    if (is_map(path))
        return;
    json_object_set_new(object, "", json_null());
    check_refused(document, path, "a member without a name");
    json_object_del(object, "");
}

static void add_below(const struct document *document, const struct place *place)
{
    add_more(document, value_at(place), place->path);
}

START_TEST(missing_and_extra)
{
    visit_all(take_out);
    visit_all(add_below);
    for (size_t i = 0; i < COUNT(forms); i++) {
        struct document document = {&forms[i], sent(forms[i].make())};
        add_more(&document, document.json, forms[i].name);
        json_decref(document.json);
    }
}
END_TEST

/* Every number has its row: the first that fits. */
static void give_numbers(const struct document *document, const struct place *place)
{
    static const struct {
        const char *path;
        int64_t min, max;
    } rows[] = {
        {"renew/grant", -1, STAMP_MAX},           {"*/grant", 0, STAMP_MAX},
        {"*/good_until", 0, STAMP_MAX},           {"*/status/stamp", 0, STAMP_MAX},
        {"*/status/pid", 0, INT64_MAX},           {"*/wait_ms", 0, ORDER_WAIT_MAX_MS},
        {"*/channel", 0, ORDER_CHANNELS_MAX - 1}, {"*/port", 0, 65535},
        {"*/wishes/multifd", 0, INT16_MAX},       {"*/wishes/*", 0, INT64_MAX},
        {"*/parameters/*", INT64_MIN, INT64_MAX}, {"*/inventory/vcpus", 1, 65536},
        {"*/inventory/vcpus_max", 0, 65536},      {"*/devices/#/unknown", 0, 256},
        {"*/inventory/*", 0, INT64_MAX},
    };
    size_t i = 0;
    if (!json_is_integer(value_at(place)))
        return;
    while (i < COUNT(rows) && !is_path(place->path, rows[i].path))
        i++;
    ck_assert_msg(i < COUNT(rows), "%s has no row here", place->path);
    try_value(document, place, json_integer(rows[i].min), true);
    try_value(document, place, json_integer(rows[i].max), true);
    if (rows[i].min > INT64_MIN) {
        try_value(document, place, json_integer(rows[i].min - 1), false);
        try_value(document, place, json_integer(INT64_MIN), false);
    }
    if (rows[i].max < INT64_MAX) {
        try_value(document, place, json_integer(rows[i].max + 1), false);
        try_value(document, place, json_integer(INT64_MAX), false);
        if (rows[i].max < STAMP_MAX) /* it must not be cut */
            try_value(document, place, json_integer((INT64_C(1) << 32) + rows[i].min), false);
    }
}

START_TEST(numbers)
{
    visit_all(give_numbers);
}
END_TEST

static json_t *text_of_length(size_t length)
{
    autofree char *text = malloc(length + 1);
    memset(text, 'a', length);
    text[length] = '\0';
    return json_string(text);
}

/* And so has every text. */
static void give_texts(const struct document *document, const struct place *place)
{
    static const struct {
        const char *path;
        size_t min, max; /* its length */
        bool words;      /* it is one of a few */
    } rows[] = {
        {"*/status/lease", 0, 0, true},
        {"*/status/run_state", 0, 31, false},
        {"*/status/migration", 0, 31, false},
        {"*/status/reason", 0, 511, false},
        {"*/vm", 1, 64, false},
        {"*/agreement", 64, 64, false},
        {"*/migration", 32, 32, false},
        {"*/parameters/*", 0, 255, false},
        {"*/inventory/machine", 1, 64, false},
        {"*/inventory/*", 0, 255, false},
        {"*/differences/#", 0, 511, false},
    };
    static const char *const foreign[] = {"\xc3\xa9", "a\n", "\x7f", "a\x1b[31m", "\t"};
    size_t i = 0;
    if (!json_is_string(value_at(place)))
        return;
    while (i < COUNT(rows) && !is_path(place->path, rows[i].path))
        i++;
    ck_assert_msg(i < COUNT(rows), "%s has no row here", place->path);
    for (size_t k = 0; k < COUNT(foreign); k++)
        try_value(document, place, json_string(foreign[k]), false);
    try_value(document, place, text_of_length(rows[i].max + 1), false);
    try_value(document, place, text_of_length(100000), false);
    if (rows[i].min > 0)
        try_value(document, place, text_of_length(rows[i].min - 1), false);
    if (rows[i].words)
        return;
    try_value(document, place, text_of_length(rows[i].min), true);
    try_value(document, place, text_of_length(rows[i].max), true);
}

START_TEST(texts)
{
    visit_all(give_texts);
}
END_TEST

/* Texts that only look right. */
START_TEST(forms_of_texts)
{
    static const struct {
        const char *name, *value;
    } rows[] = {
        {"vm", "../web1"},
        {"vm", "-web1"},
        {"vm", "web 1"},
        {"agreement", HEX32 "0123456789abcdef0123456789abcdeF"},
        {"agreement", HEX32 "0123456789abcdef0123456789abcdeg"},
        {"migration", "0123456789abcdef0123456789abcdeF"},
        {"migration", "0123456789abcdef0123456789abcde/"},
    };
    static const char *const leases[] = {"", "HELD", "held ", "hel", "tolds", "0"};
    for (size_t i = 0; i < COUNT(forms) && forms[i].take != take_sight; i++)
        for (size_t k = 0; k < COUNT(rows); k++) {
            struct document document = {&forms[i], sent(forms[i].make())};
            const struct place place = {document.json, rows[k].name, 0, rows[k].name,
                                        forms[i].name};
            try_value(&document, &place, json_string(rows[k].value), false);
            json_decref(document.json);
        }
    for (size_t i = 0; i < COUNT(leases); i++) {
        struct document document = {&forms[COUNT(forms) - 1], sent(make_status())};
        const struct place place = {json_object_get(document.json, "status"), "lease", 0, "lease",
                                    "status"};
        try_value(&document, &place, json_string(leases[i]), false);
        json_decref(document.json);
    }
}
END_TEST

/* Fill a list, or an object of names, up to count, with what it has as its first. */
static void fill(json_t *list, size_t count)
{
    const char *first = json_object_iter_key(json_object_iter(list));
    autojson json_t *value =
        json_deep_copy(first ? json_object_get(list, first) : json_array_get(list, 0));
    if (!value)
        value = json_string("a");
    for (size_t i = 0; json_is_object(list) && json_object_size(list) < count; i++) {
        autofree char *name = string_format("n%zu", i);
        json_object_set_new(list, name, json_deep_copy(value));
    }
    while (json_is_array(list) && json_array_size(list) < count)
        json_array_append_new(list, json_deep_copy(value));
}

static void give_long_list(const struct document *document, const struct place *place)
{
    static const struct {
        const char *path;
        size_t max;
    } rows[] = {
        {"*/offer/capabilities", 256},
        {"*/offer/parameters", 256},
        {"*/inventory/devices/#/features", 256},
        {"*/inventory/devices", 4096},
        {"*/inventory/blocks", 4096},
        {"*/inventory/blocked", 256},
        {"*/differences", 256},
    };
    json_t *now = value_at(place);
    size_t i = 0;
    while (i < COUNT(rows) && !is_path(place->path, rows[i].path))
        i++;
    if (i == COUNT(rows)) {
        ck_assert_msg(!json_is_array(now), "%s has no row here", place->path);
        return;
    }
    json_t *list = json_deep_copy(now);
    fill(list, rows[i].max);
    try_value(document, place, json_incref(list), true);
    fill(list, rows[i].max + 1);
    try_value(document, place, list, false);
}

START_TEST(long_lists)
{
    visit_all(give_long_list);
}
END_TEST

/* A name twice in one object does not come as far as to a reader. */
START_TEST(no_name_twice)
{
    for (size_t i = 0; i < COUNT(forms); i++) {
        autojson json_t *json = forms[i].make();
        autofree char *text = json_to_text(json);
        for (const char *at = strstr(text, "{\""); at; at = strstr(at + 1, "{\"")) {
            int name = (int)(strchr(at + 2, '"') + 1 - (at + 1));
            autofree char *twice =
                string_format("%.*s%.*s:0,%s", (int)(at + 1 - text), text, name, at + 1, at + 1);
            json_t *parsed = NULL;
            MUST_FAIL(STATUS_DATA, "duplicate",
                      (parsed = json_parse_strict(twice, strlen(twice), 1 << 20, &err)));
        }
    }
}
END_TEST

/* One request is not taken for another, nor an answer. */
START_TEST(not_for_another)
{
    for (size_t i = 0; i < COUNT(forms); i++)
        for (size_t k = 0; k < COUNT(forms); k++) {
            struct document document = {&forms[k], sent(forms[i].make())};
            if (i == k)
                check_taken(&document, forms[i].name, "as it is");
            else
                check_refused(&document, forms[k].name, forms[i].name);
            json_decref(document.json);
        }
}
END_TEST

void add_damage_tests(const TTest **tests, size_t *count)
{
    const TTest *const all[] = {other_types,    missing_and_extra, numbers,       texts,
                                forms_of_texts, long_lists,        no_name_twice, not_for_another};
    for (size_t i = 0; i < COUNT(all); i++)
        tests[(*count)++] = all[i];
}
