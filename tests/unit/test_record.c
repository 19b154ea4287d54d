/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The record of where a VM is: what it says when it is started again.
 */
#include "unit.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"
#include "vm/record.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define HEX32 "0123456789abcdef0123456789abcdef"
#define OTHER_BOOT "00000000-0000-0000-0000-000000000000"

static struct paths paths;

/* A record of this very process; the folder for it is there. */
static void make(struct vm_record *record)
{
    paths = (struct paths){.state = unit_folder, .run = unit_folder, .config = unit_folder};
    autofree char *folder = in_folder("vms");
    MUST(folder_make(folder, 0700, &err));
    *record = (struct vm_record){.vm = strdup("web1"),
                                 .role = ROLE_SOURCE,
                                 .socket = strdup("/run/x"),
                                 .agreement = HEX64,
                                 .peer = strdup("b"),
                                 .peer_host = strdup("::1"),
                                 .peer_port = 65535,
                                 .qemu = strdup("/usr/bin/qemu"),
                                 .arguments = {.machine = strdup("pc-q35-7.2,kernel-irqchip=split"),
                                               .accel = strdup("tcg"),
                                               .smp = strdup("cpus=2")}};
    MUST(vm_record_set_self(record, &err));
}

#define TEXT_OF(value) #value
#define TEXT(value) TEXT_OF(value)
#define TABLE TEXT(VISIBLE_TABLE_VERSION)

START_TEST(round_trip)
{
    autovmrecord struct vm_record record, back = {0}, none = {0};
    make(&record);
    record.place = PLACE_MOVING;
    record.role = ROLE_DESTINATION;
    ck_assert_int_eq(record.pid, getpid());
    ck_assert_uint_eq(strlen(record.boot_id), 36);
    MUST(vm_record_store(&paths, &record, &err));
    MUST(vm_record_load(&paths, "web1", &back, &err));
    ck_assert_str_eq(back.vm, "web1");
    ck_assert_str_eq(back.qemu, "/usr/bin/qemu");
    ck_assert_str_eq(back.arguments.machine, "pc-q35-7.2,kernel-irqchip=split");
    ck_assert_str_eq(back.arguments.smp, "cpus=2");
    ck_assert(back.place == PLACE_MOVING && back.role == ROLE_DESTINATION);
    ck_assert(back.pid == record.pid && back.started == record.started);
    ck_assert_str_eq(back.boot_id, record.boot_id);
    ck_assert_str_eq(back.socket, "/run/x");
    ck_assert_str_eq(back.agreement, HEX64);
    ck_assert_str_eq(back.peer, "b");
    ck_assert_str_eq(back.peer_host, "::1");
    ck_assert_uint_eq(back.peer_port, 65535);
    /* What belongs to a guardian is not there. */
    ck_assert(!back.guarded && back.guardian_port == 0);
    ck_assert_str_eq(back.guardian_address, "");
    ck_assert_str_eq(back.migration.id, "");
    ck_assert_ptr_null(back.migration.host);
    autofree char *path = in_folder("vms/web1.json");
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    MUST(vm_record_load(&paths, "other", &none, &err));
    ck_assert_ptr_null(none.vm);
    ck_assert(!vm_record_is_running(&none));
    MUST(vm_record_check_launch(&none, false, false, &err));
}
END_TEST

/* With a guardian, and a migration. */
static void make_moving(struct vm_record *record)
{
    make(record);
    record->guarded = true;
    record->guardian_address = strdup("192.0.2.7");
    record->guardian_port = 49152;
    record->migration = (struct vm_migration){
        .id = HEX32, .host = strdup("2001:db8::1"), .port = 16515, .run = true};
}

