/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * `trust list` for people.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/columns.h"
#include "cli/cmd_trust.h"
#include "cli/layout.h"

static void format_date(int64_t when, char *text, size_t size)
{
    time_t seconds = (time_t)(when - 1);
    struct tm date;
    if (when == TRUST_NEVER || !gmtime_r(&seconds, &date) ||
        strftime(text, size, "%Y-%m-%d", &date) == 0)
        snprintf(text, size, "never");
}

/* "b.example:16515", "[fe80::1]", "-"; NULL for want of memory, as below. */
static char *format_address(const struct trust_entry *entry)
{
    char port[8] = "";
    bool v6 = entry->host && strchr(entry->host, ':');
    if (entry->port)
        snprintf(port, sizeof(port), ":%u", entry->port);
    return string_format("%s%s%s%s", v6 ? "[" : "", entry->host ? entry->host : "-", v6 ? "]" : "",
                         port);
}

static char *format_end(const struct trust_entry *entry)
{
    char date[32];
    format_date(entry->expires, date, sizeof(date));
    return string_format("%s %s", trust_entry_is_expired(entry, time(NULL)) ? "expired" : "expires",
                         date);
}

/* A line for each pin, for programs: a change of its form breaks them. Where an authority vouches,
 * it stands in the place of a pin. */
static bool print_lines(const struct trust_entry *entry, const char *address, const char *end,
                        struct error *err)
{
    const struct authority *authority = entry->authority;
    for (size_t i = 0; i < (authority ? 1 : entry->pin_count); i++) {
        autofree char *line =
            string_format("%-16s %s%s  %s  %s", entry->name, authority ? "ca:" : "",
                          authority ? authority->name : entry->pins[i], address, end);
        if (!line)
            return error_no_memory(err);
        if (!put_line(line, err))
            return false;
    }
    return true;
}

static bool fill_row(const struct trust_entry *entry, const char *address, const char *end,
                     struct strlist *row)
{
    autostrbuf struct strbuf pins = {0};
    if (entry->authority)
        strbuf_printf(&pins, "ca:%s%s", entry->authority->name, entry->pin_count > 0 ? " " : "");
    for (size_t i = 0; i < entry->pin_count; i++)
        strbuf_printf(&pins, "%s%s", i > 0 ? " " : "", entry->pins[i]);
    return !pins.failed && strlist_push(row, entry->name) && strlist_push(row, address) &&
           strlist_push(row, end) && strlist_push(row, pins.data ? pins.data : "");
}

static bool print_table(const struct trust *trust, struct strlist *rows, struct error *err)
{
    static const char *const titles[] = {"NAME", "ADDRESS", "END", "PIN"};
    for (size_t i = 0; i < sizeof(titles) / sizeof(titles[0]); i++)
        if (!strlist_push(&rows[0], titles[i]))
            return error_no_memory(err);
    for (size_t i = 0; i < trust->count; i++) {
        autofree char *address = format_address(&trust->entries[i]);
        autofree char *end = format_end(&trust->entries[i]);
        if (!address || !end || !fill_row(&trust->entries[i], address, end, &rows[i + 1]))
            return error_no_memory(err);
    }
    return put_table(rows, trust->count + 1, err);
}

bool trust_print(const struct trust *trust, struct error *err)
{
    bool good = true;
    if (columns_of(STDOUT_FILENO) == 0 || trust->count == 0) {
        for (size_t i = 0; good && i < trust->count; i++) {
            autofree char *address = format_address(&trust->entries[i]);
            autofree char *end = format_end(&trust->entries[i]);
            good = address && end ? print_lines(&trust->entries[i], address, end, err)
                                  : error_no_memory(err);
        }
        return good;
    }
    struct strlist *rows = calloc(trust->count + 1, sizeof(*rows));
    good = rows ? print_table(trust, rows, err) : error_no_memory(err);
    for (size_t i = 0; rows && i <= trust->count; i++)
        strlist_free(&rows[i]);
    free(rows);
    return good;
}
