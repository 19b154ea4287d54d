/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The QEMU command line that an agreement makes of the user's.
 */
#ifndef QML_VM_COMMAND_LINE_H
#define QML_VM_COMMAND_LINE_H

#include "base/paths.h"
#include "vm/arglist.h"
#include "vm/device_mask.h"

/* The two private QMP sockets of a VM: one for commands, one for its guardian. */
struct vm_sockets {
    char *command;
    char *guardian;
};

void vm_sockets_free(struct vm_sockets *sockets);
#define autovmsockets __attribute__((cleanup(vm_sockets_free)))

/* Make RUN/VM (0700) and name the sockets in it by short digests, since a socket's path has at most
 * 107 bytes; sockets that lie there are removed. STATUS_CANNOT_WRITE; STATUS_CONFIG if the path is
 * too long all the same. */
bool vm_sockets_prepare(const struct paths *paths, const char *vm, struct vm_sockets *sockets,
                        struct error *err);

/* The path of a VM's socket for a purpose, by its digest in RUN/VM; the caller frees it. NULL with
 * STATUS_CONFIG if it is too long. */
char *vm_socket_path(const struct paths *paths, const char *vm, const char *purpose,
                     struct error *err);

/* A path that vm_socket_path has made for commands to that VM, under any folder: no other QEMU ever
 * listens there. */
bool vm_socket_is_private(const char *path, const char *vm);

/* What an agreement and its launch put into it; all borrowed. */
struct command_line {
    const char *cpu; /* -cpu's value */
    const char *machine, *accel;
    const struct device_offs *offs; /* properties of devices that are off */
    const struct vm_sockets *sockets;
    bool paused;          /* -S */
    const char *incoming; /* -incoming with that URI, or NULL */
};

/* The user's list with these in it; *argv must be empty. *overruled gets a line for each property
 * of a device that the user asked for and that is off. As invocation_rewrite, config_files_options
 * and device_mask_write. */
bool command_line_make(const struct arglist *user, const struct command_line *parts,
                       struct strlist *argv, struct strlist *overruled, struct error *err);

/* One line that a POSIX shell reads back as argv; the caller frees it; NULL for want of memory. */
char *command_line_quote(const struct strlist *argv);

/* The port of "tcp:HOST:PORT…", 0 for any other -incoming. */
uint16_t incoming_port(const char *uri);

/* A free TCP port of first..last on address (NULL: any); 0 with STATUS_CONFIG if there is none. */
uint16_t find_free_port(const char *address, uint16_t first, uint16_t last, struct error *err);

#endif
