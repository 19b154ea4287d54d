/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/secrets.h"

#include <ctype.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "vm/keyval.h"
#include "vm/visible.h"

#define VALUE_JSON_MAX ((size_t)256 << 10)

/* A name that says that its value is secret, or what has it. */
static bool name_is_secret(const char *name)
{
    static const char *const words[] = {"password", "passwd",  "passphrase",  "secret",
                                        "token",    "keyfile", "private-key", "cookie"};
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        for (const char *p = name; *p; p++)
            if (strncasecmp(p, words[i], strlen(words[i])) == 0)
                return true;
    return false;
}

/* Objects that are nothing but secrets, or paths of them. */
static bool object_is_secret(const char *type)
{
    return string_starts_with(type, "secret") || string_starts_with(type, "tls-") ||
           string_starts_with(type, "authz-");
}

/* Where USER:PASSWORD ends, at '@' if it is that. Among KEY=VALUE pieces a comma ends the value,
 * and one in it is written twice. */
static const char *end_of_user(const char *text, bool in_pieces)
{
    for (;;) {
        text += strcspn(text, in_pieces ? "@/, \"" : "@/ \"");
        if (text[0] != ',' || text[1] != ',')
            return text;
        text += 2;
    }
}

/* SCHEME://USER:PASSWORD@ and rbd:…:key=…: in place of what is secret the words. */
static char *hide_in_url(const char *value, bool in_pieces)
{
    autostrbuf struct strbuf text = {0};
    strbuf_puts(&text, "");
    const char *p = value;
    for (const char *found; (found = strstr(p, "://"));) {
        const char *user = found + 3, *at = end_of_user(user, in_pieces);
        size_t name = strcspn(user, ":%@");
        strbuf_add(&text, p, (size_t)(user - p));
        p = user;
        if (*at == '@' && user + name < at) {
            strbuf_add(&text, user, name);
            strbuf_puts(&text, ":" VISIBLE_NOT_TOLD);
            p = at;
        }
    }
    const char *key = strstr(p, "rbd:") ? strstr(p, ":key=") : NULL;
    if (key) {
        key += strlen(":key=");
        strbuf_add(&text, p, (size_t)(key - p));
        strbuf_puts(&text, VISIBLE_NOT_TOLD);
        p = key + strcspn(key, ":,\"");
    }
    strbuf_puts(&text, p);
    return strbuf_steal(&text);
}

/* Whether the value of that key of that option is not for others. */
static bool key_is_secret(const char *option, const struct keyval *keys, const char *key)
{
    const char *type = keyval_get(keys, "type");
    if (strcmp(option, "fw_cfg") == 0 && strcmp(key, "string") == 0)
        return true;
    if (strcmp(option, "smbios") == 0 && type && strcmp(type, "11") == 0)
        return strcmp(key, "value") == 0 || strcmp(key, "path") == 0;
    return name_is_secret(key);
}

static bool hide_in_json(json_t *json)
{
    const char *key;
    json_t *value;
    void *next;
    bool good = true;
    json_object_foreach_safe(json, next, key, value)
    {
        if (name_is_secret(key))
            good = good && json_object_set_new(json, key, json_string(VISIBLE_NOT_TOLD)) == 0;
        else if (json_is_string(value)) {
            autofree char *hidden = hide_in_url(json_string_value(value), false);
            good = good && hidden && json_object_set_new(json, key, json_string(hidden)) == 0;
        } else {
            good = good && hide_in_json(value);
        }
    }
    for (size_t i = 0; i < json_array_size(json); i++) {
        json_t *entry = json_array_get(json, i);
        autofree char *hidden =
            json_is_string(entry) ? hide_in_url(json_string_value(entry), false) : NULL;
        if (json_is_string(entry))
            good = good && hidden && json_array_set_new(json, i, json_string(hidden)) == 0;
        else
            good = good && hide_in_json(entry);
    }
    return good;
}

static char *hide_json(const char *value)
{
    autojson json_t *json = json_parse_qmp(value, strlen(value), VALUE_JSON_MAX, NULL);
    if (!json)
        return strdup(VISIBLE_NOT_TOLD);
    return hide_in_json(json) ? json_dumps(json, JSON_COMPACT) : NULL;
}

/* KEY=VALUE,…: the pieces as they were written, but for those that are secret. What has none, and
 * may be no keyval at all, comes out as it went in. */
