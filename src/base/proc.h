/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What files of /proc say (proc(5)), from their text. The kernel writes them, but names, words and
 * paths in them are the process's own.
 */
#ifndef QML_BASE_PROC_H
#define QML_BASE_PROC_H

#include <stdint.h>

#include "base/strings.h"

/* /proc/PID/cmdline: the words, each with a NUL behind it (the last may lack it); text[length] is
 * one, too. False for want of memory. */
bool proc_words(const char *text, size_t length, struct strlist *words);

/* /proc/PID/stat: the state (field 3), and when the process started, in clock ticks since boot
 * (field 22). False: they are not there. */
bool proc_stat(const char *text, char *state, uint64_t *started);

/* The path in a line of /proc/PID/maps, its sixth field, which may hold blanks, without the end of
 * the line, which is cut off; NULL if it is no file's. */
const char *proc_mapped_path(char *line);

/* Whether one of the lines of /proc/PID/maps has that file, to be executed. */
bool proc_executes(const char *maps, const char *path);

#endif
