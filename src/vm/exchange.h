/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One exchange between the parties about one VM: what each message says, and the agreement that
 * comes of it. The one who asks (the initiator) talks to every other party, and these only to it.
 * The same steps on both sides; who carries the messages is negotiate's business (doc/PROTOCOL.md).
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
#include "vm/visible.h"

#define PROTOCOL_VERSION 3
#define EXCHANGE_PROOFS_MAX 4 /* the first, and three after masking */
#define EXCHANGE_ID_SIZE 33   /* 32 hexadecimal digits and a NUL */

/* What this side brings along; all borrowed. One whose role is ROLE_PARTY has no command line: what
 * is marked (*) is the asker's then, and not looked at here. */
struct exchange_self {
    const struct paths *paths;
    const struct config *config;
    const struct identity *identity;
    const char *vm; /* (*) */
    enum vm_role role;
    uint16_t incoming_port; /* of a destination's guardian, or its -incoming tcp:; 0: none */
    bool guarded;           /* a destination: with a guardian */
    bool renegotiate;       /* another agreement about the VM is to be replaced */
    bool lives;             /* as far as this host knows, the VM lives here, or nowhere yet */
    const struct qemu *qemu;
    const char *machine;                 /* (*) as the user wrote it; NULL: QEMU's default */
    const char *accel;                   /* (*) */
    const char *kernel_irqchip;          /* (*) or NULL */
    bool cpu_pm;                         /* (*) */
    const struct keyval *memory;         /* (*) -m */
    const struct cpu_request *request;   /* (*) */
    enum cpu_form form;                  /* (*) */
    const struct featureset *required;   /* by --require; may be NULL */
    const struct invocation *invocation; /* (*) what else of the command line the proof needs */
    bool prove;                          /* (*) not with --no-proof */
    const struct strlist *accepted;      /* rows by --accept-row; may be NULL */
    const struct strlist *backends;      /* (*) that its devices use (device_use.h); NULL: none */
    const struct visible_list *visible;  /* (*) what a guest sees of the command line */
    const struct strlist *accepted_differences; /* (*) of these, by --accept-difference; or NULL */
    deadline when;                              /* of the whole exchange */
    const volatile sig_atomic_t *interrupted;   /* not 0: give up; or NULL */
};

/* What another party says. */
struct exchange_peer {
    const struct trust_entry *entry; /* borrowed; only while hello is taken */
    char *name;                      /* of its trust entry */
    char *host;                      /* what it calls itself */
    char pin[PIN_SIZE];
    char nonce[NONCE_SIZE];
    enum vm_role role;
    uint16_t incoming_port;
    bool guarded;
    bool renegotiate;
    bool lives;
    char known[DIGEST_HEX_SIZE]; /* of its agreement about the VM; "": it has none */
    char *machine;               /* as its user wrote it; NULL: its QEMU's default */
    struct strlist backends;     /* that its devices use; of one without a command line none */
    struct machine_list machines;
    char *qemu_version;
    struct profile profile;
    bool has_profile;
    bool is_unknown;  /* the profile whose digest it named is not known here */
    bool wants_whole; /* it does not know the one whose digest it was told */
    char profile_digest[DIGEST_HEX_SIZE];
    struct envelope last; /* its last profile, opened before it was named */
    char *last_file;      /* what it was read of (file_identity); NULL: it was not opened */
    struct cpu_request request;
    struct guest_table table; /* what a guest sees there */
    struct strlist refused;   /* features over which its QEMU refuses the CPU: no table, then */
    struct strlist accepted;  /* rows that its user accepts */
};

/* A host that is not asked: its stored profile is taken into account. */
struct exchange_assumed {
    char pin[PIN_SIZE];
    char digest[DIGEST_HEX_SIZE];
    struct profile profile;
};

enum exchange_step {
    STEP_NEW,
    STEP_HELLO,
    STEP_PROFILE,
    STEP_PROVEN, /* left out without a proof */
    STEP_AGREED,
    STEP_COMMITTED
};

/* This side's profile, made before it is known that it is needed. */
struct exchange_prepared {
    char *machine; /* for this type; NULL: nothing was prepared */
    bool good;     /* else it could not be made, and error says why */
    struct error error;
    deadline until; /* it stands for what is so */
};

struct exchange {
    const struct exchange_self *self;
    enum exchange_step step; /* what has been taken, from all peers */
    char id[EXCHANGE_ID_SIZE];
    char nonce[NONCE_SIZE];
    bool proposing;              /* this side asks; the others approve */
    struct exchange_peer *peers; /* of one that is asked: who asked, alone */
    size_t peer_count;
    struct exchange_assumed *assumed;
    size_t assumed_count;
    char known[DIGEST_HEX_SIZE]; /* of the agreement about the VM that is kept here; "": none */

