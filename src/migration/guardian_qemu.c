/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The guardian's QEMU: asking it, ending it, letting it run the guest.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/pidfd.h"
#include "migration/guardian_private.h"

#define COMMAND_MS 3000
#define STATUS_MS 2000
#define GREETING_MS 2000
#define RETRY_MS 20
#define QUIT_MS 500 /* quit, then kill: both within the lease's margin */
#define KILL_MS 1500
#define LOCK_MS 200 /* who holds it waits for us, or will be refused: QEMU runs */

struct qmp *guardian_qmp(struct guardian *guardian, deadline when, struct error *err)
{
    while (!guardian->qmp) {
        struct error why = ERROR_INIT;
        if (guardian->qemu_ended) {
            error_set(err, STATUS_UNAVAILABLE, "its QEMU has ended");
            return NULL;
        }
        guardian->qmp = qmp_connect(guardian->setup->sockets->guardian, GREETING_MS, &why);
        if (guardian->qmp)
            break;
        if (guardian_look_at_qemu(guardian) || deadline_left_ms(when) < RETRY_MS) {
            error_set(err, STATUS_UNAVAILABLE, "its QEMU %s",
                      guardian->qemu_ended ? "has ended" : "does not answer");
            return NULL;
        }
        poll(NULL, 0, RETRY_MS);
    }
    return guardian->qmp;
}

static bool command_until(struct guardian *guardian, deadline when, const char *command,
                          json_t *arguments, json_t **result, struct error *err)
{
    autojson json_t *held = arguments;
    struct error inner = ERROR_INIT;
    struct qmp *qmp = guardian_qmp(guardian, when, err);
    if (!qmp)
        return false;
    if (qmp_execute(qmp, command, STEAL(held), when, STATUS_MIGRATION, result, &inner))
        return true;
    /* After a late answer the conversation is out of step. */
    if (inner.status != STATUS_MIGRATION) {
        qmp_close(STEAL(guardian->qmp));
        guardian_look_at_qemu(guardian);
    }
    return error_set(err, inner.status, "%s", inner.message);
}

bool guardian_command(struct guardian *guardian, const char *command, json_t *arguments,
                      json_t **result, struct error *err)
{
    return command_until(guardian, deadline_in_ms(COMMAND_MS), command, arguments, result, err);
}

bool guardian_look_at_qemu(struct guardian *guardian)
{
    if (guardian->qemu_ended)
        return true;
    if (guardian->pidfd >= 0 && !pidfd_has_ended(guardian->pidfd, 0))
        return false;
    if (guardian->pidfd >= 0)
        close(guardian->pidfd);
    /* With -daemonize it has another pid than the process that became it. */
    if (vm_record_open_process(&guardian->record, &guardian->pidfd) != LIFE_ENDED)
        return false; /* what cannot be seen is looked at again at the next turn */
    guardian->qemu_ended = true;
    qmp_close(STEAL(guardian->qmp));
    log_info("%s: QEMU (pid %lld) has ended%s", guardian->record.vm,
             (long long)guardian->record.pid,
             guardian->lease.state == LEASE_RUN    ? ""
             : guardian->lease.state == LEASE_NONE ? "; nobody had come"
                                                   : "; the guest did not run here");
    lease_guardian_qemu_ended(&guardian->lease);
    return true;
}

static void copy_word(char *to, size_t size, const json_t *value)
{
    const char *word = json_string_value(value);
    size_t length = word && text_is_plain(word) ? strlen(word) : 0;
    if (length >= size)
        length = 0;
    memcpy(to, word ? word : "", length);
    to[length] = '\0';
}

