/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What QEMU answered before: when it counts, and when it does not.
 */
#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <utime.h>

#include "base/cache.h"
#include "base/file.h"
#include "base/paths.h"
#include "host/probe_cache.h"
#include "host/probe_key.h"
#include "host/qemu_files.h"
#include "host/system.h"

static const struct probe_parameters parameters = {.machine = "pc-q35-7.2", .accel = "tcg"};

static void write_file(const char *path, const char *text)
{
    MUST(file_write_atomic(path, text, strlen(text), 0700, &err));
}

/* A QEMU in a folder of its own, NAME/bin/qemu, with a library and a module. */
struct scene {
    char *state, *bin, *qemu, *library, *module;
    struct qemu_binary binary;
    struct strlist files;
};

static void scene_free(struct scene *scene)
{
    free(scene->state);
    free(scene->bin);
    free(scene->qemu);
    free(scene->library);
    free(scene->module);
    strlist_free(&scene->files);
}
#define autoscene __attribute__((cleanup(scene_free)))

static void look_at(struct scene *scene)
{
    const char *const paths[] = {scene->qemu, scene->library, scene->module};
    struct stat st;
    strlist_free(&scene->files);
    scene->files = (struct strlist){0};
    for (size_t i = 0; i < COUNT(paths); i++) {
        ck_assert_int_eq(stat(paths[i], &st), 0);
        ck_assert(strlist_push_owned(&scene->files, file_identity(paths[i], &st)));
    }
    ck_assert_int_eq(stat(scene->qemu, &st), 0);
    scene->binary = (struct qemu_binary){scene->qemu, st.st_dev, st.st_ino, st.st_ctim};
}

static struct scene scene_make(void)
{
    struct scene scene = {.state = in_folder("state"),
                          .bin = in_folder("bin"),
                          .qemu = in_folder("bin/qemu system"), /* a blank in its name */
                          .library = in_folder("libs/libfoo.so"),
                          .module = in_folder("mods/accel.so")};
    autofree char *libs = in_folder("libs"), *mods = in_folder("mods");
    MUST(folder_make(scene.bin, 0700, &err));
    MUST(folder_make(libs, 0700, &err));
    MUST(folder_make(mods, 0700, &err));
    write_file(scene.qemu, "qemu");
    write_file(scene.library, "library");
    write_file(scene.module, "module");
    look_at(&scene);
    return scene;
}

static json_t *words_of(const struct scene *scene, const struct probe_parameters *asked)
{
    struct error err = ERROR_INIT;
    json_t *words = probe_key_words_now(&scene->binary, asked, &err);
    ck_assert_msg(words != NULL, "%s", err.message);
    return words;
}

/* Asked now, as if nothing had changed for long: these files were made just now. */
static void ask_later(struct probe_question *question, json_t *words)
{
    probe_question_init(question, words);
    ck_assert_ptr_nonnull(question->words);
    question->when.tv_sec += 1000;
}

static void keep(const struct scene *scene, const struct probe_question *question, int mark)
{
    probe_cache_store(scene->state, question, &scene->files, json_deep_copy(question->words),
                      json_pack("{s:i}", "mark", mark));
}

/* The mark of the answer that is found, or -1. */
static int mark_found(const struct scene *scene, const struct probe_question *question)
{
    autostrlist struct strlist files = {0};
    autojson json_t *answer = probe_cache_find(scene->state, question, &files);
    ck_assert_uint_eq(files.count, answer ? scene->files.count : 0);
    for (size_t i = 0; i < files.count; i++)
        ck_assert_str_eq(files.items[i], scene->files.items[i]);
    return answer ? (int)json_integer_value(json_object_get(answer, "mark")) : -1;
}

static char *entry_path(const struct scene *scene, const struct probe_question *question)
{
    char *path = string_format("%s/probes/%s.json", scene->state, question->key);
    ck_assert_ptr_nonnull(path);
    return path;
}

