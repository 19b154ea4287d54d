/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Child processes: what they get, what they say, how they end.
 */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/process.h"
#include "vm/exec.h"

static bool start_words(struct process *process, const char *const words[], int inherit,
                        struct error *err)
{
    return process_start(process, (char *const *)words, inherit, err);
}

static void start(struct process *process, const char *script, int inherit)
{
    const char *const words[] = {"/bin/sh", "-c", script, NULL};
    MUST(start_words(process, words, inherit, &err));
}

static int finish(struct process *process)
{
    int status = -1;
    ck_assert_int_eq(process_wait(process, deadline_in_ms(60000), &status), 1);
    ck_assert_int_eq(process->pid, -1);
    return status;
}

/* What a shell script prints, run with `inherit`. */
static char *output_of(const char *script, int inherit)
{
    struct process process = PROCESS_INIT;
    start(&process, script, inherit);
    finish(&process);
    char *text = process_read_output(&process);
    process_end(&process);
    ck_assert_ptr_nonnull(text);
    return text;
}

static int open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

START_TEST(cannot_be_executed)
{
    autofree char *script = in_folder("no-interpreter"), *text = in_folder("text");
    MUST(file_write_atomic(script, "#!/nonexistent/interpreter\n", 27, 0755, &err));
    MUST(file_write_atomic(text, "echo", 4, 0644, &err));
    const char *const bad[] = {"/nonexistent", script, text, unit_folder, "sh"};
    int before = open_descriptors();
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct process process = PROCESS_INIT;
        const char *const words[] = {bad[i], NULL};
        MUST_FAIL(STATUS_CONFIG, bad[i], start_words(&process, words, -1, &err));
        ck_assert(process.pid == -1 && process.pidfd == -1 && process.output_fd == -1);
        process_end(&process); /* of nothing */
    }
    ck_assert_int_eq(open_descriptors(), before);
    ck_assert(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}
END_TEST