void guardian_status(struct guardian *guardian, struct guardian_status *status)
{
    autojson json_t *state = NULL;
    autojson json_t *migration = NULL;
    /* A monitor that a full stream leaves no time must not keep the lease from being renewed. */
    deadline when = deadline_in_ms(STATUS_MS);
    *status = (struct guardian_status){.pid = guardian->record.pid};
    if (!guardian_look_at_qemu(guardian) &&
        command_until(guardian, when, "query-status", NULL, &state, NULL) &&
        command_until(guardian, when, "query-migrate", NULL, &migration, NULL)) {
        copy_word(status->run_state, sizeof(status->run_state), json_object_get(state, "status"));
        copy_word(status->migration, sizeof(status->migration),
                  json_object_get(migration, "status"));
        const char *why = json_string_value(json_object_get(migration, "error-desc"));
        autofree char *plain = why ? string_plain(why, sizeof(status->reason) - 1) : NULL;
        if (plain)
            memcpy(status->reason, plain, strlen(plain) + 1);
    }
    if (guardian->qemu_ended)
        memcpy(status->run_state, "ended", 6);
    lease_guardian_tick(&guardian->lease, clock_now_ms());
    status->lease = guardian->lease.state;
    status->stamp = clock_now_ms();
}

static bool wait_for_end(struct guardian *guardian, int milliseconds)
{
    struct pollfd item = {.fd = guardian->pidfd, .events = POLLIN};
    deadline when = deadline_in_ms(milliseconds);
    while (!guardian_look_at_qemu(guardian) && deadline_left_ms(when) > 0) {
        item.fd = guardian->pidfd;
        poll(&item, 1, deadline_left_ms(when));
    }
    return guardian->qemu_ended;
}

void guardian_end_qemu(struct guardian *guardian, const char *why)
{
    struct error ignored = ERROR_INIT;
    guardian_drop_streams(guardian);
    if (guardian_look_at_qemu(guardian))
        return;
    log_info("%s: ending QEMU (pid %lld): %s", guardian->record.vm, (long long)guardian->record.pid,
             why);
    struct qmp *qmp = guardian->qmp
                          ? guardian->qmp
                          : qmp_connect(guardian->setup->sockets->guardian, QUIT_MS, NULL);
    guardian->qmp = qmp;
    if (qmp &&
        qmp_execute(qmp, "quit", NULL, deadline_in_ms(QUIT_MS), STATUS_MIGRATION, NULL, &ignored) &&
        wait_for_end(guardian, QUIT_MS))
        return;
    if (!guardian_look_at_qemu(guardian))
        pidfd_signal(guardian->pidfd, SIGKILL);
    if (!wait_for_end(guardian, KILL_MS))
        log_error("%s: QEMU (pid %lld) does not end", guardian->record.vm,
                  (long long)guardian->record.pid);
}

bool guardian_note_place(struct guardian *guardian, enum vm_place place, struct error *err)
{
    enum vm_place before = guardian->record.place;
    const struct paths *paths = guardian->setup->paths;
    deadline when = deadline_in_ms(LOCK_MS);
    autoclose int lock = -1;
    struct error busy = ERROR_INIT;
    while ((lock = vm_record_lock(paths, guardian->record.vm, &busy)) < 0 &&
           busy.status == STATUS_DECISION && deadline_left_ms(when) > 0)
        poll(NULL, 0, RETRY_MS);
    guardian->record.place = place;
    if (vm_record_store(paths, &guardian->record, err))
        return true;
    guardian->record.place = before;
    return false;
}

bool guardian_run_guest(struct guardian *guardian, struct error *err)
{
    struct error refused = ERROR_INIT;
    if (guardian->stay_paused)
        return true;
    if (!lease_guardian_run(&guardian->lease))
        return error_set(err, STATUS_DECISION, "the guest may not run here");
    if (!guardian_command(guardian, "cont", NULL, NULL, &refused)) {
        if (refused.status == STATUS_MIGRATION) /* QEMU said no */
            lease_guardian_did_not_run(&guardian->lease);
        return error_set(err, STATUS_MIGRATION, "QEMU does not run it: %s", refused.message);
    }
    log_info("%s runs here", guardian->record.vm);
    return true;
}
