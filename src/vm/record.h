/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The record of where a VM is, as this host knows it: STATE/vms/VM.json under a lock. It keeps a VM
 * from being started twice.
 */
#ifndef QML_VM_RECORD_H
#define QML_VM_RECORD_H

#include "base/paths.h"
#include "vm/agreement.h"
#include "vm/arglist.h"
#include "vm/proof_arguments.h"
#include "vm/visible.h"

enum vm_place {
    PLACE_HERE,     /* its QEMU was started here */
    PLACE_INCOMING, /* a QEMU was started here to wait for it; whether it came is not recorded */
    PLACE_MOVING,   /* a migration away from here is under way */
    PLACE_TOLD,  /* source: the peer was told, or may have been told, to run it, and this host may
                  * not any more; destination: this host was told to, and may have begun */
    PLACE_MOVED, /* it runs elsewhere now */
    PLACE_ELSEWHERE, /* it was agreed with this host and never was here; `peer` is where it lives */
};

#define MIGRATION_ID_SIZE 33 /* 32 hexadecimal digits and a NUL */

/* The migration that is under way, or was the last one. */
struct vm_migration {
    char id[MIGRATION_ID_SIZE]; /* "": there was none */
    char *host;                 /* where the guardian is: address and port */
    uint16_t port;
    bool run;         /* the guest ran before it: it is to run at the destination */
    bool keep_source; /* by --keep-source */
    bool direct;      /* by --direct */
    bool postcopy;    /* by --postcopy */
    json_t *undo;     /* how QEMU here was set before (migration/settings.h); NULL: not known */
};

struct vm_record {
    char *vm;
    enum vm_place place;
    enum vm_role role;
    int64_t pid;      /* of QEMU */
    uint64_t started; /* its start time, clock ticks since boot (proc(5), stat field 22) */
    char boot_id[37];
    char *socket; /* QMP socket for commands */
    char agreement[DIGEST_HEX_SIZE];
    char *peer;         /* the other party's name */
    char *peer_host;    /* the address under which it was reached, "" if not known */
    uint16_t peer_port; /* of its guardian, or QEMU's -incoming; 0 if it has none that we know */
    bool guarded;       /* the destination of the two has a guardian */
    char *guardian_address; /* this host's own guardian listens there, "": on all */
    uint16_t guardian_port; /* of this host's own guardian; 0: it has none */
    struct vm_migration migration;
    char *qemu; /* the binary's path */
    /* With what it was proven here; machine is NULL without a proof. */
    struct proof_arguments arguments;
    struct strlist argv; /* QEMU's arguments as the user wrote them, from argv[0] on; empty: not
                          * known */
    struct visible_list visible; /* what a guest saw of these when QEMU was started, files included;
                                  * version 0: not known */
};

/* As it stands in the record: "here", "incoming", "moving", "told", "moved" … */
const char *vm_place_name(enum vm_place place);

/* 32 lower-case hexadecimal digits. */
bool migration_id_is_good(const char *id);

/* Make it empty, as when there was none. */
void vm_migration_free(struct vm_migration *migration);

void vm_record_free(struct vm_record *record);
#define autovmrecord __attribute__((cleanup(vm_record_free)))

/* The lock on a VM's record, for as long as a launch or migration lasts; a descriptor to close. -1
 * with STATUS_DECISION when another command holds it, or STATUS_CANNOT_WRITE. */
int vm_record_lock(const struct paths *paths, const char *vm, struct error *err);
/* The same for a command: the agent and the guardian hold it for moments, which are waited for. */
int vm_record_lock_soon(const struct paths *paths, const char *vm, struct error *err);

/* Read it; record->vm is NULL when there is none. STATUS_DATA when it is damaged. */
bool vm_record_load(const struct paths *paths, const char *vm, struct vm_record *record,
                    struct error *err);
bool vm_record_store(const struct paths *paths, const struct vm_record *record, struct error *err);

enum vm_life {
    LIFE_ENDED,
    LIFE_RUNS,
    LIFE_UNKNOWN, /* for want of descriptors, say, it cannot be found out now */
};

/* The QEMU of the record still runs: same boot, same pid, same start time. With -daemonize that pid
 * was QEMU's launcher's: then who listens on the record's socket counts, and pid and start time
 * become its. */
enum vm_life vm_record_look(struct vm_record *record);
/* It runs, or that cannot be ruled out: for whoever would start it, or take it for lost. */
bool vm_record_is_running(struct vm_record *record);
/* For whoever would end it, or wait for its end: the process into *pidfd, for the caller to close,
 * if it certainly runs; else -1. */
enum vm_life vm_record_open_process(struct vm_record *record, int *pidfd);

/* The VM may be started here: it does not run here, is not moving and, unless `incoming` (then it
 * comes here) or `take_back`, has not moved away. STATUS_DECISION that says where it is. */
bool vm_record_check_launch(struct vm_record *record, bool incoming, bool take_back,
                            struct error *err);

/* This process's pid, start time and boot id into the record. */
bool vm_record_set_self(struct vm_record *record, struct error *err);
/* The same of another process. STATUS_CONFIG if it has ended, STATUS_INTERNAL if that
 * cannot be found out. */
bool vm_record_set_process(struct vm_record *record, pid_t pid, struct error *err);

/* The user's QEMU command line into the record; one that is too long for it (argv_json.h) is left
 * out, with a warning. */
bool vm_record_set_argv(struct vm_record *record, const struct arglist *arguments,
                        struct error *err);
/* What a guest sees of it, a copy. */
bool vm_record_set_visible(struct vm_record *record, const struct visible_list *visible,
                           struct error *err);

/* Make *record, which may be empty, one of a VM that lives on `peer` (a trust entry's name) under
 * the agreement with that digest: PLACE_ELSEWHERE. qemu, arguments and argv stay what they were. */
bool vm_record_set_elsewhere(struct vm_record *record, const char *vm, const char *digest,
                             const char *peer, struct error *err);

#endif
