/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The bar at several widths, lines, JSON, and what reaches a terminal or a log.
 */
#include "unit.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include "base/progress.h"

#define MIB (1LL << 20)

static const struct progress_sample full = {.status = "active",
                                            .total = 4096 * MIB,
                                            .remaining = 1024 * MIB,
                                            .transferred = 3500 * MIB,
                                            .rate = 117 * MIB + 400000,
                                            .dirty_rate = 5 * MIB,
                                            .elapsed_ms = 31000,
                                            .expected_downtime_ms = 300,
                                            .throttle = 20};
static const struct progress_sample none = {"setup", -1, -1, -1, -1, -1, -1, -1, -1};

START_TEST(sizes)
{
    static const struct {
        int64_t bytes;
        const char *text;
    } cases[] = {{-1, "0 B"},           {0, "0 B"},
                 {1023, "1023 B"},      {1024, "1.0 KiB"},
                 {10188, "9.9 KiB"},    {10189, "10 KiB"},
                 {1048063, "1023 KiB"}, {1048064, "1.0 MiB"},
                 {1048576, "1.0 MiB"},  {123 * MIB, "123 MiB"},
                 {INT64_MAX, "8.0 EiB"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        autofree char *text = progress_size(cases[i].bytes);
        ck_assert_str_eq(text, cases[i].text);
    }
}
END_TEST

START_TEST(percents)
{
    static const struct {
        int64_t total, remaining;
        int percent;
    } cases[] = {{-1, 5, 0},    {0, 0, 0},     {100, -1, 0},  {100, 101, 0},      {100, 100, 0},
                 {100, 50, 50}, {1000, 1, 99}, {100, 0, 100}, {INT64_MAX, 0, 100}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct progress_sample sample = {.total = cases[i].total, .remaining = cases[i].remaining};
        ck_assert_int_eq(progress_percent(&sample), cases[i].percent);
    }
}
END_TEST

START_TEST(bars)
{
    static const struct {
        size_t columns;
        const char *text;
    } cases[] = {
        {200, "web1 [##############################----------]  75 %  117 MiB/s  1.0 GiB left  "
              "dirty 5.0 MiB/s  downtime 300 ms  throttle 20 %"},
        {98, "web1 [#######---]  75 %  117 MiB/s  1.0 GiB left  dirty 5.0 MiB/s  downtime 300 ms  "
             "throttle 20 %"},
        {97, "web1 [##################------]  75 %  117 MiB/s  1.0 GiB left  dirty 5.0 MiB/s  "
             "downtime 300 ms"},
        {80, "web1 [##################------]  75 %  117 MiB/s  1.0 GiB left  dirty 5.0 MiB/s"},
        {60, "web1 [###############------]  75 %  117 MiB/s  1.0 GiB left"},
        {40, "web1 [###########----]  75 %  117 MiB/s"},
        {25, "web1 [########---]  75 %"},
        {24, "web1 [#######---]  75 %"},
        {23, "75 %"},
        {5, "75 %"},
        {3, "75"},
        {1, ""},
        {0, ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        autofree char *text = progress_bar("web1", &full, cases[i].columns, false);
        ck_assert_str_eq(text, cases[i].text);
    }
    /* Whatever the width, it fits. */
    for (size_t columns = 0; columns < 200; columns++) {
        autofree char *text = progress_bar("web1", &full, columns, false);
        ck_assert_uint_lt(strlen(text), columns > 0 ? columns : 1);
    }
}
END_TEST

START_TEST(colours)
{
    struct progress_sample sample = full;
    autofree char *part = progress_bar("v", &sample, 21, true);
    ck_assert_str_eq(part, "v [\033[32m#######\033[0m---]  75 %");
    sample.remaining = 0;
    autofree char *all = progress_bar("v", &sample, 21, true);
    ck_assert_str_eq(all, "v [\033[32m##########\033[0m] 100 %");
    sample.remaining = sample.total;
    autofree char *nothing = progress_bar("v", &sample, 21, true);
    ck_assert_str_eq(nothing, "v [\033[32m\033[0m----------]   0 %");
}
END_TEST

START_TEST(lines)
{
    autofree char *all = progress_line("web1", &full), *nothing = progress_line("web1", &none);
    ck_assert_str_eq(all, "web1: 75 %, 117 MiB/s, 1.0 GiB left, dirty 5.0 MiB/s, downtime 300 ms, "
                          "throttle 20 %");
    ck_assert_str_eq(nothing, "web1: 0 %");
    struct progress_sample calm = full;
    calm.dirty_rate = calm.throttle = 0;
    autofree char *quiet = progress_line("web1", &calm);
    ck_assert_str_eq(quiet, "web1: 75 %, 117 MiB/s, 1.0 GiB left, downtime 300 ms");
    autojson json_t *json = progress_json(&full), *empty = progress_json(&none);
    autofree char *one = json_to_text(json), *other = json_to_text(empty);
    ck_assert_str_eq(one, "{\"dirty_rate\":5242880,\"elapsed_ms\":31000,"
                          "\"expected_downtime_ms\":300,\"percent\":75,\"rate\":123083392,"
                          "\"remaining\":1073741824,\"status\":\"active\",\"throttle\":20,"
                          "\"total\":4294967296,\"transferred\":3670016000}");
    ck_assert_str_eq(other, "{\"percent\":0,\"status\":\"setup\"}");
}
END_TEST

static void check_read(int fd, const char *wanted)
{
    char text[1024];
    ssize_t length = read(fd, text, sizeof(text) - 1);
    text[length < 0 ? 0 : length] = '\0';
    ck_assert_str_eq(text, wanted);
}

START_TEST(in_a_log)
{
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK), 0);
    struct progress_sample sample = none;
    struct progress progress = progress_begin(ends[1], "v", false, false, -1);
    ck_assert_int_eq(progress.form, PROGRESS_LINES);
    progress_show(&progress, &sample, 0);
    check_read(ends[0], "v: 0 %\n");
    progress_show(&progress, &sample, 999);
    check_read(ends[0], "");
    progress_show(&progress, &sample, 1000);
    check_read(ends[0], "v: 0 %\n");
    sample.status = "active"; /* tells at once */
    progress_show(&progress, &sample, 1001);
    check_read(ends[0], "v: 0 %\n");
    progress_clear(&progress);
    check_read(ends[0], "");
    progress = progress_begin(ends[1], "v", true, true, -1);
    progress_show(&progress, &sample, 5);
    progress_show(&progress, &sample, 1004);
    check_read(ends[0], "{\"percent\":0,\"status\":\"active\"}\n");
    progress = progress_begin(ends[1], "v", false, true, -1);
    progress_show(&progress, &sample, 5000);
    check_read(ends[0], "");
    close(ends[0]);
    close(ends[1]);
}
END_TEST

