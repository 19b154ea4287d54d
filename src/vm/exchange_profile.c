/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The profiles in an exchange: this host's, those of the peers, and stored ones.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "vm/exchange.h"

static bool make_profile(struct exchange *exchange, struct error *err)
{
    const struct exchange_self *self = exchange->self;
    struct probe_parameters parameters = {
        .machine = exchange->machine,
        .accel = exchange->accel,
        .kernel_irqchip = *exchange->kernel_irqchip ? exchange->kernel_irqchip : NULL,
        .cpu_pm = exchange->cpu_pm};
    autofree char *text = NULL;
    autojson json_t *payload = profile_make(self->config, self->paths->state, self->qemu,
                                            &parameters, &exchange->request.model, err);
    if (!payload || !profile_read(payload, &exchange->profile, err) ||
        !envelope_sign_digest(self->identity, PROFILE_TYPE, payload, &text,
                              exchange->profile_digest, err) ||
        !profile_digest_host(payload, exchange->host_digest, err))
        return false;
    if (self->role != ROLE_PARTY &&
        !cpu_request_check_names(&exchange->request, &exchange->profile.offer.known, err))
        return false;
    exchange->profile_payload = STEAL(payload);
    exchange->profile_envelope = json_parse_strict(text, strlen(text), SIZE_MAX, err);
    return exchange->profile_envelope != NULL;
}

json_t *exchange_profile_body(struct exchange *exchange, struct error *err)
{
    if (exchange->step < STEP_HELLO) {
        error_set(err, STATUS_PROTOCOL, "a message out of order");
        return NULL;
    }
    if (!exchange->profile_envelope && !make_profile(exchange, err))
        return NULL;
    json_t *body = json_pack("{s:s, s:s, s:O, s:o}", "exchange", exchange->id, "machine",
                             exchange->machine, "profile", exchange->profile_envelope, "request",
                             cpu_request_to_json(&exchange->request));
    if (!body)
        error_no_memory(err);
    return body;
}

static char *stored_path(const struct paths *paths, const char *name, struct error *err)
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
    autofree char *path = stored_path(paths, entry_name, err);
    size_t length;
    return path && file_read_trusted(path, PROFILE_SIZE_MAX * 2, true, text, &length, err);
}

/* A profile older than one that was seen is played back: refused. */
static bool check_serial(const struct exchange *exchange, const char *name, const char *pin,
                         const struct profile *profile, struct error *err)
{
    autofree char *last = NULL;
    if (!exchange_stored_profile(exchange->self->paths, name, &last, err))
        return false;
    autoenvelope struct envelope envelope = {0};
    autoprofile struct profile known = {0};
    if (last &&
        envelope_open(last, strlen(last), PROFILE_SIZE_MAX * 2, PROFILE_TYPE, &envelope, NULL) &&
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

static bool keep_profile(const struct exchange *exchange, const char *name, const char *text,
                         struct error *err)
{
    autofree char *path = stored_path(exchange->self->paths, name, err);
    return path && file_write_atomic(path, text, strlen(text), 0600, err);
}

/* A signed profile of that pin that counts now. what: whose, for messages. */
static bool open_profile(const struct exchange *exchange, const char *text, const char *name,
                         const char *pin, const char *what, char digest[DIGEST_HEX_SIZE],
                         struct profile *profile, struct error *err)
{
    autoenvelope struct envelope envelope = {0};
    if (!envelope_open(text, strlen(text), PROFILE_SIZE_MAX * 2, PROFILE_TYPE, &envelope, err))
        return error_wrap(err, "%s", what);
    if (strcmp(envelope.pin, pin) != 0)
        return error_set(err, STATUS_NOT_TRUSTED, "%s is signed by another key", what);
    if (!profile_read(envelope.payload, profile, err) || !profile_check(profile, time(NULL), err))
        return error_wrap(err, "%s", what);
    if (profile->imported)
        return error_set(err, STATUS_NOT_TRUSTED,
                         "%s is made of recorded replies: it is for planning only", what);
    memcpy(digest, envelope.digest, DIGEST_HEX_SIZE);
    return check_serial(exchange, name, pin, profile, err);
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

bool exchange_take_profile(struct exchange *exchange, struct exchange_peer *peer, json_t *body,
                           struct error *err)
{
    const char *id, *machine;
    json_t *envelope_json, *request_json;
    if (exchange->step != STEP_HELLO || peer->has_profile)
        return error_set(err, STATUS_PROTOCOL, "a message out of order");
    if (!exchange_check_id(exchange, body, err) ||
        !json_take(body, err, "profile", "{s:s, s:s, s:o, s:o}", "exchange", &id, "machine",
                   &machine, "profile", &envelope_json, "request", &request_json) ||
        (!exchange->machine && !take_machine(exchange, peer, machine, err)))
        return false;
    autofree char *text = json_to_text(envelope_json);
    autofree char *what = string_format("the profile that %s sent", peer->name);
    autoprofile struct profile profile = {0};
    char digest[DIGEST_HEX_SIZE];
    if (!text || !what)
        return error_no_memory(err);
    if (!open_profile(exchange, text, peer->name, peer->pin, what, digest, &profile, err))
        return false;
    if (strcmp(profile.offer.host, peer->host) != 0)
        return error_set(err, STATUS_PROTOCOL, "%s is of host %s, not %s", what, profile.offer.host,
                         peer->host);
    if (!check_parameters(exchange, &profile, exchange->machine, what, err) ||
        !take_request(exchange, peer, request_json, err) ||
        !keep_profile(exchange, peer->name, text, err))
        return false;
    peer->profile = profile;
    profile = (struct profile){0};
    memcpy(peer->profile_digest, digest, DIGEST_HEX_SIZE);
    peer->has_profile = true;
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
    if (!envelope_open(text, strlen(text), PROFILE_SIZE_MAX * 2, PROFILE_TYPE, &envelope, err))
        return error_wrap(err, "%s", what);
    if (!trust_entry_has_pin(entry, envelope.pin) || trust_entry_is_expired(entry, time(NULL)))
        return error_set(err, STATUS_NOT_TRUSTED, "%s is not by a key of %s that is trusted now",
                         what, entry->name);
    memcpy(made.pin, envelope.pin, PIN_SIZE);
    struct exchange_assumed *assumed =
        realloc(exchange->assumed, (exchange->assumed_count + 1) * sizeof(*assumed));
    if (!assumed)
        return error_no_memory(err);
    exchange->assumed = assumed;
    if (!open_profile(exchange, text, entry->name, made.pin, what, made.digest, &made.profile,
                      err)) {
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
