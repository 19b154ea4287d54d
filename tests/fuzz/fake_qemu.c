/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fake_qemu.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/qemu_session.h"

struct fake_qemu {
    int fd;
    char *bytes;
    size_t size;
    pthread_t thread;
};

static void *speak(void *context)
{
    struct fake_qemu *qemu = context;
    char ignored[4096];
    for (size_t sent = 0; sent < qemu->size;) {
        ssize_t n = send(qemu->fd, qemu->bytes + sent, qemu->size - sent, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    shutdown(qemu->fd, SHUT_WR);
    while (recv(qemu->fd, ignored, sizeof(ignored), 0) > 0)
        continue;
    return NULL;
}

struct fake_qemu *fake_qemu_new(const char *bytes, size_t size, int *fd)
{
    int pair[2], room = 1 << 20;
    struct fake_qemu *qemu = calloc(1, sizeof(*qemu));
    MUST(qemu && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    MUST((qemu->bytes = malloc(size + 1)) != NULL);
    memcpy(qemu->bytes, bytes, size);
    qemu->size = size;
    qemu->fd = pair[0];
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    MUST(pthread_create(&qemu->thread, NULL, speak, qemu) == 0);
    *fd = pair[1];
    return qemu;
}

void fake_qemu_free(struct fake_qemu *qemu)
{
    if (!qemu)
        return;
    shutdown(qemu->fd, SHUT_RDWR);
    pthread_join(qemu->thread, NULL);
    close(qemu->fd);
    free(qemu->bytes);
    free(qemu);
}

static void add_line(struct strbuf *text, const json_t *line)
{
    autofree char *one = json_dumps(line, JSON_COMPACT | JSON_ENCODE_ANY);
    MUST(one);
    strbuf_puts(text, one);
    strbuf_puts(text, "\r\n");
}

/* Its own greeting, then what answers qmp_capabilities, and the rest. */
struct fake_qemu *fake_qemu_script(const json_t *greeting, const json_t *replies, int *fd)
{
    static const char usual[] =
        "{\"QMP\":{\"version\":{\"qemu\":{\"micro\":22,\"minor\":2,\"major\":7},"
        "\"package\":\"Debian 1:7.2\"},\"capabilities\":[\"oob\"]}}\r\n";
    autostrbuf struct strbuf text = {0};
    json_int_t id = 1;
    size_t i;
    json_t *reply;
    if (greeting)
        add_line(&text, greeting);
    else
        strbuf_puts(&text, usual);
    strbuf_printf(&text, "{\"return\":{},\"id\":%d}\r\n", (int)id++);
    json_array_foreach(replies, i, reply)
    {
        autojson json_t *line = json_copy(reply);
        if (json_is_object(line) && !json_object_get(line, "event"))
            json_object_set_new_nocheck(line, "id", json_integer(id++));
        add_line(&text, line);
    }
    MUST(!text.failed);
    return fake_qemu_new(text.data, text.length, fd);
}

static const json_t *session_greeting, *session_replies;
static struct fake_qemu *session_qemu;

void fake_qemu_set_session(const json_t *greeting, const json_t *replies)
{
    session_greeting = greeting;
    session_replies = replies;
}

/* In place of host/qemu_session.c. */

bool qemu_session_begin(struct qemu_session *session, const char *path,
                        const struct strlist *arguments, deadline when, struct error *err)
{
    *session = (struct qemu_session)QEMU_SESSION_INIT;
    session->when = when;
    session_qemu = fake_qemu_script(session_greeting, session_replies, &session->fd);
    return true;
}

bool qemu_session_greet(struct qemu_session *session, struct error *err)
{
    session->qmp = qmp_open(session->fd, session->when, err);
    session->fd = -1;
    if (session->qmp) {
        session->process.pid = getpid();
        return true;
    }
    qemu_session_end(session);
    return error_set(err, STATUS_CONFIG, "QEMU does not answer");
}

bool qemu_session_start(struct qemu_session *session, const char *path,
                        const struct strlist *arguments, deadline when, struct error *err)
{
    return qemu_session_begin(session, path, arguments, when, err) &&
           qemu_session_greet(session, err);
}

void qemu_session_quit(struct qemu_session *session)
{
}

bool qemu_session_ask(struct qemu_session *session, const char *command, json_t *arguments,
                      json_t **result, struct error *err)
{
    struct error inner = ERROR_INIT;
    return qmp_execute(session->qmp, command, arguments, session->when, STATUS_CONFIG, result,
                       &inner) ||
           error_set(err, inner.status == STATUS_UNAVAILABLE ? STATUS_CONFIG : inner.status,
                     "QEMU: %s", inner.message);
}

void qemu_session_end(struct qemu_session *session)
{
    qmp_close(session->qmp);
    *session = (struct qemu_session)QEMU_SESSION_INIT;
    fake_qemu_free(session_qemu);
    session_qemu = NULL;
}
