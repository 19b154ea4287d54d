/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/exchange.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

void exchange_peer_free(struct exchange_peer *peer)
{
    free(peer->name);
    free(peer->host);
    free(peer->machine);
    free(peer->qemu_version);
    strlist_free(&peer->backends);
    machine_list_free(&peer->machines);
    profile_free(&peer->profile);
    envelope_free(&peer->last);
    free(peer->last_file);
    cpu_request_free(&peer->request);
    guest_table_free(&peer->table);
    strlist_free(&peer->accepted);
    strlist_free(&peer->refused);
    *peer = (struct exchange_peer){0};
}

void exchange_free(struct exchange *exchange)
{
    for (size_t i = 0; i < exchange->peer_count; i++)
        exchange_peer_free(&exchange->peers[i]);
    free(exchange->peers);
    for (size_t i = 0; i < exchange->assumed_count; i++)
        profile_free(&exchange->assumed[i].profile);
    free(exchange->assumed);
    free(exchange->vm);
    free(exchange->machine);
    free(exchange->accel);
    free(exchange->kernel_irqchip);
    exchange_drop_profile(exchange);
    free(exchange->guess);
    free(exchange->prepared.machine);
    cpu_request_free(&exchange->request);
    baseline_free(&exchange->given);
    proof_arguments_free(&exchange->arguments);
    proof_free(&exchange->proof);
    guest_table_free(&exchange->table);
    strlist_free(&exchange->refused);
    strlist_free(&exchange->accepted);
    strlist_free(&exchange->doubts);
    agreement_free(&exchange->agreement);
    baseline_report_free(&exchange->report);
    device_report_free(&exchange->device_report);
    *exchange = (struct exchange){0};
}

char *exchange_peer_names(const struct exchange *exchange)
{
    autostrbuf struct strbuf names = {0};
    strbuf_puts(&names, "");
    for (size_t i = 0; i < exchange->peer_count; i++)
        strbuf_printf(&names, "%s%s", i > 0 ? ", " : "",
                      exchange->peers[i].name ? exchange->peers[i].name : "(unknown)");
    return strbuf_steal(&names);
}

static bool find_known(struct exchange *exchange, struct error *err)
{
    autojson json_t *document = NULL;
    autoagreement struct agreement agreement = {0};
    const char *state = exchange->self->paths->state;
    if (!agreement_load(state, exchange->vm, &document, err))
        return false;
    return !document || agreement_document_open(document, &agreement, exchange->known, err) ||
           error_wrap(err, "the agreement about %s that is kept on %s", exchange->vm,
                      exchange->self->config->host_name);
}

/* Who replaces it need not be able to read it. */
static bool find_known_or_replace(struct exchange *exchange, struct error *err)
{
    struct error unreadable = ERROR_INIT;
    if (find_known(exchange, &unreadable) || exchange->self->renegotiate)
        return true;
    return error_set(err, unreadable.status, "%s", unreadable.message);
}

bool exchange_begin(struct exchange *exchange, const struct exchange_self *self, const char *id,
                    size_t peer_count, struct error *err)
{
    autoexchange struct exchange made = {.self = self,
                                         .proposing = !id,
                                         .cpu_pm = self->cpu_pm,
                                         .form = self->form,
                                         .prove = self->prove};
    made.peers = calloc(peer_count + 1, sizeof(*made.peers));
    made.vm = strdup(self->vm);
    made.accel = strdup(self->accel ? self->accel : "");
    made.kernel_irqchip = strdup(self->kernel_irqchip ? self->kernel_irqchip : "");
    if (!made.peers || !made.vm || !made.accel || !made.kernel_irqchip)
        return error_no_memory(err);
    made.peer_count = peer_count;
    if (!random_hex(32, made.nonce, err) ||
        (self->request && !cpu_request_copy(self->request, &made.request, err)) ||
        !find_known_or_replace(&made, err))
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

bool exchange_check_id(const struct exchange *exchange, json_t *body, struct error *err)
{
    const char *id = exchange_body_id(body);
    return (id && strcmp(id, exchange->id) == 0) ||
           error_set(err, STATUS_PROTOCOL, "the message belongs to another exchange");
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
    return exchange_check_id(exchange, body, err) &&
           json_take(body, err, member, "{s:s, s:o}", "exchange", &id, member, value);
}
