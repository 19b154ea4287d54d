/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guest/proof_run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/process.h"
#include "base/strings.h"
#include "guest/rom.h"

#define STREAM_MAX (1 << 20)
#define SAID_MAX 65536
#define NAMES_MAX 24 /* features in one message */

/* One run. */
struct run {
    struct process process;
    int rom;            /* the image */
    int stream;         /* reading end of what the guest prints, non-blocking */
    struct strbuf read; /* from there */
    struct strbuf said; /* by QEMU itself */
};

static void run_end(struct run *run)
{
    process_end(&run->process);
    if (run->rom >= 0)
        close(run->rom);
    if (run->stream >= 0)
        close(run->stream);
    strbuf_free(&run->read);
    strbuf_free(&run->said);
}
#define autorun __attribute__((cleanup(run_end)))

/* A file without a name that holds the image and can no longer be changed. */
static int make_rom(struct error *err)
{
    autoclose int fd = memfd_create("qml-guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        error_set_errno(err, STATUS_INTERNAL, errno, "no file in memory for the guest");
        return -1;
    }
    if (!fd_write_all(fd, guest_rom, GUEST_ROM_SIZE, err))
        return -1;
    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
    return steal_fd(&fd);
}

/* The image is reached through our own descriptor, since a child inherits only one: the pipe that
 * the guest prints to. Both work through wrapper scripts of any kind that keep user and
 * descriptors. */
static bool make_arguments(const struct guest_proof *proof, int rom, int stream,
                           struct strlist *argv)
{
    return strlist_push(argv, proof->qemu) && strlist_push(argv, "-no-user-config") &&
           strlist_push(argv, "-nodefaults") && strlist_push(argv, "-display") &&
           strlist_push(argv, "none") && strlist_push(argv, "-no-reboot") &&
           strlist_push(argv, "-m") && strlist_push(argv, "16") && strlist_push(argv, "-machine") &&
           strlist_push(argv, proof->machine) && strlist_push(argv, "-accel") &&
           strlist_push(argv, proof->accel) && strlist_push(argv, "-cpu") &&
           strlist_push(argv, proof->cpu) &&
           (!proof->smp || (strlist_push(argv, "-smp") && strlist_push(argv, proof->smp))) &&
           (!proof->cpu_pm ||
            (strlist_push(argv, "-overcommit") && strlist_push(argv, "cpu-pm=on"))) &&
           strlist_push(argv, "-bios") &&
           strlist_pushf(argv, "/proc/%ld/fd/%d", (long)getpid(), rom) &&
           strlist_push(argv, "-chardev") &&
           strlist_pushf(argv, "file,id=qml,path=/dev/fd/%d", stream) &&
           strlist_push(argv, "-device") &&
           strlist_pushf(argv, "isa-debugcon,iobase=0x%x,chardev=qml", GUEST_ROM_DEBUGCON) &&
           strlist_push(argv, "-device") &&
           strlist_pushf(argv, "isa-debug-exit,iobase=0x%x", GUEST_ROM_DEBUG_EXIT);
}

/* Take what has come. False when the stream has ended. */
static bool drain_stream(struct run *run)
{
    char chunk[8192];
    ssize_t n;
    while (run->read.length <= STREAM_MAX) {
        n = read(run->stream, chunk, sizeof(chunk));
        if (n > 0)
            strbuf_add(&run->read, chunk, (size_t)n);
        else if (n == 0)
            return false;
        else if (errno != EINTR)
            return errno == EAGAIN;
    }
    return true;
}

static void drain_said(struct run *run)
{
    for (;;) {
        autofree char *more = process_read_output(&run->process);
        if (!more || !*more)
            return;
        if (run->said.length < SAID_MAX)
            strbuf_puts(&run->said, more);
    }
}

static bool said(const struct run *run, const char *words)
{
    return run->said.data && strstr(run->said.data, words);
}

/* What comes behind the line that tells the cause. */
static bool is_aftermath(const char *line)
{
    return strstr(line, "Assertion") || strstr(line, "assertion failed") ||
           strstr(line, "Aborted") || strstr(line, "core dumped") ||
           string_starts_with(line, "Use -");
}

/* The last line that QEMU printed which tells a cause, with ": " before it. */
static void last_words(const struct run *run, char *line, size_t size)
{
    autostrlist struct strlist lines = {0};
    line[0] = '\0';
    if (!run->said.data || !strlist_split(&lines, run->said.data, '\n') || lines.count == 0)
        return;
    size_t last = lines.count - 1;
    while (last > 0 && is_aftermath(lines.items[last]))
        last--;
    const char *words = lines.items[last];
    for (size_t i = 0; i <= last; i++) /* its registers follow */
        if (string_starts_with(lines.items[i], "KVM internal error"))
            words = lines.items[i];
    snprintf(line, size, ": %s", words);
}

/* "… requested feature: CPUID.07H:EBX.avx2 [bit 5]", "… not requested: MSR(48BH).vmx-ept [bit 1]"
 * (QEMU 7.2 target/i386/cpu.c, mark_unavailable_features): the names, in the order printed. */
