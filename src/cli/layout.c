/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/layout.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/columns.h"
#include "cli/command.h"

#define GAP 2       /* between columns */
#define INDENT 4    /* of what belongs to the line above */
#define LAST_MIN 20 /* a last column with less room is no column */
#define BACKSLASH 1

static bool put_text(const char *text, struct error *err)
{
    return text ? put_line(text, err) : error_no_memory(err);
}

bool put_wrapped(const char *text, size_t indent, struct error *err)
{
    autofree char *lines = columns_wrap(text, columns_of(STDOUT_FILENO), indent);
    return put_text(lines, err);
}

/* The longest beginning of word that ends behind a comma, or all of it, and that, quoted, has that
 * much room; the part up to the first comma if none has. 0 for want of memory. */
static size_t take_parts(const char *word, size_t room)
{
    size_t taken = 0;
    for (size_t next = 0; word[next];) {
        next += strcspn(word + next, ",");
        next += word[next] == ',';
        autofree char *part = string_format("%.*s", (int)next, word);
        autofree char *quoted = part ? shell_quote(part) : NULL;
        if (!quoted)
            return 0;
        if (taken > 0 && strlen(quoted) + (word[next] ? BACKSLASH : 0) > room)
            break;
        taken = next;
    }
    return taken;
}

char *layout_argument(const char *label, const char *plain, const char *word, size_t columns)
{
    autostrbuf struct strbuf lines = {0};
    strbuf_puts(&lines, label);
    if (columns == 0 || strlen(label) + strlen(plain) <= columns || !*word) {
        strbuf_puts(&lines, plain);
        return strbuf_steal(&lines);
    }
    size_t used = strlen(label);
    while (*word) {
        size_t length = take_parts(word, columns > used ? columns - used : 0);
        autofree char *part = string_format("%.*s", (int)length, word);
        autofree char *quoted = part ? shell_quote(part) : NULL;
        if (length == 0 || !quoted)
            return NULL;
        word += length;
        strbuf_printf(&lines, "%s%s", quoted, *word ? "\\\n" : "");
        used = 0;
    }
    return strbuf_steal(&lines);
}

bool put_argument(const char *label, const char *plain, const char *word, struct error *err)
{
    autofree char *lines = layout_argument(label, plain, word, columns_of(STDOUT_FILENO));
    return put_text(lines, err);
}

/* A text, wrapped, as lines of their own. */
static bool add_wrapped(struct strbuf *lines, const struct strbuf *text, size_t columns,
                        size_t indent)
{
    autofree char *wrapped = text->data ? columns_wrap(text->data, columns, indent) : NULL;
    if (text->failed || !wrapped)
        return false;
    strbuf_printf(lines, "%s%s", lines->length > 0 ? "\n" : "", wrapped);
    return true;
}

static size_t last_of(const struct strlist *row)
{
    return row->count - 1;
}

/* The name, and each cell below it behind its title. */
static bool add_stacked(struct strbuf *lines, const struct strlist *titles,
                        const struct strlist *row, size_t columns)
{
    autostrbuf struct strbuf name = {0};
    size_t width = 0;
    strbuf_puts(&name, row->items[0]);
    if (!add_wrapped(lines, &name, columns, INDENT))
        return false;
    for (size_t c = 1; c < titles->count; c++)
        width = strlen(titles->items[c]) > width ? strlen(titles->items[c]) : width;
    bool whole = row->count == titles->count;
    for (size_t c = 1; c < row->count; c++) {
        autostrbuf struct strbuf cell = {0};
        size_t indent = INDENT + (whole ? width + GAP : 0);
        strbuf_printf(&cell, "%*s", INDENT, "");
        if (whole)
            strbuf_printf(&cell, "%-*s", (int)(width + GAP), titles->items[c]);
        strbuf_puts(&cell, row->items[c]);
        if (!add_wrapped(lines, &cell, columns, indent))
            return false;
    }
    return true;
}

/* All cells on one line, the last one wrapped. */
static bool add_row(struct strbuf *lines, const struct strlist *row, const size_t widths[],
                    size_t columns)
{
    autostrbuf struct strbuf line = {0};
    for (size_t c = 0; c < last_of(row); c++)
        strbuf_printf(&line, "%-*s", (int)(widths[c] + GAP), row->items[c]);
    size_t indent = line.length;
    strbuf_puts(&line, row->items[last_of(row)]);
    return add_wrapped(lines, &line, columns, indent);
}

/* The least room for the last column: that of its longest word, and of some more. */
static size_t room_for_last(const struct strlist rows[], size_t count, size_t titles, size_t width)
{
    size_t room = width < LAST_MIN ? width : LAST_MIN;
    for (size_t i = 0; i < count; i++) {
        const char *text = rows[i].count == titles ? rows[i].items[last_of(&rows[i])] : "";
        while (*text) {
            size_t length = strcspn(text, " ");
            room = length > room ? length : room;
            text += length;
            text += strspn(text, " ");
        }
    }
    return room;
}

char *layout_table(const struct strlist rows[], size_t count, size_t columns)
{
    autostrbuf struct strbuf lines = {0};
    size_t titles = rows[0].count, lead = 0;
    autofree size_t *widths = calloc(titles, sizeof(*widths));
    if (!widths)
        return NULL;
    for (size_t i = 0; i < count; i++)
        for (size_t c = 0; c < rows[i].count && (c == 0 || rows[i].count == titles); c++)
            if (strlen(rows[i].items[c]) > widths[c])
                widths[c] = strlen(rows[i].items[c]);
    for (size_t c = 0; c + 1 < titles; c++)
        lead += widths[c] + GAP;
    size_t last = room_for_last(rows, count, titles, widths[titles - 1]);
    bool stacked = columns > 0 && lead + last > columns;
    for (size_t i = stacked; i < count; i++)
        if (!(stacked ? add_stacked(&lines, &rows[0], &rows[i], columns)
                      : add_row(&lines, &rows[i], widths, columns)))
            return NULL;
    return strbuf_steal(&lines);
}

bool put_table(const struct strlist rows[], size_t count, struct error *err)
{
    autofree char *text = layout_table(rows, count, columns_of(STDOUT_FILENO));
    return put_text(text, err);
}
