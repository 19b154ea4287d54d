/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "qmp/qmp.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/unix_socket.h"

/* The largest reply seen, query-cpu-model-expansion and query-machines of QEMU 10.0, has 40 KB. */
#define QMP_LINE_MAX ((size_t)4 << 20)
#define QMP_EVENTS_MAX 256

#define LOOK_MS 500 /* how soon it is seen that nobody wants the answer any more */

static const volatile sig_atomic_t *given_up;

void qmp_give_up_on(const volatile sig_atomic_t *flag)
{
    given_up = flag;
}

struct qmp {
    int fd;
    struct strbuf input;
    unsigned next_id;
    json_t *events; /* array */
    unsigned version;
    char *package;
};

void qmp_close(struct qmp *qmp)
{
    if (!qmp)
        return;
    close(qmp->fd);
    strbuf_free(&qmp->input);
    json_decref(qmp->events);
    free(qmp->package);
    free(qmp);
}

enum line { LINE_GOOD, LINE_LATE, LINE_CLOSED, LINE_BAD };

/* One line from QEMU as JSON. */
static enum line read_line(struct qmp *qmp, deadline when, json_t **json, struct error *err)
{
    for (;;) {
        char *end = qmp->input.data ? memchr(qmp->input.data, '\n', qmp->input.length) : NULL;
        if (end) {
            size_t length = (size_t)(end - qmp->input.data);
            *json = json_parse_qmp(qmp->input.data, length, QMP_LINE_MAX, err);
            qmp->input.length -= length + 1;
            memmove(qmp->input.data, end + 1, qmp->input.length);
            qmp->input.data[qmp->input.length] = '\0';
            return *json ? LINE_GOOD : LINE_BAD;
        }
        if (qmp->input.length > QMP_LINE_MAX) {
            error_set(err, STATUS_PROTOCOL, "QEMU's answer is larger than %zu bytes", QMP_LINE_MAX);
            return LINE_BAD;
        }
        struct pollfd readable = {.fd = qmp->fd, .events = POLLIN};
        int left = deadline_left_ms(when);
        int n = poll(&readable, 1, left < 0 || left > LOOK_MS ? LOOK_MS : left);
        if (given_up && *given_up)
            return LINE_LATE;
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0 && deadline_left_ms(when) != 0)
            continue;
        if (n == 0)
            return LINE_LATE;
        char chunk[16384];
        ssize_t got = n < 0 ? -1 : read(qmp->fd, chunk, sizeof(chunk));
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got <= 0)
            return LINE_CLOSED;
        strbuf_add(&qmp->input, chunk, (size_t)got);
        if (qmp->input.failed) {
            error_no_memory(err);
            return LINE_BAD;
        }
    }
}

/* A line that must come: late and closed are errors too. */
static json_t *need_line(struct qmp *qmp, deadline when, struct error *err)
{
    struct error inner = ERROR_INIT; /* the caller may want none */
    json_t *json = NULL;
    switch (read_line(qmp, when, &json, &inner)) {
    case LINE_GOOD:
        return json;
    case LINE_LATE:
        error_set(err, STATUS_UNAVAILABLE, "QEMU does not answer");
        return NULL;
    case LINE_CLOSED:
        error_set(err, STATUS_UNAVAILABLE, "QEMU hung up");
        return NULL;
    case LINE_BAD:
        break;
    }
    error_set(err, inner.status == STATUS_DATA ? STATUS_PROTOCOL : inner.status, "QMP: %s",
              inner.message);
    return NULL;
}

static bool keep_event(struct qmp *qmp, json_t *event)
{
    if (json_array_size(qmp->events) >= QMP_EVENTS_MAX)
        json_array_remove(qmp->events, 0);
    return json_array_append(qmp->events, event) == 0;
}

