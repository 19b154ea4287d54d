/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The port that peers call, and those that guests come through.
 */
#include <dirent.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "doctor/doctor_private.h"

#define SOCKETS_MAX 8
#define UNIT "qemu-migrate-launch.socket"

/* Whether an address can be bound: 0, or the errno. With SO_REUSEADDR and without listen(2) this
 * stands in nobody's way, also for the moment that it lasts. */
static int try_address(const struct addrinfo *address)
{
    int on = 1;
    autoclose int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, address->ai_addr, address->ai_addrlen) < 0)
        return errno;
    return 0;
}

static int try_port(const char *host, unsigned port, const char **reason)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    char service[8];
    int error = 0;
    snprintf(service, sizeof(service), "%u", port);
    int code = getaddrinfo(host && *host ? host : NULL, service, &hints, &list);
    *reason = code == EAI_SYSTEM ? strerror(errno) : code ? gai_strerror(code) : NULL;
    if (code)
        return EADDRNOTAVAIL;
    for (const struct addrinfo *item = list; item && error == 0; item = item->ai_next) {
        error = try_address(item);
        bool all = !host || !*host;
        if (all && (error == EAFNOSUPPORT || error == EADDRNOTAVAIL)) /* a kernel without IPv6 */
            error = 0;
    }
    freeaddrinfo(list);
    *reason = strerror(error);
    return error;
}

/* The sockets that listen on that port. */
static size_t find_listeners(const struct doctor *doctor, unsigned wanted,
                             struct tcp_listener listeners[SOCKETS_MAX])
{
    static const char *const files[] = {"/proc/net/tcp", "/proc/net/tcp6"};
    size_t count = 0;
    for (size_t f = 0; f < COUNT_OF(files); f++) {
        autofree char *text = doctor_read(doctor, files[f]);
        autostrlist struct strlist lines = {0};
        if (!text || !strlist_split(&lines, text, '\n'))
            continue;
        for (size_t i = 0; i < lines.count && count < SOCKETS_MAX; i++)
            if (parse_tcp_line(lines.items[i], &listeners[count]) &&
                listeners[count].port == wanted)
                count++;
    }
    return count;
}

static bool process_listens(const struct doctor *doctor, long pid,
                            const struct tcp_listener *listeners, size_t count)
{
    autofree char *folder = string_format("%s/proc/%ld/fd", doctor->root, pid);
    DIR *open = folder ? opendir(folder) : NULL;
    bool found = false;
    for (const struct dirent *item; open && !found && (item = readdir(open));) {
        char link[64], socket[64];
        ssize_t length = readlinkat(dirfd(open), item->d_name, link, sizeof(link) - 1);
        if (length < 0)
            continue;
        link[length] = '\0';
        for (size_t i = 0; i < count && !found; i++) {
            snprintf(socket, sizeof(socket), "socket:[%llu]", listeners[i].inode);
            found = strcmp(link, socket) == 0;
        }
    }
    if (open)
        closedir(open);
    return found;
}

/* The process that listens there, or 0: it is another user's. */
static long find_process(const struct doctor *doctor, const struct tcp_listener *listeners,
                         size_t count)
{
    autofree char *folder = doctor_path(doctor, "/proc");
    DIR *open = folder ? opendir(folder) : NULL;
    long found = 0;
    for (const struct dirent *item; open && !found && (item = readdir(open));) {
        uint64_t pid;
        if (parse_number(item->d_name, 1, INT32_MAX, &pid) &&
            process_listens(doctor, (long)pid, listeners, count))
            found = (long)pid;
    }
    if (open)
        closedir(open);
    return found;
}

static bool is_ours(const struct doctor *doctor, long pid)
{
    autofree char *path = string_format("%s/proc/%ld/exe", doctor->root, pid);
    struct stat its, own;
    return path && stat(path, &its) == 0 && stat("/proc/self/exe", &own) == 0 &&
           its.st_dev == own.st_dev && its.st_ino == own.st_ino;
}

