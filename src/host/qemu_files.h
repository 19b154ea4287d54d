/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which files a running QEMU is made of: what is cached about a QEMU holds as long as they do.
 */
#ifndef QML_HOST_QEMU_FILES_H
#define QML_HOST_QEMU_FILES_H

#include <sys/types.h>

#include "base/digest.h"
#include "base/strings.h"

/* The paths of all files that the process has mapped: the program, its libraries and modules; with
 * the folders that they lie in, where another one might be found the next time. *paths (must be
 * empty) stays empty when in doubt: another program runs than the file that was started (a wrapper
 * script: what it does may depend on anything), the process has children, or one of the files is
 * not there any more. STATUS_INTERNAL. */
bool qemu_files_list(pid_t pid, dev_t device, ino_t inode, struct strlist *files,
                     struct strlist *folders, struct error *err);

/* A digest over the identity (device, inode, size, times of change) of each of these files. hex
 * becomes "" when there are none, or one is not there. STATUS_INTERNAL. */
bool qemu_files_digest(const struct strlist *paths, char hex[DIGEST_HEX_SIZE], struct error *err);

#endif
