/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "host/config.h"

#include <ctype.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/paths.h"

#define CONFIG_SIZE_MAX ((size_t)64 << 10)

void config_free(struct config *config)
{
    free(config->host_name);
    free(config->listen_address);
    strlist_free(&config->qemu_binaries);
    featureset_free(&config->deny);
    featureset_free(&config->require);
    path_map_free(&config->map);
    pool_config_free(&config->pool);
    config_launch_free(&config->launch);
    free(config->path);
    *config = (struct config){0};
}

struct reading {
    struct config *config;
    struct error *err; /* the first one */
    bool failed;
    const char *next; /* what of the text is not read yet */
    int line;         /* the last one that was */
};

static bool set_text(char **place, const char *value, struct error *err)
{
    char *copy = strdup(value);
    if (!copy)
        return error_no_memory(err);
    free(*place);
    *place = copy;
    return true;
}

static bool set_host_name(struct config *config, const char *value, struct error *err)
{
    if (!name_is_host(value))
        return error_set(err, STATUS_CONFIG,
                         "'%.80s' is not a host name (lower-case letters, digits, '.', '_', '-')",
                         value);
    return set_text(&config->host_name, value, err);
}

static bool set_listen_address(struct config *config, const char *value, struct error *err)
{
    autofree char *host = NULL;
    uint16_t port = 0;
    if (!parse_address(value, &host, &port))
        return error_refuse(err, STATUS_CONFIG, "'%.80s' is not an address", value);
    return set_text(&config->listen_address, value, err);
}

static bool set_migration_ports(struct config *config, const char *value, struct error *err)
{
    char first[8] = "";
    size_t length = strcspn(value, "-");
    uint64_t from, to;
    if (length < sizeof(first))
        memcpy(first, value, length);
    if (!value[length] || !parse_number(first, 1, 65535, &from) ||
        !parse_number(value + length + 1, from, 65535, &to))
        return error_set(err, STATUS_CONFIG, "'%.80s' is not a range of ports like 49152-49215",
                         value);
    config->migration_port_first = (uint16_t)from;
    config->migration_port_last = (uint16_t)to;
    return true;
}

static bool add_binary(struct config *config, const char *value, struct error *err)
{
    return strlist_push(&config->qemu_binaries, value) || error_no_memory(err);
}

static bool add_deny(struct config *config, const char *value, struct error *err)
{
    return featureset_parse(&config->deny, value, "deny", STATUS_CONFIG, err);
}

static bool add_require(struct config *config, const char *value, struct error *err)
{
    return featureset_parse(&config->require, value, "require", STATUS_CONFIG, err);
}

static bool set_devices(struct config *config, const char *value, struct error *err)
{
    config->devices_known = strcmp(value, "known") == 0;
    return config->devices_known || strcmp(value, "any") == 0 ||
           error_set(err, STATUS_CONFIG, "'%.80s' is neither known nor any", value);
}

static bool add_mapping(struct config *config, const char *key, const char *value, int line,
                        struct error *err)
{
    return path_map_add(&config->map, key, value, err);
}

static bool set_pool_key(struct config *config, const char *key, const char *value, int line,
                         struct error *err)
{
    return pool_config_set(&config->pool, key, value, err);
}

static bool add_launch_key(struct config *config, const char *key, const char *value, int line,
                           struct error *err)
{
    return config_launch_add(&config->launch, key, value, line, err);
}

static const struct {
    const char *section;
    const char *key; /* NULL: any */
    bool (*set)(struct config *config, const char *value, struct error *err);
    /* In place of it, where keys are no fixed words; line: where it stands. */
    bool (*add)(struct config *config, const char *key, const char *value, int line,
                struct error *err);
} keys[] = {
    {"host", "name", set_host_name, NULL},
    {"listen", "address", set_listen_address, NULL},
    {"listen", "migration-ports", set_migration_ports, NULL},
    {"qemu", "binary", add_binary, NULL},
    {"policy", "deny", add_deny, NULL},
    {"policy", "require", add_require, NULL},
    {"policy", "devices", set_devices, NULL},
    {"pool", NULL, NULL, set_pool_key},
    {"map", NULL, NULL, add_mapping},
    {"launch", NULL, NULL, add_launch_key},
};