START_TEST(used_again)
{
    autoscene struct scene scene = scene_make();
    autoprobequestion struct probe_question cpu = {0}, open = {0}, nothing = {0};
    struct stat st;
    ask_later(&cpu, words_of(&scene, &parameters));
    ask_later(&open, words_of(&scene, NULL));
    ck_assert_int_eq(mark_found(&scene, &cpu), -1);
    keep(&scene, &cpu, 1);
    ck_assert_int_eq(mark_found(&scene, &open), -1);
    keep(&scene, &open, 2);
    ck_assert_int_eq(mark_found(&scene, &cpu), 1);
    ck_assert_int_eq(mark_found(&scene, &open), 2);
    keep(&scene, &cpu, 3); /* the last word counts */
    ck_assert_int_eq(mark_found(&scene, &cpu), 3);
    autofree char *path = entry_path(&scene, &cpu);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    ck_assert_int_eq(mark_found(&scene, &nothing), -1); /* one that could not be asked */
    keep(&scene, &nothing, 4);
    ck_assert_int_eq(mark_found(&scene, &nothing), -1);
}
END_TEST

/* Changes the number-th leaf below value; counts *number down. True when it was there. */
static bool change_leaf(json_t *value, int *number)
{
    const char *name;
    void *next;
    json_t *member;
    size_t i;
    if (json_is_object(value)) {
        json_object_foreach_safe(value, next, name,
                                 member) if (change_leaf(member, number)) return true;
        return false;
    }
    if (json_is_array(value)) {
        json_array_foreach(
            value, i,
            member) if (json_is_string(member) &&
                        (*number)-- ==
                            0) return json_array_set_new(value, i,
                                                         json_sprintf("%s!", json_string_value(
                                                                                 member))) == 0;
        return false;
    }
    if ((*number)-- != 0)
        return false;
    if (json_is_string(value)) {
        autofree char *changed = string_format("%s!", json_string_value(value));
        return json_string_set(value, changed) == 0;
    }
    return json_integer_set(value, json_integer_value(value) + 1) == 0;
}

/* jansson's true and false are not changed in place. */
static void bools_to_numbers(json_t *value)
{
    const char *name;
    void *next;
    json_t *member;
    if (json_is_object(value))
        json_object_foreach_safe(value, next, name, member)
        {
            if (json_is_boolean(member))
                json_object_set_new(value, name, json_integer(json_is_true(member)));
            else
                bools_to_numbers(member);
        }
}

START_TEST(any_word_of_the_key_that_differs)
{
    static const char *const names[] = {"format",  "table",  "backend_table", "asked",
                                        "path",    "binary", "modules",       "loader",
                                        "boot_id", "kernel", "cpuid",         "kvm"};
    autoscene struct scene scene = scene_make();
    autoprobequestion struct probe_question asked = {0};
    setenv("LD_PRELOAD", "", 1);
    json_t *words = words_of(&scene, &parameters);
    bools_to_numbers(words);
    ask_later(&asked, words);
    for (size_t i = 0; i < COUNT(names); i++)
        ck_assert_msg(json_object_get(words, names[i]) != NULL, "%s", names[i]);
    ck_assert_uint_eq(json_object_size(words), COUNT(names));
    keep(&scene, &asked, 1);
    ck_assert_int_eq(mark_found(&scene, &asked), 1);
    autofree char *path = entry_path(&scene, &asked);
    autofree char *text = NULL;
    size_t length;
    MUST(file_read(path, SIZE_MAX, false, &text, &length, &err));
    int leaves = 0;
    for (;; leaves++) {
        autojson json_t *changed = json_deep_copy(words);
        autoprobequestion struct probe_question other = {0};
        int number = leaves;
        if (!change_leaf(changed, &number))
            break;
        ck_assert(!json_equal(changed, words));
        ask_later(&other, json_incref(changed));
        ck_assert_str_ne(other.key, asked.key);
        ck_assert_int_eq(mark_found(&scene, &other), -1);
        /* not by its name alone: this one's entry in the other one's place */
        autofree char *others = entry_path(&scene, &other);
        MUST(file_write_atomic(others, text, length, 0600, &err));
        ck_assert_int_eq(mark_found(&scene, &other), -1);
        ck_assert_int_eq(unlink(others), 0);
    }
    ck_assert_int_gt(leaves, 20);
    ck_assert_int_eq(mark_found(&scene, &asked), 1);
}
END_TEST

static bool same_words(const struct scene *scene, const struct probe_parameters *asked,
                       const json_t *words)
{
    autojson json_t *now = words_of(scene, asked);
    return json_equal(now, words);
}

