/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/members.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define NAMES_SHOWN 8
#define NOTES_MAX 32

static void member_free(struct pool_member *member)
{
    free(member->address);
    presence_free(&member->presence);
}

void pool_members_free(struct pool_members *members)
{
    for (size_t i = 0; i < members->count; i++)
        member_free(&members->items[i]);
    free(members->items);
    strlist_free(&members->notes);
    *members = (struct pool_members){0};
}

struct choosing {
    const struct members_setup *setup;
    const struct seen *seen;
    struct pool_members members;
    struct strlist strangers; /* names of hosts that are not trusted here */
    size_t unsaid;            /* reasons beyond NOTES_MAX */
};

static void choosing_free(struct choosing *choosing)
{
    pool_members_free(&choosing->members);
    strlist_free(&choosing->strangers);
}

/* Count a presence out, and say why. False for want of memory. */
static bool ignore(struct choosing *choosing, const char *name, const char *reason)
{
    choosing->members.ignored++;
    if (choosing->members.notes.count >= NOTES_MAX) {
        choosing->unsaid++;
        return true;
    }
    return strlist_pushf(&choosing->members.notes, "pool: %s is ignored: %s", name, reason);
}

/* Whether the presence may count, by all but what this host has seen. False with a reason, or with
 * *mine for this host's own. */
static bool examine(const struct choosing *choosing, const struct etcd_kv *kv, const char *name,
                    struct pool_member *member, bool *mine, struct error *reason)
{
    const struct members_setup *setup = choosing->setup;
    struct presence *presence = &member->presence;
    if (!kv->value)
        return error_set(reason, STATUS_DATA, "its presence is larger than %zu bytes",
                         PRESENCE_SIZE_MAX);
    if (!presence_open(kv->value, kv->value_length, presence, reason))
        return false;
    if (strcmp(presence->pin, setup->pin) == 0) {
        *mine = true;
        return false;
    }
    member->entry = trust_find_pin(setup->trust, presence->pin);
    if (!member->entry)
        return error_set(reason, STATUS_NOT_TRUSTED, "its key %s is not trusted here",
                         presence->pin);
    if (trust_entry_is_expired(member->entry, (time_t)setup->now))
        return error_set(reason, STATUS_NOT_TRUSTED, "its trust entry '%s' has expired",
                         member->entry->name);
    if (strcmp(presence->host, name) != 0)
        return error_set(reason, STATUS_DATA, "what is there is signed by %s for the name %s",
                         member->entry->name, presence->host);
    if (strcmp(name, setup->host_name) == 0)
        return error_set(reason, STATUS_DATA,
                         "%s has this host's own name: set another [host] name there or here",
                         member->entry->name);
    return presence_check(presence, setup->now, reason);
}

/* Its own word first: it may have moved; then the administrator's here. */
static bool find_address(struct pool_member *member)
{
    const struct presence *presence = &member->presence;
    const struct trust_entry *entry = member->entry;
    const char *address = *presence->address ? presence->address
                          : entry->host      ? entry->host
                                             : presence->host;
    member->port = !*presence->address && entry->host && entry->port ? entry->port : presence->port;
    return (member->address = strdup(address)) != NULL;
}

/* Put it among the members; of two statements by one host the later. */
static bool admit(struct choosing *choosing, struct pool_member *member)
{
    struct pool_members *members = &choosing->members;
    for (size_t i = 0; i < members->count; i++) {
        struct pool_member *other = &members->items[i], older;
        if (other->entry != member->entry)
            continue;
        older = *member;
        if (member->presence.serial > other->presence.serial) {
            older = *other;
            *other = *member;
        }
        bool good = ignore(choosing, older.presence.host,
                           "an older presence of a host that is there under another name");
        member_free(&older);
        *member = (struct pool_member){0};
        return good;
    }
    members->items[members->count++] = *member;
    *member = (struct pool_member){0};
    return true;
}

static bool is_older_than_seen(const struct choosing *choosing, const struct presence *presence)
{
    const struct seen_host *seen = seen_find(choosing->seen, presence->pin);
    return seen && presence->serial < seen->serial;
}

