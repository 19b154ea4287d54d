/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which files a running QEMU is made of: what is cached about a QEMU holds as long as they do.
 */
#ifndef QML_HOST_QEMU_FILES_H
#define QML_HOST_QEMU_FILES_H

#include <sys/stat.h>
#include <sys/types.h>

#include "base/digest.h"
#include "base/strings.h"

/* A line for a file or folder as it is: "PATH DEVICE INODE SIZE MTIME CTIME", the times with
 * nanoseconds. NULL for want of memory. */
char *file_identity(const char *path, const struct stat *st);

/* A line, as of file_identity, for every file that the process has mapped: the program, its
 * libraries and modules; sorted. Empty when in doubt: another program runs than the file that was
 * started (a wrapper script: what it does may depend on anything), the process has children, or one
 * of the files is not there any more. STATUS_INTERNAL for want of memory. */
bool qemu_files_list(pid_t pid, dev_t device, ino_t inode, struct strlist *files,
                     struct error *err);

/* A digest over such a list; hex becomes "" when it is empty. STATUS_INTERNAL. */
bool qemu_files_list_digest(const struct strlist *files, char hex[DIGEST_HEX_SIZE],
                            struct error *err);

/* qemu_files_list_digest of qemu_files_list. */
bool qemu_files_digest(pid_t pid, dev_t device, ino_t inode, char hex[DIGEST_HEX_SIZE],
                       struct error *err);

/* The folders that the files of a list lie in, each once, as lines of the same kind: a file that
 * comes or goes beside them changes its folder. False when one cannot be seen or for want of
 * memory. */
bool qemu_files_folders(const struct strlist *files, struct strlist *folders);

/* Whether every file and folder of the lines is still what its line says, as this process sees it.
 * before: or NULL; then each must also have changed last before that time (CLOCK_REALTIME). */
bool qemu_files_are_unchanged(const struct strlist *lines, const struct timespec *before);

#endif
