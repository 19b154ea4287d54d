/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The small parsers, quoting, encodings and error texts, at their boundaries.
 */
#include "unit.h"

#include <errno.h>
#include <stdint.h>

#include "base/deadline.h"
#include "base/digest.h"
#include "base/paths.h"

#define A63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ANY UINT64_MAX

START_TEST(numbers)
{
    static const struct {
        const char *text;
        uint64_t min, max, value;
        bool good;
    } rows[] = {
        {"0", 0, ANY, 0, true},
        {"1", 0, ANY, 1, true},
        {"9", 0, 9, 9, true},
        {"10", 0, 9, 0, false},
        {"65535", 1, 65535, 65535, true},
        {"65536", 1, 65535, 0, false},
        {"0", 1, 65535, 0, false},
        {"18446744073709551615", 0, ANY, ANY, true},
        {"18446744073709551616", 0, ANY, 0, false},
        {"18446744073709551620", 0, ANY, 0, false},
        {"99999999999999999999", 0, ANY, 0, false},
        {"184467440737095516150", 0, ANY, 0, false},
        {"00", 0, ANY, 0, false},
        {"01", 0, ANY, 0, false},
        {"+1", 0, ANY, 0, false},
        {"-1", 0, ANY, 0, false},
        {"-0", 0, ANY, 0, false},
        {" 1", 0, ANY, 0, false},
        {"1 ", 0, ANY, 0, false},
        {"1\n", 0, ANY, 0, false},
        {"", 0, ANY, 0, false},
        {NULL, 0, ANY, 0, false},
        {"0x10", 0, ANY, 0, false},
        {"1e3", 0, ANY, 0, false},
        {"1.0", 0, ANY, 0, false},
        {"a", 0, ANY, 0, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint64_t value = 4711;
        bool good = parse_number(rows[i].text, rows[i].min, rows[i].max, &value);
        ck_assert_msg(good == rows[i].good, "row %zu '%s'", i, rows[i].text);
        ck_assert_msg(value == (good ? rows[i].value : 4711), "row %zu '%s'", i, rows[i].text);
    }
}
END_TEST

START_TEST(names)
{
    /* A bit for each kind that takes the text: feature, host, machine, model, VM. */
    enum { F = 1, H = 2, M = 4, C = 8, V = 16, LOWER = F | H | M | C | V };
    static const struct {
        const char *text;
        int kinds;
    } rows[] = {
        {"a", LOWER},
        {"0", LOWER},
        {"sse4.1", LOWER},
        {"kvm-pv-eoi", LOWER},
        {"a_b", LOWER},
        {A63 "b", LOWER},
        {A63 "bb", 0},
        {"", 0},
        {NULL, 0},
        {".a", 0},
        {"-a", 0},
        {"_a", 0},
        {"+a", 0},
        {"a+", M},
        {"Haswell-v4", C | V},
        {"aB", C | V},
        {"a,b", 0},
        {"a=b", 0},
        {"a b", 0},
        {" a", 0},
        {"a ", 0},
        {"a\n", 0},
        {"a/b", 0},
        {"../a", 0},
        {"a:b", 0},
        {"a\x80", 0},
        {"\xc3\xa4", 0},
        {"a%s", 0},
    };
    bool (*const checks[])(const char *) = {name_is_feature, name_is_host, name_is_machine,
                                            name_is_model, name_is_vm};
    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t k = 0; k < COUNT(checks); k++)
            ck_assert_msg(checks[k](rows[i].text) == ((rows[i].kinds >> k & 1) != 0),
                          "row %zu '%s', kind %zu", i, rows[i].text, k);
}
END_TEST