static bool consider(struct choosing *choosing, const struct etcd_kv *kv)
{
    struct pool_member member __attribute__((cleanup(member_free))) = {0};
    struct error reason = ERROR_INIT;
    bool mine = false;
    const char *name = kv->key + strlen(choosing->setup->folder);
    if (strlen(kv->key) != kv->key_length || !name_is_host(name))
        return ignore(choosing, "a key", "it names no host");
    if (!examine(choosing, kv, name, &member, &mine, &reason)) {
        if (reason.status == STATUS_NOT_TRUSTED && !member.entry) {
            choosing->members.ignored++;
            return strlist_push(&choosing->strangers, name);
        }
        return mine || (reason.status != STATUS_INTERNAL && ignore(choosing, name, reason.message));
    }
    if (is_older_than_seen(choosing, &member.presence))
        return ignore(choosing, name,
                      "its presence is older than one read before: the store plays it back");
    return find_address(&member) && admit(choosing, &member);
}

static bool tell_strangers(struct choosing *choosing)
{
    struct strlist *strangers = &choosing->strangers;
    size_t count = strangers->count;
    if (count == 0)
        return true;
    while (strangers->count > NAMES_SHOWN)
        free(strangers->items[--strangers->count]);
    strangers->items[strangers->count] = NULL;
    autofree char *names = strlist_join(strangers, ", ");
    return names && strlist_pushf(&choosing->members.notes,
                                  "pool: %zu %s not trusted here and ignored: %s%s (trust add NAME "
                                  "PIN)",
                                  count, count == 1 ? "host is" : "hosts are", names,
                                  count > NAMES_SHOWN ? ", ..." : "");
}

/* Hosts that were there once: the store may hide them, so a person should know. */
static bool tell_missing(struct choosing *choosing)
{
    const struct members_setup *setup = choosing->setup;
    struct pool_members *members = &choosing->members;
    for (size_t i = 0; i < choosing->seen->count; i++) {
        const struct seen_host *host = &choosing->seen->hosts[i];
        const struct trust_entry *entry = trust_find_pin(setup->trust, host->pin);
        bool there = !entry || trust_entry_is_expired(entry, (time_t)setup->now);
        for (size_t m = 0; m < members->count; m++)
            there = there || members->items[m].entry == entry;
        long long ago = host->when < setup->now ? setup->now - host->when : 0;
        if (!there &&
            !strlist_pushf(&members->notes, "pool: %s is not in the pool now (it was %lld %s ago)",
                           entry->name, ago < 7200 ? ago / 60 : ago / 3600,
                           ago < 7200 ? "minutes" : "hours"))
            return false;
    }
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct pool_member *)a)->entry->name,
                  ((const struct pool_member *)b)->entry->name);
}

bool members_choose(const struct etcd_range *range, const struct members_setup *setup,
                    struct seen *seen, struct pool_members *out, struct error *err)
{
    struct choosing choosing
        __attribute__((cleanup(choosing_free))) = {.setup = setup, .seen = seen};
    struct pool_members *members = &choosing.members;
    members->items = calloc(range->count + 1, sizeof(*members->items));
    bool good = members->items != NULL;
    for (size_t i = 0; good && i < range->count; i++)
        good = consider(&choosing, &range->kvs[i]);
    good = good && (choosing.unsaid == 0 ||
                    strlist_pushf(&members->notes, "pool: %zu more are ignored", choosing.unsaid));
    if (!good || !tell_strangers(&choosing) || !tell_missing(&choosing))
        return error_no_memory(err);
    for (size_t i = 0; i < members->count; i++) {
        const struct presence *presence = &members->items[i].presence;
        if (!seen_note(seen, presence->pin, presence->host, presence->serial, setup->now))
            return error_no_memory(err);
    }
    if (members->count > 1)
        qsort(members->items, members->count, sizeof(*members->items), by_name);
    *out = *members;
    *members = (struct pool_members){0};
    return true;
}
