/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "peer/trust.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/paths.h"
#include "base/strings.h"
#include "peer/trust_private.h"

void trust_entry_free(struct trust_entry *entry)
{
    free(entry->name);
    free(entry->host);
    authority_free(entry->authority);
    X509_free(entry->certificate);
    *entry = (struct trust_entry){0};
}
#define autoentry __attribute__((cleanup(trust_entry_free)))

static void cleanup_folder(DIR **folder)
{
    if (*folder)
        closedir(*folder);
}

static bool take_pins(struct trust_entry *entry, const json_t *pins, struct error *err)
{
    autostrlist struct strlist list = {0};
    if (!json_take_names(pins, "pins", pin_is_valid, &list, err))
        return false;
    if (list.count < 1 || list.count > TRUST_PINS_MAX)
        return error_set(err, STATUS_DATA, "%zu pins, not one or two", list.count);
    if (list.count == 2 && strcmp(list.items[0], list.items[1]) == 0)
        return error_set(err, STATUS_DATA, "the same pin twice");
    for (size_t i = 0; i < list.count; i++)
        memcpy(entry->pins[i], list.items[i], PIN_SIZE);
    entry->pin_count = list.count;
    return true;
}

static bool parse_entry(struct trust_entry *entry, json_t *json, const char *name,
                        struct error *err)
{
    json_int_t version = 0, expires = TRUST_NEVER;
    const char *inner = NULL, *address = NULL;
    json_t *pins = NULL;
    if (!json_take(json, err, "entry", "{s:I,s:s,s:o,s?s,s?I}", "version", &version, "name", &inner,
                   "pins", &pins, "address", &address, "expires", &expires))
        return false;
    if (version != TRUST_VERSION)
        return error_set(err, STATUS_DATA, "version %lld is unknown here", (long long)version);
    if (strcmp(inner, name) != 0)
        return error_set(err, STATUS_DATA, "it says it is '%.80s'", inner);
    if (!take_pins(entry, pins, err))
        return false;
    if (address && (!parse_address(address, &entry->host, &entry->port) || !*entry->host))
        return error_refuse(err, STATUS_DATA, "'%.80s' is not HOST[:PORT]", address);
    if (expires < 0)
        return error_set(err, STATUS_DATA, "expires is before 1970");
    entry->expires = expires;
    entry->name = strdup(name);
    return entry->name || error_no_memory(err);
}

/* The entry of a file, or, of one that names an authority, all of them; *entries is for the caller
 * to free. */
static bool parse_entries(json_t *json, const char *folder, const char *name,
                          struct trust_entry **entries, size_t *count, struct error *err)
{
    if (json_object_get(json, "ca"))
        return trust_authority_read(json, folder, name, entries, count, err);
    autoentry struct trust_entry entry = {0};
    if (!parse_entry(&entry, json, name, err))
        return false;
    *entries = calloc(1, sizeof(**entries));
    if (!*entries)
        return error_no_memory(err);
    **entries = entry;
    entry = (struct trust_entry){0};
    *count = 1;
    return true;
}

static bool read_entries(const char *folder, const char *name, struct trust_entry **entries,
                         size_t *count, struct error *err)
{
    autofree char *path = path_join(folder, name, TRUST_SUFFIX);
    autofree char *text = NULL;
    size_t length = 0;
    if (!path)
        return error_no_memory(err);
    if (!file_read_trusted(path, TRUST_FILE_MAX, false, &text, &length, err))
        return false;
    autojson json_t *json = json_parse_strict(text, length, TRUST_FILE_MAX, err);
    if (!json || !parse_entries(json, folder, name, entries, count, err)) {
        /* The user's own file: that is configuration, not data from somebody. */
        if (err && err->status == STATUS_DATA)
            err->status = STATUS_CONFIG;
        error_wrap(err, "%s", path);
        /* Also where it is no JSON: the names in it are in no other place. */
        if (strstr(text, "\"ca\""))
            return error_advise(err, "mend it as " TRUST_AUTHORITIES " has it");
        return error_advise(err, "'trust remove %s', and 'trust add' it again", name);
    }
    return true;
}

