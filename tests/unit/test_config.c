/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * config.ini, good and bad.
 */
#include "unit.h"

#include <sys/stat.h>

#include "base/file.h"
#include "host/config.h"

static bool load(const char *text, mode_t mode, struct config *config, struct error *err)
{
    autofree char *path = in_folder("config.ini");
    ck_assert(file_write_atomic(path, text, strlen(text), mode, NULL));
    return config_load(unit_folder, NULL, config, err);
}

START_TEST(nothing)
{
    autoconfig struct config config = {0};
    autofree char *missing = in_folder("missing.ini");
    MUST(config_load(unit_folder, NULL, &config, &err));
    ck_assert(name_is_host(config.host_name));
    ck_assert_ptr_null(config.listen_address);
    ck_assert_uint_eq(config.migration_port_first, 49152);
    ck_assert_uint_eq(config.migration_port_last, 49215);
    ck_assert_uint_eq(config.qemu_binaries.count, 0);
    ck_assert_uint_eq(featureset_count(&config.deny), 0);
    ck_assert(!config.devices_known);
    MUST(load("", 0600, &config, &err));
    MUST_FAIL(STATUS_CONFIG, missing, config_load(unit_folder, missing, &config, &err));
}
END_TEST

START_TEST(everything)
{
    autoconfig struct config config = {0};
    MUST(load("# a comment\n; another\n\n[host]\nname = web-1.lan\n"
              "[listen]\naddress = [::1]:7\nmigration-ports = 5-5\n"
              "[qemu]\nbinary = /a/qemu\nbinary = qemu-system-x86_64 ; for all\n"
              "[policy]\ndeny = avx2, sse4_1 ,,sse3\ndeny=rdtscp\nrequire: smap\n"
              "devices = known\n"
              "[pool]\nurl = etcd+https://e1.lan,[::1]:5/prod/fleet-1\n"
              "url = etcd+https://e3:2380/prod/fleet-1\nca = /ca\ncert = /cert\nkey = /key\n"
              "user = us\npassword-file = /password\naddress = [::2]:99\n[map]\n/there = "
              "/here\n[launch]\ncpu-form = host\nlisten =\n",
              0644, &config, &err));
    ck_assert_str_eq(config.host_name, "web-1.lan");
    ck_assert_str_eq(config.listen_address, "[::1]:7");
    ck_assert_uint_eq(config.migration_port_first, 5);
    ck_assert_uint_eq(config.migration_port_last, 5);
    autofree char *binaries = strlist_join(&config.qemu_binaries, "|");
    ck_assert_str_eq(binaries, "/a/qemu|qemu-system-x86_64");
    static const char *const denied[] = {"avx2", "sse4.1", "pni", "rdtscp"};
    for (size_t i = 0; i < COUNT(denied); i++)
        ck_assert_msg(featureset_has(&config.deny, denied[i]), "%s", denied[i]);
    ck_assert_uint_eq(featureset_count(&config.deny), COUNT(denied));
    ck_assert(featureset_has(&config.require, "smap"));
    ck_assert_uint_eq(featureset_count(&config.require), 1);
    ck_assert(config.devices_known);
    ck_assert_uint_eq(config.map.count, 1);
    ck_assert_str_eq(config.map.items[0].there, "/there");
    ck_assert_str_eq(config.map.items[0].here, "/here");
    autofree char *endpoints = strlist_join(&config.pool.endpoints, "|");
    ck_assert_str_eq(endpoints, "https://e1.lan:2379|https://[::1]:5|https://e3:2380");
    ck_assert_str_eq(config.pool.prefix, "prod/fleet-1");
    ck_assert_str_eq(config.pool.ca, "/ca");
    ck_assert_str_eq(config.pool.cert, "/cert");
    ck_assert_str_eq(config.pool.key, "/key");
    ck_assert_str_eq(config.pool.user, "us");
    ck_assert_str_eq(config.pool.password_file, "/password");
    ck_assert_str_eq(config.pool.address, "[::2]:99");
    ck_assert_uint_eq(config.launch.count, 2);
    ck_assert_str_eq(config.launch.entries[0].key, "cpu-form");
    ck_assert_str_eq(config.launch.entries[0].value, "host");
    ck_assert_int_eq(config.launch.entries[0].line, 29);
    ck_assert_str_eq(config.launch.entries[1].value, "");
    autofree char *path = in_folder("config.ini");
    ck_assert_str_eq(config.path, path);
}
END_TEST

