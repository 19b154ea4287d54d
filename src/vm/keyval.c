/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/keyval.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/strings.h"

#define FRAGMENT_MAX 127 /* QEMU util/keyval.c */

bool keyval_is_json(const char *text)
{
    return text[0] == '{';
}

bool keyval_is_help(const char *text)
{
    return strcmp(text, "help") == 0 || strcmp(text, "?") == 0;
}

static void pair_free(struct keyval_pair *pair)
{
    free(pair->key);
    free(pair->value);
    free(pair->raw);
}

void keyval_free(struct keyval *keyval)
{
    for (size_t i = 0; i < keyval->count; i++)
        pair_free(&keyval->pairs[i]);
    free(keyval->pairs);
    *keyval = (struct keyval){0};
}

/* Takes the strings over, also when it fails. written: the pair must have its raw text. */
static bool push(struct keyval *keyval, struct keyval_pair pair, bool written, struct error *err)
{
    bool good = pair.key && pair.value && (pair.raw || !written);
    if (good && keyval->count == keyval->capacity) {
        size_t capacity = keyval->capacity ? keyval->capacity * 2 : 8;
        struct keyval_pair *pairs = realloc(keyval->pairs, capacity * sizeof(*pairs));
        good = pairs != NULL;
        if (pairs) {
            keyval->pairs = pairs;
            keyval->capacity = capacity;
        }
    }
    if (!good) {
        pair_free(&pair);
        return error_no_memory(err);
    }
    keyval->pairs[keyval->count++] = pair;
    return true;
}

/* Length of the QAPI name at text, 0 for none: letter, then letters, digits, '-' and '_'; before it
 * may stand "__", a reversed domain name and "_" (parse_qapi_name in QEMU qapi/qapi-util.c). */
static size_t qapi_name_length(const char *text)
{
    const char *p = text;
    if (p[0] == '_') {
        if (p[1] != '_')
            return 0;
        for (p += 2; isalnum((unsigned char)*p) || *p == '-' || *p == '.';)
            p++;
        if (*p != '_')
            return 0;
        p++;
    }
    if (!isalpha((unsigned char)*p))
        return 0;
    while (isalnum((unsigned char)*p) || *p == '-' || *p == '_')
        p++;
    return (size_t)(p - text);
}

/* keyval_parse_one in QEMU util/keyval.c. */
static bool dict_key_is_good(const char *key, struct error *err)
{
    for (const char *p = key;; p++) {
        size_t length = p > key ? strspn(p, "0123456789") : 0;
        if (length == 0)
            length = qapi_name_length(p);
        if (length == 0 || (p[length] && p[length] != '.'))
            return error_set(err, STATUS_USAGE, "invalid parameter '%s'", key);
        if (length > FRAGMENT_MAX)
            return error_set(err, STATUS_USAGE, "parameter '%s' is too long", key);
        p += length;
        if (!*p)
            return true;
    }
}

/* The value at text up to a single comma, commas halved; *end is left at that comma or the NUL. */
static char *take_value(const char *text, const char **end)
{
    autostrbuf struct strbuf value = {0};
    const char *p = text;
    for (;;) {
        size_t length = strcspn(p, ",");
        strbuf_add(&value, p, length);
        p += length;
        if (p[0] != ',' || p[1] != ',')
            break;
        strbuf_add(&value, p, 1);
        p += 2;
    }
    *end = p;
    return strbuf_steal(&value);
}

/* A piece without '=' of length bytes. *end as in take_value. */
static bool take_word(struct keyval *keyval, const char *text, size_t length, const char *implied,
                      enum keyval_syntax syntax, const char **end, struct error *err)
{
    struct keyval_pair pair = {0};
    autofree char *word = strndup(text, length);
    if (!word)
        return error_no_memory(err);
    *end = text + length;
    if (syntax == KEYVAL_DICT && (length == 0 || !implied || keyval_is_help(word))) {
        if (!keyval_is_help(word))
            return length == 0 ? error_set(err, STATUS_USAGE, "invalid parameter ''")
                               : dict_key_is_good(word, err) &&
                                     error_set(err, STATUS_USAGE,
                                               "expected '=' after parameter '%s'", word);
        keyval->help = true;
        return true;
    }
    if (implied) {
        pair.key = strdup(implied);
        pair.value = syntax == KEYVAL_DICT ? STEAL(word) : take_value(text, end);
    } else {
        bool off = strncmp(word, "no", 2) == 0;
        keyval->help |= !off && keyval_is_help(word);
        pair.key = strdup(word + (off ? 2 : 0));
        pair.value = strdup(off ? "off" : "on");
    }
    pair.raw = strndup(text, (size_t)(*end - text));
    return push(keyval, pair, true, err);
}

