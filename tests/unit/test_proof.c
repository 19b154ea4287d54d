/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What stands around a proof: proofs that are used again, what QEMU says when it refuses a CPU, and
 * which files a process is made of.
 */
#include "unit.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <utime.h>

#include "base/cache.h"
#include "base/file.h"
#include "base/json.h"
#include "guest/refusal.h"
#include "host/qemu_files.h"
#include "vm/proof_cache.h"

static void make_table(uint32_t mark, struct guest_table *table)
{
    autofree char *text = string_format(
        "{\"version\":1,\"mode\":64,\"cpuid\":[[0,0,%u,0,0,0]],\"msr\":[[139,\"#GP\"]]}", mark);
    autojson json_t *json = json_parse_strict(text, strlen(text), SIZE_MAX, NULL);
    MUST(guest_table_from_json(json, table, &err));
}

static void make_key(const char *host, const char *words, char key[DIGEST_HEX_SIZE])
{
    autostrlist struct strlist list = {0};
    ck_assert(strlist_split(&list, words, ' '));
    MUST(proof_cache_key(host, &list, key, &err));
}

static size_t count_files(const char *folder)
{
    size_t count = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return count;
}

START_TEST(keys)
{
    char key[4][DIGEST_HEX_SIZE], again[DIGEST_HEX_SIZE];
    make_key("h", "a b", key[0]);
    make_key("i", "a b", key[1]);
    make_key("h", "a c", key[2]);
    make_key("h", "a b c", key[3]);
    for (size_t i = 0; i < 4; i++)
        for (size_t k = i + 1; k < 4; k++)
            ck_assert_str_ne(key[i], key[k]);
    make_key("h", "a b", again);
    ck_assert_str_eq(key[0], again);
}
END_TEST

START_TEST(used_again)
{
    autofree char *state = in_folder("state");
    autoguesttable struct guest_table table = {0}, found = {0};
    char key[DIGEST_HEX_SIZE], other[DIGEST_HEX_SIZE];
    make_key("h", "a", key);
    make_key("h", "b", other);
    make_table(13, &table);
    ck_assert(!proof_cache_find(state, key, &found));
    proof_cache_store(state, key, &table);
    ck_assert(!proof_cache_find(state, other, &found));
    ck_assert(proof_cache_find(state, key, &found));
    ck_assert_uint_eq(found.count, table.count);
    ck_assert_uint_eq(found.rows[1].registers[0], 13);
}
END_TEST

START_TEST(not_used_again)
{
    static const char *const contents[] = {
        "", "{", "[]", "{\"key\":\"x\"}", "{\"key\":1,\"table\":{}}",
    };
    autofree char *state = in_folder("bad");
    autofree char *folder = in_folder("bad/proofs");
    autoguesttable struct guest_table table = {0}, found = {0};
    char key[DIGEST_HEX_SIZE], other[DIGEST_HEX_SIZE];
    make_key("h", "a", key);
    make_key("h", "b", other);
    make_table(13, &table);
    proof_cache_store(state, key, &table);
    autofree char *path = string_format("%s/%s.json", folder, key);
    autofree char *good = NULL;
    size_t length;
    MUST(file_read(path, 1 << 20, false, &good, &length, &err));
    for (size_t i = 0; i < COUNT(contents); i++) {
        MUST(file_write_atomic(path, contents[i], strlen(contents[i]), 0600, &err));
        ck_assert_msg(!proof_cache_find(state, key, &found), "%s", contents[i]);
    }
    for (size_t cut = 0; cut < length; cut += 7) {
        MUST(file_write_atomic(path, good, cut, 0600, &err));
        ck_assert(!proof_cache_find(state, key, &found));
    }
    /* another's file under this name */
    autofree char *moved = string_format("%s/%s.json", folder, other);
    MUST(file_write_atomic(moved, good, length, 0600, &err));
    ck_assert(!proof_cache_find(state, other, &found));
    /* what others can write is not believed */
    MUST(file_write_atomic(path, good, length, 0600, &err));
    ck_assert(proof_cache_find(state, key, &found));
    guest_table_free(&found);
    ck_assert_int_eq(chmod(path, 0666), 0);
    ck_assert(!proof_cache_find(state, key, &found));
}
END_TEST