START_TEST(addresses)
{
    static const struct {
        const char *text, *host; /* host NULL: refused */
        unsigned port;           /* 7: left as it was */
    } rows[] = {
        {"host", "host", 7},
        {"host:1", "host", 1},
        {"host:65535", "host", 65535},
        {"host:65536", NULL, 7},
        {"host:0", NULL, 7},
        {"host:", NULL, 7},
        {"host:01", NULL, 7},
        {"host:+1", NULL, 7},
        {"host:1 ", NULL, 7},
        {"host: 1", NULL, 7},
        {"host:1:2", NULL, 7},
        {":1", "", 1},
        {":", NULL, 7},
        {"", NULL, 7},
        {"127.0.0.1:80", "127.0.0.1", 80},
        {"a.b-c_d", "a.b-c_d", 7},
        {"-a", NULL, 7},
        {"a b", NULL, 7},
        {"a/b", NULL, 7},
        {"a@b", NULL, 7},
        {"a%b", NULL, 7},
        {"[::1]", "::1", 7},
        {"[::1]:65535", "::1", 65535},
        {"[::1]:65536", NULL, 7},
        {"[::1]:", NULL, 7},
        {"[::1]1", NULL, 7},
        {"[::1", NULL, 7},
        {"[]", NULL, 7},
        {"[]:1", NULL, 7},
        {"[host]:1", NULL, 7},
        {"[127.0.0.1]:1", NULL, 7},
        {"[::ffff:1.2.3.4]:1", "::ffff:1.2.3.4", 1},
        {"[fe80::1%eth0]:1", NULL, 7},
        {"::1", NULL, 7},
        {"fe80::1:2", NULL, 7},
        {"host\n", NULL, 7},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autofree char *host = NULL;
        uint16_t port = 7;
        bool good = parse_address(rows[i].text, &host, &port);
        ck_assert_msg(good == (rows[i].host != NULL), "'%s'", rows[i].text);
        ck_assert_msg(port == rows[i].port, "'%s': port %u", rows[i].text, port);
        ck_assert_msg(good ? strcmp(host, rows[i].host) == 0 : host == NULL, "'%s'", rows[i].text);
    }
    /* The longest name of DNS and one byte more. */
    char longest[256];
    memset(longest, 'a', sizeof(longest));
    for (size_t length = 253; length <= 254; length++) {
        autofree char *host = NULL;
        uint16_t port;
        longest[length] = '\0';
        ck_assert_int_eq(parse_address(longest, &host, &port), length == 253);
        longest[length] = 'a';
    }
}
END_TEST

START_TEST(quoting_is_read_back_by_a_shell)
{
    char all[256];
    for (int i = 1; i < 256; i++)
        all[i - 1] = (char)i;
    all[255] = '\0';
    const char *const texts[] = {
        "",       "a",     "a b", "'",   "''",  "'a'",      "a'b'c", "\\",     "\\'",      "$HOME",
        "`id`",   "$(id)", "\"",  "a\n", "\n",  "*",        "~",     "#x",     "-n",       "a;b",
        "a&b",    "a|b",   "!x",  "{a}", "[a]", "%s%n",     "a=b",   "id=x,,", "q35,a=on", "\t a ",
        "a\\\nb", "?",     "<",   ">",   "(",   "\xc3\xa4", all,
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        autofree char *quoted = shell_quote(texts[i]);
        autofree char *command =
            string_format("exec sh -c 'printf %%s \"$1\"; printf .%%s $#' sh %s", quoted);
        FILE *pipe = popen(command, "r");
        ck_assert_ptr_nonnull(pipe);
        char back[600];
        size_t length = fread(back, 1, sizeof(back), pipe);
        ck_assert_int_eq(pclose(pipe), 0);
        size_t wanted = strlen(texts[i]);
        ck_assert_msg(length == wanted + 2 && memcmp(back, texts[i], wanted) == 0 &&
                          memcmp(back + wanted, ".1", 2) == 0,
                      "text %zu became %s", i, quoted);
    }
    autofree char *plain = shell_quote("/usr/bin/qemu-system-x86_64");
    ck_assert_str_eq(plain, "/usr/bin/qemu-system-x86_64");
}
END_TEST

START_TEST(plain_text)
{
    static const struct {
        const char *text, *plain;
        size_t max;
    } rows[] = {
        {NULL, "", 9},
        {"", "", 0},
        {"abc", "abc", 3},
        {"abc", "ab", 2},
        {"a b  ", "a b", 9},
        {" a", " a", 9},
        {"a\nb", "ab", 9},
        {"a\xc3\xa4\x7f"
         "b",
         "ab", 9},
        {"ab  c", "ab", 4},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autofree char *plain = string_plain(rows[i].text, rows[i].max);
        ck_assert_str_eq(plain, rows[i].plain);
    }
}
END_TEST

