/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "doctor/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/deadline.h"
#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "doctor/doctor_private.h"

#define FOUND_MAX ((size_t)4 << 20)

/* A new check is a function and a row here. */
static const struct doctor_row rows[] = {
    {"config", check_config},
    {"identity", check_identity},
    {"files", check_files},
    {"space", check_space},
    {"clock", check_clock},
    {"kvm", check_kvm},
    {"nested", check_nested},
    {"qemu", check_qemu},
    {"masks", check_masks},
    {"devices", check_devices},
    {"limits", check_limits},
    {"sandbox", check_sandbox},
    {"confinement", check_confinement},
    {"port", check_port},
    {"migration-ports", check_migration_ports},
    {"systemd", check_systemd},
    {"linger", check_linger},
    {"trust", check_trust},
    {"peers", check_peers},
    {"agreements", check_agreements},
    {"vms", check_vms},
};

void doctor_open(struct doctor *doctor, const struct doctor_setup *setup)
{
    const char *folder = setup->paths->config;
    autofree char *home = setup->home ? shell_quote(setup->home) : NULL;
    autofree char *config = setup->config_file ? shell_quote(setup->config_file) : NULL;
    *doctor = (struct doctor){.setup = setup, .root = "", .now = time(NULL)};
    doctor->program =
        string_format("qemu-migrate-launch%s%s%s%s", home ? " --home " : "", home ? home : "",
                      config ? " --config " : "", config ? config : "");
    config_load(folder, setup->config_file, &doctor->config, &doctor->config_error);
    doctor->identity = identity_load(folder, &doctor->identity_error);
    trust_load_readable(folder, &doctor->trust, &doctor->trust_complaints, &doctor->trust_error);
}

void doctor_close(struct doctor *doctor)
{
    free(doctor->program);
    config_free(&doctor->config);
    identity_free(doctor->identity);
    trust_free(&doctor->trust);
    strlist_free(&doctor->trust_complaints);
}

/* One check, in a process of its own. */
struct run {
    pid_t pid; /* -1: none */
    int pipe;  /* -1: it has said everything */
    struct strbuf text;
};

static bool write_found(int fd, const struct findings *found)
{
    autojson json_t *json = findings_to_json(found);
    autofree char *text = json && !found->failed ? json_to_text(json) : NULL;
    return text && fd_write_all(fd, text, strlen(text), NULL);
}

/* In the child. What it starts goes with it, and it goes with us. */
static void run_check(const struct doctor *doctor, const struct doctor_row *row, pid_t parent,
                      int pipe)
{
    autofindings struct findings found = {.check = row->name};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it ended before that */
        _exit(STATUS_INTERNAL);
    if (log_get_level() < LOG_LEVEL_DEBUG)
        log_set_level(LOG_LEVEL_ERROR); /* what matters is in the findings */
    row->check(doctor, &found);
    _exit(write_found(pipe, &found) ? STATUS_OK : STATUS_INTERNAL);
}

static bool start(const struct doctor *doctor, const struct doctor_row *row, struct run *run,
                  struct error *err)
{
    int ends[2];
    pid_t parent = getpid();
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(err, STATUS_INTERNAL, errno, "pipe");
    run->pid = fork();
    if (run->pid == 0) {
        close(ends[0]);
        run_check(doctor, row, parent, ends[1]);
    }
    int saved = errno;
    close(ends[1]);
    run->pipe = ends[0];
    return run->pid > 0 || error_set_errno(err, STATUS_INTERNAL, saved, "fork");
}

static void read_some(struct run *run)
{
    char chunk[16384];
    ssize_t got = read(run->pipe, chunk, sizeof(chunk));
    if (got > 0)
        strbuf_add(&run->text, chunk, (size_t)got);
    if (got == 0 || (got < 0 && errno != EINTR) || run->text.length > FOUND_MAX) {
        close(run->pipe);
        run->pipe = -1;
    }
}

/* Everything that they say, until all have ended or the deadline. */
static void read_all(struct run *runs, size_t count, struct pollfd *items, deadline when)
{
    for (;;) {
        size_t open = 0;
        for (size_t i = 0; i < count; i++) {
            items[i] = (struct pollfd){.fd = runs[i].pipe, .events = POLLIN};
            open += runs[i].pipe >= 0;
        }
        int n = open > 0 ? poll(items, count, deadline_left_ms(when)) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        for (size_t i = 0; i < count; i++)
            if (items[i].revents)
                read_some(&runs[i]);
    }
}

/* Wait for its end; how it ended. */
static int reap(struct run *run)
{
    int status = 0;
    pid_t ended;
    do
        ended = waitpid(run->pid, &status, 0);
    while (ended < 0 && errno == EINTR);
    run->pid = -1;
    return status;
}

/* Its findings, or one about itself. */
static bool finish(const struct doctor_row *row, struct run *run, struct findings *findings,
                   struct error *err)
{
    bool ended = run->pipe < 0;
    if (!ended)
        kill(run->pid, SIGKILL);
    int status = reap(run);
    findings->check = row->name;
    if (!ended || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        char how[128];
        finding_add(findings, SEVERITY_WARNING, row->name, "this check came to no end: it %s",
                    ended ? process_describe_status(status, how, sizeof(how))
                          : "took too long and was ended");
        finding_remedy(findings, "run doctor again with -v, and report it if that happens again");
        return true;
    }
    const char *text = run->text.data ? run->text.data : "";
    autojson json_t *json = json_parse_strict(text, run->text.length, FOUND_MAX, err);
    return json && findings_from_json(json, findings, err);
}

static void end(struct run *run)
{
    if (run->pid > 0) {
        kill(run->pid, SIGKILL);
        reap(run);
    }
    if (run->pipe >= 0)
        close(run->pipe);
    strbuf_free(&run->text);
}

bool doctor_run(const struct doctor *doctor, const struct doctor_row *checks, size_t count,
                int64_t milliseconds, struct findings *findings, struct error *err)
{
    autofree struct run *runs = calloc(count, sizeof(*runs));
    autofree struct pollfd *items = calloc(count, sizeof(*items));
    if (!runs || !items)
        return error_no_memory(err);
    bool good = true;
    for (size_t i = 0; i < count; i++) {
        runs[i] = (struct run){.pid = -1, .pipe = -1};
        good = good && start(doctor, &checks[i], &runs[i], err);
    }
    if (good)
        read_all(runs, count, items, deadline_in_ms(milliseconds));
    for (size_t i = 0; i < count; i++) {
        good = good && finish(&checks[i], &runs[i], findings, err);
        end(&runs[i]);
    }
    findings->check = NULL;
    return good && (!findings->failed || error_no_memory(err));
}

bool doctor_examine(const struct doctor_setup *setup, struct findings *findings, struct error *err)
{
    autodoctor struct doctor doctor;
    doctor_open(&doctor, setup);
    return doctor.program ? doctor_run(&doctor, rows, COUNT_OF(rows), DOCTOR_MS, findings, err)
                          : error_no_memory(err);
}
