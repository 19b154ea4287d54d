/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/presence.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "peer/envelope.h"

void presence_free(struct presence *presence)
{
    free(presence->host);
    free(presence->address);
    strlist_free(&presence->accels);
    strlist_free(&presence->qemu);
    *presence = (struct presence){0};
}

char *presence_sign(const struct presence *presence, const struct identity *identity,
                    struct error *err)
{
    autopresence struct presence again = {0};
    autofree char *text = NULL;
    autojson json_t *payload =
        json_pack("{s:i, s:s, s:s, s:i, s:I, s:I, s:I, s:o, s:o}", "version", PRESENCE_VERSION,
                  "host", presence->host, "address", presence->address, "port", (int)presence->port,
                  "issued", (json_int_t)presence->issued, "expires", (json_int_t)presence->expires,
                  "serial", (json_int_t)presence->serial, "accels",
                  json_from_names(&presence->accels), "qemu", json_from_names(&presence->qemu));
    if (!payload) {
        error_no_memory(err);
        return NULL;
    }
    if (!envelope_sign(identity, PRESENCE_TYPE, payload, &text, err))
        return NULL;
    if (!presence_open(text, strlen(text), &again, err)) {
        error_wrap(err, "this host's own presence");
        if (err)
            err->status = STATUS_INTERNAL;
        return NULL;
    }
    return STEAL(text);
}

/* What parse_address takes, with brackets put around an IPv6 literal; errno as there. */
static bool address_is_valid(const char *address)
{
    errno = 0;
    autofree char *text = strchr(address, ':') ? string_format("[%s]", address) : strdup(address);
    autofree char *host = NULL;
    uint16_t port = 0;
    return !*address || (strlen(address) < 256 && text && parse_address(text, &host, &port));
}

static bool take_payload(json_t *payload, struct presence *presence, struct error *err)
{
    const char *key, *host, *address;
    json_int_t version, port, issued, expires, serial;
    json_t *accels, *qemu;
    if (!json_is_integer(json_object_get(payload, "version")))
        return error_set(err, STATUS_DATA, "it has no version");
    version = json_integer_value(json_object_get(payload, "version"));
    if (version != PRESENCE_VERSION)
        return error_set(err, STATUS_DATA, "it has version %lld, not %d", (long long)version,
                         PRESENCE_VERSION);
    if (!json_take(payload, err, "presence", "{s:I, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:o, s:o}",
                   "version", &version, "key", &key, "host", &host, "address", &address, "port",
                   &port, "issued", &issued, "expires", &expires, "serial", &serial, "accels",
                   &accels, "qemu", &qemu) ||
        !json_take_names(accels, "accels", name_is_feature, &presence->accels, err) ||
        !json_take_names(qemu, "qemu", name_is_model, &presence->qemu, err))
        return false;
    if (!name_is_host(host))
        return error_set(err, STATUS_DATA, "'%.80s' is not a host name", host);
    if (!address_is_valid(address))
        return error_refuse(err, STATUS_DATA, "'%.80s' is not an address", address);
    if (port < 1 || port > 65535 || issued < 0 || expires <= issued ||
        expires > issued + PRESENCE_LIFETIME_S || serial < 1 ||
        presence->accels.count > PRESENCE_NAMES_MAX || presence->qemu.count > PRESENCE_NAMES_MAX)
        return error_set(err, STATUS_DATA, "its values are out of range");
    presence->port = (uint16_t)port;
    presence->issued = issued;
    presence->expires = expires;
    presence->serial = serial;
    presence->host = strdup(host);
    presence->address = strdup(address);
    return (presence->host && presence->address) || error_no_memory(err);
}

bool presence_open(const char *text, size_t length, struct presence *out, struct error *err)
{
    autoenvelope struct envelope envelope = {0};
    autopresence struct presence presence = {0};
    if (!envelope_open(text, length, PRESENCE_SIZE_MAX, PRESENCE_TYPE, &envelope, err) ||
        !take_payload(envelope.payload, &presence, err))
        return false;
    memcpy(presence.pin, envelope.pin, PIN_SIZE);
    presence_free(out);
    *out = presence;
    presence = (struct presence){0};
    return true;
}

bool presence_check(const struct presence *presence, int64_t now, struct error *err)
{
    if (presence->expires <= now)
        return error_set(err, STATUS_NOT_TRUSTED, "it expired at %lld, it is %lld here",
                         (long long)presence->expires, (long long)now);
    if (presence->issued > now + PRESENCE_TOLERANCE_S)
        return error_set(err, STATUS_NOT_TRUSTED,
                         "it was made at %lld, it is only %lld here: set the clocks right",
                         (long long)presence->issued, (long long)now);
    return true;
}
