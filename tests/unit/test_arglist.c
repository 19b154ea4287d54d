/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * QEMU's command line: reading it as QEMU does, and writing it anew.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "vm/invocation.h"
#include "vm/query.h"

struct read_case {
    const char *line, *expected;
};

static const struct read_case read_cases[] = {
#define READ(line, summary) {line, summary},
#include "arglist_cases.def"
};
static const struct read_case refused_cases[] = {
#define REFUSED(line, message) {line, message},
#include "arglist_cases.def"
};
static const struct read_case rewrite_cases[] = {
#define REWRITTEN(before, after) {before, after},
#include "arglist_cases.def"
};
#define COUNT(array) ((int)(sizeof(array) / sizeof(*(array))))

/* Words of a line: blanks part them, '…' or "…" keeps one together. */
static void split(const char *line, struct strlist *words)
{
    while (*line) {
        char quote = *line == '\'' || *line == '"' ? *line : '\0';
        const char *from = line + (quote ? 1 : 0);
        const char *end = strchr(from, quote ? quote : ' ');
        size_t length = end ? (size_t)(end - from) : strlen(from);
        ck_assert(strlist_push_owned(words, strndup(from, length)));
        line = from + length + (quote ? 1 : 0);
        line += *line == ' ';
    }
}

static bool parse_line(const char *line, struct arglist *list, struct error *err)
{
    autostrlist struct strlist words = {0};
    split(line, &words);
    return arglist_parse(list, (int)words.count, words.items, err);
}

static void add_keyval(struct strlist *parts, const char *name, const struct keyval *keyval)
{
    autofree char *text = keyval_render(keyval);
    ck_assert_ptr_nonnull(text);
    if (*text)
        ck_assert(strlist_pushf(parts, "%s=%s", name, text));
}

static void add_text(struct strlist *parts, const char *name, const char *text)
{
    if (text)
        ck_assert(strlist_pushf(parts, "%s=%s", name, text));
}

static void add_list(struct strlist *parts, const char *format, const struct strlist *list)
{
    autofree char *text = strlist_join(list, "|");
    if (list->count > 0)
        ck_assert(strlist_pushf(parts, "%s=%s%s%s", format, *format == 'o' ? "[" : "", text,
                                *format == 'o' ? "]" : ""));
}

static char *summarize_accels(const struct invocation *invocation)
{
    static const char *const sources[] = {"default", "machine", "option"};
    autostrbuf struct strbuf text = {0};
    for (size_t i = 0; i < invocation->accels.count; i++) {
        autofree char *options = keyval_render(&invocation->accel_options[i]);
        strbuf_printf(&text, "%s%s", i > 0 ? ":" : "", invocation->accels.items[i]);
        if (*options)
            strbuf_printf(&text, "{%s}", options);
    }
    strbuf_printf(&text, "(%s)", sources[invocation->accel_source]);
    return strbuf_steal(&text);
}

static char *summarize(const struct invocation *invocation)
{
    autostrlist struct strlist parts = {0};
    if (invocation->is_query)
        return strdup("query");
    add_text(&parts, "cpu", invocation->cpu);
    if (invocation->cpu_count > 1)
        ck_assert(strlist_pushf(&parts, "cpus=%zu", invocation->cpu_count));
    if (invocation->machine_type)
        ck_assert(strlist_pushf(&parts, "machine=%s%s", invocation->machine_type,
                                invocation->machine_none ? "(none)" : ""));
    add_keyval(&parts, "options", &invocation->machine_options);
    add_keyval(&parts, "smp", &invocation->smp);
    add_keyval(&parts, "memory", &invocation->memory);
    autofree char *accels = summarize_accels(invocation);
    add_text(&parts, "accels", accels);
    add_text(&parts, "irqchip", invocation->kernel_irqchip);
    add_text(&parts, "name", invocation->name);
    if (invocation->has_incoming)
        ck_assert(strlist_pushf(&parts, "incoming%s%s", invocation->incoming ? "=" : "",
                                invocation->incoming ? invocation->incoming : ""));
    add_list(&parts, "overrides", &invocation->cpu_overrides);
    add_list(&parts, "readconfig", &invocation->readconfig);
    const struct {
        bool set;
        const char *word;
    } flags[] = {{invocation->cpu_pm, "cpu-pm"},
                 {invocation->daemonize, "daemonize"},
                 {invocation->paused, "paused"},
                 {invocation->uses_loadvm, "loadvm"},
                 {invocation->no_user_config, "noconfig"}};
    for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++)
        if (flags[i].set)
            ck_assert(strlist_push(&parts, flags[i].word));
    return strlist_join(&parts, " ");
}

