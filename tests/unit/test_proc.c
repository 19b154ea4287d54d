/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Files of /proc: as the kernel writes them, and with names and paths that try to look like more.
 */
#include <sys/prctl.h>

#include "base/file.h"
#include "base/proc.h"
#include "unit.h"

#define FIELDS " S 1 1 1 0 -1 4194304 5 6 7 8 9 10 11 12 20 0 1 0 "

START_TEST(words)
{
    static const struct {
        const char *text;
        size_t length;
        const char *joined;
    } cases[] = {
        {"", 0, ""}, {"\0", 1, ""}, {"a\0b c\0", 6, "a|b c"}, {"a\0\0b", 4, "a||b"}, {"a", 1, "a"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        autostrlist struct strlist list = {0};
        ck_assert(proc_words(cases[i].text, cases[i].length, &list));
        autofree char *joined = strlist_join(&list, "|");
        ck_assert_str_eq(joined, cases[i].joined);
    }
}
END_TEST

START_TEST(stat_of)
{
    static const struct {
        const char *text;
        char state;
        uint64_t started; /* 0: not valid */
    } cases[] = {
        {"7 (qemu)" FIELDS "42 0 0\n", 'S', 42},
        {"7 (a) Z 1 (b)" FIELDS "42 0 0\n", 'S', 42},
        {"7 (\n)" FIELDS "18446744073709551615\n", 'S', UINT64_MAX},
        {"7 (qemu) S 1 1\n", 0, 0},
        {"7 (qemu)", 0, 0},
        {"7 qemu" FIELDS "42\n", 0, 0},
        {"", 0, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char state = 0;
        uint64_t started = 0;
        ck_assert_msg(proc_stat(cases[i].text, &state, &started) == (cases[i].started > 0), "%s",
                      cases[i].text);
        ck_assert_int_eq(state, cases[i].state);
        ck_assert_uint_eq(started, cases[i].started);
    }
}
END_TEST

/* The kernel's own words about a process whose name is made to mislead. */
START_TEST(own_stat)
{
    autofree char *plain = NULL, *odd = NULL;
    size_t length;
    char state;
    uint64_t started, also;
    MUST(file_read("/proc/self/stat", 4096, false, &plain, &length, &err));
    ck_assert_int_eq(prctl(PR_SET_NAME, "a) Z 1 2 (3 ) 4"), 0);
    MUST(file_read("/proc/self/stat", 4096, false, &odd, &length, &err));
    ck_assert(strstr(odd, "(a) Z 1 2 (3 ) 4)"));
    ck_assert(proc_stat(plain, &state, &started) && proc_stat(odd, &state, &also));
    ck_assert_uint_eq(started, also);
    ck_assert_int_eq(state, 'R');
}
END_TEST

#define MAP "7f00-7f01 r-xp 00000000 08:02 5678                       "
#define DATA "7f00-7f01 rw-p 00000000 08:02 5678                       "

START_TEST(mapped)
{
    static const struct {
        const char *line, *path;
    } cases[] = {
        {MAP "/usr/bin/qemu\n", "/usr/bin/qemu"},
        {MAP "/a b/c (deleted)\n", "/a b/c (deleted)"},
        {MAP "/a", "/a"},
        {MAP "/memfd:x (deleted)\n", NULL},
        {MAP "[heap]\n", NULL},
        {MAP "anon_inode:/x\n", NULL},
        {"/\n", NULL},
        {"\n", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        autofree char *line = strdup(cases[i].line);
        const char *path = proc_mapped_path(line);
        ck_assert_msg(!path == !cases[i].path, "%s", cases[i].line);
        ck_assert(!path || strcmp(path, cases[i].path) == 0);
    }
}
END_TEST

START_TEST(executed)
{
    static const char maps[] = DATA "/a\n" MAP "/b c\n" MAP "[vdso]\n" DATA "/d\n" MAP "/e";
    static const char *const yes[] = {"/b c", "/e"}, *const no[] = {"/a", "/d", "c",
                                                                    "/b", "/",  "x/e"};
    for (size_t i = 0; i < COUNT(yes); i++)
        ck_assert_msg(proc_executes(maps, yes[i]), "%s", yes[i]);
    for (size_t i = 0; i < COUNT(no); i++)
        ck_assert_msg(!proc_executes(maps, no[i]), "%s", no[i]);
    ck_assert(!proc_executes("", "/a") && !proc_executes("\n \n", "") &&
              !proc_executes("a ", "/a"));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {words, stat_of, own_stat, mapped, executed};
    return unit_run("proc", tests, COUNT(tests));
}
