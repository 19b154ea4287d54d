/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "peer/message.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "peer/envelope.h"

bool message_name_is_valid(const char *name)
{
    size_t length = strnlen(name, MESSAGE_NAME_MAX + 1);
    return length >= 1 && length <= MESSAGE_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz") == length;
}

bool message_seal(const struct identity *identity, const char *name, const char *role,
                  const char *exporter, const char *answers, json_t *body, char **text,
                  char *digest, struct error *err)
{
    autojson json_t *payload =
        json_pack("{s:i,s:s,s:s,s:s,s:s,s:O}", "version", MESSAGE_VERSION, "name", name, "role",
                  role, "exporter", exporter, "answers", answers, "body", body);
    if (!payload)
        return error_no_memory(err);
    autofree char *sealed = NULL;
    char hex[DIGEST_HEX_SIZE];
    if (!envelope_sign_digest(identity, MESSAGE_TYP, payload, &sealed, hex, err))
        return false;
    if (strlen(sealed) > MESSAGE_MAX)
        return error_set(err, STATUS_INTERNAL, "message '%s' has %zu bytes, the limit is %d", name,
                         strlen(sealed), MESSAGE_MAX);
    if (digest)
        memcpy(digest, hex, sizeof(hex));
    *text = STEAL(sealed);
    return true;
}

struct fields {
    const char *key, *name, *role, *exporter, *answers;
    json_t *body;
};

static bool take_fields(json_t *payload, struct fields *fields, struct error *err)
{
    /* The version comes first: another one may have other members. */
    const json_t *version = json_object_get(payload, "version");
    if (!json_is_integer(version))
        return error_set(err, STATUS_DATA, "message: it has no version");
    if (json_integer_value(version) != MESSAGE_VERSION)
        return error_set(err, STATUS_PROTOCOL,
                         "it speaks version %lld of the protocol, this program version %d",
                         (long long)json_integer_value(version), MESSAGE_VERSION);
    json_int_t number;
    if (!json_take(payload, err, "message", "{s:I,s:s,s:s,s:s,s:s,s:s,s:o}", "version", &number,
                   "key", &fields->key, "name", &fields->name, "role", &fields->role, "exporter",
                   &fields->exporter, "answers", &fields->answers, "body", &fields->body))
        return false;
    if (!json_is_object(fields->body))
        return error_set(err, STATUS_DATA, "message: its body is not an object");
    return true;
}

static bool check_fields(const struct fields *fields, const char *name, const char *role,
                         const char *exporter, const char *answers, struct error *err)
{
    const struct {
        const char *is, *must_be, *complaint;
    } rows[] = {
        {fields->exporter, exporter, "it was made for another connection"},
        {fields->role, role, "it was made for the other direction"},
        {fields->name, name, "it was made for another kind of request"},
        {fields->answers, answers, "it answers another request"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcmp(rows[i].is, rows[i].must_be) != 0)
            return error_set(err, STATUS_NOT_TRUSTED, "message '%s': %s", name, rows[i].complaint);
    return true;
}

bool message_open(const char *text, size_t length, const char *name, const char *role,
                  const char *exporter, const char *answers, const char *tls_pin, json_t **body,
                  char *digest, struct error *err)
{
    autoenvelope struct envelope envelope = {0};
    struct fields fields = {0};
    if (!envelope_open(text, length, MESSAGE_MAX, MESSAGE_TYP, &envelope, err))
        return error_wrap(err, "message '%s'", name);
    if (strcmp(envelope.pin, tls_pin) != 0)
        return error_set(err, STATUS_NOT_TRUSTED,
                         "message '%s': signed by %s, but sent over the connection of %s", name,
                         envelope.pin, tls_pin);
    if (!take_fields(envelope.payload, &fields, err) ||
        !check_fields(&fields, name, role, exporter, answers, err))
        return false;
    if (digest)
        memcpy(digest, envelope.digest, sizeof(envelope.digest));
    *body = json_incref(fields.body);
    return true;
}

json_t *message_error_new(const struct error *error)
{
    enum status status = error->status == STATUS_OK ? STATUS_INTERNAL : error->status;
    return json_pack("{s:{s:i,s:s}}", "error", "status", (int)status, "message", error->message);
}

static enum status known_status(json_int_t number)
{
    static const enum status known[] = {
        STATUS_INCOMPATIBLE, STATUS_PROOFS_DIFFER, STATUS_DRIFT,    STATUS_MIGRATION,
        STATUS_DECISION,     STATUS_USAGE,         STATUS_DATA,     STATUS_UNAVAILABLE,
        STATUS_INTERNAL,     STATUS_CANNOT_WRITE,  STATUS_PROTOCOL, STATUS_NOT_TRUSTED,
        STATUS_CONFIG,       STATUS_INTERRUPTED,
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (number == (json_int_t)known[i])
            return known[i];
    return STATUS_PROTOCOL;
}

bool message_error_take(json_t *body, struct error *err)
{
    json_int_t status = 0;
    const char *message = NULL;
    if (!json_object_get(body, "error"))
        return false;
    if (!json_take(body, err, "error message", "{s:{s:I,s:s}}", "error", "status", &status,
                   "message", &message)) {
        if (err)
            err->status = STATUS_PROTOCOL;
        return true;
    }
    error_set(err, known_status(status), "%s",
              *message ? message : "it failed and did not say why");
    return true;
}
