/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <openssl/err.h>

#include "peer/relay.h"

#define AES_FIRST "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define CHACHA_FIRST "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"

static bool has_aes(void)
{
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#else
    return true; /* servers of other kinds have it as a rule; it is slower without, not wrong */
#endif
}

bool relay_prefer_ciphers(SSL_CTX *context, struct error *err)
{
    if (SSL_CTX_set_ciphersuites(context, has_aes() ? AES_FIRST : CHACHA_FIRST) != 1) {
        ERR_clear_error();
        return error_set(err, STATUS_INTERNAL, "OpenSSL cannot set the ciphers of the migration");
    }
    /* A server that has AES follows a client that has not. */
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    return true;
}