START_TEST(pools)
{
    static const struct {
        const char *text, *words; /* NULL: good */
    } rows[] = {
        {"url = etcd+http://127.0.0.1/p", NULL},
        {"url = etcd+http://127.9.9.9:1,[::1],localhost:5/p", NULL},
        {"url = etcd+https://e/p.1/P_2/3-x\nuser = u\npassword-file = /p", NULL},
        {"url = https://e/p", "line 2: 'https://e/p' is not etcd+https://"},
        {"url = etcd://e/p", "line 2: 'etcd://e/p'"},
        {"url = etcd+https:e/p", "line 2"},
        {"url =", "line 2: '' is not etcd+https://"},
        {"url = etcd+http://e/p", "etcd+http:// is for this machine only"},
        {"url = etcd+http://128.0.0.1/p", "for this machine only"},
        {"url = etcd+http://127.0.0.1.lan/p", "for this machine only"},
        {"url = etcd+http://[::2]/p", "for this machine only"},
        {"url = etcd+http://localhost.lan/p", "for this machine only"},
        {"url = etcd+http://127.0.0.1,e/p", "for this machine only"},
        {"url = etcd+https://e", "has no valid prefix"},
        {"url = etcd+https://e/", "has no valid prefix"},
        {"url = etcd+https://e//p", "has no valid prefix"},
        {"url = etcd+https://e/p/", "has no valid prefix"},
        {"url = etcd+https://e/p//q", "has no valid prefix"},
        {"url = etcd+https://e/../q", "has no valid prefix"},
        {"url = etcd+https://e/a b", "has no valid prefix"},
        {"url = etcd+https://e/a?b", "has no valid prefix"},
        {"url = etcd+https:///p", "'' is not HOST[:PORT]"},
        {"url = etcd+https://e,/p", "'' is not HOST[:PORT]"},
        {"url = etcd+https://,e/p", "'' is not HOST[:PORT]"},
        {"url = etcd+https://u:p@e/p", "is not HOST[:PORT]"},
        {"url = etcd+https://e:0/p", "is not HOST[:PORT]"},
        {"url = etcd+https://e:65536/p", "is not HOST[:PORT]"},
        {"url = etcd+https://e,e:2379/p", "https://e:2379 is given twice"},
        {"url = etcd+https://e/p\nurl = etcd+https://f/q", "line 3: two prefixes"},
        {"url = etcd+https://e/p\nurl = etcd+http://[::1]/p", "etcd+https and etcd+http"},
        {"url = etcd+https://1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17/p", "more than 16"},
        {"ca = /ca", "there is no url"},
        {"address = a", "there is no url"},
        {"url = etcd+https://e/p\nca = ca.pem", "line 3: 'ca.pem' is not a file's whole path"},
        {"url = etcd+https://e/p\ncert = /c", "cert and key go together"},
        {"url = etcd+https://e/p\nkey = /c", "cert and key go together"},
        {"url = etcd+https://e/p\nuser = u", "user and password-file go together"},
        {"url = etcd+https://e/p\npassword-file = /u", "user and password-file go together"},
        {"url = etcd+https://e/p\nuser = a b\n", "line 3: 'a b' is not a user's name"},
        {"url = etcd+http://[::1]/p\nca = /c", "for etcd+https"},
        {"url = etcd+https://e/p\naddress = :5", "line 3: ':5' is not HOST[:PORT]"},
        {"url = etcd+https://e/p\nURL = x", "line 3: unknown key 'URL' in [pool]"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autoconfig struct config config = {0};
        autofree char *text = string_format("[pool]\n%s\n", rows[i].text);
        if (rows[i].words)
            MUST_FAIL(STATUS_CONFIG, rows[i].words, load(text, 0600, &config, &err));
        else
            MUST(load(text, 0600, &config, &err));
    }
}
END_TEST

START_TEST(devices_policy_is_the_last_one)
{
    autoconfig struct config config = {0};
    MUST(load("[policy]\ndevices = known\ndevices = any\n", 0600, &config, &err));
    ck_assert(!config.devices_known);
}
END_TEST

START_TEST(bad)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"[host]\nname = a\n[hosts]\nname = b\n", "line 4: unknown section [hosts]"},
        {"name = a\n", "line 1: unknown section []"},
        {"[host]\nnam = a\n", "line 2: unknown key 'nam' in [host]"},
        {"[host]\nName = a\n", "line 2: unknown key 'Name'"},
        {"[Host]\nname = a\n", "unknown section [Host]"},
        {"[launch]\npeer = a\nhome = /h\n", "line 3: unknown key 'home' in [launch]"},
        {"[launch]\n--peer = a\n", "line 2: unknown key '--peer' in [launch]"},
        {"[listen]\nname = a\n", "line 2: unknown key 'name' in [listen]"},
        {"[host]\nname\n", "line 2: neither"},
        {"[host\nname = a\n", "line 1: neither"},
        {"[host]\nname = A\n", "line 2: 'A' is not a host name"},
        {"[host]\nname =\n", "line 2: '' is not a host name"},
        {"[policy]\ndevices = Known\n", "line 2: 'Known' is neither known nor any"},
        {"[policy]\ndevices =\n", "line 2: '' is neither"},
        {"[host]\nname = a b\n", "line 2: 'a b'"},
        {"[listen]\naddress = a:b\n", "line 2: 'a:b' is not an address"},
        {"[listen]\naddress = :0\n", "line 2"},
        {"[listen]\naddress =\n", "line 2"},
        {"[listen]\nmigration-ports = 5\n", "line 2: '5' is not a range"},
        {"[listen]\nmigration-ports = 6-5\n", "line 2: '6-5'"},
        {"[listen]\nmigration-ports = 0-5\n", "line 2"},
        {"[listen]\nmigration-ports = 1-65536\n", "line 2"},
        {"[listen]\nmigration-ports = 1 - 5\n", "line 2"},
        {"[listen]\nmigration-ports = 1-5-6\n", "line 2"},
        {"[policy]\n\n\ndeny = a,b c\n", "line 4: deny: 'b c' is not a feature"},
        {"[policy]\nrequire = AVX2\n", "line 2: require: 'AVX2' is not a feature"},
        {"[policy]\nrequire = avx2=off\n", "line 2: require: 'avx2=off'"},
        {"[policy]\nrequire = +avx2\n", "line 2: require: '+avx2'"},
        {"[map]\nthere = /here\n", "line 2: 'there' is not an absolute path"},
        {"[map]\n/there = here\n", "line 2: 'here' is not an absolute path"},
        {"[map]\n/there =\n", "line 2: ''"},
        {"[map]\n/a:b = /here\n", "line 2: 'b = /here' is not"},
        {"[map]\n/a=b = /here\n", "line 2: 'b = /here' is not"},
        {"[map]\n/a/../b = /here\n", "line 2: '/a/../b'"},
        {"[map]\n/a = /./b\n", "line 2: '/./b'"},
        {"[map]\n/a = /b\n/a/ = /c\n", "line 3: /a/ is mapped twice"},
        {"[map]\n/a = /b\n  /c = /d\n", "line 3: /a is mapped twice"}, /* goes on, to inih */
        /* the first of two */
        {"[host]\nx\nnam = a\n", "line 2: neither"},
        {"[host]\nnam = a\nx\n", "line 2: unknown key 'nam'"},
        {"[host]\nnam = a\nother = b\n", "line 2: unknown key 'nam'"},
    };
    autoconfig struct config config = {.host_name = strdup("untouched")};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct error err = ERROR_INIT;
        ck_assert_msg(!load(rows[i].text, 0600, &config, &err), "%s", rows[i].text);
        check_error(&err, STATUS_CONFIG, rows[i].words, rows[i].text);
        check_error(&err, STATUS_CONFIG, "config.ini: ", rows[i].text);
        ck_assert_str_eq(config.host_name, "untouched");
    }
}
END_TEST

