/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the two sides of `trust pair` know of each other: pure, but for the clock.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "cli/cmd_trust.h"
#include "cli/remote_shell.h"

#define ENTRIES_MAX 4096

enum trusted trust_pair_look(const struct trust *trust, const char *name, const char *pin,
                             const struct trust_entry **entry)
{
    *entry = trust_find_pin(trust, pin);
    if (*entry)
        return trust_entry_is_expired(*entry, time(NULL)) ? TRUSTED_EXPIRED : TRUSTED_ALREADY;
    for (size_t i = 0; i < trust->count; i++)
        if (strcmp(trust->entries[i].name, name) == 0) {
            *entry = &trust->entries[i];
            return TRUSTED_OTHER;
        }
    return TRUSTED_NOT;
}

/* A version that is newer may say more of an entry. One without pins is none of ours to compare. */
static bool read_entry(json_t *item, struct trust *trust, struct error *err)
{
    const char *name = json_string_value(json_object_get(item, "name"));
    const json_t *pins = json_object_get(item, "pins");
    const json_t *expires = json_object_get(item, "expires");
    autostrlist struct strlist list = {0};
    if (!name || !name_is_vm(name) || (expires && !json_is_integer(expires)))
        return error_set(err, STATUS_DATA, "not a trust entry");
    if (!json_take_names(pins, "pins", pin_is_valid, &list, err))
        return false;
    if (list.count > TRUST_PINS_MAX)
        return error_set(err, STATUS_DATA, "%zu pins", list.count);
    struct trust_entry *entry = &trust->entries[trust->count];
    entry->name = strdup(name);
    if (!entry->name)
        return error_no_memory(err);
    trust->count++;
    for (size_t i = 0; i < list.count; i++)
        memcpy(entry->pins[i], list.items[i], PIN_SIZE);
    entry->pin_count = list.count;
    entry->expires = expires ? json_integer_value(expires) : TRUST_NEVER;
    return true;
}

bool trust_pair_read_list(const char *text, struct trust *trust, struct error *err)
{
    autotrust struct trust result = {0};
    autojson json_t *document = json_parse_strict(text, strlen(text), REMOTE_OUTPUT_MAX, err);
    const json_t *peers = document ? json_object_get(document, "peers") : NULL;
    if (!document)
        return false;
    if (!json_is_array(peers) || json_array_size(peers) > ENTRIES_MAX)
        return error_set(err, STATUS_DATA, "not a list of trust entries");
    result.entries = calloc(json_array_size(peers) + 1, sizeof(*result.entries));
    if (!result.entries)
        return error_no_memory(err);
    for (size_t i = 0; i < json_array_size(peers); i++)
        if (!read_entry(json_array_get(peers, i), &result, err))
            return false;
    *trust = result;
    result = (struct trust){0};
    return true;
}

/* As parse_address takes it. */
static char *address_of(const char *host)
{
    autofree char *parsed = NULL;
    struct in6_addr v6;
    uint16_t port = 0;
    if (inet_pton(AF_INET6, host, &v6) == 1)
        return string_format("[%s]", host);
    return parse_address(host, &parsed, &port) && *parsed && port == 0 ? strdup(host) : NULL;
}

char *trust_pair_read_address(const char *text)
{
    static const char key[] = "hostname ";
    while (text && !string_starts_with(text, key)) {
        text = strchr(text, '\n');
        text = text ? text + 1 : NULL;
    }
    if (!text)
        return NULL;
    text += strlen(key);
    autofree char *host = strndup(text, strcspn(text, "\n"));
    return host ? address_of(host) : NULL;
}

char *trust_pair_number(const char *text)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, text, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127 ? NULL : strdup(text);
    if (inet_pton(AF_INET6, text, &v6) != 1 || IN6_IS_ADDR_LOOPBACK(&v6) ||
        IN6_IS_ADDR_LINKLOCAL(&v6))
        return NULL;
    return string_format("[%s]", text);
}
