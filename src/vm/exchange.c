/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/exchange.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cpu/feature_table.h"

void exchange_free(struct exchange *exchange)
{
    free(exchange->peer.name);
    free(exchange->peer.host);
    profile_free(&exchange->peer.profile);
    cpu_request_free(&exchange->peer.request);
    guest_table_free(&exchange->peer.table);
    strlist_free(&exchange->peer.accepted);
    strlist_free(&exchange->peer.refused);
    free(exchange->machine);
    profile_free(&exchange->profile);
    json_decref(exchange->profile_envelope);
    cpu_request_free(&exchange->request);
    proof_arguments_free(&exchange->arguments);
    proof_free(&exchange->proof);
    guest_table_free(&exchange->table);
    strlist_free(&exchange->refused);
    strlist_free(&exchange->accepted);
    strlist_free(&exchange->doubts);
    agreement_free(&exchange->agreement);
    baseline_report_free(&exchange->report);
    *exchange = (struct exchange){0};
}

bool exchange_begin(struct exchange *exchange, const struct exchange_self *self, const char *id,
                    struct error *err)
{
    autoexchange struct exchange made = {.self = self, .proposing = !id};
    if (!random_hex(32, made.nonce, err) || !cpu_request_copy(self->request, &made.request, err))
        return false;
    if (id)
        memcpy(made.id, id, EXCHANGE_ID_SIZE);
    else if (!random_hex(16, made.id, err))
        return false;
    exchange_free(exchange);
    *exchange = made;
    made = (struct exchange){0};
    return true;
}

const char *exchange_body_id(const json_t *body)
{
    const char *id = json_string_value(json_object_get(body, "exchange"));
    return id && strlen(id) == EXCHANGE_ID_SIZE - 1 &&
                   strspn(id, "0123456789abcdef") == EXCHANGE_ID_SIZE - 1
               ? id
               : NULL;
}

static bool check_id(const struct exchange *exchange, json_t *body, struct error *err)
{
    const char *id = exchange_body_id(body);
    return (id && strcmp(id, exchange->id) == 0) ||
           error_set(err, STATUS_PROTOCOL, "the message belongs to another exchange");
}

static bool check_step(const struct exchange *exchange, enum exchange_step step, struct error *err)
{
    return exchange->step == step || error_set(err, STATUS_PROTOCOL, "a message out of order");
}

json_t *exchange_hello_body(struct exchange *exchange, struct error *err)
{
    const struct exchange_self *self = exchange->self;
    json_t *body = json_pack(
        "{s:[i], s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:b, s:i, s:s, s:s, s:o, s:s, s:s, s:b, s:s, "
        "s:b}",
        "versions", PROTOCOL_VERSION, "exchange", exchange->id, "pin", self->identity->pin, "vm",
        self->vm, "role", vm_role_name(self->role), "nonce", exchange->nonce, "host",
        self->config->host_name, "incoming", (int)self->incoming_port, "guarded",
        (int)self->guarded, "table", FEATURE_TABLE_VERSION, "qemu", self->qemu->version, "machine",
        self->machine ? self->machine : "", "machines", machine_list_to_json(&self->qemu->machines),
        "accel", self->accel, "kernel_irqchip", self->kernel_irqchip ? self->kernel_irqchip : "",
        "cpu_pm", (int)self->cpu_pm, "form", cpu_form_name(self->form), "proof", (int)self->prove);
    if (!body)
        error_no_memory(err);
    return body;
}

static bool speaks_our_version(const json_t *versions)
{
    size_t i;
    json_t *version;
    json_array_foreach(versions, i, version)
    {
        if (json_integer_value(version) == PROTOCOL_VERSION)
            return true;
    }
    return false;
}

