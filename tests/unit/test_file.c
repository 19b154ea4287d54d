/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Files: whole or not at all, and not when others could have changed them.
 */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"

static mode_t mode_of(const char *name)
{
    autofree char *path = in_folder(name);
    struct stat st;
    ck_assert_int_eq(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

/* How many entries the test's folder has. */
static int entries(void)
{
    DIR *dir = opendir(unit_folder);
    int count = 0;
    while (readdir(dir))
        count++;
    closedir(dir);
    return count - 2;
}

static void contains(const char *name, const char *text)
{
    autofree char *path = in_folder(name), *data = NULL;
    size_t length;
    MUST(file_read(path, 1 << 20, false, &data, &length, &err));
    ck_assert_uint_eq(length, strlen(text));
    ck_assert_str_eq(data, text);
}

START_TEST(write_and_replace)
{
    autofree char *path = in_folder("a");
    umask(077);
    MUST(file_write_atomic(path, "one", 3, 0644, &err));
    contains("a", "one");
    ck_assert_uint_eq(mode_of("a"), 0644); /* whatever the umask */
    umask(0);
    MUST(file_write_atomic(path, "", 0, 0600, &err));
    contains("a", "");
    ck_assert_uint_eq(mode_of("a"), 0600);
    ck_assert_int_eq(entries(), 1);

    /* A relative path without a folder. */
    ck_assert_int_eq(chdir(unit_folder), 0);
    MUST(file_write_atomic("b", "two", 3, 0600, &err));
    contains("b", "two");

    /* Who had the old file open still reads the old one: it was never changed in place. */
    autoclose int fd = open("b", O_RDONLY);
    MUST(file_write_atomic("b", "three", 5, 0600, &err));
    char old[8] = "";
    ck_assert_int_eq(read(fd, old, sizeof(old)), 3);
    ck_assert_str_eq(old, "two");

    /* A link is replaced, not followed. */
    ck_assert_int_eq(symlink("b", "link"), 0);
    MUST(file_write_atomic("link", "four", 4, 0600, &err));
    contains("b", "three");
    contains("link", "four");
    ck_assert_int_eq(entries(), 3);
}
END_TEST

START_TEST(failed_write_leaves_nothing)
{
    autofree char *folder = in_folder("folder"), *inside = in_folder("folder/x");
    autofree char *missing = in_folder("none/x"), *under_file = in_folder("file/x");
    autofree char *file = in_folder("file");
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    MUST(file_write_atomic(inside, "x", 1, 0600, &err));
    MUST(file_write_atomic(file, "old", 3, 0600, &err));
    MUST_FAIL(STATUS_CANNOT_WRITE, folder, file_write_atomic(folder, "x", 1, 0600, &err));
    MUST_FAIL(STATUS_CANNOT_WRITE, missing, file_write_atomic(missing, "x", 1, 0600, &err));
    MUST_FAIL(STATUS_CANNOT_WRITE, "Not a dir", file_write_atomic(under_file, "x", 1, 0600, &err));
    MUST_FAIL(STATUS_CANNOT_WRITE, "exists", file_create_atomic(folder, "x", 1, 0600, &err));
    ck_assert_int_eq(entries(), 2);
    contains("file", "old");
}
END_TEST

/* The disk is full in the middle: a limit of size stands for it. */
START_TEST(no_space)
{
    autofree char *path = in_folder("a");
    char *data = calloc(1, 1 << 16);
    MUST(file_write_atomic(path, "old", 3, 0600, &err));
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct error err = ERROR_INIT;
        const struct rlimit few = {4096, 4096};
        signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &few) != 0)
            _exit(3);
        bool good = file_write_atomic(path, data, 1 << 16, 0600, &err);
        _exit(good ? 1 : err.status != STATUS_CANNOT_WRITE ? 2 : 0);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%x", (unsigned)status);
    contains("a", "old");
    ck_assert_int_eq(entries(), 1);
    free(data);
}
END_TEST

START_TEST(create_never_replaces)
{
    autofree char *path = in_folder("a"), *link = in_folder("link");
    umask(077);
    MUST(file_create_atomic(path, "one", 3, 0640, &err));
    ck_assert_uint_eq(mode_of("a"), 0640);
    MUST_FAIL(STATUS_CANNOT_WRITE, "exists", file_create_atomic(path, "two", 3, 0600, &err));
    ck_assert_int_eq(symlink("nowhere", link), 0);
    MUST_FAIL(STATUS_CANNOT_WRITE, "exists", file_create_atomic(link, "two", 3, 0600, &err));
    contains("a", "one");
    ck_assert_int_eq(entries(), 2);
}
END_TEST

