/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A VM's command line into its record.
 */
#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "vm/argv_json.h"
#include "vm/record.h"

bool vm_record_set_argv(struct vm_record *record, const struct arglist *arguments,
                        struct error *err)
{
    autostrlist struct strlist argv = {0};
    if (!arglist_render(arguments, &argv, err))
        return false;
    if (!argv_fits(&argv)) {
        log_warning("%s: its command line is too long to be kept", record->vm);
        strlist_free(&argv);
        argv = (struct strlist){0};
    }
    strlist_free(&record->argv);
    record->argv = argv;
    argv = (struct strlist){0};
    return true;
}

bool vm_record_set_visible(struct vm_record *record, const struct visible_list *visible,
                           struct error *err)
{
    autovisiblelist struct visible_list copy = {0};
    autojson json_t *json = visible_to_json(visible);
    if (!json)
        return error_no_memory(err);
    if (!visible_from_json(json, "what a guest sees", &copy, err))
        return false;
    visible_list_free(&record->visible);
    record->visible = copy;
    copy = (struct visible_list){0};
    return true;
}
