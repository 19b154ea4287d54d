/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/strings.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

void strbuf_free(struct strbuf *buf)
{
    free(buf->data);
    *buf = (struct strbuf){0};
}

static bool strbuf_reserve(struct strbuf *buf, size_t more)
{
    if (buf->failed)
        return false;
    if (more > SIZE_MAX / 4 || buf->length > SIZE_MAX / 4) {
        buf->failed = true;
        return false;
    }
    size_t need = buf->length + more + 1;
    if (need <= buf->capacity)
        return true;
    size_t capacity = buf->capacity ? buf->capacity : 64;
    while (capacity < need)
        capacity *= 2;
    char *data = realloc(buf->data, capacity);
    if (!data) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

void strbuf_add(struct strbuf *buf, const void *data, size_t length)
{
    if (!strbuf_reserve(buf, length))
        return;
    if (length > 0)
        memcpy(buf->data + buf->length, data, length);
    buf->length += length;
    buf->data[buf->length] = '\0';
}

void strbuf_puts(struct strbuf *buf, const char *text)
{
    strbuf_add(buf, text, strlen(text));
}

void strbuf_printf(struct strbuf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    if (length < 0) {
        buf->failed = true;
    } else if (strbuf_reserve(buf, (size_t)length)) {
        vsnprintf(buf->data + buf->length, (size_t)length + 1, format, again);
        buf->length += (size_t)length;
    }
    va_end(again);
    va_end(args);
}

char *strbuf_steal(struct strbuf *buf)
{
    if (!buf->data)
        strbuf_puts(buf, "");
    char *data = buf->failed ? NULL : STEAL(buf->data);
    strbuf_free(buf);
    return data;
}

void strlist_free(struct strlist *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct strlist){0};
}

bool strlist_push_owned(struct strlist *list, char *text)
{
    if (!text)
        return false;
    if (list->count + 2 > list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 8;
        char **items = realloc(list->items, capacity * sizeof(*items));
        if (!items) {
            free(text);
            return false;
        }
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = text;
    list->items[list->count] = NULL;
    return true;
}

bool strlist_push(struct strlist *list, const char *text)
{
    return strlist_push_owned(list, strdup(text));
}

bool strlist_pushf(struct strlist *list, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    return length >= 0 && strlist_push_owned(list, text);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void strlist_sort(struct strlist *list)
{
    size_t kept = 0;
    if (list->count > 0)
        qsort(list->items, list->count, sizeof(*list->items), compare_texts);
    for (size_t i = 0; i < list->count; i++) {
        if (kept > 0 && strcmp(list->items[kept - 1], list->items[i]) == 0)
            free(list->items[i]);
        else
            list->items[kept++] = list->items[i];
    }
    if (kept < list->count)
        list->items[kept] = NULL;
    list->count = kept;
}

bool strlist_contains(const struct strlist *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], text) == 0)
            return true;
    return false;
}

char *strlist_join(const struct strlist *list, const char *separator)
{
    autostrbuf struct strbuf buf = {0};
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0)
            strbuf_puts(&buf, separator);
        strbuf_puts(&buf, list->items[i]);
    }
    return strbuf_steal(&buf);
}

bool strlist_split(struct strlist *list, const char *text, char separator)
{
    while (*text) {
        const char *end = strchr(text, separator);
        if (!end)
            end = text + strlen(text);
        const char *from = text, *to = end;
        while (from < to && isspace((unsigned char)*from))
            from++;
        while (to > from && isspace((unsigned char)to[-1]))
            to--;
        if (to > from && !strlist_push_owned(list, strndup(from, (size_t)(to - from))))
            return false;
        text = *end ? end + 1 : end;
    }
    return true;
}

char *string_format(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    return length < 0 ? NULL : text;
}

bool string_starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
    if (!text || !*text || (text[0] == '0' && text[1]))
        return false;
    uint64_t n = 0;
    for (const char *p = text; *p; p++) {
        if (*p < '0' || *p > '9')
            return false;
        uint64_t digit = (uint64_t)(*p - '0');
        if (n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    if (n < min || n > max)
        return false;
    *value = n;
    return true;
}

static bool is_digit_or_lower(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
}

static bool name_matches(const char *text, bool upper, const char *others)
{
    size_t length = text ? strnlen(text, 65) : 0;
    if (length < 1 || length > 64)
        return false;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        bool good =
            is_digit_or_lower(c) || (upper && c >= 'A' && c <= 'Z') || (i > 0 && strchr(others, c));
        if (!good)
            return false;
    }
    return true;
}