/* What a person is to look at before it is used. */
START_TEST(shown_as_it_is)
{
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {"", true},
        {"-drive file=/x,y='~'", true},
        {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xd7\x90", true},
        {"a\x1b[2J", false},
        {"a\nb", false},
        {"\x7f", false},
        {"a\xc2\x9b", false}, /* CSI as one character */
        {"a\x9b", false},     /* and as one byte */
        {"\xff", false},
        {"\xc3", false}, /* cut off */
        {"\xc3z", false},
        {"\xc0\xaf", false}, /* longer than need be: '/' */
        {"\xe0\x80\xaf", false},
        {"\xed\xa0\x80", false},     /* half of a pair of UTF-16 */
        {"\xf4\x90\x80\x80", false}, /* beyond Unicode */
        {"\xf8\x88\x80\x80\x80", false},
        {"ab\xe2\x80\xaeyx", false}, /* U+202E: from right to left */
        {"ab\xe2\x81\xa6yx", false}, /* U+2066 */
        {"a\xe2\x80\x8b", false},    /* U+200B: no width */
        {"\xef\xbb\xbf", false},     /* U+FEFF */
        {"\xe2\x80\xa8", false},     /* U+2028: a line's end */
        {"\xc2\xad", false},         /* U+00AD */
        {"\xf3\xa0\x81\x81", false}, /* U+E0041, a tag */
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        ck_assert_msg(text_can_be_shown(rows[i].text) == rows[i].good, "row %zu", i);
}
END_TEST

START_TEST(lists)
{
    static const struct {
        const char *text, *joined;
    } rows[] = {
        {"", ""},           {"a", "a"},     {"a,b", "a|b"}, {",a,,b,", "a|b"},
        {" a , b ", "a|b"}, {" , ,\t", ""}, {"a b", "a b"}, {"a\n,b", "a|b"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autostrlist struct strlist list = {0};
        ck_assert(strlist_split(&list, rows[i].text, ','));
        autofree char *joined = strlist_join(&list, "|");
        ck_assert_str_eq(joined, rows[i].joined);
    }
    autostrlist struct strlist many = {0};
    for (int i = 0; i < 100; i++) {
        ck_assert(strlist_pushf(&many, "%d", i));
        ck_assert_ptr_null(many.items[many.count]);
    }
    ck_assert(strlist_contains(&many, "99") && !strlist_contains(&many, "100"));
    ck_assert(!strlist_push_owned(&many, NULL));
    ck_assert_uint_eq(many.count, 100);
    autostrlist struct strlist mixed = {0}, none = {0};
    ck_assert(strlist_split(&mixed, "b,a,c,a,b,a,A", ','));
    strlist_sort(&mixed);
    autofree char *sorted = strlist_join(&mixed, ",");
    ck_assert_str_eq(sorted, "A,a,b,c");
    ck_assert_ptr_null(mixed.items[4]);
    strlist_sort(&none);
    ck_assert_uint_eq(none.count, 0);
}
END_TEST

START_TEST(growing)
{
    autostrbuf struct strbuf buf = {0};
    for (int i = 0; i < 1000; i++)
        strbuf_printf(&buf, "%03d", i);
    ck_assert_uint_eq(buf.length, 3000);
    ck_assert_int_eq(strncmp(buf.data + 2997, "999", 4), 0);
    strbuf_add(&buf, "", 0);
    strbuf_add(&buf, "x", SIZE_MAX / 2);
    ck_assert(buf.failed);
    strbuf_puts(&buf, "later");
    ck_assert_uint_eq(buf.length, 3000);
    ck_assert_ptr_null(strbuf_steal(&buf));
    autofree char *empty = strbuf_steal(&buf);
    ck_assert_str_eq(empty, "");
}
END_TEST

START_TEST(base64)
{
    static const struct {
        const char *text, *bytes; /* NULL: refused */
    } normal[] =
        {
            {"", ""},           {"Zg==", "f"},        {"Zm8=", "fo"},
            {"Zm9v", "foo"},    {"Zm9vYg==", "foob"}, {"+/+/", "\xfb\xff\xbf"},
            {"Zg=", NULL},      {"Zg", NULL},         {"Zh==", NULL},
            {"Zm9=", NULL},     {"Z===", NULL},       {"====", NULL},
            {"=", NULL},        {"==", NULL},         {"Zg==\n", NULL},
            {" Zg==", NULL},    {"Zm9v\n", NULL},     {"Zm 9", NULL},
            {"Zg==Zg==", NULL}, {"-_-_", NULL},       {"Zm9v=", NULL},
            {"Zm9v====", NULL}, {"Zm9\x80", NULL},
        },
      url[] = {
          {"", ""},
          {"Zg", "f"},
          {"Zm8", "fo"},
          {"Zm9v", "foo"},
          {"-_-_", "\xfb\xff\xbf"},
          {"Zg==", NULL},
          {"Zh", NULL},
          {"Zm9", NULL},
          {"Z", NULL},
          {"Zm9vY", NULL},
          {"+/+/", NULL},
          {"Zg\n", NULL},
          {"Zm9v ", NULL},
          {"Z.g", NULL},
      };
    for (size_t i = 0; i < COUNT(normal) + COUNT(url); i++) {
        bool is_url = i >= COUNT(normal);
        const char *text = is_url ? url[i - COUNT(normal)].text : normal[i].text;
        const char *bytes = is_url ? url[i - COUNT(normal)].bytes : normal[i].bytes;
        autofree uint8_t *data = NULL;
        size_t length = 4711;
        struct error err = ERROR_INIT;
        bool good = (is_url ? base64url_decode : base64_decode)(text, &data, &length, &err);
        ck_assert_msg(good == (bytes != NULL), "'%s'", text);
        if (!good) {
            ck_assert_int_eq(err.status, STATUS_DATA);
            ck_assert(!data && length == 4711);
            continue;
        }
        ck_assert_uint_eq(length, strlen(bytes));
        ck_assert_mem_eq(data, bytes, length);
        autofree char *again = (is_url ? base64url_encode : base64_encode)(data, length);
        ck_assert_str_eq(again, text);
    }
    uint8_t bytes[97];
    for (size_t n = 0; n < sizeof(bytes); n++) {
        autofree char *text = NULL;
        autofree uint8_t *back = NULL;
        size_t length;
        bytes[n] = (uint8_t)(n * 37);
        text = base64url_encode(bytes, n);
        ck_assert(base64url_decode(text, &back, &length, NULL));
        ck_assert_uint_eq(length, n);
        ck_assert_int_eq(memcmp(back, bytes, n), 0);
    }
}
END_TEST

START_TEST(digests)
{
    char hex[DIGEST_HEX_SIZE], other[DIGEST_HEX_SIZE];
    MUST(digest_hex("abc", 3, hex, &err)); /* FIPS 180-4's example */
    ck_assert_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    ck_assert(digest_is_hex(hex));
    hex[3] = 'B';
    ck_assert(!digest_is_hex(hex));
    hex[63] = '\0';
    ck_assert(!digest_is_hex(hex) && !digest_is_hex(""));
    MUST(random_hex(32, hex, &err));
    MUST(random_hex(32, other, &err));
    ck_assert(digest_is_hex(hex));
    ck_assert_str_ne(hex, other);
    MUST_FAIL(STATUS_INTERNAL, "random", random_hex(65, hex, &err));
}
END_TEST

START_TEST(errors)
{
    struct error err = ERROR_INIT;
    ck_assert(!error_set(&err, STATUS_DATA, "a\nb\x1b[1m%s", "\x80"));
    ck_assert_str_eq(err.message, "a?b?[1m?");
    ck_assert(!error_wrap(&err, "%s", "context"));
    ck_assert_int_eq(err.status, STATUS_DATA);
    ck_assert_str_eq(err.message, "context: a?b?[1m?");
    ck_assert(!error_set(&err, STATUS_USAGE, "<%s>", err.message));
    ck_assert_str_eq(err.message, "<context: a?b?[1m?>");
    ck_assert(!error_set_errno(&err, STATUS_CONFIG, 2, "x"));
    ck_assert_str_eq(err.message, "x: No such file or directory");
    /* Want of memory says nothing about what it was needed for. */
    ck_assert(!error_set_errno(&err, STATUS_CONFIG, ENOMEM, "x"));
    ck_assert_int_eq(err.status, STATUS_INTERNAL);
    ck_assert_str_eq(err.message, "x: Cannot allocate memory");
    errno = ENOMEM;
    ck_assert(!error_refuse(&err, STATUS_DATA, "not a %s", "number"));
    ck_assert_int_eq(err.status, STATUS_INTERNAL);
    ck_assert_str_eq(err.message, "out of memory");
    errno = EINVAL;
    ck_assert(!error_refuse(&err, STATUS_DATA, "not a %s", "number"));
    ck_assert_int_eq(err.status, STATUS_DATA);
    ck_assert_str_eq(err.message, "not a number");
    for (int i = 0; i < 2; i++) {
        if (i == 0)
            error_set(&err, STATUS_DATA, "%0*d", 5000, 1);
        else
            error_wrap(&err, "%s", "more");
        ck_assert_uint_eq(strlen(err.message), ERROR_MESSAGE_SIZE - 1);
        ck_assert_str_eq(err.message + ERROR_MESSAGE_SIZE - 4, "...");
    }
    ck_assert(!error_set(NULL, STATUS_DATA, "x") && !error_wrap(NULL, "x"));
    ck_assert(!error_set_errno(NULL, STATUS_DATA, 2, "x") && !error_no_memory(NULL));
    ck_assert(!error_refuse(NULL, STATUS_DATA, "x"));
}
END_TEST

START_TEST(deadlines)
{
    ck_assert_int_eq(deadline_left_ms(DEADLINE_NEVER), -1);
    ck_assert_int_eq(deadline_left_ms(deadline_in_ms(0)), 0);
    ck_assert_int_eq(deadline_left_ms(clock_now_ms() - 1000), 0);
    ck_assert_int_eq(deadline_left_ms(deadline_in_ms(INT64_MAX)), -1);
    ck_assert_int_eq(deadline_left_ms(deadline_in_ms((int64_t)INT32_MAX * 2)), INT32_MAX);
    int left = deadline_left_ms(deadline_in_ms(60000));
    ck_assert_int_gt(left, 50000);
    ck_assert_int_le(left, 60000);
}
END_TEST

START_TEST(folders_of_a_host)
{
    autopaths struct paths paths = {0};
    MUST(paths_init(&paths, "/h", &err));
    ck_assert_str_eq(paths.config, "/h/config");
    ck_assert_str_eq(paths.state, "/h/state");
    ck_assert_str_eq(paths.run, "/h/run");
    paths_free(&paths);
    ck_assert_int_eq(setenv("QEMU_MIGRATE_LAUNCH_HOME", "rel", 1), 0);
    ck_assert_int_eq(chdir(unit_folder), 0);
    MUST(paths_init(&paths, NULL, &err));
    autofree char *config = in_folder("rel/config");
    ck_assert_str_eq(paths.config, config);
    paths_free(&paths);
    ck_assert_int_eq(unsetenv("QEMU_MIGRATE_LAUNCH_HOME"), 0);
    if (geteuid() == 0) {
        MUST(paths_init(&paths, NULL, &err));
        ck_assert_str_eq(paths.run, "/run/qemu-migrate-launch");
        paths_free(&paths);
        ck_assert_int_eq(seteuid(65534), 0);
    }
    setenv("HOME", "/home/u", 1);
    setenv("XDG_STATE_HOME", "/s", 1);
    setenv("XDG_CONFIG_HOME", "relative", 1); /* to be ignored */
    MUST(paths_init(&paths, NULL, &err));
    ck_assert_str_eq(paths.config, "/home/u/.config/qemu-migrate-launch");
    ck_assert_str_eq(paths.state, "/s/qemu-migrate-launch");
    ck_assert_str_eq(paths.run, "/s/qemu-migrate-launch/run");
    paths_free(&paths);
    unsetenv("HOME");
    unsetenv("XDG_CONFIG_HOME");
    MUST_FAIL(STATUS_CONFIG, "--home", paths_init(&paths, NULL, &err));
    if (getuid() == 0)
        ck_assert_int_eq(seteuid(0), 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        numbers,
        names,
        addresses,
        quoting_is_read_back_by_a_shell,
        plain_text,
        shown_as_it_is,
        lists,
        growing,
        base64,
        digests,
        errors,
        deadlines,
        folders_of_a_host,
    };
    return unit_run("strings", tests, COUNT(tests));
}
