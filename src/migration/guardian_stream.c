/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The stream: each of the source's connections becomes one of QEMU's on its local socket.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "migration/guardian_private.h"

/* 7.2 takes the first connection for the main channel, whatever comes on it. */
#define MAIN_CHANNEL 0

static int connect_to_qemu(const char *path, struct error *err)
{
    if (!path) {
        error_set(err, STATUS_PROTOCOL, "no stream is expected here");
        return -1;
    }
    int fd = unix_connect(path, 0);
    if (fd < 0)
        error_set_errno(err, STATUS_UNAVAILABLE, errno, "QEMU does not take the stream");
    return fd;
}

static uint64_t channel_bit(int channel)
{
    return UINT64_C(1) << channel;
}

bool guardian_admit(void *context, const struct trust_entry *peer, const char *remote, json_t *body,
                    struct error *err)
{
    struct guardian *guardian = context;
    struct order_key key;
    int channel;
    if (!order_take_stream(body, &key, &channel, err) ||
        !guardian_check_source(guardian, peer, &key, err))
        return false;
    enum lease_guardian_state state = guardian->lease.state;
    if (!guardian->prepared || !guardian->relays ||
        (state != LEASE_HELD && state != LEASE_TOLD && state != LEASE_RUN))
        return error_set(err, STATUS_PROTOCOL, "no stream is expected here");
    if (guardian->admitted & channel_bit(channel))
        return error_set(err, STATUS_PROTOCOL, "channel %d is there already", channel);
    guardian->admitted |= channel_bit(channel);
    log_debug("%s: channel %d from %s (%s)", guardian->record.vm, channel, peer->name, remote);
    return true;
}

static void discard(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);
    SSL_free(ssl);
    close(fd);
}

/* Not before the stream is ours: QEMU's main loop stands still from the connection until its first
 * bytes (measured with multifd on 10.0), and would keep a question of ours from being answered. */
static void relay_channel(struct guardian *guardian, int channel)
{
    struct error err = ERROR_INIT;
    struct relay_ends ends = {.qemu = connect_to_qemu(guardian->stream_path, &err),
                              .ssl = STEAL(guardian->waiting[channel]),
                              .qemu_may_close = channel != MAIN_CHANNEL};
    if (ends.qemu < 0)
        discard(ends.ssl);
    if (ends.qemu < 0 || !relay_group_add(guardian->relays, &ends, &err)) {
        log_error("%s: %s", guardian->record.vm, err.message);
        relay_group_stop(guardian->relays);
    }
}

void guardian_stream(void *context, json_t *body, SSL *ssl)
{
    struct guardian *guardian = context;
    struct order_key key;
    int channel;
    if (!guardian->relays || !order_take_stream(body, &key, &channel, NULL) ||
        guardian->waiting[channel]) {
        discard(ssl);
        return;
    }
    guardian->waiting[channel] = ssl;
    guardian->main_connected = guardian->main_connected || channel == MAIN_CHANNEL;
    for (channel = 0; guardian->main_connected && channel < ORDER_CHANNELS_MAX; channel++)
        if (guardian->waiting[channel])
            relay_channel(guardian, channel);
}

void guardian_withdrawn(void *context, json_t *body)
{
    struct guardian *guardian = context;
    struct order_key key;
    int channel;
    if (order_take_stream(body, &key, &channel, NULL))
        guardian->admitted &= ~channel_bit(channel);
}

void guardian_drop_streams(struct guardian *guardian)
{
    struct error err = ERROR_INIT;
    for (size_t i = 0; i < ORDER_CHANNELS_MAX; i++)
        if (guardian->waiting[i])
            discard(STEAL(guardian->waiting[i]));
    if (guardian->relays) {
        relay_group_stop(guardian->relays);
        if (relay_group_join(guardian->relays, &err) != RELAY_ENDED)
            log_debug("%s: the stream: %s", guardian->record.vm, err.message);
        relay_group_free(STEAL(guardian->relays));
    }
    guardian->main_connected = false;
    guardian->admitted = 0;
    if (guardian->stream_path)
        unlink(guardian->stream_path);
}

static json_t *recover_arguments(const char *path)
{
    autofree char *uri = string_format("unix:%s", path);
    return uri ? json_pack("{s:s}", "uri", uri) : NULL;
}

bool guardian_await_stream(struct guardian *guardian, bool direct, bool recover, struct error *err)
{
    const struct guardian_setup *setup = guardian->setup;
    uint16_t port = 0;
    guardian_drop_streams(guardian);
    if (direct)
        port = find_free_port(NULL, setup->config->migration_port_first,
                              setup->config->migration_port_last, err);
    if (direct && port == 0)
        return false;
    if (!guardian->stream_path &&
        !(guardian->stream_path = vm_socket_path(setup->paths, guardian->record.vm, "stream", err)))
        return false;
    unlink(guardian->stream_path);
    if (!direct && !(guardian->relays = relay_group_new(-1, err)))
        return false;
    json_t *arguments =
        recover && !direct
            ? recover_arguments(guardian->stream_path)
            : migration_arguments(&guardian->side, direct ? "" : guardian->stream_path, port);
    if (!arguments)
        return error_no_memory(err);
    guardian->direct_port = port;
    return guardian_command(guardian, recover ? "migrate-recover" : "migrate-incoming", arguments,
                            NULL, err);
}
