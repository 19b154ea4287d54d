/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/paths.h"
#include "base/strings.h"
#include "peer/trust_private.h"

/* Two commands that change the same entry follow one another. */
static int lock_folder(const char *folder, struct error *err)
{
    autofree char *path = path_join(folder, ".lock", "");
    if (!path) {
        error_no_memory(err);
        return -1;
    }
    return file_lock(path, true, NULL, err);
}

static bool write_entry(const char *path, const struct trust_entry *entry, const char *address,
                        struct error *err)
{
    autojson json_t *json = json_pack("{s:i,s:s,s:[s]}", "version", TRUST_VERSION, "name",
                                      entry->name, "pins", entry->pins[0]);
    bool good = json != NULL;
    if (good && entry->pin_count > 1)
        good =
            json_array_append_new(json_object_get(json, "pins"), json_string(entry->pins[1])) == 0;
    if (good && address)
        good = json_object_set_new(json, "address", json_string(address)) == 0;
    if (good && entry->expires != TRUST_NEVER)
        good = json_object_set_new(json, "expires", json_integer(entry->expires)) == 0;
    autofree char *text = good ? json_to_text(json) : NULL;
    autofree char *line = text ? string_format("%s\n", text) : NULL;
    if (!line)
        return error_no_memory(err);
    return file_write_atomic(path, line, strlen(line), 0644, err);
}

/* HOST[:PORT] of an entry as parse_address takes it; *text stays NULL if it has none. */
static bool format_address(const struct trust_entry *entry, char **text, struct error *err)
{
    if (!entry->host)
        return true;
    const char *left = strchr(entry->host, ':') ? "[" : "", *right = *left ? "]" : "";
    *text = entry->port ? string_format("%s%s%s:%u", left, entry->host, right, entry->port)
                        : string_format("%s%s%s", left, entry->host, right);
    return *text || error_no_memory(err);
}

static bool check_words(const char *name, const char *pin, const char *address, int64_t expires,
                        struct error *err)
{
    autofree char *host = NULL;
    uint16_t port = 0;
    if (!name_is_vm(name))
        return error_set(err, STATUS_USAGE,
                         "'%.80s' is not a name: letters, digits, '.', '_', '-', at most 64", name);
    if (!pin_is_valid(pin))
        return error_set(err, STATUS_USAGE,
                         "'%.80s' is not a pin: it looks like sha256//BASE64= "
                         "('identity show' prints it)",
                         pin);
    if (address && (!parse_address(address, &host, &port) || !*host))
        return error_refuse(err, STATUS_USAGE, "'%.80s' is not HOST[:PORT]", address);
    if (expires < 0)
        return error_set(err, STATUS_USAGE, "an entry cannot expire before 1970");
    return true;
}

/* What the entry of that name becomes; its strings belong to others. */
static bool merge_entry(const struct trust *trust, const char *name, const char *pin,
                        struct trust_entry *merged, struct error *err)
{
    const struct trust_entry *owner = trust_find_pin(trust, pin);
    if (owner && strcmp(owner->name, name) != 0)
        return error_set(err, STATUS_CONFIG, "%s is trusted already, as '%s'", pin, owner->name);
    *merged = (struct trust_entry){.name = (char *)name};
    for (size_t i = 0; i < trust->count; i++) {
        const struct trust_entry *entry = &trust->entries[i];
        if (entry->authority &&
            (strcmp(entry->name, name) == 0 || strcmp(entry->authority->name, name) == 0))
            return error_set(err, STATUS_CONFIG,
                             "'%s' is trusted by the authority of '%s': change that entry's file, "
                             "or give another name",
                             name, entry->authority->name);
        if (strcmp(entry->name, name) == 0)
            *merged = *entry;
    }
    if (owner)
        return true;
    if (merged->pin_count == TRUST_PINS_MAX)
        return error_set(err, STATUS_CANNOT_WRITE,
                         "'%s' has two keys already, %s and %s: 'trust remove %s' first", name,
                         merged->pins[0], merged->pins[1], name);
    memcpy(merged->pins[merged->pin_count++], pin, PIN_SIZE);
    return true;
}

bool trust_add(const char *config_folder, const char *name, const char *pin, const char *address,
               int64_t expires, struct error *err)
{
    if (!check_words(name, pin, address, expires, err))
        return false;
    autofree char *folder = path_join(config_folder, TRUST_FOLDER, "");
    autofree char *path = folder ? path_join(folder, name, TRUST_SUFFIX) : NULL;
    if (!path)
        return error_no_memory(err);
    if (!folder_make(config_folder, 0700, err) || !folder_make(folder, 0755, err))
        return false;
    autoclose int lock = lock_folder(folder, err);
    if (lock < 0)
        return false;
    autotrust struct trust trust = {0};
    struct trust_entry merged;
    autofree char *old_address = NULL;
    if (!trust_load(config_folder, &trust, err) || !merge_entry(&trust, name, pin, &merged, err) ||
        !format_address(&merged, &old_address, err))
        return false;
    merged.expires = expires;
    return write_entry(path, &merged, address ? address : old_address, err);
}

/* There is no file of that name; an authority's may have it among its names. */
static bool refuse_missing(const char *config_folder, const char *name, struct error *err)
{
    autotrust struct trust trust = {0};
    autostrlist struct strlist complaints = {0};
    struct error ignored = ERROR_INIT;
    if (trust_load_readable(config_folder, &trust, &complaints, &ignored))
        for (size_t i = 0; i < trust.count; i++)
            if (trust.entries[i].authority && strcmp(trust.entries[i].name, name) == 0)
                return error_set(err, STATUS_CONFIG,
                                 "'%s' is trusted by the authority of '%s': take it out of "
                                 "\"names\" in %s/" TRUST_FOLDER "/%s" TRUST_SUFFIX,
                                 name, trust.entries[i].authority->name, config_folder,
                                 trust.entries[i].authority->name);
    return error_set(err, STATUS_CONFIG,
                     "there is no trust entry '%s' ('trust list' shows those there are)", name);
}

bool trust_remove(const char *config_folder, const char *name, struct error *err)
{
    if (!name_is_vm(name))
        return error_set(err, STATUS_USAGE, "'%.80s' is not a name", name);
    autofree char *folder = path_join(config_folder, TRUST_FOLDER, "");
    autofree char *path = folder ? path_join(folder, name, TRUST_SUFFIX) : NULL;
    if (!path)
        return error_no_memory(err);
    struct stat st;
    if (lstat(path, &st) != 0 && errno == ENOENT)
        return refuse_missing(config_folder, name, err);
    autoclose int lock = lock_folder(folder, err);
    if (lock < 0)
        return false;
    autoclose int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || unlink(path) < 0 || fsync(fd) < 0)
        return error_set_errno(err, STATUS_CANNOT_WRITE, errno, "%s", path);
    return true;
}