static char *hide_pieces(const char *option, const struct keyval *keys, const char *value)
{
    autostrbuf struct strbuf text = {0};
    bool any = false;
    strbuf_puts(&text, "");
    for (size_t i = 0; i < keys->count; i++) {
        const struct keyval_pair *pair = &keys->pairs[i];
        /* A switch tells nothing but itself. */
        bool secret = strchr(pair->raw, '=') && key_is_secret(option, keys, pair->key) &&
                      strcmp(pair->value, "on") != 0 && strcmp(pair->value, "off") != 0;
        any = any || secret;
        strbuf_puts(&text, i > 0 ? "," : "");
        if (secret)
            strbuf_printf(&text, "%s=%s", pair->key, VISIBLE_NOT_TOLD);
        else
            strbuf_puts(&text, pair->raw);
    }
    return any ? strbuf_steal(&text) : strdup(value);
}

/* The kernel's command line: NAME=VALUE words. */
static char *hide_words(const char *value)
{
    autostrbuf struct strbuf text = {0};
    strbuf_puts(&text, "");
    for (const char *p = value; *p;) {
        size_t length = strcspn(p, " "), name = strcspn(p, " =");
        autofree char *key = strndup(p, name);
        if (!key)
            return NULL;
        if (p[name] == '=' && name_is_secret(key))
            strbuf_printf(&text, "%s=%s", key, VISIBLE_NOT_TOLD);
        else
            strbuf_add(&text, p, length);
        p += length;
        strbuf_add(&text, p, *p == ' ');
        p += *p == ' ';
    }
    return strbuf_steal(&text);
}

/* The value for others; NULL for want of memory. */
static char *hide(const struct arg_item *item)
{
    const char *option = item->option ? item->option->name : "";
    autokeyval struct keyval keys = {0};
    autofree char *hidden = NULL;
    if (strcmp(option, "append") == 0)
        return hide_words(item->value);
    if (keyval_is_json(item->value))
        return hide_json(item->value);
    if (!keyval_parse(&keys, item->value, KEYVAL_OPTS, item->option->implied_key, NULL))
        return NULL;
    hidden = hide_pieces(option, &keys, item->value);
    return hidden ? hide_in_url(hidden, true) : NULL;
}

static bool is_secret(const struct arg_item *item, bool *secret, struct error *err)
{
    autokeyval struct keyval keys = {0};
    const char *type = NULL;
    enum qemu_option_id id = item->option ? item->option->id : QEMU_OPTION_UNNAMED;
    *secret = id == QEMU_OPTION_SET && string_starts_with(item->value, "object.");
    if (id != QEMU_OPTION_OBJECT)
        return true;
    autojson json_t *json =
        keyval_is_json(item->value)
            ? json_parse_qmp(item->value, strlen(item->value), VALUE_JSON_MAX, NULL)
            : NULL;
    if (keyval_is_json(item->value)) {
        type = json_string_value(json_object_get(json, "qom-type"));
        *secret = !type || object_is_secret(type);
        return true;
    }
    if (!keyval_parse(&keys, item->value, KEYVAL_OPTS, "qom-type", err))
        return false;
    type = keyval_get(&keys, "qom-type");
    *secret = !type || object_is_secret(type);
    return true;
}

bool arglist_without_secrets(const struct arglist *list, struct arglist *out,
                             struct strlist *left_out, struct error *err)
{
    autoarglist struct arglist told = {0};
    if (!arglist_copy(list, &told, err))
        return false;
    for (size_t i = 0; i < told.count;) {
        struct arg_item *item = &told.items[i];
        bool secret = false;
        if (!is_secret(item, &secret, err))
            return false;
        if (secret) {
            if (!strlist_pushf(left_out, "%s (all of it)", item->text))
                return error_no_memory(err);
            arglist_remove_at(&told, i);
            continue;
        }
        autofree char *hidden = item->value    ? hide(item)
                                : item->option ? NULL
                                               : hide_in_url(item->text, false);
        const char *shown = item->value ? item->value : item->text;
        if (!hidden && (item->value || !item->option))
            return error_no_memory(err);
        if (hidden && strcmp(hidden, shown) != 0) {
            if (strstr(hidden, VISIBLE_NOT_TOLD) &&
                !strlist_pushf(left_out, "a value of %s",
                               item->option ? item->text : "a disk image"))
                return error_no_memory(err);
            char **place = item->value ? &item->value : &item->text;
            free(*place);
            *place = STEAL(hidden);
        }
        i++;
    }
    *out = told;
    told = (struct arglist){0};
    return true;
}
