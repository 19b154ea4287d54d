/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Shared by guardian.c (life), guardian_qemu.c (its QEMU), guardian_orders.c (what the source
 * asks), guardian_stream.c (what the source sends) and guardian_control.c (what people here ask).
 */
#ifndef QML_MIGRATION_GUARDIAN_PRIVATE_H
#define QML_MIGRATION_GUARDIAN_PRIVATE_H

#include <signal.h>

#include "base/log.h"
#include "migration/guardian.h"
#include "migration/orders.h"
#include "peer/relay.h"
#include "peer/server.h"
#include "qmp/qmp.h"

struct guardian {
    const struct guardian_setup *setup;
    struct vm_record record;
    struct trust trust;
    uint64_t trust_seen; /* what trust.d looked like */
    struct log_rate log; /* of what others ask */
    struct peer_server *server;
    int control; /* the local socket's listener */
    const volatile sig_atomic_t *terminated;

    int pidfd; /* QEMU's, -1: not open */
    struct qmp *qmp;
    bool qemu_ended;

    struct lease_guardian lease;
    char migration[MIGRATION_ID_SIZE]; /* bound to it; "": to none */
    bool prepared;                     /* QEMU waits for the stream, or has it */
    uint16_t direct_port;              /* for --direct */
    struct migration_side side;
    char *stream_path; /* QEMU's socket for it */
    struct relay_group *relays;
    uint64_t admitted;                /* channels, a bit each */
    SSL *waiting[ORDER_CHANNELS_MAX]; /* their streams that QEMU has not got yet */
    bool main_connected;              /* it must be QEMU's first */
    uint64_t carried;                 /* bytes of the stream, when last looked at */
    bool when_active;                 /* run it when postcopy is active */
    bool stay_paused;                 /* told, but it was paused at the source */
    bool end_heard;        /* the source was told that QEMU has ended without running the guest */
    int64_t tried_to_note; /* when the record could not be written; 0: it could */
    char refused[ERROR_MESSAGE_SIZE]; /* why QEMU did not run the guest, the last time */
    bool is_over;                     /* one way or the other */
    deadline leave_at;                /* before it is over: the end of --wait */
    bool leave;
};

/* guardian_qemu.c */

/* The conversation with QEMU, opened again if it broke; waits until `when` for QEMU to start. NULL
 * with STATUS_UNAVAILABLE. */
struct qmp *guardian_qmp(struct guardian *guardian, deadline when, struct error *err);
/* One command with a short deadline. */
bool guardian_command(struct guardian *guardian, const char *command, json_t *arguments,
                      json_t **result, struct error *err);
/* Has QEMU ended? Notes it in qemu_ended and the lease, and says so, the first time. */
bool guardian_look_at_qemu(struct guardian *guardian);
/* How all is; QEMU is asked. */
void guardian_status(struct guardian *guardian, struct guardian_status *status);
/* End QEMU, within a second, and see it gone. */
void guardian_end_qemu(struct guardian *guardian, const char *why);
/* The lease was told: let QEMU run the guest if it is all there. False: not, err says why. */
bool guardian_run_guest(struct guardian *guardian, struct error *err);
/* Put a place into the record on disk. STATUS_CANNOT_WRITE; the place is as before then. */
bool guardian_note_place(struct guardian *guardian, enum vm_place place, struct error *err);

/* guardian_orders.c: the server's handler. */
bool guardian_handle(void *context, const struct trust_entry *peer, const char *remote,
                     const char *name, json_t *body, json_t **answer, struct error *err);
/* Is this the source, and is it about this VM, agreement and (if bound) migration? */
bool guardian_check_source(const struct guardian *guardian, const struct trust_entry *peer,
                           const struct order_key *key, struct error *err);

/* guardian_stream.c: likewise; and making QEMU wait for the stream. */
bool guardian_admit(void *context, const struct trust_entry *peer, const char *remote, json_t *body,
                    struct error *err);
void guardian_stream(void *context, json_t *body, SSL *ssl);
void guardian_withdrawn(void *context, json_t *body);
/* Have QEMU wait for the stream: at a fresh local socket, or at a TCP port. recover: for a new one
 * in place of one that postcopy has lost. */
bool guardian_await_stream(struct guardian *guardian, bool direct, bool recover, struct error *err);
void guardian_drop_streams(struct guardian *guardian);

/* guardian_control.c */
int guardian_control_listen(const char *path, struct error *err);
void guardian_control_serve(struct guardian *guardian);

#endif
