/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Hosts of tests about devices, in a line each:
 *   "b tun:uso,vnet-hdr vhost-net?denied vhost-vsock! net:csum,host_uso
 * compat:DRIVER.PROPERTY=VALUE" a name; backends that are known (:FEATURES), unknown (?WHY), absent
 * (!); properties that virtio-net has; what the machine type sets (nothing behind "compat:": it is
 * known to set nothing).
 */
#ifndef QML_TESTS_DEVICE_FIXTURE_H
#define QML_TESTS_DEVICE_FIXTURE_H

#include "device/device_baseline.h"
#include "unit.h"

static void fixture_compat(struct device_offer *offer, char *text)
{
    offer->compat_known = true;
    char *property = strchr(text, '.'), *value = strchr(text, '=');
    if (!property || !value)
        return;
    *property++ = '\0';
    *value++ = '\0';
    ck_assert(device_offer_add_compat(offer, text, property, value));
}

static void fixture_word(struct device_offer *offer, char *word)
{
    size_t length = strcspn(word, ":?!");
    char mark = word[length], *rest = word + length + 1;
    word[length] = '\0';
    if (strcmp(word, "compat") == 0) {
        fixture_compat(offer, rest);
    } else if (strcmp(word, "net") == 0) {
        struct class_offer *class = device_offer_add_class(offer, "virtio-net");
        ck_assert(class && strlist_split(&class->properties, rest, ','));
        strlist_sort(&class->properties);
    } else {
        struct backend_offer *backend = device_offer_add_backend(offer, word,
                                                                 mark == ':'   ? BACKEND_KNOWN
                                                                 : mark == '?' ? BACKEND_UNKNOWN
                                                                               : BACKEND_ABSENT,
                                                                 mark == '?' ? rest : NULL);
        ck_assert(backend && (mark != ':' || strlist_split(&backend->features, rest, ',')));
        strlist_sort(&backend->features);
    }
}

/* The name is a literal's part: kept for the life of the test. */
static struct device_host fixture_host(const char *line, struct device_offer *offer)
{
    static char names[64][8];
    static unsigned used;
    char *name = names[used++ % 64];
    autostrlist struct strlist words = {0};
    ck_assert(strlist_split(&words, line, ' '));
    snprintf(name, sizeof(names[0]), "%s", words.items[0]);
    if (words.count > 1)
        offer->table = BACKEND_TABLE_VERSION;
    for (size_t i = 1; i < words.count; i++)
        fixture_word(offer, words.items[i]);
    return (struct device_host){name, offer};
}

#endif