/* Add to complaints (NULL: there may be none) that an entry is bad. */
static bool complain(struct strlist *complaints, const char *name, const struct error *bad,
                     struct error *err)
{
    if (!complaints || bad->status == STATUS_INTERNAL)
        return error_set(err, bad->status, "%s", bad->message);
    return (strlist_push(complaints, name) && strlist_push(complaints, bad->message)) ||
           error_no_memory(err);
}

/* NAME of every NAME.json, sorted. Other files (editors' backups, our temporary ones) are not
 * ours to judge, but NAME must be one that trust_add could have made. */
static bool list_names(const char *path, struct strlist *names, struct strlist *complaints,
                       struct error *err)
{
    DIR *folder __attribute__((cleanup(cleanup_folder))) = opendir(path);
    struct stat st;
    if (!folder && errno == ENOENT)
        return true;
    if (!folder || fstat(dirfd(folder), &st) < 0)
        return error_set_errno(err, STATUS_CONFIG, errno, "%s", path);
    if ((st.st_uid != geteuid() && st.st_uid != 0) || (st.st_mode & 022))
        return error_set(err, STATUS_NOT_TRUSTED, "%s: others can change it: not used (chmod go-w)",
                         path);
    for (;;) {
        errno = 0;
        const struct dirent *item = readdir(folder);
        if (!item && errno)
            return error_set_errno(err, STATUS_CONFIG, errno, "%s", path);
        if (!item)
            break;
        size_t length = strlen(item->d_name), suffix = strlen(TRUST_SUFFIX);
        if (item->d_name[0] == '.' || length <= suffix ||
            strcmp(item->d_name + length - suffix, TRUST_SUFFIX) != 0)
            continue;
        autofree char *name = strndup(item->d_name, length - suffix);
        if (!name)
            return error_no_memory(err);
        if (!name_is_vm(name)) {
            struct error bad = ERROR_INIT;
            error_set(&bad, STATUS_CONFIG, "%s/%s: not a valid name", path, item->d_name);
            if (!complain(complaints, item->d_name, &bad, err))
                return false;
            continue;
        }
        if (names->count >= TRUST_ENTRIES_MAX)
            return error_set(err, STATUS_CONFIG, "%s: more than %d entries", path,
                             TRUST_ENTRIES_MAX);
        if (!strlist_push(names, name))
            return error_no_memory(err);
    }
    if (names->count > 0)
        strlist_sort(names);
    return true;
}

/* Its name and its pins are nobody else's. */
static bool check_entry(const char *folder, const struct trust_entry *entry,
                        const struct trust *trust, struct error *err)
{
    for (size_t i = 0; i < trust->count; i++)
        if (strcmp(trust->entries[i].name, entry->name) == 0)
            return error_set(err, STATUS_CONFIG, "%s: '%s' is there twice, by an authority%s%s",
                             folder, entry->name, entry->authority ? ", " : "",
                             entry->authority ? entry->authority->name : "");
    for (size_t p = 0; p < entry->pin_count && !entry->authority; p++) {
        const struct trust_entry *other = trust_find_pin(trust, entry->pins[p]);
        if (other && !other->authority)
            return error_set(err, STATUS_CONFIG, "%s: '%s' and '%s' have the same pin %s", folder,
                             other->name, entry->name, entry->pins[p]);
    }
    return true;
}

static void free_entries(struct trust_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        trust_entry_free(&entries[i]);
    free(entries);
}

/* Read one more file, to the end of the entries that are there: all of it or nothing. */
static bool add_entries(const char *folder, const char *name, struct trust *trust,
                        struct error *err)
{
    struct trust_entry *entries = NULL;
    size_t count = 0;
    if (!read_entries(folder, name, &entries, &count, err))
        return false;
    bool good =
        trust->count + count <= TRUST_ENTRIES_MAX ||
        error_set(err, STATUS_CONFIG, "%s: more than %d entries", folder, TRUST_ENTRIES_MAX);
    for (size_t i = 0; good && i < count; i++)
        good = check_entry(folder, &entries[i], trust, err);
    struct trust_entry *all =
        good ? realloc(trust->entries, (trust->count + count) * sizeof(*all)) : NULL;
    if (!all) {
        free_entries(entries, count);
        return good ? error_no_memory(err) : false;
    }
    for (size_t i = 0; i < count; i++)
        all[trust->count + i] = entries[i];
    free(entries);
    trust->entries = all;
    trust->count += count;
    return true;
}

