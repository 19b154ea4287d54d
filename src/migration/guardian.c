/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "migration/guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/sandbox.h"
#include "migration/guardian_private.h"

#define IDLE_MS 100 /* between two looks around while nobody is there */
#define BUSY_MS 50  /* and while a migration is under way */
#define URGENT_MS 5 /* and when a guest is to be run the moment it can */
/* How long it can still be asked what came of it: when the guest runs here; when the QEMU has
 * ended, and the source has not heard of it, or has and might ask again. The port is needed for the
 * next try. */
#define NOTE_AGAIN_MS 1000
#define RUNS_MS 600000
#define ENDED_MS 60000
#define ENDED_HEARD_MS 2000

static volatile sig_atomic_t terminated;

static void on_signal(int number)
{
    terminated = 1;
}

char *guardian_log_path(const struct paths *paths, const char *vm)
{
    return string_format("%s/vms/%s.guardian.log", paths->state, vm);
}

/* Entries come and go while a destination waits for months. */
static void reload_trust(struct guardian *guardian)
{
    autotrust struct trust fresh = {0};
    if (!trust_follow(guardian->setup->paths->config, &guardian->trust_seen, &fresh))
        return;
    trust_carry(&fresh, &guardian->trust);
    struct trust old = guardian->trust;
    guardian->trust = fresh;
    fresh = old;
    if (guardian->server)
        peer_server_set_trust(guardian->server, &guardian->trust);
}

/* The lease has run out, or the wait for anybody to come. */
static void watch_lease(struct guardian *guardian)
{
    struct lease_guardian *lease = &guardian->lease;
    struct relay_counts counts = {0};
    if (guardian->relays)
        counts = relay_group_counts(guardian->relays);
    if (guardian->carried != counts.from_peer)
        lease_guardian_alive(lease, clock_now_ms());
    guardian->carried = counts.from_peer;
    lease_guardian_tick(lease, clock_now_ms());
    if (lease->state == LEASE_NONE && guardian->setup->wait_ms > 0 &&
        deadline_left_ms(guardian->leave_at) == 0) {
        guardian_end_qemu(guardian, "nobody has come for it in the time of --wait");
        guardian->leave = true;
    } else if (lease->state == LEASE_ENDING && !guardian->qemu_ended) {
        guardian_end_qemu(guardian, "nothing was heard of the source for too long");
    }
}

/* In postcopy the guest runs here while most of its memory is still there. */
static void watch_postcopy(struct guardian *guardian)
{
    struct error err = ERROR_INIT;
    struct guardian_status status;
    if (!guardian->when_active)
        return;
    guardian_status(guardian, &status);
    /* It failed before the device state came: there is no guest here. */
    if (strcmp(status.migration, "failed") == 0 && lease_guardian_abort(&guardian->lease)) {
        guardian->when_active = false;
        guardian_end_qemu(guardian, "the migration failed before postcopy");
        return;
    }
    /* Not on "completed": if it was a precopy after all, the source may not know that it has
     * succeeded, and has its guest back; it says so by another resume. */
    if (strcmp(status.migration, "postcopy-active") != 0)
        return;
    guardian->when_active = false;
    if (!guardian_run_guest(guardian, &err))
        log_error("%s: %s", guardian->record.vm, err.message);
}

/* What the record is to say as things are; true if it does. The guest is ours when it may run here,
 * but that is written after QEMU runs it, which is more urgent. A QEMU that has ended is not ours,
 * whatever it was: the source may be running the guest. */
static bool note_state(struct guardian *guardian)
{
    struct error err = ERROR_INIT;
    enum lease_guardian_state state = guardian->lease.state;
    bool here = state == LEASE_RUN || (state == LEASE_TOLD && guardian->stay_paused);
    enum vm_place place = guardian->record.place;
    if (here)
        place = guardian->qemu_ended ? PLACE_TOLD : PLACE_HERE;
    else if (state == LEASE_ENDED && place == PLACE_TOLD)
        place = PLACE_INCOMING;
    if (place == guardian->record.place)
        return true;
    if (guardian->tried_to_note > 0 && clock_now_ms() - guardian->tried_to_note < NOTE_AGAIN_MS)
        return false;
    if (guardian_note_place(guardian, place, &err))
        return true;
    if (guardian->tried_to_note == 0)
        log_error("%s: %s: it is tried again", guardian->record.vm, err.message);
    guardian->tried_to_note = clock_now_ms();
    return false;
}

/* In postcopy the guest runs here and still needs us. */
static bool is_needed(struct guardian *guardian)
{
    struct guardian_status status;
    if (guardian->lease.state != LEASE_RUN || guardian->qemu_ended)
        return false;
    guardian_status(guardian, &status);
    return string_starts_with(status.migration, "postcopy-");
}

/* When it is over, somebody may still ask how it went, because an answer was lost. */
static void watch_end(struct guardian *guardian)
{
    bool over = guardian->lease.state == LEASE_RUN || guardian->lease.state == LEASE_ENDED;
    if (guardian->lease.state == LEASE_ENDED && !*guardian->migration &&
        guardian->setup->state == LEASE_NONE)
        guardian->leave = true; /* nobody knows of it */
    if (!over || guardian->leave)
        return;
    bool ended = guardian->lease.state == LEASE_ENDED;
    deadline most = deadline_in_ms(!ended                                 ? RUNS_MS
                                   : guardian->end_heard                  ? ENDED_HEARD_MS
                                   : guardian->setup->state != LEASE_NONE ? RUNS_MS
                                                                          : ENDED_MS);
    if (!guardian->is_over || guardian->leave_at > most)
        guardian->leave_at = most;
    guardian->is_over = true;
    if (deadline_left_ms(guardian->leave_at) > 0)
        return;
    guardian->leave = !is_needed(guardian);
    guardian->leave_at = deadline_in_ms(RUNS_MS);
}

