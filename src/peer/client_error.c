/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "peer/client_error.h"

#include <string.h>

static const char *detail(const struct call *call, CURLcode code)
{
    return call->curl_message[0] ? call->curl_message : curl_easy_strerror(code);
}

/* We did not accept the peer. */
static bool set_refusal(const struct call *call, struct error *err)
{
    const struct trust_entry *peer = call->client->peer;
    if (call->tls->session.refusal == TLS_REFUSAL_NO_MEMORY)
        return error_no_memory(err);
    if (call->tls->session.refusal != TLS_REFUSAL_WRONG_PIN)
        return error_set(err, STATUS_NOT_TRUSTED, "%s (trusted as %s): %s", call->where, peer->name,
                         tls_refusal_text(call->tls->session.refusal));
    return error_set(err, STATUS_NOT_TRUSTED, "the key of %s is %s, trusted as %s is %s%s%s",
                     call->where, call->tls->session.pin, peer->name, peer->pins[0],
                     peer->pin_count > 1 ? " or " : "", peer->pin_count > 1 ? peer->pins[1] : "");
}

/* The peer ended the connection with a TLS alert. */
static bool set_alert(const struct call *call, struct error *err)
{
    int alert = call->tls->session.alert_received;
    const char *pin = call->client->identity->pin;
    if (!tls_session_was_refused(&call->tls->session))
        return error_set(err, STATUS_PROTOCOL, "%s ended the connection with TLS alert %d (%s)",
                         call->where, alert, SSL_alert_desc_string_long(alert));
    if (alert == SSL_AD_CERTIFICATE_EXPIRED)
        return error_set(err, STATUS_NOT_TRUSTED,
                         "%s no longer trusts this host's key, its entry there (or this host's "
                         "certificate, if that counts there) has expired: run there "
                         "'qemu-migrate-launch trust add NAME %s'",
                         call->where, pin);
    return error_set(err, STATUS_NOT_TRUSTED,
                     "%s does not trust this host's key: run there 'qemu-migrate-launch trust add "
                     "NAME %s'",
                     call->where, pin);
}

/* Connected, and closed before a byte came: nobody is behind a port forward, or who listened is
 * just ending. Another service would have said something, if only that it did not understand. */
static bool is_closed_unheard(const struct call *call, CURLcode code)
{
    return code == CURLE_SSL_CONNECT_ERROR && !call->tls->session.heard;
}

/* Whether code says that no connection came about. */
static bool is_retryable(const struct call *call, CURLcode code)
{
    return call->error.status == STATUS_OK && call->tls->session.refusal == TLS_REFUSAL_NONE &&
           call->tls->session.alert_received == 0 && !call->request &&
           (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST ||
            code == CURLE_OPERATION_TIMEDOUT || is_closed_unheard(call, code));
}

bool client_error_no_time(const struct call *call, struct error *err)
{
    return error_set(err, STATUS_UNAVAILABLE, "%s: no time left to ask '%s'", call->where,
                     call->name);
}

bool client_error_transfer(const struct call *call, CURLcode code, struct error *err)
{
    if (call->client->retryable)
        *call->client->retryable = is_retryable(call, code);
    if (call->client->interrupted && *call->client->interrupted)
        return error_set(err, STATUS_INTERRUPTED, "interrupted");
    if (call->error.status != STATUS_OK) {
        *err = call->error;
        return false;
    }
    if (call->tls->session.refusal != TLS_REFUSAL_NONE)
        return set_refusal(call, err);
    if (call->tls->session.alert_received != 0)
        return set_alert(call, err);
    if (call->too_big || code == CURLE_FILESIZE_EXCEEDED)
        return error_set(err, STATUS_PROTOCOL, "%s answered '%s' with more than %d bytes",
                         call->where, call->name, MESSAGE_MAX);
    if (is_closed_unheard(call, code))
        return error_set(
            err, STATUS_UNAVAILABLE,
            "%s took the connection and closed it at once: see that what should answer "
            "there runs, behind a port forward too",
            call->where);
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return error_set(
            err, STATUS_UNAVAILABLE,
            "%s: the name is not known: see DNS or /etc/hosts, and the address in 'trust list'",
            call->where);
    case CURLE_COULDNT_CONNECT:
        return error_set(
            err, STATUS_UNAVAILABLE,
            "cannot connect to %s: nobody listens there, or something between keeps us out: see "
            "that what should answer there ('serve', for instance) runs, and what firewalls say",
            call->where);
    case CURLE_OPERATION_TIMEDOUT:
        return error_set(err, STATUS_UNAVAILABLE, "%s did not answer '%s' in time", call->where,
                         call->name);
    case CURLE_OUT_OF_MEMORY:
        return error_no_memory(err);
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_SEND_FAIL_REWIND: /* one that stayed, and was closed just then */
        /* It died, perhaps: as good as unreachable, and what can be repeated may be asked again. */
        return error_set(err, STATUS_UNAVAILABLE,
                         "%s closed the connection before it answered '%s'", call->where,
                         call->name);
    case CURLE_SSL_CONNECT_ERROR:
        return error_set(err, STATUS_PROTOCOL,
                         "no TLS 1.3 connection to %s: %s: see that it is qemu-migrate-launch that "
                         "listens there",
                         call->where, detail(call, code));
    default:
        return error_set(err, STATUS_PROTOCOL, "%s, request '%s': %s", call->where, call->name,
                         detail(call, code));
    }
}

bool client_error_http(const struct call *call, long http_status, struct error *err)
{
    /* What it says may help; error_set keeps it from commanding the terminal. */
    const char *words = call->response.data ? call->response.data : "";
    int length = (int)strcspn(words, "\r\n");
    return error_set(
        err, STATUS_PROTOCOL,
        "%s answered '%s' with HTTP status %ld%s%.*s: see that it is qemu-migrate-launch, of "
        "the same version, that listens there",
        call->where, call->name, http_status, length > 0 ? ": " : "", length > 300 ? 300 : length,
        words);
}
