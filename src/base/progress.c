/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/progress.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/columns.h"
#include "base/file.h"

#define BAR_MIN 10
#define BAR_MAX 40
#define BAR_MS 100
#define LINE_MS 1000

char *progress_size(int64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;
    double value = bytes < 0 ? 0 : (double)bytes;
    /* 1023.5 would be printed as 1024 */
    while (value >= (unit == 0 ? 1024 : 1023.5) && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    return string_format(unit > 0 && value < 9.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

int progress_percent(const struct progress_sample *sample)
{
    if (sample->total <= 0 || sample->remaining < 0 || sample->remaining > sample->total)
        return 0;
    return (int)(100.0 * (double)(sample->total - sample->remaining) / (double)sample->total);
}

/* "12 MiB/s", added to a list with words around it. False for want of memory. */
static bool add_size(struct strlist *fields, const char *before, int64_t bytes, const char *after)
{
    autofree char *text = bytes < 0 ? NULL : progress_size(bytes);
    return bytes < 0 || (text && strlist_pushf(fields, "%s%s%s", before, text, after));
}

/* What there is to tell, the most important first. */
static bool list_fields(const struct progress_sample *sample, struct strlist *fields)
{
    return strlist_pushf(fields, "%3d %%", progress_percent(sample)) &&
           add_size(fields, "", sample->rate, "/s") &&
           add_size(fields, "", sample->remaining, " left") &&
           (sample->dirty_rate == 0 || add_size(fields, "dirty ", sample->dirty_rate, "/s")) &&
           (sample->expected_downtime_ms < 0 ||
            strlist_pushf(fields, "downtime %lld ms", (long long)sample->expected_downtime_ms)) &&
           (sample->throttle <= 0 || strlist_pushf(fields, "throttle %d %%", sample->throttle));
}

static char *draw(const char *label, int percent, const char *words, size_t bar, bool colour)
{
    autostrbuf struct strbuf text = {0};
    size_t done = bar * (size_t)percent / 100;
    strbuf_printf(&text, "%s [%s", label, colour ? "\033[32m" : "");
    for (size_t i = 0; i < bar; i++)
        strbuf_puts(&text, i < done ? "#" : i == done && colour ? "\033[0m-" : "-");
    strbuf_printf(&text, "%s] %s", colour && done == bar ? "\033[0m" : "", words);
    return strbuf_steal(&text);
}

char *progress_bar(const char *label, const struct progress_sample *sample, size_t columns,
                   bool colour)
{
    autostrlist struct strlist fields = {0};
    size_t room = columns > 0 ? columns - 1 : 0; /* the last column would wrap on some terminals */
    if (!list_fields(sample, &fields))
        return NULL;
    for (;;) {
        autofree char *words = strlist_join(&fields, "  ");
        if (!words)
            return NULL;
        size_t used = strlen(label) + strlen(" [] ") + strlen(words);
        if (used + BAR_MIN <= room)
            return draw(label, progress_percent(sample), words,
                        room - used < BAR_MAX ? room - used : BAR_MAX, colour);
        if (fields.count == 1) /* not even the percents: no bar, as many characters as there are */
            return string_format("%.*s", (int)room, words + strspn(words, " "));
        free(fields.items[--fields.count]);
        fields.items[fields.count] = NULL;
    }
}

char *progress_line(const char *label, const struct progress_sample *sample)
{
    autostrlist struct strlist fields = {0};
    if (!list_fields(sample, &fields))
        return NULL;
    autofree char *words = strlist_join(&fields, ", ");
    return words ? string_format("%s: %s", label, words + strspn(words, " ")) : NULL;
}

static bool add_number(json_t *json, const char *name, int64_t value)
{
    return value < 0 || json_object_set_new(json, name, json_integer(value)) == 0;
}

json_t *progress_json(const struct progress_sample *sample)
{
    autojson json_t *json =
        json_pack("{s:s, s:i}", "status", sample->status, "percent", progress_percent(sample));
    if (!json || !add_number(json, "total", sample->total) ||
        !add_number(json, "remaining", sample->remaining) ||
        !add_number(json, "transferred", sample->transferred) ||
        !add_number(json, "rate", sample->rate) ||
        !add_number(json, "dirty_rate", sample->dirty_rate) ||
        !add_number(json, "elapsed_ms", sample->elapsed_ms) ||
        !add_number(json, "expected_downtime_ms", sample->expected_downtime_ms) ||
        !add_number(json, "throttle", sample->throttle))
        return NULL;
    return STEAL(json);
}

struct progress progress_begin(int fd, const char *label, bool json, bool quiet, int color)
{
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    bool terminal = isatty(fd) && term && *term && strcmp(term, "dumb") != 0;
    return (struct progress){
        .form = json       ? PROGRESS_JSON
                : quiet    ? PROGRESS_NONE
                : terminal ? PROGRESS_BAR
                           : PROGRESS_LINES,
        .label = label,
        .fd = fd,
        .colour = color > 0 || (color < 0 && !(no_color && *no_color)),
    };
}

void progress_clear(struct progress *progress)
{
    if (progress->drawn)
        fd_write_all(progress->fd, "\r\033[K", 4, NULL);
    progress->drawn = false;
}

void progress_show(struct progress *progress, const struct progress_sample *sample, int64_t now)
{
    autofree char *text = NULL, *line = NULL;
    autojson json_t *json = NULL;
    bool bar = progress->form == PROGRESS_BAR;
    bool changed = strncmp(progress->status, sample->status, sizeof(progress->status) - 1) != 0;
    if (progress->form == PROGRESS_NONE ||
        (!changed && now - progress->last_ms < (bar ? BAR_MS : LINE_MS)))
        return;
    if (bar) {
        text = progress_bar(progress->label, sample, columns_of(progress->fd), progress->colour);
    } else if (progress->form == PROGRESS_LINES) {
        text = progress_line(progress->label, sample);
    } else {
        json = progress_json(sample);
        text = json ? json_to_text(json) : NULL;
    }
    /* One write: other processes write to the same log. */
    line = text ? string_format(bar ? "\r%s\033[K" : "%s\n", text) : NULL;
    if (!line || !fd_write_all(progress->fd, line, strlen(line), NULL))
        return;
    progress->drawn = bar;
    progress->last_ms = now;
    strncpy(progress->status, sample->status, sizeof(progress->status) - 1);
}