static int read_entry(void *user, const char *section, const char *name, const char *value)
{
    struct reading *reading = user;
    struct error err = ERROR_INIT;
    bool section_known = false, done = false, good = false;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]) && !done; i++) {
        if (strcmp(keys[i].section, section) != 0)
            continue;
        section_known = true;
        if (!keys[i].key || strcmp(keys[i].key, name) == 0) {
            done = true;
            const char *text = value ? value : "";
            good = keys[i].add ? keys[i].add(reading->config, name, text, reading->line, &err)
                               : keys[i].set(reading->config, text, &err);
        }
    }
    if (!section_known)
        error_set(&err, STATUS_CONFIG, "unknown section [%.60s]", section);
    else if (!done)
        error_set(&err, STATUS_CONFIG, "unknown key '%.60s' in [%.60s]", name, section);
    if (!good && !reading->failed) {
        reading->failed = true;
        *reading->err = err;
    }
    return good;
}

/* inih's source of lines. Without it inih would go on behind an error, and would take what does not
 * fit its buffer (200 bytes in Debian 12's r55) for a line of its own: a name cut in two. */
static char *read_line(char *buffer, int size, void *stream)
{
    struct reading *reading = stream;
    size_t length = strcspn(reading->next, "\n");
    if (reading->failed || !*reading->next)
        return NULL;
    reading->line++;
    if (length + 2 > (size_t)size) {
        reading->failed = true;
        error_set(reading->err, STATUS_CONFIG,
                  "longer than %d characters: a list can go on in a line with the same key",
                  size - 2);
        return NULL;
    }
    length += reading->next[length] == '\n';
    memcpy(buffer, reading->next, length);
    buffer[length] = '\0';
    reading->next += length;
    return buffer;
}

/* This machine's name up to the first dot, in lower case. */
static bool default_host_name(struct config *config, struct error *err)
{
    char name[256] = "";
    if (gethostname(name, sizeof(name) - 1) != 0)
        name[0] = '\0';
    name[strcspn(name, ".")] = '\0';
    for (char *p = name; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    if (!name_is_host(name))
        return error_set(err, STATUS_CONFIG,
                         "this machine's name '%.60s' cannot name a host: set [host] name in "
                         "config.ini",
                         name);
    return set_text(&config->host_name, name, err);
}

/* A name that the table does not have may be a newer QEMU's, or a slip of the pen. */
static void doubt_names(const struct featureset *set, const char *key)
{
    for (size_t i = 0; i < set->others.count; i++)
        log_warning("config.ini: %s: this program knows no feature '%s'; it counts all the same",
                    key, set->others.items[i]);
}

bool config_load(const char *folder, const char *file, struct config *out, struct error *err)
{
    autoconfig struct config config = {.migration_port_first = MIGRATION_PORT_FIRST,
                                       .migration_port_last = MIGRATION_PORT_LAST};
    autofree char *path = file ? strdup(file) : path_join(folder, "config.ini", "");
    autofree char *text = NULL;
    size_t length;
    if (!path)
        return error_no_memory(err);
    if (!file_read_trusted(path, CONFIG_SIZE_MAX, file == NULL, &text, &length, err))
        return false;
    if (text && strlen(text) != length)
        return error_set(err, STATUS_CONFIG, "%s: not a text file", path);
    if (text) {
        struct error inner = ERROR_INIT;
        struct reading reading = {.config = &config, .err = &inner, .next = text};
        int line = ini_parse_stream(read_line, &reading, read_entry, &reading);
        if (line == -2) /* inih's word for it */
            return error_no_memory(err);
        if (line != 0 && (!reading.failed || line < reading.line))
            return error_set(err, STATUS_CONFIG, "%s: line %d: neither [section] nor key = value",
                             path, line);
        if (reading.failed)
            return error_set(err, inner.status == STATUS_INTERNAL ? STATUS_INTERNAL : STATUS_CONFIG,
                             "%s: line %d: %s", path, reading.line, inner.message);
    }
    if (!pool_config_check(&config.pool, err))
        return error_wrap(err, "%s", path);
    if (!config.host_name && !default_host_name(&config, err))
        return false;
    doubt_names(&config.deny, "deny");
    doubt_names(&config.require, "require");
    config.path = text ? STEAL(path) : NULL;
    config_free(out);
    *out = config;
    config = (struct config){0};
    return true;
}
