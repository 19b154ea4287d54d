/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/deadline.h"
#include "base/error.h"

static enum log_level shown = LOG_LEVEL_INFO;
static bool timed;

void log_set_level(enum log_level level)
{
    shown = level;
}

enum log_level log_get_level(void)
{
    return shown;
}

void log_set_time(bool time)
{
    timed = time;
}

__attribute__((format(printf, 3, 0))) static void put(enum log_level level, const char *prefix,
                                                      const char *format, va_list args)
{
    int saved = errno;
    char line[4096];
    if (level > shown)
        return;
    size_t used = 0;
    struct tm utc;
    time_t now = time(NULL);
    if (timed && gmtime_r(&now, &utc))
        used = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%SZ ", &utc);
    used += (size_t)snprintf(line + used, sizeof(line) - used, "qemu-migrate-launch: %s", prefix);
    errno = saved; /* for %m */
    int more = vsnprintf(line + used, sizeof(line) - used - 1, format, args);
    size_t length = more < 0 ? used : used + (size_t)more;
    if (length > sizeof(line) - 2) {
        length = sizeof(line) - 2;
        memcpy(line + length - 3, "...", 3);
    }
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)line[i] < 0x20 || (unsigned char)line[i] > 0x7e)
            line[i] = '?';
    line[length] = '\n';
    /* One write, so that the lines of several processes do not mix. Nobody to tell if it fails. */
    ssize_t ignored = write(STDERR_FILENO, line, length + 1);
    (void)ignored;
    errno = saved;
}

#define DEFINE_LOG(name, level, prefix)                                                            \
    void name(const char *format, ...)                                                             \
    {                                                                                              \
        va_list args;                                                                              \
        va_start(args, format);                                                                    \
        put(level, prefix, format, args);                                                          \
        va_end(args);                                                                              \
    }

DEFINE_LOG(log_error, LOG_LEVEL_ERROR, "")
DEFINE_LOG(log_warning, LOG_LEVEL_WARNING, "warning: ")
DEFINE_LOG(log_info, LOG_LEVEL_INFO, "")
DEFINE_LOG(log_debug, LOG_LEVEL_DEBUG, "debug: ")

bool log_rate_take(struct log_rate *rate, unsigned most, const char *what)
{
    int64_t now = clock_now_ms();
    if (now >= rate->window) {
        if (rate->left_out > 0)
            log_info("%u more %s", rate->left_out, what);
        *rate = (struct log_rate){.window = now + LOG_WINDOW_MS};
    }
    if (rate->lines++ < most)
        return true;
    rate->left_out++;
    return false;
}

void log_error_lines(const char *message)
{
    for (const char *line = message, *next; line; line = next) {
        next = strstr(line, ERROR_EACH);
        log_error("%s%.*s", line == message ? "" : "  ",
                  (int)(next ? (size_t)(next - line) : strlen(line)), line);
        next = next ? next + strlen(ERROR_EACH) : NULL;
    }
}