START_TEST(round_trip_of_a_migration)
{
    autovmrecord struct vm_record record;
    make_moving(&record);
    for (int i = 0; i < 32; i++) {
        autovmrecord struct vm_record back = {0};
        struct vm_migration *migration = &record.migration;
        record.place = (enum vm_place)(i % (PLACE_ELSEWHERE + 1));
        record.role = i % 2 ? ROLE_DESTINATION : ROLE_SOURCE;
        record.guarded = i & 1;
        record.guardian_port = i & 2 ? 65535 : 0;
        migration->port = i & 4 ? 65535 : 1;
        migration->run = i & 1;
        migration->keep_source = i & 2;
        migration->direct = i & 8;
        migration->postcopy = i & 16;
        json_decref(migration->undo);
        migration->undo =
            i & 4 ? json_pack("{s:{s:b}, s:{s:i}}", "capabilities", "x", 1, "parameters", "y", i)
                  : NULL;
        MUST(vm_record_store(&paths, &record, &err));
        MUST(vm_record_load(&paths, "web1", &back, &err));
        ck_assert(back.place == record.place && back.role == record.role);
        ck_assert(back.guarded == record.guarded && back.guardian_port == record.guardian_port);
        ck_assert_str_eq(back.guardian_address, "192.0.2.7");
        ck_assert_str_eq(back.migration.id, HEX32);
        ck_assert_str_eq(back.migration.host, "2001:db8::1");
        ck_assert_uint_eq(back.migration.port, migration->port);
        ck_assert(back.migration.run == migration->run &&
                  back.migration.keep_source == migration->keep_source &&
                  back.migration.direct == migration->direct &&
                  back.migration.postcopy == migration->postcopy);
        ck_assert(back.migration.undo ? json_equal(back.migration.undo, migration->undo)
                                      : !migration->undo);
    }
    autofree char *path = in_folder("vms/web1.json"), *text = NULL;
    size_t length;
    record.place = PLACE_TOLD;
    MUST(vm_record_store(&paths, &record, &err));
    MUST(file_read(path, 1 << 16, false, &text, &length, &err));
    ck_assert_ptr_nonnull(strstr(text, "\"place\":\"told\""));
    ck_assert_ptr_nonnull(strstr(text, "\"version\":4"));
}
END_TEST

/* A command line of any bytes, and what a guest sees of it; versions 2 and 3, which had less. */
START_TEST(command_line)
{
    static const char *const words[] = {
        "qemu-system-x86_64", "-name", "caf\xc3\xa9 \\x41", "", "\\", "\x7f\n\t", "a,\"b\"' $c"};
    autovmrecord struct vm_record record, back = {0}, old = {0};
    make(&record);
    for (size_t i = 0; i < COUNT(words); i++)
        ck_assert(strlist_push(&record.argv, words[i]));
    autoarglist struct arglist list = {0};
    autovisiblelist struct visible_list visible = {0};
    char qemu[] = "qemu", option[] = "-m", size[] = "1G", *line[] = {qemu, option, size};
    MUST(arglist_parse(&list, 3, line, &err));
    MUST(visible_list_read(&list, &visible, &err));
    MUST(vm_record_set_visible(&record, &visible, &err));
    MUST(vm_record_store(&paths, &record, &err));
    MUST(vm_record_load(&paths, "web1", &back, &err));
    autovisiblefound struct visible_found found = {0};
    MUST(visible_compare(&visible, "a", &back.visible, "b", NULL, &found, &err));
    ck_assert_uint_eq(back.visible.count, visible.count);
    ck_assert_uint_eq(found.differences.count + found.doubts.count, 0);
    ck_assert_uint_eq(back.argv.count, COUNT(words));
    for (size_t i = 0; i < COUNT(words); i++)
        ck_assert_str_eq(back.argv.items[i], words[i]);
    autofree char *path = in_folder("vms/web1.json"), *text = NULL;
    size_t length;
    MUST(file_read(path, 1 << 16, false, &text, &length, &err));
    autojson json_t *json = json_loads(text, 0, NULL);
    json_object_del(json, "visible");
    json_object_set_new(json, "version", json_integer(3));
    autovmrecord struct vm_record older = {0};
    autofree char *third = json_to_text(json);
    MUST(file_write_atomic(path, third, strlen(third), 0600, &err));
    MUST(vm_record_load(&paths, "web1", &older, &err));
    ck_assert_uint_eq(older.argv.count, COUNT(words));
    ck_assert_uint_eq(older.visible.version, 0);
    json_object_del(json, "argv");
    json_object_set_new(json, "version", json_integer(2));
    autofree char *without = json_to_text(json);
    MUST(file_write_atomic(path, without, strlen(without), 0600, &err));
    MUST(vm_record_load(&paths, "web1", &old, &err));
    ck_assert_uint_eq(old.argv.count, 0);
    ck_assert_str_eq(old.vm, "web1");
    json_object_set_new(json, "version", json_integer(3));
    autofree char *bad = json_to_text(json);
    MUST(file_write_atomic(path, bad, strlen(bad), 0600, &err));
    autovmrecord struct vm_record none = {0};
    MUST_FAIL(STATUS_DATA, "web1.json", vm_record_load(&paths, "web1", &none, &err));
}
END_TEST

