/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which files a running QEMU is made of: what is cached about a QEMU holds as long as they do.
 */
#ifndef QML_HOST_QEMU_FILES_H
#define QML_HOST_QEMU_FILES_H

#include <sys/types.h>

#include "base/digest.h"

/* A digest over the identity (device, inode, size, times of change) of every file that the process
 * has mapped: the program, its libraries and modules. hex becomes "" when in doubt: another program
 * runs than the file that was started (a wrapper script: what it does may depend on anything), the
 * process has children, or one of the files is not there any more. STATUS_INTERNAL. */
bool qemu_files_digest(pid_t pid, dev_t device, ino_t inode, char hex[DIGEST_HEX_SIZE],
                       struct error *err);

#endif
