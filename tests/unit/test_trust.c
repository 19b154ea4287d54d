/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Identity and trust entries: what is on disk, good and bad.
 */
#include <check.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/strings.h"
#include "peer/identity.h"
#include "peer/trust.h"
#include "unit.h"

#define PIN_A "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
#define PIN_B "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define PIN_C "sha256//BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA="

static void put(const char *name, const char *text, mode_t mode)
{
    autofree char *path = in_folder(name);
    struct error err = ERROR_INIT;
    ck_assert_msg(file_write_atomic(path, text, strlen(text), mode, &err), "%s", err.message);
}

static void loads_not(enum status status, const char *word)
{
    struct error err = ERROR_INIT;
    struct trust trust = {0};
    ck_assert(!trust_load(unit_folder, &trust, &err));
    ck_assert_msg(err.status == status, "status %d: %s", err.status, err.message);
    ck_assert_msg(strstr(err.message, word) != NULL, "'%s' is not in: %s", word, err.message);
}

static void add(const char *name, const char *pin, const char *address, int64_t expires)
{
    struct error err = ERROR_INIT;
    ck_assert_msg(trust_add(unit_folder, name, pin, address, expires, &err), "%s", err.message);
}

static void adds_not(const char *name, const char *pin, const char *address, int64_t expires,
                     enum status status)
{
    struct error err = ERROR_INIT;
    ck_assert(!trust_add(unit_folder, name, pin, address, expires, &err));
    ck_assert_msg(err.status == status, "status %d: %s", err.status, err.message);
}

static mode_t mode_of(const char *name)
{
    autofree char *path = in_folder(name);
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    return st.st_mode & 07777;
}

START_TEST(identity_files)
{
    struct error err = ERROR_INIT;
    ck_assert_ptr_null(identity_load(unit_folder, &err));
    ck_assert_int_eq(err.status, STATUS_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, "identity init"));
    umask(077);
    ck_assert_msg(identity_create(unit_folder, &err), "%s", err.message);
    ck_assert_uint_eq(mode_of("identity.key"), 0600);
    ck_assert_uint_eq(mode_of("identity.crt"), 0644);
    autoidentity struct identity *identity = identity_load(unit_folder, &err);
    ck_assert_msg(identity != NULL, "%s", err.message);
    ck_assert(pin_is_valid(identity->pin));
    ck_assert_int_eq(EVP_PKEY_get_id(identity->key), EVP_PKEY_ED25519);
    ck_assert_uint_eq(strlen(identity->spki), 60);

    ck_assert(!identity_create(unit_folder, &err));
    ck_assert_int_eq(err.status, STATUS_CANNOT_WRITE);
    ck_assert_ptr_nonnull(strstr(err.message, "identity show"));

    /* Half made: the certificate alone is made again. */
    autofree char *certificate = in_folder("identity.crt");
    ck_assert_int_eq(unlink(certificate), 0);
    ck_assert_ptr_null(identity_load(unit_folder, &err));
    ck_assert_int_eq(err.status, STATUS_CONFIG);
    ck_assert_msg(identity_create(unit_folder, &err), "%s", err.message);
    autoidentity struct identity *again = identity_load(unit_folder, &err);
    ck_assert_ptr_nonnull(again);
    ck_assert_str_eq(again->pin, identity->pin);
}
END_TEST

/* Hosts that are set up in parallel: `trust pair` to several at once, say. */
START_TEST(identity_at_once)
{
    for (int round = 0; round < 20; round++) {
        int gate[2];
        pid_t children[4];
        autofree char *folder = string_format("%s/%d", unit_folder, round);
        ck_assert(folder && pipe(gate) == 0);
        for (size_t i = 0; i < COUNT(children); i++) {
            children[i] = fork();
            ck_assert_int_ge(children[i], 0);
            if (children[i] == 0) {
                char go;
                close(gate[1]);
                bool good = read(gate[0], &go, 1) == 0 &&
                            (identity_create(folder, NULL) || identity_load(folder, NULL));
                _exit(good ? 0 : 1);
            }
        }
        close(gate[0]);
        close(gate[1]);
        for (size_t i = 0; i < COUNT(children); i++) {
            int status = -1;
            ck_assert_int_eq(waitpid(children[i], &status, 0), children[i]);
            ck_assert_msg(status == 0, "round %d: no identity", round);
        }
        autoidentity struct identity *identity = identity_load(folder, NULL);
        ck_assert_ptr_nonnull(identity);
    }
}
END_TEST

