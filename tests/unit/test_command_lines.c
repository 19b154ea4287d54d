/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Command lines as people write them, tests/data/command-lines (its README.md says how they are
 * written down): of each a pair that gives a guest the same, and destinations that do not.
 */
#include "unit.h"

#include <dirent.h>

#include "base/file.h"
#include "base/json.h"
#include "vm/args_file.h"
#include "vm/visible_host.h"

#define COMMAND_LINES TEST_DATA "/command-lines"
#define FILE_MAX ((size_t)64 << 10)
#define AT_LEAST 20

/* A copy of text with `to` for each `from`; how many there were. */
static char *replace(const char *text, const char *from, const char *to, size_t *count)
{
    autostrbuf struct strbuf made = {0};
    strbuf_puts(&made, "");
    *count = 0;
    for (const char *found; (found = strstr(text, from)); text = found + strlen(from), ++*count) {
        strbuf_add(&made, text, (size_t)(found - text));
        strbuf_puts(&made, to);
    }
    strbuf_puts(&made, text);
    return strbuf_steal(&made);
}

static void read_words(const char *text, struct visible_list *list)
{
    autostrlist struct strlist words = {0};
    autoarglist struct arglist arguments = {0};
    size_t count;
    autofree char *placed = replace(text, "@DIR@", unit_folder, &count);
    MUST(args_parse("the command line", placed, &words, &err));
    MUST(arglist_parse(&arguments, (int)words.count, words.items, &err));
    MUST(visible_host_read(&arguments, list, &err));
}

/* What is said of a and b, through JSON; doubts begin with "? ". */
static void compare(const char *source, const char *destination, struct strlist *said)
{
    autovisiblelist struct visible_list one = {0}, other = {0}, told = {0};
    autovisiblefound struct visible_found found = {0};
    read_words(source, &one);
    read_words(destination, &other);
    autojson json_t *json = visible_to_json(&other);
    MUST(visible_from_json(json, "told", &told, &err));
    autofree char *text = json_dumps(json, JSON_COMPACT);
    ck_assert_msg(!strstr(text, "hush") && !strstr(text, unit_folder) && !strstr(text, "/dev/"),
                  "a secret or a path is told: %s", text);
    MUST(visible_compare(&one, "a", &told, "b", NULL, &found, &err));
    *said = found.differences;
    found.differences = (struct strlist){0};
    for (size_t i = 0; i < found.doubts.count; i++)
        ck_assert(strlist_pushf(said, "? %s", found.doubts.items[i]));
}

/* The text of a section, up to the next line that begins with '@'; *rest is behind it. */
static char *section(const char *text, const char **rest)
{
    const char *end = text;
    while (*end && *end != '@')
        end += strcspn(end, "\n") + 1;
    *rest = end;
    return strndup(text, (size_t)(end - text));
}

static void check_partner(const char *name, const char *source, const char *destination,
                          const char *wanted, const char *change)
{
    autofree char *from = strdup(change);
    from[strcspn(from, "\n")] = '\0';
    char *to = strstr(from, " =>");
    ck_assert_msg(to, "%s: '%s' is no change", name, from);
    *to = '\0';
    to += to[3] == ' ' ? 4 : 3;
    autostrlist struct strlist said = {0};
    size_t count;
    /* A line may have been broken there. */
    autofree char *line = replace(destination, "\n  ", " ", &count);
    autofree char *other = replace(line, from, to, &count);
    ck_assert_msg(count > 0, "%s: '%s' is not in the destination's", name, from);
    compare(source, other, &said);
    bool found = false;
    for (size_t i = 0; i < said.count; i++)
        found = found || string_starts_with(said.items[i], wanted);
    autofree char *text = strlist_join(&said, "\n");
    ck_assert_msg(found, "%s, with '%s' for '%s': it is not said that %s, but:\n%s", name, to, from,
                  wanted, text);
}

static size_t check_file(const char *name)
{
    autofree char *path = string_format("%s/%s", COMMAND_LINES, name), *text = NULL;
    autofree char *source = NULL, *destination = NULL;
    size_t length, partners = 0;
    MUST(file_read(path, FILE_MAX, false, &text, &length, &err));
    for (const char *at = strchr(text, '@'); at && *at;) {
        autofree char *head = strndup(at, strcspn(at, "\n"));
        autofree char *body = section(at + strcspn(at, "\n") + 1, &at);
        char **place = strcmp(head, "@source") == 0        ? &source
                       : strcmp(head, "@destination") == 0 ? &destination
                                                           : NULL;
        if (place)
            *place = STEAL(body);
        if (string_starts_with(head, "@file ")) {
            autofree char *file = in_folder(head + strlen("@file "));
            MUST(file_write_atomic(file, body, strlen(body), 0600, &err));
        }
        if (string_starts_with(head, "@differs ")) {
            check_partner(name, source, destination, head + strlen("@differs "), body);
            partners++;
        }
        if (place == &destination) {
            autostrlist struct strlist said = {0};
            compare(source, destination, &said);
            autofree char *all = strlist_join(&said, "\n");
            ck_assert_msg(said.count == 0, "%s: source and destination are alike:\n%s", name, all);
        }
    }
    return partners;
}

