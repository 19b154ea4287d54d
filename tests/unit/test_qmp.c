/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A QMP conversation with a QEMU that follows a script, good or bad.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "qmp/qmp.h"

#define GREETING                                                                                   \
    "{\"QMP\":{\"version\":{\"qemu\":{\"micro\":22,\"minor\":2,\"major\":7},\"package\":"          \
    "\"Deb\\nian\\u00e9\"},"                                                                       \
    "\"capabilities\":[\"oob\"]}}\r\n"

/* What the scripted QEMU does. */
struct step {
    enum { END, SAY, SAY_SLOWLY, HEAR, HANG_UP, FLOOD, ENDLESS_LINE, LARGE_LINE } action;
    const char *text; /* to say; or what the next line must contain, with its NUL for a part */
};

#define CAPABILITIES                                                                               \
    {HEAR, "{\"execute\":\"qmp_capabilities\",\"id\":1}"},                                         \
    {                                                                                              \
        SAY, "{\"return\":{},\"id\":1}\r\n"                                                        \
    }

struct player {
    const struct step *steps;
    int fd;
    pthread_t thread;
    char trouble[256]; /* what the program did that the script did not want */
};

static bool say(struct player *player, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t n = send(player->fd, text, length, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        text += n;
        length -= (size_t)n;
    }
    return true;
}

static void hear(struct player *player, const char *wanted)
{
    char line[4096];
    size_t length = 0;
    while (length < sizeof(line) - 1 && recv(player->fd, line + length, 1, 0) == 1 &&
           line[length] != '\n')
        length++;
    line[length] = '\0';
    if (!strstr(line, wanted))
        snprintf(player->trouble, sizeof(player->trouble), "heard '%.100s', not '%.100s'", line,
                 wanted);
}

static void *play(void *user)
{
    struct player *player = user;
    for (const struct step *step = player->steps; step->action != END; step++) {
        size_t length = step->text ? strlen(step->text) : 0;
        char *big;
        switch (step->action) {
        case SAY:
            say(player, step->text, length);
            break;
        case SAY_SLOWLY:
            for (size_t i = 0; i < length; i++) {
                say(player, step->text + i, 1);
                usleep(100);
            }
            break;
        case HEAR:
            hear(player, step->text);
            break;
        case HANG_UP:
            shutdown(player->fd, SHUT_RDWR);
            break;
        case FLOOD:
            big = malloc(1000 * length); /* many at once, so that there is always one to read */
            for (size_t i = 0; i < 1000; i++)
                memcpy(big + i * length, step->text, length);
            while (say(player, big, 1000 * length))
                continue;
            free(big);
            break;
        case ENDLESS_LINE:
        case LARGE_LINE:
            big = malloc(1 << 20);
            memset(big, 'x', 1 << 20);
            say(player, "{\"return\":{\"x\":\"", 16);
            for (int i = 0; i < 3; i++)
                say(player, big, 1 << 20);
            while (step->action == ENDLESS_LINE && say(player, big, 1 << 20))
                continue;
            say(player, "\"},\"id\":2}\r\n", 12);
            free(big);
            break;
        case END:
            break;
        }
    }
    return NULL;
}

