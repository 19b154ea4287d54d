/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/config_files.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "vm/config_file.h"

bool config_files_check(const struct invocation *invocation, struct error *err)
{
    autostrlist struct strlist files = {0};
    if (!invocation->no_user_config && !strlist_push(&files, QEMU_DEFAULT_CONFIG))
        return error_no_memory(err);
    for (size_t i = 0; i < invocation->readconfig.count; i++)
        if (!strlist_push(&files, invocation->readconfig.items[i]))
            return error_no_memory(err);
    for (size_t i = 0; i < files.count; i++) {
        autofree char *text = NULL;
        size_t length;
        if (!file_read(files.items[i], QEMU_CONFIG_SIZE_MAX, true, &text, &length, err) ||
            (text && !config_file_check(files.items[i], text, err)))
            return false;
    }
    return true;
}
