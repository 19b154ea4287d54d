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
#include "guest/refusal.h"
#include "guest/rom.h"

#define MEMORY_SIZE (GUEST_ROM_MEMORY_MB << 20)
#define SAID_MAX 65536
#define SAID_PIPE (1 << 20)
#define NAMES_MAX 24 /* features in one message */
/* How soon it is seen that the guest is done. QEMU's end is no sign of that: under KVM it takes 10
 * to 90 ms more, in which the kernel waits for nobody to look at the VM any more. */
#define LOOK_MS 2
#define END_MS 1000 /* for what ends by itself */

struct guest_run {
    struct process process;
    int rom;       /* the image */
    int ram;       /* the guest's memory */
    deadline when; /* QEMU must have ended */
    const volatile sig_atomic_t *interrupted;
    struct strbuf said; /* by QEMU itself */
    bool is_done;       /* the guest is at its end, and QEMU ends by itself */
};

void guest_run_free(struct guest_run *run)
{
    if (!run)
        return;
    if (run->is_done && run->process.pid > 0)
        process_wait(&run->process, deadline_in_ms(END_MS), NULL);
    process_end(&run->process);
    if (run->rom >= 0)
        close(run->rom);
    if (run->ram >= 0)
        close(run->ram);
    strbuf_free(&run->said);
    free(run);
}

/* A file in memory without a name, or -1. */
static int make_memory(const char *name, struct error *err)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        error_set_errno(err, STATUS_INTERNAL, errno, "no file in memory for the guest");
    return fd;
}

