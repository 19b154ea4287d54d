/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Files: read whole with a limit, written whole or not at all.
 */
#ifndef QML_BASE_FILE_H
#define QML_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

/* Read a whole regular file of at most max_size bytes. *data is NUL-terminated and for the caller
 * to free. If it does not exist: *data = NULL and true, when missing_ok. A file that cannot be read
 * is STATUS_CONFIG, one that is too big STATUS_DATA. "-" is a file of that name. */
bool file_read(const char *path, size_t max_size, bool missing_ok, char **data, size_t *length,
               struct error *err);

/* Like file_read for secrets: refused (STATUS_NOT_TRUSTED) unless a regular file, owned by the
 * effective user (or root), that group and others can neither read nor write. */
bool file_read_private(const char *path, size_t max_size, char **data, size_t *length,
                       struct error *err);

/* Like file_read for files that decide about trust: refused (STATUS_NOT_TRUSTED) unless owned by
 * the effective user or root and not writable by group or others. */
bool file_read_trusted(const char *path, size_t max_size, bool missing_ok, char **data,
                       size_t *length, struct error *err);

/* Write a file whole: a temporary file in the same folder, fsync, rename, fsync of the folder.
 * STATUS_CANNOT_WRITE; what was at path stays as it was then. */
bool file_write_atomic(const char *path, const void *data, size_t length, mode_t mode,
                       struct error *err);

/* Give a file that file_write_atomic wrote another name in its folder, in the place of one that is
 * there; synced. STATUS_CANNOT_WRITE. */
bool file_move(const char *from, const char *to, struct error *err);

/* Like file_write_atomic, but an existing file is an error (STATUS_CANNOT_WRITE), with no race. */
bool file_create_atomic(const char *path, const void *data, size_t length, mode_t mode,
                        struct error *err);

/* Write a result where a user wants it: a new or regular file as file_write_atomic does, through a
 * symbolic link to one; anything else that exists (a device, a FIFO) is written into.
 * STATUS_CANNOT_WRITE. */
bool file_write_output(const char *path, const void *data, size_t length, mode_t mode,
                       struct error *err);

/* Make a folder and those above it; an existing one is left as it is. Folders above get 0755. With
 * a mode for nobody else, an existing one that another user owns (but root), or that others can
 * write to, is refused: what is put there, sockets above all, they could take away or put in its
 * place. STATUS_CANNOT_WRITE, STATUS_NOT_TRUSTED. */
bool folder_make(const char *path, mode_t mode, struct error *err);

/* Write all bytes to a descriptor, through short writes and EINTR. STATUS_CANNOT_WRITE. */
bool fd_write_all(int fd, const void *data, size_t length, struct error *err);

/* An exclusive lock on path (created 0600 if needed), held until the descriptor is closed. Waits
 * for its holder if `wait`, else *busy becomes true. The descriptor, or -1. STATUS_CANNOT_WRITE. */
int file_lock(const char *path, bool wait, bool *busy, struct error *err);

#endif
