/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The agreement: one CPU and machine type for one VM, signed by every party, kept for life.
 */
#ifndef QML_VM_AGREEMENT_H
#define QML_VM_AGREEMENT_H

#include "base/digest.h"
#include "cpu/render.h"
#include "device/device_baseline.h"
#include "guest/records.h"
#include "peer/envelope.h"
#include "peer/identity.h"

#define AGREEMENT_TYPE "qemu-migrate-launch-agreement+json"
#define APPROVAL_TYPE "qemu-migrate-launch-approval+json"
#define AGREEMENT_VERSION 3                    /* 2 is read, too: it says nothing of devices */
#define AGREEMENT_SIZE_MAX ((size_t)376 << 10) /* fits a message, in base64 */
#define NONCE_SIZE 65                          /* 64 hexadecimal digits and a NUL */

/* What a party is at the launch: it starts the guest, or waits for it, or neither: it promises that
 * the guest can come to it later. */
enum vm_role { ROLE_SOURCE, ROLE_DESTINATION, ROLE_PARTY };

const char *vm_role_name(enum vm_role role);
bool vm_role_parse(const char *name, enum vm_role *role);

/* One who promises. */
struct agreement_party {
    char *host;
    char pin[PIN_SIZE];
    char nonce[NONCE_SIZE];        /* fresh: the approval is of now */
    char profile[DIGEST_HEX_SIZE]; /* of its signed profile's payload */
    char table[DIGEST_HEX_SIZE];   /* of the guest CPU table that it saw; "" without a proof */
    enum vm_role role;             /* at this launch */
    struct cpu_request request;
};

/* A host whose signed profile was taken into account without asking it: it has promised nothing,
 * and has to prove before the guest may come to it. */
struct agreement_assumed {
    char *host;
    char pin[PIN_SIZE];
    char profile[DIGEST_HEX_SIZE];
};

#define PARTIES_MAX 250
#define ACCEPTED_ROWS_MAX 64

/* What a guest really sees under an agreement. */
struct agreement_proof {
    bool made;                /* false: left out by --no-proof */
    struct guest_table table; /* as the signer saw it; the other parties' differ at most in rows
                                 that differ by nature or were accepted */
    struct strlist accepted;  /* rows that may differ, by the names of --accept-row; sorted */
    struct featureset masked; /* off, since a guest did not see them on every party */
};

struct agreement {
    char *vm;
    char *machine;        /* versioned type */
    char *kernel_irqchip; /* "" when nobody gave it */
    bool cpu_pm;
    enum cpu_form form; /* the same on all: what no form fixes, like the caches, follows from it */
    int64_t issued;     /* Unix seconds */
    struct agreement_party *parties; /* sorted by pin */
    size_t party_count;
    struct agreement_assumed *assumed; /* sorted by pin; none of them is a party */
    size_t assumed_count;
    struct baseline baseline;
    struct device_baseline devices;
    struct agreement_proof proof;
};

void agreement_free(struct agreement *agreement);
#define autoagreement __attribute__((cleanup(agreement_free)))

/* The payload to sign: the same content gives the same bytes. NULL for want of memory. */
json_t *agreement_to_json(const struct agreement *agreement);
/* Is it a version of agreements and approvals that is read here? */
bool agreement_reads_version(int64_t version);
/* STATUS_DATA: malformed, or of another version. */
bool agreement_from_json(json_t *payload, struct agreement *agreement, struct error *err);

/* The party with that pin, or NULL. */
const struct agreement_party *agreement_find_party(const struct agreement *agreement,
                                                   const char *pin);

void agreement_proof_free(struct agreement_proof *proof);
/* {"table","accepted","masked"}, or null if none was made; NULL for want of memory. */
json_t *agreement_proof_to_json(const struct agreement_proof *proof);
bool agreement_proof_from_json(json_t *json, struct agreement_proof *proof, struct error *err);

/* An approval of the agreement with that digest by `identity` for its own nonce: an envelope's
 * text, which the caller frees; NULL with STATUS_INTERNAL. */
char *approval_make(const struct identity *identity, const char *vm, const char *digest,
                    const char *nonce, struct error *err);
/* text is an approval of exactly this agreement by a party of it other than the signer of the
 * agreement; *pin gets whose. STATUS_DATA, STATUS_NOT_TRUSTED. */
bool approval_check(const char *text, const struct agreement *agreement, const char *digest,
                    char pin[PIN_SIZE], struct error *err);

/* The document that is kept: {"version","agreement":ENVELOPE,"approvals":[ENVELOPE…]}. Texts of
 * envelopes; a new reference; NULL with STATUS_INTERNAL. */
json_t *agreement_document(const char *agreement_text, const struct strlist *approvals,
                           struct error *err);
/* Check a document: signed by one party, approved by all others, each exactly once. digest may be
 * NULL. Whether these parties are trusted is the caller's business. STATUS_DATA,
 * STATUS_NOT_TRUSTED (a party has not approved). */
bool agreement_document_open(json_t *document, struct agreement *agreement,
                             char digest[DIGEST_HEX_SIZE], struct error *err);
/* The same, and who proposed it, by the signature of the agreement in it. pin may be NULL. */
bool agreement_document_open_by(json_t *document, struct agreement *agreement,
                                char digest[DIGEST_HEX_SIZE], char pin[PIN_SIZE],
                                struct error *err);

/* STATE/agreements/VM.json; synced to disk when it returns true. STATUS_CANNOT_WRITE. */
bool agreement_store(const char *state_folder, const char *vm, json_t *document, struct error *err);
/* *document = NULL and true when there is none. STATUS_DATA, STATUS_CONFIG. */
bool agreement_load(const char *state_folder, const char *vm, json_t **document, struct error *err);

/* Whether something new may be kept about vm for a peer's sake: there is something already, or
 * fewer than AGREEMENTS_MAX files are there. Else a peer could fill the disk, with names of VMs
 * that there are none of. STATUS_CANNOT_WRITE. */
#define AGREEMENTS_MAX 4096
bool agreement_check_room(const char *state_folder, const char *vm, struct error *err);

/* Proposed and approved, not yet signed by all: STATE/agreements/VM.pending, the proposer's
 * envelope. */
bool agreement_store_pending(const char *state_folder, const char *vm, const char *text,
                             struct error *err);
/* What is pending; digest "" when there is nothing, or nothing that can be read. */
struct agreement_pending {
    char digest[DIGEST_HEX_SIZE];
    char pin[PIN_SIZE]; /* of who proposed it */
    int64_t issued;     /* Unix seconds, by its clock */
    int64_t stored;     /* by the clock here */
};
void agreement_load_pending(const char *state_folder, const char *vm,
                            struct agreement_pending *pending);
/* How long it counts. */
#define PENDING_LIFE_S 3600
void agreement_forget_pending(const char *state_folder, const char *vm);

/* The proposer's side: signed by all, and not yet acknowledged by all:
 * STATE/agreements/VM.committing. agreement_store ends that. */
bool agreement_store_committing(const char *state_folder, const char *vm, json_t *document,
                                struct error *err);
/* All have acknowledged it: it is the agreement, as agreement_store would make it.
 * STATUS_CANNOT_WRITE. */
bool agreement_keep_committing(const char *state_folder, const char *vm, struct error *err);
/* *document = NULL and true when there is none. STATUS_DATA, STATUS_CONFIG. */
bool agreement_load_committing(const char *state_folder, const char *vm, json_t **document,
                               struct error *err);
void agreement_forget_committing(const char *state_folder, const char *vm);

#endif
