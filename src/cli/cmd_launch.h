/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The parts of the launch command: its options, and how it says what came out.
 */
#ifndef QML_CLI_CMD_LAUNCH_H
#define QML_CLI_CMD_LAUNCH_H

#include "cli/command.h"
#include "cpu/render.h"
#include "peer/identity.h"
#include "peer/trust.h"
#include "pool/pool.h"
#include "vm/command_line.h"
#include "vm/drift.h"
#include "vm/invocation.h"
#include "vm/negotiate.h"
#include "vm/record.h"
#include "vm/visible_host.h"

struct launch_options {
    const char *vm;
    struct strlist peers;    /* each HOST[:PORT] or a trust entry's name */
    struct strlist profiles; /* files by --peer-profile */
    bool offline_ok;
    bool tofu; /* ask a person about peers that are not known */
    bool listen;
    const char *listen_address; /* [ADDR]:PORT, or NULL */
    bool incoming;
    const char *plain_incoming;
    const char *agreement; /* a file: no exchange */
    enum cpu_form form;
    struct featureset require, deny;
    struct strlist accepted;             /* rows by --accept-row */
    struct strlist accepted_differences; /* names by --accept-difference */
    bool no_proof, renegotiate, here, dry_run;
    int64_t timeout_ms; /* 0: not given */
    int64_t wait_ms;    /* --wait; 0: for ever */
};

/* All that a launch gathers; owned. */
struct launch {
    struct context *context;
    struct launch_options options;
    struct config config;
    struct trust trust;
    struct identity *identity;
    struct arglist arguments;
    struct invocation invocation;
    struct strlist backends; /* that its devices use (vm/device_use.h) */
    struct cpu_request request;
    struct visible_list visible; /* what a guest sees of arguments */
    struct qemu qemu;
    const char *vm;
    const char *accel;
    enum vm_role role;
    char *incoming;              /* the URI to add; NULL: none */
    uint16_t incoming_port;      /* of the guardian, or of QEMU itself */
    bool guarded;                /* a destination with a guardian */
    bool awaited;                /* a destination waits for it, by the record */
    bool known;                  /* the VM has an agreement, which counts */
    bool renegotiate;            /* --renegotiate, or what was agreed does not count */
    struct pool_members members; /* the pool's, when it says who the parties are */
    int listener;                /* the guardian's, if this side does not listen anyway; -1 */
    char *listen_host;           /* where this side listens; NULL: everywhere */
    uint16_t listen_port;
    struct vm_record record;
    struct vm_sockets sockets;
    int lock;
};

void launch_options_free(struct launch_options *options);
/* --timeout, --accept-difference, --wait and --tofu of a struct launch_options. */
bool launch_set_timeout(void *target, const char *value, struct error *err);
bool launch_set_accept_difference(void *target, const char *value, struct error *err);
bool launch_set_wait(void *target, const char *value, struct error *err);
bool launch_set_tofu(void *target, const char *value, struct error *err);

#define LAUNCH_TIMEOUT_MS 30000 /* for an exchange, if nothing else was said */

/* cmd_launch.c: what the user's QEMU command line asks for, in launch->arguments. STATUS_USAGE,
 * STATUS_INCOMPATIBLE, STATUS_CONFIG. */
bool launch_read_arguments(struct launch *launch, struct error *err);
void launch_free(struct launch *launch);

/* cmd_launch_arguments.c: QEMU's command line, from behind -- or, without that, from the VM's file
 * (vm/args_file.h), into launch->arguments. STATUS_USAGE, and what args_file_load reports. */
bool launch_find_arguments(struct launch *launch, const struct operands *operands,
                           struct error *err);
/* cmd_launch.c: options that do not go together. STATUS_USAGE. */
bool launch_check_options(const struct launch_options *options, struct error *err);
/* The launch itself, with its options, arguments and configuration read. Returns only if that
 * failed, or with --dry-run. */
bool launch_with_arguments(struct launch *launch, struct error *err);

/* An agreement that a launch goes by; owned. */
struct launch_known {
    struct agreement agreement;
    char digest[DIGEST_HEX_SIZE];
    json_t *document;
};

void launch_known_free(struct launch_known *known);
#define autolaunchknown __attribute__((cleanup(launch_known_free)))

/* cmd_launch_agreement.c: what a guest sees besides -cpu is as it was agreed: accelerator, irqchip,
 * cpu-pm, machine type. STATUS_INCOMPATIBLE. */
bool launch_check_arguments(const struct launch *launch, const struct agreement *agreement,
                            struct error *err);
