/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * This host in the pool: a process that says that it is there, as long as the agent is.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/agent_private.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "host/qemu.h"
#include "pool/pool.h"

#define AGAIN_MS 10000

/* Where the agent listens; the address stays "" if that is everywhere, which others cannot use. */
static uint16_t find_socket(int listener, char address[INET6_ADDRSTRLEN])
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } name = {0};
    socklen_t size = sizeof(name);
    address[0] = '\0';
    if (getsockname(listener, &name.any, &size) < 0)
        return DEFAULT_PORT;
    if (name.any.sa_family == AF_INET) {
        if (name.v4.sin_addr.s_addr != htonl(INADDR_ANY))
            inet_ntop(AF_INET, &name.v4.sin_addr, address, INET6_ADDRSTRLEN);
        return ntohs(name.v4.sin_port);
    }
    if (!IN6_IS_ADDR_UNSPECIFIED(&name.v6.sin6_addr))
        inet_ntop(AF_INET6, &name.v6.sin6_addr, address, INET6_ADDRSTRLEN);
    return ntohs(name.v6.sin6_port);
}

/* What this host could run guests with, for people to read: a launch asks for the rest. */
static bool describe(const struct config *config, struct strlist *accels, struct strlist *versions)
{
    static const char *const kvm[] = {"kvm"};
    if (qemu_choose_accel(kvm, 1, NULL) && !strlist_push(accels, "kvm"))
        return false;
    if (!strlist_push(accels, "tcg"))
        return false;
    for (size_t i = 0; i < config->qemu_binaries.count || i == 0; i++) {
        struct qemu qemu = {0};
        const char *binary =
            config->qemu_binaries.count > 0 ? config->qemu_binaries.items[i] : "qemu-system-x86_64";
        bool good = true;
        if (qemu_open(binary, &qemu, NULL) && name_is_model(qemu.version) &&
            !strlist_contains(versions, qemu.version))
            good = strlist_push(versions, qemu.version);
        qemu_free(&qemu);
        if (!good)
            return false;
    }
    return true;
}

static void start(struct agent *agent)
{
    autostrlist struct strlist accels = {0}, versions = {0};
    char address[INET6_ADDRSTRLEN];
    struct publisher_setup setup = {.config = &agent->config,
                                    .identity = agent->identity,
                                    .address = address,
                                    .port = find_socket(agent->listener, address),
                                    .accels = &accels,
                                    .qemu = &versions};
    struct error err = ERROR_INIT;
    agent->pool.again = DEADLINE_NEVER;
    if (!describe(&agent->config, &accels, &versions))
        error_no_memory(&err);
    else if (pool_publisher_start(&setup, &agent->pool.publisher, &err))
        return;
    log_error("%s: this host is not in the pool", err.message);
    if (err.status == STATUS_INTERNAL)
        agent->pool.again = deadline_in_ms(AGAIN_MS);
}

void agent_pool_begin(struct agent *agent)
{
    if (pool_is_configured(&agent->config))
        start(agent);
}

void agent_pool_step(struct agent *agent)
{
    struct pollfd item = {.fd = agent->pool.publisher.pidfd, .events = POLLIN};
    if (item.fd >= 0 && poll(&item, 1, 0) > 0) {
        log_warning("the pool's process has ended: it is started again");
        pool_publisher_stop(&agent->pool.publisher);
        agent->pool.again = deadline_in_ms(AGAIN_MS);
    }
    if (deadline_left_ms(agent->pool.again) == 0)
        start(agent);
}

void agent_pool_end(struct agent *agent)
{
    pool_publisher_stop(&agent->pool.publisher);
    agent->pool.again = DEADLINE_NEVER;
}
