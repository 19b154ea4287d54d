/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Hello: who the parties are, whether they can go together at all, and the machine type for all.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cpu/feature_table.h"
#include "vm/exchange.h"

json_t *exchange_hello_body(struct exchange *exchange, struct error *err)
{
    const struct exchange_self *self = exchange->self;
    static const struct strlist none = {0};
    bool party = self->role == ROLE_PARTY;
    json_t *body = json_pack(
        "{s:[i], s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:b, s:b, s:b, s:s, s:i, s:s, s:s, s:o, s:s, "
        "s:s, s:b, s:s, s:b, s:o, s:o}",
        "versions", PROTOCOL_VERSION, "exchange", exchange->id, "pin", self->identity->pin, "vm",
        exchange->vm, "role", vm_role_name(self->role), "nonce", exchange->nonce, "host",
        self->config->host_name, "incoming", (int)self->incoming_port, "guarded",
        (int)self->guarded, "renegotiate", (int)self->renegotiate, "lives", (int)self->lives,
        "known", exchange->known, "table", FEATURE_TABLE_VERSION, "qemu", self->qemu->version,
        "machine", !party && self->machine ? self->machine : "", "machines",
        machine_list_to_json(&self->qemu->machines), "accel", exchange->accel, "kernel_irqchip",
        exchange->kernel_irqchip, "cpu_pm", (int)exchange->cpu_pm, "form",
        cpu_form_name(exchange->form), "proof", (int)exchange->prove, "backends",
        json_from_names(party || !self->backends ? &none : self->backends), "visible",
        exchange_visible_body(exchange));
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

/* What hello says of the launch. */
struct hello_settings {
    const char *vm, *accel, *irqchip, *form;
    int cpu_pm, prove;
};

/* The two sides' settings that a guest sees and that are not the CPU's. */
static bool check_settings(const struct exchange *exchange, const char *host,
                           const struct hello_settings *theirs, struct error *err)
{
    const char *mine = exchange->self->config->host_name;
    if (strcmp(theirs->accel, exchange->accel) != 0)
        return error_set(err, STATUS_INCOMPATIBLE,
                         "%s would run the guest under %s and %s under %s: a guest cannot move "
                         "between them",
                         mine, exchange->accel, host, theirs->accel);
    if (strcmp(theirs->irqchip, exchange->kernel_irqchip) != 0)
        return error_set(
            err, STATUS_INCOMPATIBLE,
            "kernel-irqchip is '%s' on %s and '%.20s' on %s: give it the same value on "
            "both",
            exchange->kernel_irqchip, mine, theirs->irqchip, host);
    if (theirs->cpu_pm != exchange->cpu_pm)
        return error_set(err, STATUS_INCOMPATIBLE,
                         "-overcommit cpu-pm is on only on %s: give it on both or none",
                         theirs->cpu_pm ? host : mine);
    if (strcmp(theirs->form, cpu_form_name(exchange->form)) != 0)
        return error_set(err, STATUS_INCOMPATIBLE,
                         "--cpu-form is %s on %s and %.20s on %s: give it the same value on both",
                         cpu_form_name(exchange->form), mine, theirs->form, host);
    if (theirs->prove != exchange->prove)
        return error_set(err, STATUS_INCOMPATIBLE,
                         "--no-proof was given only on %s: give it on both or none",
                         theirs->prove ? mine : host);
    return true;
}

/* One without a command line takes the asker's. */
static bool adopt_settings(struct exchange *exchange, const struct hello_settings *theirs,
                           struct error *err)
{
    char *accel = strdup(theirs->accel), *irqchip = strdup(theirs->irqchip);
    free(exchange->accel);
    free(exchange->kernel_irqchip);
    exchange->accel = accel;
    exchange->kernel_irqchip = irqchip;
    exchange->cpu_pm = theirs->cpu_pm;
    exchange->prove = theirs->prove;
    if (!accel || !irqchip)
        return error_no_memory(err);
    return ((strcmp(accel, "kvm") == 0 || strcmp(accel, "tcg") == 0) &&
            (!*irqchip || strcmp(irqchip, "on") == 0 || strcmp(irqchip, "off") == 0 ||
             strcmp(irqchip, "split") == 0) &&
            cpu_form_parse(theirs->form, &exchange->form)) ||
           error_set(err, STATUS_DATA, "hello is not valid");
}

static bool check_roles(const struct exchange *exchange, enum vm_role peer, struct error *err)
{
    enum vm_role mine = exchange->self->role;
    if (mine == ROLE_PARTY && peer == ROLE_PARTY)
        return error_set(err, STATUS_PROTOCOL, "one of the two has to start the guest");
    if (mine == ROLE_PARTY || peer == ROLE_PARTY || peer != mine)
        return true;
    return error_set(
        err, STATUS_INCOMPATIBLE,
        peer == ROLE_SOURCE
            ? "both sides would start the guest: give --incoming on the one that it is "
              "to move to"
            : "both sides wait for the guest: give --incoming only on the one that it is "
              "to move to");
}

/* Two parties of one name would be taken for each other in all that is said. */
static bool check_names(const struct exchange *exchange, const struct exchange_peer *peer,
                        const char *host, const char *pin, struct error *err)
{
    if (strcmp(host, exchange->self->config->host_name) == 0)
        return error_set(err, STATUS_INCOMPATIBLE,
                         "both hosts are called %s: set [host] name in config.ini on one of them",
                         host);
    if (strcmp(pin, exchange->self->identity->pin) == 0)
        return error_set(err, STATUS_INCOMPATIBLE, "%s is this host itself", host);
    for (size_t i = 0; i < exchange->peer_count; i++) {
        const struct exchange_peer *other = &exchange->peers[i];
        if (other == peer || !other->host)
            continue;
        if (strcmp(other->pin, pin) == 0)
            return error_set(err, STATUS_INCOMPATIBLE, "%s and %s are one host", other->name, host);
        if (strcmp(other->host, host) == 0)
            return error_set(
                err, STATUS_INCOMPATIBLE,
                "two hosts are called %s: set [host] name in config.ini on one of them", host);
    }
    return true;
}

/* The machine type that these two would have, if there were no others. */
static char *choose_for_two(const struct exchange *exchange, const struct exchange_peer *peer,
                            struct error *err)
{
    const struct exchange_self *self = exchange->self;
    struct machine_wish wishes[2] = {
        {self->config->host_name, self->role == ROLE_PARTY ? peer->machine : self->machine,
         &self->qemu->machines, self->qemu->version, self->role == ROLE_PARTY},
        {peer->host, peer->role == ROLE_PARTY ? self->machine : peer->machine, &peer->machines,
         peer->qemu_version, peer->role == ROLE_PARTY},
    };
    /* One order on both sides, so that both give the same words when it does not work out. */
    if (strcmp(wishes[0].host, wishes[1].host) > 0) {
        struct machine_wish first = wishes[0];
        wishes[0] = wishes[1];
        wishes[1] = first;
    }
    return machine_choose(wishes, 2, err);
}

/* What stands behind its devices: all that this host has a name for. */
static bool take_backends(const json_t *backends, struct exchange_peer *peer, struct error *err)
{
    if (!json_take_names(backends, "backends", name_is_feature, &peer->backends, err))
        return false;
    for (size_t i = 0; i < peer->backends.count; i++)
        if (!backend_find(peer->backends.items[i]))
            return error_set(err, STATUS_DATA, "'%.80s' is not a device backend",
                             peer->backends.items[i]);
    return peer->role != ROLE_PARTY || peer->backends.count == 0 ||
           error_set(err, STATUS_DATA, "one without a command line has no devices");
}

bool exchange_take_hello(struct exchange *exchange, struct exchange_peer *peer, json_t *body,
                         const struct trust_entry *entry, struct error *err)
{
    const struct exchange_self *self = exchange->self;
    const char *id, *pin, *role, *nonce, *host, *qemu, *machine, *known;
    struct hello_settings settings;
    json_t *versions, *machines, *backends, *visible;
    json_int_t incoming, table;
    int guarded, renegotiate, lives;
    if (exchange->step != STEP_NEW || peer->host)
        return error_set(err, STATUS_PROTOCOL, "a message out of order");
    if (!exchange_check_id(exchange, body, err))
        return false;
    if (!speaks_our_version(json_object_get(body, "versions")))
        return error_set(err, STATUS_PROTOCOL, "the peer does not speak version %d of the protocol",
                         PROTOCOL_VERSION);
    if (!json_take(
            body, err, "hello",
            "{s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:b, s:b, s:b, s:s, s:I, s:s, s:s, s:o, "
            "s:s, s:s, s:b, s:s, s:b, s:o, s:o}",
            "versions", &versions, "exchange", &id, "pin", &pin, "vm", &settings.vm, "role", &role,
            "nonce", &nonce, "host", &host, "incoming", &incoming, "guarded", &guarded,
            "renegotiate", &renegotiate, "lives", &lives, "known", &known, "table", &table, "qemu",
            &qemu, "machine", &machine, "machines", &machines, "accel", &settings.accel,
            "kernel_irqchip", &settings.irqchip, "cpu_pm", &settings.cpu_pm, "form", &settings.form,
            "proof", &settings.prove, "backends", &backends, "visible", &visible))
        return false;
    enum vm_role peer_role;
    if (!name_is_vm(settings.vm) || !vm_role_parse(role, &peer_role) || !digest_is_hex(nonce) ||
        !name_is_host(host) || incoming < 0 || incoming > 65535 || strlen(qemu) > 32 ||
        (*machine && !name_is_machine(machine)) || (*known && !digest_is_hex(known)) ||
        (guarded && (incoming == 0 || peer_role != ROLE_DESTINATION)))
        return error_set(err, STATUS_DATA, "hello is not valid");
    if (!trust_entry_has_pin(entry, pin))
        return error_set(err, STATUS_NOT_TRUSTED, "%s speaks for another key, %.60s", entry->name,
                         pin);
    if (!check_names(exchange, peer, host, pin, err))
        return false;
    if (strcmp(settings.vm, exchange->vm) != 0)
        return error_set(err, STATUS_INCOMPATIBLE, "%s is about VM %s, %s about VM %s", host,
                         settings.vm, self->config->host_name, exchange->vm);
    if (table != FEATURE_TABLE_VERSION)
        return error_set(
            err, STATUS_PROTOCOL,
            "%s computes with feature table %lld, this host with %d: use the same version "
            "of qemu-migrate-launch on both",
            host, (long long)table, FEATURE_TABLE_VERSION);
    if (!check_roles(exchange, peer_role, err) ||
        (self->role == ROLE_PARTY ? !adopt_settings(exchange, &settings, err)
                                  : !check_settings(exchange, host, &settings, err)))
        return false;
    struct exchange_peer taken = {.role = peer_role,
                                  .incoming_port = (uint16_t)incoming,
                                  .guarded = guarded,
                                  .renegotiate = renegotiate,
                                  .lives = lives,
                                  .name = strdup(entry->name),
                                  .host = strdup(host),
                                  .machine = *machine ? strdup(machine) : NULL,
                                  .qemu_version = strdup(qemu)};
    memcpy(taken.pin, pin, PIN_SIZE);
    memcpy(taken.nonce, nonce, NONCE_SIZE);
    memcpy(taken.known, known, strlen(known) + 1);
    exchange_peer_free(peer);
    *peer = taken;
    if (!peer->name || !peer->host || !peer->qemu_version || (*machine && !peer->machine))
        return error_no_memory(err);
    if (!machine_list_from_json(machines, &peer->machines, err) ||
        !take_backends(backends, peer, err))
        return error_wrap(err, "hello");
    if (!exchange->proposing && self->role == ROLE_PARTY &&
        !exchange_may_replace(self, exchange->vm, peer, err))
        return false;
    autofree char *chosen = choose_for_two(exchange, peer, err);
    if (!chosen || !exchange_take_visible(exchange, peer, visible, err))
        return false;
    if (!exchange->proposing) {
        exchange->step = STEP_HELLO;
        exchange->guess = STEAL(chosen);
    }
    return true;
}

bool exchange_choose_machine(struct exchange *exchange, struct error *err)
{
    const struct exchange_self *self = exchange->self;
    size_t count = 0;
    autofree struct machine_wish *wishes =
        calloc(1 + exchange->peer_count + exchange->assumed_count, sizeof(*wishes));
    if (!wishes)
        return error_no_memory(err);
    wishes[count++] = (struct machine_wish){self->config->host_name, self->machine,
                                            &self->qemu->machines, self->qemu->version, false};
    for (size_t i = 0; i < exchange->peer_count; i++) {
        const struct exchange_peer *peer = &exchange->peers[i];
        bool follows = peer->role == ROLE_PARTY;
        wishes[count++] = (struct machine_wish){peer->host, follows ? self->machine : peer->machine,
                                                &peer->machines, peer->qemu_version, follows};
    }
    for (size_t i = 0; i < exchange->assumed_count; i++) {
        const struct profile *profile = &exchange->assumed[i].profile;
        wishes[count++] = (struct machine_wish){profile->offer.host, self->machine,
                                                &profile->machines, profile->qemu_version, true};
    }
    machine_wishes_sort(wishes, count);
    exchange->machine = machine_choose(wishes, count, err);
    if (exchange->machine)
        exchange->step = STEP_HELLO;
    return exchange->machine != NULL;
}