/* The longest that is kept, all of it escaped, and one more. */
START_TEST(long_command_line)
{
    autovmrecord struct vm_record record;
    make(&record);
    for (int more = 0; more < 2; more++) {
        autovmrecord struct vm_record back = {0};
        autoarglist struct arglist list = {0};
        size_t length = ((size_t)64 << 10) - strlen("qemu") - 1 - strlen("-name") - 1 - 1;
        autofree char *name = calloc(1, length + 2);
        memset(name, '\xff', length + (size_t)more);
        char qemu[] = "qemu", option[] = "-name";
        char *const argv[] = {qemu, option, name};
        MUST(arglist_parse(&list, 3, argv, &err));
        MUST(vm_record_set_argv(&record, &list, &err));
        MUST(vm_record_store(&paths, &record, &err));
        MUST(vm_record_load(&paths, "web1", &back, &err));
        ck_assert_uint_eq(back.argv.count, more ? 0 : 3);
    }
}
END_TEST

START_TEST(elsewhere)
{
    autovmrecord struct vm_record record = {0}, used, back = {0};
    MUST(vm_record_set_elsewhere(&record, "web1", HEX64, "b", &err));
    make(&used);
    MUST(vm_record_store(&paths, &record, &err));
    MUST(vm_record_load(&paths, "web1", &back, &err));
    ck_assert(back.place == PLACE_ELSEWHERE && back.pid == 0 && back.started == 0);
    ck_assert_str_eq(back.peer, "b");
    ck_assert_str_eq(back.boot_id, OTHER_BOOT);
    ck_assert_ptr_null(back.arguments.machine);
    ck_assert(!vm_record_is_running(&back));
    MUST(vm_record_set_elsewhere(&used, "web1", HEX64, "c", &err));
    ck_assert(used.place == PLACE_ELSEWHERE && used.peer_port == 0 && !used.guarded);
    ck_assert_str_eq(used.peer, "c");
    ck_assert_str_eq(used.peer_host, "");
    ck_assert_str_eq(used.qemu, "/usr/bin/qemu"); /* with what it was proven is still known */
    ck_assert_str_eq(used.arguments.smp, "cpus=2");
    ck_assert(!vm_record_is_running(&used));
}
END_TEST

START_TEST(who_runs)
{
    autovmrecord struct vm_record record;
    make(&record);
    ck_assert(vm_record_is_running(&record));
    uint64_t started = record.started;
    record.started = started + 1; /* the same pid, another process */
    ck_assert(!vm_record_is_running(&record));
    record.started = started;
    char boot_id[37];
    memcpy(boot_id, record.boot_id, 37);
    memcpy(record.boot_id, OTHER_BOOT, 37); /* before a reboot */
    ck_assert(!vm_record_is_running(&record));
    memcpy(record.boot_id, boot_id, 37);
    record.pid = 0;
    ck_assert(!vm_record_is_running(&record));
    record.pid = INT64_MAX;
    ck_assert(!vm_record_is_running(&record));
}
END_TEST

/* Without a descriptor to look with, nobody may take it for ended: it would be started twice. */
START_TEST(who_cannot_be_seen)
{
    autovmrecord struct vm_record record;
    struct rlimit limit, none;
    int pidfd = 7;
    make(&record);
    ck_assert_int_eq(vm_record_open_process(&record, &pidfd), LIFE_RUNS);
    close(pidfd);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = limit.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    enum vm_life life = vm_record_look(&record), opened = vm_record_open_process(&record, &pidfd);
    bool running = vm_record_is_running(&record);
    struct error err = ERROR_INIT;
    bool may = vm_record_check_launch(&record, false, false, &err);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_eq(life, LIFE_UNKNOWN);
    ck_assert_int_eq(opened, LIFE_UNKNOWN);
    ck_assert_int_eq(pidfd, -1);
    ck_assert(running);
    ck_assert(!may && err.status == STATUS_DECISION);
}
END_TEST

