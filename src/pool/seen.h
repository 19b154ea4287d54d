/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What this host has seen in the pool before: STATE/pool/seen.json. The store may play an older
 * presence back, or leave a host out; this tells.
 *   {"version":1,"hosts":[{"pin":PIN,"host":NAME,"serial":N,"when":SECONDS}...]}
 */
#ifndef QML_POOL_SEEN_H
#define QML_POOL_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "peer/pin.h"

/* A host that was not there for so long is forgotten; its old words have long expired. */
#define SEEN_LIFETIME_S ((int64_t)30 * 24 * 3600)

struct seen_host {
    char pin[PIN_SIZE];
    char *host;
    int64_t serial;
    int64_t when; /* it was last read, Unix seconds */
};

struct seen {
    struct seen_host *hosts;
    size_t count;
};

void seen_free(struct seen *seen);
#define autoseen __attribute__((cleanup(seen_free)))

/* The host with that pin, or NULL. It belongs to seen. */
struct seen_host *seen_find(const struct seen *seen, const char *pin);
/* Note a host. False for want of memory. */
bool seen_note(struct seen *seen, const char *pin, const char *host, int64_t serial, int64_t when);

/* Hold the others off (from reading to writing), until the descriptor is closed: -1 with
 * STATUS_CANNOT_WRITE. */
int seen_lock(const char *state_folder, struct error *err);
/* Nothing there is nothing seen. STATUS_DATA, STATUS_CONFIG, STATUS_NOT_TRUSTED. */
bool seen_load(const char *state_folder, struct seen *seen, struct error *err);
/* Write it, without what is older than SEEN_LIFETIME_S at `now`. STATUS_CANNOT_WRITE. */
bool seen_store(const char *state_folder, const struct seen *seen, int64_t now, struct error *err);

#endif
