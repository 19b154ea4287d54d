/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the agent's processes say to each other, whole and damaged; and what is said to systemd.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent_pipe.h"
#include "base/cleanup.h"
#include "base/systemd.h"
#include "unit.h"

#define PIN "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define OTHER "sha256//AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="

static json_t *parse(const char *text)
{
    json_t *json = json_loads(text, 0, NULL);
    ck_assert_msg(json != NULL, "%s", text);
    return json;
}

START_TEST(questions)
{
    static const char *const bad[] = {
        "{}",
        "{'id':1,'pin':'x','remote':'','name':'a','body':{}}",
        "{'id':1,'pin':'" PIN "','remote':'','name':'A','body':{}}",
        "{'id':1,'pin':'" PIN "','remote':'','name':'','body':{}}",
        "{'id':1,'pin':'" PIN "','remote':'','name':'aaaaaaaaaaaaaaaaa','body':{}}",
        "{'id':1,'pin':'" PIN "','remote':'','name':'a','body':[]}",
        "{'id':1,'pin':'" PIN "','remote':'','name':'a','body':null}",
        "{'id':'1','pin':'" PIN "','remote':'','name':'a','body':{}}",
        "{'id':1,'pin':'" PIN "','remote':'','name':'a'}",
        "{'id':1,'pin':'" PIN "','remote':'','name':'a','body':{},'more':1}",
        "{'id':1,'pin':'" PIN
        "','remote':'0123456789012345678901234567890123456789012345','name':'a','body':{}}",
        "{'ready':true}",
    };
    struct error err = ERROR_INIT;
    autojson json_t *body = json_pack("{s:i}", "x", 1);
    struct agent_question question = {
        .id = 7, .pin = PIN, .remote = "2001:db8::1", .name = "hello", .body = body};
    autojson json_t *frame = agent_question_to_json(&question);
    autoquestion struct agent_question back = {0};
    ck_assert(agent_question_from_json(frame, &back, &err));
    ck_assert_int_eq(back.id, 7);
    ck_assert_str_eq(back.pin, PIN);
    ck_assert_str_eq(back.remote, "2001:db8::1");
    ck_assert_str_eq(back.name, "hello");
    ck_assert(json_equal(back.body, body));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        autofree char *text = strdup(bad[i]);
        for (char *p = text; *p; p++)
            *p = *p == '\'' ? '"' : *p;
        autojson json_t *json = parse(text);
        struct agent_question none = {0};
        ck_assert_msg(!agent_question_from_json(json, &none, &err), "%s", text);
        ck_assert_int_eq(err.status, STATUS_DATA);
        ck_assert_ptr_null(none.body);
    }
}
END_TEST

START_TEST(answers)
{
    static const char *const bad[] = {
        "{}",
        "{\"id\":1}",
        "{\"id\":1,\"answer\":[]}",
        "{\"id\":1,\"answer\":{},\"error\":{\"status\":10,\"message\":\"no\"}}",
        "{\"answer\":{}}",
        "{\"id\":1,\"answer\":{},\"trust\":[]}",
    };
    struct error err = ERROR_INIT, problem = ERROR_INIT;
    autojson json_t *body = json_pack("{s:i}", "x", 1);
    autojson json_t *frame = agent_answer_to_json(9, body, NULL), *answer = NULL;
    json_int_t id = 0;
    ck_assert(agent_answer_from_json(frame, &id, &answer, &problem, &err));
    ck_assert_int_eq(id, 9);
    ck_assert(json_equal(answer, body));
    error_set(&problem, STATUS_DRIFT, "no, it has \"drifted\"\n");
    autojson json_t *refusal = agent_answer_to_json(10, NULL, &problem);
    struct error back = ERROR_INIT;
    json_t *none = NULL;
    ck_assert(agent_answer_from_json(refusal, &id, &none, &back, &err));
    ck_assert_int_eq(id, 10);
    ck_assert_ptr_null(none);
    ck_assert_int_eq(back.status, STATUS_DRIFT);
    ck_assert_ptr_nonnull(strstr(back.message, "no, it has \"drifted\""));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        autojson json_t *json = parse(bad[i]);
        ck_assert_msg(!agent_answer_from_json(json, &id, &none, &back, &err), "%s", bad[i]);
        ck_assert_int_eq(err.status, STATUS_DATA);
        ck_assert_ptr_null(none);
    }
}
END_TEST