/* inih reads 199 bytes of a line at once: a name of a feature must not be cut in two. */
START_TEST(long_lines)
{
    autoconfig struct config config = {0};
    for (size_t length = 180; length < 420; length++) {
        autostrbuf struct strbuf text = {0};
        struct error err = ERROR_INIT;
        size_t count = 0;
        strbuf_puts(&text, "[policy]\ndeny = ");
        while (text.length < length + 9 - 10) {
            strbuf_printf(&text, "f%04zu, ", count);
            count++;
        }
        while (text.length < length + 9)
            strbuf_puts(&text, " ");
        strbuf_puts(&text, "\nrequire = smap\n");
        if (load(text.data, 0600, &config, &err)) {
            ck_assert_msg(featureset_count(&config.deny) == count, "length %zu", length);
            ck_assert_msg(featureset_has(&config.require, "smap"), "length %zu", length);
        } else {
            check_error(&err, STATUS_CONFIG, "line 2: longer than", "a long line");
            ck_assert_uint_gt(length, 190);
        }
    }
}
END_TEST

/* Longer than inih's 50 characters for a key. */
#define LONG "/0123456789012345678901234567890123456789012345678901234567890123456789"

START_TEST(mapping)
{
    static const struct {
        const char *word, *mapped;
    } rows[] = {
        {"", ""},
        {"/a", "/x"},
        {"/a/", "/x/"},
        {"/a/b", "/x/b"},
        {"/ab", "/ab"},
        {"/a/deep/er/f", "/y y/f"}, /* the longest, whatever comes first in the file */
        {"/a/deep/ermine", "/x/deep/ermine"},
        {"/c/d", "/d"},
        {"/c", "/"},
        {LONG "/f", "/l/f"},
        {"file=/a/1,if=virtio", "file=/x/1,if=virtio"},
        {"/a/1,/a/2", "/x/1,/x/2"},
        {"unix:/a/s,server=on", "unix:/x/s,server=on"},
        {"{\"filename\":\"/a/1\"}", "{\"filename\":\"/x/1\"}"},
        {"nbd://h/a/1", "nbd://h/a/1"},
        {"a/a", "a/a"},
        {"x=/", "x=/"},
        {"file=/a", "file=/x"},
        {"file=/a,x", "file=/x,x"},
    };
    autoconfig struct config config = {0}, root = {0};
    MUST(load("[map]\n/a = /x\n/a/deep/er/ = /y y/\n/c = /\n" LONG " = /l\n", 0600, &config, &err));
    for (size_t i = 0; i < COUNT(rows); i++) {
        autofree char *mapped = path_map_apply(&config.map, rows[i].word);
        ck_assert_str_eq(mapped, rows[i].mapped);
    }
    MUST(load("[map]\n/ = /root\n/a = /x\n", 0600, &root, &err));
    autofree char *top = path_map_apply(&root.map, "/"), *b = path_map_apply(&root.map, "/b"),
                  *a = path_map_apply(&root.map, "/a");
    ck_assert_str_eq(top, "/root/");
    ck_assert_str_eq(b, "/root/b");
    ck_assert_str_eq(a, "/x");
}
END_TEST