static int start(struct player *player, const struct step *steps)
{
    int fds[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    *player = (struct player){.steps = steps, .fd = fds[1]};
    ck_assert_int_eq(pthread_create(&player->thread, NULL, play, player), 0);
    return fds[0];
}

static void stop(struct player *player)
{
    pthread_join(player->thread, NULL);
    close(player->fd);
    ck_assert_msg(!player->trouble[0], "%s", player->trouble);
}

static deadline soon(void)
{
    return deadline_in_ms(20000);
}

START_TEST(good_conversation)
{
    static const struct step script[] = {
        {SAY_SLOWLY, GREETING},
        CAPABILITIES,
        {HEAR, "{\"execute\":\"one\",\"id\":2}"},
        {SAY,
         "{\"event\":\"STOP\",\"timestamp\":{\"seconds\":1,\"microseconds\":2}}\r\n{\"return\":"},
        {SAY_SLOWLY, "{\"a\":1.5,\"b\":\"\xc3\xa4\"},\"id\":2}\r\n{\"event\":\"RESUME\"}\r\n"},
        {HEAR, "{\"execute\":\"two\",\"id\":3,\"arguments\":{\"x\":true}}"},
        {SAY, "{\"id\":3,\"error\":{\"class\":\"GenericError\",\"desc\":\"no such thing\"}}\r\n"},
        {HEAR, "{\"execute\":\"three\",\"id\":4}"},
        {SAY, "{\"return\":[],\"id\":4}\n{\"event\":\"LAST\"}\n"},
        {HEAR, ""}, /* until the program hangs up */
        {END, NULL},
    };
    struct player player;
    autoqmp struct qmp *qmp = NULL;
    autojson json_t *one = NULL, *two = NULL, *three = NULL;
    bool closed = true;
    int fd = start(&player, script);
    MUST(qmp = qmp_open(fd, soon(), &err));
    ck_assert_uint_eq(qmp_version(qmp), 70222);
    ck_assert_str_eq(qmp_package(qmp), "Debian");
    MUST(qmp_execute(qmp, "one", NULL, soon(), STATUS_MIGRATION, &one, &err));
    ck_assert_str_eq(json_string_value(json_object_get(one, "b")), "\xc3\xa4");
    MUST_FAIL(
        STATUS_MIGRATION, "two: no such thing",
        qmp_execute(qmp, "two", json_pack("{s:b}", "x", 1), soon(), STATUS_MIGRATION, &two, &err));
    ck_assert_ptr_null(two);
    MUST(qmp_execute(qmp, "three", NULL, soon(), STATUS_MIGRATION, &three, &err));
    ck_assert(json_is_array(three));
    static const char *const events[] = {"STOP", "RESUME", "LAST"};
    for (size_t i = 0; i < COUNT(events); i++) {
        autojson json_t *event = qmp_next_event(qmp, soon(), &closed);
        ck_assert_str_eq(json_string_value(json_object_get(event, "event")), events[i]);
        ck_assert(!closed);
    }
    int64_t begin = clock_now_ms();
    ck_assert_ptr_null(qmp_next_event(qmp, deadline_in_ms(50), &closed));
    ck_assert(!closed && clock_now_ms() - begin >= 49);
    qmp_close(STEAL(qmp));
    stop(&player);
}
END_TEST

START_TEST(bad_greetings)
{
    static const struct {
        struct step script[4];
        enum status status;
        const char *words;
    } rows[] = {
        {{{HANG_UP, NULL}}, STATUS_UNAVAILABLE, "hung up"},
        {{{SAY, "{\"QMP\":"}, {HANG_UP, NULL}}, STATUS_UNAVAILABLE, "hung up"},
        {{{END, NULL}}, STATUS_UNAVAILABLE, "does not answer"},
        {{{SAY, "{\"QMP\":"}}, STATUS_UNAVAILABLE, "does not answer"},
        {{{SAY, "garbage\r\n"}}, STATUS_PROTOCOL, "QMP"},
        {{{SAY, "HTTP/1.1 400 Bad Request\r\n\r\n"}}, STATUS_PROTOCOL, "QMP"},
        {{{SAY, "\n"}}, STATUS_PROTOCOL, "QMP"},
        {{{SAY, "{}\n"}}, STATUS_PROTOCOL, "greeting"},
        {{{SAY, "{\"QMP\":{}}\n"}}, STATUS_PROTOCOL, "greeting"},
        {{{SAY, "{\"QMP\":{\"version\":{\"qemu\":{\"micro\":0,\"minor\":0,\"major\":-1},"
                "\"package\":\"\"}}}\n"}},
         STATUS_PROTOCOL,
         "greeting"},
        {{{SAY, "{\"QMP\":{\"version\":{\"qemu\":{\"micro\":0,\"minor\":100,\"major\":1},"
                "\"package\":\"\"}}}\n"}},
         STATUS_PROTOCOL,
         "greeting"},
        {{{SAY, GREETING},
          {HEAR, "qmp_capabilities"},
          {SAY, "{\"error\":{\"desc\":\"no\"},\"id\":1}\n"}},
         STATUS_PROTOCOL,
         "qmp_capabilities: no"},
        {{{SAY, GREETING}, {HEAR, "qmp_capabilities"}}, STATUS_UNAVAILABLE, "does not answer"},
        {{{SAY, GREETING}, {HEAR, "qmp_capabilities"}, {HANG_UP, NULL}},
         STATUS_UNAVAILABLE,
         "hung up"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct player player;
        int fd = start(&player, rows[i].script);
        bool waits = strcmp(rows[i].words, "does not answer") == 0;
        MUST_FAIL(rows[i].status, rows[i].words,
                  qmp_open(fd, waits ? deadline_in_ms(50) : soon(), &err));
        ck_assert_int_eq(fcntl(fd, F_GETFD), -1); /* closed by qmp_open */
        stop(&player);
    }
}
END_TEST

START_TEST(bad_answers)
{
    static const struct {
        struct step then[3];
        enum status status;
        const char *words;
    } rows[] = {
        {{{SAY, "{\"return\":{},\"id\":1}\n"}}, STATUS_PROTOCOL, "another question"},
        {{{SAY, "{\"return\":{},\"id\":3}\n"}}, STATUS_PROTOCOL, "another question"},
        {{{SAY, "{\"return\":{},\"id\":\"2\"}\n"}}, STATUS_PROTOCOL, "another question"},
        {{{SAY, "{\"return\":{}}\n"}}, STATUS_PROTOCOL, "another question"},
        {{{SAY, "{\"id\":2}\n"}}, STATUS_PROTOCOL, "another question"},
        {{{SAY, "{\"error\":{\"desc\":\"JSON parse error\"}}\n"}}, STATUS_PROTOCOL, "question"},
        {{{SAY, "{\"error\":{},\"id\":2}\n"}}, STATUS_MIGRATION, "refused"},
        {{{SAY, "{\"error\":\"x\",\"id\":2}\n"}}, STATUS_MIGRATION, "refused"},
        {{{SAY, "{\"error\":{\"desc\":\"a\\nb\\u001b\"},\"id\":2}\n"}}, STATUS_MIGRATION, "a?b?"},
        {{{SAY, "garbage\n"}}, STATUS_PROTOCOL, "not valid JSON"},
        {{{SAY, "[]\n"}}, STATUS_PROTOCOL, "not a JSON object"},
        {{{SAY, "{\"return\":{},\"return\":{},\"id\":2}\n"}}, STATUS_PROTOCOL, "duplicate"},
        {{{SAY, "{\"return\":{},\"id\":2}"}, {HANG_UP, NULL}}, STATUS_UNAVAILABLE, "hung up"},
        {{{HANG_UP, NULL}}, STATUS_UNAVAILABLE, "hung up"},
        {{{END, NULL}}, STATUS_UNAVAILABLE, "does not answer"},
        {{{SAY, "{\"return\":{},\"id\":2}"}}, STATUS_UNAVAILABLE, "does not answer"},
        {{{SAY, "{\"event\":\"STOP\"}\n"}}, STATUS_UNAVAILABLE, "does not answer"},
        {{{ENDLESS_LINE, NULL}}, STATUS_PROTOCOL, "larger than"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct step script[8] = {
            {SAY, GREETING}, CAPABILITIES, {HEAR, "{\"execute\":\"x\",\"id\":2}"}};
        memcpy(script + 4, rows[i].then, sizeof(rows[i].then));
        struct player player;
        struct qmp *qmp = NULL;
        autojson json_t *result = NULL;
        int fd = start(&player, script);
        bool waits = strcmp(rows[i].words, "does not answer") == 0;
        MUST(qmp = qmp_open(fd, soon(), &err));
        MUST_FAIL(rows[i].status, rows[i].words,
                  qmp_execute(qmp, "x", NULL, waits ? deadline_in_ms(50) : soon(), STATUS_MIGRATION,
                              &result, &err));
        ck_assert_ptr_null(result);
        qmp_close(qmp);
        stop(&player);
    }
}
END_TEST

START_TEST(large_answer)
{
    static const struct step script[] = {
        {SAY, GREETING}, CAPABILITIES, {HEAR, "x"}, {LARGE_LINE, NULL}, {END, NULL}};
    struct player player;
    autoqmp struct qmp *qmp = NULL;
    autojson json_t *result = NULL;
    int fd = start(&player, script);
    MUST(qmp = qmp_open(fd, soon(), &err));
    MUST(qmp_execute(qmp, "x", NULL, soon(), STATUS_MIGRATION, &result, &err));
    ck_assert_uint_eq(json_string_length(json_object_get(result, "x")), 3 << 20);
    stop(&player);
}
END_TEST

/* A QEMU that never stops talking, but never answers, does not keep us beyond the deadline. */
START_TEST(flood)
{
    static const char *const noise[] = {"{\"event\":\"NOISE\"}\n", "{\"stray\":1}\n"};
    for (size_t i = 0; i < COUNT(noise); i++) {
        const struct step script[] = {
            {SAY, GREETING}, CAPABILITIES, {FLOOD, noise[i]}, {END, NULL}};
        struct player player;
        struct qmp *qmp = NULL;
        int fd = start(&player, script);
        MUST(qmp = qmp_open(fd, soon(), &err));
        int64_t begin = clock_now_ms();
        if (i == 0) {
            MUST_FAIL(
                STATUS_UNAVAILABLE, "does not answer",
                qmp_execute(qmp, "x", NULL, deadline_in_ms(200), STATUS_MIGRATION, NULL, &err));
        } else {
            bool closed;
            ck_assert_ptr_null(qmp_next_event(qmp, deadline_in_ms(200), &closed));
            ck_assert(!closed);
        }
        ck_assert_int_lt(clock_now_ms() - begin, 5000);
        qmp_close(qmp);
        stop(&player);
    }
}
END_TEST

/* Events that nobody has asked for wait, 256 of them; the oldest ones make room. */
START_TEST(only_so_many_events)
{
    enum { SAID = 300, KEPT = 256 };
    char text[SAID * 24], wanted[16];
    size_t length = 0;
    for (int i = 0; i < SAID; i++)
        length += (size_t)sprintf(text + length, "{\"event\":\"E%d\"}\n", i);
    sprintf(text + length, "{\"return\":{},\"id\":2}\n");
    const struct step script[] = {{SAY, GREETING}, CAPABILITIES, {HEAR, "one"},
                                  {SAY, text},     {HEAR, ""},   {END, NULL}};
    struct player player;
    struct qmp *qmp = NULL;
    bool closed;
    int fd = start(&player, script);
    MUST(qmp = qmp_open(fd, soon(), &err));
    MUST(qmp_execute(qmp, "one", NULL, soon(), STATUS_MIGRATION, NULL, &err));
    for (int i = SAID - KEPT; i < SAID; i++) {
        autojson json_t *event = qmp_next_event(qmp, soon(), &closed);
        sprintf(wanted, "E%d", i);
        ck_assert_str_eq(json_string_value(json_object_get(event, "event")), wanted);
    }
    qmp_close(qmp);
    stop(&player);
}
END_TEST

START_TEST(events_until_it_hangs_up)
{
    static const struct step script[] = {{SAY, GREETING},
                                         CAPABILITIES,
                                         {SAY, "{\"event\":\"SHUTDOWN\"}\n"},
                                         {HANG_UP, NULL},
                                         {END, NULL}};
    struct player player;
    autoqmp struct qmp *qmp = NULL;
    bool closed = true;
    int fd = start(&player, script);
    MUST(qmp = qmp_open(fd, soon(), &err));
    autojson json_t *event = qmp_next_event(qmp, soon(), &closed);
    ck_assert(event && !closed);
    ck_assert_ptr_null(qmp_next_event(qmp, soon(), &closed));
    ck_assert(closed);
    MUST_FAIL(STATUS_UNAVAILABLE, "hung up",
              qmp_execute(qmp, "x", NULL, soon(), STATUS_MIGRATION, NULL, &err));
    stop(&player);
}
END_TEST

START_TEST(sockets)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    autofree char *path = in_folder("qmp"), *none = in_folder("none");
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    autoclose int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(server, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(server, 5), 0);
    /* Nobody accepts, as when the socket has its one client already. */
    MUST_FAIL(STATUS_UNAVAILABLE, path, qmp_connect(path, 50, &err));
    MUST_FAIL(STATUS_UNAVAILABLE, "No such file", qmp_connect(none, 50, &err));
    char longer[109];
    memset(longer, 'x', 108);
    longer[108] = '\0';
    MUST_FAIL(STATUS_CONFIG, "too long", qmp_connect(longer, 50, &err));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        good_conversation,
        bad_greetings,
        bad_answers,
        large_answer,
        flood,
        only_so_many_events,
        events_until_it_hangs_up,
        sockets,
    };
    return unit_run("qmp", tests, COUNT(tests));
}
