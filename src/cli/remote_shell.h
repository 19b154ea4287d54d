/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Commands on another host, one after the other, through one ssh(1).
 *
 * The command that ssh is given is the word `sh`, which every login shell understands; what is to
 * be done is written to that shell's standard input. So there is no quoting but that of POSIX
 * shells, and a connection that breaks leaves no half of a command behind.
 */
#ifndef QML_CLI_REMOTE_SHELL_H
#define QML_CLI_REMOTE_SHELL_H

#include <signal.h>

#include "base/process.h"
#include "base/strings.h"

#define REMOTE_OUTPUT_MAX ((size_t)1 << 20)

/* Start with REMOTE_SHELL_INIT. */
struct remote_shell {
    const char *host;                         /* as ssh knows it; borrowed */
    const volatile sig_atomic_t *interrupted; /* borrowed; may be NULL */
    struct process process;
    int fd;         /* its standard input and output */
    char nonce[33]; /* what no output has by chance */
    bool answered;  /* at least once */
};

#define REMOTE_SHELL_INIT                                                                          \
    {                                                                                              \
        .process = PROCESS_INIT, .fd = -1                                                          \
    }

/* What a command there came to; both texts are owned, and what they hold is the other host's. */
struct remote_reply {
    int status;    /* of the command: 127: there is none such */
    char *output;  /* its standard output, without line ends at its end */
    char *message; /* its standard error, the same way */
};

void remote_reply_free(struct remote_reply *reply);
#define autoreply __attribute__((cleanup(remote_reply_free)))

/* Whether text is [USER@]HOST or ssh://[USER@]HOST[:PORT], of letters, digits, '.', '_', '-' (and
 * an address of IPv6 in HOST, in brackets behind ssh://), with nothing that ssh or a shell would
 * take for something else. */
bool remote_host_is_valid(const char *text);
/* HOST of that, without brackets, for the caller to free; NULL for want of memory. */
char *remote_host_name(const char *text);

/* Find what stands between marks in what a remote shell has written so far: 1: all of it is there,
 * and *reply is filled; 0: not yet; -1 with err: STATUS_DATA: it is not an answer. */
int remote_reply_parse(const char *text, const char *nonce, struct remote_reply *reply,
                       struct error *err);

/* Start ssh (a command and its options) for `host`, which must be valid. It talks to the terminal
 * and standard error by itself. STATUS_CONFIG: there is no such command; STATUS_INTERNAL. */
bool remote_shell_start(struct remote_shell *shell, const struct strlist *ssh, const char *host,
                        struct error *err);

/* Run a command of a POSIX shell there, one line, with nothing on its standard input.
 * STATUS_UNAVAILABLE: no connection, or it was lost; STATUS_DATA: what comes is no answer, or too
 * long; STATUS_INTERRUPTED; STATUS_CONFIG: there is no shell. */
bool remote_shell_ask(struct remote_shell *shell, const char *command, struct remote_reply *reply,
                      struct error *err);

/* Close the connection, and end ssh. */
void remote_shell_end(struct remote_shell *shell);
#define autoremoteshell __attribute__((cleanup(remote_shell_end)))

#endif
