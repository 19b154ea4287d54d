/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The profiles in an exchange: this host's as it is sent, those of the peers, and stored ones.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "vm/exchange.h"

json_t *exchange_profile_body(struct exchange *exchange, bool whole, bool wanted, struct error *err)
{
    if (exchange->step < STEP_HELLO) {
        error_set(err, STATUS_PROTOCOL, "a message out of order");
        return NULL;
    }
    bool good = true;
    if (!exchange_take_prepared(exchange, &good, err) && !exchange->profile_payload)
        good = exchange_make_profile(exchange, err);
    if (!good)
        return NULL;
    const char *text = exchange->profile_text;
    json_t *profile = whole || exchange->profile_is_new
                          ? json_parse_strict(text, strlen(text), PROFILE_SIZE_MAX * 2, err)
                          : json_string(exchange->profile_digest);
    json_t *body = json_pack("{s:s, s:s, s:o, s:o, s:b}", "exchange", exchange->id, "machine",
                             exchange->machine, "profile", profile, "request",
                             cpu_request_to_json(&exchange->request), "whole", (int)wanted);
    if (!body)
        error_no_memory(err);
    return body;
}

json_t *exchange_unknown_body(const struct exchange *exchange, struct error *err)
{
    return exchange_body(exchange, "unknown", json_true(), err);
}

char *exchange_stored_path(const struct paths *paths, const char *name, struct error *err)
{
    autofree char *folder = path_join(paths->state, "profiles", "");
    char *path = folder ? path_join(folder, name, ".json") : NULL;
    if (!path) {
        error_no_memory(err);
        return NULL;
    }
    if (folder_make(folder, 0700, err))
        return path;
    free(path);
    return NULL;
}

bool exchange_stored_profile(const struct paths *paths, const char *entry_name, char **text,
                             struct error *err)
{
    autofree char *path = exchange_stored_path(paths, entry_name, err);
    size_t length;
    return path && file_read_trusted(path, PROFILE_SIZE_MAX * 2, true, text, &length, err);
}

/* A profile older than the last one that was seen is played back: refused. */
static bool check_serial(const struct exchange *exchange, const char *name, const char *pin,
                         const char *last, const struct profile *profile, struct error *err)
{
    autoenvelope struct envelope envelope = {0};
    autoprofile struct profile known = {0};
    if (envelope_open(last, strlen(last), PROFILE_SIZE_MAX * 2, PROFILE_TYPE, &envelope, NULL) &&
        strcmp(envelope.pin, pin) == 0 && profile_read(envelope.payload, &known, NULL) &&
        profile->serial < known.serial)
        return error_set(err, STATUS_NOT_TRUSTED,
                         "the profile of %s is an old one (serial %lld, %lld has been seen): it is "
                         "not used; if %s has lost its state folder, remove %s/profiles/%s.json on "
                         "%s",
                         name, (long long)profile->serial, (long long)known.serial, name,
                         exchange->self->paths->state, name, exchange->self->config->host_name);
    return true;
}

/* Not older than the last one; `keep`: from now on it is the last. */
static bool check_last(const struct exchange *exchange, const char *name, const char *pin,
                       const char *text, const struct profile *profile, bool keep,
                       struct error *err)
{
    autofree char *last = NULL;
    if (!exchange_stored_profile(exchange->self->paths, name, &last, err))
        return false;
    if (last && strcmp(last, text) == 0)
        return true;
    if (last && !check_serial(exchange, name, pin, last, profile, err))
        return false;
    autofree char *path = keep ? exchange_stored_path(exchange->self->paths, name, err) : NULL;
    return !keep || (path && file_write_atomic(path, text, strlen(text), 0600, err));
}

/* The profile in an envelope that is by that pin and counts now. what: whose, for messages. */
static bool read_signed(const struct envelope *envelope, const char *pin, const char *what,
                        struct profile *profile, struct error *err)
{
    if (strcmp(envelope->pin, pin) != 0)
        return error_set(err, STATUS_NOT_TRUSTED, "%s is signed by another key", what);
    if (!profile_read(envelope->payload, profile, err) || !profile_check(profile, time(NULL), err))
        return error_wrap(err, "%s", what);
    return !profile->imported ||
           error_set(err, STATUS_NOT_TRUSTED,
                     "%s is made of recorded replies: it is for planning only", what);
}

static bool open_text(const char *text, const char *what, struct envelope *envelope,
                      struct error *err)
{
    return envelope_open(text, strlen(text), PROFILE_SIZE_MAX * 2, PROFILE_TYPE, envelope, err) ||
           error_wrap(err, "%s", what);
}

