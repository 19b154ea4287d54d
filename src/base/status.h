/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The exit statuses of the program: part of its contract with scripts. A value, once given a
 * meaning, keeps it. Values from 64 on are those of sysexits.h.
 */
#ifndef QML_BASE_STATUS_H
#define QML_BASE_STATUS_H

enum status {
    STATUS_OK = 0,
    STATUS_INCOMPATIBLE = 10,  /* no agreement is possible: what and who is said */
    STATUS_PROOFS_DIFFER = 11, /* the guests would not see the same CPU */
    STATUS_DRIFT = 12,         /* a host can no longer honour what it signed */
    STATUS_MIGRATION = 13,     /* migration failed, the guest runs on at the source */
    STATUS_DECISION = 14,      /* the VM is elsewhere or paused: a person must decide */
    STATUS_USAGE = 64,         /* the command line is wrong */
    STATUS_DATA = 65,          /* malformed or badly signed data */
    STATUS_UNAVAILABLE = 69,   /* a peer cannot be reached, or not in time */
    STATUS_INTERNAL = 70,      /* our own fault, or out of memory */
    STATUS_CANNOT_WRITE = 73,  /* a file or folder cannot be written */
    STATUS_PROTOCOL = 76,      /* a peer does not follow the protocol */
    STATUS_NOT_TRUSTED = 77,   /* a peer, key or signature is not trusted */
    STATUS_CONFIG = 78,        /* configuration, identity or QEMU itself is unusable */
    STATUS_INTERRUPTED = 130   /* Ctrl-C before anything was decided */
};

#endif