    /* What all parties have in common. */
    char *vm;
    char *machine; /* the type that all will have; NULL before it is chosen */
    char *guess;   /* the type that it will most likely be, of one that is asked; or NULL */
    char *accel;
    char *kernel_irqchip; /* "" when nobody gave it */
    bool cpu_pm;
    enum cpu_form form;
    bool prove;

    struct profile profile;  /* of this host */
    json_t *profile_payload; /* NULL: it is not made yet */
    char *profile_text;      /* its envelope */
    char profile_digest[DIGEST_HEX_SIZE];
    struct exchange_prepared prepared;
    bool profile_is_new;        /* signed for this exchange: nobody can know it */
    struct cpu_request request; /* of this side, its model resolved */
    struct baseline given;      /* one that is asked by a group's initiator: what that computed */
    bool is_given;

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
    struct device_report device_report; /* not of one that is asked by a group's initiator */
    char agreement_digest[DIGEST_HEX_SIZE];
};

void exchange_peer_free(struct exchange_peer *peer);
void exchange_free(struct exchange *exchange);
/* The peers' names, "b, c"; NULL for want of memory. */
char *exchange_peer_names(const struct exchange *exchange);
#define autoexchange __attribute__((cleanup(exchange_free)))

/* Begin: nonce and, with id NULL, a new id: this side asks `peer_count` others. With an id it is
 * asked by one. STATUS_INTERNAL; STATUS_DATA: the agreement that is kept here cannot be read. */
bool exchange_begin(struct exchange *exchange, const struct exchange_self *self, const char *id,
                    size_t peer_count, struct error *err);

/* Each *_body gives a new reference; NULL with err. Each exchange_take_* reads what a peer (one of
 * exchange->peers) sent, checks all of it, and keeps it only if it is good. STATUS_DATA: malformed;
 * STATUS_PROTOCOL: out of order, another exchange or protocol version; STATUS_INCOMPATIBLE: what
 * it says cannot go together with this side; STATUS_NOT_TRUSTED: profile by another key, old, or
 * expired, or one who may not replace the agreement about the VM. STATUS_DECISION: the VM runs
 * here. */
json_t *exchange_hello_body(struct exchange *exchange, struct error *err);
bool exchange_take_hello(struct exchange *exchange, struct exchange_peer *peer, json_t *body,
                         const struct trust_entry *entry, struct error *err);
/* The side that is asked without a command line: the peer with that pin and name may replace what
 * this host knows about the VM, now. known: the digest of its own agreement; renegotiate, lives:
 * what its hello says. STATUS_DECISION: the VM runs or lives here, or elsewhere;
 * STATUS_NOT_TRUSTED: it is no party; STATUS_INCOMPATIBLE: it does not know of the agreement that
 * there is. */
bool exchange_may_replace(const struct exchange_self *self, const char *vm,
                          const struct exchange_peer *peer, struct error *err);
/* exchange_visible.c: what a guest sees of this side's command line, null without one. NULL for
 * want of memory. */
json_t *exchange_visible_body(const struct exchange *exchange);
/* Take the peer's (its role and host are known); source and destination must give a guest the same.
 * STATUS_DATA; STATUS_INCOMPATIBLE with every difference. */
bool exchange_take_visible(const struct exchange *exchange, const struct exchange_peer *peer,
                           json_t *json, struct error *err);
/* The initiator, when it has all hellos: choose the machine type for all. */
bool exchange_choose_machine(struct exchange *exchange, struct error *err);

/* exchange_statement.c: examine this host for the machine type chosen; what is still so is not
 * signed again. */
bool exchange_make_profile(struct exchange *exchange, struct error *err);
/* Forget it. */
void exchange_drop_profile(struct exchange *exchange);

/* exchange_prepare.c: this side's profile, made while the others are at something else, for the
 * type that will most likely be chosen; nothing comes of it when it is another one, or too late. */
void exchange_prepare(struct exchange *exchange);
/* What was prepared, if it is what is needed now: true with *good, and err if it is not. */
bool exchange_take_prepared(struct exchange *exchange, bool *good, struct error *err);
/* Open the last profiles of all peers, which they will most likely name. */
void exchange_open_last(struct exchange *exchange);
/* The last profile of this peer, if it is the one with that digest: it was checked when it came,
 * and is checked again. False: it is another one, or there is none. */
bool exchange_find_last(const struct exchange *exchange, struct exchange_peer *peer,
                        const char *digest, struct envelope *envelope);

/* This side's profile, made by the first call: its digest, or all of it if that is new or to be
 * `whole`. wanted: the peer's is to be whole in the answer. */
json_t *exchange_profile_body(struct exchange *exchange, bool whole, bool wanted,
                              struct error *err);
/* Take a peer's. True also when that is not done (peer->has_profile) because it has to be sent
 * again: the peer's whole (is_unknown), or to the peer this side's (wants_whole). */
bool exchange_take_profile(struct exchange *exchange, struct exchange_peer *peer, json_t *body,
                           struct error *err);
