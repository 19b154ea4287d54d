/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One exchange between two parties about one VM: what each message says, and the agreement that
 * both compute from it. The same steps on both sides; who carries the messages is negotiate's
 * business (doc/PROTOCOL.md).
 */
#ifndef QML_VM_EXCHANGE_H
#define QML_VM_EXCHANGE_H

#include <signal.h>

#include "base/deadline.h"
#include "base/paths.h"
#include "cpu/render.h"
#include "host/profile.h"
#include "peer/identity.h"
#include "peer/trust.h"
#include "vm/agreement.h"
#include "vm/keyval.h"
#include "vm/proof.h"

#define PROTOCOL_VERSION 1
#define EXCHANGE_PROOFS_MAX 4 /* the first, and three after masking */
#define EXCHANGE_ID_SIZE 33   /* 32 hexadecimal digits and a NUL */

/* What this side brings along; all borrowed. */
struct exchange_self {
    const struct paths *paths;
    const struct config *config;
    const struct identity *identity;
    const char *vm;
    enum vm_role role;
    uint16_t incoming_port; /* of a destination's guardian, or its -incoming tcp:; 0: none */
    bool guarded;           /* a destination: with a guardian */
    const struct qemu *qemu;
    const char *machine; /* as the user wrote it; NULL: QEMU's default */
    const char *accel;
    const char *kernel_irqchip; /* or NULL */
    bool cpu_pm;
    const struct keyval *memory; /* -m */
    const struct cpu_request *request;
    enum cpu_form form;
    const struct featureset *required;        /* by --require */
    const struct invocation *invocation;      /* what else of QEMU's command line the proof needs */
    bool prove;                               /* not with --no-proof */
    const struct strlist *accepted;           /* rows by --accept-row */
    deadline when;                            /* of the whole exchange */
    const volatile sig_atomic_t *interrupted; /* not 0: give up; or NULL */
};

/* What the other side says. */
struct exchange_peer {
    char *name; /* of its trust entry */
    char *host; /* what it calls itself */
    char pin[PIN_SIZE];
    char nonce[NONCE_SIZE];
    enum vm_role role;
    uint16_t incoming_port;
    bool guarded;
    struct profile profile;
    char profile_digest[DIGEST_HEX_SIZE];
    struct cpu_request request;
    struct guest_table table; /* what a guest sees there */
    struct strlist refused;   /* features over which its QEMU refuses the CPU: no table, then */
    struct strlist accepted;  /* rows that its user accepts */
};

enum exchange_step {
    STEP_NEW,
    STEP_HELLO,
    STEP_PROFILE,
    STEP_PROVEN, /* left out without a proof */
    STEP_AGREED,
    STEP_COMMITTED
};

struct exchange {
    const struct exchange_self *self;
    enum exchange_step step; /* what has been taken from the peer */
    char id[EXCHANGE_ID_SIZE];
    char nonce[NONCE_SIZE];
    struct exchange_peer peer;
    char *machine;  /* the type that both will have */
    bool proposing; /* this side asks; the other approves */

    struct profile profile; /* of this host */
    json_t *profile_envelope;
    char profile_digest[DIGEST_HEX_SIZE];
    struct cpu_request request; /* of this side, its model resolved */

    char host_digest[DIGEST_HEX_SIZE]; /* of all that is known of this host; "": in doubt */
    struct proof_arguments arguments;
    struct proof proof;       /* under way here */
    struct guest_table table; /* what a guest sees here; without rows: not proven yet */
    struct strlist refused;   /* features over which QEMU refuses the CPU here: no table, then */
    unsigned proofs;          /* how many were compared, or answered */
    struct strlist accepted;  /* rows that differ and were accepted */
    struct strlist doubts;    /* for people: what the proof found and does not hinder */

    struct agreement agreement;
    struct baseline_report report;
    char agreement_digest[DIGEST_HEX_SIZE];
};

void exchange_free(struct exchange *exchange);
#define autoexchange __attribute__((cleanup(exchange_free)))

/* Begin: nonce and, with id NULL, a new id. STATUS_INTERNAL. */
bool exchange_begin(struct exchange *exchange, const struct exchange_self *self, const char *id,
                    struct error *err);

/* Each *_body gives a new reference; NULL with err. Each exchange_take_* reads what the peer sent,
 * checks all of it, and moves `step` on only if it is good. STATUS_DATA: malformed;
 * STATUS_PROTOCOL: out of order, another exchange or protocol version; STATUS_INCOMPATIBLE: what
 * it says cannot go together with this side; STATUS_NOT_TRUSTED: profile by another key, old, or
 * expired. */
json_t *exchange_hello_body(struct exchange *exchange, struct error *err);
bool exchange_take_hello(struct exchange *exchange, json_t *body, const struct trust_entry *peer,
                         struct error *err);

/* The first call examines this host for the machine type chosen. */
json_t *exchange_profile_body(struct exchange *exchange, struct error *err);
bool exchange_take_profile(struct exchange *exchange, json_t *body, struct error *err);

/* The baseline of both profiles and requests, less what a proof found missing. report may be NULL.
 */
bool exchange_baseline(const struct exchange *exchange, struct baseline *baseline,
                       struct baseline_report *report, struct error *err);

/* The proof, after both profiles. Start and finish that on this host; without a start, finish
 * starts it. The side that asks sends a body and takes the peer's table from the answer; the side
 * that is asked makes the answer from the body. STATUS_INCOMPATIBLE: a QEMU cannot give the CPU,
 * and it is not known which features to leave out. */
bool exchange_prove_start(struct exchange *exchange, struct error *err);
bool exchange_prove_finish(struct exchange *exchange, struct error *err);
/* Forget it: the CPU is another one now. */
void exchange_prove_again(struct exchange *exchange);
json_t *exchange_prove_body(struct exchange *exchange, struct error *err);
json_t *exchange_prove_answer(struct exchange *exchange, json_t *body, struct error *err);
bool exchange_take_table(struct exchange *exchange, json_t *body, struct error *err);
/* Compare both tables. *settled: they are equal but for rows accepted by name; else what differs
 * is masked now, and another proof is needed. STATUS_PROOFS_DIFFER when masking does not help, or
 * not any more: what differs has been logged. */
bool exchange_settle(struct exchange *exchange, bool *settled, struct error *err);
/* The side that is asked: the proof in what the peer proposes is as this host's own. */
bool exchange_check_proof(struct exchange *exchange, const struct agreement_proof *proof,
                          struct error *err);

/* Compute the agreement from both profiles and requests; both sides get the same bytes for the same
 * `issued` (Unix seconds). */
bool exchange_agree(struct exchange *exchange, int64_t issued, struct error *err);

/* {"exchange", MEMBER: value}: the body of propose and commit. value is used up. */
json_t *exchange_body(const struct exchange *exchange, const char *member, json_t *value,
                      struct error *err);
/* The one member of such a body (borrowed), of this exchange. */
bool exchange_take_body(const struct exchange *exchange, json_t *body, const char *member,
                        json_t **value, struct error *err);

/* The exchange id that any body names, or NULL. */
const char *exchange_body_id(const json_t *body);

#endif
