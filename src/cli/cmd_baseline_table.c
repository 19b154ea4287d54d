/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is lost, as a table of features by hosts.
 */
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/columns.h"
#include "cli/cmd_baseline.h"
#include "cli/layout.h"

/* In a pipe: the same columns whatever the names are. */
#define PIPE_COLUMNS 80
#define PIPE_NAME_WIDTH 36
#define PIPE_MARK_WIDTH 8 /* "policy", "request" and a blank */
#define GAP 2

/* How wide columns are, with the gap behind them. */
struct shape {
    size_t name;   /* of features */
    size_t host;   /* 0: there is no column for each, but a list of who lacks it */
    bool numbered; /* numbers head the columns, with a line for each above the table */
};

/* Why the host lacks the feature, or "yes". */
static const char *mark(const struct loss *loss, const char *host)
{
    for (size_t i = 0; i < loss->hosts.count; i++)
        if (strcmp(loss->hosts.items[i], host) == 0)
            return loss_cause_name(loss->causes[i]);
    return "yes";
}

static size_t longer(size_t width, const char *text)
{
    size_t length = strlen(text);
    return length > width ? length : width;
}

static struct shape pipe_shape(const struct baseline_command *command)
{
    size_t host = PIPE_MARK_WIDTH;
    for (size_t i = 0; i < command->count; i++)
        host = longer(host - GAP, command->offers[i]->host) + GAP;
    bool numbered = PIPE_NAME_WIDTH + host * command->count > PIPE_COLUMNS;
    return (struct shape){PIPE_NAME_WIDTH, numbered ? PIPE_MARK_WIDTH : host, numbered};
}

/* What fits: names above the columns, else numbers, else lists of numbers. */
static struct shape terminal_shape(const struct baseline_command *command, size_t columns)
{
    size_t name = strlen("FEATURE"), marks = strlen("yes"), host;
    for (size_t i = 0; i < command->report.loss_count; i++) {
        const struct loss *loss = &command->report.losses[i];
        name = longer(name, loss->feature);
        for (size_t h = 0; h < loss->hosts.count; h++)
            marks = longer(marks, loss_cause_name(loss->causes[h]));
    }
    host = marks;
    for (size_t i = 0; i < command->count; i++)
        host = longer(host, command->offers[i]->host);
    name += GAP;
    if (name + (host + GAP) * command->count - GAP <= columns)
        return (struct shape){name, host + GAP, false};
    host = longer(marks, command->count < 10 ? "[1]" : "[10]");
    if (name + (host + GAP) * command->count - GAP <= columns)
        return (struct shape){name, host + GAP, true};
    return (struct shape){name, 0, true};
}

/* A text and blanks up to that width, one at least. */
static void put_cell(struct strbuf *line, const char *text, size_t width)
{
    strbuf_printf(line, "%s ", text);
    for (size_t length = strlen(text) + 1; length < width; length++)
        strbuf_puts(line, " ");
}

static bool put_row(struct strbuf *line, struct error *err)
{
    while (line->length > 0 && line->data[line->length - 1] == ' ')
        line->data[--line->length] = '\0';
    bool good = line->failed ? error_no_memory(err) : put_line(line->data ? line->data : "", err);
    line->length = 0;
    return good;
}

static bool print_header(const struct baseline_command *command, const struct shape *shape,
                         struct error *err)
{
    autostrbuf struct strbuf line = {0};
    for (size_t i = 0; i < command->count && shape->numbered; i++) {
        strbuf_printf(&line, "[%zu] %s", i + 1, command->offers[i]->host);
        if (!put_row(&line, err))
            return false;
    }
    put_cell(&line, "FEATURE", shape->name);
    for (size_t i = 0; i < command->count && shape->host > 0; i++) {
        char number[24];
        snprintf(number, sizeof(number), "[%zu]", i + 1);
        put_cell(&line, shape->numbered ? number : command->offers[i]->host, shape->host);
    }
    if (shape->host == 0)
        strbuf_puts(&line, "LACKED BY");
    return put_row(&line, err);
}

/* "cpu: 1 3; kvm: 2", by the numbers of hosts. */
static void put_lacks(struct strbuf *line, const struct baseline_command *command,
                      const struct loss *loss)
{
    const char *between = "";
    for (enum loss_cause cause = LOSS_CPU; cause <= LOSS_REQUEST; cause++) {
        const char *name = loss_cause_name(cause);
        bool any = false;
        for (size_t i = 0; i < command->count; i++) {
            if (strcmp(mark(loss, command->offers[i]->host), name) != 0)
                continue;
            if (!any)
                strbuf_printf(line, "%s%s:", between, name);
            strbuf_printf(line, " %zu", i + 1);
            any = true;
        }
        between = any ? "; " : between;
    }
}

static bool print_row(const struct baseline_command *command, const struct shape *shape,
                      const struct loss *loss, size_t columns, struct error *err)
{
    autostrbuf struct strbuf line = {0}, text = {0};
    const char *start = !loss->security ? "" : color_start(command->context, COLOR_RED);
    put_cell(&text, loss->feature, shape->name);
    for (size_t i = 0; i < command->count && shape->host > 0; i++)
        put_cell(&text, mark(loss, command->offers[i]->host), shape->host);
    if (shape->host == 0)
        put_lacks(&text, command, loss);
    if (text.failed)
        return error_no_memory(err);
    autofree char *lines = columns_wrap(text.data, shape->host == 0 ? columns : 0, shape->name);
    if (!lines)
        return error_no_memory(err);
    /* colours take no room: they come when the lines are made */
    size_t length = strlen(loss->feature);
    strbuf_printf(&line, "%s%.*s%s%s", start, (int)length, lines, *start ? color_end() : "",
                  lines + length);
    return put_row(&line, err);
}

bool baseline_print_losses(const struct baseline_command *command, struct error *err)
{
    size_t columns = columns_of(STDOUT_FILENO);
    if (command->report.loss_count == 0)
        return put_line("The hosts give a guest the same features.", err);
    struct shape shape = columns > 0 ? terminal_shape(command, columns) : pipe_shape(command);
    if (!print_header(command, &shape, err))
        return false;
    for (size_t i = 0; i < command->report.loss_count; i++)
        if (!print_row(command, &shape, &command->report.losses[i], columns, err))
            return false;
    return true;
}
