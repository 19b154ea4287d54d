/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "host/path_map.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/strings.h"

#define AROUND_PATHS "=,:\""

void path_map_free(struct path_map *map)
{
    for (size_t i = 0; i < map->count; i++) {
        free(map->items[i].there);
        free(map->items[i].here);
    }
    free(map->items);
    *map = (struct path_map){0};
}

/* Absolute, and every piece of it is a name. */
static bool is_plain_path(const char *path)
{
    if (*path != '/')
        return false;
    for (const char *p = path; *p;) {
        p += strspn(p, "/");
        size_t length = strcspn(p, "/");
        if ((length == 1 && *p == '.') || (length == 2 && strncmp(p, "..", 2) == 0))
            return false;
        p += length;
    }
    return true;
}

/* Without slashes at its end: "/" becomes "". */
static char *trim(const char *path)
{
    size_t length = strlen(path);
    while (length > 0 && path[length - 1] == '/')
        length--;
    return strndup(path, length);
}

bool path_map_add(struct path_map *map, const char *there, const char *here, struct error *err)
{
    const char *bad = !is_plain_path(there) ? there : !is_plain_path(here) ? here : NULL;
    if (bad)
        return error_set(err, STATUS_CONFIG,
                         "'%.80s' is not an absolute path (a line is /path/there = /path/here, and "
                         "a path there has no '=' and ':')",
                         bad);
    autofree char *from = trim(there);
    autofree char *to = trim(here);
    if (!from || !to)
        return error_no_memory(err);
    size_t at = map->count;
    for (size_t i = map->count; i-- > 0;) {
        if (strcmp(map->items[i].there, from) == 0)
            return error_set(err, STATUS_CONFIG, "%.80s is mapped twice", there);
        if (strlen(map->items[i].there) < strlen(from))
            at = i;
    }
    struct path_mapping *items = reallocarray(map->items, map->count + 1, sizeof(*items));
    if (!items)
        return error_no_memory(err);
    map->items = items;
    memmove(&items[at + 1], &items[at], (map->count - at) * sizeof(*items));
    items[at] = (struct path_mapping){.there = STEAL(from), .here = STEAL(to)};
    map->count++;
    return true;
}

/* The mapping of the path at the beginning of text, or NULL. */
static const struct path_mapping *find(const struct path_map *map, const char *text)
{
    for (size_t i = 0; i < map->count; i++) {
        const char *there = map->items[i].there;
        const char *rest = text + strlen(there);
        if (string_starts_with(text, there) && (!*rest || strchr("/" AROUND_PATHS, *rest)))
            return &map->items[i];
    }
    return NULL;
}

char *path_map_apply(const struct path_map *map, const char *word)
{
    autostrbuf struct strbuf text = {0};
    strbuf_puts(&text, "");
    for (const char *p = word; *p;) {
        bool begins = p == word || strchr(AROUND_PATHS, p[-1]);
        const struct path_mapping *mapping = begins && *p == '/' ? find(map, p) : NULL;
        if (mapping) {
            const char *rest = p + strlen(mapping->there);
            /* Of "/" nothing is left. */
            strbuf_puts(&text, *mapping->here || *rest == '/' ? mapping->here : "/");
            p = rest;
        }
        size_t length = strcspn(p, AROUND_PATHS);
        length += p[length] != '\0';
        strbuf_add(&text, p, length);
        p += length;
    }
    return strbuf_steal(&text);
}