START_TEST(statuses)
{
    static const struct {
        const char *script, *words;
    } rows[] = {
        {"exit 0", "exited with status 0"},
        {"exit 255", "exited with status 255"},
        {"kill -ABRT $$", "was killed by signal 6 (Aborted)"},
        {"kill -KILL $$", "was killed by signal 9 (Killed)"},
    };
    int before = open_descriptors();
    for (size_t i = 0; i < COUNT(rows); i++) {
        char words[80];
        struct process process = PROCESS_INIT;
        start(&process, rows[i].script, -1);
        process_describe_status(finish(&process), words, sizeof(words));
        ck_assert_str_eq(words, rows[i].words);
        process_end(&process);
    }
    ck_assert_int_eq(open_descriptors(), before);
    ck_assert(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}
END_TEST

START_TEST(output)
{
    autofree char *both = output_of("echo out; echo err >&2; printf 'a\\tb\\033[1m\\200\\n'", -1);
    ck_assert_str_eq(both, "out\nerr\na b?[1m?\n");
    autofree char *nothing = output_of("cat", -1); /* standard input is empty */
    ck_assert_str_eq(nothing, "");
    /* The first bytes count, and the child is not stopped by ours not reading more (64 KiB). */
    autofree char *much = output_of("printf %s first; head -c 50000 /dev/zero | tr '\\0' x", -1);
    ck_assert_uint_eq(strlen(much), PROCESS_OUTPUT_MAX);
    ck_assert_int_eq(strncmp(much, "firstxxx", 8), 0);
    ck_assert_int_eq(much[PROCESS_OUTPUT_MAX - 1], 'x');
}
END_TEST

START_TEST(output_while_it_runs)
{
    struct process process = PROCESS_INIT;
    start(&process, "echo ready; exec sleep 1000", -1);
    struct pollfd readable = {.fd = process.output_fd, .events = POLLIN};
    ck_assert_int_eq(poll(&readable, 1, 60000), 1);
    autofree char *text = process_read_output(&process);
    ck_assert_str_eq(text, "ready\n");
    autofree char *more = process_read_output(&process); /* does not wait */
    ck_assert_str_eq(more, "");
    process_end(&process);
}
END_TEST

START_TEST(deadline_and_end)
{
    struct process process = PROCESS_INIT;
    int status = 4711;
    start(&process, "trap '' TERM INT HUP; while :; do sleep 1000; done", -1);
    pid_t pid = process.pid;
    int64_t begin = clock_now_ms();
    ck_assert_int_eq(process_wait(&process, deadline_in_ms(50), &status), 0);
    ck_assert_int_ge(clock_now_ms() - begin, 49);
    ck_assert_int_eq(status, 4711);
    ck_assert_int_eq(process_wait(&process, deadline_in_ms(0), &status), 0);
    ck_assert_int_eq(process.pid, pid);
    process_end(&process);
    ck_assert(process.pid == -1 && process.pidfd == -1 && process.output_fd == -1);
    ck_assert(kill(pid, 0) == -1 && errno == ESRCH);
}
END_TEST

START_TEST(descriptors)
{
    /* Some of ours that must not arrive, with and without close-on-exec. */
    int leaky = open("/dev/null", O_RDONLY), kept = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int given = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    ck_assert(leaky > 2 && kept > 2 && given > 2);
    ck_assert_int_eq(dup2(leaky, 200), 200);
    const char *script =
        "i=0; while [ $i -lt 256 ]; do set -- \"$@\" /proc/self/fd/$i; i=$((i+1)); "
        "done; exec readlink \"$@\"";
    autofree char *none = output_of(script, -1), *one = output_of(script, given);
    autofree char *number = string_format("exec readlink /proc/self/fd/%d", given);
    autofree char *same = output_of(number, given);
    autostrlist struct strlist without = {0}, with = {0};
    ck_assert(strlist_split(&without, none, '\n') && strlist_split(&with, one, '\n'));
    ck_assert_msg(without.count == 3, "%s", none);
    ck_assert_str_eq(without.items[0], "/dev/null");
    ck_assert(string_starts_with(without.items[1], "pipe:"));
    ck_assert_str_eq(without.items[1], without.items[2]);
    ck_assert_msg(with.count == 4, "%s", one);
    ck_assert_str_eq(with.items[3], "/dev/zero");
    ck_assert_str_eq(same, "/dev/zero\n");
    ck_assert(fcntl(given, F_GETFD) & FD_CLOEXEC); /* ours is as it was */
    struct process process = PROCESS_INIT;
    const char *const words[] = {"/bin/true", NULL};
    MUST_FAIL(STATUS_CONFIG, "/bin/true", start_words(&process, words, 999, &err)); /* not open */
    close(leaky);
    close(kept);
    close(given);
    close(200);
}
END_TEST

START_TEST(signals_are_as_new)
{
    sigset_t all;
    sigfillset(&all);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    sigprocmask(SIG_BLOCK, &all, NULL);
    autofree char *text = output_of("grep -E '^Sig(Blk|Ign)' /proc/self/status", -1);
    sigprocmask(SIG_UNBLOCK, &all, NULL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGUSR1, SIG_DFL);
    unsigned long long blocked = 1, ignored = 1;
    ck_assert_int_eq(sscanf(text, "SigBlk: %llx SigIgn: %llx", &blocked, &ignored), 2);
    /* 32 and 33 are glibc's own: nobody can set them, a parent may have them ignored. */
    ck_assert_msg(blocked == 0 && (ignored & ~0x180000000ULL) == 0, "%s", text);
}
END_TEST

/* A parent that starts a child, says its pid, and is killed: the child must end, too. */
START_TEST(dies_with_its_parent)
{
    int fds[2];
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    fflush(NULL);
    pid_t parent = fork();
    if (parent == 0) {
        struct process process = PROCESS_INIT;
        const char *const words[] = {"/bin/sleep", "1000", NULL};
        if (!start_words(&process, words, fds[1], NULL) ||
            write(fds[1], &process.pid, sizeof(pid_t)) != sizeof(pid_t))
            _exit(1);
        for (;;)
            pause();
    }
    close(fds[1]);
    pid_t child = -1;
    ck_assert_int_eq(read(fds[0], &child, sizeof(child)), sizeof(child));
    ck_assert_int_eq(kill(child, 0), 0);
    kill(parent, SIGKILL);
    ck_assert_int_eq(waitpid(parent, NULL, 0), parent);
    /* The child holds the writing end: end of file says that it is gone. */
    struct pollfd closed = {.fd = fds[0], .events = POLLIN};
    ck_assert_int_eq(poll(&closed, 1, 60000), 1);
    char byte;
    ck_assert_int_eq(read(fds[0], &byte, 1), 0);
    close(fds[0]);
}
END_TEST

START_TEST(on_the_path)
{
    autofree char *first = in_folder("first"), *second = in_folder("second");
    autofree char *folder = in_folder("first/tool"), *text = in_folder("second/text");
    autofree char *tool = in_folder("second/tool"), *path = string_format("%s::%s", first, second);
    ck_assert_int_eq(mkdir(first, 0700) | mkdir(second, 0700) | mkdir(folder, 0700), 0);
    MUST(file_write_atomic(tool, "#!/bin/sh\n", 10, 0755, &err));
    MUST(file_write_atomic(text, "x", 1, 0644, &err));
    autofree char *saved = strdup(getenv("PATH"));
    setenv("PATH", path, 1);
    ck_assert_int_eq(chdir("/"), 0);
    autofree char *found = process_find_executable("tool", NULL);
    ck_assert_ptr_nonnull(found);
    ck_assert_str_eq(found, tool);
    MUST_FAIL(STATUS_CONFIG, "PATH", process_find_executable("text", &err));
    MUST_FAIL(STATUS_CONFIG, "PATH", process_find_executable("nothing", &err));
    MUST_FAIL(STATUS_CONFIG, "", process_find_executable("", &err));
    MUST_FAIL(STATUS_CONFIG, text, process_find_executable(text, &err));
    MUST_FAIL(STATUS_CONFIG, "./tool", process_find_executable("./tool", &err));
    ck_assert_int_eq(chdir(second), 0); /* an empty piece of PATH is the current folder */
    setenv("PATH", "/nowhere:", 1);
    autofree char *here = process_find_executable("tool", NULL);
    ck_assert_ptr_nonnull(here);
    ck_assert_str_eq(here, "./tool");
    autofree char *direct = process_find_executable("./tool", NULL);
    ck_assert_str_eq(direct, "./tool");
    /* This program itself is never found, and what is before it does not count. */
    autofree char *third = in_folder("third"), *own = in_folder("third/tool");
    autofree char *around = string_format("%s:%s:%s", second, third, second);
    autofree char *behind = string_format("%s:%s", second, third);
    ck_assert_int_eq(mkdir(third, 0700) | symlink("/proc/self/exe", own), 0);
    setenv("PATH", around, 1);
    autofree char *after = process_find_executable("tool", NULL);
    ck_assert_str_eq(after, tool);
    setenv("PATH", behind, 1);
    MUST_FAIL(STATUS_CONFIG, "behind this program itself", process_find_executable("tool", &err));
    MUST_FAIL(STATUS_CONFIG, "it is this program itself", process_find_executable(own, &err));
    setenv("PATH", saved, 1);
}
END_TEST

/* What a shell prints that takes this process's place, which was started with descriptor 40, and
 * has opened 41 since, as a library would, that does not care. */
static char *output_after_exec(const char *script)
{
    int ends[2];
    char text[256] = "";
    ck_assert_int_eq(pipe(ends), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        autostrlist struct strlist words = {0};
        dup2(ends[1], 1);
        close(ends[0]);
        close(ends[1]);
        dup2(open("/dev/zero", O_RDONLY | O_CLOEXEC), 40);
        setenv("QEMU_MIGRATE_LAUNCH_HOME", "/x", 1);
        setenv("QML_THEIRS", "/y", 1);
        struct rlimit core = {.rlim_cur = 2048};
        getrlimit(RLIMIT_CORE, &core);
        core.rlim_cur = 2048;
        bool set = setrlimit(RLIMIT_CORE, &core) == 0;
        struct start_state *state = start_state_save();
        if (!set || getrlimit(RLIMIT_CORE, &core) < 0 || core.rlim_cur != 0)
            _exit(1);
        dup2(open("/dev/full", O_RDONLY | O_CLOEXEC), 41);
        if (state && strlist_push(&words, "sh") && strlist_push(&words, "-c") &&
            strlist_push(&words, script))
            exec_plain(state, "/bin/sh", &words, NULL);
        _exit(1);
    }
    close(ends[1]);
    FILE *reading = fdopen(ends[0], "r");
    size_t length = fread(text, 1, sizeof(text) - 1, reading);
    text[length] = '\0';
    fclose(reading);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    return strdup(text);
}

START_TEST(exec_hands_on_what_was_there)
{
    autofree char *files = output_after_exec("for i in 39 40 41 42; do readlink /proc/$$/fd/$i; "
                                             "done");
    autofree char *words = output_after_exec("echo \"$QEMU_MIGRATE_LAUNCH_HOME$QML_THEIRS\"");
    autofree char *core = output_after_exec("ulimit -S -c");
    ck_assert_str_eq(files, "/dev/zero\n");
    ck_assert_str_eq(core, "4\n");
    ck_assert_str_eq(words, "/y\n");
}
END_TEST

/* The file at QEMU's path is another one by now, or was written anew. */
START_TEST(exec_of_another_file)
{
    struct stat st;
    autostrlist struct strlist words = {0};
    autofree char *path = in_folder("qemu");
    struct start_state *state = start_state_save();
    MUST(file_write_atomic(path, "#!/bin/sh\nexit 9\n", 17, 0755, &err));
    ck_assert(state && strlist_push(&words, path) && stat(path, &st) == 0);
    const struct qemu_binary good = {path, st.st_dev, st.st_ino, st.st_ctim};
    for (int i = 0; i < 4; i++) {
        struct qemu_binary other = good;
        other.device += i == 0;
        other.inode += i == 1;
        other.changed.tv_sec += i == 2;
        other.changed.tv_nsec += i == 3;
        MUST_FAIL(STATUS_CONFIG, "is not the QEMU that was examined",
                  exec_qemu(state, &other, &words, &err));
    }
    start_state_free(state);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        cannot_be_executed,
        statuses,
        output,
        output_while_it_runs,
        deadline_and_end,
        descriptors,
        signals_are_as_new,
        dies_with_its_parent,
        on_the_path,
        exec_hands_on_what_was_there,
        exec_of_another_file,
    };
    return unit_run("process", tests, COUNT(tests));
}
