/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Values of QEMU's options in the form that equal ones share.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/json.h"
#include "vm/argv_json.h"
#include "vm/visible_private.h"

#define VALUE_JSON_MAX ((size_t)256 << 10)
#define DEPTH_MAX 8
#define VALUE_MAX 256 /* characters; a longer one is compared by its digest */

/* Digits, perhaps a fraction, perhaps a unit (qemu_strtosz in QEMU util/cutils.c). */
static char *canonical_size(const char *value, uint64_t unit)
{
    static const char units[] = "bkmgtpe";
    char *end = NULL;
    if (!isdigit((unsigned char)*value))
        return strdup(value);
    bool hex = value[0] == '0' && (value[1] | 0x20) == 'x';
    errno = 0;
    long double number = hex ? (long double)strtoull(value, &end, 16) : strtold(value, &end);
    const char *at = *end ? strchr(units, tolower((unsigned char)*end)) : NULL;
    if (errno || (*end && (!at || !*at || end[1])))
        return strdup(value);
    if (at)
        unit = (uint64_t)1 << (10 * (at - units));
    number *= (long double)unit;
    if (number >= 18446744073709551616.0L)
        return strdup(value);
    return string_format("%llu", (unsigned long long)number);
}

/* "3", "03.0", "0x3.0x1": slot and function in hexadecimal (set_pci_devfn in QEMU
 * hw/core/qdev-properties-system.c). Others' addresses are left alone. */
static char *canonical_address(const char *value)
{
    char *end = NULL;
    if (!isxdigit((unsigned char)*value))
        return strdup(value);
    unsigned long slot = strtoul(value, &end, 16), function = 0;
    if (*end == '.' && isxdigit((unsigned char)end[1]))
        function = strtoul(end + 1, &end, 16);
    if (*end || slot > 31 || function > 7)
        return strdup(value);
    return string_format("%02lx.%lx", slot, function);
}

/* "52-54-00-AB-CD-EF" and UUIDs, which are written in small letters or large ones (net_macaddr in
 * QEMU net/util.c, qemu_uuid_parse in util/uuid.c). */
static char *canonical_hex(const char *value)
{
    static const char *const forms[] = {"xx:xx:xx:xx:xx:xx", "xx-xx-xx-xx-xx-xx",
                                        "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"};
    for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
        const char *form = forms[i], *p = value;
        while (*form && *p && (*form == 'x' ? isxdigit((unsigned char)*p) : *form == *p))
            form++, p++;
        if (*form || *p)
            continue;
        char *copy = strdup(value);
        for (char *q = copy; q && *q; q++)
            *q = i == 1 && *q == '-' ? ':' : (char)tolower((unsigned char)*q);
        return copy;
    }
    return NULL;
}

static char *canonical_text(const char *value)
{
    char *digits = canonical_hex(value);
    if (digits)
        return digits;
    static const char *const switches[][2] = {{"on", "on"},     {"yes", "on"},  {"true", "on"},
                                              {"y", "on"},      {"off", "off"}, {"no", "off"},
                                              {"false", "off"}, {"n", "off"}};
    for (size_t i = 0; i < sizeof(switches) / sizeof(*switches); i++)
        if (strcmp(switches[i][0], value) == 0)
            return strdup(switches[i][1]);
    char *end = NULL;
    bool hex = value[0] == '0' && (value[1] | 0x20) == 'x';
    errno = 0;
    bool padded = value[0] == '0' && value[1] && !hex; /* perhaps no number: a serial number */
    unsigned long long number =
        isdigit((unsigned char)*value) && !padded ? strtoull(value, &end, hex ? 16 : 10) : 0;
    if (!end || *end || errno)
        return strdup(value);
    return string_format("%llu", number);
}

/* Six numbers of one digit or two (net_parse_macaddr in QEMU net/util.c); others are left alone. */
static char *canonical_mac(const char *value)
{
    unsigned at[6];
    int end = 0;
    size_t length = strlen(value);
    bool good = length > 0 && length < sizeof("xx:xx:xx:xx:xx:xx") &&
                strspn(value, "0123456789abcdefABCDEF:-") == length &&
                sscanf(value, "%2x%*1[:-]%2x%*1[:-]%2x%*1[:-]%2x%*1[:-]%2x%*1[:-]%2x%n", &at[0],
                       &at[1], &at[2], &at[3], &at[4], &at[5], &end) == 6 &&
                (size_t)end == length;
    return good ? string_format("%02x:%02x:%02x:%02x:%02x:%02x", at[0], at[1], at[2], at[3], at[4],
                                at[5])
                : canonical_text(value);
}

/* qemu_strtoi64 in QEMU util/cutils.c, of any base. */
static char *canonical_number(const char *value)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(value, &end, 0);
    return end == value || *end || errno ? strdup(value) : string_format("%lld", number);
}

