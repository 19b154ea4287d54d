/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The machine type for all parties.
 */
#include "unit.h"

#include "cpu/machine.h"

/* Old and new stand for two QEMUs; what is marked '!' is deprecated there, '*' the default. */
static const char *const old_types[] = {
    "pc-i440fx-7.1", "*pc-i440fx-7.2=pc", "pc-q35-4.0.1", "pc-q35-4.0", "!pc-q35-2.4",
    "pc-q35-7.1",    "pc-q35-7.2=q35",    "microvm",      "isapc",      NULL,
};
static const char *const new_types[] = {
    "*pc-i440fx-10.0=pc",
    "pc-i440fx-7.2",
    "pc-i440fx-7.1",
    "pc-q35-10.0=q35",
    "pc-q35-7.2",
    "!pc-q35-7.1",
    "!pc-q35-4.0.1",
    "!pc-q35-4.0",
    "microvm",
    "x-remote",
    NULL,
};
/* Only what is old, and with two digits in a version; no default. */
static const char *const odd_types[] = {"pc-q35-4.0", "pc-q35-4.0.1", "pc-q35-4.10", "weird", NULL};
static const char *const odd_too[] = {"pc-q35-4.9", "pc-q35-4.0", "pc-q35-4.0.1", "pc-q35-4.10",
                                      NULL};
static const char *const none_types[] = {"none", NULL};

static void fill(struct machine_list *list, const char *const types[])
{
    for (; *types; types++) {
        const char *name = *types;
        bool deprecated = *name == '!', is_default = *name == '*';
        name += deprecated || is_default;
        const char *alias = strchr(name, '=');
        autofree char *copy = alias ? strndup(name, (size_t)(alias - name)) : strdup(name);
        ck_assert(machine_list_add(list, copy, alias ? alias + 1 : NULL, deprecated, is_default));
    }
}

struct wish {
    const char *const *types;
    const char *version, *machine;
};

#define OLD(machine)                                                                               \
    {                                                                                              \
        old_types, "7.2.22", machine                                                               \
    }
#define NEW(machine)                                                                               \
    {                                                                                              \
        new_types, "10.0.2", machine                                                               \
    }

static const struct {
    struct wish wishes[3];
    const char *machine; /* NULL: refused */
    const char *words;   /* then */
} rows[] = {
    /* aliases and the default become the newest that all know */
    {{OLD("q35"), OLD("q35")}, "pc-q35-7.2", NULL},
    {{OLD("q35"), NEW("q35")}, "pc-q35-7.2", NULL},
    {{NEW("q35"), NEW("q35")}, "pc-q35-10.0", NULL},
    {{OLD("pc"), NEW("pc")}, "pc-i440fx-7.2", NULL},
    {{OLD(NULL), NEW(NULL)}, "pc-i440fx-7.2", NULL},
    {{OLD("pc"), NEW(NULL)}, "pc-i440fx-7.2", NULL},
    {{OLD("q35"), NEW("q35"), NEW("q35")}, "pc-q35-7.2", NULL},
    {{NEW("q35"), NEW("q35"), OLD("q35")}, "pc-q35-7.2", NULL},
    {{OLD("q35")}, "pc-q35-7.2", NULL},
    /* one of them says which */
    {{OLD("pc-q35-7.1"), NEW("q35")}, "pc-q35-7.1", NULL},
    {{OLD("pc-q35-7.1"), NEW("pc-q35-7.1")}, "pc-q35-7.1", NULL},
    {{OLD("pc-q35-4.0.1"), OLD("q35")}, "pc-q35-4.0.1", NULL},
    {{OLD("pc-q35-2.4"), OLD("pc-q35-2.4")}, "pc-q35-2.4", NULL}, /* deprecated, but by name */
    {{OLD("pc-i440fx-7.1"), NEW(NULL)}, "pc-i440fx-7.1", NULL},
    {{OLD("pc-q35-7.1"), NEW("q35"), OLD("pc-q35-7.1")}, "pc-q35-7.1", NULL},
    {{OLD("pc-q35-7.1"), OLD("pc-q35-7.2")}, NULL, "give the same"},
    {{OLD("pc-q35-7.1"), OLD("q35"), OLD("pc-q35-7.2")}, NULL, "give the same"},
    {{OLD("q35"), NEW("pc-q35-10.0")}, NULL, "pc-q35-10.0"},
    {{OLD("q35"), NEW("pc")}, NULL, "give the same"},
    {{OLD(NULL), NEW("q35")}, NULL, "give the same"},
    {{OLD("pc-q35-7.2"), NEW("pc-i440fx-7.2")}, NULL, "give the same"},
    {{OLD("nonsense"), NEW("q35")}, NULL, "has no machine type nonsense"},
    {{OLD("q35"), OLD("pc-q35-10.0")}, NULL, "has no machine type pc-q35-10.0"},
    /* without versions */
    {{OLD("microvm"), OLD("microvm")}, "microvm", NULL},
    {{OLD("microvm"), NEW("microvm")}, NULL, "has no versions"},
    {{OLD("microvm"), OLD("microvm"), NEW("microvm")}, NULL, "has no versions"},
    {{OLD("microvm"), OLD("isapc")}, NULL, "give the same"},
    {{OLD("microvm"), OLD("q35")}, NULL, "give the same"},
    {{OLD("isapc"), NEW("isapc")}, NULL, "has no machine type isapc"},
    {{{none_types, "1", "none"}, {none_types, "1", "none"}}, "none", NULL},
    /* 4.0 < 4.0.1 < 4.9 < 4.10 */
    {{{odd_types, "4.1", "pc-q35-4.0"}, {odd_too, "4.1", "pc-q35-4.0"}}, "pc-q35-4.0", NULL},
    {{{odd_types, "4.1", NULL}, {odd_too, "4.1", NULL}}, NULL, "by default"},
};

