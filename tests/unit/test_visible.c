/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Two command lines as a guest sees them; and the file that has one.
 */
#include "unit.h"

#include "base/file.h"
#include "base/json.h"
#include "vm/args_file.h"
#include "vm/secrets.h"
#include "vm/visible_host.h"
#include "vm/visible_private.h"

static void parse(const char *line, struct arglist *list)
{
    autostrlist struct strlist words = {0};
    autofree char *whole = string_format("qemu %s", line);
    MUST(args_parse("line", whole, &words, &err));
    MUST(arglist_parse(list, (int)words.count, words.items, &err));
}

/* As a list that came from another host. */
static void read_line(const char *line, struct visible_list *list)
{
    autoarglist struct arglist arguments = {0};
    autovisiblelist struct visible_list own = {0};
    parse(line, &arguments);
    MUST(visible_list_read(&arguments, &own, &err));
    autojson json_t *json = visible_to_json(&own);
    ck_assert_ptr_nonnull(json);
    autofree char *text = json_to_text(json);
    autojson json_t *back = NULL;
    MUST((back = json_parse_strict(text, strlen(text), VISIBLE_SIZE_MAX, &err)) != NULL);
    MUST(visible_from_json(back, "the list", list, &err));
}

/* What is said of two lines, of the hosts a and b: differences, then doubts, each on a line. */
static char *compare(const char *one, const char *other)
{
    autovisiblelist struct visible_list own = {0}, their = {0};
    autovisiblefound struct visible_found found = {0};
    read_line(one, &own);
    read_line(other, &their);
    MUST(visible_compare(&own, "a", &their, "b", NULL, &found, &err));
    for (size_t i = 0; i < found.doubts.count; i++)
        ck_assert(strlist_pushf(&found.differences, "? %s", found.doubts.items[i]));
    return strlist_join(&found.differences, "\n");
}

/* visible_cases.def. */
static const struct visible_case {
    const char *row, *one, *other, *said; /* NULL: nothing, either way round */
} cases[] = {
#define QUIET(row, one, other) {row, one, other, NULL},
#define SAID(row, one, other, text) {row, one, other, text},
#include "visible_cases.def"
#undef QUIET
#undef SAID
};

START_TEST(all_cases)
{
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct visible_case *row = &cases[i];
        autofree char *said = compare(row->one, row->other);
        autofree char *back = compare(row->other, row->one);
        ck_assert_msg(strcmp(said, row->said ? row->said : "") == 0, "%s | %s:\n%s", row->one,
                      row->other, said);
        ck_assert_msg(!*said == !*back, "%s | %s:\n%s\nbut the other way round:\n%s", row->one,
                      row->other, said, back);
    }
}
END_TEST

static void check_row(const char *name, bool quiet, bool said)
{
    for (size_t i = 0; i < COUNT(cases); i++)
        if (strcmp(cases[i].row, name) == 0) {
            quiet = quiet && cases[i].said;
            said = said && !cases[i].said;
        }
    ck_assert_msg(!quiet, "visible_cases.def has no QUIET row for %s", name);
    ck_assert_msg(!said, "visible_cases.def has no SAID row for %s", name);
}

/* These only print something. */
static bool is_query(const char *option)
{
    static const char *const names[] = {"h", "help", "version", "audio-help", "dump-vmstate"};
    for (size_t i = 0; i < COUNT(names); i++)
        if (strcmp(names[i], option) == 0)
            return true;
    return false;
}

/* Every row of visible.def has its case: what a guest does not see is QUIET, what it sees is SAID;
 * and what is compared in another form than it is written, both. */
START_TEST(every_row)
{
    size_t count;
    const struct visible_option *options = visible_option_rows(&count);
    for (size_t i = 0; i < count; i++)
        if (!is_query(options[i].name))
            check_row(options[i].name, options[i].kind == VISIBLE_HOST,
                      options[i].kind != VISIBLE_HOST);
    const struct visible_key *keys = visible_key_rows(&count);
    for (size_t i = 0; i < count; i++) {
        enum visible_how how = keys[i].how;
        autofree char *name = string_format("%s.%s", keys[i].option, keys[i].key);
        check_row(name, how != VISIBLE_SEEN && how != VISIBLE_TOLD, how != VISIBLE_IGNORED);
    }
    const struct visible_default *defaults = visible_default_rows(&count);
    for (size_t i = 0; i < count; i++) {
        autofree char *name = string_format("%s.%s=", defaults[i].option, defaults[i].key);
        check_row(name, true, strcmp(name, "m.size=") != 0);
    }
}
END_TEST