START_TEST(reading)
{
    autofree char *path = in_folder("a"), *missing = in_folder("none"), *fifo = in_folder("fifo");
    autofree char *data = NULL;
    size_t length = 4711;
    MUST(file_write_atomic(path, "a\0b", 3, 0600, &err));
    MUST(file_read(path, 3, false, &data, &length, &err));
    ck_assert_uint_eq(length, 3);
    ck_assert_mem_eq(data, "a\0b", 4); /* and a NUL */
    char *untouched = data;
    MUST_FAIL(STATUS_DATA, "larger", file_read(path, 2, false, &data, &length, &err));
    MUST_FAIL(STATUS_CONFIG, missing, file_read(missing, 9, false, &data, &length, &err));
    MUST_FAIL(STATUS_CONFIG, "regular", file_read(unit_folder, 9, true, &data, &length, &err));
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    MUST_FAIL(STATUS_CONFIG, "regular", file_read(fifo, 9, true, &data, &length, &err));
    MUST_FAIL(STATUS_CONFIG, "regular", file_read("/dev/zero", 9, true, &data, &length, &err));
    ck_assert(data == untouched && length == 3);
    char *nothing = untouched;
    MUST(file_read(missing, 9, true, &nothing, &length, &err));
    ck_assert(!nothing && length == 0);

    /* Larger than one read, and exactly the limit. */
    size_t big = 100000;
    char *bytes = malloc(big);
    memset(bytes, 'x', big);
    MUST(file_write_atomic(path, bytes, big, 0600, &err));
    autofree char *whole = NULL;
    MUST(file_read(path, big, false, &whole, &length, &err));
    ck_assert_uint_eq(length, big);
    MUST_FAIL(STATUS_DATA, "larger", file_read(path, big - 1, false, &whole, &length, &err));
    free(bytes);
}
END_TEST

START_TEST(guards)
{
    static const struct {
        mode_t mode;
        bool trusted, private;
    } rows[] = {
        {0600, true, true},   {0400, true, true},   {0700, true, true},   {0644, true, false},
        {0640, true, false},  {0604, true, false},  {0610, true, false},  {0601, true, false},
        {0620, false, false}, {0602, false, false}, {0664, false, false}, {0666, false, false},
    };
    autofree char *path = in_folder("a"), *fifo = in_folder("fifo"), *none = in_folder("none");
    MUST(file_write_atomic(path, "x", 1, 0600, &err));
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct error err = ERROR_INIT;
        autofree char *one = NULL, *two = NULL;
        size_t length;
        ck_assert_int_eq(chmod(path, rows[i].mode), 0);
        bool trusted = file_read_trusted(path, 9, false, &one, &length, &err);
        ck_assert_msg(trusted == rows[i].trusted, "%04o: %s", rows[i].mode, err.message);
        if (!trusted)
            check_error(&err, STATUS_NOT_TRUSTED, "chmod go-w", "trusted");
        bool private = file_read_private(path, 9, &two, &length, &err);
        ck_assert_msg(private == rows[i].private, "%04o: %s", rows[i].mode, err.message);
        if (!private)
            check_error(&err, STATUS_NOT_TRUSTED, "chmod 600", "private");
    }
    autofree char *data = NULL;
    size_t length;
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    MUST_FAIL(STATUS_CONFIG, "regular", file_read_private(fifo, 9, &data, &length, &err));
    MUST_FAIL(STATUS_CONFIG, "regular", file_read_trusted(fifo, 9, true, &data, &length, &err));
    MUST_FAIL(STATUS_CONFIG, none, file_read_private(none, 9, &data, &length, &err));
    MUST(file_read_trusted(none, 9, true, &data, &length, &err));
    if (geteuid() != 0)
        return; /* the rest needs a file of somebody else's */
    ck_assert_int_eq(chmod(path, 0600), 0);
    ck_assert_int_eq(chown(path, 12345, 0), 0);
    MUST_FAIL(STATUS_NOT_TRUSTED, "12345", file_read_trusted(path, 9, true, &data, &length, &err));
    MUST_FAIL(STATUS_NOT_TRUSTED, "12345", file_read_private(path, 9, &data, &length, &err));
}
END_TEST

