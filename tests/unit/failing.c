/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "failing.h"

#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

#include "unit.h"

/* Calls from the program's own objects come here, those inside libraries do not. vasprintf has
 * another name where its format is checked at run time (_FORTIFY_SOURCE). */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t length);
int __real_vasprintf(char **text, const char *format, va_list args);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t length);
int __wrap_vasprintf(char **text, const char *format, va_list args);
int __wrap___vasprintf_chk(char **text, int flag, const char *format, va_list args);

bool failing_jansson, failing_openssl, failing_libcurl;
static _Thread_local bool here;    /* in the thread that failing_at was called in */
static _Atomic unsigned long left; /* the allocation that fails when it is 1; 0: none will */
static _Atomic bool failed;

void failing_at(unsigned long n)
{
    here = true;
    failed = false;
    left = n;
}

void failing_stop(void)
{
    left = 0;
}

bool failing_has_failed(void)
{
    return failed;
}

static bool fails(void)
{
    unsigned long now = here ? left : 0;
    while (now > 0 && !atomic_compare_exchange_weak(&left, &now, now - 1))
        continue;
    if (now != 1)
        return false;
    failed = true;
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
    return fails() ? NULL : __real_reallocarray(old, count, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t length)
{
    return fails() ? NULL : __real_strndup(text, length);
}

int __wrap_vasprintf(char **text, const char *format, va_list args)
{
    return fails() ? -1 : __real_vasprintf(text, format, args);
}

int __wrap___vasprintf_chk(char **text, int flag, const char *format, va_list args)
{
    return __wrap_vasprintf(text, format, args);
}

static void *jansson_malloc(size_t size)
{
    return failing_jansson && fails() ? NULL : __real_malloc(size);
}

static void *openssl_malloc(size_t size, const char *file, int line)
{
    return failing_openssl && fails() ? NULL : __real_malloc(size);
}

static void *openssl_realloc(void *old, size_t size, const char *file, int line)
{
    return failing_openssl && fails() ? NULL : __real_realloc(old, size);
}

static void openssl_free(void *old, const char *file, int line)
{
    free(old);
}

static void *curl_malloc(size_t size)
{
    return failing_libcurl && fails() ? NULL : __real_malloc(size);
}

static void *curl_realloc(void *old, size_t size)
{
    return failing_libcurl && fails() ? NULL : __real_realloc(old, size);
}

static char *curl_strdup(const char *text)
{
    return failing_libcurl && fails() ? NULL : __real_strdup(text);
}

static void *curl_calloc(size_t count, size_t size)
{
    return failing_libcurl && fails() ? NULL : __real_calloc(count, size);
}

void failing_setup(void)
{
    json_set_alloc_funcs(jansson_malloc, free);
    CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free);
    curl_global_init_mem(CURL_GLOBAL_ALL, curl_malloc, free, curl_realloc, curl_strdup,
                         curl_calloc);
}

void failing_play_with(const char *name, void (*prepare)(void), bool (*scene)(struct error *err))
{
    const unsigned long step = getenv("QML_FEW") ? 7 : 1; /* under valgrind */
    unsigned long n = 0;
    bool failed_here;
    do {
        struct error err = ERROR_INIT;
        if (prepare)
            prepare();
        failing_at(n += step);
        bool good = scene(&err);
        failed_here = failing_has_failed();
        failing_stop();
        ck_assert_msg(good || failed_here, "%s: %s", name, err.message);
        /* what opens or writes a file says why it could not, with its own status */
        ck_assert_msg(good || err.status == STATUS_INTERNAL ||
                          strstr(err.message, strerror(ENOMEM)),
                      "%s: allocation %lu: status %d: %s", name, n, err.status, err.message);
        ck_assert_uint_lt(n, 100000);
    } while (failed_here);
    ck_assert_msg(n > step || step > 1, "%s: no allocation", name);
}

void failing_play(const char *name, bool (*scene)(struct error *err))
{
    failing_play_with(name, NULL, scene);
}
