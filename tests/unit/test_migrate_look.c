/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What QEMU's query-migrate says, as the program reads it; the line to the guardian's judgement;
 * the watcher's coming and going.
 */
#include "unit.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/json.h"
#include "migration/link.h"
#include "migration/look.h"
#include "migration/watcher.h"

static struct migration_look take(const char *text)
{
    struct migration_look look;
    autojson json_t *json = json_loads(text, 0, NULL);
    ck_assert_ptr_nonnull(json);
    MUST(migration_look_take(json, &look, &err));
    return look;
}

START_TEST(numbers)
{
    struct migration_look look =
        take("{\"status\": \"active\", \"total-time\": 1500, \"expected-downtime\": 300,"
             "\"cpu-throttle-percentage\": 20, \"ram\": {\"total\": 1000, \"remaining\": 250,"
             "\"transferred\": 800, \"mbps\": 8.0, \"dirty-pages-rate\": 10, \"page-size\": 4096,"
             "\"dirty-sync-count\": 3}}");
    ck_assert_str_eq(look.status, "active");
    ck_assert_str_eq(look.reason, "");
    ck_assert_int_eq(look.sample.total, 1000);
    ck_assert_int_eq(look.sample.remaining, 250);
    ck_assert_int_eq(look.sample.transferred, 800);
    ck_assert_int_eq(look.sample.rate, 1000000); /* 8 Mbit/s */
    ck_assert_int_eq(look.sample.dirty_rate, 40960);
    ck_assert_int_eq(look.sample.elapsed_ms, 1500);
    ck_assert_int_eq(look.sample.expected_downtime_ms, 300);
    ck_assert_int_eq(look.sample.throttle, 20);
    ck_assert_int_eq(look.downtime_ms, -1);
    ck_assert_int_eq(look.passes, 3);
}
END_TEST

START_TEST(little_or_nonsense)
{
    struct migration_look look = take("{}");
    ck_assert_int_eq(migration_stage(&look), STAGE_NONE);
    ck_assert_int_eq(look.sample.total, -1);
    ck_assert_int_eq(look.sample.dirty_rate, -1);
    ck_assert_int_eq(look.sample.throttle, 0);
    ck_assert_int_eq(look.passes, 0);
    look =
        take("{\"status\": \"failed\", \"error-desc\": \"a\\u001b[31m\\nb\", \"ram\": {\"total\":"
             "-5, \"remaining\": 1e300, \"mbps\": -1, \"dirty-pages-rate\":"
             "9000000000000000000, \"page-size\": 4096}}");
    ck_assert(text_is_plain(look.reason));
    ck_assert_ptr_nonnull(strstr(look.reason, "b"));
    ck_assert_int_eq(look.sample.total, -1);
    ck_assert_int_eq(look.sample.remaining, -1);
    ck_assert_int_eq(look.sample.rate, -1);
    ck_assert_int_eq(look.sample.dirty_rate, -1);
    struct migration_look untouched;
    autojson json_t *array = json_array();
    MUST_FAIL(STATUS_PROTOCOL, "no status", migration_look_take(array, &untouched, &err));
    autojson json_t *longer =
        json_pack("{s:s}", "status", "a-status-that-is-longer-than-any-of-qemu");
    MUST_FAIL(STATUS_PROTOCOL, "no status", migration_look_take(longer, &untouched, &err));
}
END_TEST

START_TEST(stages)
{
    static const struct {
        const char *status;
        enum migration_stage stage;
    } cases[] = {
        {"none", STAGE_NONE},
        {"setup", STAGE_COPYING},
        {"active", STAGE_COPYING},
        {"pre-switchover", STAGE_PAUSED},
        {"device", STAGE_SWITCHING},
        {"completed", STAGE_COMPLETED},
        {"failed", STAGE_FAILED},
        {"cancelled", STAGE_FAILED},
        {"cancelling", STAGE_CANCELLING},
        {"postcopy-active", STAGE_POSTCOPY},
        {"postcopy-recover", STAGE_POSTCOPY},
        {"postcopy-paused", STAGE_BROKEN},
        {"of-a-newer-qemu", STAGE_SWITCHING}, /* neither cancelled nor taken for an end */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct migration_look look;
        strcpy(look.status, cases[i].status);
        ck_assert_msg(migration_stage(&look) == cases[i].stage, "%s", cases[i].status);
    }
    ck_assert(run_state_is_paused("paused") && run_state_is_paused("prelaunch"));
    ck_assert(run_state_is_paused("postmigrate"));
    ck_assert(!run_state_is_paused("running") && !run_state_is_paused("inmigrate"));
    ck_assert(!run_state_is_paused("io-error"));
}
END_TEST

