/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/cache.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/paths.h"

static bool is_entry(const char *name)
{
    return strlen(name) == DIGEST_HEX_SIZE - 1 + strlen(".json") &&
           strcmp(name + DIGEST_HEX_SIZE - 1, ".json") == 0;
}

void cache_make_room(const char *folder, size_t most)
{
    DIR *dir = opendir(folder);
    autofree char *oldest = NULL;
    time_t when = 0;
    size_t count = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        autofree char *path = is_entry(entry->d_name) ? path_join(folder, entry->d_name, "") : NULL;
        struct stat st;
        if (!path || lstat(path, &st) < 0)
            continue;
        if (count++ > 0 && st.st_mtim.tv_sec >= when)
            continue;
        when = st.st_mtim.tv_sec;
        free(oldest);
        oldest = STEAL(path);
    }
    if (dir)
        closedir(dir);
    if (oldest && count >= most)
        unlink(oldest);
}
