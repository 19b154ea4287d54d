/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "page/html.h"

#include <string.h>

/* How the page has a character, or NULL: as it is. */
static const char *reference(char character)
{
    switch (character) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return character >= ' ' && character <= '~' ? NULL : "&#xfffd;";
    }
}

void html_puts(struct strbuf *page, const char *text)
{
    for (; *text; text++) {
        const char *instead = reference(*text);
        if (instead)
            strbuf_puts(page, instead);
        else
            strbuf_add(page, text, 1);
    }
}
