/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/config_files.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "vm/config_file.h"

static bool check_file(const char *path, bool missing_ok, struct error *err)
{
    autofree char *text = NULL;
    size_t length;
    return file_read(path, QEMU_CONFIG_SIZE_MAX, missing_ok, &text, &length, err) &&
           (!text || config_file_check(path, text, err));
}

bool config_files_check(const struct invocation *invocation, bool missing_ok, struct error *err)
{
    if (!invocation->no_user_config && !check_file(QEMU_DEFAULT_CONFIG, true, err))
        return false;
    for (size_t i = 0; i < invocation->readconfig.count; i++)
        if (!check_file(invocation->readconfig.items[i], missing_ok, err))
            return error_wrap(err, "-readconfig");
    return true;
}

/* Put what a file says before the item at index; *index is behind it then. */
static bool insert_file(const char *path, struct arglist *list, size_t *index, struct error *err)
{
    autofree char *text = NULL;
    autoarglist struct arglist found = {0};
    size_t length;
    if (!file_read(path, QEMU_CONFIG_SIZE_MAX, true, &text, &length, err) ||
        (text && !config_file_options(path, text, &found, err)))
        return false;
    for (size_t i = 0; i < found.count; i++)
        if (!arglist_insert(list, (*index)++, found.items[i].text, found.items[i].value, err))
            return false;
    return true;
}

bool config_files_expand(const struct arglist *list, struct arglist *out, struct error *err)
{
    autoarglist struct arglist expanded = {0};
    size_t index = 0;
    if (!arglist_copy(list, &expanded, err) ||
        (arglist_count(list, QEMU_OPTION_NO_USER_CONFIG) == 0 &&
         !insert_file(QEMU_DEFAULT_CONFIG, &expanded, &index, err)))
        return false;
    const struct arg_item *item;
    while ((item = arglist_next(&expanded, QEMU_OPTION_READCONFIG, &index))) {
        autofree char *path = strdup(item->value);
        if (!path)
            return error_no_memory(err);
        arglist_remove_at(&expanded, --index);
        if (!insert_file(path, &expanded, &index, err))
            return false;
    }
    *out = expanded;
    expanded = (struct arglist){0};
    return true;
}

bool config_files_options(const struct arglist *list, struct arglist *out, struct error *err)
{
    autoarglist struct arglist files = {.program = strdup(list->program)};
    const struct arg_item *item;
    bool good = files.program || error_no_memory(err);
    if (arglist_count(list, QEMU_OPTION_NO_USER_CONFIG) > 0)
        good = good && arglist_append(&files, "-no-user-config", NULL, err);
    for (size_t cursor = 0; good && (item = arglist_next(list, QEMU_OPTION_READCONFIG, &cursor));)
        good = arglist_append(&files, "-readconfig", item->value, err);
    if (!good || !config_files_expand(&files, out, err))
        return false;
    arglist_remove(out, QEMU_OPTION_NO_USER_CONFIG);
    return true;
}
