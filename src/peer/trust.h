/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whom this host trusts: one file a peer, CONFIG/trust.d/NAME.json:
 *   {"version":1,"name":NAME,"pins":[PIN(,PIN)],"address":"HOST[:PORT]"?,"expires":SECONDS?}
 * A second pin is there so that a peer can change its key: add the new one, change, remove.
 * Or one file for all that an authority vouches for, which is an entry for each of the names:
 *   {"version":1,"name":NAME,"ca":FILE,"names":[NAME...],"addresses":{NAME:ADDRESS}?,"expires"?}
 */
#ifndef QML_PEER_TRUST_H
#define QML_PEER_TRUST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/error.h"
#include "base/strings.h"
#include "peer/authority.h"
#include "peer/pin.h"

#define TRUST_PINS_MAX 2
#define TRUST_NEVER INT64_MAX
#define TRUST_AUTHORITIES "AUTHORITIES in qemu-migrate-launch-trust(1)"

struct trust_entry {
    char *name; /* as name_is_vm() */
    char pins[TRUST_PINS_MAX][PIN_SIZE];
    size_t pin_count;
    char *host;      /* no brackets; NULL: no address is known */
    uint16_t port;   /* 0: the default port */
    int64_t expires; /* Unix seconds; TRUST_NEVER */
    /* Not NULL: the pin, if there is one, is that of `certificate`, the last one that it has
     * vouched for, and expires with it. */
    struct authority *authority;
    X509 *certificate;
};

struct trust {
    struct trust_entry *entries; /* sorted by name */
    size_t count;
};

/* Read all entries; no folder is no entries. STATUS_CONFIG: a bad file (named), the same pin twice
 * (both entries named); STATUS_NOT_TRUSTED: a file or the folder that others can change. */
bool trust_load(const char *config_folder, struct trust *trust, struct error *err);

/* Each entry for itself: those that are bad are left out, and for each of them its name and what is
 * wrong are added to *complaints, two items; of two that have the same pin, the second. Errors are
 * those of the folder. */
bool trust_load_readable(const char *config_folder, struct trust *trust, struct strlist *complaints,
                         struct error *err);

/* For who runs for long: when something in trust.d has changed since *seen (0: it was never looked
 * at), read all entries as they are now, each for itself, into *trust, whose old ones are freed,
 * and return true. What cannot be read is told in the log, and not trusted. For want of memory
 * nobody is until the next look. */
bool trust_follow(const char *config_folder, uint64_t *seen, struct trust *trust);

/* Trust pin under name until expires (Unix seconds or TRUST_NEVER). An entry of that name gets the
 * new expiry, the address if one is given ("HOST[:PORT]" or NULL), and the pin as a second one if
 * it is not there yet. STATUS_USAGE: name, pin, address or expiry is malformed;
 * STATUS_CANNOT_WRITE: it has two pins already, or the file cannot be written; STATUS_CONFIG: the
 * pin is trusted under another name; and what trust_load reports. */
bool trust_add(const char *config_folder, const char *name, const char *pin, const char *address,
               int64_t expires, struct error *err);

/* Forget an entry, also one that cannot be read. STATUS_USAGE: not a name; STATUS_CONFIG: there is
 * none; STATUS_CANNOT_WRITE. */
bool trust_remove(const char *config_folder, const char *name, struct error *err);

/* The entry of that name, else the only one with that address: HOST, HOST:PORT, [V6], [V6]:PORT or
 * V6. A port that is given must be the entry's, if that has one. NULL: none, or more than one.
 * The result belongs to trust. */
const struct trust_entry *trust_find(const struct trust *trust, const char *name_or_address);

/* The entry with that pin, expired or not; NULL if none. It belongs to trust. */
const struct trust_entry *trust_find_pin(const struct trust *trust, const char *pin);

/* Whether one of the entry's pins is pin. */
bool trust_entry_has_pin(const struct trust_entry *entry, const char *pin);

/* Whether the entry no longer counts at `now`. */
bool trust_entry_is_expired(const struct trust_entry *entry, time_t now);

/* Whether the entry's authority vouches for the certificate, as that of a TLS server or else
 * client; its pin is the entry's then. Only for an entry that has one. */
enum vouch trust_vouch_entry(const struct trust_entry *entry, X509 *certificate, bool server);
/* The same for a client's, by the one entry whose name it has, which is *entry then; one with the
 * names of several is VOUCH_NAME. */
enum vouch trust_vouch(const struct trust *trust, X509 *certificate,
                       const struct trust_entry **entry);

/* Take what authorities have vouched for in this process, and that still are the same, over from an
 * older reading of the files. */
void trust_carry(struct trust *fresh, const struct trust *old);
/* Keep the certificates that authorities have vouched for, CONFIG/trust.d/NAME.crt, for later
 * processes: what a host has signed is known to be its own by that. A failure is a warning. */
void trust_keep(const char *config_folder, const struct trust *trust);

void trust_free(struct trust *trust);
#define autotrust __attribute__((cleanup(trust_free)))

#endif