/* The two sides' settings that a guest sees and that are not the CPU's. */
static bool check_settings(const struct exchange *exchange, const char *host, const char *accel,
                           const char *irqchip, bool cpu_pm, const char *form, bool prove,
                           struct error *err)
{
    const struct exchange_self *self = exchange->self;
    const char *mine = self->config->host_name;
    const char *my_irqchip = self->kernel_irqchip ? self->kernel_irqchip : "";
    if (strcmp(accel, self->accel) != 0)
        return error_set(err, STATUS_INCOMPATIBLE,
                         "%s would run the guest under %s and %s under %s: a guest cannot move "
                         "between them",
                         mine, self->accel, host, accel);
    if (strcmp(irqchip, my_irqchip) != 0)
        return error_set(
            err, STATUS_INCOMPATIBLE,
            "kernel-irqchip is '%s' on %s and '%.20s' on %s: give it the same value on "
            "both",
            my_irqchip, mine, irqchip, host);
    if (cpu_pm != self->cpu_pm)
        return error_set(err, STATUS_INCOMPATIBLE,
                         "-overcommit cpu-pm is on only on %s: give it on both or none",
                         cpu_pm ? host : mine);
    if (strcmp(form, cpu_form_name(self->form)) != 0)
        return error_set(err, STATUS_INCOMPATIBLE,
                         "--cpu-form is %s on %s and %.20s on %s: give it the same value on both",
                         cpu_form_name(self->form), mine, form, host);
    if (prove != self->prove)
        return error_set(err, STATUS_INCOMPATIBLE,
                         "--no-proof was given only on %s: give it on both or none",
                         prove ? mine : host);
    return true;
}

static bool check_roles(const struct exchange *exchange, enum vm_role peer, struct error *err)
{
    if (peer != exchange->self->role)
        return true;
    return error_set(
        err, STATUS_INCOMPATIBLE,
        peer == ROLE_SOURCE
            ? "both sides would start the guest: give --incoming on the one that it is "
              "to move to"
            : "both sides wait for the guest: give --incoming only on the one that it is "
              "to move to");
}

bool exchange_take_hello(struct exchange *exchange, json_t *body, const struct trust_entry *peer,
                         struct error *err)
{
    const struct exchange_self *self = exchange->self;
    const char *id, *pin, *vm, *role, *nonce, *host, *qemu, *machine, *accel, *irqchip, *form;
    json_t *versions, *machines;
    json_int_t incoming, table;
    int cpu_pm, prove, guarded;
    if (!check_step(exchange, STEP_NEW, err) || !check_id(exchange, body, err))
        return false;
    if (!speaks_our_version(json_object_get(body, "versions")))
        return error_set(err, STATUS_PROTOCOL, "the peer does not speak version %d of the protocol",
                         PROTOCOL_VERSION);
    if (!json_take(body, err, "hello",
                   "{s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:b, s:I, s:s, s:s, s:o, s:s, s:s, "
                   "s:b, s:s, s:b}",
                   "versions", &versions, "exchange", &id, "pin", &pin, "vm", &vm, "role", &role,
                   "nonce", &nonce, "host", &host, "incoming", &incoming, "guarded", &guarded,
                   "table", &table, "qemu", &qemu, "machine", &machine, "machines", &machines,
                   "accel", &accel, "kernel_irqchip", &irqchip, "cpu_pm", &cpu_pm, "form", &form,
                   "proof", &prove))
        return false;
    enum vm_role peer_role;
    if (!name_is_vm(vm) || !vm_role_parse(role, &peer_role) || !digest_is_hex(nonce) ||
        !name_is_host(host) || incoming < 0 || incoming > 65535 || strlen(qemu) > 32 ||
        (*machine && !name_is_machine(machine)) ||
        (guarded && (incoming == 0 || peer_role != ROLE_DESTINATION)))
        return error_set(err, STATUS_DATA, "hello is not valid");
    if (!trust_entry_has_pin(peer, pin))
        return error_set(err, STATUS_NOT_TRUSTED, "%s speaks for another key, %.60s", peer->name,
                         pin);
    if (strcmp(host, self->config->host_name) == 0)
        return error_set(err, STATUS_INCOMPATIBLE,
                         "both hosts are called %s: set [host] name in config.ini on one of them",
                         host);
    if (strcmp(vm, self->vm) != 0)
        return error_set(err, STATUS_INCOMPATIBLE, "%s is about VM %s, %s about VM %s", host, vm,
                         self->config->host_name, self->vm);
    if (table != FEATURE_TABLE_VERSION)
        return error_set(
            err, STATUS_PROTOCOL,
            "%s computes with feature table %lld, this host with %d: use the same version "
            "of qemu-migrate-launch on both",
            host, (long long)table, FEATURE_TABLE_VERSION);
    if (!check_roles(exchange, peer_role, err) ||
        !check_settings(exchange, host, accel, irqchip, cpu_pm, form, prove, err))
        return false;
    automachinelist struct machine_list types = {0};
    if (!machine_list_from_json(machines, &types, err))
        return error_wrap(err, "hello");
    struct machine_wish wishes[2] = {
        {self->config->host_name, self->machine, &self->qemu->machines, self->qemu->version},
        {host, *machine ? machine : NULL, &types, qemu},
    };
    /* One order on both sides, so that both give the same words when it does not work out. */
    if (strcmp(wishes[0].host, wishes[1].host) > 0) {
        struct machine_wish first = wishes[0];
        wishes[0] = wishes[1];
        wishes[1] = first;
    }
    autofree char *chosen = machine_choose(wishes, 2, err);
    autofree char *name = chosen ? strdup(peer->name) : NULL;
    autofree char *peer_host = strdup(host);
    if (!chosen || !name || !peer_host)
        return chosen ? error_no_memory(err) : false;
    memcpy(exchange->peer.pin, pin, PIN_SIZE);
    memcpy(exchange->peer.nonce, nonce, NONCE_SIZE);
    exchange->peer.name = STEAL(name);
    exchange->peer.host = STEAL(peer_host);
    exchange->peer.role = peer_role;
    exchange->peer.incoming_port = (uint16_t)incoming;
    exchange->peer.guarded = guarded;
    exchange->machine = STEAL(chosen);
    exchange->step = STEP_HELLO;
    return true;
}

