/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/visible_host.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/log.h"
#include "vm/config_files.h"
#include "vm/visible_private.h"

#define MESSAGE_ROOM 1500 /* of an error's text, for differences */

/* As qemu_find_file in QEMU's util/datadir.c: the name itself, then the folders of -L. What stands
 * only in QEMU's own folders belongs to QEMU. -1: not found. */
static int open_file(const struct arglist *arguments, const char *name)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    for (size_t i = 0; i < arguments->count && fd < 0 && *name != '/'; i++) {
        const struct arg_item *item = &arguments->items[i];
        if (!item->option || strcmp(item->option->name, "L") != 0)
            continue;
        autofree char *path = string_format("%s/%s", item->value, name);
        fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
    }
    return fd;
}

/* What is known of a file; NULL: nothing, or no memory. */
static char *look(const struct arglist *arguments, const struct visible_property *property,
                  struct error *err)
{
    char hex[DIGEST_HEX_SIZE];
    struct stat status;
    autoclose int fd = *property->path ? open_file(arguments, property->path) : -1;
    if (fd < 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
        return NULL;
    if (property->writable || status.st_size > (off_t)VISIBLE_FILE_MAX)
        return string_format("size:%lld", (long long)status.st_size);
    return digest_file(fd, hex, err) ? string_format("sha256:%s", hex) : NULL;
}

static bool read_files(const struct arglist *arguments, struct visible_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        for (size_t k = 0; k < list->things[i].count; k++) {
            struct visible_property *property = &list->things[i].properties[k];
            struct error err = ERROR_INIT;
            char *known = property->path ? look(arguments, property, &err) : NULL;
            if (!known && property->path)
                log_debug("-%s %s: what is in %s is not known%s%s", list->things[i].option,
                          property->key, property->path, *err.message ? ": " : "", err.message);
            if (!known)
                continue;
            free(property->value);
            property->value = known;
        }
    return true;
}

bool visible_host_read(const struct arglist *arguments, struct visible_list *out, struct error *err)
{
    autovisiblelist struct visible_list list = {0};
    autoarglist struct arglist expanded = {0};
    if (!config_files_expand(arguments, &expanded, err) ||
        !visible_list_read(&expanded, &list, err))
        return false;
    read_files(&expanded, &list);
    autojson json_t *json = visible_to_json(&list);
    if (!json)
        return error_no_memory(err);
    size_t size = json_dumpb(json, NULL, 0, JSON_COMPACT);
    if (list.count > VISIBLE_THINGS_MAX || size > VISIBLE_SIZE_MAX)
        return error_set(err, STATUS_INCOMPATIBLE,
                         "QEMU's command line is too long to be compared with another host's: a "
                         "guest sees %zu things of it, in %zu bytes, and %d in %zu are allowed",
                         list.count, size, VISIBLE_THINGS_MAX, VISIBLE_SIZE_MAX);
    *out = list;
    list = (struct visible_list){0};
    return true;
}

/* As many as one message has room for; the others before it. */
static char *join_differences(const struct strlist *differences)
{
    autostrbuf struct strbuf text = {0};
    size_t count = 0;
    while (count < differences->count &&
           text.length + strlen(differences->items[count]) < MESSAGE_ROOM)
        strbuf_printf(&text, "%s%s", ERROR_EACH, differences->items[count]), count++;
    for (size_t i = count; i < differences->count; i++)
        log_error("%s", differences->items[i]);
    if (count < differences->count)
        strbuf_printf(&text, "%sand %zu more", ERROR_EACH, differences->count - count);
    return strbuf_steal(&text);
}

/* Names that fit nothing. */
static bool warn_unmet(const struct strlist *accept, const struct strlist *names, struct error *err)
{
    autofree char *all = strlist_join(names, "', '");
    for (size_t i = 0; all && accept && i < accept->count; i++)
        if (!strlist_contains(names, accept->items[i]))
            log_warning("--accept-difference '%s': no difference is called that; there %s%s%s",
                        accept->items[i], names->count > 0 ? "is '" : "is none", all,
                        names->count > 0 ? "'" : "");
    return all || error_no_memory(err);
}

bool visible_require_same(const struct visible_list *source, const char *source_name,
                          const struct visible_list *destination, const char *destination_name,
                          const struct strlist *accept, struct error *err)
{
    autovisiblefound struct visible_found found = {0};
    if (!visible_compare(source, source_name, destination, destination_name, accept, &found, err))
        return false;
    for (size_t i = 0; i < found.doubts.count; i++)
        log_warning("%s", found.doubts.items[i]);
    for (size_t i = 0; i < found.accepted.count; i++)
        log_warning("accepted: %s", found.accepted.items[i]);
    if (found.compared && !warn_unmet(accept, &found.names, err))
        return false;
    autofree char *text = join_differences(&found.differences);
    size_t count = found.differences.count;
    if (count == 0)
        return true;
    return text ? error_set(err, STATUS_INCOMPATIBLE,
                            "a guest of %s would not find the same machine on %s: %zu "
                            "difference%s%s" ERROR_EACH "Give QEMU the same there; who knows that "
                            "a difference does no harm can name it on both with "
                            "--accept-difference",
                            source_name, destination_name, count, count == 1 ? "" : "s", text)
                : error_no_memory(err);
}