START_TEST(trust)
{
    static char names[2][4] = {"a", "b.c"};
    static const char *const bad[] = {
        "{\"trust\":{}}",
        "{\"trust\":[1]}",
        "{\"trust\":[{\"name\":\"a\",\"pins\":[],\"expires\":1}]}",
        "{\"trust\":[{\"name\":\"a\",\"pins\":[\"x\"],\"expires\":1}]}",
        "{\"trust\":[{\"name\":\"/a\",\"pins\":[\"" PIN "\"],\"expires\":1}]}",
        "{\"trust\":[{\"name\":\"a\",\"pins\":[\"" PIN "\"],\"expires\":-1}]}",
        "{\"trust\":[{\"name\":\"a\",\"pins\":[\"" PIN "\"]}]}",
        "{\"trust\":[],\"id\":1}",
    };
    struct trust_entry entries[2] = {
        {.name = names[0], .pin_count = 2, .expires = 77},
        {.name = names[1], .pin_count = 1, .expires = TRUST_NEVER},
    };
    struct error err = ERROR_INIT;
    snprintf(entries[0].pins[0], PIN_SIZE, PIN);
    snprintf(entries[0].pins[1], PIN_SIZE, OTHER);
    snprintf(entries[1].pins[0], PIN_SIZE, OTHER);
    const struct trust all = {.entries = entries, .count = 2};
    autojson json_t *frame = agent_trust_to_json(&all);
    autotrust struct trust back = {0};
    ck_assert(agent_trust_from_json(frame, &back, &err));
    ck_assert_uint_eq(back.count, 2);
    ck_assert_str_eq(back.entries[0].name, "a");
    ck_assert_str_eq(back.entries[0].pins[1], OTHER);
    ck_assert_int_eq(back.entries[0].expires, 77);
    ck_assert_uint_eq(back.entries[1].pin_count, 1);
    ck_assert_int_eq(back.entries[1].expires, TRUST_NEVER);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        autojson json_t *json = parse(bad[i]);
        struct trust none = {0};
        ck_assert_msg(!agent_trust_from_json(json, &none, &err), "%s", bad[i]);
        ck_assert_int_eq(err.status, STATUS_DATA);
        ck_assert_ptr_null(none.entries);
    }
}
END_TEST

static void make_pipe(int ends[2])
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
}

START_TEST(frames)
{
    int ends[2];
    struct error err = ERROR_INIT;
    autofree char *text = malloc(500001);
    memset(text, 'x', 500000);
    text[500000] = '\0';
    autojson json_t *large = json_pack("{s:s}", "text", text), *small = json_pack("{s:i}", "a", 1);
    make_pipe(ends);
    ck_assert(!agent_pipe_send(ends[0], large, 1000, deadline_in_ms(1000), &err));
    ck_assert_int_eq(err.status, STATUS_INTERNAL);
    /* More than the kernel takes, and nobody reads. */
    ck_assert(!agent_pipe_send(ends[0], large, PIPE_ORDER_MAX, deadline_in_ms(100), &err));
    ck_assert_int_eq(err.status, STATUS_UNAVAILABLE);
    close(ends[0]);
    close(ends[1]);
    make_pipe(ends);
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < 3; i++)
            if (!agent_pipe_send(ends[0], i == 1 ? small : large, PIPE_ORDER_MAX,
                                 deadline_in_ms(60000), NULL))
                _exit(1);
        _exit(0);
    }
    close(ends[0]);
    for (int i = 0; i < 3; i++) {
        autojson json_t *frame = NULL;
        ck_assert_msg(
            agent_pipe_receive(ends[1], PIPE_ORDER_MAX, deadline_in_ms(60000), &frame, &err), "%s",
            err.message);
        ck_assert(json_equal(frame, i == 1 ? small : large));
    }
    json_t *none = small;
    ck_assert(agent_pipe_receive(ends[1], PIPE_ORDER_MAX, deadline_in_ms(60000), &none, &err));
    ck_assert_ptr_null(none); /* the end */
    int status = 1;
    waitpid(child, &status, 0);
    ck_assert_int_eq(status, 0);
    /* To somebody who has gone: no signal. */
    make_pipe(ends);
    close(ends[1]);
    ck_assert(!agent_pipe_send(ends[0], small, 1000, deadline_in_ms(1000), &err));
    ck_assert_int_eq(err.status, STATUS_UNAVAILABLE);
}
END_TEST

