/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/columns.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/strings.h"

#define COLUMNS_DEFAULT 80 /* a terminal that does not know its width */
#define COLUMNS_MAX 65535
#define INDENT_SMALL 2
#define ROOM_MIN 20 /* behind an indent that is kept */

size_t columns_of(int fd)
{
    const char *told = getenv("COLUMNS");
    struct winsize size;
    uint64_t columns;
    if (!isatty(fd))
        return 0;
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return told && parse_number(told, 1, COLUMNS_MAX, &columns) ? columns : COLUMNS_DEFAULT;
}

/* How much of text goes on a line with that much room, without the blanks behind it. */
static size_t fit(const char *text, size_t room)
{
    size_t length = strlen(text);
    if (length <= room)
        return length;
    for (length = room; length > 0 && text[length] != ' ';)
        length--;
    while (length > 0 && text[length - 1] == ' ')
        length--;
    if (length > 0)
        return length;
    length = strspn(text, " "); /* not even one word: that word */
    return length + strcspn(text + length, " ");
}

char *columns_wrap(const char *text, size_t columns, size_t indent)
{
    autostrbuf struct strbuf lines = {0};
    if (columns == 0)
        return strdup(text);
    if (indent > INDENT_SMALL && columns < indent + ROOM_MIN)
        indent = INDENT_SMALL;
    size_t room = columns;
    do {
        size_t length = fit(text, room);
        strbuf_add(&lines, text, length);
        text += length;
        text += strspn(text, " ");
        if (*text)
            strbuf_printf(&lines, "\n%*s", (int)indent, "");
        room = columns > indent ? columns - indent : 1;
    } while (*text);
    return strbuf_steal(&lines);
}
