/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The other parties of a launch: who they are, where they are, what is known of them; and what an
 * earlier launch agreed on.
 */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/cmd_launch.h"

#define COMMIT_AGAIN_MS 5000

static size_t count_address(const struct trust *trust, const char *host)
{
    size_t count = 0;
    for (size_t i = 0; i < trust->count; i++)
        count += trust->entries[i].host && strcmp(trust->entries[i].host, host) == 0;
    return count;
}

const struct trust_entry *launch_find_peer(const struct launch *launch, const char *option,
                                           const char *text, char **host, uint16_t *port,
                                           struct error *err)
{
    const struct trust_entry *entry = trust_find(&launch->trust, text);
    autofree char *given = NULL;
    uint16_t given_port = 0;
    if (!name_is_vm(text) || !entry || strcmp(entry->name, text) != 0) {
        if (!parse_address(text, &given, &given_port) || !*given) {
            error_refuse(err, STATUS_USAGE, "%s: '%.80s' is not HOST[:PORT]", option, text);
            return NULL;
        }
        if (!entry)
            entry = trust_find(&launch->trust, given);
    }
    if (!entry && count_address(&launch->trust, given ? given : text) > 1) {
        error_set(err, STATUS_NOT_TRUSTED,
                  "several trust entries have the address %s: give %s the name of one",
                  given ? given : text, option);
        return NULL;
    }
    if (!entry) {
        error_set(err, STATUS_NOT_TRUSTED,
                  "no trust entry is named %s or has that address: "
                  "qemu-migrate-launch trust add NAME PIN --address %s",
                  text, text);
        return NULL;
    }
    *port = given_port > 0 ? given_port : entry->port ? entry->port : DEFAULT_PORT;
    *host = strdup(entry->host ? entry->host : given ? given : entry->name);
    if (!*host)
        error_no_memory(err);
    return *host ? entry : NULL;
}

/* All that negotiate borrows. */
struct others {
    struct negotiate_target *targets;
    struct negotiate_stored *stored;
    struct strlist hosts, texts;
};

static void others_free(struct others *others)
{
    free(others->targets);
    free(others->stored);
    strlist_free(&others->hosts);
    strlist_free(&others->texts);
}

/* Nobody was named: all of the pool. */
static bool take_members(const struct pool_members *members, struct others *others,
                         struct error *err)
{
    others->targets = calloc(members->count + 1, sizeof(*others->targets));
    if (!others->targets)
        return error_no_memory(err);
    for (size_t i = 0; i < members->count; i++) {
        const struct pool_member *member = &members->items[i];
        others->targets[i] =
            (struct negotiate_target){member->entry, member->address, member->port};
    }
    return true;
}

static bool find_targets(const struct launch *launch, struct others *others, struct error *err)
{
    const struct strlist *peers = &launch->options.peers;
    if (launch->members.count > 0)
        return take_members(&launch->members, others, err);
    others->targets = calloc(peers->count + 1, sizeof(*others->targets));
    if (!others->targets)
        return error_no_memory(err);
    for (size_t i = 0; i < peers->count; i++) {
        struct negotiate_target *target = &others->targets[i];
        char *host = NULL;
        target->entry =
            launch_find_peer(launch, "--peer", peers->items[i], &host, &target->port, err);
        if (!target->entry)
            return false;
        if (!strlist_push_owned(&others->hosts, host))
            return error_no_memory(err);
        target->host = others->hosts.items[i];
        for (size_t k = 0; k < i; k++)
            if (others->targets[k].entry == target->entry)
                return error_set(err, STATUS_USAGE, "--peer %s and --peer %s are one party, %s",
                                 peers->items[k], peers->items[i], target->entry->name);
    }
    return true;
}

/* The file of --peer-profile: signed by somebody who is trusted here. */
static bool read_profiles(const struct launch *launch, struct others *others, struct error *err)
{
    const struct strlist *files = &launch->options.profiles;
    others->stored = calloc(files->count + 1, sizeof(*others->stored));
    if (!others->stored)
        return error_no_memory(err);
    for (size_t i = 0; i < files->count; i++) {
        const char *file = files->items[i];
        autoenvelope struct envelope envelope = {0};
        char *text = NULL;
        size_t length;
        if (!file_read(file, PROFILE_SIZE_MAX * 2, false, &text, &length, err))
            return false;
        if (!strlist_push_owned(&others->texts, text))
            return error_no_memory(err);
        if (!envelope_open(text, length, PROFILE_SIZE_MAX * 2, PROFILE_TYPE, &envelope, err))
            return error_wrap(err, "%s", file);
        const struct trust_entry *entry = trust_find_pin(&launch->trust, envelope.pin);
        if (!entry)
            return error_set(err, STATUS_NOT_TRUSTED,
                             "%s is signed by a key that is not trusted here: qemu-migrate-launch "
                             "trust add NAME %s",
                             file, envelope.pin);
        others->stored[i] = (struct negotiate_stored){entry, others->texts.items[i], file};
    }
    return true;
}