bool name_is_feature(const char *text)
{
    return name_matches(text, false, "._-");
}

bool name_is_host(const char *text)
{
    return name_matches(text, false, "._-");
}

bool name_is_machine(const char *text)
{
    return name_matches(text, false, "._-+");
}

bool name_is_model(const char *text)
{
    return name_matches(text, true, "._-");
}

bool name_is_vm(const char *text)
{
    return name_matches(text, true, "._-");
}

/* A host as it may stand in an address: a DNS name or IPv4 literal. */
static bool is_plain_host(const char *text, size_t length)
{
    if (length > 253)
        return false;
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)text[i]) && !strchr("._-", text[i]))
            return false;
    return length == 0 || text[0] != '-';
}

bool parse_address(const char *text, char **host, uint16_t *port)
{
    const char *rest;
    autofree char *name = NULL;
    errno = 0;
    if (text[0] == '[') {
        const char *end = strchr(text, ']');
        struct in6_addr address;
        if (!end)
            return false;
        name = strndup(text + 1, (size_t)(end - text - 1));
        if (!name || inet_pton(AF_INET6, name, &address) != 1)
            return false;
        rest = end + 1;
    } else {
        size_t length = strcspn(text, ":");
        if (!is_plain_host(text, length))
            return false;
        name = strndup(text, length);
        if (!name)
            return false;
        rest = text + length;
    }
    uint64_t number = 0;
    if (*rest && (*rest != ':' || !parse_number(rest + 1, 1, 65535, &number)))
        return false;
    if (!*rest && !*name)
        return false;
    if (*rest)
        *port = (uint16_t)number;
    *host = STEAL(name);
    return true;
}

bool text_is_plain(const char *text)
{
    while (*text >= ' ' && *text <= '~')
        text++;
    return *text == '\0';
}

/* The character at *text, which is moved behind it; 0 if that is not UTF-8 (RFC 3629). */
static uint32_t take_character(const unsigned char **text)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000}; /* with so many bytes behind it */
    const unsigned char *p = *text;
    size_t more = p[0] < 0x80 ? 0 : p[0] < 0xe0 ? 1 : p[0] < 0xf0 ? 2 : 3;
    if ((p[0] >= 0x80 && p[0] < 0xc0) || p[0] >= 0xf8)
        return 0;
    uint32_t character = more == 0 ? p[0] : p[0] & (0x3fU >> more);
    for (size_t i = 1; i <= more; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        character = character << 6 | (p[i] & 0x3fU);
    }
    *text = p + 1 + more;
    bool good = character >= least[more] && character <= 0x10ffff &&
                (character < 0xd800 || character > 0xdfff);
    return good ? character : 0;
}

bool text_can_be_shown(const char *text)
{
    /* Unicode's categories Cc, Cf, Zl and Zp, but for those of scripts (UCD 15,
     * DerivedGeneralCategory.txt); 0 is what is not UTF-8. */
    static const uint32_t hidden[][2] = {
        {0x0, 0x1f},      {0x7f, 0x9f},     {0xad, 0xad},       {0x61c, 0x61c},
        {0x180e, 0x180e}, {0x200b, 0x200f}, {0x2028, 0x202e},   {0x2060, 0x206f},
        {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe0fff},
    };
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        uint32_t character = take_character(&p);
        for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++)
            if (character >= hidden[i][0] && character <= hidden[i][1])
                return false;
    }
    return true;
}

char *string_plain(const char *text, size_t max)
{
    autofree char *plain = calloc(1, max + 1);
    size_t length = 0;
    if (!plain)
        return NULL;
    for (; text && *text && length < max; text++)
        if (*text >= 0x20 && *text <= 0x7e)
            plain[length++] = *text;
    while (length > 0 && plain[length - 1] == ' ')
        length--;
    plain[length] = '\0';
    return STEAL(plain);
}

char *shell_quote(const char *text)
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               "%+,-./:=@_";
    if (*text && strspn(text, safe) == strlen(text))
        return strdup(text);
    autostrbuf struct strbuf buf = {0};
    strbuf_puts(&buf, "'");
    for (const char *p = text; *p; p++) {
        if (*p == '\'')
            strbuf_puts(&buf, "'\\''");
        else
            strbuf_add(&buf, p, 1);
    }
    strbuf_puts(&buf, "'");
    return strbuf_steal(&buf);
}