START_TEST(judgement)
{
    struct guardian_status status = {
        .lease = LEASE_HELD, .run_state = "inmigrate", .migration = "active"};
    MUST(guardian_status_check(&status, "b", &err));
    strcpy(status.migration, "completed");
    strcpy(status.run_state, "paused");
    MUST(guardian_status_check(&status, "b", &err));
    status.lease = LEASE_ENDING;
    MUST_FAIL(STATUS_MIGRATION, "given up", guardian_status_check(&status, "b", &err));
    status.lease = LEASE_HELD;
    strcpy(status.migration, "failed");
    strcpy(status.reason, "Features 0x1 unsupported");
    MUST_FAIL(STATUS_MIGRATION, "Features 0x1", guardian_status_check(&status, "b", &err));
    strcpy(status.run_state, "ended");
    MUST_FAIL(STATUS_MIGRATION, "QEMU on b has ended", guardian_status_check(&status, "b", &err));
}
END_TEST

/* The watcher's work leaves a file. */
static void leave_mark(const struct paths *paths, const char *vm)
{
    autofree char *path = string_format("%s/%s.mark", paths->state, vm);
    autoclose int announced = watcher_announce(paths, vm);
    autoclose int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    /* Nothing but the standard descriptors and our two. */
    char line[16] = "ok";
    for (int other = 3; other < 256; other++)
        if (other != announced && other != fd && fcntl(other, F_GETFD) >= 0)
            strcpy(line, "open");
    if (getsid(0) != getpgid(0) || announced < 0)
        strcpy(line, "session");
    ssize_t ignored = write(fd, line, strlen(line));
    (void)ignored;
    poll(NULL, 0, 300);
}

static bool has_mark(char **text)
{
    autofree char *path = in_folder("vm.mark");
    size_t length;
    return file_read(path, 100, true, text, &length, NULL) && *text && length > 0;
}

static struct paths make_paths(void)
{
    struct paths paths = {.state = unit_folder};
    autofree char *folder = in_folder("vms");
    MUST(folder_make(folder, 0700, &err));
    return paths;
}

START_TEST(watcher_is_dismissed)
{
    struct paths paths = make_paths();
    struct watcher watcher = {.fd = -1};
    autofree char *text = NULL;
    autofree char *log = in_folder("vms/vm.migrate.log");
    MUST(watcher_start(&paths, "vm", leave_mark, &watcher, &err));
    ck_assert_int_eq(access(log, R_OK), 0);
    ck_assert(!watcher_works(&paths, "vm"));
    watcher_dismiss(&watcher);
    ck_assert_int_eq(watcher.fd, -1);
    watcher_dismiss(&watcher); /* again is nothing */
    poll(NULL, 0, 50);
    ck_assert(!has_mark(&text));
}
END_TEST

START_TEST(watcher_takes_up)
{
    struct paths paths = make_paths();
    autofree char *text = NULL;
    int open_here[2];
    ck_assert_int_eq(pipe(open_here), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct watcher watcher = {.fd = -1};
        if (watcher_start(&paths, "vm", leave_mark, &watcher, NULL))
            raise(SIGKILL);
        _exit(1);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status));
    for (int i = 0; i < 200 && !has_mark(&text); i++)
        poll(NULL, 0, 10);
    ck_assert_ptr_nonnull(text);
    ck_assert_str_eq(text, "ok");
    ck_assert(watcher_works(&paths, "vm"));
    for (int i = 0; i < 200 && watcher_works(&paths, "vm"); i++)
        poll(NULL, 0, 10);
    ck_assert(!watcher_works(&paths, "vm"));
    close(open_here[0]);
    close(open_here[1]);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {numbers,   little_or_nonsense,   stages,
                                  judgement, watcher_is_dismissed, watcher_takes_up};
    return unit_run("migrate-look", tests, COUNT(tests));
}