START_TEST(command_lines)
{
    size_t count = 0;
    DIR *folder = opendir(COMMAND_LINES);
    ck_assert_ptr_nonnull(folder);
    for (const struct dirent *entry; (entry = readdir(folder));) {
        if (strchr(entry->d_name, '.'))
            continue;
        ck_assert_msg(check_file(entry->d_name) >= 3, "%s has less than 3 partners that differ",
                      entry->d_name);
        count++;
    }
    closedir(folder);
    ck_assert_uint_ge(count, AT_LEAST);
}
END_TEST

static void write_file(const char *name, const char *text)
{
    autofree char *path = in_folder(name);
    MUST(file_write_atomic(path, text, strlen(text), 0600, &err));
}

/* What is in a file counts, not its name; of flash that is written to, the size. */
START_TEST(files)
{
    static const struct {
        const char *source, *destination, *said;
    } rows[] = {
        {"-bios @DIR@/one", "-bios @DIR@/same", NULL},
        {"-bios @DIR@/one", "-bios @DIR@/other", "-bios is one (SHA-256 "},
        {"-bios @DIR@/one", "-bios @DIR@/missing", "? -bios is one (SHA-256 "},
        {"-bios bios-256k.bin", "-bios bios-256k.bin", NULL},
        {"-bios bios-256k.bin", "-bios qboot.rom", "? -bios is bios-256k.bin on a"},
        {"-L @DIR@ -bios one", "-bios @DIR@/same", NULL},
        {"-L @DIR@ -bios one", "-L @DIR@ -bios other", "-bios is one (SHA-256 "},
        {"-pflash @DIR@/one", "-pflash @DIR@/other", NULL}, /* it is written to */
        {"-pflash @DIR@/one", "-pflash @DIR@/longer",
         "-drive if=pflash,index=0: content is one (3 bytes) on a and longer (6 bytes) on b"},
        {"-drive if=pflash,readonly=on,file=@DIR@/one",
         "-drive if=pflash,readonly=on,file=@DIR@/other",
         "-drive if=pflash,index=0: content is one (SHA-256 "},
        {"-drive if=pflash,format=qcow2,file=@DIR@/one",
         "-drive if=pflash,format=qcow2,file=@DIR@/longer",
         "? -drive if=pflash,index=0: content is one on a and longer on b"},
        {"-kernel @DIR@/one", "-kernel @DIR@/other", "-kernel is one (SHA-256 "},
        {"-acpitable file=@DIR@/one", "-acpitable file=@DIR@/same", NULL},
        {"-option-rom @DIR@/one", "-option-rom @DIR@/other",
         "-option-rom romfile is one (SHA-256 "},
        {"-device e1000,romfile=@DIR@/one", "-device e1000,romfile=@DIR@/other",
         "-device e1000: romfile is one (SHA-256 "},
        {"-smbios file=@DIR@/one", "-smbios file=@DIR@/other", "-smbios file is one (SHA-256 "},
        {"-bios @DIR@", "-bios @DIR@", NULL}, /* no file */
        {"-readconfig @DIR@/config", "-device e1000,addr=3", NULL},
        {"-readconfig @DIR@/config", "-device e1000,addr=4", "-device e1000,id=n: addr is 3 on a"},
        {"-readconfig @DIR@/missing", "", NULL}, /* QEMU says so */
    };
    write_file("one", "one");
    write_file("same", "one");
    write_file("other", "two");
    write_file("longer", "longer");
    write_file("config", "[device \"n\"]\n  driver = \"e1000\"\n  addr = \"3\"\n");
    for (size_t i = 0; i < COUNT(rows); i++) {
        autostrlist struct strlist said = {0};
        autofree char *source = string_format("qemu %s", rows[i].source);
        autofree char *destination = string_format("qemu %s", rows[i].destination);
        compare(source, destination, &said);
        autofree char *text = strlist_join(&said, "\n");
        ck_assert_msg(rows[i].said ? string_starts_with(text, rows[i].said) : !*text,
                      "%s | %s:\n%s", rows[i].source, rows[i].destination, text);
    }
}
END_TEST

static void check_refused(const char *from, const char *to)
{
    autovisiblelist struct visible_list list = {0}, back = {0};
    size_t count;
    read_words("qemu -m 1G -device e1000,id=n,romfile=x", &list);
    autojson json_t *json = visible_to_json(&list);
    autofree char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    autofree char *bad = replace(text, from, to, &count);
    autojson json_t *damaged = json_loads(bad, 0, NULL);
    ck_assert_msg(count > 0 && damaged, "%s in %s", from, text);
    MUST_FAIL(STATUS_DATA, "the list", visible_from_json(damaged, "the list", &back, &err));
    ck_assert_uint_eq(back.count, 0);
}

