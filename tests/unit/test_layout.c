/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Text and tables that fit a terminal, and stay as they are in a pipe.
 */
#include "unit.h"

#include "base/columns.h"
#include "cli/layout.h"

static size_t widest(const char *text)
{
    size_t most = 0;
    for (;;) {
        size_t length = strcspn(text, "\n");
        most = length > most ? length : most;
        if (!text[length])
            return most;
        text += length + 1;
    }
}

START_TEST(wraps)
{
    static const struct {
        const char *text;
        size_t columns, indent;
        const char *lines;
    } rows[] = {
        {"", 10, 2, ""},
        {"a bc", 10, 2, "a bc"},
        {"one two three", 0, 2, "one two three"},
        {"one two three", 13, 2, "one two three"},
        {"one two three", 12, 2, "one two\n  three"},
        {"one two three", 7, 2, "one two\n  three"},
        {"one two three", 6, 2, "one\n  two\n  three"},
        {"one two  three", 8, 0, "one two\nthree"},
        {"a longestword b", 5, 2, "a\n  longestword\n  b"},
        {"longestword b", 5, 2, "longestword\n  b"},
        {"label   one two", 12, 8, "label   one\n  two"}, /* too little room behind 8 */
        {"label   one two", 16, 8, "label   one two"},
        {"lab     one two and the other", 24, 4, "lab     one two and the\n    other"},
        {"    in deep", 8, 4, "    in\n  deep"},
        {"a b", 1, 0, "a\nb"},
        {"ends ", 4, 0, "ends"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autofree char *lines = columns_wrap(rows[i].text, rows[i].columns, rows[i].indent);
        ck_assert_msg(strcmp(lines, rows[i].lines) == 0, "row %zu: '%s'", i, lines);
    }
}
END_TEST

/* No width loses a word, or makes a line longer than a word needs. */
START_TEST(wraps_at_all_widths)
{
    static const char text[] = "vmx-apicv-register is the word of eighteen, others are short a b c";
    for (size_t columns = 1; columns < 80; columns++) {
        autofree char *lines = columns_wrap(text, columns, 4);
        autostrlist struct strlist words = {0};
        for (char *c = lines; *c; c++)
            *c = *c == '\n' ? ' ' : *c;
        ck_assert(strlist_split(&words, lines, ' '));
        autofree char *joined = strlist_join(&words, " ");
        ck_assert_str_eq(joined, text);
        autofree char *again = columns_wrap(text, columns, 4);
        ck_assert_msg(widest(again) <= (columns > 22 ? columns : 22), "%zu: %s", columns, again);
    }
}
END_TEST

START_TEST(arguments)
{
    static const struct {
        const char *label, *plain, *word;
        size_t columns;
        const char *lines;
    } rows[] = {
        {"-cpu ", "a,b=on,c=off", "a,b=on,c=off", 0, "-cpu a,b=on,c=off"},
        {"-cpu ", "a,b=on,c=off", "a,b=on,c=off", 17, "-cpu a,b=on,c=off"},
        {"-cpu ", "a,b=on,c=off", "a,b=on,c=off", 16, "-cpu a,b=on,\\\nc=off"},
        {"", "aa,bb,cc", "aa,bb,cc", 6, "aa,\\\nbb,cc"}, /* room for the backslash, too */
        {"-cpu ", "'x y,b=on'", "x y,b=on", 80, "-cpu 'x y,b=on'"},
        {"-cpu ", "'a,x y,b=on'", "a,x y,b=on", 15, "-cpu 'a,x y,'\\\nb=on"},
        {"-cpu ", "aaaaaaaaaa,b", "aaaaaaaaaa,b", 8, "-cpu aaaaaaaaaa,\\\nb"},
        {"a long label: ", "a,b", "a,b", 6, "a long label: a,\\\nb"},
        {"-cpu ", "", "", 3, "-cpu "},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autofree char *lines =
            layout_argument(rows[i].label, rows[i].plain, rows[i].word, rows[i].columns);
        ck_assert_msg(strcmp(lines, rows[i].lines) == 0, "row %zu: '%s'", i, lines);
    }
}
END_TEST

static void fill(struct strlist *row, const char *cells)
{
    ck_assert(strlist_split(row, cells, '|'));
}

START_TEST(tables)
{
    struct strlist rows[4] = {{0}};
    static const struct {
        size_t columns;
        const char *lines;
    } cases[] = {
        {0, "VM        MODEL       HOSTS\n"
            "web1      Haswell-v4  a b c d e f g h i j k l m n o p\n"
            "database  -           a\n"
            "other     it cannot be read for some reason"},
        {55, "VM        MODEL       HOSTS\n"
             "web1      Haswell-v4  a b c d e f g h i j k l m n o p\n"
             "database  -           a\n"
             "other     it cannot be read for some reason"},
        {42, "VM        MODEL       HOSTS\n"
             "web1      Haswell-v4  a b c d e f g h i j\n"
             "                      k l m n o p\n"
             "database  -           a\n"
             "other     it cannot be read for some\n"
             "          reason"},
        {41, "web1\n"
             "    MODEL  Haswell-v4\n"
             "    HOSTS  a b c d e f g h i j k l m n o\n"
             "           p\n"
             "database\n"
             "    MODEL  -\n"
             "    HOSTS  a\n"
             "other\n"
             "    it cannot be read for some reason"},
    };
    fill(&rows[0], "VM|MODEL|HOSTS");
    fill(&rows[1], "web1|Haswell-v4|a b c d e f g h i j k l m n o p");
    fill(&rows[2], "database|-|a");
    fill(&rows[3], "other|it cannot be read for some reason");
    for (size_t i = 0; i < COUNT(cases); i++) {
        autofree char *lines = layout_table(rows, COUNT(rows), cases[i].columns);
        ck_assert_msg(strcmp(lines, cases[i].lines) == 0, "%zu columns:\n%s", cases[i].columns,
                      lines);
    }
    for (size_t i = 0; i < COUNT(rows); i++)
        strlist_free(&rows[i]);
}
END_TEST

/* A last column that is one long word: beside the others, or below them, never out of its own. */
START_TEST(long_words_in_tables)
{
    struct strlist rows[2] = {{0}};
    fill(&rows[0], "NAME|PIN");
    fill(&rows[1], "hosthosthost|sha256//AAAAAAAAAAAAAAAAAAAAAAAA");
    autofree char *beside = layout_table(rows, COUNT(rows), 46);
    autofree char *below = layout_table(rows, COUNT(rows), 45);
    ck_assert_str_eq(beside, "NAME          PIN\nhosthosthost  sha256//AAAAAAAAAAAAAAAAAAAAAAAA");
    ck_assert_str_eq(below, "hosthosthost\n    PIN  sha256//AAAAAAAAAAAAAAAAAAAAAAAA");
    for (size_t i = 0; i < COUNT(rows); i++)
        strlist_free(&rows[i]);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {wraps, wraps_at_all_widths, arguments, tables,
                                  long_words_in_tables};
    return unit_run("layout", tests, COUNT(tests));
}