/* The image, which can no longer be changed, and the guest's RAM, whose size cannot. */
static bool make_files(struct guest_run *run, struct error *err)
{
    run->rom = make_memory("qml-guest-rom", err);
    if (run->rom < 0 || !fd_write_all(run->rom, guest_rom, GUEST_ROM_SIZE, err))
        return false;
    fcntl(run->rom, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
    run->ram = make_memory("qml-guest-ram", err);
    if (run->ram < 0)
        return false;
    if (ftruncate(run->ram, MEMORY_SIZE) < 0)
        return error_set_errno(err, STATUS_INTERNAL, errno, "no memory for the guest");
    fcntl(run->ram, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
    return true;
}

static bool add_globals(const struct strlist *globals, struct strlist *argv)
{
    bool good = true;
    for (size_t i = 0; globals && good && i < globals->count; i++)
        good = strlist_push(argv, "-global") && strlist_push(argv, globals->items[i]);
    return good;
}

/* Image and RAM are reached through our own descriptors, which works through wrapper scripts of any
 * kind that keep the user. A memory-backend in proof->machine has no effect: the last one counts.
 */
static bool make_arguments(const struct guest_proof *proof, const struct guest_run *run,
                           struct strlist *argv)
{
    long pid = (long)getpid();
    return strlist_push(argv, proof->qemu) && strlist_push(argv, "-no-user-config") &&
           strlist_push(argv, "-nodefaults") && strlist_push(argv, "-display") &&
           strlist_push(argv, "none") && strlist_push(argv, "-no-reboot") &&
           strlist_push(argv, "-m") && strlist_pushf(argv, "%d", GUEST_ROM_MEMORY_MB) &&
           strlist_push(argv, "-object") &&
           strlist_pushf(argv,
                         "memory-backend-file,id=qml,mem-path=/proc/%ld/fd/%d,size=%dM,share=on",
                         pid, run->ram, GUEST_ROM_MEMORY_MB) &&
           strlist_push(argv, "-machine") &&
           strlist_pushf(argv, "%s,memory-backend=qml", proof->machine) &&
           strlist_push(argv, "-accel") && strlist_push(argv, proof->accel) &&
           strlist_push(argv, "-cpu") && strlist_push(argv, proof->cpu) &&
           (!proof->smp || (strlist_push(argv, "-smp") && strlist_push(argv, proof->smp))) &&
           (!proof->cpu_pm ||
            (strlist_push(argv, "-overcommit") && strlist_push(argv, "cpu-pm=on"))) &&
           add_globals(proof->globals, argv) && strlist_push(argv, "-bios") &&
           strlist_pushf(argv, "/proc/%ld/fd/%d", pid, run->rom) && strlist_push(argv, "-device") &&
           strlist_pushf(argv, "isa-debug-exit,iobase=0x%x", GUEST_ROM_DEBUG_EXIT);
}

/* Take what QEMU has said, with a limit: one that talks faster than it is read must not keep us. */
static void drain_said(struct guest_run *run)
{
    for (size_t taken = 0; taken < SAID_PIPE;) {
        autofree char *more = process_read_output(&run->process);
        if (!more || !*more)
            return;
        taken += strlen(more);
        if (run->said.length < SAID_MAX)
            strbuf_puts(&run->said, more);
    }
}

static bool said(const struct guest_run *run, const char *words)
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
static void last_words(const struct guest_run *run, char *line, size_t size)
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

/* QEMU ended, and there is no table. refused: gets the features that it names, or NULL. */
static bool explain_end(const struct guest_run *run, int status, struct strlist *refused,
                        struct error *err)
{
    char words[512], described[64];
    autostrlist struct strlist names = {0};
    if (run->said.data && !guest_refusal_features(run->said.data, &names))
        return error_no_memory(err);
    last_words(run, words, sizeof(words));
    if (WIFEXITED(status) && WEXITSTATUS(status) == GUEST_ROM_BROKEN)
        return error_set(err, STATUS_CONFIG,
                         "the built-in guest had an exception that it does not expect%s", words);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return error_set(err, STATUS_CONFIG,
                         "the built-in guest did not come to its end: QEMU exited%s", words);
    if (names.count == 0)
        return error_set(err, STATUS_CONFIG, "QEMU %s when it ran the built-in guest%s",
                         process_describe_status(status, described, sizeof(described)), words);
    autostrbuf struct strbuf list = {0};
    for (size_t i = 0; i < names.count && i < NAMES_MAX; i++)
        strbuf_printf(&list, "%s%s", i > 0 ? ", " : "", names.items[i]);
    if (names.count > NAMES_MAX)
        strbuf_printf(&list, " and %zu more", names.count - NAMES_MAX);
    for (size_t i = 0; refused && i < names.count; i++)
        if (!strlist_push(refused, names.items[i]))
            return error_no_memory(err);
    if (said(run, "support requested features"))
        words[0] = '\0';
    return error_set(err, STATUS_INCOMPATIBLE, "QEMU refuses this CPU, since it cannot give %s%s",
                     list.data ? list.data : "", words);
}

/* What the guest has left in its memory, if that is a table; its checksum is the last thing that it
 * writes. The bytes are a copy: what is checked must be what is used, and QEMU, or a process that
 * it left, could write. */
static bool read_table(const struct guest_run *run, struct guest_table *table, struct error *err)
{
    autofree uint8_t *found = malloc(GUEST_STREAM_MAX);
    if (!found)
        return error_no_memory(err);
    if (pread(run->ram, found, GUEST_STREAM_MAX, GUEST_ROM_STREAM) != GUEST_STREAM_MAX)
        return error_set_errno(err, STATUS_INTERNAL, errno, "cannot read the guest's memory");
    return guest_table_read(found, GUEST_STREAM_MAX, table, err);
}

/* Whether it is done already. */
static bool find_table(struct guest_run *run, struct guest_table *table)
{
    uint32_t first = 0;
    if (pread(run->ram, &first, sizeof(first), GUEST_ROM_STREAM) == sizeof(first) && first != 0)
        run->is_done = read_table(run, table, NULL);
    return run->is_done;
}

/* Wait until the guest is done, with its table then, or QEMU has ended; and read what it says
 * meanwhile. */
static bool watch(struct guest_run *run, int *status, struct guest_table *table, struct error *err)
{
    char words[512];
    bool talks = true; /* there may be more to read */
    for (;;) {
        int left = deadline_left_ms(run->when);
        struct pollfd polled[] = {
            {.fd = run->process.pidfd, .events = POLLIN},
            {.fd = talks ? run->process.output_fd : -1, .events = POLLIN},
        };
        if (run->interrupted && *run->interrupted)
            return error_set(err, STATUS_INTERRUPTED, "interrupted");
        int n = poll(polled, 2, left < 0 || left > LOOK_MS ? LOOK_MS : left);
        if (n < 0 && errno != EINTR)
            return error_set_errno(err, STATUS_INTERNAL, errno, "cannot wait for QEMU");
        bool ended = n > 0 && polled[0].revents;
        drain_said(run);
        talks = talks && !(n > 0 && (polled[1].revents & POLLHUP));
        if (run->said.failed)
            return error_no_memory(err);
        if (ended)
            break;
        if (find_table(run, table))
            return true;
        /* Then it would only stand still. */
        if (said(run, "KVM internal error")) {
            last_words(run, words, sizeof(words));
            return error_set(err, STATUS_CONFIG, "the built-in guest does not run%s", words);
        }
        if (deadline_left_ms(run->when) == 0) {
            last_words(run, words, sizeof(words));
            return error_set(err, STATUS_CONFIG,
                             "the built-in guest did not come to its end in time%s", words);
        }
    }
    if (!process_wait(&run->process, DEADLINE_NEVER, status))
        return error_set(err, STATUS_INTERNAL, "cannot wait for QEMU");
    drain_said(run); /* what lay between the last look and the end */
    return true;
}

struct guest_run *guest_proof_start(const struct guest_proof *proof, struct error *err)
{
    autoguestrun struct guest_run *run = malloc(sizeof(*run));
    autostrlist struct strlist argv = {0};
    if (!run) {
        error_no_memory(err);
        return NULL;
    }
    *run = (struct guest_run){.process = PROCESS_INIT, .rom = -1, .ram = -1};
    run->interrupted = proof->interrupted;
    run->when = deadline_in_ms(proof->timeout_ms > 0 ? proof->timeout_ms : GUEST_PROOF_TIMEOUT_MS);
    if (!make_files(run, err))
        return NULL;
    if (!make_arguments(proof, run, &argv)) {
        error_no_memory(err);
        return NULL;
    }
    if (!process_start(&run->process, argv.items, -1, err))
        return NULL;
    /* QEMU tells of each missing feature for each vCPU, and nobody reads before the finish. Where
     * the kernel refuses the larger pipe, a QEMU that says too much waits for the reader. */
    fcntl(run->process.output_fd, F_SETPIPE_SZ, SAID_PIPE);
    return STEAL(run);
}

bool guest_proof_finish(struct guest_run *run, struct guest_table *table, struct strlist *refused,
                        struct error *err)
{
    struct error nonsense = ERROR_INIT;
    int status = 0;
    if (!watch(run, &status, table, err))
        return false;
    if (run->is_done || read_table(run, table, &nonsense))
        return true;
    if (nonsense.status != STATUS_DATA)
        return error_set(err, nonsense.status, "%s", nonsense.message);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != GUEST_ROM_DONE)
        return explain_end(run, status, refused, err);
    return error_set(err, STATUS_CONFIG, "QEMU's guest gave no CPU table: %s", nonsense.message);
}

bool guest_proof_run(const struct guest_proof *proof, struct guest_table *table, struct error *err)
{
    autoguestrun struct guest_run *run = guest_proof_start(proof, err);
    return run && guest_proof_finish(run, table, NULL, err);
}
