/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What `trust pair` reads: hosts, what a remote shell says, trust lists, addresses.
 */
#include "cli/cmd_trust.h"
#include "cli/remote_shell.h"
#include "unit.h"

#define PIN_A "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
#define PIN_B "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define N "0123456789abcdef0123456789abcdef"

START_TEST(hosts)
{
    static const struct {
        const char *text, *host; /* NULL: not valid */
    } cases[] = {
        {"b", "b"},
        {"root@b", "b"},
        {"me.too@b-1.example", "b-1.example"},
        {"192.0.2.1", "192.0.2.1"},
        {"2001:db8::1", "2001:db8::1"},
        {"root@::1", "::1"},
        {"ssh://b", "b"},
        {"ssh://root@b:22", "b"},
        {"ssh://root@[::1]:65535", "::1"},
        {"ssh://[::1]", "::1"},
        {"", NULL},
        {"-b", NULL},
        {"-oProxyCommand=id", NULL},
        {"root@-b", NULL},
        {"-root@b", NULL},
        {"@b", NULL},
        {"root@", NULL},
        {"a@b@c", NULL},
        {"b:22", NULL},
        {"b c", NULL},
        {"b;c", NULL},
        {"b\n", NULL},
        {"b%1", NULL},
        {"b'", NULL},
        {"b\\c", NULL},
        {"b\xc3\xa4", NULL},
        {"[::1]", NULL},
        {"ssh://", NULL},
        {"ssh://b:", NULL},
        {"ssh://b:0", NULL},
        {"ssh://b:65536", NULL},
        {"ssh://b/", NULL},
        {"ssh://[::1", NULL},
        {"ssh://[::1]x", NULL},
        {"ssh://[b]", NULL},
        {"ssh://-b", NULL},
        {"http://b", NULL},
        {"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        ck_assert_msg(remote_host_is_valid(cases[i].text) == (cases[i].host != NULL), "%s",
                      cases[i].text);
        autofree char *host = cases[i].host ? remote_host_name(cases[i].text) : NULL;
        if (host)
            ck_assert_str_eq(host, cases[i].host);
    }
}
END_TEST

START_TEST(replies)
{
    static const char whole[] = "Welcome!\n\n" N " begin\none\ntwo\n\n" N " 73\n\n"
                                "went wrong\n" N " end\n";
    char part[sizeof(whole)];
    struct error err = ERROR_INIT;
    for (size_t length = 0; length < strlen(whole); length++) {
        autoreply struct remote_reply reply = {0};
        memcpy(part, whole, length);
        part[length] = '\0';
        ck_assert_msg(remote_reply_parse(part, N, &reply, &err) == 0, "%zu bytes", length);
    }
    autoreply struct remote_reply reply = {0};
    ck_assert_int_eq(remote_reply_parse(whole, N, &reply, &err), 1);
    ck_assert_int_eq(reply.status, 73);
    ck_assert_str_eq(reply.output, "one\ntwo");
    ck_assert_str_eq(reply.message, "\nwent wrong");
    autoreply struct remote_reply empty = {0};
    ck_assert_int_eq(remote_reply_parse("\n" N " begin\n\n" N " 0\n\n" N " end\n", N, &empty, &err),
                     1);
    ck_assert_int_eq(empty.status, 0);
    ck_assert_str_eq(empty.output, "");
    ck_assert_str_eq(empty.message, "");
}
END_TEST

START_TEST(no_replies)
{
    static const char *const statuses[] = {"", "-1", "256", "x", "0 0", "00"};
    for (size_t i = 0; i < COUNT(statuses); i++) {
        autoreply struct remote_reply reply = {0};
        struct error err = ERROR_INIT;
        autofree char *text =
            string_format("\n" N " begin\n\n" N " %s\n\n" N " end\n", statuses[i]);
        ck_assert_msg(remote_reply_parse(text, N, &reply, &err) == -1, "'%s'", statuses[i]);
        ck_assert_int_eq(err.status, STATUS_DATA);
    }
    /* A mark stands at the beginning of a line, and has a word behind it. */
    struct error err = ERROR_INIT;
    struct remote_reply reply = {0};
    ck_assert_int_eq(remote_reply_parse(N " begin\n\n" N " 0\n\n" N " end\n", N, &reply, &err), 0);
    ck_assert_int_eq(remote_reply_parse("\n" N "\n" N "\n" N "\n", N, &reply, &err), 0);
}
END_TEST