START_TEST(what_is_asked)
{
    static const struct probe_parameters others[] = {
        {.machine = "pc-q35-7.1", .accel = "tcg"},
        {.machine = "pc-q35-7.2", .accel = "kvm"},
        {.machine = "pc-q35-7.2", .accel = "tcg", .kernel_irqchip = "split"},
        {.machine = "pc-q35-7.2", .accel = "tcg", .cpu_pm = true},
    };
    autoscene struct scene scene = scene_make();
    autojson json_t *words = words_of(&scene, &parameters);
    ck_assert(same_words(&scene, &parameters, words));
    ck_assert(!same_words(&scene, NULL, words));
    for (size_t i = 0; i < COUNT(others); i++)
        ck_assert_msg(!same_words(&scene, &others[i], words), "%zu", i);
    /* this host is in it as it is */
    autojson json_t *kernel = system_kernel(NULL), *kvm = system_kvm(NULL);
    ck_assert(json_equal(json_object_get(words, "kernel"), kernel));
    ck_assert(json_equal(json_object_get(words, "kvm"), kvm));
    ck_assert_ptr_nonnull(json_object_get(kernel, "modules"));
}
END_TEST

START_TEST(the_environment)
{
    static const struct {
        const char *name, *value;
        bool counts;
    } rows[] = {
        {"LD_PRELOAD", "/lib/x.so", true},      {"LD_LIBRARY_PATH", "/opt/lib:/x", true},
        {"LD_AUDIT", "/lib/audit.so", true},    {"GLIBC_TUNABLES", "glibc.cpu.x=1", true},
        {"QEMU_MODULE_DIR", "/opt/mods", true}, {"QEMU_MIGRATE_LAUNCH_HOME", "/x", false},
        {"HOME", "/elsewhere", false},          {"MY_LD_PRELOAD", "x", false},
    };
    autoscene struct scene scene = scene_make();
    for (size_t i = 0; i < COUNT(rows); i++)
        unsetenv(rows[i].name);
    autojson json_t *words = words_of(&scene, &parameters);
    for (size_t i = 0; i < COUNT(rows); i++) {
        setenv(rows[i].name, rows[i].value, 1);
        ck_assert_msg(same_words(&scene, &parameters, words) != rows[i].counts, "%s", rows[i].name);
        unsetenv(rows[i].name);
    }
    ck_assert(same_words(&scene, &parameters, words));
}
END_TEST

/* In a folder where libraries or modules are looked for, nothing has been found so far. */
START_TEST(folders_that_are_searched)
{
    static const char *const names[] = {"LD_LIBRARY_PATH", "QEMU_MODULE_DIR", NULL};
    autoscene struct scene scene = scene_make();
    for (size_t i = 0; i < COUNT(names); i++) {
        autofree char *folder =
            names[i] ? in_folder(names[i]) : in_folder("lib/x86_64-linux-gnu/qemu");
        autofree char *file = path_join(folder, "new.so", "");
        if (names[i])
            setenv(names[i], folder, 1);
        autojson json_t *none = words_of(&scene, &parameters);
        MUST(folder_make(folder, 0700, &err));
        autojson json_t *empty = words_of(&scene, &parameters);
        ck_assert(!json_equal(none, empty));
        usleep(20000); /* a tick of the clock of files */
        write_file(file, "");
        ck_assert(!same_words(&scene, &parameters, empty));
        if (names[i])
            unsetenv(names[i]);
    }
}
END_TEST

START_TEST(the_binary)
{
    autoscene struct scene scene = scene_make();
    autojson json_t *words = words_of(&scene, &parameters);
    struct utimbuf when = {1, 1};
    ck_assert_int_eq(utime(scene.qemu, &when), 0);
    ck_assert(!same_words(&scene, &parameters, words));
    autofree char *kept = in_folder("kept");
    ck_assert_int_eq(rename(scene.qemu, kept), 0);
    MUST_FAIL(STATUS_CONFIG, "qemu system", probe_key_words_now(&scene.binary, &parameters, &err));
    write_file(scene.qemu, "qemu");
    MUST_FAIL(STATUS_CONFIG, "replaced", probe_key_words_now(&scene.binary, &parameters, &err));
    look_at(&scene);
    ck_assert(!same_words(&scene, &parameters, words));
    /* the same file by another name: modules are looked for beside it */
    autofree char *link_path = in_folder("libs/qemu");
    ck_assert_int_eq(link(scene.qemu, link_path), 0);
    autojson json_t *here = words_of(&scene, &parameters);
    free(scene.qemu);
    scene.qemu = STEAL(link_path);
    look_at(&scene);
    ck_assert(!same_words(&scene, &parameters, here));
}
END_TEST

