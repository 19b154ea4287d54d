/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The parts of the trust command.
 */
#ifndef QML_CLI_CMD_TRUST_H
#define QML_CLI_CMD_TRUST_H

#include "cli/command.h"
#include "peer/trust.h"

struct trust_options {
    const char *address; /* HOST[:PORT], or NULL */
    int64_t expires;     /* Unix seconds; TRUST_NEVER */
    /* for `pair`: */
    const char *as;             /* name of the entry; NULL: as ssh's host is called */
    struct strlist ssh;         /* a command and its options; empty: ssh */
    const char *remote_command; /* the program there; NULL: by its name */
    bool sudo, yes;
};

/* cmd_trust_list.c: all entries, to standard output: a line for each pin, or on a terminal a table
 * of them. */
bool trust_print(const struct trust *trust, struct error *err);

/* cmd_trust_pair.c: have this host and the one that ssh calls `host` trust each other.
 * STATUS_USAGE: not a host or no name for it, nobody to be asked; STATUS_NOT_TRUSTED: not
 * confirmed, or one of them has another pin for the other; what remote_shell_ask reports, and what
 * the program there does. */
bool trust_pair(struct context *context, const struct trust_options *options, const char *host,
                struct error *err);

/* cmd_trust_pair_look.c: how a host is trusted by those who have these entries. */
enum trusted {
    TRUSTED_NOT,
    TRUSTED_ALREADY, /* by this pin, whatever it is called */
    TRUSTED_EXPIRED, /* by this pin, and no more */
    TRUSTED_OTHER,   /* the name is there, and has another pin */
};
/* *entry, of trust: the one that it is about, or NULL. */
enum trusted trust_pair_look(const struct trust *trust, const char *name, const char *pin,
                             const struct trust_entry **entry);
/* What `trust list --json` says on another host, of which only names, pins and ends are taken.
 * STATUS_DATA: it is none. */
bool trust_pair_read_list(const char *text, struct trust *trust, struct error *err);
/* The first word behind "hostname " in what `ssh -G HOST` says, as a trust entry's address; NULL:
 * there is none that could be one. For the caller to free. */
char *trust_pair_read_address(const char *text);
/* An address by number as a trust entry's, for the caller to free; NULL if it is none, or one that
 * means something else on each host. */
char *trust_pair_number(const char *text);

#endif
