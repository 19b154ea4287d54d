/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer/sigpipe.h"

#define WAIT_S 20 /* longer than anything here takes */

int fuzz_connect(uint16_t port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (;;) { /* libFuzzer's alarm interrupts */
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        MUST(fd >= 0);
        if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
            return fd;
        MUST(errno == EINTR);
        close(fd);
    }
}

bool fuzz_wire_open(struct fuzz_wire *wire, const struct identity *identity,
                    const struct trust *trust, int fd, bool is_server)
{
    const struct timeval wait = {.tv_sec = WAIT_S};
    const struct tls_peers peers = {.any = trust};
    const int at_once = 1;
    *wire = (struct fuzz_wire){.fd = fd};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof(at_once));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    SSL_CTX *context = tls_context_new(identity, &peers, NULL);
    MUST(context && (wire->ssl = SSL_new(context)) != NULL);
    SSL_CTX_free(context); /* the SSL holds it */
    MUST(tls_session_attach(wire->ssl, &wire->session) && SSL_set_fd(wire->ssl, fd) == 1);
    struct sigpipe_guard guard;
    sigpipe_block(&guard);
    bool good = (is_server ? SSL_accept(wire->ssl) : SSL_connect(wire->ssl)) == 1;
    sigpipe_restore(&guard);
    return good && tls_exporter(wire->ssl, wire->exporter, NULL) &&
           tls_peer_pin(wire->ssl, wire->pin, NULL);
}

void fuzz_wire_write(struct fuzz_wire *wire, const void *data, size_t size)
{
    struct sigpipe_guard guard;
    sigpipe_block(&guard);
    if (size > 0)
        SSL_write(wire->ssl, data, (int)size);
    sigpipe_restore(&guard);
}

void fuzz_wire_end(struct fuzz_wire *wire)
{
    struct sigpipe_guard guard;
    sigpipe_block(&guard);
    SSL_shutdown(wire->ssl);
    sigpipe_restore(&guard);
}

size_t fuzz_wire_read(struct fuzz_wire *wire, void *data, size_t size)
{
    int n = SSL_read(wire->ssl, data, (int)size);
    return n > 0 ? (size_t)n : 0;
}

void fuzz_wire_close(struct fuzz_wire *wire)
{
    /* No TIME_WAIT: there would soon be no ports left. */
    const struct linger now = {.l_onoff = 1};
    SSL_free(wire->ssl);
    ERR_clear_error();
    setsockopt(wire->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(wire->fd);
}
