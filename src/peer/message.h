/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Messages: an envelope that counts on one TLS connection, in one direction, as the answer to one
 * request. Its payload is
 *   {"version":1,"key":SPKI,"name":NAME,"role":"initiator"|"responder","exporter":43 characters,
 *    "answers":DIGEST of the request's payload, or "" in a request,"body":{...}}
 */
#ifndef QML_PEER_MESSAGE_H
#define QML_PEER_MESSAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/digest.h"
#include "base/error.h"
#include "peer/identity.h"

#define MESSAGE_TYP "qemu-migrate-launch-message+json"
#define MESSAGE_VERSION 1
#define MESSAGE_MAX 524288 /* bytes of a whole message */
#define MESSAGE_NAME_MAX 16
#define MESSAGE_INITIATOR "initiator"
#define MESSAGE_RESPONDER "responder"
#define MESSAGE_EXPORTER_SIZE 44 /* with the NUL: RFC 9266, 32 bytes in base64url */

/* True for [a-z]{1,16}. */
bool message_name_is_valid(const char *name);

/* Seal body (borrowed). name: of the request; role: of the sender; exporter: of the connection;
 * answers: the request's digest, or "". *text is for the caller to free; its size depends only on
 * name, role, body and the size of answers. digest (DIGEST_HEX_SIZE) may be NULL: what the answer
 * must name. STATUS_INTERNAL, also for more than MESSAGE_MAX bytes. */
bool message_seal(const struct identity *identity, const char *name, const char *role,
                  const char *exporter, const char *answers, json_t *body, char **text,
                  char *digest, struct error *err);

/* Open a message that must have exactly these name, role, exporter and answers and be signed by
 * tls_pin, the key at the other end of the connection. *body is a new reference; digest
 * (DIGEST_HEX_SIZE) may be NULL. STATUS_DATA: malformed or badly signed; STATUS_PROTOCOL: of
 * another version; STATUS_NOT_TRUSTED: for another connection, request or direction, or signed by
 * another key. */
bool message_open(const char *text, size_t length, const char *name, const char *role,
                  const char *exporter, const char *answers, const char *tls_pin, json_t **body,
                  char *digest, struct error *err);

/* The body {"error":{"status":N,"message":TEXT}} that a responder answers with when it cannot do
 * what was asked. A new reference, or NULL for want of memory. */
json_t *message_error_new(const struct error *error);

/* True if body is an error message; err is filled with what it says then. A status that is not one
 * of enum status, or STATUS_OK, becomes STATUS_PROTOCOL. The caller puts the peer's name before. */
bool message_error_take(json_t *body, struct error *err);

#endif