char *visible_digest(const char *salt, const char *value)
{
    char hex[DIGEST_HEX_SIZE];
    autofree char *text = string_format("qemu-migrate-launch %s\n%s", salt, value);
    return text && digest_hex(text, strlen(text), hex, NULL) ? string_format("sha256:%s", hex)
                                                             : NULL;
}

static char *canonical(const char *value, enum visible_how how)
{
    const char *slash = strrchr(value, '/');
    switch (how) {
    case VISIBLE_SIZE:
        return canonical_size(value, 1);
    case VISIBLE_MIB:
        return canonical_size(value, (uint64_t)1 << 20);
    case VISIBLE_ADDRESS:
        return canonical_address(value);
    case VISIBLE_MAC:
        return canonical_mac(value);
    case VISIBLE_NUMBER:
        return canonical_number(value);
    case VISIBLE_CONTENT:
        return string_format("name:%s", slash ? slash + 1 : value);
    case VISIBLE_BUS: /* a name */
    case VISIBLE_SECRET:
        return strdup(value);
    default:
        return canonical_text(value);
    }
}

char *visible_canonical(const char *value, enum visible_how how)
{
    autofree char *plain = canonical(value, how);
    autofree char *text = plain ? argv_word_escape(plain) : NULL;
    if (!text || strlen(text) <= VALUE_MAX)
        return STEAL(text);
    if (how != VISIBLE_CONTENT)
        return visible_digest("", text);
    text[VALUE_MAX] = '\0'; /* a name that is found nowhere */
    return STEAL(text);
}

static bool flatten(const json_t *json, const char *key, int depth, struct keyval *keys,
                    struct error *err)
{
    if (json_is_object(json) || json_is_array(json)) {
        const char *name;
        json_t *value;
        bool good = depth < DEPTH_MAX || error_set(err, STATUS_USAGE, "too deep");
        json_object_foreach((json_t *)json, name, value)
        {
            autofree char *inner = string_format("%s%s%s", key, *key ? "." : "", name);
            good = good && (inner || error_no_memory(err)) &&
                   flatten(value, inner, depth + 1, keys, err);
        }
        for (size_t i = 0; good && i < json_array_size(json); i++) {
            autofree char *inner = string_format("%s%s%zu", key, *key ? "." : "", i);
            good = (inner || error_no_memory(err)) &&
                   flatten(json_array_get(json, i), inner, depth + 1, keys, err);
        }
        return good;
    }
    if (json_is_string(json))
        return keyval_set(keys, key, json_string_value(json), err);
    if (json_is_boolean(json))
        return keyval_set(keys, key, json_is_true(json) ? "on" : "off", err);
    autofree char *text = json_dumps(json, JSON_ENCODE_ANY);
    return text ? keyval_set(keys, key, text, err) : error_no_memory(err);
}

bool visible_keys(const char *value, const char *implied, struct keyval *keys, struct error *err)
{
    autokeyval struct keyval found = {0};
    if (!keyval_is_json(value))
        return keyval_parse(keys, value, KEYVAL_OPTS, implied, err);
    autojson json_t *json = json_parse_qmp(value, strlen(value), VALUE_JSON_MAX, NULL);
    if (!json) /* QEMU's parser takes more than ours does: then it is compared as it is */
        return keyval_set(keys, "", value, err);
    if (!flatten(json, "", 0, &found, err))
        return false;
    *keys = found;
    found = (struct keyval){0};
    return true;
}

/* qdev_alias_table in QEMU system/qdev-monitor.c, for PCs. */
const char *visible_driver(const char *name)
{
    static const char *const aliases[][2] = {
        {"AC97", "ac97"},
        {"ac97", "ac97"},
        {"ahci", "ich9-ahci"},
        {"e1000-82540em", "e1000"},
        {"lsi", "lsi53c895a"},
        {"virtio-9p", "virtio-9p-pci"},
        {"virtio-balloon", "virtio-balloon-pci"},
        {"virtio-blk", "virtio-blk-pci"},
        {"virtio-gpu", "virtio-gpu-pci"},
        {"virtio-gpu-gl", "virtio-gpu-gl-pci"},
        {"virtio-input-host", "virtio-input-host-pci"},
        {"virtio-iommu", "virtio-iommu-pci"},
        {"virtio-keyboard", "virtio-keyboard-pci"},
        {"virtio-mouse", "virtio-mouse-pci"},
        {"virtio-net", "virtio-net-pci"},
        {"virtio-rng", "virtio-rng-pci"},
        {"virtio-scsi", "virtio-scsi-pci"},
        {"virtio-serial", "virtio-serial-pci"},
        {"virtio-sound", "virtio-sound-pci"},
        {"virtio-tablet", "virtio-tablet-pci"},
    };
    for (size_t i = 0; i < sizeof(aliases) / sizeof(*aliases); i++)
        if (strcmp(aliases[i][0], name) == 0)
            return aliases[i][1];
    return name;
}