START_TEST(folders)
{
    autofree char *deep = in_folder("x/y//z"), *file = in_folder("file"),
                  *under = in_folder("file/z"), *slash = in_folder("private/");
    umask(022);
    MUST(folder_make(deep, 0700, &err));
    ck_assert_uint_eq(mode_of("x"), 0755);
    ck_assert_uint_eq(mode_of("x/y/z"), 0700);
    MUST(folder_make(deep, 0755, &err));
    ck_assert_uint_eq(mode_of("x/y/z"), 0700);
    MUST(folder_make("/", 0700, &err));
    MUST(folder_make(slash, 0700, &err));
    ck_assert_uint_eq(mode_of("private"), 0700);
    MUST(file_write_atomic(file, "x", 1, 0600, &err));
    MUST_FAIL(STATUS_CANNOT_WRITE, file, folder_make(file, 0700, &err));
    MUST_FAIL(STATUS_CANNOT_WRITE, under, folder_make(under, 0700, &err));
}
END_TEST

/* One that is there already, and in which others could put what they like; or a link to it. */
START_TEST(folders_of_others)
{
    static const struct {
        mode_t mode;
        bool good;
    } rows[] = {{0700, true},  {0755, true},  {0500, true},  {0770, false},
                {0702, false}, {0777, false}, {01777, false}};
    autofree char *path = in_folder("x"), *link = in_folder("link");
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(symlink("x", link), 0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        ck_assert_int_eq(chmod(path, rows[i].mode), 0);
        if (rows[i].good) {
            MUST(folder_make(path, 0700, &err));
            MUST(folder_make(link, 0700, &err));
        } else {
            MUST_FAIL(STATUS_NOT_TRUSTED, "chmod go-w", folder_make(path, 0700, &err));
            MUST_FAIL(STATUS_NOT_TRUSTED, "chmod go-w", folder_make(link, 0700, &err));
        }
        MUST(folder_make(path, 0755, &err)); /* who makes it for others looks for himself */
        ck_assert_uint_eq(mode_of("x"), rows[i].mode);
    }
    if (geteuid() != 0)
        return; /* the rest needs a folder of somebody else's */
    ck_assert_int_eq(chmod(path, 0700), 0);
    ck_assert_int_eq(chown(path, 12345, 0), 0);
    MUST_FAIL(STATUS_NOT_TRUSTED, "12345", folder_make(path, 0700, &err));
}
END_TEST

START_TEST(locks)
{
    autofree char *path = in_folder("lock"), *link = in_folder("link"), *none = in_folder("none/x");
    bool busy = false;
    struct error err = ERROR_INIT;
    int fd = file_lock(path, false, &busy, &err);
    ck_assert_int_ge(fd, 0);
    ck_assert_uint_eq(mode_of("lock"), 0600);
    ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    ck_assert_int_eq(file_lock(path, false, &busy, &err), -1);
    ck_assert(busy);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) { /* waits until the holder lets go */
        close(fd);
        _exit(file_lock(path, true, NULL, NULL) >= 0 ? 0 : 1);
    }
    usleep(20000);
    int status;
    ck_assert_int_eq(waitpid(pid, &status, WNOHANG), 0);
    close(fd);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    busy = false;
    autoclose int again = file_lock(path, false, &busy, &err);
    ck_assert(again >= 0 && !busy);
    ck_assert_int_eq(symlink("lock", link), 0);
    ck_assert_int_eq(file_lock(link, false, &busy, &err), -1);
    check_error(&err, STATUS_CANNOT_WRITE, link, "a link");
    ck_assert_int_eq(file_lock(none, false, &busy, &err), -1);
    check_error(&err, STATUS_CANNOT_WRITE, none, "no folder");
    ck_assert(!busy);
}
END_TEST

START_TEST(write_all)
{
    int fds[2];
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) { /* a slow reader: the writer sees short writes */
        close(fds[1]);
        size_t total = 0;
        char chunk[1000];
        ssize_t n;
        while ((n = read(fds[0], chunk, sizeof(chunk))) > 0)
            total += (size_t)n;
        _exit(total == 300000 ? 0 : 1);
    }
    close(fds[0]);
    char *data = calloc(1, 300000);
    MUST(fd_write_all(fds[1], data, 300000, &err));
    close(fds[1]);
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    autoclose int full = open("/dev/full", O_WRONLY);
    MUST_FAIL(STATUS_CANNOT_WRITE, "No space", fd_write_all(full, data, 10, &err));
    free(data);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        write_and_replace, failed_write_leaves_nothing,
        no_space,          create_never_replaces,
        reading,           guards,
        folders,           locks,
        write_all,         folders_of_others,
    };
    return unit_run("file", tests, COUNT(tests));
}