/* A child that ended and is not waited for yet does not run; its name may look like the rest of
 * its stat line. */
START_TEST(children)
{
    autovmrecord struct vm_record record;
    int fds[2];
    make(&record);
    ck_assert_int_eq(pipe(fds), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct vm_record own = {0};
        FILE *name = fopen("/proc/self/comm", "w");
        if (name && fputs(") S 1 2 3", name) >= 0)
            fclose(name);
        if (!vm_record_set_self(&own, NULL) ||
            write(fds[1], &own.started, sizeof(own.started)) != sizeof(own.started))
            _exit(1);
        for (;;)
            pause();
    }
    ck_assert_int_eq(read(fds[0], &record.started, sizeof(record.started)), 8);
    record.pid = pid;
    ck_assert(vm_record_is_running(&record));
    kill(pid, SIGKILL);
    siginfo_t info;
    ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    ck_assert(!vm_record_is_running(&record)); /* a zombie */
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert(!vm_record_is_running(&record)); /* gone */
    close(fds[0]);
    close(fds[1]);
}
END_TEST

START_TEST(launching)
{
    static const struct {
        bool running;
        enum vm_place place;
        bool incoming, take_back;
        const char *words; /* NULL: it may be launched */
    } rows[] = {
        {true, PLACE_HERE, false, false, "runs here already"},
        {true, PLACE_HERE, true, false, "runs here already"},
        {true, PLACE_HERE, false, true, "runs here already"},
        {true, PLACE_MOVING, false, false, "is moving from here already"},
        {true, PLACE_MOVING, true, false, "is moving"},
        {true, PLACE_MOVING, false, true, "is moving"},
        {true, PLACE_MOVED, false, false, "has moved to b"},
        {true, PLACE_MOVED, true, false, "end that one first"},
        {true, PLACE_MOVED, false, true, "end that one first"},
        {false, PLACE_HERE, false, false, NULL},
        {false, PLACE_HERE, true, false, NULL},
        {true, PLACE_INCOMING, false, false, "here already"},
        {false, PLACE_INCOMING, false, false, "waited here for"}, /* did it come? */
        {false, PLACE_INCOMING, true, false, NULL},
        {false, PLACE_INCOMING, false, true, NULL},
        {false, PLACE_MOVING, false, false, "was moving to b"},
        {false, PLACE_MOVING, true, false, NULL},
        {false, PLACE_MOVING, false, true, NULL},
        {false, PLACE_MOVED, false, false, "has moved to b"},
        {false, PLACE_MOVED, true, false, NULL},
        {false, PLACE_MOVED, false, true, NULL},
        {false, PLACE_ELSEWHERE, false, false, "web1 lives on b"},
        {false, PLACE_ELSEWHERE, false, false, "receive web1 --from b"},
        {false, PLACE_ELSEWHERE, false, true, NULL},
        {false, PLACE_ELSEWHERE, true, false, NULL},
    };
    /* Told: it may run there, whatever became of the QEMU here. */
    static const struct {
        enum vm_role role;
        bool running, incoming, take_back;
        const char *words;
    } told[] = {
        {ROLE_SOURCE, true, false, false, "is moving from here already: QEMU has pid"},
        {ROLE_SOURCE, true, true, false, "is moving"},
        {ROLE_SOURCE, true, false, true, "is moving"},
        {ROLE_SOURCE, false, false, false, "b was told to run web1"},
        {ROLE_SOURCE, false, true, false, NULL},
        {ROLE_SOURCE, false, false, true, NULL},
        {ROLE_DESTINATION, true, false, false, "is coming here already: QEMU has pid"},
        {ROLE_DESTINATION, true, true, false, "is coming"},
        {ROLE_DESTINATION, true, false, true, "is coming"},
        {ROLE_DESTINATION, false, false, false,
         "web1 was told by b to run here, and its QEMU has ended"},
        {ROLE_DESTINATION, false, true, false, NULL},
        {ROLE_DESTINATION, false, false, true, NULL},
    };
    autovmrecord struct vm_record record;
    make(&record);
    uint64_t started = record.started;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct error err = ERROR_INIT;
        record.place = rows[i].place;
        record.started = started + !rows[i].running;
        bool good = vm_record_check_launch(&record, rows[i].incoming, rows[i].take_back, &err);
        ck_assert_msg(good == !rows[i].words, "row %zu: %s", i, err.message);
        if (!good)
            check_error(&err, STATUS_DECISION, rows[i].words, "vm_record_check_launch");
    }
    record.place = PLACE_TOLD;
    for (size_t i = 0; i < COUNT(told); i++) {
        struct error err = ERROR_INIT;
        record.role = told[i].role;
        record.started = started + !told[i].running;
        bool good = vm_record_check_launch(&record, told[i].incoming, told[i].take_back, &err);
        ck_assert_msg(good == !told[i].words, "told, row %zu: %s", i, err.message);
        if (!good)
            check_error(&err, STATUS_DECISION, told[i].words, "vm_record_check_launch");
        if (!good && !told[i].running)
            check_error(&err, STATUS_DECISION, "--renegotiate --here", "vm_record_check_launch");
    }
}
END_TEST

