/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "peer/server_private.h"

#define BACKLOG 512

static void cleanup_addresses(struct addrinfo **list)
{
    if (*list)
        freeaddrinfo(*list);
}

/* A socket that listens on one address, or -1 with errno. both: IPv4 too on an IPv6 socket. */
static int listen_on(const struct addrinfo *address, bool both)
{
    int on = 1, v6only = both ? 0 : 1;
    autoclose int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
        return -1;
    if (address->ai_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only)) < 0)
        return -1;
    if (bind(fd, address->ai_addr, address->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
        return -1;
    return steal_fd(&fd);
}

static int listen_on_all(uint16_t port)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct addrinfo first = {
        .ai_family = AF_INET6, .ai_addr = (struct sockaddr *)&v6, .ai_addrlen = sizeof(v6)};
    struct addrinfo second = {
        .ai_family = AF_INET, .ai_addr = (struct sockaddr *)&v4, .ai_addrlen = sizeof(v4)};
    int fd = listen_on(&first, true);
    if (fd < 0 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) /* a kernel without IPv6 */
        fd = listen_on(&second, false);
    return fd;
}

int peer_listen(const char *address, uint16_t port, struct error *err)
{
    bool all = !address || !*address;
    struct addrinfo *list __attribute__((cleanup(cleanup_addresses))) = NULL;
    int fd = -1;
    if (all) {
        fd = listen_on_all(port);
    } else {
        const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                       .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
        char service[8];
        snprintf(service, sizeof(service), "%u", port);
        int result = getaddrinfo(address, service, &hints, &list);
        if (result != 0) {
            error_set(err, result == EAI_MEMORY ? STATUS_INTERNAL : STATUS_CONFIG,
                      "cannot listen on %s: %s", address, gai_strerror(result));
            return -1;
        }
        for (const struct addrinfo *item = list; item && fd < 0; item = item->ai_next)
            fd = listen_on(item, false);
    }
    if (fd < 0)
        error_set_errno(err, errno == EADDRINUSE ? STATUS_UNAVAILABLE : STATUS_CONFIG, errno,
                        "cannot listen on %s port %u", all ? "all addresses" : address, port);
    return fd;
}

int peer_listen_range(const char *address, uint16_t first, uint16_t last, uint16_t *port,
                      struct error *err)
{
    struct error problem = ERROR_INIT;
    for (unsigned next = first; next <= last; next++) {
        int fd = peer_listen(address, (uint16_t)next, &problem);
        if (fd >= 0) {
            *port = (uint16_t)next;
            return fd;
        }
        if (problem.status != STATUS_UNAVAILABLE) { /* that one is taken */
            if (err)
                *err = problem;
            return -1;
        }
    }
    error_set(err, STATUS_CONFIG, "all ports from %u to %u are taken on %s", first, last,
              address && *address ? address : "this host");
    return -1;
}

int peer_server_dup_socket(const struct peer_server *server, struct error *err)
{
    int fd =
        server->bound ? fcntl(evhttp_bound_socket_get_fd(server->bound), F_DUPFD_CLOEXEC, 3) : -1;
    if (fd < 0)
        error_set_errno(err, STATUS_INTERNAL, server->bound ? errno : EBADF,
                        "cannot hand the listening socket of port %u over", server->port);
    return fd;
}
