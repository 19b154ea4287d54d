/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static bool is_printable_ascii(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c < 0x20 && c != '\n' && c != '\r' && c != '\t') || c > 0x7e)
            return false;
    }
    return true;
}

/* jansson's own limit of depth (2048) is its parser's recursion: ours comes before it runs. "{}"
 * with its comma takes three bytes of a text and over 200 of memory, so there are not too many
 * either. */
static bool shape_is_bounded(const char *text, size_t length, size_t containers_max,
                             struct error *err)
{
    int depth = 0;
    size_t containers = 0;
    bool in_string = false;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > JSON_MAX_DEPTH)
                return error_set(err, STATUS_DATA, "JSON is nested too deeply");
            if (++containers > containers_max)
                return error_set(err, STATUS_DATA, "JSON with too many objects and arrays");
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return true;
}

static bool string_is_plain(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] < 0x20 || (unsigned char)text[i] > 0x7e)
            return false;
    return true;
}

static bool value_is_strict(const json_t *value, struct error *err)
{
    const char *key;
    json_t *member;
    size_t i;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        json_object_foreach((json_t *)value, key, member)
        {
            if (!string_is_plain(key, strlen(key)))
                return error_set(err, STATUS_DATA, "a key is not printable ASCII");
            if (!value_is_strict(member, err))
                return false;
        }
        return true;
    case JSON_ARRAY:
        json_array_foreach(value, i, member)
        {
            if (!value_is_strict(member, err))
                return false;
        }
        return true;
    case JSON_STRING:
        return string_is_plain(json_string_value(value), json_string_length(value)) ||
               error_set(err, STATUS_DATA, "a string is not printable ASCII");
    case JSON_REAL:
        return error_set(err, STATUS_DATA, "a number is not an integer");
    default:
        return true;
    }
}

static json_t *parse(const char *text, size_t length, size_t max_size, size_t containers_max,
                     struct error *err)
{
    if (length > max_size) {
        error_set(err, STATUS_DATA, "%zu bytes are more than the limit of %zu", length, max_size);
        return NULL;
    }
    if (!shape_is_bounded(text, length, containers_max, err))
        return NULL;
    json_error_t detail;
    errno = 0; /* jansson itself does not always say that memory lacked */
    json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, &detail);
    if (!json) {
        error_refuse(err, STATUS_DATA, "not valid JSON: line %d: %s", detail.line, detail.text);
        return NULL;
    }
    if (!json_is_object(json)) {
        json_decref(json);
        error_set(err, STATUS_DATA, "not a JSON object");
        return NULL;
    }
    return json;
}

json_t *json_parse_strict(const char *text, size_t length, size_t max_size, struct error *err)
{
    if (!is_printable_ascii(text, length > max_size ? max_size : length)) {
        error_set(err, STATUS_DATA, "not printable ASCII");
        return NULL;
    }
    autojson json_t *json = parse(text, length, max_size, JSON_MAX_CONTAINERS, err);
    if (!json || !value_is_strict(json, err))
        return NULL;
    return STEAL(json);
}

json_t *json_parse_qmp(const char *text, size_t length, size_t max_size, struct error *err)
{
    return parse(text, length, max_size, SIZE_MAX, err);
}

bool json_take(json_t *json, struct error *err, const char *what, const char *format, ...)
{
    json_error_t detail;
    va_list args;
    va_start(args, format);
    int result = json_vunpack_ex(json, &detail, JSON_STRICT, format, args);
    va_end(args);
    if (result == 0)
        return true;
    if (json_error_code(&detail) == json_error_out_of_memory)
        return error_no_memory(err);
    /* jansson: "2 object item(s) left unpacked: a, b" and "Object item not found: a" */
    const char *unknown = strstr(detail.text, "left unpacked: ");
    if (unknown)
        return error_set(err, STATUS_DATA, "%s: unknown member: %s", what,
                         unknown + strlen("left unpacked: "));
    const char *missing = strstr(detail.text, "item not found: ");
    if (missing)
        return error_set(err, STATUS_DATA, "%s: missing member: %s", what,
                         missing + strlen("item not found: "));
    return error_set(err, STATUS_DATA, "%s: %s", what, detail.text);
}

bool json_is_plain(const json_t *value, size_t max)
{
    return json_is_string(value) && json_string_length(value) <= max &&
           string_is_plain(json_string_value(value), json_string_length(value));
}

bool json_take_names(const json_t *array, const char *what, bool (*check)(const char *),
                     struct strlist *list, struct error *err)
{
    autostrlist struct strlist names = {0};
    size_t i;
    json_t *value;
    if (!json_is_array(array))
        return error_set(err, STATUS_DATA, "%s: not an array", what);
    json_array_foreach(array, i, value)
    {
        const char *name = json_string_value(value);
        if (!name || strlen(name) != json_string_length(value) || !check(name))
            return error_set(err, STATUS_DATA, "%s: '%.80s' is not a valid name", what,
                             name ? name : "(not a string)");
        if (!strlist_push(&names, name))
            return error_no_memory(err);
    }
    strlist_free(list);
    *list = names;
    names = (struct strlist){0};
    return true;
}

json_t *json_from_names(const struct strlist *list)
{
    autojson json_t *array = json_array();
    if (!array)
        return NULL;
    for (size_t i = 0; i < list->count; i++)
        if (json_array_append_new(array, json_string(list->items[i])) != 0)
            return NULL;
    return STEAL(array);
}

char *json_to_text(const json_t *json)
{
    return json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII);
}