START_TEST(on_a_terminal)
{
    struct winsize size = {.ws_col = 21, .ws_row = 5};
    autoclose int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
    ck_assert(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    autoclose int terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
    ck_assert(terminal >= 0 && ioctl(terminal, TIOCSWINSZ, &size) == 0);
    setenv("TERM", "dumb", 1);
    ck_assert_int_eq(progress_begin(terminal, "v", false, false, -1).form, PROGRESS_LINES);
    unsetenv("TERM");
    ck_assert_int_eq(progress_begin(terminal, "v", false, false, -1).form, PROGRESS_LINES);
    setenv("TERM", "xterm", 1);
    setenv("NO_COLOR", "", 1); /* empty: not set */
    ck_assert(progress_begin(terminal, "v", false, false, -1).colour);
    setenv("NO_COLOR", "1", 1);
    ck_assert(progress_begin(terminal, "v", false, false, 1).colour);
    struct progress progress = progress_begin(terminal, "v", false, false, -1);
    ck_assert(progress.form == PROGRESS_BAR && !progress.colour);
    progress_clear(&progress);
    check_read(master, "");
    progress_show(&progress, &full, 10);
    check_read(master, "\rv [#######---]  75 %\033[K");
    progress_show(&progress, &full, 109);
    check_read(master, "");
    size.ws_col = 0; /* it does not know */
    ioctl(terminal, TIOCSWINSZ, &size);
    progress_show(&progress, &full, 110);
    check_read(master, "\rv [#######---]  75 %  117 MiB/s  1.0 GiB left  dirty 5.0 MiB/s  "
                       "downtime 300 ms\033[K");
    progress_clear(&progress);
    check_read(master, "\r\033[K");
    progress_clear(&progress);
    check_read(master, "");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {sizes, percents, bars, colours, lines, in_a_log, on_a_terminal};
    return unit_run("progress", tests, COUNT(tests));
}