START_TEST(any_cpu_of_this_host)
{
    autoscene struct scene scene = scene_make();
    autojson json_t *words = words_of(&scene, &parameters);
    cpu_set_t all;
    ck_assert_int_eq(sched_getaffinity(0, sizeof(all), &all), 0);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        if (CPU_ISSET(cpu, &all) && sched_setaffinity(0, sizeof(one), &one) == 0)
            ck_assert_msg(same_words(&scene, &parameters, words), "CPU %d", cpu);
    }
}
END_TEST

static void touch(const struct scene *scene)
{
    struct utimbuf when = {1000, 1000};
    ck_assert_int_eq(utime(scene->library, &when), 0);
}

/* Written in place, with its size and mtime as before. */
static void rewrite(const struct scene *scene)
{
    struct stat st;
    ck_assert_int_eq(stat(scene->module, &st), 0);
    usleep(20000);
    int fd = open(scene->module, O_WRONLY);
    ck_assert_int_eq(write(fd, "MODULE", 6), 6);
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    ck_assert_int_eq(futimens(fd, times), 0);
    close(fd);
}

static void replace(const struct scene *scene)
{
    write_file(scene->library, "library");
}

static void take_away(const struct scene *scene)
{
    ck_assert_int_eq(unlink(scene->module), 0);
}

static void grow(const struct scene *scene)
{
    ck_assert_int_eq(truncate(scene->qemu, 100), 0);
}

static void add_beside(const struct scene *scene)
{
    autofree char *path = in_folder("mods/new-module.so");
    usleep(20000);
    write_file(path, "");
}

static void add_beside_qemu(const struct scene *scene)
{
    autofree char *path = in_folder("bin/qemu.conf");
    usleep(20000);
    write_file(path, "");
}

static void move_folder(const struct scene *scene)
{
    autofree char *libs = in_folder("libs"), *moved = in_folder("moved");
    ck_assert_int_eq(rename(libs, moved), 0);
    MUST(folder_make(libs, 0700, &err));
    autofree char *from = in_folder("moved/libfoo.so");
    ck_assert_int_eq(link(from, scene->library), 0);
}

START_TEST(files_that_change)
{
    static void (*const changes[])(const struct scene *) = {
        touch, rewrite, replace, take_away, grow, add_beside, add_beside_qemu, move_folder,
    };
    for (size_t i = 0; i < COUNT(changes); i++) {
        autoscene struct scene scene = scene_make();
        autoprobequestion struct probe_question asked = {0};
        ask_later(&asked, words_of(&scene, &parameters));
        keep(&scene, &asked, 1);
        ck_assert_int_eq(mark_found(&scene, &asked), 1);
        changes[i](&scene);
        ck_assert_msg(mark_found(&scene, &asked) == -1, "change %zu", i);
        unit_folder_remove();
        ck_assert_int_eq(mkdir(unit_folder, 0700), 0);
    }
}
END_TEST

