/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A command line for this host, made of the source's: for a person to look at, and never run by us.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/cmd_receive.h"
#include "vm/args_file.h"

#define DEFAULT_QEMU "qemu-system-x86_64"

/* The source's, with paths mapped, this host's QEMU, and without what receive adds itself. */
static bool make(const struct receive *receive, struct strlist *argv, struct error *err)
{
    const struct config *config = &receive->launch.config;
    autoarglist struct arglist list = {0};
    autostrlist struct strlist words = {0};
    struct error why = ERROR_INIT;
    if (!arglist_parse(&list, (int)receive->argv.count, receive->argv.items, &why))
        return error_set(err, STATUS_DATA, "the command line that %s tells: %s",
                         receive->peer->name, why.message);
    arglist_remove(&list, QEMU_OPTION_INCOMING);
    arglist_remove(&list, QEMU_OPTION_LOADVM);
    if (!arglist_render(&list, &words, err))
        return false;
    for (size_t i = 0; i < words.count; i++) {
        if (!text_can_be_shown(words.items[i]))
            return error_set(err, STATUS_DATA,
                             "the command line that %s tells has characters that cannot be shown",
                             receive->peer->name);
        const char *qemu =
            config->qemu_binaries.count > 0 ? config->qemu_binaries.items[0] : DEFAULT_QEMU;
        if (!strlist_push_owned(argv, i == 0 ? strdup(qemu)
                                             : path_map_apply(&config->map, words.items[i])))
            return error_no_memory(err);
    }
    return true;
}

static bool show(const struct receive *receive, const struct strlist *argv, struct error *err)
{
    if (receive->launch.context->json)
        return put_json(json_pack("{s:s, s:s, s:s, s:o, s:o}", "vm", receive->vm, "from",
                                  receive->peer->name, "qemu", receive->qemu, "proposal",
                                  json_from_names(argv), "left_out",
                                  json_from_names(&receive->left_out)),
                        err);
    autofree char *line = command_line_quote(argv);
    return line ? put_line(line, err) : error_no_memory(err);
}

bool receive_propose(struct receive *receive, struct error *err)
{
    const struct launch *launch = &receive->launch;
    autostrlist struct strlist argv = {0};
    autofree char *path = args_file_path(&launch->context->paths, receive->vm);
    if (!path)
        return error_no_memory(err);
    for (size_t i = 0; i < receive->left_out.count; i++)
        log_info("%s does not tell of its command line: %s", receive->peer->name,
                 receive->left_out.items[i]);
    if (receive->argv.count == 0)
        return error_set(err, STATUS_USAGE,
                         "there is no command line for %s here, and %s tells none to begin with: "
                         "write one to %s, or give it behind --",
                         receive->vm, receive->peer->name, path);
    if (!make(receive, &argv, err) || !show(receive, &argv, err))
        return false;
    return error_set(err, STATUS_USAGE,
                     "there is no command line for %s here. The one above is made of that on %s%s; "
                     "look at every word of it, change what is other here, write it to %s, and try "
                     "again (or give it behind --)",
                     receive->vm, receive->peer->name,
                     launch->config.map.count > 0 ? " with [map]'s paths" : "", path);
}
