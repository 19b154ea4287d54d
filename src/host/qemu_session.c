/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "host/qemu_session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

#define QUIT_MS 1000

/* The last line that QEMU printed which says something, into line. */
static void last_words(struct process *process, char *line, size_t size)
{
    autofree char *output = process_read_output(process);
    autostrlist struct strlist lines = {0};
    line[0] = '\0';
    if (!output || !strlist_split(&lines, output, '\n') || lines.count == 0)
        return;
    /* An assertion's text comes behind the message that tells the cause. */
    size_t last = lines.count - 1;
    if (last > 0 &&
        (strstr(lines.items[last], "Assertion") || strstr(lines.items[last], "Aborted")))
        last--;
    snprintf(line, size, "%s", lines.items[last]);
}

/* Turn a lost conversation into what happened to QEMU. */
static bool explain(struct qemu_session *session, struct error *err)
{
    char words[512], described[64];
    int status;
    if (process_wait(&session->process, deadline_in_ms(QUIT_MS), &status)) {
        last_words(&session->process, words, sizeof(words));
        process_describe_status(status, described, sizeof(described));
        return error_set(err, STATUS_CONFIG, "QEMU %s when it was asked what it can do%s%s",
                         described, *words ? ": " : "", words);
    }
    last_words(&session->process, words, sizeof(words));
    return error_set(err, STATUS_CONFIG, "QEMU does not answer%s%s", *words ? ": " : "", words);
}

bool qemu_session_begin(struct qemu_session *session, const char *path,
                        const struct strlist *arguments, deadline when, struct error *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return error_set_errno(err, STATUS_INTERNAL, errno, "cannot start %s", path);
    autoclose int ours = pair[0], theirs = pair[1];
    autostrlist struct strlist argv = {0};
    bool good = strlist_push(&argv, path) && strlist_push(&argv, "-nodefaults") &&
                strlist_push(&argv, "-no-user-config") && strlist_push(&argv, "-display") &&
                strlist_push(&argv, "none") && strlist_push(&argv, "-S") &&
                strlist_push(&argv, "-chardev") &&
                strlist_pushf(&argv, "socket,id=qml,fd=%d", theirs) &&
                strlist_push(&argv, "-mon") && strlist_push(&argv, "chardev=qml,mode=control");
    for (size_t i = 0; good && i < arguments->count; i++)
        good = strlist_push(&argv, arguments->items[i]);
    if (!good)
        return error_no_memory(err);
    struct qemu_session made = QEMU_SESSION_INIT;
    made.when = when;
    if (!process_start(&made.process, argv.items, theirs, err))
        return false;
    made.fd = steal_fd(&ours); /* theirs is closed: its death is our end of file */
    *session = made;
    return true;
}

bool qemu_session_greet(struct qemu_session *session, struct error *err)
{
    struct error inner = ERROR_INIT;
    session->qmp = qmp_open(steal_fd(&session->fd), session->when, &inner);
    if (session->qmp)
        return true;
    if (inner.status == STATUS_INTERNAL)
        *err = inner;
    else
        explain(session, err);
    qemu_session_end(session);
    return false;
}

bool qemu_session_start(struct qemu_session *session, const char *path,
                        const struct strlist *arguments, deadline when, struct error *err)
{
    return qemu_session_begin(session, path, arguments, when, err) &&
           qemu_session_greet(session, err);
}

bool qemu_session_ask(struct qemu_session *session, const char *command, json_t *arguments,
                      json_t **result, struct error *err)
{
    struct error inner = ERROR_INIT;
    if (qmp_execute(session->qmp, command, arguments, session->when, STATUS_CONFIG, result, &inner))
        return true;
    if (inner.status == STATUS_UNAVAILABLE)
        return explain(session, err);
    return error_set(err, inner.status, "QEMU: %s", inner.message);
}

void qemu_session_quit(struct qemu_session *session)
{
    if (session->qmp && session->process.pid > 0 && !session->quits)
        qmp_execute(session->qmp, "quit", NULL, deadline_in_ms(QUIT_MS), STATUS_CONFIG, NULL, NULL);
    session->quits = session->qmp != NULL;
}

void qemu_session_end(struct qemu_session *session)
{
    qemu_session_quit(session);
    if (session->quits && session->process.pid > 0)
        process_wait(&session->process, deadline_in_ms(QUIT_MS), NULL);
    qmp_close(session->qmp);
    if (session->fd >= 0)
        close(session->fd);
    process_end(&session->process);
    *session = (struct qemu_session)QEMU_SESSION_INIT;
}
