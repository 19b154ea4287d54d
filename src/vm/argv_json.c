/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/argv_json.h"

#include <string.h>

#include "base/cleanup.h"

static bool is_printable(char c)
{
    return c >= ' ' && c <= '~';
}

bool argv_fits(const struct strlist *argv)
{
    size_t size = 0;
    for (size_t i = 0; i < argv->count && size <= ARGV_SIZE_MAX; i++)
        size += strlen(argv->items[i]) + 1;
    return size <= ARGV_SIZE_MAX && argv->count <= ARGV_COUNT_MAX;
}

char *argv_word_escape(const char *word)
{
    autostrbuf struct strbuf text = {0};
    strbuf_puts(&text, "");
    for (const char *p = word; *p; p++) {
        if (*p == '\\')
            strbuf_puts(&text, "\\\\");
        else if (is_printable(*p))
            strbuf_add(&text, p, 1);
        else
            strbuf_printf(&text, "\\x%02x", (unsigned char)*p);
    }
    return strbuf_steal(&text);
}

json_t *argv_to_json(const struct strlist *argv)
{
    autostrlist struct strlist words = {0};
    for (size_t i = 0; i < argv->count; i++)
        if (!strlist_push_owned(&words, argv_word_escape(argv->items[i])))
            return NULL;
    return json_from_names(&words);
}

/* The byte of two digits that argv_word_escape would have written so; 0 if there is none. */
static char read_byte(const char *digits)
{
    static const char hex[] = "0123456789abcdef";
    const char *high = digits[0] ? strchr(hex, digits[0]) : NULL;
    const char *low = high && digits[1] ? strchr(hex, digits[1]) : NULL;
    char byte = low ? (char)((high - hex) << 4 | (low - hex)) : '\0';
    return is_printable(byte) ? '\0' : byte;
}

static bool add_word(struct strlist *argv, const char *text, struct error *err)
{
    autostrbuf struct strbuf word = {0};
    strbuf_puts(&word, "");
    for (const char *p = text; *p; p++) {
        char byte = *p;
        if (!is_printable(byte))
            byte = '\0';
        else if (byte == '\\' && p[1] == '\\')
            p++;
        else if (byte == '\\') {
            byte = p[1] == 'x' ? read_byte(p + 2) : '\0';
            p += byte ? 3 : 0;
        }
        if (!byte)
            return error_set(err, STATUS_DATA, "not the words of a command line");
        strbuf_add(&word, &byte, 1);
    }
    return strlist_push_owned(argv, strbuf_steal(&word)) || error_no_memory(err);
}

bool argv_from_json(const json_t *json, struct strlist *argv, struct error *err)
{
    autostrlist struct strlist words = {0};
    if (!json_is_array(json) || json_array_size(json) > ARGV_COUNT_MAX)
        return error_set(err, STATUS_DATA, "not the words of a command line");
    size_t i;
    json_t *entry;
    json_array_foreach(json, i, entry)
    {
        const char *text = json_string_value(entry);
        if (!text)
            return error_set(err, STATUS_DATA, "not the words of a command line");
        if (!add_word(&words, text, err))
            return false;
    }
    if (!argv_fits(&words))
        return error_set(err, STATUS_DATA, "a command line of more than %zu bytes", ARGV_SIZE_MAX);
    *argv = words;
    words = (struct strlist){0};
    return true;
}