START_TEST(not_kept)
{
    autoscene struct scene scene = scene_make();
    autoprobequestion struct probe_question asked = {0}, fresh = {0};
    autostrlist struct strlist none = {0}, untrue = {0};
    ask_later(&asked, words_of(&scene, &parameters));
    /* a wrapper script */
    probe_cache_store(scene.state, &asked, &none, json_incref(asked.words), json_object());
    ck_assert_int_eq(mark_found(&scene, &asked), -1);
    /* another root: what is there is not what QEMU saw */
    ck_assert(strlist_push(&untrue, scene.files.items[0]));
    ck_assert(strlist_pushf(&untrue, "%s1", scene.files.items[1]));
    probe_cache_store(scene.state, &asked, &untrue, json_incref(asked.words), json_object());
    ck_assert_int_eq(mark_found(&scene, &asked), -1);
    /* something else has changed meanwhile, or cannot be told */
    probe_cache_store(scene.state, &asked, &scene.files, json_object(), json_object());
    probe_cache_store(scene.state, &asked, &scene.files, NULL, json_object());
    probe_cache_store(scene.state, &asked, &scene.files, json_incref(asked.words), NULL);
    ck_assert_int_eq(mark_found(&scene, &asked), -1);
    /* files as new as these may be other ones than QEMU has loaded */
    probe_question_init(&fresh, words_of(&scene, &parameters));
    struct stat newest;
    ck_assert_int_eq(stat(scene.module, &newest), 0);
    fresh.when = newest.st_mtim;
    keep(&scene, &fresh, 1);
    ck_assert_int_eq(mark_found(&scene, &fresh), -1);
    keep(&scene, &asked, 1);
    ck_assert_int_eq(mark_found(&scene, &fresh), 1); /* it was the time alone */
}
END_TEST

START_TEST(damaged)
{
    static const char *const contents[] = {
        "",
        "{",
        "[]",
        "{}",
        "null",
        "garbage",
        "{\"asked\":1,\"asked\":2}",
        "{\"answer\":{},\"asked\":{},\"files\":[],\"folders\":[]}",
    };
    static const char *const members[] = {"answer", "asked", "files", "folders"};
    autoscene struct scene scene = scene_make();
    autoprobequestion struct probe_question asked = {0};
    ask_later(&asked, words_of(&scene, &parameters));
    keep(&scene, &asked, 1);
    autofree char *path = entry_path(&scene, &asked);
    autofree char *good = NULL;
    size_t length;
    MUST(file_read(path, SIZE_MAX, false, &good, &length, &err));
    for (size_t i = 0; i < COUNT(contents); i++) {
        MUST(file_write_atomic(path, contents[i], strlen(contents[i]), 0600, &err));
        ck_assert_msg(mark_found(&scene, &asked) == -1, "%s", contents[i]);
    }
    for (size_t cut = 0; cut < length; cut += 97) {
        MUST(file_write_atomic(path, good, cut, 0600, &err));
        ck_assert_int_eq(mark_found(&scene, &asked), -1);
    }
    for (size_t i = 0; i < COUNT(members); i++) {
        for (int how = 0; how < 3; how++) {
            autojson json_t *entry = json_parse_strict(good, length, SIZE_MAX, NULL);
            if (how == 0)
                json_object_del(entry, members[i]);
            else if (how == 1)
                json_object_set_new(entry, "another", json_true());
            else if (strcmp(members[i], "answer") != 0) /* which is its reader's to judge */
                json_object_set_new(entry, members[i], json_pack("[i, s]", 1, "/x"));
            else
                continue;
            autofree char *text = json_to_text(entry);
            MUST(file_write_atomic(path, text, strlen(text), 0600, &err));
            ck_assert_msg(mark_found(&scene, &asked) == -1, "%s %d", members[i], how);
        }
    }
    /* files without the fields of a line, or none of them in a folder */
    static const char *const lines[] = {"", " ", "/x", "1 2 3 4 5", "/ 1 2 3 4 5", "x 1 2 3 4 5"};
    for (size_t i = 0; i < 2 * COUNT(lines); i++) {
        autojson json_t *entry = json_parse_strict(good, length, SIZE_MAX, NULL);
        json_t *list = json_object_get(entry, i % 2 ? "files" : "folders");
        json_array_append_new(list, json_string(lines[i / 2]));
        autofree char *text = json_to_text(entry);
        MUST(file_write_atomic(path, text, strlen(text), 0600, &err));
        ck_assert_msg(mark_found(&scene, &asked) == -1, "'%s'", lines[i / 2]);
    }
    /* too large, if only by blanks */
    autofree char *large = malloc((2 << 20) + length);
    memset(large, ' ', 2 << 20);
    memcpy(large + (2 << 20), good, length);
    MUST(file_write_atomic(path, large, (2 << 20) + length, 0600, &err));
    ck_assert_int_eq(mark_found(&scene, &asked), -1);
    /* what others can write; a link to nothing; a folder */
    MUST(file_write_atomic(path, good, length, 0600, &err));
    ck_assert_int_eq(mark_found(&scene, &asked), 1);
    ck_assert_int_eq(chmod(path, 0620), 0);
    ck_assert_int_eq(mark_found(&scene, &asked), -1);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(symlink("nowhere", path), 0);
    ck_assert_int_eq(mark_found(&scene, &asked), -1);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(mark_found(&scene, &asked), -1);
    keep(&scene, &asked, 1);
    ck_assert_int_eq(mark_found(&scene, &asked), -1);
    ck_assert_int_eq(rmdir(path), 0);
    keep(&scene, &asked, 2);
    ck_assert_int_eq(mark_found(&scene, &asked), 2);
}
END_TEST

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