static int compare_names(const void *one, const void *other)
{
    return strcmp(((const struct trust_entry *)one)->name,
                  ((const struct trust_entry *)other)->name);
}

/* complaints: NULL: the first entry that is bad is an error. */
static bool load(const char *config_folder, struct trust *result, struct strlist *complaints,
                 struct error *err)
{
    autofree char *folder = path_join(config_folder, TRUST_FOLDER, "");
    autostrlist struct strlist names = {0};
    autotrust struct trust trust = {0};
    if (!folder)
        return error_no_memory(err);
    if (!list_names(folder, &names, complaints, err))
        return false;
    for (size_t i = 0; i < names.count; i++) {
        struct error bad = ERROR_INIT;
        if (!add_entries(folder, names.items[i], &trust, &bad) &&
            !complain(complaints, names.items[i], &bad, err))
            return false;
    }
    if (trust.count > 0)
        qsort(trust.entries, trust.count, sizeof(*trust.entries), compare_names);
    *result = trust;
    trust = (struct trust){0};
    return true;
}

bool trust_load(const char *config_folder, struct trust *trust, struct error *err)
{
    return load(config_folder, trust, NULL, err);
}

bool trust_load_readable(const char *config_folder, struct trust *trust, struct strlist *complaints,
                         struct error *err)
{
    return load(config_folder, trust, complaints, err);
}

void trust_free(struct trust *trust)
{
    for (size_t i = 0; i < trust->count; i++)
        trust_entry_free(&trust->entries[i]);
    free(trust->entries);
    *trust = (struct trust){0};
}

bool trust_entry_has_pin(const struct trust_entry *entry, const char *pin)
{
    for (size_t i = 0; i < entry->pin_count; i++)
        if (strcmp(entry->pins[i], pin) == 0)
            return true;
    return false;
}

const struct trust_entry *trust_find_pin(const struct trust *trust, const char *pin)
{
    for (size_t i = 0; i < trust->count; i++)
        if (trust_entry_has_pin(&trust->entries[i], pin))
            return &trust->entries[i];
    return NULL;
}

/* Names without regard to case, IPv6 literals by value. */
static bool hosts_equal(const char *a, const char *b)
{
    struct in6_addr one, other;
    if (inet_pton(AF_INET6, a, &one) == 1 && inet_pton(AF_INET6, b, &other) == 1)
        return memcmp(&one, &other, sizeof(one)) == 0;
    return strcasecmp(a, b) == 0;
}

const struct trust_entry *trust_find(const struct trust *trust, const char *name_or_address)
{
    for (size_t i = 0; i < trust->count; i++)
        if (strcmp(trust->entries[i].name, name_or_address) == 0)
            return &trust->entries[i];
    autofree char *host = NULL;
    uint16_t port = 0;
    struct in6_addr bare;
    if (inet_pton(AF_INET6, name_or_address, &bare) == 1)
        host = strdup(name_or_address);
    else if (!parse_address(name_or_address, &host, &port))
        return NULL;
    const struct trust_entry *found = NULL;
    for (size_t i = 0; host && i < trust->count; i++) {
        const struct trust_entry *entry = &trust->entries[i];
        if (!entry->host || !hosts_equal(entry->host, host))
            continue;
        if (port && entry->port && port != entry->port)
            continue;
        if (found)
            return NULL;
        found = entry;
    }
    return found;
}

bool trust_entry_is_expired(const struct trust_entry *entry, time_t now)
{
    return entry->expires != TRUST_NEVER && (int64_t)now >= entry->expires;
}
