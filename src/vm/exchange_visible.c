/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The guest's machine as the command lines of source and destination make it: the same on both, or
 * nothing is launched.
 */
#include "vm/exchange.h"
#include "vm/visible_host.h"

json_t *exchange_visible_body(const struct exchange *exchange)
{
    const struct exchange_self *self = exchange->self;
    return self->role == ROLE_PARTY || !self->visible ? json_null()
                                                      : visible_to_json(self->visible);
}

bool exchange_take_visible(const struct exchange *exchange, const struct exchange_peer *peer,
                           json_t *json, struct error *err)
{
    const struct exchange_self *self = exchange->self;
    autovisiblelist struct visible_list theirs = {0};
    if (json_is_null(json))
        return true;
    if (peer->role == ROLE_PARTY)
        return error_set(err, STATUS_DATA, "hello is not valid");
    if (!visible_from_json(json, "hello", &theirs, err))
        return false;
    if (self->role == ROLE_PARTY || !self->visible)
        return true;
    bool is_source = self->role == ROLE_SOURCE;
    return visible_require_same(
        is_source ? self->visible : &theirs, is_source ? self->config->host_name : peer->host,
        is_source ? &theirs : self->visible, is_source ? peer->host : self->config->host_name,
        self->accepted_differences, err);
}