static void ask_number(const struct scene *scene, int number, struct probe_question *question)
{
    autofree char *machine = string_format("pc-q35-%d", number);
    struct probe_parameters asked = {.machine = machine, .accel = "tcg"};
    ask_later(question, words_of(scene, &asked));
}

START_TEST(the_oldest_go)
{
    autoscene struct scene scene = scene_make();
    autofree char *folder = in_folder("state/probes");
    for (int i = 0; i < CACHE_ENTRIES_MAX + 1; i++) {
        autoprobequestion struct probe_question question = {0};
        ask_number(&scene, i, &question);
        keep(&scene, &question, i);
        autofree char *path = entry_path(&scene, &question);
        struct utimbuf when = {1000000 + i, 1000000 + i};
        ck_assert_int_eq(utime(path, &when), 0);
    }
    ck_assert_uint_eq(count_files(folder), CACHE_ENTRIES_MAX);
    for (int i = 0; i < CACHE_ENTRIES_MAX + 1; i++) {
        autoprobequestion struct probe_question question = {0};
        ask_number(&scene, i, &question);
        ck_assert_int_eq(mark_found(&scene, &question), i == 0 ? -1 : i);
    }
    /* more than there should be come down again */
    for (int i = 0; i < 5; i++) {
        autofree char *path = string_format("%s/%064d.json", folder, i);
        write_file(path, "{}");
    }
    autoprobequestion struct probe_question question = {0};
    ask_number(&scene, 1000, &question);
    keep(&scene, &question, 1000);
    ck_assert_uint_eq(count_files(folder), CACHE_ENTRIES_MAX);
    ck_assert_int_eq(mark_found(&scene, &question), 1000);
}
END_TEST

START_TEST(several_at_once)
{
    enum { PROCESSES = 4, ROUNDS = 100 };
    autoscene struct scene scene = scene_make();
    autofree char *folder = in_folder("state/probes");
    autoprobequestion struct probe_question asked = {0};
    ask_later(&asked, words_of(&scene, &parameters));
    keep(&scene, &asked, 0);
    pid_t pids[PROCESSES];
    for (int p = 0; p < PROCESSES; p++) {
        if ((pids[p] = fork()) != 0)
            continue;
        for (int i = 0; i < ROUNDS; i++) {
            keep(&scene, &asked, p);
            int mark = mark_found(&scene, &asked); /* one of them wrote it, and whole */
            if (mark < 0 || mark >= PROCESSES)
                _exit(1);
        }
        _exit(0);
    }
    for (int p = 0; p < PROCESSES; p++) {
        int status;
        ck_assert_int_eq(waitpid(pids[p], &status, 0), pids[p]);
        ck_assert_int_eq(status, 0);
    }
    ck_assert_uint_eq(count_files(folder), 1);
    ck_assert_int_ge(mark_found(&scene, &asked), 0);
}
END_TEST

START_TEST(not_writable)
{
    autoscene struct scene scene = scene_make();
    autoprobequestion struct probe_question asked = {0};
    ask_later(&asked, words_of(&scene, &parameters));
    write_file(scene.state, "no folder");
    keep(&scene, &asked, 1);
    ck_assert_int_eq(mark_found(&scene, &asked), -1);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        used_again,
        any_word_of_the_key_that_differs,
        what_is_asked,
        the_environment,
        folders_that_are_searched,
        the_binary,
        any_cpu_of_this_host,
        files_that_change,
        not_kept,
        damaged,
        the_oldest_go,
        several_at_once,
        not_writable,
    };
    return unit_run("probe cache", tests, COUNT(tests));
}
