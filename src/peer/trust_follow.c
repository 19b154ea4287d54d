/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Who is trusted, as trust.d changes under a process that runs for long. Each entry counts as it is
 * there now; one that cannot be read takes its own peer away and nobody else.
 */
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/paths.h"
#include "base/strings.h"
#include "peer/trust_private.h"

static uint64_t mix(uint64_t sum, const struct stat *info)
{
    uint64_t words[] = {info->st_ino,
                        (uint64_t)info->st_size,
                        (uint64_t)info->st_mtim.tv_sec,
                        (uint64_t)info->st_mtim.tv_nsec,
                        (uint64_t)info->st_ctim.tv_nsec,
                        info->st_mode};
    for (size_t i = 0; i < COUNT_OF(words); i++)
        sum = (sum ^ words[i]) * 0x100000001b3; /* FNV-1a's prime: this is no secret */
    return sum;
}

/* A number that is another one when something has changed; not 0. */
static uint64_t look_of(const char *folder)
{
    struct stat info;
    if (stat(folder, &info) < 0)
        return 1;
    uint64_t sum = mix(0xcbf29ce484222325, &info);
    DIR *open = opendir(folder);
    if (!open)
        return sum | 1;
    uint64_t files = 0; /* in no order */
    for (const struct dirent *item; (item = readdir(open));)
        if (item->d_name[0] != '.' && fstatat(dirfd(open), item->d_name, &info, 0) == 0)
            files += mix(1, &info);
    closedir(open);
    return (sum ^ files) | 1;
}

bool trust_follow(const char *config_folder, uint64_t *seen, struct trust *trust)
{
    autofree char *folder = path_join(config_folder, TRUST_FOLDER, "");
    autostrlist struct strlist complaints = {0};
    autotrust struct trust fresh = {0};
    struct error problem = ERROR_INIT;
    uint64_t look = folder ? look_of(folder) : 0;
    if (!folder || look == *seen)
        return false;
    bool good = trust_load_readable(config_folder, &fresh, &complaints, &problem);
    *seen = !good && problem.status == STATUS_INTERNAL ? 0 : look;
    if (!good)
        log_error("%s: nobody is trusted until that is put right", problem.message);
    for (size_t i = 0; i + 1 < complaints.count; i += 2)
        log_error("%s: '%.64s' is not trusted until that is put right", complaints.items[i + 1],
                  complaints.items[i]);
    trust_free(trust);
    *trust = fresh;
    fresh = (struct trust){0};
    return true;
}