static void say_nobody(const struct doctor *doctor, const char *where, struct findings *findings)
{
    autofree char *unit = doctor_path(doctor, "/run/systemd/system");
    bool systemd = unit && access(unit, F_OK) == 0 && geteuid() == 0 && !doctor->setup->home;
    finding_add(findings, SEVERITY_NOTE, where,
                "no agent listens: this host can launch guests and move them away, but nobody "
                "can agree with it, or receive from it");
    finding_remedy(findings, "run the agent here, if guests are to come");
    if (systemd)
        finding_command(findings, "systemctl enable --now " UNIT);
    else
        finding_command(findings, "%s serve", doctor->program);
}

static void say_taken(const struct doctor *doctor, const char *where, unsigned port,
                      struct findings *findings)
{
    struct tcp_listener listeners[SOCKETS_MAX];
    size_t count = find_listeners(doctor, port, listeners);
    autofree char *lock = path_join(doctor->setup->paths->state, "agent", ".lock");
    long agent = lock ? doctor_lock_holder(doctor, lock) : 0;
    if (agent && process_listens(doctor, agent, listeners, count)) {
        finding_add(findings, SEVERITY_OK, where, "the agent (pid %ld) listens", agent);
        finding_remedy(findings, "whether a firewall lets peers in is not known here: 'doctor' on "
                                 "a peer tells");
        return;
    }
    long holder = find_process(doctor, listeners, count);
    autofree char *who = holder ? doctor_describe_process(doctor, holder) : NULL;
    if (holder && is_ours(doctor, holder)) {
        finding_add(findings, SEVERITY_OK, where,
                    "%s listens: a launch, a guardian or the agent "
                    "of another home",
                    who ? who : "this program");
    } else if (holder == 1) {
        finding_add(findings, SEVERITY_OK, where, "systemd listens, and starts the agent");
    } else if (!holder && count > 0 && listeners[0].user == geteuid()) {
        finding_add(findings, SEVERITY_NOTE, where,
                    "a process of this user's listens that is not to be looked into: a guardian is "
                    "such a one");
    } else {
        finding_add(findings, SEVERITY_PROBLEM, where,
                    "the port is taken by %s: no agent and no --listen can have it",
                    who ? who : "another user's process");
        finding_remedy(findings,
                       "end that process, or choose another port: [listen] address = :PORT in "
                       "config.ini, and --address HOST:PORT in the peers' trust entries");
        finding_command(findings, "ss -ltnp 'sport = :%u'", port);
    }
}

void check_port(const struct doctor *doctor, struct findings *findings)
{
    const char *text = doctor->config.listen_address, *reason = "";
    autofree char *host = NULL;
    uint16_t port = DEFAULT_PORT;
    if (doctor->config_error.status != STATUS_OK || (text && !parse_address(text, &host, &port)))
        return;
    autofree char *where = string_format("port %u", port);
    if (!where)
        return;
    switch (try_port(host, port, &reason)) {
    case 0:
        say_nobody(doctor, where, findings);
        break;
    case EADDRINUSE:
        say_taken(doctor, where, port, findings);
        break;
    default:
        finding_add(findings, SEVERITY_PROBLEM, where, "nobody can listen on '%s': %s",
                    text ? text : "all addresses", reason);
        finding_remedy(findings, "give [listen] address in config.ini an address of this host ('ip "
                                 "address' lists them), and a port over 1023 unless root listens");
    }
}

void check_migration_ports(const struct doctor *doctor, struct findings *findings)
{
    unsigned first = doctor->config.migration_port_first, last = doctor->config.migration_port_last;
    unsigned free_count = 0;
    const char *reason;
    if (doctor->config_error.status != STATUS_OK)
        return;
    for (unsigned port = first; port <= last; port++)
        free_count += try_port(NULL, port, &reason) == 0;
    autofree char *where = string_format("migration ports %u-%u", first, last);
    if (!where)
        return;
    if (free_count > 0) {
        finding_add(findings, SEVERITY_OK, where, "%u are free", free_count);
        return;
    }
    finding_add(findings, SEVERITY_PROBLEM, where,
                "all are taken: no guest can come here that an agent announces");
    finding_remedy(findings, "choose a larger range, [listen] migration-ports = FIRST-LAST in "
                             "config.ini, or end what has them");
    finding_command(findings, "ss -ltnp 'sport >= :%u and sport <= :%u'", first, last);
}
