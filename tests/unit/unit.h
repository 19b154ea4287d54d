/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the unit tests share: running a suite, a folder for each test, errors as failures.
 */
#ifndef QML_TESTS_UNIT_H
#define QML_TESTS_UNIT_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/strings.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What is said when an assertion holds, so that the place of a crash is about known: check writes
 * it to a file, and reads all of that in the end, which took most of the time where there are
 * millions. Each line says it once a test. */
static inline void unit_mark(const char *file, int line)
{
    static bool passed[4096];
    if ((size_t)line < COUNT(passed) && passed[line])
        return;
    if ((size_t)line < COUNT(passed))
        passed[line] = true;
    _mark_point(file, line);
}
#define _mark_point(file, line) unit_mark(file, line)

/* Evaluates call, in which `&err` is a fresh error, and fails with its message. */
#define MUST(call)                                                                                 \
    do {                                                                                           \
        struct error err = ERROR_INIT;                                                             \
        ck_assert_msg((call), "%s: %s", #call, err.message);                                       \
    } while (0)

/* The same for a call that must fail with that status and `words` in its message. */
#define MUST_FAIL(wanted, words, call)                                                             \
    do {                                                                                           \
        struct error err = ERROR_INIT;                                                             \
        ck_assert_msg(!(call), "%s: did not fail", #call);                                         \
        check_error(&err, (wanted), (words), #call);                                               \
    } while (0)

static inline void check_error(const struct error *err, enum status status, const char *words,
                               const char *what)
{
    ck_assert_msg(err->status == status, "%s: status %d, not %d: %s", what, err->status, status,
                  err->message);
    ck_assert_msg(err->message[0] && strstr(err->message, words), "%s: '%s' is not in: %s", what,
                  words, err->message);
}

/* Of so many cases those to go through: with QML_FEW in the environment (valgrind is thirty times
 * as slow) a twentieth. */
static inline int unit_rounds(int all)
{
    return getenv("QML_FEW") ? all / 20 : all;
}

/* A folder of its own for each test. */
static char unit_folder[64];

static inline void unit_folder_make(void)
{
    snprintf(unit_folder, sizeof(unit_folder), "/tmp/qml-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(unit_folder));
}

static inline void unit_folder_remove(void)
{
    autofree char *command = string_format("rm -rf '%s'", unit_folder);
    ck_assert_int_eq(system(command), 0);
}

static inline char *in_folder(const char *name)
{
    char *path = string_format("%s/%s", unit_folder, name);
    ck_assert_ptr_nonnull(path);
    return path;
}

/* What is there for each test, or (once) for all of them: made before the first one is forked. */
struct unit_fixture {
    SFun setup, teardown;
    bool once;
};

/* What main() returns. */
static inline int unit_run_with(const char *name, const TTest *const tests[], size_t count,
                                const struct unit_fixture *fixture)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    if (fixture->once)
        tcase_add_unchecked_fixture(tcase, fixture->setup, fixture->teardown);
    else
        tcase_add_checked_fixture(tcase, fixture->setup, fixture->teardown);
    tcase_set_timeout(tcase, 300); /* under sanitizers on a busy machine */
    for (size_t i = 0; i < count; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

/* The same with a folder for each test. */
static inline int unit_run(const char *name, const TTest *const tests[], size_t count)
{
    const struct unit_fixture folder = {.setup = unit_folder_make, .teardown = unit_folder_remove};
    return unit_run_with(name, tests, count, &folder);
}

#endif