START_TEST(choice)
{
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                     {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static const char *const hosts[] = {"a", "b", "c"};
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t count = 0;
        struct machine_list lists[3] = {0};
        while (count < 3 && rows[i].wishes[count].types) {
            fill(&lists[count], rows[i].wishes[count].types);
            count++;
        }
        for (size_t order = 0; order < 6; order++) {
            struct machine_wish wishes[3];
            struct error err = ERROR_INIT;
            size_t used = 0;
            for (int place = 0; place < 3; place++) {
                size_t from = (size_t)orders[order][place];
                if (from < count)
                    wishes[used++] =
                        (struct machine_wish){hosts[from], rows[i].wishes[from].machine,
                                              &lists[from], rows[i].wishes[from].version, false};
            }
            autofree char *machine = machine_choose(wishes, count, &err);
            ck_assert_msg(
                !machine == !rows[i].machine && (!machine || strcmp(machine, rows[i].machine) == 0),
                "row %zu, order %zu: %s %s", i, order, machine ? machine : "refused", err.message);
            if (!machine)
                check_error(&err, STATUS_INCOMPATIBLE, rows[i].words, "machine_choose");
        }
        for (size_t k = 0; k < count; k++)
            machine_list_free(&lists[k]);
    }
}
END_TEST

/* The version numbers are numbers: the newest of the family, whatever the order in the list. */
START_TEST(newest)
{
    static const struct {
        const char *a[5], *b[5], *newest; /* NULL: nothing in common */
    } cases[] = {
        {{"m-4.9", "m-4.10", "m-4.0.1=m"}, {"m-4.10", "m-4.9=m"}, "m-4.10"},
        {{"m-4.0", "m-4.0.1=m"}, {"m-4.0.1", "m-4.0=m"}, "m-4.0.1"},
        {{"m-4.0.1", "m-4.1=m"}, {"m-4.0.1", "m-4.1=m"}, "m-4.1"},
        {{"m-9.2", "m-10.0=m"}, {"m-10.0=m", "m-9.2"}, "m-10.0"},
        {{"m-9.2", "!m-10.0=m"}, {"m-10.0=m", "m-9.2"}, "m-9.2"},
        {{"m-9.2=m", "!m-9.1"}, {"m-9.1=m"}, NULL},
        {{"m-9.2=m"}, {"m-9.1=m"}, NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        automachinelist struct machine_list a = {0}, b = {0};
        fill(&a, cases[i].a);
        fill(&b, cases[i].b);
        struct machine_wish wishes[2] = {{"a", "m", &a, "1", false}, {"b", "m", &b, "2", false}};
        for (int swap = 0; swap < 2; swap++) {
            struct error err = ERROR_INIT;
            autofree char *machine = machine_choose(wishes, 2, &err);
            if (cases[i].newest)
                ck_assert_msg(machine && strcmp(machine, cases[i].newest) == 0, "case %zu: %s", i,
                              machine ? machine : err.message);
            else
                check_error(&err, STATUS_INCOMPATIBLE, "known to all", "machine_choose");
            struct machine_wish first = wishes[0];
            wishes[0] = wishes[1];
            wishes[1] = first;
        }
    }
}
END_TEST

/* One without a wish of its own never decides, and is not named as one who wants something. */
START_TEST(followers)
{
    automachinelist struct machine_list old = {0}, new = {0}, few = {0};
    static const char *const few_types[] = {"pc-q35-7.1=q35", "pc-i440fx-7.1=pc", NULL};
    fill(&old, old_types);
    fill(&new, new_types);
    fill(&few, few_types);
    const struct {
        const char *machine; /* the asker's, and so the followers' */
        const struct machine_list *lists[3];
        const char *chosen, *words;
    } cases[] = {
        {"q35", {&new, &new, &new}, "pc-q35-10.0", NULL},
        {"q35", {&new, &old, &new}, "pc-q35-7.2", NULL},
        {"q35", {&old, &new, &new}, "pc-q35-7.2", NULL},
        {"pc-q35-7.2", {&new, &old, &new}, "pc-q35-7.2", NULL},
        {NULL, {&new, &old, &old}, "pc-i440fx-7.2", NULL},
        /* the type that all know is one that new calls deprecated */
        {"q35", {&new, &old, &few}, NULL, "known to all"},
        {"pc", {&new, &old, &few}, "pc-i440fx-7.1", NULL},
        {"pc-q35-10.0", {&new, &new, &old}, NULL, "c has no machine type pc-q35-10.0"},
        {"pc-q35-10.0", {&new, &old, &new}, NULL, "b has no machine type pc-q35-10.0"},
    };
    static const char *const hosts[] = {"a", "b", "c"};
    for (size_t i = 0; i < COUNT(cases); i++)
        for (size_t first = 0; first < 3; first++) {
            struct machine_wish wishes[3];
            struct error err = ERROR_INIT;
            for (size_t k = 0; k < 3; k++) {
                size_t h = (first + k) % 3;
                wishes[k] =
                    (struct machine_wish){hosts[h], cases[i].machine, cases[i].lists[h],
                                          cases[i].lists[h] == &new ? "10.0.2" : "7.2.22", h > 0};
            }
            machine_wishes_sort(wishes, 3);
            autofree char *machine = machine_choose(wishes, 3, &err);
            if (cases[i].chosen)
                ck_assert_msg(machine && strcmp(machine, cases[i].chosen) == 0, "case %zu: %s", i,
                              machine ? machine : err.message);
            else
                check_error(&err, STATUS_INCOMPATIBLE, cases[i].words, "machine_choose");
        }
    struct machine_wish wishes[] = {{"a", "pc-q35-7.1", &old, "7.2.22", true},
                                    {"b", "pc-q35-7.1", &old, "7.2.22", false},
                                    {"c", "pc-q35-7.2", &old, "7.2.22", false}};
    MUST_FAIL(STATUS_INCOMPATIBLE, "b asks for the machine type pc-q35-7.1 and c for pc-q35-7.2",
              machine_choose(wishes, 3, &err));
}
END_TEST

START_TEST(finding)
{
    automachinelist struct machine_list list = {0}, empty = {0};
    fill(&list, old_types);
    for (size_t i = 1; i < list.count; i++)
        ck_assert_int_lt(strcmp(list.types[i - 1].name, list.types[i].name), 0);
    ck_assert_str_eq(machine_list_find(&list, NULL)->name, "pc-i440fx-7.2");
    ck_assert_str_eq(machine_list_find(&list, "q35")->name, "pc-q35-7.2");
    ck_assert_str_eq(machine_list_find(&list, "isapc")->name, "isapc");
    ck_assert_ptr_null(machine_list_find(&list, "Q35"));
    ck_assert_ptr_null(machine_list_find(&list, ""));
    ck_assert_ptr_null(machine_list_find(&empty, NULL));
}
END_TEST

START_TEST(as_json)
{
    automachinelist struct machine_list list = {0}, back = {0};
    fill(&list, old_types);
    autojson json_t *json = machine_list_to_json(&list);
    MUST(machine_list_from_json(json, &back, &err));
    autojson json_t *again = machine_list_to_json(&back);
    ck_assert(json_equal(json, again));
    static const char *const bad[] = {
        "{}",
        "[1]",
        "[{}]",
        "[{\"name\":\"a\",\"alias\":\"\",\"deprecated\":false}]",
        "[{\"name\":\"A\",\"alias\":\"\",\"deprecated\":false,\"default\":false}]",
        "[{\"name\":\"a,b\",\"alias\":\"\",\"deprecated\":false,\"default\":false}]",
        "[{\"name\":\"\",\"alias\":\"\",\"deprecated\":false,\"default\":false}]",
        "[{\"name\":\"a\",\"alias\":\"x=y\",\"deprecated\":false,\"default\":false}]",
        "[{\"name\":\"a\",\"alias\":\"\",\"deprecated\":0,\"default\":false}]",
        "[{\"name\":\"a\",\"alias\":\"\",\"deprecated\":false,\"default\":false,\"x\":1}]",
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        autojson json_t *value = json_loads(bad[i], 0, NULL);
        ck_assert_msg(value != NULL, "%s", bad[i]);
        MUST_FAIL(STATUS_DATA, "", machine_list_from_json(value, &back, &err));
    }
    ck_assert_uint_eq(back.count, list.count);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {choice, newest, followers, finding, as_json};
    return unit_run("machine", tests, COUNT(tests));
}
