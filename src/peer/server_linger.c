/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Who was refused must be able to read why. Were the connection closed with something of the peer's
 * unread, the kernel would reset it, and the peer's would throw the alert away (RFC 9112 section
 * 9.6). So the socket stays open for a moment, and what comes is thrown away.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer/server_private.h"

#define LINGER_MS 1000
#define LINGER_MAX 16 /* others are closed at once */

struct lingering {
    struct peer_server *server;
    struct lingering **place, *next;
    struct event *event;
    deadline when;
    int fd; /* beside that of libevent, which is closed */
};

static void end_lingering(struct lingering *item)
{
    if (item->next)
        item->next->place = item->place;
    *item->place = item->next;
    item->server->lingering_count--;
    if (item->event)
        event_free(item->event);
    close(item->fd);
    free(item);
}

static void on_more(evutil_socket_t fd, short what, void *context)
{
    struct lingering *item = context;
    char ignored[16384];
    ssize_t length = recv(fd, ignored, sizeof(ignored), MSG_DONTWAIT);
    bool more = length > 0 || (length < 0 && (errno == EAGAIN || errno == EINTR));
    if (!more || (what & EV_TIMEOUT) || deadline_left_ms(item->when) == 0)
        end_lingering(item);
}

void server_linger(struct peer_server *server, int fd)
{
    const struct timeval wait = {.tv_sec = LINGER_MS / 1000, .tv_usec = LINGER_MS % 1000 * 1000};
    int kept = -1;
    struct lingering *item = NULL;
    if (server->closing || server->lingering_count >= LINGER_MAX ||
        (kept = fcntl(fd, F_DUPFD_CLOEXEC, 3)) < 0 || !(item = calloc(1, sizeof(*item)))) {
        if (kept >= 0)
            close(kept);
        return;
    }
    *item = (struct lingering){.server = server,
                               .place = &server->lingering,
                               .next = server->lingering,
                               .when = deadline_in_ms(LINGER_MS),
                               .fd = kept};
    if (item->next)
        item->next->place = &item->next;
    server->lingering = item;
    server->lingering_count++;
    item->event = event_new(server->base, kept, EV_READ | EV_PERSIST, on_more, item);
    if (!item->event || event_add(item->event, &wait) != 0)
        end_lingering(item);
}

void server_end_lingering(struct peer_server *server)
{
    while (server->lingering)
        end_lingering(server->lingering);
}
