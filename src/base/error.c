/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Peers' and QEMU's words end up in messages: a terminal must not obey them. */
static void make_printable(char *text)
{
    for (unsigned char *p = (unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p > 0x7e)
            *p = '?';
}

static void finish(struct error *err, int length)
{
    if (length >= ERROR_MESSAGE_SIZE)
        memcpy(err->message + ERROR_MESSAGE_SIZE - 4, "...", 4);
    make_printable(err->message);
}

static void fill(struct error *err, enum status status, const char *format, va_list args)
{
    char text[ERROR_MESSAGE_SIZE]; /* an argument may be err->message itself */
    int length = vsnprintf(text, sizeof(text), format, args);
    err->status = status;
    memcpy(err->message, text, sizeof(text));
    finish(err, length);
}

bool error_set(struct error *err, enum status status, const char *format, ...)
{
    if (!err)
        return false;
    va_list args;
    va_start(args, format);
    fill(err, status, format, args);
    va_end(args);
    return false;
}

bool error_refuse(struct error *err, enum status status, const char *format, ...)
{
    if (!err || errno == ENOMEM)
        return error_no_memory(err);
    va_list args;
    va_start(args, format);
    fill(err, status, format, args);
    va_end(args);
    return false;
}

bool error_set_errno(struct error *err, enum status status, int errnum, const char *format, ...)
{
    if (!err)
        return false;
    char text[ERROR_MESSAGE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    err->status = errnum == ENOMEM ? STATUS_INTERNAL : status;
    bool descriptors = errnum == EMFILE || errnum == ENFILE;
    finish(err, snprintf(err->message, sizeof(err->message), "%s: %s%s", text, strerror(errnum),
                         descriptors ? " ('ulimit -n' tells how many there may be)" : ""));
    return false;
}

bool error_wrap(struct error *err, const char *format, ...)
{
    if (!err)
        return false;
    char context[ERROR_MESSAGE_SIZE], inner[ERROR_MESSAGE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof(context), format, args);
    va_end(args);
    memcpy(inner, err->message, sizeof(inner));
    finish(err, snprintf(err->message, sizeof(err->message), "%s: %s", context, inner));
    return false;
}

bool error_advise(struct error *err, const char *format, ...)
{
    if (!err || err->status == STATUS_INTERNAL)
        return false;
    char advice[ERROR_MESSAGE_SIZE], inner[ERROR_MESSAGE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(advice, sizeof(advice), format, args);
    va_end(args);
    memcpy(inner, err->message, sizeof(inner));
    finish(err, snprintf(err->message, sizeof(err->message), "%s: %s", inner, advice));
    return false;
}

bool error_no_memory(struct error *err)
{
    return error_set(err, STATUS_INTERNAL, "out of memory");
}