/* With that in its file it is refused, and nothing of it is read. */
static void check_refused(const char *path, const char *text)
{
    autovmrecord struct vm_record back = {0};
    MUST(file_write_atomic(path, text, strlen(text), 0600, &err));
    struct error err = ERROR_INIT;
    ck_assert_msg(!vm_record_load(&paths, "web1", &back, &err), "taken: %s", text);
    check_error(&err, STATUS_DATA, "web1.json", text);
    ck_assert_ptr_null(back.vm);
}

/* text, in which the object at ("": itself) has the member as value; NULL: has it not. */
static char *with_member(const char *text, const char *at, const char *member, const char *value)
{
    autojson json_t *json = json_loads(text, 0, NULL);
    json_t *object = *at ? json_object_get(json, at) : json;
    ck_assert(json_is_object(object));
    if (value)
        json_object_set_new(object, member, json_string("HERE"));
    else
        json_object_del(object, member);
    autofree char *made = json_to_text(json);
    char *here = value ? strstr(made, "\"HERE\"") : NULL;
    return here ? string_format("%.*s%s%s", (int)(here - made), made, value, here + 6)
                : STEAL(made);
}

START_TEST(damaged)
{
    static const struct {
        const char *at, *member, *value;
    } rows[] = {
        {"", "version", "1"},
        {"", "version", "2"},
        {"", "version", "3"},
        {"", "version", "5"},
        {"", "visible", "null"},
        {"", "visible", "{\"version\":" TABLE "}"},
        {"", "visible",
         "{\"version\":" TABLE ",\"things\":[{\"option\":\"x\",\"label\":\"\",\"id\":\"\","
         "\"properties\":[]}]}"},
        {"", "version", "4294967298"},
        {"", "place", "\"there\""},
        {"", "place", "\"Told\""},
        {"", "role", "\"both\""},
        {"", "pid", "-1"},
        {"", "pid", "9223372036854775808"},
        {"", "started", "-1"},
        {"", "boot_id", "\"x\""},
        {"", "agreement", "\"\""},
        {"", "agreement", "\"" HEX64 "0\""},
        {"", "peer", "\"\\u0007\""},
        {"", "peer_port", "65536"},
        {"", "peer_port", "-1"},
        {"", "guardian_port", "65536"},
        {"", "guardian_port", "-1"},
        {"", "guardian_port", "4294967297"},
        {"", "guardian_address", "\"\\u00e9\""},
        {"", "argv", "[1]"},
        {"", "argv", "[[\"x\"]]"},
        {"", "argv", "[\"\\\\\"]"},
        {"", "argv", "[\"\\\\x\"]"},
        {"", "argv", "[\"\\\\x4\"]"},
        {"", "argv", "[\"\\\\x41\"]"},
        {"", "argv", "[\"\\\\xC3\"]"},
        {"", "argv", "[\"\\\\x00\"]"},
        {"", "argv", "[\"\\u00e9\"]"},
        {"", "more", "1"},
        {"migration", "id", "\"\""},
        {"migration", "id", "\"" HEX32 "0\""},
        {"migration", "id", "\"0123456789abcdef0123456789abcdeF\""},
        {"migration", "port", "0"},
        {"migration", "port", "-1"},
        {"migration", "port", "65536"},
        {"migration", "port", "4294967297"},
        {"migration", "host", "\"\\u00e9\""},
        {"migration", "more", "true"},
    };
    autovmrecord struct vm_record record, back = {0};
    make_moving(&record);
    MUST(vm_record_store(&paths, &record, &err));
    autofree char *path = in_folder("vms/web1.json"), *text = NULL;
    size_t length;
    MUST(file_read(path, 1 << 16, false, &text, &length, &err));
    for (size_t i = 0; i < COUNT(rows); i++) {
        autofree char *bad = with_member(text, rows[i].at, rows[i].member, rows[i].value);
        check_refused(path, bad);
    }
    MUST(file_write_atomic(path, text, length - 1, 0600, &err));
    MUST_FAIL(STATUS_DATA, "web1.json", vm_record_load(&paths, "web1", &back, &err));
    MUST(file_write_atomic(path, text, length, 0666, &err));
    MUST_FAIL(STATUS_NOT_TRUSTED, "web1.json", vm_record_load(&paths, "web1", &back, &err));
    MUST(file_write_atomic(path, text, length, 0600, &err));
    MUST(vm_record_load(&paths, "web1", &back, &err));
}
END_TEST