/* Reading, and that what is read is rendered again word for word. */
START_TEST(reads)
{
    const struct read_case *test = &read_cases[_i];
    struct error err = ERROR_INIT;
    autoarglist struct arglist list = {0}, copy = {0};
    autoinvocation struct invocation invocation = {0};
    ck_assert_msg(parse_line(test->line, &list, &err), "%s: %s", test->line, err.message);
    ck_assert_msg(invocation_read(&list, &invocation, &err), "%s: %s", test->line, err.message);
    autofree char *summary = summarize(&invocation);
    ck_assert_msg(strcmp(summary, test->expected) == 0, "%s:\n  %s\nand not\n  %s", test->line,
                  summary, test->expected);

    autostrlist struct strlist words = {0}, rendered = {0};
    split(test->line, &words);
    ck_assert(arglist_copy(&list, &copy, &err) && arglist_render(&copy, &rendered, &err));
    ck_assert_uint_eq(rendered.count, words.count);
    for (size_t i = 0; i < words.count; i++)
        ck_assert_str_eq(rendered.items[i], words.items[i]);
}
END_TEST

START_TEST(refuses)
{
    const struct read_case *test = &refused_cases[_i];
    struct error err = ERROR_INIT;
    autoarglist struct arglist list = {0};
    autoinvocation struct invocation invocation = {0};
    ck_assert_msg(
        !(parse_line(test->line, &list, &err) && invocation_read(&list, &invocation, &err)),
        "%s was taken", test->line);
    ck_assert_int_eq(err.status, STATUS_USAGE);
    ck_assert_msg(strstr(err.message, test->expected) != NULL, "%s: %s", test->line, err.message);
    ck_assert_ptr_null(invocation.accels.items);
}
END_TEST

START_TEST(rewrites)
{
    const struct read_case *test = &rewrite_cases[_i];
    struct error err = ERROR_INIT;
    autoarglist struct arglist list = {0}, out = {0};
    autoinvocation struct invocation before = {0}, after = {0};
    autostrlist struct strlist expected = {0}, words = {0};
    ck_assert(parse_line(test->line, &list, &err) && invocation_read(&list, &before, &err));
    ck_assert_msg(invocation_rewrite(&list, "C,enforce", "pc-q35-7.2", "kvm", &out, &err), "%s: %s",
                  test->line, err.message);
    ck_assert(arglist_render(&out, &words, &err));
    split(test->expected, &expected);
    autofree char *got = strlist_join(&words, "|"), *wanted = strlist_join(&expected, "|");
    ck_assert_str_eq(got, wanted);

    ck_assert(invocation_read(&out, &after, &err));
    ck_assert_str_eq(after.cpu, "C,enforce");
    ck_assert_str_eq(after.machine_type, "pc-q35-7.2");
    ck_assert_uint_eq(after.cpu_count, 1);
    ck_assert_uint_eq(after.accels.count, 1);
    ck_assert_str_eq(after.accels.items[0], "kvm");
    autofree char *options = keyval_render(&before.machine_options);
    autofree char *options_after = keyval_render(&after.machine_options);
    ck_assert_str_eq(options, options_after);
}
END_TEST

START_TEST(rewrite_refuses)
{
    struct error err = ERROR_INIT;
    autoarglist struct arglist list = {0}, out = {0};
    ck_assert(parse_line("q -accel tcg", &list, &err));
    ck_assert(!invocation_rewrite(&list, "max", "pc", "kvm", &out, &err));
    ck_assert_int_eq(err.status, STATUS_INTERNAL);
    ck_assert(!invocation_rewrite(&list, "", "pc", "tcg", &out, &err));
    ck_assert(!invocation_rewrite(&list, "max", "pc,x=y", "tcg", &out, &err));
    ck_assert(!invocation_rewrite(&list, "max", "pc", "tcg:kvm", &out, &err));
    ck_assert_ptr_null(out.program);
    ck_assert(invocation_rewrite(&list, "max", "pc", "tcg", &out, &err));
}
END_TEST