static bool make_profile(struct exchange *exchange, struct error *err)
{
    const struct exchange_self *self = exchange->self;
    struct probe_parameters parameters = {.machine = exchange->machine,
                                          .accel = self->accel,
                                          .kernel_irqchip = self->kernel_irqchip,
                                          .cpu_pm = self->cpu_pm};
    autofree char *text = NULL;
    autojson json_t *payload = profile_make(self->config, self->paths->state, self->qemu,
                                            &parameters, &exchange->request.model, err);
    if (!payload || !profile_read(payload, &exchange->profile, err) ||
        !envelope_sign_digest(self->identity, PROFILE_TYPE, payload, &text,
                              exchange->profile_digest, err) ||
        !profile_digest_host(payload, exchange->host_digest, err))
        return false;
    if (!cpu_request_check_names(&exchange->request, &exchange->profile.offer.known, err))
        return false;
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
    json_t *body =
        json_pack("{s:s, s:O, s:o}", "exchange", exchange->id, "profile",
                  exchange->profile_envelope, "request", cpu_request_to_json(&exchange->request));
    if (!body)
        error_no_memory(err);
    return body;
}

/* A profile older than one that was seen is played back: refused. Else it is kept as the last. */
static bool keep_peer_profile(const struct exchange *exchange, const char *text,
                              const struct profile *profile, struct error *err)
{
    autofree char *folder = path_join(exchange->self->paths->state, "profiles", "");
    autofree char *path = folder ? path_join(folder, exchange->peer.name, ".json") : NULL;
    autofree char *last = NULL;
    size_t length;
    if (!path)
        return error_no_memory(err);
    if (!folder_make(folder, 0700, err) ||
        !file_read_trusted(path, PROFILE_SIZE_MAX * 2, true, &last, &length, err))
        return false;
    autoenvelope struct envelope envelope = {0};
    autoprofile struct profile known = {0};
    if (last && envelope_open(last, length, PROFILE_SIZE_MAX * 2, PROFILE_TYPE, &envelope, NULL) &&
        strcmp(envelope.pin, exchange->peer.pin) == 0 &&
        profile_read(envelope.payload, &known, NULL) && profile->serial < known.serial)
        return error_set(err, STATUS_NOT_TRUSTED,
                         "the profile of %s is an old one (serial %lld, %lld has been seen): it is "
                         "not used; if %s has lost its state folder, remove %s on %s",
                         exchange->peer.name, (long long)profile->serial, (long long)known.serial,
                         exchange->peer.name, path, exchange->self->config->host_name);
    return file_write_atomic(path, text, strlen(text), 0600, err);
}

