/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The profiles in an exchange: this host's, those of the peers, and stored ones.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "vm/exchange.h"

/* A statement that says what is still so is made once an hour, not for each exchange: then a peer
 * knows it again. */
#define STATEMENT_LIFE_S 3600

static char *statement_path(const struct exchange *exchange, struct error *err)
{
    char digest[DIGEST_HEX_SIZE];
    autofree char *folder = path_join(exchange->self->paths->state, "statements", "");
    autofree char *what = string_format("%s %s %s %d", exchange->machine, exchange->accel,
                                        exchange->kernel_irqchip, exchange->cpu_pm);
    if (!folder || !what || !digest_hex(what, strlen(what), digest, err) ||
        !folder_make(folder, 0700, err))
        return NULL;
    digest[16] = '\0';
    return path_join(folder, digest, ".json");
}

/* The last statement, if it is by this key, young, and of a host that was as it is now. One that
 * another has followed, for another machine type, would be taken for one that is played back. */
static bool reuse_statement(struct exchange *exchange, const char *path)
{
    autofree char *text = NULL;
    const char *host, *pin, *digest;
    json_t *envelope;
    json_int_t issued, serial;
    size_t length;
    if (!file_read_trusted(path, PROFILE_SIZE_MAX * 2, true, &text, &length, NULL) || !text)
        return false;
    autojson json_t *kept = json_parse_strict(text, length, PROFILE_SIZE_MAX * 2, NULL);
    if (!kept ||
        !json_take(kept, NULL, "", "{s:s, s:s, s:s, s:I, s:I, s:o}", "host", &host, "pin", &pin,
                   "digest", &digest, "issued", &issued, "serial", &serial, "envelope", &envelope))
        return false;
    int64_t age = (int64_t)time(NULL) - issued;
    if (strcmp(host, exchange->host_digest) != 0 || serial != exchange->profile.serial ||
        !digest_is_hex(digest) || strcmp(pin, exchange->self->identity->pin) != 0 || age < 0 ||
        age > STATEMENT_LIFE_S)
        return false;
    memcpy(exchange->profile_digest, digest, DIGEST_HEX_SIZE);
    exchange->profile_envelope = json_incref(envelope);
    return true;
}

static void keep_statement(const struct exchange *exchange, const char *path)
{
    struct error err = ERROR_INIT;
    autojson json_t *kept =
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:O}", "host", exchange->host_digest, "pin",
                  exchange->self->identity->pin, "digest", exchange->profile_digest, "issued",
                  (json_int_t)exchange->profile.issued, "serial",
                  (json_int_t)exchange->profile.serial, "envelope", exchange->profile_envelope);
    autofree char *text = kept ? json_to_text(kept) : NULL;
    if (!text || !file_write_atomic(path, text, strlen(text), 0600, &err))
        log_debug("the profile's statement is not kept: %s", err.message);
}

static bool sign_statement(struct exchange *exchange, struct error *err)
{
    autofree char *text = NULL;
    if (!envelope_sign_digest(exchange->self->identity, PROFILE_TYPE, exchange->profile_payload,
                              &text, exchange->profile_digest, err))
        return false;
    exchange->profile_envelope = json_parse_strict(text, strlen(text), SIZE_MAX, err);
    return exchange->profile_envelope != NULL;
}

static bool make_profile(struct exchange *exchange, struct error *err)
{
    const struct exchange_self *self = exchange->self;
    struct probe_parameters parameters = {
        .machine = exchange->machine,
        .accel = exchange->accel,
        .kernel_irqchip = *exchange->kernel_irqchip ? exchange->kernel_irqchip : NULL,
        .cpu_pm = exchange->cpu_pm};
    autojson json_t *payload = profile_make(self->config, self->paths->state, self->qemu,
                                            &parameters, &exchange->request.model, err);
    autofree char *path = payload ? statement_path(exchange, err) : NULL;
    if (!path || !profile_read(payload, &exchange->profile, err) ||
        !profile_digest_host(payload, exchange->host_digest, err))
        return false;
    if (self->role != ROLE_PARTY &&
        !cpu_request_check_names(&exchange->request, &exchange->profile.offer.known, err))
        return false;
    exchange->profile_payload = STEAL(payload);
    if (*exchange->host_digest && reuse_statement(exchange, path))
        return true;
    if (!sign_statement(exchange, err))
        return false;
    if (*exchange->host_digest)
        keep_statement(exchange, path);
    return true;
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
    autofree char *path = keep ? stored_path(exchange->self->paths, name, err) : NULL;
    return !keep || (path && file_write_atomic(path, text, strlen(text), 0600, err));
}

/* A signed profile of that pin that counts now. what: whose, for messages. */
static bool open_profile(const char *text, const char *pin, const char *what,
                         char digest[DIGEST_HEX_SIZE], struct profile *profile, struct error *err)
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
    return true;
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
    if (!json_is_object(envelope_json))
        return error_set(err, STATUS_DATA, "the profile that %s sent is not an object", peer->name);
    autofree char *text = json_to_text(envelope_json);
    autofree char *what = string_format("the profile that %s sent", peer->name);
    autoprofile struct profile profile = {0};
    char digest[DIGEST_HEX_SIZE];
    if (!text || !what)
        return error_no_memory(err);
    if (!open_profile(text, peer->pin, what, digest, &profile, err))
        return false;
    if (strcmp(profile.offer.host, peer->host) != 0)
        return error_set(err, STATUS_PROTOCOL, "%s is of host %s, not %s", what, profile.offer.host,
                         peer->host);
    if (!check_parameters(exchange, &profile, exchange->machine, what, err) ||
        !take_request(exchange, peer, request_json, err) ||
        !check_last(exchange, peer->name, peer->pin, text, &profile, true, err))
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
    if (!open_profile(text, made.pin, what, made.digest, &made.profile, err) ||
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