START_TEST(changes_lists)
{
    struct error err = ERROR_INIT;
    autoarglist struct arglist list = {0};
    autostrlist struct strlist words = {0};
    ck_assert(parse_line("q -S -M a x -machine b", &list, &err));
    ck_assert_uint_eq(arglist_count(&list, QEMU_OPTION_MACHINE), 2);
    ck_assert_str_eq(arglist_last(&list, QEMU_OPTION_MACHINE), "b");
    ck_assert_ptr_null(arglist_last(&list, QEMU_OPTION_S));
    ck_assert_uint_eq(arglist_remove(&list, QEMU_OPTION_MACHINE), 2);
    ck_assert_uint_eq(arglist_remove(&list, QEMU_OPTION_MACHINE), 0);
    ck_assert(arglist_append(&list, "-incoming", "defer", &err));
    ck_assert(!arglist_append(&list, "-incoming", NULL, &err));
    ck_assert(!arglist_append(&list, "-S", "on", &err));
    ck_assert(!arglist_append(&list, "-nonsense", NULL, &err));
    ck_assert(arglist_render(&list, &words, &err));
    autofree char *text = strlist_join(&words, " ");
    ck_assert_str_eq(text, "q -S x -incoming defer");
    autoarglist struct arglist empty = {0};
    ck_assert(!arglist_parse(&empty, 0, NULL, &err));
    ck_assert_int_eq(err.status, STATUS_USAGE);
}
END_TEST

/* What keyval reads, it renders so that it reads the same again. */
START_TEST(keyval_roundtrip)
{
    static const struct {
        const char *text, *implied, *rendered;
        enum keyval_syntax syntax;
    } cases[] = {
        {"", "type", "", KEYVAL_DICT},
        {"q35,a=b,,c,d=,", "type", "type=q35,a=b,,c,d=", KEYVAL_DICT},
        {"a=x=y,a=,,", "type", "a=x=y,a=,,", KEYVAL_DICT},
        {"__org.qemu_x-y=1,a_b.0.c=2", NULL, "__org.qemu_x-y=1,a_b.0.c=2", KEYVAL_DICT},
        {"kvm,x,nox,node,id=i", "accel", "accel=kvm,x=on,x=off,de=off,id=i", KEYVAL_OPTS},
        {"a,,b,,,c=1", "k", "k=a,,b,,,c=1", KEYVAL_OPTS},
        {",x=1", "k", "k=,x=1", KEYVAL_OPTS},
        {"no", NULL, "=off", KEYVAL_OPTS},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct error err = ERROR_INIT;
        autokeyval struct keyval keyval = {0}, again = {0};
        ck_assert_msg(keyval_parse(&keyval, cases[i].text, cases[i].syntax, cases[i].implied, &err),
                      "%s: %s", cases[i].text, err.message);
        autofree char *text = keyval_render(&keyval);
        ck_assert_str_eq(text, cases[i].rendered);
        ck_assert(keyval_parse(&again, text, cases[i].syntax, NULL, &err));
        autofree char *twice = keyval_render(&again);
        ck_assert_str_eq(text, twice);
    }
}
END_TEST

START_TEST(keyval_limits)
{
    char key[131];
    memset(key, 'k', sizeof(key));
    struct error err = ERROR_INIT;
    autokeyval struct keyval keyval = {0};
    memcpy(key + 127, "=1", 3);
    ck_assert(keyval_parse(&keyval, key, KEYVAL_DICT, NULL, &err));
    memcpy(key + 127, "k=1", 4);
    autokeyval struct keyval longer = {0};
    ck_assert(!keyval_parse(&longer, key, KEYVAL_DICT, NULL, &err));
    ck_assert(keyval_parse(&longer, key, KEYVAL_OPTS, NULL, &err));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("arglist");
    TCase *tcase = tcase_create("arglist");
    tcase_add_loop_test(tcase, reads, 0, COUNT(read_cases));
    tcase_add_loop_test(tcase, refuses, 0, COUNT(refused_cases));
    tcase_add_loop_test(tcase, rewrites, 0, COUNT(rewrite_cases));
    tcase_add_test(tcase, rewrite_refuses);
    tcase_add_test(tcase, changes_lists);
    tcase_add_test(tcase, keyval_roundtrip);
    tcase_add_test(tcase, keyval_limits);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
