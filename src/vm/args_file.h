/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * vms/VM.args: QEMU's command line for a VM on this host, as a shell would be told it. Only words
 * and quotes: there is no shell that reads it.
 */
#ifndef QML_VM_ARGS_FILE_H
#define QML_VM_ARGS_FILE_H

#include "base/paths.h"
#include "base/strings.h"
#include "base/error.h"

#define ARGS_FILE_SIZE_MAX ((size_t)128 << 10)

/* Words, parted by blanks and ends of lines. '…' and "…" keep a word together, a backslash takes
 * the next character as it is (in "…" only " \ $ and `), before the end of a line it lets the line
 * go on, '#' at the beginning of a word begins a comment. What else means something to a shell
 * (variables, patterns, redirections …) is refused with "NAME:LINE: ", STATUS_CONFIG. *argv must be
 * empty, and is filled only on success; it may come out empty. */
bool args_parse(const char *name, const char *text, struct strlist *argv, struct error *err);

/* CONFIG/vms/VM.args, else STATE/vms/VM.args. *path gets which one, for the caller to free; it
 * stays NULL, and true is returned, when there is neither. STATUS_CONFIG, also for one without
 * words; STATUS_DATA: too long; STATUS_NOT_TRUSTED: others can change it. */
bool args_file_load(const struct paths *paths, const char *vm, char **path, struct strlist *argv,
                    struct error *err);

/* The first of the two, where it would be; NULL for want of memory. */
char *args_file_path(const struct paths *paths, const char *vm);

#endif