START_TEST(damaged)
{
    check_refused("\"option\":\"device\"", "\"option\":\"devices\"");
    check_refused("\"option\":\"device\"", "\"option\":7");
    check_refused("\"label\":\"e1000\"", "\"label\":\"\\u00e9\"");
    check_refused("\"id\":\"n\"", "\"name\":\"n\"");
    check_refused("\"how\":\"content\"", "\"how\":\"file\"");
    check_refused("\"value\":\"name:x\"", "\"value\":\"x\"");
    check_refused("\"value\":\"name:x\"", "\"value\":\"sha256:x\"");
    check_refused("\"value\":\"name:x\"", "\"value\":\"size:-1\"");
    check_refused("\"version\":", "\"more\":1,\"version\":-");
    check_refused("\"version\":", "\"version\":-");
}
END_TEST

/* Words with one blank between them, of any bytes. */
static bool read_plain(const char *line, struct visible_list *list, struct error *err)
{
    autostrlist struct strlist words = {0};
    autoarglist struct arglist arguments = {0};
    ck_assert(strlist_split(&words, line, ' '));
    ck_assert(arglist_parse(&arguments, (int)words.count, words.items, err));
    return visible_host_read(&arguments, list, err);
}

/* What a host has of its own command line is what it tells, whatever is in it. */
START_TEST(own_is_as_told)
{
    static const char *const lines[] = {
        "qemu -m 1G",
        "qemu -global \xc3\xa4-cpu.smap=off -device e1000,id=\xce\xa9,mac=\xff",
        "qemu -device e1000,id=a\tb -append \xe2\x80\xae",
    };
    for (size_t i = 0; i < COUNT(lines); i++) {
        autovisiblelist struct visible_list own = {0}, told = {0};
        autovisiblefound struct visible_found found = {0};
        MUST(read_plain(lines[i], &own, &err));
        autojson json_t *json = visible_to_json(&own);
        MUST(visible_from_json(json, "the list", &told, &err));
        MUST(visible_compare(&own, "a", &told, "b", NULL, &found, &err));
        ck_assert_msg(found.differences.count == 0, "%s: %s", lines[i], found.differences.items[0]);
    }
}
END_TEST

/* Another version of the table is not compared, and that is said. */
START_TEST(other_version)
{
    autovisiblelist struct visible_list list = {0}, other = {0};
    autovisiblefound struct visible_found found = {0};
    read_words("qemu -m 1G", &list);
    autojson json_t *json = visible_to_json(&list);
    json_object_set_new(json, "version", json_integer(VISIBLE_TABLE_VERSION + 1));
    json_object_set_new(json, "things", json_pack("[{s:s}]", "later", "x"));
    MUST(visible_from_json(json, "the list", &other, &err));
    MUST(visible_compare(&list, "a", &other, "b", NULL, &found, &err));
    ck_assert_uint_eq(found.differences.count, 0);
    ck_assert_uint_eq(found.doubts.count, 1);
}
END_TEST

/* One difference is accepted by its name, and no other. */
START_TEST(accepted)
{
    autovisiblelist struct visible_list one = {0}, other = {0};
    autovisiblefound struct visible_found found = {0};
    autostrlist struct strlist names = {0};
    read_words("qemu -m 1G -device e1000,addr=3,mac=x", &one);
    read_words("qemu -m 2G -device e1000,addr=4,mac=y", &other);
    ck_assert(strlist_push(&names, "-device e1000: addr"));
    ck_assert(strlist_push(&names, "-device e1000"));
    MUST(visible_compare(&one, "a", &other, "b", &names, &found, &err));
    ck_assert(found.compared && !strlist_contains(&found.names, "-device e1000"));
    ck_assert_uint_eq(found.names.count, 3);
    ck_assert_uint_eq(found.differences.count, 2);
    ck_assert_str_eq(found.accepted.items[0], "-device e1000: addr is 3 on a and 4 on b");
    struct error err = ERROR_INIT;
    ck_assert(!visible_require_same(&one, "a", &other, "b", &names, &err));
    check_error(&err, STATUS_INCOMPATIBLE,
                "-device e1000: mac is x on a and y on b | -m is 1G on a and 2G on b",
                "visible_require_same");
}
END_TEST

/* More than a peer takes is refused, not left uncompared. */
START_TEST(too_long)
{
    autostrbuf struct strbuf text = {0};
    autostrlist struct strlist words = {0};
    autoarglist struct arglist arguments = {0};
    autovisiblelist struct visible_list list = {0};
    strbuf_puts(&text, "qemu");
    for (int i = 0; i < VISIBLE_THINGS_MAX; i++)
        strbuf_puts(&text, " -device e1000");
    autofree char *line = strbuf_steal(&text);
    MUST(args_parse("line", line, &words, &err));
    MUST(arglist_parse(&arguments, (int)words.count, words.items, &err));
    struct error err = ERROR_INIT;
    ck_assert(!visible_host_read(&arguments, &list, &err));
    check_error(&err, STATUS_INCOMPATIBLE, "and 1024 in 131072 are allowed", "visible_host_read");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {command_lines, files,    damaged, own_is_as_told,
                                  other_version, accepted, too_long};
    return unit_run("command-lines", tests, COUNT(tests));
}