/* launch->record as the launch makes it, with what is to be proven; who the peer is, is left. */
bool launch_fill_record(struct launch *launch, const struct launch_known *known, struct error *err);
/* --dry-run: the command line, or the document, on standard output. */
bool launch_show(const struct launch *launch, const struct launch_known *known, const char *cpu,
                 const struct strlist *argv, struct error *err);

/* cmd_launch_role.c: source or destination, and where a destination waits: fills the role,
 * incoming, listen_* and listener. */
bool launch_choose_role(struct launch *launch, struct error *err);

/* Fork the guardian of a destination that is to have one. sources: the pins of those who may move
 * the guest to here; listener: what it listens on, the caller's. */
bool launch_guardian(struct launch *launch, const struct strlist *sources, int listener,
                     struct error *err);

/* cmd_launch_agreement.c: launch under the agreement of --agreement, or else the one that is kept
 * here, with no exchange: it is proven on this host now. Returns only if that failed, or with
 * --dry-run. STATUS_DRIFT, STATUS_DATA, STATUS_NOT_TRUSTED, STATUS_INCOMPATIBLE and what a launch
 * reports. */
bool launch_under_agreement(struct launch *launch, struct error *err);

/* cmd_launch_peers.c: agree with all that --peer and --peer-profile name. */
bool launch_negotiate_with_peers(const struct launch *launch, const struct exchange_self *self,
                                 struct negotiated *result, struct error *err);
/* The trust entry that the value of that option (--peer) means, and its address; *host is the
 * caller's to free. STATUS_USAGE, STATUS_NOT_TRUSTED. */
const struct trust_entry *launch_find_peer(const struct launch *launch, const char *option,
                                           const char *text, char **host, uint16_t *port,
                                           struct error *err);

/* cmd_launch_pool.c: whether the pool says who the parties are: it is configured, and nobody is
 * named. */
bool launch_may_use_pool(const struct launch *launch);
/* The pool of the configuration; pool_close it. What pool_open reports. */
struct pool *launch_open_pool(const struct launch *launch, struct error *err);
/* Who is in the pool, with what is to be said of it in the log; what pool_members reports. */
bool launch_read_pool(const struct launch *launch, struct pool_members *members, struct error *err);
/* Make them the parties of this launch. STATUS_UNAVAILABLE, too, when there is nobody. */
bool launch_find_in_pool(struct launch *launch, struct error *err);
/* Put what was agreed on into the pool, if there is one. A failure is a warning. */
void launch_tell_pool(const struct launch *launch);

/* Whether the VM has an agreement here that this launch is to use. What an earlier launch left
 * half-done is finished, or said and set aside (*renegotiate). */
bool launch_find_known(const struct launch *launch, bool *known, bool *renegotiate,
                       struct error *err);
/* What this side brings into an exchange. */
struct exchange_self launch_self(const struct launch *launch);

/* cmd_launch_argv.c: QEMU's command line under an agreement, with a warning for each property of a
 * device that the user had asked for and that is switched off. own: what this host can give to
 * devices; report: who lacks what is off, or NULL. *argv must be empty. As command_line_make. */
bool launch_make_argv(const struct launch *launch, const struct agreement *agreement,
                      const char *cpu, const struct device_offer *own,
                      const struct device_report *report, struct strlist *argv, struct error *err);

/* The same under an agreement that was made before, with what this host gives now: of who lacks
 * something only this host is known. */
bool launch_make_known_argv(const struct launch *launch, const struct agreement *agreement,
                            const struct drift_given *given, struct strlist *argv,
                            struct error *err);

/* cmd_launch.c: what both ways of launching do first: lock and record, QEMU, sockets. */
bool launch_begin(struct launch *launch, struct error *err);
/* A copy in place of what was there; the second makes a path good in any folder. */
bool launch_replace(char **place, const char *text);
bool launch_replace_path(char **place, const char *path);

/* A few lines about what was agreed, with whom, what was lost: to standard error. former: the
 * agreement before, which it replaces; its vm is NULL if there was none. */
void launch_report(const struct exchange *exchange, const struct agreement *former);

/* The document of --dry-run --json; NULL with STATUS_INTERNAL and so on. */
json_t *launch_document(const struct exchange *exchange, const struct strlist *argv,
                        struct error *err);
/* The same under an agreement that was made before: what was lost then is not known any more, and
 * of the hosts only this one's -cpu is. */
json_t *launch_known_document(const struct agreement *agreement, const char *digest,
                              const char *host, const char *cpu, const struct strlist *argv,
                              struct error *err);

#endif