bool exchange_take_profile(struct exchange *exchange, json_t *body, struct error *err)
{
    const char *id;
    json_t *envelope_json, *request_json;
    if (!check_step(exchange, STEP_HELLO, err) || !check_id(exchange, body, err) ||
        !json_take(body, err, "profile", "{s:s, s:o, s:o}", "exchange", &id, "profile",
                   &envelope_json, "request", &request_json))
        return false;
    autofree char *text = json_to_text(envelope_json);
    autoenvelope struct envelope envelope = {0};
    autoprofile struct profile profile = {0};
    autocpurequest struct cpu_request request = {0};
    if (!text)
        return error_no_memory(err);
    if (!envelope_open(text, strlen(text), PROFILE_SIZE_MAX * 2, PROFILE_TYPE, &envelope, err))
        return error_wrap(err, "the profile of %s", exchange->peer.name);
    if (strcmp(envelope.pin, exchange->peer.pin) != 0)
        return error_set(err, STATUS_NOT_TRUSTED,
                         "the profile that %s sent is signed by another key", exchange->peer.name);
    if (!profile_read(envelope.payload, &profile, err) ||
        !cpu_request_from_json(request_json, &request, err))
        return error_wrap(err, "the profile of %s", exchange->peer.name);
    if (!profile_check(&profile, time(NULL), err))
        return false;
    if (profile.imported)
        return error_set(err, STATUS_NOT_TRUSTED,
                         "the profile that %s sent is made of recorded replies: it is for planning "
                         "only",
                         exchange->peer.name);
    if (strcmp(profile.offer.host, exchange->peer.host) != 0)
        return error_set(err, STATUS_PROTOCOL, "the profile that %s sent is of host %s, not %s",
                         exchange->peer.name, profile.offer.host, exchange->peer.host);
    if (strcmp(profile.machine, exchange->machine) != 0 ||
        strcmp(profile.offer.accel, exchange->self->accel) != 0 ||
        profile.cpu_pm != exchange->self->cpu_pm ||
        strcmp(profile.kernel_irqchip,
               exchange->self->kernel_irqchip ? exchange->self->kernel_irqchip : "") != 0)
        return error_set(
            err, STATUS_PROTOCOL,
            "the profile of %s is for %s under %s with other settings than %s under %s",
            exchange->peer.name, profile.machine, profile.offer.accel, exchange->machine,
            exchange->self->accel);
    if (!keep_peer_profile(exchange, text, &profile, err))
        return false;
    exchange->peer.profile = profile;
    profile = (struct profile){0};
    exchange->peer.request = request;
    request = (struct cpu_request){0};
    memcpy(exchange->peer.profile_digest, envelope.digest, DIGEST_HEX_SIZE);
    exchange->step = STEP_PROFILE;
    return true;
}

json_t *exchange_body(const struct exchange *exchange, const char *member, json_t *value,
                      struct error *err)
{
    json_t *body = json_pack("{s:s, s:o}", "exchange", exchange->id, member, value);
    if (!body)
        error_no_memory(err);
    return body;
}

bool exchange_take_body(const struct exchange *exchange, json_t *body, const char *member,
                        json_t **value, struct error *err)
{
    const char *id;
    return check_id(exchange, body, err) &&
           json_take(body, err, member, "{s:s, s:o}", "exchange", &id, member, value);
}
