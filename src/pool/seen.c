/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/seen.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/paths.h"

#define SEEN_VERSION 1
#define SEEN_SIZE_MAX ((size_t)4 << 20)

void seen_free(struct seen *seen)
{
    for (size_t i = 0; i < seen->count; i++)
        free(seen->hosts[i].host);
    free(seen->hosts);
    *seen = (struct seen){0};
}

struct seen_host *seen_find(const struct seen *seen, const char *pin)
{
    for (size_t i = 0; i < seen->count; i++)
        if (strcmp(seen->hosts[i].pin, pin) == 0)
            return &seen->hosts[i];
    return NULL;
}

bool seen_note(struct seen *seen, const char *pin, const char *host, int64_t serial, int64_t when)
{
    char *name = strdup(host);
    struct seen_host *entry = seen_find(seen, pin);
    if (!entry && name) {
        struct seen_host *more = realloc(seen->hosts, (seen->count + 1) * sizeof(*more));
        if (more) {
            seen->hosts = more;
            entry = &more[seen->count++];
            *entry = (struct seen_host){0};
            memcpy(entry->pin, pin, PIN_SIZE);
        }
    }
    if (!name || !entry) {
        free(name);
        return false;
    }
    free(entry->host);
    entry->host = name;
    entry->serial = serial;
    entry->when = when;
    return true;
}

int seen_lock(const char *state_folder, struct error *err)
{
    autofree char *folder = path_join(state_folder, "pool", "");
    autofree char *path = folder ? path_join(folder, "seen.lock", "") : NULL;
    if (!path) {
        error_no_memory(err);
        return -1;
    }
    return folder_make(folder, 0700, err) ? file_lock(path, true, NULL, err) : -1;
}

static bool take_host(json_t *item, struct seen *seen, struct error *err)
{
    const char *pin, *host;
    json_int_t serial, when;
    if (!json_take(item, err, "host", "{s:s, s:s, s:I, s:I}", "pin", &pin, "host", &host, "serial",
                   &serial, "when", &when))
        return false;
    if (!pin_is_valid(pin) || !name_is_host(host) || serial < 0 || when < 0 || seen_find(seen, pin))
        return error_set(err, STATUS_DATA, "a host in it is not valid");
    return seen_note(seen, pin, host, serial, when) || error_no_memory(err);
}

static bool take_seen(const char *text, size_t length, struct seen *seen, struct error *err)
{
    json_int_t version;
    json_t *hosts, *item;
    size_t i;
    autojson json_t *json = json_parse_strict(text, length, SEEN_SIZE_MAX, err);
    if (!json || !json_take(json, err, "seen", "{s:I, s:o}", "version", &version, "hosts", &hosts))
        return false;
    if (version != SEEN_VERSION || !json_is_array(hosts))
        return error_set(err, STATUS_DATA, "it is of another version");
    json_array_foreach(hosts, i, item)
    {
        if (!take_host(item, seen, err))
            return false;
    }
    return true;
}

bool seen_load(const char *state_folder, struct seen *out, struct error *err)
{
    autoseen struct seen seen = {0};
    autofree char *path = path_join(state_folder, "pool/seen.json", "");
    autofree char *text = NULL;
    size_t length = 0;
    if (!path)
        return error_no_memory(err);
    if (!file_read_trusted(path, SEEN_SIZE_MAX, true, &text, &length, err))
        return false;
    if (text && !take_seen(text, length, &seen, err))
        return error_wrap(err, "%s (remove it to begin anew)", path);
    *out = seen;
    seen = (struct seen){0};
    return true;
}

bool seen_store(const char *state_folder, const struct seen *seen, int64_t now, struct error *err)
{
    autofree char *path = path_join(state_folder, "pool/seen.json", "");
    autojson json_t *hosts = json_array();
    for (size_t i = 0; hosts && i < seen->count; i++) {
        const struct seen_host *host = &seen->hosts[i];
        if (host->when > now - SEEN_LIFETIME_S &&
            json_array_append_new(hosts, json_pack("{s:s, s:s, s:I, s:I}", "pin", host->pin, "host",
                                                   host->host, "serial", (json_int_t)host->serial,
                                                   "when", (json_int_t)host->when)) != 0)
            return error_no_memory(err);
    }
    autojson json_t *json =
        hosts ? json_pack("{s:i, s:O}", "version", SEEN_VERSION, "hosts", hosts) : NULL;
    autofree char *text = json ? json_to_text(json) : NULL;
    if (!path || !text)
        return error_no_memory(err);
    return file_write_atomic(path, text, strlen(text), 0600, err);
}