START_TEST(the_oldest_go)
{
    autofree char *state = in_folder("many");
    autofree char *folder = in_folder("many/proofs");
    autoguesttable struct guest_table table = {0}, found = {0};
    char key[DIGEST_HEX_SIZE], first[DIGEST_HEX_SIZE];
    make_table(13, &table);
    make_key("h", "w0", first);
    for (int i = 0; i < CACHE_ENTRIES_MAX + 3; i++) {
        autofree char *word = string_format("w%d", i);
        make_key("h", word, key);
        proof_cache_store(state, key, &table);
        autofree char *path = string_format("%s/%s.json", folder, key);
        struct utimbuf when = {1000000 + i, 1000000 + i};
        ck_assert_int_eq(utime(path, &when), 0);
    }
    ck_assert_uint_eq(count_files(folder), CACHE_ENTRIES_MAX);
    ck_assert(!proof_cache_find(state, first, &found));
    ck_assert(proof_cache_find(state, key, &found));
}
END_TEST

START_TEST(not_writable)
{
    autofree char *state = in_folder("file");
    autoguesttable struct guest_table table = {0}, found = {0};
    char key[DIGEST_HEX_SIZE];
    make_key("h", "a", key);
    make_table(13, &table);
    MUST(file_write_atomic(state, "", 0, 0600, &err));
    proof_cache_store(state, key, &table);
    ck_assert(!proof_cache_find(state, key, &found));
}
END_TEST

START_TEST(refusals)
{
    static const struct {
        const char *said, *names;
    } rows[] = {
        {"", ""},
        {"qemu-system-x86_64: some other trouble", ""},
        {"q: warning: TCG doesn't support requested feature: CPUID.07H:EBX.avx512f [bit 16]",
         "avx512f"},
        {"host doesn't support requested feature: CPUID.01H:ECX.sse3 [bit 0]\n"
         "host doesn't support requested feature: CPUID.01H:ECX.sse3 [bit 0]\n"
         "This feature depends on other features that were not requested: MSR(48BH).vmx-ept [bit "
         "1]\n",
         "sse3 vmx-ept"},
        {"q: error: failed to set MSR 0x10a to 0x69\nq: ../kvm.c:3: x: Assertion `ret' failed.\n",
         "arch-capabilities"},
        {"failed to set MSR 0x48d to 0x5600000016", "vmx"},
        {"failed to set MSR 0x345 to 0x1\nfailed to set MSR 0xcf to 0x1", "pdcm core-capability"},
        {"failed to set MSR 0x1234 to 0x0", ""},
        {"failed to set MSR 0x", ""},
        {"CPUID. [bit 3]", ""},
        {"CPUID.07H:EBX.; rm -rf [bit 3]", ""},
        {"MSR( [bit", ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        autostrlist struct strlist names = {0};
        ck_assert(guest_refusal_features(rows[i].said, &names));
        autofree char *found = strlist_join(&names, " ");
        ck_assert_str_eq(found, rows[i].names);
    }
}
END_TEST

/* A process that waits in a pause, with a child that does, too, or without. */
static pid_t start_waiting(bool with_child)
{
    int ready[2];
    char byte;
    ck_assert_int_eq(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (with_child && fork() == 0) {
            pause();
            _exit(0);
        }
        (void)!write(ready[1], "x", 1);
        pause();
        _exit(0);
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void end(pid_t pid)
{
    autofree char *path = string_format("/proc/%d/task/%d/children", pid, pid);
    autofree char *text = NULL;
    size_t length;
    if (file_read(path, 4096, true, &text, &length, NULL) && text && atoi(text) > 0)
        kill(atoi(text), SIGKILL);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

START_TEST(files_of_a_process)
{
    char mine[DIGEST_HEX_SIZE], its[DIGEST_HEX_SIZE], of_parent[DIGEST_HEX_SIZE] = "x";
    pid_t one = start_waiting(false), parent = start_waiting(true), other = start_waiting(false);
    struct stat st;
    ck_assert_int_eq(stat("/proc/self/exe", &st), 0);
    MUST(qemu_files_digest(one, st.st_dev, st.st_ino, mine, &err));
    MUST(qemu_files_digest(other, st.st_dev, st.st_ino, its, &err));
    ck_assert_uint_eq(strlen(mine), DIGEST_HEX_SIZE - 1);
    ck_assert_str_eq(mine, its); /* the same program */
    MUST(qemu_files_digest(parent, st.st_dev, st.st_ino, of_parent, &err));
    ck_assert_str_eq(of_parent, ""); /* it may be a wrapper that waits for the real one */
    strcpy(of_parent, "x");
    MUST(qemu_files_digest(one, st.st_dev, st.st_ino + 1, of_parent, &err));
    ck_assert_str_eq(of_parent, ""); /* a script started it */
    end(one);
    end(parent);
    end(other);
    MUST(qemu_files_digest(one, st.st_dev, st.st_ino, of_parent, &err));
    ck_assert_str_eq(of_parent, ""); /* nothing there to look at */
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        keys, used_again, not_used_again, the_oldest_go, not_writable, refusals, files_of_a_process,
    };
    return unit_run("proof", tests, COUNT(tests));
}