static bool missing_features(const struct run *run, struct strlist *names)
{
    autostrlist struct strlist lines = {0};
    if (!run->said.data || !strlist_split(&lines, run->said.data, '\n'))
        return false;
    for (size_t i = 0; i < lines.count; i++) {
        const char *at = strstr(lines.items[i], "CPUID."), *end = strstr(lines.items[i], " [bit ");
        if (at && (at = strchr(at, ':')) && strlen(at) > 5)
            at += 5; /* ":EBX." */
        else if ((at = strstr(lines.items[i], "MSR(")) && (at = strstr(at, ").")))
            at += 2;
        if (!at || !end || end <= at)
            continue;
        autofree char *name = string_format("%.*s", (int)(end - at), at);
        if (name && name_is_feature(name) && !strlist_contains(names, name) &&
            !strlist_push(names, name))
            return false;
    }
    return names->count > 0;
}

/* QEMU ended, and there is no table. */
static bool explain_end(const struct run *run, int status, struct error *err)
{
    char words[512], described[64];
    autostrlist struct strlist names = {0};
    if (WIFEXITED(status) && said(run, "support requested features") &&
        missing_features(run, &names)) {
        size_t more = names.count > NAMES_MAX ? names.count - NAMES_MAX : 0;
        for (size_t i = names.count; i-- > NAMES_MAX;) {
            free(names.items[i]);
            names.items[i] = NULL;
            names.count = i;
        }
        autofree char *list = strlist_join(&names, ", ");
        if (!list)
            return error_no_memory(err);
        error_set(err, STATUS_CONFIG, "QEMU refuses this CPU, since it cannot give %s", list);
        if (more > 0)
            return error_set(err, STATUS_CONFIG,
                             "QEMU refuses this CPU, since it cannot give %s and %zu more", list,
                             more);
        return false;
    }
    last_words(run, words, sizeof(words));
    if (WIFEXITED(status) && WEXITSTATUS(status) == GUEST_ROM_BROKEN)
        return error_set(err, STATUS_CONFIG,
                         "the built-in guest had an exception that it does not expect%s", words);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return error_set(err, STATUS_CONFIG,
                         "the built-in guest did not come to its end: QEMU exited%s", words);
    return error_set(err, STATUS_CONFIG, "QEMU %s when it ran the built-in guest%s",
                     process_describe_status(status, described, sizeof(described)), words);
}

/* Wait for QEMU's end, reading. */
static bool watch(struct run *run, deadline when, int *status, struct error *err)
{
    char words[512];
    bool open = true, talks = true; /* what is still to be read */
    for (;;) {
        struct pollfd polled[] = {
            {.fd = run->process.pidfd, .events = POLLIN},
            {.fd = open ? run->stream : -1, .events = POLLIN},
            {.fd = talks ? run->process.output_fd : -1, .events = POLLIN},
        };
        int n = poll(polled, 3, deadline_left_ms(when));
        if (n < 0 && errno != EINTR)
            return error_set_errno(err, STATUS_INTERNAL, errno, "cannot wait for QEMU");
        bool ended = n > 0 && polled[0].revents;
        open = drain_stream(run);
        drain_said(run);
        talks = talks && !(n > 0 && (polled[2].revents & POLLHUP));
        if (run->read.failed || run->said.failed)
            return error_no_memory(err);
        if (run->read.length > STREAM_MAX)
            return error_set(err, STATUS_CONFIG, "the guest prints without end");
        if (ended)
            break;
        /* Then it would only stand still. */
        if (said(run, "KVM internal error")) {
            last_words(run, words, sizeof(words));
            return error_set(err, STATUS_CONFIG, "the built-in guest does not run%s", words);
        }
        if (deadline_left_ms(when) == 0) {
            last_words(run, words, sizeof(words));
            return error_set(err, STATUS_CONFIG,
                             "the built-in guest did not come to its end in time%s", words);
        }
    }
    if (!process_wait(&run->process, when, status))
        return error_set(err, STATUS_INTERNAL, "cannot wait for QEMU");
    drain_stream(run); /* what lay between the last look and the end */
    drain_said(run);
    return true;
}

bool guest_proof_run(const struct guest_proof *proof, struct guest_table *table, struct error *err)
{
    autorun struct run run = {.process = PROCESS_INIT, .rom = -1, .stream = -1};
    autostrlist struct strlist argv = {0};
    int ends[2];
    int status;
    deadline when =
        deadline_in_ms(proof->timeout_ms > 0 ? proof->timeout_ms : GUEST_PROOF_TIMEOUT_MS);
    run.rom = make_rom(err);
    if (run.rom < 0)
        return false;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(err, STATUS_INTERNAL, errno, "no pipe for the guest");
    run.stream = ends[0];
    autoclose int theirs = ends[1];
    if (fcntl(run.stream, F_SETFL, O_NONBLOCK) < 0)
        return error_set_errno(err, STATUS_INTERNAL, errno, "no pipe for the guest");
    if (!make_arguments(proof, run.rom, theirs, &argv))
        return error_no_memory(err);
    if (!process_start(&run.process, argv.items, theirs, err))
        return false;
    close(steal_fd(&theirs));

    struct error nonsense = ERROR_INIT;
    if (!watch(&run, when, &status, err))
        return false;
    if (guest_table_read(run.read.data, run.read.length, table, &nonsense))
        return true;
    if (nonsense.status != STATUS_DATA) {
        *err = nonsense;
        return false;
    }
    if (run.read.length == 0 || !WIFEXITED(status) || WEXITSTATUS(status) != GUEST_ROM_DONE)
        return explain_end(&run, status, err);
    return error_set(err, STATUS_CONFIG, "QEMU's guest gave no CPU table: %s", nonsense.message);
}