/* Every member of another type, or not there. There need not be a migration, nor a proof. */
START_TEST(other_types)
{
    static const char *const values[] = {"null", "true", "1", "1.5", "\"x\"", "[]", "{}", NULL};
    static const char *const parts[] = {"", "migration"};
    autovmrecord struct vm_record record;
    make_moving(&record);
    MUST(vm_record_store(&paths, &record, &err));
    autofree char *path = in_folder("vms/web1.json"), *text = NULL;
    size_t length;
    MUST(file_read(path, 1 << 16, false, &text, &length, &err));
    autojson json_t *whole = json_loads(text, 0, NULL);
    for (size_t part = 0; part < COUNT(parts); part++) {
        const char *name;
        json_t *now;
        json_object_foreach(*parts[part] ? json_object_get(whole, parts[part]) : whole, name, now)
        {
            for (size_t i = 0; i < COUNT(values); i++) {
                autojson json_t *value =
                    values[i] ? json_loads(values[i], JSON_DECODE_ANY, NULL) : NULL;
                bool good = value && (json_typeof(value) == json_typeof(now) ||
                                      (json_is_boolean(value) && json_is_boolean(now)));
                good = good || (i == 0 && json_is_object(now));
                autofree char *bad = with_member(text, parts[part], name, values[i]);
                if (!good)
                    check_refused(path, bad);
            }
        }
    }
}
END_TEST

START_TEST(lock)
{
    autovmrecord struct vm_record record;
    make(&record);
    struct error err = ERROR_INIT;
    int one = vm_record_lock(&paths, "web1", &err), two = vm_record_lock(&paths, "web2", &err);
    ck_assert_msg(one >= 0 && two >= 0, "%s", err.message);
    ck_assert_int_eq(vm_record_lock(&paths, "web1", &err), -1);
    check_error(&err, STATUS_DECISION, "web1", "vm_record_lock");
    close(one);
    one = vm_record_lock(&paths, "web1", &err);
    ck_assert_int_ge(one, 0);
    close(one);
    close(two);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {round_trip,
                                  round_trip_of_a_migration,
                                  who_runs,
                                  who_cannot_be_seen,
                                  children,
                                  launching,
                                  damaged,
                                  other_types,
                                  lock,
                                  command_line,
                                  long_command_line,
                                  elsewhere};
    return unit_run("record", tests, COUNT(tests));
}