START_TEST(identity_certificate)
{
    ck_assert(identity_create(unit_folder, NULL));
    autoidentity struct identity *identity = identity_load(unit_folder, NULL);
    ck_assert_ptr_nonnull(identity);
    char name[128];
    X509_NAME_oneline(X509_get_subject_name(identity->certificate), name, sizeof(name));
    ck_assert_str_eq(name, "/CN=qemu-migrate-launch");
    X509_NAME_oneline(X509_get_issuer_name(identity->certificate), name, sizeof(name));
    ck_assert_str_eq(name, "/CN=qemu-migrate-launch");
    ck_assert_int_eq(X509_get_version(identity->certificate), 2);
    ck_assert_int_eq(X509_verify(identity->certificate, identity->key), 1);
    struct tm from, to;
    ck_assert(ASN1_TIME_to_tm(X509_get0_notBefore(identity->certificate), &from));
    ck_assert(ASN1_TIME_to_tm(X509_get0_notAfter(identity->certificate), &to));
    ck_assert_int_eq(from.tm_year, 70);
    ck_assert_int_eq(to.tm_year, 9999 - 1900);
}
END_TEST

START_TEST(identity_bad)
{
    struct error err = ERROR_INIT;
    autofree char *key = in_folder("identity.key");
    ck_assert(identity_create(unit_folder, NULL));
    ck_assert_int_eq(chmod(key, 0640), 0);
    ck_assert_ptr_null(identity_load(unit_folder, &err));
    ck_assert_int_eq(err.status, STATUS_NOT_TRUSTED);
    ck_assert_int_eq(chmod(key, 0600), 0);
    put("identity.crt", "garbage", 0644);
    ck_assert_ptr_null(identity_load(unit_folder, &err));
    ck_assert_int_eq(err.status, STATUS_CONFIG);

    /* The certificate of another key. */
    autofree char *other = in_folder("other"), *theirs = in_folder("other/identity.crt");
    autofree char *ours = in_folder("identity.crt");
    ck_assert(identity_create(other, NULL));
    ck_assert_int_eq(rename(theirs, ours), 0);
    ck_assert_ptr_null(identity_load(unit_folder, &err));
    ck_assert_int_eq(err.status, STATUS_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, "identity.crt"));

    static const char *const bad[] = {
        "",
        "garbage",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        /* X25519, which cannot sign */
        "-----BEGIN PRIVATE KEY-----\n"
        "MC4CAQAwBQYDK2VuBCIEIGhJ9NE1EfqpqdOOgXJEjeqJZmCWnjH7sCkoGkXgDAVj\n"
        "-----END PRIVATE KEY-----\n",
        /* with a passphrase: must not ask for it */
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        put("identity.key", bad[i], 0600);
        ck_assert_ptr_null(identity_load(unit_folder, &err));
        ck_assert_msg(err.status == STATUS_CONFIG, "%zu: %d %s", i, err.status, err.message);
        ck_assert_ptr_nonnull(strstr(err.message, "identity.key"));
    }
}
END_TEST