START_TEST(damaged_frames)
{
    static const struct {
        const char *bytes;
        size_t length;
        enum status status;
    } rows[] = {
        {"\0\0\0\0", 4, STATUS_DATA},         /* nothing */
        {"\0\0\4\1", 4, STATUS_DATA},         /* more than 1024 */
        {"\377\377\377\377", 4, STATUS_DATA}, /* much more */
        {"\0\0\0\2[]", 6, STATUS_DATA},       /* no object */
        {"\0\0\0\3{a}", 7, STATUS_DATA},      /* no JSON */
        {"\0\0\0\5{}{}}", 9, STATUS_DATA},    /* more than an object */
        {"\0\0\0\2{", 5, STATUS_UNAVAILABLE}, /* cut */
        {"\0\0\0", 3, STATUS_UNAVAILABLE},    /* cut before its length is whole */
        {"\0\0\0\2", 4, STATUS_UNAVAILABLE},  /* cut behind it */
        {"\0\0\0\14{\"a\":1,\"a\":2}", 17, STATUS_DATA},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int ends[2];
        struct error err = ERROR_INIT;
        json_t *frame = NULL;
        make_pipe(ends);
        ck_assert_int_eq(write(ends[0], rows[i].bytes, rows[i].length), (ssize_t)rows[i].length);
        close(ends[0]);
        ck_assert_msg(!agent_pipe_receive(ends[1], 1024, deadline_in_ms(1000), &frame, &err),
                      "row %zu", i);
        ck_assert_msg(err.status == rows[i].status, "row %zu: %d %s", i, err.status, err.message);
        ck_assert_ptr_null(frame);
        close(ends[1]);
    }
    int ends[2];
    struct error err = ERROR_INIT;
    json_t *frame = NULL;
    make_pipe(ends); /* the other end sleeps in mid-sentence */
    ck_assert_int_eq(write(ends[0], "\0\0\0\2{", 5), 5);
    ck_assert(!agent_pipe_receive(ends[1], 1024, deadline_in_ms(50), &frame, &err));
    ck_assert_int_eq(err.status, STATUS_UNAVAILABLE);
}
END_TEST

static void set_pid(const char *name)
{
    char text[16];
    snprintf(text, sizeof(text), "%d", (int)getpid());
    setenv(name, text, 1);
}