/* What another host says does not reach a terminal as it is. */
START_TEST(escaped)
{
    autofree char *said = compare("-uuid a", "-uuid '\033[31m'");
    ck_assert_str_eq(said, "-uuid is a on a and \\x1b[31m on b");
    char line[3000] = "-device '";
    memset(line + strlen(line), 'x', 2000);
    strcat(line, "'");
    autofree char *longer = compare("", line);
    ck_assert_uint_lt(strlen(longer), 150);
    ck_assert_ptr_nonnull(strstr(longer, "xxx... is on b and not on a"));
    autofree char *same = compare(line, line);
    ck_assert_str_eq(same, "");
}
END_TEST

/* What other hosts get to see of a command line. */
START_TEST(secrets)
{
    static const struct {
        const char *line, *told;
    } rows[] = {
        {"-m 1G,, -name x", "-m|1G,,|-name|x"}, /* byte for byte */
        {"-object secret,id=s,data=x -m 1", "-m|1"},
        {"-object qom-type=secret_keyring,id=s", ""},
        {"-object '{\"qom-type\":\"secret\",\"data\":\"x\"}'", ""},
        {"-object '{\"data\":\"x\"}'", ""},
        {"-object tls-creds-x509,id=t,dir=/x", ""},
        {"-object rng-random,id=r", "-object|rng-random,id=r"},
        {"-set object.s.data=x", ""},
        {"-spice port=1,password=x,addr=::", "-spice|port=1,password=(not told),addr=::"},
        {"-vnc :1,password=on", "-vnc|:1,password=on"},
        {"-vnc :1,password", "-vnc|:1,password"},
        {"-drive if=none,file.password-secret=s,file=x",
         "-drive|if=none,file.password-secret=(not told),file=x"},
        {"-drive file=https://u:p@h/i.raw,if=virtio",
         "-drive|file=https://u:(not told)@h/i.raw,if=virtio"},
        {"-drive file=https://u@h/i.raw", "-drive|file=https://u@h/i.raw"},
        {"-drive file=iscsi://u%p@h/t/1", "-drive|file=iscsi://u:(not told)@h/t/1"},
        {"ssh://u:p@h/i", "ssh://u:(not told)@h/i"},
        {"ssh://u:p,q@h/i", "ssh://u:(not told)@h/i"},
        {"-drive file=ssh://u:p,,q,,@h/i,if=virtio",
         "-drive|file=ssh://u:(not told)@h/i,if=virtio"},
        {"-drive file=https://h/i,readonly=on,id=u:p@x",
         "-drive|file=https://h/i,readonly=on,id=u:p@x"},
        {"-drive file.driver=https,file.cookie=a=b,if=none",
         "-drive|file.driver=https,file.cookie=(not told),if=none"},
        {"-drive file=rbd:p/i:id=a:key=AQ==:mon_host=h",
         "-drive|file=rbd:p/i:id=a:key=(not told):mon_host=h"},
        {"-blockdev '{\"a\":{\"password\":\"x\",\"b\":[\"https://u:p@h\"]}}'",
         "-blockdev|{\"a\":{\"password\":\"(not told)\",\"b\":[\"https://u:(not told)@h\"]}}"},
        {"-blockdev '{\"a\":\"https://u:p,q@h\",\"cookie\":\"c\"}'",
         "-blockdev|{\"a\":\"https://u:(not told)@h\",\"cookie\":\"(not told)\"}"},
        {"-blockdev {broken", "-blockdev|(not told)"},
        {"-fw_cfg opt/x,string=s", "-fw_cfg|opt/x,string=(not told)"},
        {"-fw_cfg opt/x,file=/s", "-fw_cfg|opt/x,file=/s"},
        {"-smbios type=11,value=io.systemd.credential:a=b", "-smbios|type=11,value=(not told)"},
        {"-smbios type=1,serial=7", "-smbios|type=1,serial=7"},
        {"-append 'root=/dev/vda my_token=x ro'", "-append|root=/dev/vda my_token=(not told) ro"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autoarglist struct arglist list = {0}, told = {0};
        autostrlist struct strlist left_out = {0}, argv = {0};
        autofree char *wanted = string_format("qemu%s%s", *rows[i].told ? "|" : "", rows[i].told);
        parse(rows[i].line, &list);
        MUST(arglist_without_secrets(&list, &told, &left_out, &err));
        MUST(arglist_render(&told, &argv, &err));
        autofree char *joined = strlist_join(&argv, "|");
        ck_assert_str_eq(joined, wanted);
        autostrlist struct strlist before = {0};
        MUST(arglist_render(&list, &before, &err));
        autofree char *whole = strlist_join(&before, "|");
        ck_assert_msg((left_out.count > 0) == (strcmp(whole, joined) != 0), "%s", rows[i].line);
    }
}
END_TEST

/* A row for every option that QEMU has for x86. */
START_TEST(complete)
{
    size_t count;
    const struct qemu_option *all = qemu_options_all(&count);
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(!all[i].for_x86 || visible_knows(all[i].name), "-%s", all[i].name);
}
END_TEST

START_TEST(args)
{
    static const struct {
        const char *text, *words; /* joined by '|' */
    } rows[] = {
        {"", ""},
        {"a b\tc\nd", "a|b|c|d"},
        {"# a comment\nq # more\n  -m 1G#x", "q|-m|1G#x"},
        {"q 'a b'c\"d e\"", "q|a bcd e"},
        {"q '' \"\"", "q||"},
        {"q a\\ b \\# \\'", "q|a b|#|'"},
        {"q \\\n  -m \\\n1G", "q|-m|1G"},
        {"q \"a\\\"b\\\\c\\d\"", "q|a\"b\\c\\d"},
        {"q 'a\nb'", "q|a\nb"},
        {"q '$x`*'", "q|$x`*"},
        {"q {\"a\":1}", "q|{a:1}"},
        {"q 'it'\\''s'", "q|it's"},
        {"q a~b caf\xc3\xa9", "q|a~b|caf\xc3\xa9"},
    };
    static const struct {
        const char *text, *words;
    } bad[] = {
        {"q\n$x", "f:2: '$'"},    {"q `x`", "f:1: '`'"},    {"q \"$x\"", "f:1: '$' and"},
        {"q a|b", "f:1: '|'"},    {"q &", "f:1: '&'"},      {"q\n\na;b", "f:3: ';'"},
        {"q >x", "f:1: '>'"},     {"q (", "f:1: '('"},      {"q *", "f:1: '*'"},
        {"q ~/x", "f:1: '~'"},    {"q 'x", "f:1: a quote"}, {"q\n\"x\ny", "f:2: a quote"},
        {"q \\", "f:1: nothing"}, {"q '\n' $", "f:2: '$'"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autostrlist struct strlist words = {0};
        MUST(args_parse("f", rows[i].text, &words, &err));
        autofree char *joined = strlist_join(&words, "|");
        ck_assert_str_eq(joined, rows[i].words);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        autostrlist struct strlist words = {0};
        MUST_FAIL(STATUS_CONFIG, bad[i].words, args_parse("f", bad[i].text, &words, &err));
    }
}
END_TEST

/* The configuration's comes before the state's. */
START_TEST(files)
{
    autofree char *config = in_folder("config"), *state = in_folder("state");
    autofree char *first = in_folder("config/vms/web1.args");
    autofree char *second = in_folder("state/vms/web1.args");
    const struct paths paths = {.config = config, .state = state};
    for (int i = 0; i < 2; i++) {
        autofree char *folder = in_folder(i ? "config/vms" : "state/vms");
        MUST(folder_make(folder, 0700, &err));
    }
    autofree char *none = NULL, *found = NULL, *other = NULL;
    autostrlist struct strlist argv = {0}, more = {0};
    MUST(args_file_load(&paths, "web1", &none, &argv, &err));
    ck_assert_ptr_null(none);
    MUST(file_write_atomic(second, "q 2\n", 4, 0600, &err));
    MUST(args_file_load(&paths, "web1", &found, &argv, &err));
    ck_assert_str_eq(found, second);
    ck_assert_str_eq(argv.items[1], "2");
    MUST(file_write_atomic(first, "q 1\n", 4, 0600, &err));
    MUST(args_file_load(&paths, "web1", &other, &more, &err));
    ck_assert_str_eq(other, first);
    ck_assert_str_eq(more.items[1], "1");
    static const struct {
        const char *text;
        size_t length;
        mode_t mode;
        enum status status;
        const char *words;
    } bad[] = {
        {"q 1\n", 4, 0666, STATUS_NOT_TRUSTED, "web1.args"},
        {"# q\n", 4, 0600, STATUS_CONFIG, "no command"},
        {"q\0x\n", 4, 0600, STATUS_CONFIG, "not a text"},
        {"q\n;\n", 4, 0600, STATUS_CONFIG, "web1.args:2: ';'"},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        autofree char *path = NULL;
        autostrlist struct strlist words = {0};
        MUST(file_write_atomic(first, bad[i].text, bad[i].length, bad[i].mode, &err));
        MUST_FAIL(bad[i].status, bad[i].words, args_file_load(&paths, "web1", &path, &words, &err));
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {all_cases, every_row, escaped, secrets, complete, args, files};
    return unit_run("visible", tests, COUNT(tests));
}