static bool send_text(struct qmp *qmp, const char *text, deadline when, struct error *err)
{
    size_t length = strlen(text);
    while (length > 0) {
        ssize_t n = send(qmp->fd, text, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            text += n;
            length -= (size_t)n;
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return error_set(err, STATUS_UNAVAILABLE, "QEMU hung up");
        struct pollfd writable = {.fd = qmp->fd, .events = POLLOUT};
        if (poll(&writable, 1, deadline_left_ms(when)) == 0)
            return error_set(err, STATUS_UNAVAILABLE, "QEMU does not read");
    }
    return true;
}

bool qmp_execute(struct qmp *qmp, const char *command, json_t *arguments, deadline when,
                 enum status refused, json_t **result, struct error *err)
{
    json_int_t id = qmp->next_id++;
    autojson json_t *request = json_pack("{s:s, s:I}", "execute", command, "id", id);
    bool packed = request != NULL;
    if (arguments && (!packed || json_object_set(request, "arguments", arguments) != 0))
        packed = false;
    json_decref(arguments);
    autofree char *text = packed ? json_dumps(request, JSON_COMPACT) : NULL;
    if (!text)
        return error_no_memory(err);
    struct error inner = ERROR_INIT;
    if (!send_text(qmp, text, when, &inner) || !send_text(qmp, "\n", when, &inner))
        return error_set(err, inner.status, "%s: %s", command, inner.message);
    for (;;) {
        autojson json_t *reply = need_line(qmp, when, &inner);
        if (!reply)
            return error_set(err, inner.status, "%s: %s", command, inner.message);
        if (json_object_get(reply, "event")) {
            if (!keep_event(qmp, reply))
                return error_no_memory(err);
            if (deadline_left_ms(when) == 0) /* there may always be one more event to read */
                return error_set(err, STATUS_UNAVAILABLE, "%s: QEMU does not answer", command);
            continue;
        }
        json_t *value = json_object_get(reply, "return");
        json_t *failure = json_object_get(reply, "error");
        if (json_integer_value(json_object_get(reply, "id")) != id || (!value && !failure))
            return error_set(err, STATUS_PROTOCOL, "%s: an answer to another question", command);
        if (failure) {
            const char *words = json_string_value(json_object_get(failure, "desc"));
            return error_set(err, refused, "%s: %s", command, words ? words : "refused");
        }
        if (result)
            *result = json_incref(value);
        return true;
    }
}

json_t *qmp_next_event(struct qmp *qmp, deadline when, bool *closed)
{
    *closed = false;
    while (json_array_size(qmp->events) == 0) {
        autojson json_t *line = NULL;
        struct error ignored;
        enum line got = read_line(qmp, when, &line, &ignored);
        if (got == LINE_LATE)
            return NULL;
        if (got != LINE_GOOD) {
            *closed = true;
            return NULL;
        }
        if (json_object_get(line, "event"))
            return STEAL(line);
        if (deadline_left_ms(when) == 0)
            return NULL;
    }
    json_t *event = json_incref(json_array_get(qmp->events, 0));
    json_array_remove(qmp->events, 0);
    return event;
}

static bool read_greeting(struct qmp *qmp, deadline when, struct error *err)
{
    autojson json_t *greeting = need_line(qmp, when, err);
    /* An event at the moment of connecting comes first (seen with QEMU 7.2). */
    while (greeting && json_object_get(greeting, "event")) {
        json_decref(greeting);
        greeting = need_line(qmp, when, err);
    }
    if (!greeting)
        return false;
    int major, minor, micro;
    const char *package;
    if (json_unpack(greeting, "{s:{s:{s:{s:i, s:i, s:i}, s:s}}}", "QMP", "version", "qemu", "major",
                    &major, "minor", &minor, "micro", &micro, "package", &package) != 0 ||
        major < 0 || major > 999 || minor < 0 || minor > 99 || micro < 0 || micro > 99)
        return error_set(err, STATUS_PROTOCOL, "QMP: not QEMU's greeting");
    qmp->version = (unsigned)(major * 10000 + minor * 100 + micro);
    if (!(qmp->package = string_plain(package, QMP_PACKAGE_MAX)))
        return error_no_memory(err);
    return qmp_execute(qmp, "qmp_capabilities", NULL, when, STATUS_PROTOCOL, NULL, err);
}

struct qmp *qmp_open(int fd, deadline when, struct error *err)
{
    struct qmp *qmp = calloc(1, sizeof(*qmp));
    if (!qmp) {
        close(fd);
        error_no_memory(err);
        return NULL;
    }
    qmp->fd = fd;
    qmp->next_id = 1;
    qmp->events = json_array();
    if (!qmp->events || !read_greeting(qmp, when, err)) {
        if (!qmp->events)
            error_no_memory(err);
        qmp_close(qmp);
        return NULL;
    }
    return qmp;
}

struct qmp *qmp_connect(const char *path, int64_t greeting_ms, struct error *err)
{
    if (!unix_path_fits(path)) {
        error_set(err, STATUS_CONFIG, "%s: too long for a socket", path);
        return NULL;
    }
    autoclose int fd = unix_connect(path, 0);
    if (fd < 0) {
        error_set_errno(err, STATUS_UNAVAILABLE, errno, "%s", path);
        return NULL;
    }
    struct qmp *qmp = qmp_open(steal_fd(&fd), deadline_in_ms(greeting_ms), err);
    if (!qmp)
        error_wrap(err, "%s", path);
    return qmp;
}

bool qmp_peer(const struct qmp *qmp, pid_t *pid, uid_t *user)
{
    struct ucred who;
    socklen_t size = sizeof(who);
    if (getsockopt(qmp->fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0 || who.pid <= 0)
        return false;
    *pid = who.pid;
    *user = who.uid;
    return true;
}

unsigned qmp_version(const struct qmp *qmp)
{
    return qmp->version;
}

const char *qmp_package(const struct qmp *qmp)
{
    return qmp->package;
}
