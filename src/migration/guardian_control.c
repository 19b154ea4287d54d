/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The local socket: a connection sends one word and gets one line, the guardian's status as in an
 * answer to the source, with "refused" (why, or "").
 */
#include "migration/guardian_control.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/pidfd.h"
#include "base/unix_socket.h"
#include "migration/guardian_private.h"

#define LINE_MAX_SIZE 4096
#define CONTROL_MS 1000 /* to say one word */
#define ANSWER_MS 12000 /* to end or to start a QEMU */
#define ORDER_RUN "run"
#define ORDER_GIVE_UP "give-up"
#define ORDER_LEAVE "leave"
#define LEAVE_MS 2000

int guardian_control_listen(const char *path, struct error *err)
{
    int fd = unix_listen(path, 4, SOCK_NONBLOCK);
    if (fd < 0)
        error_set_errno(err, STATUS_CANNOT_WRITE, errno, "%s", path);
    return fd;
}

static void set_time_limit(int fd, int milliseconds)
{
    const struct timeval limit = {.tv_sec = milliseconds / 1000,
                                  .tv_usec = milliseconds % 1000 * 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

/* One line without its end, in time; false otherwise. */
static bool read_line(int fd, char *line, size_t size, int milliseconds)
{
    size_t length = 0;
    deadline when = deadline_in_ms(milliseconds);
    set_time_limit(fd, milliseconds);
    while (length < size - 1 && deadline_left_ms(when) > 0) {
        ssize_t got = recv(fd, line + length, 1, 0);
        if (got <= 0)
            return false;
        if (line[length] == '\n') {
            line[length] = '\0';
            return true;
        }
        length++;
    }
    return false;
}

static bool run_here(struct guardian *guardian, struct error *err)
{
    const struct vm_record *record = &guardian->record;
    struct guardian_status status;
    guardian_status(guardian, &status);
    switch (guardian->lease.state) {
    case LEASE_TOLD:
        if (guardian->when_active && !string_starts_with(status.migration, "postcopy-"))
            return error_set(err, STATUS_DECISION,
                             "%s is not here yet: its migration from %s is '%s'", record->vm,
                             record->peer, status.migration);
        __attribute__((fallthrough));
    case LEASE_RUN:
        guardian->stay_paused = guardian->when_active = false;
        return guardian_run_guest(guardian, err);
    case LEASE_NONE:
        return error_set(err, STATUS_DECISION,
                         "%s has not come here: run 'migrate %s' on %s to move it", record->vm,
                         record->vm, record->peer);
    case LEASE_HELD:
        return error_set(err, STATUS_DECISION,
                         "%s is on its way here, and %s may still run it: if nothing is heard of "
                         "%s for 10 s, the QEMU here ends, and it runs there",
                         record->vm, record->peer, record->peer);
    default:
        return error_set(err, STATUS_DECISION,
                         "the QEMU that waited here for %s has ended: run it on %s: 'migrate %s "
                         "--resume-on source' there",
                         record->vm, record->peer, record->vm);
    }
}

static bool give_up(struct guardian *guardian, struct error *err)
{
    if (!lease_guardian_abort(&guardian->lease))
        return error_set(err, STATUS_DECISION, "%s has run here: it cannot go back to %s",
                         guardian->record.vm, guardian->record.peer);
    guardian_end_qemu(guardian, "it was given up here");
    return guardian->qemu_ended || error_set(err, STATUS_DECISION, "QEMU (pid %lld) does not end",
                                             (long long)guardian->record.pid);
}

static void serve(struct guardian *guardian, int fd)
{
    char word[32];
    struct error err = ERROR_INIT;
    struct guardian_status status;
    if (!read_line(fd, word, sizeof(word), CONTROL_MS))
        return;
    log_info("%s: asked here to '%.20s'", guardian->record.vm, word);
    if (strcmp(word, ORDER_RUN) == 0)
        run_here(guardian, &err);
    else if (strcmp(word, ORDER_GIVE_UP) == 0)
        give_up(guardian, &err);
    else if (strcmp(word, ORDER_LEAVE) == 0)
        guardian->leave = guardian_look_at_qemu(guardian) && guardian->lease.state == LEASE_ENDED;
    guardian_status(guardian, &status);
    autojson json_t *answer = order_answer(&status);
    autofree char *refused =
        string_plain(err.status == STATUS_OK ? "" : err.message, sizeof(status.reason));
    if (!answer || !refused || json_object_set_new(answer, "refused", json_string(refused)) < 0)
        return;
    autofree char *text = json_to_text(answer);
    autofree char *line = text ? string_format("%s\n", text) : NULL;
    ssize_t ignored = line ? send(fd, line, strlen(line), MSG_NOSIGNAL) : 0;
    (void)ignored;
}

void guardian_control_serve(struct guardian *guardian)
{
    autoclose int fd = accept4(guardian->control, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        serve(guardian, fd);
}

/* The other end. */

/* Ask the guardian; *there: there is one. */
static bool ask(const struct paths *paths, const char *vm, const char *word, bool *there,
                struct guardian_status *status, struct error *err)
{
    char line[LINE_MAX_SIZE];
    autofree char *path = vm_socket_path(paths, vm, "control", err);
    autofree char *order = string_format("%s\n", word);
    *there = false;
    if (!path || !order)
        return path ? error_no_memory(err) : false;
    autoclose int fd = unix_connect(path, 0);
    if (fd < 0)
        return error_set(err, STATUS_UNAVAILABLE, "the guardian of %s is gone", vm);
    *there = true;
    if (send(fd, order, strlen(order), MSG_NOSIGNAL) < 0 ||
        !read_line(fd, line, sizeof(line), ANSWER_MS))
        return error_set(err, STATUS_UNAVAILABLE, "the guardian of %s does not answer", vm);
    autojson json_t *answer = json_parse_strict(line, strlen(line), sizeof(line), err);
    const char *refused = json_string_value(json_object_get(answer, "refused"));
    if (!answer || !refused)
        return answer ? error_set(err, STATUS_DATA, "the guardian's answer is not valid") : false;
    if (*refused)
        return error_set(err, STATUS_DECISION, "%s", refused);
    json_object_del(answer, "refused");
    return order_take_status(answer, status, err);
}

/* Does the guest run in it? When in doubt, yes. */
static bool runs(const struct vm_record *record)
{
    autojson json_t *state = NULL;
    autoqmp struct qmp *qmp = qmp_connect(record->socket, 2000, NULL);
    const char *word = NULL;
    if (qmp && qmp_execute(qmp, "query-status", NULL, deadline_in_ms(3000), STATUS_UNAVAILABLE,
                           &state, NULL))
        word = json_string_value(json_object_get(state, "status"));
    return !word || strcmp(word, "running") == 0;
}

/* End the record's QEMU, which runs. */
static bool end_qemu(struct vm_record *record, struct error *err)
{
    autoclose int pidfd = -1;
    enum vm_life life = vm_record_open_process(record, &pidfd);
    if (life == LIFE_ENDED)
        return true;
    if (life == LIFE_UNKNOWN)
        return error_set(err, STATUS_DECISION,
                         "it cannot be seen whether QEMU (pid %lld) has ended",
                         (long long)record->pid);
    pidfd_signal(pidfd, SIGKILL);
    return pidfd_has_ended(pidfd, 5000) ||
           error_set(err, STATUS_DECISION, "QEMU (pid %lld) does not end", (long long)record->pid);
}

/* A guardian in place of the lost one, for what is known of the guest. */
static bool start_successor(const struct paths *paths, const struct vm_record *record,
                            enum lease_guardian_state state, struct error *err)
{
    autoconfig struct config config = {0};
    autotrust struct trust trust = {0};
    autoidentity struct identity *identity = NULL;
    autostrlist struct strlist sources = {0};
    if (!config_load(paths->config, NULL, &config, err) ||
        !(identity = identity_load(paths->config, err)) || !trust_load(paths->config, &trust, err))
        return false;
    const struct trust_entry *entry = trust_find(&trust, record->peer);
    for (size_t i = 0; entry && i < entry->pin_count; i++)
        if (!strlist_push(&sources, entry->pins[i]))
            return error_no_memory(err);
    autoclose int listener = peer_listen(record->guardian_address, record->guardian_port, err);
    autovmsockets struct vm_sockets sockets = {
        .command = strdup(record->socket),
        .guardian = vm_socket_path(paths, record->vm, "guardian", err)};
    if (!sockets.command || !sockets.guardian)
        return error_no_memory(err);
    const struct guardian_setup setup = {.paths = paths,
                                         .sockets = &sockets,
                                         .config = &config,
                                         .identity = identity,
                                         .record = record,
                                         .sources = &sources,
                                         .listener = listener,
                                         .state = state};
    return listener >= 0 && guardian_start(&setup, err);
}

/* With no guardian: this host was told, so that it may run the guest; or not. */
static bool run_without_guardian(const struct paths *paths, struct vm_record *record,
                                 struct error *err)
{
    if (record->place != PLACE_TOLD && record->place != PLACE_HERE)
        return error_set(err, STATUS_DECISION,
                         "%s was not told to run here, as far as is known: %s may be running it. "
                         "There, 'migrate %s' says how it is; to give it up here: 'migrate %s "
                         "--resume-on source'",
                         record->vm, record->peer, record->vm, record->vm);
    autoqmp struct qmp *qmp = qmp_connect(record->socket, 2000, err);
    if (!qmp || !qmp_execute(qmp, "cont", NULL, deadline_in_ms(10000), STATUS_DECISION, NULL, err))
        return error_wrap(err, "%s: its QEMU", record->vm);
    struct error why = ERROR_INIT;
    record->place = PLACE_HERE;
    if (!vm_record_store(paths, record, err))
        return false;
    /* The source may still have a part of it (postcopy), or a question. */
    if (*record->migration.id && !start_successor(paths, record, LEASE_RUN, &why))
        log_warning("%s: %s", record->vm, why.message);
    return true;
}

static bool give_up_without_guardian(const struct paths *paths, struct vm_record *record,
                                     struct error *err)
{
    bool running = vm_record_is_running(record);
    if (record->place == PLACE_HERE || (running && runs(record)))
        return error_set(err, STATUS_DECISION, "%s runs here: it cannot go back to %s", record->vm,
                         record->peer);
    if (running && !end_qemu(record, err))
        return false;
    return start_successor(paths, record, LEASE_ENDED, err);
}

static void say_decided(const struct vm_record *record, bool here)
{
    if (here)
        log_info("%s runs here", record->vm);
    else
        log_info("%s will not run here; on %s: 'migrate %s --resume-on source'", record->vm,
                 record->peer, record->vm);
}

bool guardian_decide(const struct paths *paths, struct vm_record *record, bool here,
                     struct error *err)
{
    struct guardian_status status;
    struct error why = ERROR_INIT;
    bool there;
    if (ask(paths, record->vm, here ? ORDER_RUN : ORDER_GIVE_UP, &there, &status, &why)) {
        say_decided(record, here);
        return true;
    }
    if (there || why.status != STATUS_UNAVAILABLE)
        return error_set(err, why.status, "%s", why.message);
    if (here && !vm_record_is_running(record))
        return error_set(err, STATUS_DECISION, "the QEMU that waited here for %s has ended",
                         record->vm);
    if (!(here ? run_without_guardian(paths, record, err)
               : give_up_without_guardian(paths, record, err)))
        return false;
    say_decided(record, here);
    return true;
}

void guardian_dismiss(const struct paths *paths, const char *vm)
{
    struct guardian_status status;
    struct error ignored = ERROR_INIT;
    deadline when = deadline_in_ms(LEAVE_MS);
    bool there;
    while (ask(paths, vm, ORDER_LEAVE, &there, &status, &ignored) && status.lease == LEASE_ENDED &&
           deadline_left_ms(when) > 0)
        poll(NULL, 0, 20);
}
