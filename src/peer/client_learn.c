/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whose key is at an address? One TLS handshake, which is broken off at the certificate: by a trust
 * entry without pins, that nobody is.
 */
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "peer/client_error.h"
#include "peer/sigpipe.h"

bool peer_learn_pin(const struct peer_client *client, deadline when, char pin[PIN_SIZE],
                    struct error *err)
{
    struct error ignored = ERROR_INIT;
    const struct trust_entry nobody = {.name = (char *)"nobody", .expires = TRUST_NEVER};
    struct peer_client asking = *client;
    struct call call __attribute__((cleanup(call_free))) = {0};
    autojson json_t *nothing = json_object();
    if (!err)
        err = &ignored;
    asking.peer = &nobody;
    if (!nothing)
        return error_no_memory(err);
    if (!call_begin(&call, &asking, "hello", nothing, err) || !call_prepare(&call, when, err))
        return false;
    struct sigpipe_guard guard;
    sigpipe_block(&guard);
    CURLcode code = curl_easy_perform(call.curl);
    sigpipe_restore(&guard);
    if (call.tls->session.refusal != TLS_REFUSAL_WRONG_PIN || !pin_is_valid(call.tls->session.pin))
        return code == CURLE_OK ? error_set(err, STATUS_INTERNAL, "a key of nobody's was taken")
                                : client_error_transfer(&call, code, err);
    memcpy(pin, call.tls->session.pin, PIN_SIZE);
    return true;
}