START_TEST(lists)
{
    autotrust struct trust trust = {0};
    const struct trust_entry *entry;
    MUST(trust_pair_read_list("{\"peers\":[{\"name\":\"a\",\"pins\":[\"" PIN_A "\"],\"new\":1},"
                              "{\"name\":\"b\",\"pins\":[\"" PIN_B "\"],\"expires\":5},"
                              "{\"name\":\"c\",\"pins\":[]}]}",
                              &trust, &err));
    ck_assert_uint_eq(trust.count, 3);
    ck_assert_int_eq(trust_pair_look(&trust, "x", PIN_A, &entry), TRUSTED_ALREADY);
    ck_assert_str_eq(entry->name, "a");
    ck_assert_int_eq(trust_pair_look(&trust, "b", PIN_B, &entry), TRUSTED_EXPIRED);
    const char *other = "sha256//BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA=";
    ck_assert_int_eq(trust_pair_look(&trust, "b", other, &entry), TRUSTED_OTHER);
    ck_assert_int_eq(trust_pair_look(&trust, "x", other, &entry), TRUSTED_NOT);
    ck_assert_ptr_null(entry);
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"peers\":{}}",
        "{\"peers\":[1]}",
        "{\"peers\":[{}]}",
        "{\"peers\":[{\"name\":\"../a\",\"pins\":[]}]}",
        "{\"peers\":[{\"name\":\"a\"}]}",
        "{\"peers\":[{\"name\":\"a\",\"pins\":[\"sha256//x\"]}]}",
        "{\"peers\":[{\"name\":\"a\",\"pins\":[],\"expires\":\"never\"}]}",
        "{\"peers\":[]} x",
        "{\"peers\":[{\"name\":\"a\",\"pins\":[\"" PIN_A "\",\"" PIN_A "\",\"" PIN_B "\"]}]}",
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct error err = ERROR_INIT;
        struct trust none = {0};
        ck_assert_msg(!trust_pair_read_list(bad[i], &none, &err), "%s", bad[i]);
        ck_assert_msg(err.status == STATUS_DATA, "%s: %s", bad[i], err.message);
        ck_assert_uint_eq(none.count, 0);
    }
}
END_TEST

START_TEST(addresses)
{
    static const struct {
        const char *text, *address;
    } configurations[] = {
        {"host b\nuser root\nhostname b.example\nport 22\n", "b.example"},
        {"hostname 2001:db8::1\n", "[2001:db8::1]"},
        {"hostname b", "b"},
        {"hostname \n", NULL},
        {"hostname b;id\n", NULL},
        {"hostname fe80::1%eth0\n", NULL},
        {"hostname b:22\n", NULL},
        {"user hostname b\n", NULL},
        {"", NULL},
        {NULL, NULL},
    };
    for (size_t i = 0; i < COUNT(configurations); i++) {
        autofree char *address = trust_pair_read_address(configurations[i].text);
        ck_assert_pstr_eq(address, configurations[i].address);
    }
    static const struct {
        const char *text, *address;
    } numbers[] = {
        {"192.0.2.1", "192.0.2.1"},
        {"2001:db8::1", "[2001:db8::1]"},
        {"127.0.0.1", NULL},
        {"::1", NULL},
        {"fe80::1", NULL},
        {"fe80::1%eth0", NULL},
        {"", NULL},
        {"b", NULL},
        {"192.0.2.1; id", NULL},
        {"1", NULL},
    };
    for (size_t i = 0; i < COUNT(numbers); i++) {
        autofree char *address = trust_pair_number(numbers[i].text);
        ck_assert_pstr_eq(address, numbers[i].address);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {hosts, replies, no_replies, lists, addresses};
    return unit_run("trust-pair", tests, COUNT(tests));
}
