/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/command_line.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/unix_socket.h"
#include "vm/config_files.h"
#include "vm/invocation.h"

void vm_sockets_free(struct vm_sockets *sockets)
{
    free(sockets->command);
    free(sockets->guardian);
    *sockets = (struct vm_sockets){0};
}

/* "command" of a VM: eight digits of a digest. */
static bool socket_name(const char *vm, const char *purpose, char digest[DIGEST_HEX_SIZE],
                        struct error *err)
{
    autofree char *text = string_format("%s %s", vm, purpose);
    if (!text)
        return error_no_memory(err);
    if (!digest_hex(text, strlen(text), digest, err))
        return false;
    digest[8] = '\0';
    return true;
}

bool vm_socket_is_private(const char *path, const char *vm)
{
    char digest[DIGEST_HEX_SIZE];
    autofree char *end =
        socket_name(vm, "command", digest, NULL) ? string_format("/%s/%s", vm, digest) : NULL;
    size_t length = strlen(path), wanted = end ? strlen(end) : 0;
    return end && length > wanted && strcmp(path + length - wanted, end) == 0;
}

char *vm_socket_path(const struct paths *paths, const char *vm, const char *purpose,
                     struct error *err)
{
    char digest[DIGEST_HEX_SIZE];
    autofree char *folder = path_join(paths->run, vm, "");
    if (!folder) {
        error_no_memory(err);
        return NULL;
    }
    if (!socket_name(vm, purpose, digest, err))
        return NULL;
    autofree char *path = path_join(folder, digest, "");
    if (!path) {
        error_no_memory(err);
        return NULL;
    }
    if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
        error_set(err, STATUS_CONFIG,
                  "%s is too long for a socket: use a shorter --home or VM name", path);
        return NULL;
    }
    return STEAL(path);
}

/* Whoever has lost the record of a VM that runs does not start it once more. */
static bool check_unused(const char *vm, const char *path, struct error *err)
{
    struct ucred who = {0};
    socklen_t size = sizeof(who);
    autoclose int fd = unix_connect(path, SOCK_NONBLOCK);
    if (fd < 0)
        return true;
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size);
    return error_set(err, STATUS_DECISION,
                     "%s runs here already: its QEMU has pid %ld, and no record (it was removed?): "
                     "end that one first, or adopt it",
                     vm, (long)who.pid);
}

bool vm_sockets_prepare(const struct paths *paths, const char *vm, struct vm_sockets *out,
                        struct error *err)
{
    autovmsockets struct vm_sockets sockets = {0};
    autofree char *folder = path_join(paths->run, vm, "");
    if (!folder)
        return error_no_memory(err);
    sockets.command = vm_socket_path(paths, vm, "command", err);
    sockets.guardian = sockets.command ? vm_socket_path(paths, vm, "guardian", err) : NULL;
    if (!sockets.guardian || !folder_make(folder, 0700, err))
        return false;
    if (!check_unused(vm, sockets.command, err))
        return false;
    unlink(sockets.command);
    unlink(sockets.guardian);
    *out = sockets;
    sockets = (struct vm_sockets){0};
    return true;
}

/* A path as a value in QemuOpts syntax: a comma is written twice. */
static char *escape_commas(const char *text)
{
    autostrbuf struct strbuf buf = {0};
    for (; *text; text++)
        strbuf_add(&buf, *text == ',' ? ",," : text, *text == ',' ? 2 : 1);
    return strbuf_steal(&buf);
}

static bool add_monitor(struct arglist *list, const char *id, const char *path, struct error *err)
{
    autofree char *escaped = escape_commas(path);
    autofree char *chardev =
        escaped ? string_format("socket,id=%s,path=%s,server=on,wait=off", id, escaped) : NULL;
    autofree char *monitor = string_format("chardev=%s,mode=control", id);
    if (!chardev || !monitor)
        return error_no_memory(err);
    return arglist_append(list, "-chardev", chardev, err) &&
           arglist_append(list, "-mon", monitor, err);
}

static bool mask_devices(struct arglist *list, const struct device_offs *offs,
                         struct strlist *overruled, struct error *err)
{
    autoarglist struct arglist files = {0};
    return offs->count == 0 || (config_files_options(list, &files, err) &&
                                device_mask_write(offs, &files, list, overruled, err));
}

bool command_line_make(const struct arglist *user, const struct command_line *parts,
                       struct strlist *argv, struct strlist *overruled, struct error *err)
{
    autoarglist struct arglist list = {0};
    return invocation_rewrite(user, parts->cpu, parts->machine, parts->accel, &list, err) &&
           mask_devices(&list, parts->offs, overruled, err) &&
           add_monitor(&list, "qml-command", parts->sockets->command, err) &&
           add_monitor(&list, "qml-guardian", parts->sockets->guardian, err) &&
           (!parts->paused || arglist_append(&list, "-S", NULL, err)) &&
           (!parts->incoming || arglist_append(&list, "-incoming", parts->incoming, err)) &&
           arglist_render(&list, argv, err);
}

char *command_line_quote(const struct strlist *argv)
{
    autostrbuf struct strbuf line = {0};
    for (size_t i = 0; i < argv->count; i++) {
        autofree char *word = shell_quote(argv->items[i]);
        if (!word)
            return NULL;
        strbuf_puts(&line, i > 0 ? " " : "");
        strbuf_puts(&line, word);
    }
    return strbuf_steal(&line);
}

uint16_t incoming_port(const char *uri)
{
    if (!uri || !string_starts_with(uri, "tcp:"))
        return 0;
    const char *colon = strrchr(uri + 3, ':');
    autofree char *port = colon ? strndup(colon + 1, strcspn(colon + 1, ",")) : NULL;
    uint64_t number;
    return port && parse_number(port, 1, 65535, &number) ? (uint16_t)number : 0;
}

/* Whether a listening socket can be had there, as QEMU makes one (util/qemu-sockets.c 7.2,
 * create_fast_reuse_socket): what is left of connections that have ended is not in its way. */
static bool port_is_free(const char *address, uint16_t port)
{
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    snprintf(service, sizeof(service), "%u", port);
    if (getaddrinfo(address, service, &hints, &found) != 0)
        return false;
    bool is_free = false;
    for (struct addrinfo *a = found; a && !is_free; a = a->ai_next) {
        autoclose int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        const int on = 1;
        is_free = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
                  bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, 1) == 0;
    }
    freeaddrinfo(found);
    return is_free;
}

uint16_t find_free_port(const char *address, uint16_t first, uint16_t last, struct error *err)
{
    /* Not always the first: two launches at once would both find it. */
    unsigned count = (unsigned)(last - first) + 1, start = (unsigned)getpid() % count;
    for (unsigned i = 0; i < count; i++) {
        uint16_t port = (uint16_t)(first + (start + i) % count);
        if (port_is_free(address, port))
            return port;
    }
    error_set(err, STATUS_CONFIG, "none of the migration ports %u-%u is free here", first, last);
    return 0;
}
