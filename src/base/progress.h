/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * How a long copy goes, for a person at a terminal (a bar, redrawn on the spot), for a log (a line
 * a second) and for a program (JSON lines). Formatting is apart from writing.
 */
#ifndef QML_BASE_PROGRESS_H
#define QML_BASE_PROGRESS_H

#include "base/json.h"

/* -1 in any number: not known. */
struct progress_sample {
    const char *status;                    /* one word: "active" */
    int64_t total, remaining, transferred; /* bytes */
    int64_t rate, dirty_rate;              /* bytes a second */
    int64_t elapsed_ms, expected_downtime_ms;
    int throttle; /* percent; 0: none */
};

/* A size in the largest fitting unit: "512 B", "1.2 GiB", "123 MiB". NULL for want of memory. */
char *progress_size(int64_t bytes);

/* How much is done, in percent, 0 to 100; 0 when it is not known. */
int progress_percent(const struct progress_sample *sample);

/* The bar for a terminal of so many columns, at least one less long, with no control characters but
 * colour. What does not fit is left out, the least important first. NULL for want of memory. */
char *progress_bar(const char *label, const struct progress_sample *sample, size_t columns,
                   bool colour);

/* All of it as a line for a log, with no newline; as an object. NULL for want of memory. */
char *progress_line(const char *label, const struct progress_sample *sample);
json_t *progress_json(const struct progress_sample *sample);

enum progress_form { PROGRESS_NONE, PROGRESS_BAR, PROGRESS_LINES, PROGRESS_JSON };

/* A display. fd is the caller's: standard error, for PROGRESS_JSON standard output. */
struct progress {
    enum progress_form form;
    const char *label; /* the VM; the caller's */
    int fd;
    bool colour;
    bool drawn;      /* a bar is on the terminal */
    int64_t last_ms; /* when something was written */
    char status[32]; /* of what was written */
};

/* One for fd: a bar when that is a terminal that can move its cursor (TERM is neither empty nor
 * "dumb"), else lines; PROGRESS_JSON and PROGRESS_NONE by the user's wish. color: as --color says,
 * 1 always, 0 never, -1 by itself: not with NO_COLOR (no-color.org). */
struct progress progress_begin(int fd, const char *label, bool json, bool quiet, int color);

/* Show a sample, if it is time for it: now in milliseconds. A bar ten times a second, lines and
 * JSON once, and whenever the status has changed. That it cannot be written is no error of the
 * copy's. */
void progress_show(struct progress *progress, const struct progress_sample *sample, int64_t now);

/* Take the bar off the terminal: before other words go there, and at the end. */
void progress_clear(struct progress *progress);

#endif