START_TEST(who_can_change_it)
{
    autoconfig struct config config = {0};
    autofree char *path = in_folder("config.ini");
    MUST(load("[host]\nname = a\n", 0644, &config, &err));
    MUST_FAIL(STATUS_NOT_TRUSTED, path, load("[host]\nname = a\n", 0666, &config, &err));
    MUST_FAIL(STATUS_NOT_TRUSTED, path, load("[host]\nname = a\n", 0664, &config, &err));
    MUST_FAIL(STATUS_NOT_TRUSTED, path, config_load("/nowhere", path, &config, &err));
    MUST_FAIL(STATUS_CONFIG, unit_folder, config_load("/nowhere", unit_folder, &config, &err));
    MUST(file_write_atomic(path, "[host]\nname = a\0\n", 17, 0600, &err));
    MUST_FAIL(STATUS_CONFIG, "not a text file", config_load(unit_folder, NULL, &config, &err));
    char *big = malloc(70000);
    memset(big, '\n', 70000);
    MUST(file_write_atomic(path, big, 70000, 0600, &err));
    MUST_FAIL(STATUS_DATA, "larger", config_load(unit_folder, NULL, &config, &err));
    free(big);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        nothing, everything,       pools, bad, devices_policy_is_the_last_one, long_lines,
        mapping, who_can_change_it};
    return unit_run("config", tests, COUNT(tests));
}
