/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/cache.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/paths.h"

static char *entry_path(const char *folder, const char *kind, const char *key)
{
    return string_format("%s/%s/%s.json", folder, kind, key);
}

json_t *cache_read(const char *folder, const char *kind, const char *key, size_t max_size)
{
    autofree char *path = entry_path(folder, kind, key);
    autofree char *text = NULL;
    size_t length = 0;
    struct error err = ERROR_INIT;
    if (!path || !file_read_trusted(path, max_size, true, &text, &length, &err)) {
        log_debug("not used again: %s", err.message);
        return NULL;
    }
    if (!text)
        return NULL;
    json_t *entry = json_parse_strict(text, length, max_size, &err);
    if (!entry)
        log_debug("not used again: %s: %s", path, err.message);
    return entry;
}

static bool is_entry(const char *name)
{
    return strlen(name) == DIGEST_HEX_SIZE - 1 + strlen(".json") &&
           strcmp(name + DIGEST_HEX_SIZE - 1, ".json") == 0;
}

static bool is_older(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec < b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec < b->tv_nsec);
}

/* Remove the oldest entry if one more would be too many. False: there is room, or it cannot be
 * made. */
static bool remove_oldest(const char *folder)
{
    DIR *dir = opendir(folder);
    autofree char *oldest = NULL;
    struct timespec when = {0};
    size_t count = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        autofree char *path = is_entry(entry->d_name) ? path_join(folder, entry->d_name, "") : NULL;
        struct stat st;
        if (!path || lstat(path, &st) < 0)
            continue;
        if (count++ > 0 && !is_older(&st.st_mtim, &when))
            continue;
        when = st.st_mtim;
        free(oldest);
        oldest = STEAL(path);
    }
    if (dir)
        closedir(dir);
    return oldest && count >= CACHE_ENTRIES_MAX && unlink(oldest) == 0;
}

void cache_write(const char *folder, const char *kind, const char *key, const json_t *entry)
{
    struct error err = ERROR_INIT;
    autofree char *place = path_join(folder, kind, "");
    autofree char *path = entry_path(folder, kind, key);
    autofree char *text = json_to_text(entry);
    if (!place || !path || !text)
        return;
    bool good = folder_make(place, 0700, &err);
    /* Others may have added theirs meanwhile; with whole rounds it comes down again. */
    for (int i = 0; good && i < CACHE_ENTRIES_MAX && remove_oldest(place); i++)
        continue;
    if (!good || !file_write_atomic(path, text, strlen(text), 0600, &err))
        log_debug("not kept: %s", err.message);
}
