/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "page/html.h"

#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd"

/* How the first bytes of a character in UTF-8 look, by how many it has: RFC 3629, section 4. */
static const struct {
    unsigned char mask, lead;
    uint32_t least; /* a smaller one is written in fewer bytes */
} forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};

/* The character that text begins with, in *length bytes; false if there is none. */
static bool take_character(const char *text, uint32_t *character, size_t *length)
{
    const unsigned char *bytes = (const unsigned char *)text;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if ((bytes[0] & forms[i].mask) != forms[i].lead)
            continue;
        uint32_t value = bytes[0] & (unsigned char)~forms[i].mask;
        for (size_t k = 1; k <= i; k++) {
            if ((bytes[k] & 0xc0) != 0x80) /* the text's end, too */
                return false;
            value = value << 6 | (bytes[k] & 0x3f);
        }
        if (value < forms[i].least || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
            return false;
        *character = value;
        *length = i + 1;
        return true;
    }
    return false;
}

static bool is_shown(uint32_t character)
{
    static const struct {
        uint32_t first, last;
    } unshown[] = {
        {0x00, 0x08},     {0x0b, 0x1f},     {0x7f, 0x9f},     {0x61c, 0x61c},
        {0x200e, 0x200f}, {0x202a, 0x202e}, {0x2066, 0x2069}, {0xfffe, 0xffff},
    };
    for (size_t i = 0; i < sizeof(unshown) / sizeof(unshown[0]); i++)
        if (character >= unshown[i].first && character <= unshown[i].last)
            return false;
    return true;
}

static const char *entity(char byte)
{
    switch (byte) {
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
        return NULL;
    }
}

void html_puts(struct strbuf *page, const char *text)
{
    while (*text) {
        uint32_t character;
        size_t length = 1;
        const char *name = entity(*text);
        if (name)
            strbuf_puts(page, name);
        else if (take_character(text, &character, &length) && is_shown(character))
            strbuf_add(page, text, length);
        else
            strbuf_puts(page, REPLACEMENT);
        text += length;
    }
}
