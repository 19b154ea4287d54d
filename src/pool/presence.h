/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A host's presence: a signed statement that it is there, and where to ask it for the rest. The
 * payload is
 *   {"version":1,"key":SPKI,"host":NAME,"address":HOST or "","port":1..65535,"issued":SECONDS,
 *    "expires":SECONDS,"serial":N,"accels":[NAME...],"qemu":[VERSION...]}
 */
#ifndef QML_POOL_PRESENCE_H
#define QML_POOL_PRESENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strings.h"
#include "peer/identity.h"

#define PRESENCE_TYPE "qemu-migrate-launch-presence+json"
#define PRESENCE_VERSION 1
#define PRESENCE_SIZE_MAX ((size_t)4096)
#define PRESENCE_NAMES_MAX 16
/* How long one counts, whatever the store does: clocks may be minutes apart. */
#define PRESENCE_LIFETIME_S ((int64_t)600)
/* How far in the future `issued` may lie. */
#define PRESENCE_TOLERANCE_S ((int64_t)300)

struct presence {
    char *host;
    char *address; /* host name or literal, no brackets; "": as the reader's trust entry says */
    uint16_t port;
    int64_t issued;  /* Unix seconds */
    int64_t expires; /* Unix seconds */
    int64_t serial;  /* rises with every statement of the host */
    struct strlist accels;
    struct strlist qemu; /* versions */
    char pin[PIN_SIZE];  /* who signed it; not in the payload */
};

void presence_free(struct presence *presence);
#define autopresence __attribute__((cleanup(presence_free)))

/* The signed text, for the caller to free; NULL with STATUS_INTERNAL, also for more than
 * PRESENCE_SIZE_MAX bytes or what presence_open would refuse. presence->pin is not looked at. */
char *presence_sign(const struct presence *presence, const struct identity *identity,
                    struct error *err);

/* Read one; who signed it is in *presence, and whether that pin is trusted is the caller's
 * business. STATUS_DATA: malformed, badly signed, of another version. */
bool presence_open(const char *text, size_t length, struct presence *presence, struct error *err);

/* It counts at `now` (Unix seconds). STATUS_NOT_TRUSTED with both clocks. */
bool presence_check(const struct presence *presence, int64_t now, struct error *err);

#endif