START_TEST(trust_add_and_find)
{
    autotrust struct trust empty = {0};
    ck_assert(trust_load(unit_folder, &empty, NULL));
    ck_assert_uint_eq(empty.count, 0);
    ck_assert_ptr_null(trust_find_pin(&empty, PIN_A));

    add("b", PIN_A, "host-b:1234", TRUST_NEVER);
    add("a", PIN_B, "[fe80::1]", 1000);
    add("c", PIN_C, NULL, TRUST_NEVER);
    ck_assert_uint_eq(mode_of("trust.d/a.json"), 0644);
    autotrust struct trust trust = {0};
    ck_assert(trust_load(unit_folder, &trust, NULL));
    ck_assert_uint_eq(trust.count, 3);
    const struct trust_entry *a = &trust.entries[0], *b = &trust.entries[1];
    ck_assert_str_eq(a->name, "a");
    ck_assert_str_eq(a->host, "fe80::1");
    ck_assert_uint_eq(a->port, 0);
    ck_assert_uint_eq(b->port, 1234);
    ck_assert_ptr_null(trust.entries[2].host);
    const struct {
        const char *text;
        const struct trust_entry *entry;
    } rows[] = {
        {"a", a},           {"b", b},           {"host-b", b},  {"HOST-B", b},
        {"host-b:1234", b}, {"host-b:1", NULL}, {"fe80::1", a}, {"[fe80::1]:9", a},
        {"[fe80:0::1]", a}, {"nobody", NULL},   {"", NULL},     {"::", NULL},
        {":1234", NULL},    {"B", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        ck_assert_msg(trust_find(&trust, rows[i].text) == rows[i].entry, "%s", rows[i].text);
    ck_assert_ptr_eq(trust_find_pin(&trust, PIN_A), b);
    ck_assert(!trust_entry_is_expired(a, 999));
    ck_assert(trust_entry_is_expired(a, 1000));
    ck_assert(!trust_entry_is_expired(b, 1000));

    add("d", "sha256//CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCA=", "host-b", TRUST_NEVER);
    autotrust struct trust two = {0};
    ck_assert(trust_load(unit_folder, &two, NULL));
    ck_assert_ptr_null(trust_find(&two, "host-b"));
    ck_assert_str_eq(trust_find(&two, "d")->name, "d");
    ck_assert_str_eq(trust_find_pin(&two, PIN_A)->name, "b");
}
END_TEST

START_TEST(trust_rotation)
{
    add("b", PIN_A, "host-b:1", TRUST_NEVER);
    add("b", PIN_A, NULL, TRUST_NEVER);
    add("b", PIN_B, NULL, 5000);
    autotrust struct trust trust = {0};
    ck_assert(trust_load(unit_folder, &trust, NULL));
    ck_assert_uint_eq(trust.count, 1);
    ck_assert_uint_eq(trust.entries[0].pin_count, 2);
    ck_assert_str_eq(trust.entries[0].host, "host-b");
    ck_assert_uint_eq(trust.entries[0].port, 1);
    ck_assert_int_eq(trust.entries[0].expires, 5000);
    ck_assert(trust_find_pin(&trust, PIN_A) && trust_find_pin(&trust, PIN_B));
    adds_not("b", PIN_C, NULL, TRUST_NEVER, STATUS_CANNOT_WRITE);
    adds_not("other", PIN_B, NULL, TRUST_NEVER, STATUS_CONFIG);
    add("b", PIN_B, "[::1]:7", TRUST_NEVER);
    add("b", PIN_B, NULL, TRUST_NEVER);
    autotrust struct trust again = {0};
    ck_assert(trust_load(unit_folder, &again, NULL));
    ck_assert_str_eq(again.entries[0].host, "::1");
    ck_assert_uint_eq(again.entries[0].port, 7);
    ck_assert(again.entries[0].expires == TRUST_NEVER);
    struct error err = ERROR_INIT;
    ck_assert(trust_remove(unit_folder, "b", &err));
    ck_assert(!trust_remove(unit_folder, "b", &err));
    ck_assert_int_eq(err.status, STATUS_CONFIG);
    ck_assert(!trust_remove(unit_folder, "../b", &err));
    ck_assert_int_eq(err.status, STATUS_USAGE);
}
END_TEST

START_TEST(trust_words)
{
    adds_not("", PIN_A, NULL, TRUST_NEVER, STATUS_USAGE);
    adds_not("../x", PIN_A, NULL, TRUST_NEVER, STATUS_USAGE);
    adds_not(".x", PIN_A, NULL, TRUST_NEVER, STATUS_USAGE);
    adds_not("x", "sha256//", NULL, TRUST_NEVER, STATUS_USAGE);
    adds_not("x", PIN_A, "bad host", TRUST_NEVER, STATUS_USAGE);
    adds_not("x", PIN_A, ":1", TRUST_NEVER, STATUS_USAGE);
    adds_not("x", PIN_A, "", TRUST_NEVER, STATUS_USAGE);
    adds_not("x", PIN_A, NULL, -1, STATUS_USAGE);
    ck_assert(access(unit_folder, F_OK) == 0);
    autofree char *path = in_folder("trust.d");
    ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

START_TEST(trust_bad_files)
{
    static const char *const bad[] = {
        "",
        "garbage",
        "[]",
        "{}",
        "null",
        "{\"version\":1}",
        "{\"version\":2,\"name\":\"x\",\"pins\":[\"" PIN_A "\"]}",
        "{\"version\":1,\"name\":\"y\",\"pins\":[\"" PIN_A "\"]}",
        "{\"version\":1,\"name\":\"x\",\"pins\":[]}",
        "{\"version\":1,\"name\":\"x\",\"pins\":\"" PIN_A "\"}",
        "{\"version\":1,\"name\":\"x\",\"pins\":[\"sha256//\"]}",
        "{\"version\":1,\"name\":\"x\",\"pins\":[\"" PIN_A "\",\"" PIN_A "\"]}",
        "{\"version\":1,\"name\":\"x\",\"pins\":[\"" PIN_A "\",\"" PIN_B "\",\"" PIN_C "\"]}",
        "{\"version\":1,\"name\":\"x\",\"pins\":[\"" PIN_A "\"],\"address\":\"\"}",
        "{\"version\":1,\"name\":\"x\",\"pins\":[\"" PIN_A "\"],\"address\":\":1\"}",
        "{\"version\":1,\"name\":\"x\",\"pins\":[\"" PIN_A "\"],\"address\":\"a:0\"}",
        "{\"version\":1,\"name\":\"x\",\"pins\":[\"" PIN_A "\"],\"expires\":-1}",
        "{\"version\":1,\"name\":\"x\",\"pins\":[\"" PIN_A "\"],\"expires\":\"never\"}",
        "{\"version\":1,\"name\":\"x\",\"pins\":[\"" PIN_A "\"],\"expires\":1.5}",
        "{\"version\":1,\"name\":\"x\",\"pins\":[\"" PIN_A "\"],\"trust\":\"all\"}",
        "{\"version\":1,\"version\":1,\"name\":\"x\",\"pins\":[\"" PIN_A "\"]}",
    };
    add("good", PIN_C, NULL, TRUST_NEVER);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        put("trust.d/x.json", bad[i], 0644);
        loads_not(STATUS_CONFIG, "trust.d/x.json");
    }
    /* It can be removed all the same. */
    ck_assert(trust_remove(unit_folder, "x", NULL));
    put("trust.d/bad name.json", "{\"version\":1,\"name\":\"bad name\",\"pins\":[\"" PIN_A "\"]}",
        0644);
    loads_not(STATUS_CONFIG, "bad name.json");
    autofree char *path = in_folder("trust.d/bad name.json");
    ck_assert_int_eq(unlink(path), 0);

    put("trust.d/good.json~", "an editor's", 0644);
    put("trust.d/x.json.tmp.abcdef", "ours, left over", 0644);
    autotrust struct trust trust = {0};
    ck_assert(trust_load(unit_folder, &trust, NULL));
    ck_assert_uint_eq(trust.count, 1);
}
END_TEST

START_TEST(trust_guards)
{
    const char *entry = "{\"version\":1,\"name\":\"x\",\"pins\":[\"" PIN_A "\"]}";
    add("a", PIN_A, NULL, TRUST_NEVER);
    put("trust.d/x.json", entry, 0644);
    loads_not(STATUS_CONFIG, "'a' and 'x'");
    ck_assert(trust_remove(unit_folder, "a", NULL));
    put("trust.d/x.json", entry, 0664);
    loads_not(STATUS_NOT_TRUSTED, "x.json");
    put("trust.d/x.json", entry, 0644);
    autofree char *path = in_folder("trust.d");
    ck_assert_int_eq(chmod(path, 0775), 0);
    loads_not(STATUS_NOT_TRUSTED, "trust.d");
    ck_assert_int_eq(chmod(path, 0755), 0);
    autotrust struct trust trust = {0};
    ck_assert(trust_load(unit_folder, &trust, NULL));
}
END_TEST

/* What is there is not what should be there. */
START_TEST(trust_odd_folders)
{
    autofree char *folder = in_folder("trust.d"), *entry = in_folder("trust.d/x.json");
    put("trust.d", "", 0644);
    loads_not(STATUS_CONFIG, "Not a directory");
    MUST_FAIL(STATUS_CONFIG, "trust.d", identity_load(folder, &err));
    ck_assert_int_eq(unlink(folder), 0);
    ck_assert_int_eq(mkdir(folder, 0755), 0);
    ck_assert_int_eq(mkdir(entry, 0755), 0);
    MUST_FAIL(STATUS_CANNOT_WRITE, "x.json", trust_remove(unit_folder, "x", &err));
    /* A link to nothing is an entry that cannot be read: it can be removed. */
    ck_assert_int_eq(rmdir(entry), 0);
    ck_assert_int_eq(symlink("nowhere", entry), 0);
    loads_not(STATUS_CONFIG, "x.json");
    MUST(trust_remove(unit_folder, "x", &err));
    MUST_FAIL(STATUS_CONFIG, "no trust entry", trust_remove(unit_folder, "x", &err));
}
END_TEST

/* What can be read is used, and why the rest cannot is told. */
START_TEST(trust_readable)
{
    autotrust struct trust trust = {0};
    autostrlist struct strlist complaints = {0};
    add("a", PIN_A, NULL, TRUST_NEVER);
    put("trust.d/b.json", "{", 0644);
    MUST(trust_load_readable(unit_folder, &trust, &complaints, &err));
    ck_assert_uint_eq(trust.count, 1);
    ck_assert_str_eq(trust.entries[0].name, "a");
    ck_assert_uint_eq(complaints.count, 2);
    ck_assert_str_eq(complaints.items[0], "b");
    ck_assert_ptr_nonnull(strstr(complaints.items[1], "b.json"));
    loads_not(STATUS_CONFIG, "b.json");
}
END_TEST

/* Somebody edits an entry in place: the folder's own time stays as it was. */
static void edit(const char *name, const char *from, const char *to)
{
    char text[4096];
    autofree char *path = in_folder(name);
    FILE *file = fopen(path, "r+e");
    ck_assert_ptr_nonnull(file);
    size_t length = fread(text, 1, sizeof(text) - 1, file);
    text[length] = '\0';
    char *place = strstr(text, from);
    ck_assert(place && strlen(from) == strlen(to));
    memcpy(place, to, strlen(to));
    rewind(file);
    ck_assert_uint_eq(fwrite(text, 1, length, file), length);
    ck_assert_int_eq(fclose(file), 0);
    const struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1000000}};
    ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0); /* no two are within one tick */
}