static bool check_parameters(const struct exchange *exchange, const struct profile *profile,
                             const char *machine, const char *what, struct error *err)
{
    if (strcmp(profile->machine, machine) == 0 &&
        strcmp(profile->offer.accel, exchange->accel) == 0 && profile->cpu_pm == exchange->cpu_pm &&
        strcmp(profile->kernel_irqchip, exchange->kernel_irqchip) == 0)
        return true;
    return error_set(err, STATUS_PROTOCOL,
                     "%s is for %s under %s with other settings than %s under %s", what,
                     profile->machine, profile->offer.accel, machine, exchange->accel);
}

/* The one that is asked: the type that was chosen for all is one that this side can have, too. */
static bool take_machine(struct exchange *exchange, const struct exchange_peer *peer,
                         const char *machine, struct error *err)
{
    const struct exchange_self *self = exchange->self;
    const struct machine_wish wishes[] = {
        {self->config->host_name, self->role == ROLE_PARTY ? machine : self->machine,
         &self->qemu->machines, self->qemu->version, false},
        {peer->host, machine, &peer->machines, peer->qemu_version, false},
    };
    if (!name_is_machine(machine))
        return error_set(err, STATUS_DATA, "'%.80s' is not a machine type", machine);
    exchange->machine = machine_choose(wishes, 2, err);
    if (!exchange->machine)
        return false;
    return strcmp(exchange->machine, machine) == 0 ||
           error_set(err, STATUS_PROTOCOL, "%s asks for %s, which stands for %s here", peer->name,
                     machine, exchange->machine);
}

/* One without a command line wants what the asker wants. */
static bool take_request(struct exchange *exchange, struct exchange_peer *peer, json_t *json,
                         struct error *err)
{
    autocpurequest struct cpu_request request = {0};
    if (!cpu_request_from_json(json, &request, err))
        return error_wrap(err, "the profile of %s", peer->name);
    if (exchange->self->role == ROLE_PARTY) {
        cpu_request_free(&exchange->request);
        exchange->request = (struct cpu_request){0};
        if (!cpu_request_copy(&request, &exchange->request, err))
            return false;
    }
    if (peer->role == ROLE_PARTY) {
        autojson json_t *ours = cpu_request_to_json(&exchange->request);
        if (!ours || !json_equal(ours, json))
            return error_set(err, STATUS_PROTOCOL,
                             "%s has another wish for the CPU than the one it was told",
                             peer->name);
    }
    cpu_request_free(&peer->request);
    peer->request = request;
    request = (struct cpu_request){0};
    return true;
}

/* What it sent, or what it named; *text, which the caller frees, only of what it sent. */
static bool open_sent(const struct exchange *exchange, struct exchange_peer *peer, json_t *sent,
                      const char *what, struct envelope *envelope, char **text, struct error *err)
{
    const char *digest = json_string_value(sent);
    if (digest && !digest_is_hex(digest))
        return error_set(err, STATUS_DATA, "%s: not a digest", what);
    if (!digest && !json_is_object(sent))
        return error_set(err, STATUS_DATA, "%s is not an object", what);
    peer->is_unknown = digest && !exchange_find_last(exchange, peer, digest, envelope);
    if (digest)
        return true;
    *text = json_to_text(sent);
    return *text ? open_text(*text, what, envelope, err) : error_no_memory(err);
}

/* All that there is to be checked of a profile; then it is the peer's. text: it is the last one
 * from now on; NULL: it was before. */
static bool take_signed(struct exchange *exchange, struct exchange_peer *peer,
                        const struct envelope *envelope, const char *text, json_t *request,
                        const char *what, struct error *err)
{
    autoprofile struct profile profile = {0};
    if (!read_signed(envelope, peer->pin, what, &profile, err))
        return false;
    if (strcmp(profile.offer.host, peer->host) != 0)
        return error_set(err, STATUS_PROTOCOL, "%s is of host %s, not %s", what, profile.offer.host,
                         peer->host);
    if (!check_parameters(exchange, &profile, exchange->machine, what, err) ||
        !take_request(exchange, peer, request, err) ||
        (text && !check_last(exchange, peer->name, peer->pin, text, &profile, true, err)))
        return false;
    peer->profile = profile;
    profile = (struct profile){0};
    memcpy(peer->profile_digest, envelope->digest, DIGEST_HEX_SIZE);
    peer->has_profile = true;
    return true;
}

