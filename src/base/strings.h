/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Growing strings, lists of strings, and the one parser for each kind of small value.
 */
#ifndef QML_BASE_STRINGS_H
#define QML_BASE_STRINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A growing string. Start with {0}; `data` is NULL or NUL-terminated. The first failed allocation
 * sets `failed` and every later call does nothing, so that one check at the end is enough. */
struct strbuf {
    char *data;
    size_t length; /* without the NUL */
    size_t capacity;
    bool failed;
};

void strbuf_free(struct strbuf *buf);
void strbuf_add(struct strbuf *buf, const void *data, size_t length);
void strbuf_puts(struct strbuf *buf, const char *text);
void strbuf_printf(struct strbuf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The string, which the caller frees; buf is empty afterwards. NULL if an allocation failed. */
char *strbuf_steal(struct strbuf *buf);
#define autostrbuf __attribute__((cleanup(strbuf_free)))

/* A list of strings that owns them. Start with {0}. `items` is NULL or ends with a NULL that
 * `count` does not count, so it can be an argument vector. */
struct strlist {
    char **items;
    size_t count;
    size_t capacity;
};

void strlist_free(struct strlist *list);
/* All return false only for want of memory, leaving the list as it was. */
bool strlist_push(struct strlist *list, const char *text);
bool strlist_pushf(struct strlist *list, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
bool strlist_push_owned(struct strlist *list, char *text); /* frees text if it fails */
void strlist_sort(struct strlist *list);                   /* in byte order, each text once */
bool strlist_contains(const struct strlist *list, const char *text);
/* The items joined by separator; the caller frees it; NULL for want of memory. */
char *strlist_join(const struct strlist *list, const char *separator);
/* Split text at each separator; empty pieces are left out, blanks around pieces removed. */
bool strlist_split(struct strlist *list, const char *text, char separator);
#define autostrlist __attribute__((cleanup(strlist_free)))

/* Like asprintf; NULL for want of memory. */
char *string_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

bool string_starts_with(const char *text, const char *prefix);

/* A whole number in decimal, no sign, no blanks, no leading zeros but "0" itself, min..max.
 * Fills *value only on success. */
bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *value);

/* A feature, machine type or host name: ^[a-z0-9][a-z0-9._-]{0,63}$ (DESIGN 8). */
bool name_is_feature(const char *text);
bool name_is_host(const char *text);
/* Like a feature, also with '+'. */
bool name_is_machine(const char *text);
/* A CPU model, VM or trust entry: ^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$. */
bool name_is_model(const char *text);
bool name_is_vm(const char *text);

/* HOST[:PORT], [V6]:PORT, :PORT, or a bare IPv6 literal in brackets. host may come out empty;
 * *port stays as it was when there is none. Returns false for anything else, nothing filled;
 * errno is ENOMEM when memory lacked (error_refuse). *host is for the caller to free. */
bool parse_address(const char *text, char **host, uint16_t *port);

/* Is text printable ASCII only, blanks included? */
bool text_is_plain(const char *text);

/* Is what a person sees of text what there is? It is UTF-8, without control characters, which a
 * terminal would obey, and without characters that have no width or turn the direction of writing,
 * which make it look like another text. */
bool text_can_be_shown(const char *text);

/* A new string of text's printable ASCII characters, at most max of them, without blanks at its
 * end;
 * "" for NULL. For what firmware and builders of packages wrote. NULL for want of memory. */
char *string_plain(const char *text, size_t max);

/* text quoted so that a POSIX shell reads it back as one word; NULL for want of memory. */
char *shell_quote(const char *text);

#endif