/* The answer to a profile that is_unknown. */
json_t *exchange_unknown_body(const struct exchange *exchange, struct error *err);
/* Take a signed profile (an envelope's text) of that trust entry's host into account without asking
 * it. what: where it comes from, for messages. Before exchange_choose_machine. STATUS_NOT_TRUSTED:
 * by another key, expired, old; STATUS_DATA. */
bool exchange_assume(struct exchange *exchange, const char *text, const struct trust_entry *entry,
                     const char *what, struct error *err);
/* The assumed profiles are for the machine type that was chosen. STATUS_INCOMPATIBLE. */
bool exchange_check_assumed(const struct exchange *exchange, struct error *err);
/* The last profile of that peer that was taken, from the state folder; *text = NULL if there is
 * none. The caller frees it. */
char *exchange_stored_path(const struct paths *paths, const char *entry_name, struct error *err);
bool exchange_stored_profile(const struct paths *paths, const char *entry_name, char **text,
                             struct error *err);

/* The baseline of all profiles and requests, less what a proof found missing. report may be NULL.
 * Of one that is asked by a group's initiator: what that computed. */
bool exchange_baseline(const struct exchange *exchange, struct baseline *baseline,
                       struct baseline_report *report, struct error *err);

/* The side that is asked by a group's initiator: take what that computed from everybody's profiles,
 * if this host has promised all of it and it is what its user asked for. *given is used up if it is
 * kept; another one than before is proven anew. STATUS_INCOMPATIBLE, STATUS_PROTOCOL. */
bool exchange_give_baseline(struct exchange *exchange, struct baseline *given, struct error *err);

/* The baseline of devices of all profiles, and what was lost for it. report may be NULL.
 * STATUS_INCOMPATIBLE: the site policy here demands to know what is not known. */
bool exchange_devices(const struct exchange *exchange, struct device_baseline *baseline,
                      struct device_report *report, struct error *err);
/* Who of the hosts cannot give what is off in the agreement: as device_baseline_lacks. */
bool exchange_device_lacks(const struct exchange *exchange, struct device_report *report,
                           struct error *err);
/* The side that is asked by a group's initiator: what that computed of devices fits this host and
 * its site policy. STATUS_INCOMPATIBLE. */
bool exchange_check_devices(const struct exchange *exchange, const struct device_baseline *given,
                            struct error *err);

/* The proof, after all profiles. Start and finish that on this host; without a start, finish
 * starts it. The side that asks sends a body and takes the peer's table from the answer; the side
 * that is asked makes the answer from the body. STATUS_INCOMPATIBLE: a QEMU cannot give the CPU,
 * and it is not known which features to leave out. */
bool exchange_prove_start(struct exchange *exchange, struct error *err);
bool exchange_prove_finish(struct exchange *exchange, struct error *err);
/* Forget it: the CPU is another one now. */
void exchange_prove_again(struct exchange *exchange);
json_t *exchange_prove_body(struct exchange *exchange, struct error *err);
json_t *exchange_prove_answer(struct exchange *exchange, json_t *body, struct error *err);
bool exchange_take_table(struct exchange *exchange, struct exchange_peer *peer, json_t *body,
                         struct error *err);
/* Compare all tables. *settled: they are equal but for rows accepted by name; else what differs
 * is masked now, and another proof is needed. STATUS_PROOFS_DIFFER when masking does not help, or
 * not any more: what differs has been logged. */
bool exchange_settle(struct exchange *exchange, bool *settled, struct error *err);
/* The side that is asked: the proof in what the peer proposes is as this host's own. */
bool exchange_check_proof(struct exchange *exchange, const struct agreement_proof *proof,
                          struct error *err);

/* Compute the agreement from all profiles and requests; with two parties both get the same bytes
 * for the same `issued` (Unix seconds). */
bool exchange_agree(struct exchange *exchange, int64_t issued, struct error *err);
/* The side that is asked: make what the peer proposes (the payload of its envelope, without "key")
 * the agreement, if it is what this side computes, too; in a group, where it does not have all
 * profiles: if all of it that concerns this host is as this host has it. */
bool exchange_accept(struct exchange *exchange, json_t *payload, struct error *err);

/* {"exchange", MEMBER: value}: the body of propose and commit. value is used up. */
json_t *exchange_body(const struct exchange *exchange, const char *member, json_t *value,
                      struct error *err);
/* The one member of such a body (borrowed), of this exchange. */
bool exchange_take_body(const struct exchange *exchange, json_t *body, const char *member,
                        json_t **value, struct error *err);

/* The exchange id that any body names, or NULL. */
const char *exchange_body_id(const json_t *body);
/* The same, and it is this exchange's: else STATUS_PROTOCOL. */
bool exchange_check_id(const struct exchange *exchange, json_t *body, struct error *err);

#endif