static bool take_pair(struct keyval *keyval, const char *text, size_t key_length,
                      enum keyval_syntax syntax, const char **end, struct error *err)
{
    struct keyval_pair pair = {.key = strndup(text, key_length)};
    if (pair.key && syntax == KEYVAL_DICT && !dict_key_is_good(pair.key, err)) {
        pair_free(&pair);
        return false;
    }
    pair.value = take_value(text + key_length + 1, end);
    pair.raw = strndup(text, (size_t)(*end - text));
    return push(keyval, pair, true, err);
}

bool keyval_parse(struct keyval *keyval, const char *text, enum keyval_syntax syntax,
                  const char *implied, struct error *err)
{
    autokeyval struct keyval found = {0};
    for (const char *p = text, *end = text; *p; p = *end ? end + 1 : end) {
        size_t length = strcspn(p, "=,");
        if (!(p[length] == '=' ? take_pair(&found, p, length, syntax, &end, err)
                               : take_word(&found, p, length, implied, syntax, &end, err)))
            return false;
        implied = NULL;
    }
    if (syntax == KEYVAL_DICT) {
        autokeyval struct keyval merged = {0};
        if (!keyval_merge(&merged, &found, "", err))
            return false;
    }
    *keyval = found;
    found = (struct keyval){0};
    return true;
}

const char *keyval_get(const struct keyval *keyval, const char *key)
{
    for (size_t i = keyval->count; i-- > 0;)
        if (strcmp(keyval->pairs[i].key, key) == 0)
            return keyval->pairs[i].value;
    return NULL;
}

/* Take out the pairs from index first on that have the key. */
static void remove_from(struct keyval *keyval, size_t first, const char *key)
{
    size_t kept = first;
    for (size_t i = first; i < keyval->count; i++) {
        if (strcmp(keyval->pairs[i].key, key) == 0)
            pair_free(&keyval->pairs[i]);
        else
            keyval->pairs[kept++] = keyval->pairs[i];
    }
    keyval->count = kept;
}

void keyval_remove(struct keyval *keyval, const char *key)
{
    remove_from(keyval, 0, key);
}

bool keyval_set(struct keyval *keyval, const char *key, const char *value, struct error *err)
{
    struct keyval_pair pair = {.key = strdup(key), .value = strdup(value)};
    for (size_t i = 0; i < keyval->count && pair.key && pair.value; i++) {
        if (strcmp(keyval->pairs[i].key, key) != 0)
            continue;
        pair_free(&keyval->pairs[i]);
        keyval->pairs[i] = pair;
        remove_from(keyval, i + 1, pair.key);
        return true;
    }
    return push(keyval, pair, false, err);
}

/* True if one is a leaf where the other has members. */
static bool keys_clash(const char *a, const char *b)
{
    size_t length_a = strlen(a), length_b = strlen(b);
    return (length_a < length_b && strncmp(a, b, length_a) == 0 && b[length_a] == '.') ||
           (length_b < length_a && strncmp(a, b, length_b) == 0 && a[length_b] == '.');
}

bool keyval_merge(struct keyval *dest, const struct keyval *from, const char *prefix,
                  struct error *err)
{
    for (size_t i = 0; i < from->count; i++) {
        autofree char *key = string_format("%s%s", prefix, from->pairs[i].key);
        if (!key)
            return error_no_memory(err);
        for (size_t j = 0; j < dest->count; j++)
            if (keys_clash(dest->pairs[j].key, key))
                return error_set(err, STATUS_USAGE, "parameters '%s' and '%s' exclude each other",
                                 dest->pairs[j].key, key);
        if (!keyval_set(dest, key, from->pairs[i].value, err))
            return false;
    }
    return true;
}

char *keyval_render(const struct keyval *keyval)
{
    autostrbuf struct strbuf text = {0};
    for (size_t i = 0; i < keyval->count; i++) {
        strbuf_puts(&text, i > 0 ? "," : "");
        strbuf_puts(&text, keyval->pairs[i].key);
        strbuf_puts(&text, "=");
        for (const char *p = keyval->pairs[i].value; *p; p++) {
            strbuf_puts(&text, *p == ',' ? "," : "");
            strbuf_add(&text, p, 1);
        }
    }
    return strbuf_steal(&text);
}
