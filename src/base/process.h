/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Child processes: started with exactly the descriptors they are given, ended for sure.
 */
#ifndef QML_BASE_PROCESS_H
#define QML_BASE_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/deadline.h"
#include "base/error.h"

#define PROCESS_OUTPUT_MAX 16384

/* A running child. Start with PROCESS_INIT. */
struct process {
    pid_t pid;     /* -1: none */
    int pidfd;     /* readable when the child has ended */
    int output_fd; /* reading end of the child's standard output and error, non-blocking, or -1 */
};

#define PROCESS_INIT                                                                               \
    {                                                                                              \
        .pid = -1, .pidfd = -1, .output_fd = -1                                                    \
    }

/* Start argv[0] (a path; no search) with argv. The child has /dev/null as standard input, our pipe
 * as standard output and error, `inherit` (or -1) under the same number, nothing else; default
 * signal dispositions, an empty signal mask; it is killed if we die. STATUS_CONFIG if it cannot be
 * executed, STATUS_INTERNAL if there are no descriptors or processes to be had. */
bool process_start(struct process *process, char *const argv[], int inherit, struct error *err);

/* Wait until the child has ended, or the deadline. 1: ended, *wait_status as of waitpid (the child
 * is gone from the table, pid = -1); 0: not in time; -1 is not returned. */
int process_wait(struct process *process, deadline when, int *wait_status);

/* What the child has printed so far, at most PROCESS_OUTPUT_MAX bytes (the first ones), as text
 * with other bytes replaced; the caller frees it; NULL for want of memory. */
char *process_read_output(struct process *process);

/* End the child (SIGKILL) if it still runs, and close everything. */
void process_end(struct process *process);

/* "exited with status 1", "was killed by signal 6 (Aborted)"; static buffer of the caller. */
const char *process_describe_status(int wait_status, char *buffer, size_t size);

/* Close every descriptor but the standard ones and `keep` (3 or more): for a process that goes its
 * own way, whoever opened them. */
void process_close_others(int keep);

/* Give back memory, for a process that waits: freed blocks, and the pages of the program and its
 * libraries that are as in their files. What is needed again comes back by itself. */
void process_rest(void);

/* Find name on PATH as execvp would; a name with a slash is itself. Never this program's own file,
 * which may lie there under QEMU's name: then only what is further along PATH counts, so that of
 * several copies none runs one before it. The caller frees it. NULL with STATUS_CONFIG if there is
 * no such executable. */
char *process_find_executable(const char *name, struct error *err);

#endif
