/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The error object: one exit status and one line of text.
 *
 * Library code fills it where the detail is known, adds context on the way up and never prints or
 * exits; main() prints it once. It is a plain value, so reporting an error cannot fail for want of
 * memory; a text that is too long is cut with "...".
 */
#ifndef QML_BASE_ERROR_H
#define QML_BASE_ERROR_H

#include <stdbool.h>

#include "base/status.h"

#define ERROR_MESSAGE_SIZE 2048

struct error {
    enum status status;
    char message[ERROR_MESSAGE_SIZE]; /* no newline at its end; printable ASCII */
};

/* Stands before each of several things that one message tells: log_error_lines. */
#define ERROR_EACH " | "

#define ERROR_INIT                                                                                 \
    {                                                                                              \
        .status = STATUS_OK                                                                        \
    }

/* Fill err with a status and a message, replacing what it held. err may be NULL.
 * Always returns false, so that a caller can write: return error_set(...); */
bool error_set(struct error *err, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Like error_set, for a text that a reader did not take, unless errno is ENOMEM: then it is want of
 * memory, and that is said. Only behind readers that say so of errno. */
bool error_refuse(struct error *err, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Like error_set, with ": " and the text of errnum (an errno value) added. Want of memory (ENOMEM)
 * is STATUS_INTERNAL, whatever it was for. */
bool error_set_errno(struct error *err, enum status status, int errnum, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Put "context: " before the message that err holds. Always returns false. */
bool error_wrap(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Put ": what to do next" behind the message that err holds, unless memory lacked. Always returns
 * false. */
bool error_advise(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "out of memory", STATUS_INTERNAL. Always returns false. */
bool error_no_memory(struct error *err);

#endif
