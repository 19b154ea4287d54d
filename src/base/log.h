/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Words to the user on standard error, one line a call. Results go to standard output elsewhere.
 * errno is kept. Bytes outside printable ASCII are shown as '?': peers' and QEMU's text may be in.
 */
#ifndef QML_BASE_LOG_H
#define QML_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* What is shown: up to and with this level. Default: LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
/* Begin each line with the time (UTC, RFC 3339): for a log that is read later. Default: no. */
void log_set_time(bool time);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What others can cause is said so often at most in LOG_WINDOW_MS, all zeroes before. */
struct log_rate {
    int64_t window; /* ends then, as clock_now_ms() */
    unsigned lines, left_out;
};
#define LOG_WINDOW_MS 10000

/* Whether one more line may be written, of `most` in each window. How many were left out in the
 * last one is said with the first of the next: "17 more WHAT". */
bool log_rate_take(struct log_rate *rate, unsigned most, const char *what);

/* An error's message, with each of several things that it tells on a line of its own. */
void log_error_lines(const char *message);

#endif