/* Descriptor 3 is check's own here. */
static int take_in_child(int socket)
{
    int status = 1;
    pid_t child = fork();
    if (child == 0) {
        struct error err = ERROR_INIT;
        int fd = -1;
        dup2(socket, 3);
        setenv("LISTEN_FDS", "1", 1);
        set_pid("LISTEN_PID");
        if (!systemd_take_socket(&fd, &err))
            _exit(fd == -1 ? (int)err.status : 1);
        _exit(fd == 3 && fcntl(3, F_GETFD) == FD_CLOEXEC ? 0 : 1);
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

START_TEST(socket_from_systemd)
{
    struct error err = ERROR_INIT;
    int fd = 7;
    ck_assert(systemd_take_socket(&fd, &err));
    ck_assert_int_eq(fd, -1);
    /* For somebody else. */
    setenv("LISTEN_FDS", "1", 1);
    setenv("LISTEN_PID", "1", 1);
    ck_assert(systemd_take_socket(&fd, &err));
    ck_assert_int_eq(fd, -1);
    ck_assert_ptr_null(getenv("LISTEN_FDS"));
    static const char *const wrong[] = {"2", "x", "-1", "", "99999"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        setenv("LISTEN_FDS", wrong[i], 1);
        setenv("LISTEN_FDNAMES", "x", 1);
        set_pid("LISTEN_PID");
        ck_assert_msg(!systemd_take_socket(&fd, &err), "%s", wrong[i]);
        ck_assert_int_eq(err.status, STATUS_CONFIG);
        ck_assert_int_eq(fd, -1);
        ck_assert_ptr_null(getenv("LISTEN_PID"));
        ck_assert_ptr_null(getenv("LISTEN_FDNAMES"));
    }
    ck_assert_int_eq(take_in_child(open("/dev/null", O_RDONLY)), STATUS_CONFIG);
    ck_assert_int_eq(take_in_child(socket(AF_INET, SOCK_STREAM, 0)), STATUS_CONFIG);
    int ends[2];
    make_pipe(ends);
    ck_assert_int_eq(take_in_child(ends[0]), STATUS_CONFIG);
    int good = socket(AF_INET6, SOCK_STREAM, 0);
    ck_assert_int_eq(listen(good, 5), 0);
    ck_assert_int_eq(take_in_child(good), 0);
}
END_TEST

static void hears(int fd, const char *expected)
{
    char text[256];
    ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
    ck_assert_int_gt(n, 0);
    text[n] = '\0';
    ck_assert_str_eq(text, expected);
}

START_TEST(notifying)
{
    static const char *const wrong[] = {"relative", "@", "/"};
    struct systemd systemd = SYSTEMD_INIT;
    struct error err = ERROR_INIT;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[64];
    ck_assert(systemd_open(&systemd, &err));
    ck_assert_int_eq(systemd.fd, -1);
    systemd_notify(&systemd, "READY=1"); /* to nobody */
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        setenv("NOTIFY_SOCKET", wrong[i], 1);
        ck_assert(!systemd_open(&systemd, &err));
        ck_assert_int_eq(err.status, STATUS_CONFIG);
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    int length = snprintf(name, sizeof(name), "@qml-unit-%d", (int)getpid());
    memcpy(address.sun_path + 1, name + 1, (size_t)length - 1);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)length)),
                     0);
    setenv("NOTIFY_SOCKET", name, 1);
    setenv("WATCHDOG_USEC", "3000000", 1);
    set_pid("WATCHDOG_PID");
    ck_assert_msg(systemd_open(&systemd, &err), "%s", err.message);
    ck_assert_int_eq(systemd.watchdog_ms, 1500);
    ck_assert_ptr_null(getenv("NOTIFY_SOCKET"));
    ck_assert_ptr_null(getenv("WATCHDOG_USEC"));
    systemd_notify(&systemd, "READY=%d", 1);
    hears(fd, "READY=1");
    char large[5000];
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    systemd_notify(&systemd, "STATUS=%s", large); /* cut, not dropped */
    ck_assert_int_eq(recv(fd, large, sizeof(large), MSG_DONTWAIT), 1023);
    close(fd);
    systemd_notify(&systemd, "READY=1"); /* nobody listens any more */
    systemd_close(&systemd);
    setenv("WATCHDOG_USEC", "10", 1);
    setenv("WATCHDOG_PID", "1", 1);
    ck_assert(systemd_open(&systemd, &err));
    ck_assert_int_eq(systemd.watchdog_ms, 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        questions, answers, trust, frames, damaged_frames, socket_from_systemd, notifying,
    };
    return unit_run("agent", tests, COUNT(tests));
}