/* Asked once more by one whose profile is there already, and who wants this side's whole. */
static bool is_asked_again(const struct exchange *exchange, const struct exchange_peer *peer,
                           const json_t *sent, bool whole)
{
    const char *digest = json_string_value(sent);
    return !exchange->proposing && whole && exchange->step == STEP_PROFILE && digest &&
           strcmp(digest, peer->profile_digest) == 0;
}

bool exchange_take_profile(struct exchange *exchange, struct exchange_peer *peer, json_t *body,
                           struct error *err)
{
    const char *id, *machine;
    json_t *sent, *request;
    int whole;
    if (!exchange_check_id(exchange, body, err))
        return false;
    if (exchange->proposing && exchange->step == STEP_HELLO && !peer->has_profile &&
        json_object_get(body, "unknown")) {
        peer->wants_whole = true;
        return exchange_take_body(exchange, body, "unknown", &sent, err);
    }
    if (!json_take(body, err, "profile", "{s:s, s:s, s:o, s:o, s:b}", "exchange", &id, "machine",
                   &machine, "profile", &sent, "request", &request, "whole", &whole))
        return false;
    if (peer->has_profile && is_asked_again(exchange, peer, sent, whole))
        return true;
    if (exchange->step != STEP_HELLO || peer->has_profile)
        return error_set(err, STATUS_PROTOCOL, "a message out of order");
    if (!exchange->machine && !take_machine(exchange, peer, machine, err))
        return false;
    autoenvelope struct envelope envelope = {0};
    autofree char *text = NULL;
    autofree char *what = string_format("the profile that %s sent", peer->name);
    if (!what)
        return error_no_memory(err);
    if (!open_sent(exchange, peer, sent, what, &envelope, &text, err))
        return false;
    if (peer->is_unknown)
        return true;
    if (!take_signed(exchange, peer, &envelope, text, request, what, err))
        return false;
    for (size_t i = 0; i < exchange->peer_count; i++)
        if (!exchange->peers[i].has_profile)
            return true;
    exchange->step = STEP_PROFILE;
    return true;
}

bool exchange_assume(struct exchange *exchange, const char *text, const struct trust_entry *entry,
                     const char *what, struct error *err)
{
    struct exchange_assumed made = {0};
    autoenvelope struct envelope envelope = {0};
    if (!open_text(text, what, &envelope, err))
        return false;
    if (!trust_entry_has_pin(entry, envelope.pin) || trust_entry_is_expired(entry, time(NULL)))
        return error_set(err, STATUS_NOT_TRUSTED, "%s is not by a key of %s that is trusted now",
                         what, entry->name);
    memcpy(made.pin, envelope.pin, PIN_SIZE);
    struct exchange_assumed *assumed =
        realloc(exchange->assumed, (exchange->assumed_count + 1) * sizeof(*assumed));
    if (!assumed)
        return error_no_memory(err);
    exchange->assumed = assumed;
    memcpy(made.digest, envelope.digest, DIGEST_HEX_SIZE);
    if (!read_signed(&envelope, made.pin, what, &made.profile, err) ||
        !check_last(exchange, entry->name, made.pin, text, &made.profile, false, err)) {
        profile_free(&made.profile);
        return false;
    }
    assumed[exchange->assumed_count++] = made;
    const char *host = made.profile.offer.host;
    bool twice = strcmp(host, exchange->self->config->host_name) == 0;
    for (size_t i = 0; i + 1 < exchange->assumed_count; i++)
        twice = twice || strcmp(assumed[i].profile.offer.host, host) == 0;
    for (size_t i = 0; i < exchange->peer_count; i++)
        twice = twice || (exchange->peers[i].host && strcmp(exchange->peers[i].host, host) == 0);
    return !twice || error_set(err, STATUS_INCOMPATIBLE, "%s: %s is a party already", what, host);
}

bool exchange_check_assumed(const struct exchange *exchange, struct error *err)
{
    for (size_t i = 0; i < exchange->assumed_count; i++) {
        const struct profile *profile = &exchange->assumed[i].profile;
        autofree char *what = string_format("the stored profile of %s", profile->offer.host);
        if (!what)
            return error_no_memory(err);
        if (!check_parameters(exchange, profile, exchange->machine, what, err)) {
            err->status = STATUS_INCOMPATIBLE;
            return error_wrap(err, "make a new one there (profile --machine %s --accel %s)",
                              exchange->machine, exchange->accel);
        }
    }
    return true;
}