static int next_look(const struct guardian *guardian)
{
    if (guardian->when_active)
        return URGENT_MS;
    return guardian->lease.state == LEASE_NONE || guardian->qemu_ended ? IDLE_MS : BUSY_MS;
}

static void guard(struct guardian *guardian)
{
    struct error err = ERROR_INIT;
    while ((!guardian->leave || !note_state(guardian)) && !terminated) {
        if (!peer_server_run(guardian->server, deadline_in_ms(next_look(guardian)), &terminated,
                             &err) &&
            err.status == STATUS_INTERNAL) {
            log_error("%s", err.message);
            break;
        }
        guardian_control_serve(guardian);
        guardian_look_at_qemu(guardian);
        watch_lease(guardian);
        watch_postcopy(guardian);
        note_state(guardian);
        watch_end(guardian);
        reload_trust(guardian);
    }
    if (terminated && guardian->lease.state != LEASE_RUN && guardian->lease.state != LEASE_TOLD)
        guardian_end_qemu(guardian, "its guardian was told to end");
}

static bool open_server(struct guardian *guardian, struct error *err)
{
    const struct guardian_setup *setup = guardian->setup;
    struct peer_handler handler = {.handle = guardian_handle,
                                   .admit = guardian_admit,
                                   .stream = guardian_stream,
                                   .withdrawn = guardian_withdrawn,
                                   .context = guardian};
    autofree char *path = vm_socket_path(setup->paths, guardian->record.vm, "control", err);
    guardian->control = path ? guardian_control_listen(path, err) : -1;
    if (guardian->control < 0)
        return false;
    guardian->server = peer_server_new_from_socket(setup->identity, &guardian->trust,
                                                   setup->listener, &handler, err);
    return guardian->server != NULL;
}

/* From here on it opens nothing but the VM's files and sockets, QEMU's place in /proc, and who is
 * trusted. */
static bool lock_in(const struct guardian_setup *setup, struct error *err)
{
    const char *const read[] = {setup->paths->config, "/proc", NULL};
    const char *const write[] = {setup->paths->state, setup->paths->run, NULL};
    const struct sandbox sandbox = {.kind = SANDBOX_GUARDIAN, .read = read, .write = write};
    return sandbox_enter(&sandbox, err);
}

/* The life of a guardian. */
static int live(const struct guardian_setup *setup)
{
    struct error err = ERROR_INIT;
    struct guardian guardian = {.setup = setup,
                                .record = *setup->record,
                                .pidfd = -1,
                                .qemu_ended = setup->state == LEASE_ENDED,
                                .lease = {.state = setup->state},
                                .leave_at = setup->wait_ms > 0 ? deadline_in_ms(setup->wait_ms)
                                                               : DEADLINE_NEVER,
                                .terminated = &terminated};
    if (setup->state != LEASE_NONE) {
        memcpy(guardian.migration, setup->record->migration.id, MIGRATION_ID_SIZE);
        guardian.prepared = true;
    }
    reload_trust(&guardian);
    if (!open_server(&guardian, &err)) {
        log_error("%s", err.message);
        return err.status;
    }
    guardian_look_at_qemu(&guardian);
    if (!lock_in(setup, &err)) {
        log_error("%s", err.message);
        return err.status;
    }
    log_info("%s: waiting on port %u", guardian.record.vm, peer_server_port(guardian.server));
    guard(&guardian);
    guardian_drop_streams(&guardian);
    peer_server_free(guardian.server);
    log_info("%s: the guardian goes", guardian.record.vm);
    return STATUS_OK;
}

static void become_guardian(const struct guardian_setup *setup, int log)
{
    struct sigaction action = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};
    sigset_t none;
    sigemptyset(&action.sa_mask);
    sigemptyset(&none);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &ignore, NULL);
    sigaction(SIGHUP, &ignore, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0 ||
        dup2(log, STDERR_FILENO) < 0)
        _exit(STATUS_INTERNAL);
    process_close_others(setup->listener); /* QEMU's and the shell's are none of ours */
    if (log_get_level() < LOG_LEVEL_INFO)
        log_set_level(LOG_LEVEL_INFO);
    log_set_time(true);
    _exit(live(setup));
}

bool guardian_start(const struct guardian_setup *setup, struct error *err)
{
    autofree char *path = guardian_log_path(setup->paths, setup->record->vm);
    if (!path)
        return error_no_memory(err);
    autoclose int log = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (log < 0)
        return error_set_errno(err, STATUS_CANNOT_WRITE, errno, "%s", path);
    pid_t child = fork();
    if (child == 0) {
        pid_t guardian = setsid() < 0 ? -1 : fork();
        if (guardian == 0)
            become_guardian(setup, log);
        _exit(guardian < 0);
    }
    int status = 1;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return (child > 0 && status == 0) ||
           error_set(err, STATUS_INTERNAL, "cannot start the guardian: no process to be had");
}