bool launch_negotiate_with_peers(const struct launch *launch, const struct exchange_self *self,
                                 struct negotiated *result, struct error *err)
{
    struct others others __attribute__((cleanup(others_free))) = {0};
    if (!find_targets(launch, &others, err) || !read_profiles(launch, &others, err))
        return false;
    const struct negotiate_others all = {.targets = others.targets,
                                         .target_count =
                                             launch->options.peers.count + launch->members.count,
                                         .stored = others.stored,
                                         .stored_count = launch->options.profiles.count,
                                         .offline_ok = launch->options.offline_ok};
    return negotiate_with_peers(self, &all, result, err);
}

/* Where each other party of an agreement is: as --peer says, the pool, or its trust entry. */
static bool find_parties(const struct launch *launch, const struct agreement *agreement,
                         const struct pool_members *members, struct others *others, size_t *count,
                         struct error *err)
{
    others->targets = calloc(agreement->party_count + 1, sizeof(*others->targets));
    if (!others->targets)
        return error_no_memory(err);
    for (size_t i = 0; i < agreement->party_count; i++) {
        const struct agreement_party *party = &agreement->parties[i];
        const struct trust_entry *entry = trust_find_pin(&launch->trust, party->pin);
        if (strcmp(party->pin, launch->identity->pin) == 0)
            continue;
        if (!entry)
            return error_set(err, STATUS_NOT_TRUSTED, "%s is not trusted here any more",
                             party->host);
        const char *given = entry->name;
        for (size_t k = 0; k < launch->options.peers.count; k++)
            if (trust_find(&launch->trust, launch->options.peers.items[k]) == entry)
                given = launch->options.peers.items[k];
        struct negotiate_target *target = &others->targets[*count];
        char *host = NULL;
        target->entry = launch_find_peer(launch, "--peer", given, &host, &target->port, err);
        if (!target->entry)
            return false;
        if (!strlist_push_owned(&others->hosts, host))
            return error_no_memory(err);
        target->host = others->hosts.items[others->hosts.count - 1];
        for (size_t m = 0; m < members->count; m++)
            if (members->items[m].entry == entry) {
                target->host = members->items[m].address;
                target->port = members->items[m].port;
            }
        (*count)++;
    }
    return true;
}

/* An earlier launch was ended between the last signature and the last acknowledgement: some may
 * hold what it agreed on, some not. */
static bool finish_commit(const struct launch *launch, json_t *document, struct error *err)
{
    struct others others __attribute__((cleanup(others_free))) = {0};
    autoagreement struct agreement agreement = {0};
    automembers struct pool_members members = {0};
    struct exchange_self self = launch_self(launch);
    size_t count = 0;
    if (!agreement_document_open(document, &agreement, NULL, err) ||
        (launch_may_use_pool(launch) && !launch_read_pool(launch, &members, err)) ||
        !find_parties(launch, &agreement, &members, &others, &count, err))
        return false;
    self.when = deadline_in_ms(COMMIT_AGAIN_MS);
    if (!negotiate_commit_again(&self, document, others.targets, count, err))
        return false;
    launch_tell_pool(launch);
    return true;
}

/* What only --dry-run agreed on binds nobody: the VM has never had that CPU. */
static bool was_launched(const struct launch *launch, bool *known, struct error *err)
{
    const struct paths *paths = &launch->context->paths;
    autojson json_t *kept = NULL;
    autoagreement struct agreement agreement = {0};
    autovmrecord struct vm_record record = {0};
    char digest[DIGEST_HEX_SIZE];
    if (!agreement_load(paths->state, launch->vm, &kept, err) ||
        !vm_record_load(paths, launch->vm, &record, err))
        return false;
    if (!kept || !record.vm)
        return true;
    if (!agreement_document_open(kept, &agreement, digest, err))
        return error_wrap(err, "the agreement about %s that is kept here", launch->vm);
    *known = strcmp(digest, record.agreement) == 0;
    if (!*known)
        log_warning("%s was last launched under another agreement (%.12s) than the one that is "
                    "kept here (%.12s): it is agreed anew",
                    launch->vm, record.agreement, digest);
    return true;
}

bool launch_find_known(const struct launch *launch, bool *known, bool *renegotiate,
                       struct error *err)
{
    const char *state = launch->context->paths.state;
    autojson json_t *committing = NULL;
    struct agreement_pending pending;
    struct error failure = ERROR_INIT;
    *known = false;
    agreement_load_pending(state, launch->vm, &pending);
    if (*pending.digest)
        log_info("%s: found what was approved here earlier (%.12s) and never came to an agreement: "
                 "it does not count",
                 launch->vm, pending.digest);
    if (!agreement_load_committing(state, launch->vm, &committing, err))
        return false;
    if (committing && *renegotiate)
        log_info("%s: found an agreement that not all have acknowledged: it does not count",
                 launch->vm);
    if (committing && !*renegotiate) {
        if (finish_commit(launch, committing, &failure)) {
            log_info("%s: found an agreement that not all had acknowledged: now they have",
                     launch->vm);
        } else if (failure.status == STATUS_INTERRUPTED) {
            return error_set(err, failure.status, "%s", failure.message);
        } else {
            log_warning("%s: found an agreement that not all have acknowledged (%s): it does not "
                        "count, and is agreed anew",
                        launch->vm, failure.message);
            *renegotiate = true;
        }
    }
    return *renegotiate || was_launched(launch, known, err);
}