static void follows(uint64_t *seen, struct trust *trust, size_t count)
{
    ck_assert(trust_follow(unit_folder, seen, trust));
    ck_assert_uint_eq(trust->count, count);
    ck_assert(!trust_follow(unit_folder, seen, trust));
    ck_assert_uint_eq(trust->count, count);
}

/* Each entry counts as it is there now, whatever is wrong with another. */
START_TEST(trust_followed)
{
    autotrust struct trust trust = {0};
    autofree char *folder = in_folder("trust.d"), *away = in_folder("away");
    uint64_t seen = 0;
    follows(&seen, &trust, 0); /* there is no folder */
    add("a", PIN_A, NULL, TRUST_NEVER);
    add("b", PIN_B, NULL, TRUST_NEVER);
    follows(&seen, &trust, 2);
    edit("trust.d/a.json", PIN_A, PIN_C);
    follows(&seen, &trust, 2);
    ck_assert(!trust_find_pin(&trust, PIN_A) && trust_find_pin(&trust, PIN_C));
    edit("trust.d/b.json", "}", "]");
    follows(&seen, &trust, 1);
    edit("trust.d/a.json", PIN_C, PIN_A);
    put("trust.d/not a name.json", "{}", 0644);
    follows(&seen, &trust, 1);
    ck_assert(trust_find_pin(&trust, PIN_A) && !trust_find_pin(&trust, PIN_C));
    ck_assert_int_eq(chmod(folder, 0777), 0);
    follows(&seen, &trust, 0);
    ck_assert_int_eq(chmod(folder, 0755), 0);
    follows(&seen, &trust, 1);
    ck_assert_int_eq(rename(folder, away), 0);
    follows(&seen, &trust, 0);
}
END_TEST

START_TEST(trust_crowd)
{
    add("a", PIN_A, NULL, TRUST_NEVER);
    for (int i = 1; i <= 4096; i++) {
        autofree char *name = string_format("trust.d/n%d.json", i);
        autofree char *path = in_folder(name);
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        ck_assert_int_ge(fd, 0);
        close(fd);
    }
    loads_not(STATUS_CONFIG, "more than 4096 entries");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {identity_files, identity_at_once,   identity_certificate,
                                  identity_bad,   trust_add_and_find, trust_rotation,
                                  trust_words,    trust_followed,     trust_odd_folders,
                                  trust_readable, trust_crowd,        trust_bad_files,
                                  trust_guards};
    return unit_run("trust", tests, COUNT(tests));
}
