/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Who takes part in a migration, and where they are.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "host/config.h"
#include "migration/sequence.h"
#include "vm/agreement.h"

#define GREETING_MS 2000
#define WAITING_MS 5000 /* for an agent's answer */

void migration_free(struct migration *m)
{
    migration_streams_free(m->streams);
    guardian_link_free(m->link);
    qmp_close(m->qmp);
    migration_settings_free(&m->settings);
    identity_free(m->identity);
    trust_free(&m->trust);
    free(m->self);
    free(m->peer_before);
}

static bool replace(char **to, const char *text, struct error *err)
{
    char *copy = strdup(text);
    if (!copy)
        return error_no_memory(err);
    free(*to);
    *to = copy;
    return true;
}

/* The entry that --to means, and what it says itself of the address. */
static const struct trust_entry *find_entry(const struct trust *trust, const char *to, char **host,
                                            uint16_t *port)
{
    const struct trust_entry *entry = trust_find(trust, to);
    if (!parse_address(to, host, port) || !**host)
        return entry;
    return entry ? entry : trust_find(trust, *host);
}

static bool load_identity(struct migration *m, struct error *err)
{
    return m->identity || (m->identity = identity_load(m->paths->config, err));
}

/* An agent there knows the port of the guardian; what is no agent is the guardian itself, and does
 * not answer that. */
static bool ask_agent(struct migration *m, const struct trust_entry *entry, struct error *err)
{
    struct vm_record *record = m->record;
    struct error refused = ERROR_INIT;
    if (!load_identity(m, err))
        return false;
    autojson json_t *body = json_pack("{s:s}", "vm", record->vm), *answer = NULL;
    const struct peer_client client = {.identity = m->identity,
                                       .peer = entry,
                                       .host = record->migration.host,
                                       .port = record->migration.port,
                                       .interrupted = m->options->interrupted};
    const char *vm, *agreement;
    json_int_t port;
    if (!body)
        return error_no_memory(err);
    if (!peer_call(&client, "waiting", body, deadline_in_ms(WAITING_MS), &answer, &refused))
        return refused.status != STATUS_DECISION ||
               error_set(err, STATUS_MIGRATION, "%s was not moved and runs on here: %s", record->vm,
                         refused.message);
    if (!json_take(answer, err, "waiting", "{s:s, s:s, s:I}", "vm", &vm, "agreement", &agreement,
                   "port", &port))
        return error_wrap(err, "%s", entry->name);
    if (port < 1 || port > 65535)
        return error_set(err, STATUS_DATA, "%s: its port is none", entry->name);
    record->migration.port = (uint16_t)port;
    return true;
}

static bool find_elsewhere(struct migration *m, struct error *err)
{
    struct vm_record *record = m->record;
    const char *to = m->options->to;
    autofree char *host = NULL;
    uint16_t port = 0;
    const struct trust_entry *entry = find_entry(&m->trust, to, &host, &port);
    if (!entry && !host)
        return error_set(err, STATUS_USAGE, "--to: '%.80s' is not HOST[:PORT]", to);
    if (!entry)
        return error_set(err, STATUS_NOT_TRUSTED,
                         "--to: no trust entry is named %.80s, or not just one has that address: "
                         "qemu-migrate-launch trust add NAME PIN --address %.80s",
                         to, to);
    record->migration.port = port ? port : entry->port ? entry->port : DEFAULT_PORT;
    if (!replace(&m->peer_before, record->peer, err) ||
        !replace(&record->migration.host,
                 entry->host ? entry->host
                 : host      ? host
                             : entry->name,
                 err) ||
        !replace(&record->peer, entry->name, err))
        return false;
    return port > 0 || ask_agent(m, entry, err);
}

bool migration_find_destination(struct migration *m, struct error *err)
{
    struct vm_record *record = m->record;
    const char *to = m->options->to;
    if (!trust_load(m->paths->config, &m->trust, err))
        return false;
    const struct trust_entry *meant = to ? trust_find(&m->trust, to) : NULL;
    bool agreed = !to || strcmp(to, record->peer) == 0 ||
                  (meant && strcmp(meant->name, to) == 0 && strcmp(to, record->peer) == 0);
    bool known = record->role == ROLE_SOURCE && record->guarded && *record->peer_host &&
                 record->peer_port > 0;
    if (!agreed || (to && !known))
        return find_elsewhere(m, err);
    if (record->role == ROLE_DESTINATION)
        return error_set(err, STATUS_USAGE,
                         "%s was started here to be moved here from %s; to move it on from here: "
                         "give --to PEER, where a QEMU waits for it",
                         record->vm, record->peer);
    if (!*record->peer)
        return error_set(err, STATUS_USAGE,
                         "no host waits for %s yet: say 'receive %s --from HERE' on the one that "
                         "it is to move to (HERE: this host's name there)",
                         record->vm, record->vm);
    if (!record->guarded)
        return error_set(err, STATUS_MIGRATION,
                         "%s runs on here: its destination on %s was started with "
                         "--plain-incoming (or -incoming) and has no guardian: say 'migrate' to "
                         "its QEMU yourself, over %s",
                         record->vm, record->peer, record->socket);
    if (!known)
        return error_set(err, STATUS_USAGE,
                         "where the destination waits for %s is not known here: give --to PEER",
                         record->vm);
    record->migration.port = record->peer_port;
    return replace(&record->migration.host, record->peer_host, err);
}

/* This host's name and the peer's as the agreement has them; NULL: there is no such party. */
static bool read_agreement(struct migration *m, struct error *err)
{
    autojson json_t *document = NULL;
    autoagreement struct agreement agreement = {0};
    if (!agreement_load(m->paths->state, m->record->vm, &document, err))
        return false;
    if (!document)
        return error_set(err, STATUS_CONFIG, "there is no agreement for %s here", m->record->vm);
    if (!agreement_document_open(document, &agreement, NULL, err))
        return error_wrap(err, "the agreement for %s", m->record->vm);
    const struct agreement_party *self = agreement_find_party(&agreement, m->identity->pin);
    return replace(&m->self, self ? self->host : "this host", err);
}

bool migration_open_link(struct migration *m, const struct lease_source *lease, struct error *err)
{
    struct vm_record *record = m->record;
    if (!load_identity(m, err) || !read_agreement(m, err))
        return false;
    if (m->trust.count == 0 && !trust_load(m->paths->config, &m->trust, err))
        return false;
    m->peer = trust_find(&m->trust, record->peer);
    if (!m->peer)
        return error_set(err, STATUS_NOT_TRUSTED,
                         "there is no trust entry %s any more: qemu-migrate-launch trust add %s "
                         "PIN",
                         record->peer, record->peer);
    m->client = (struct peer_client){.identity = m->identity,
                                     .peer = m->peer,
                                     .host = record->migration.host,
                                     .port = record->migration.port,
                                     .interrupted = m->options->interrupted};
    m->key = (struct order_key){
        .vm = record->vm, .agreement = record->agreement, .migration = record->migration.id};
    m->link = guardian_link_new(&m->client, &m->key, lease, err);
    return m->link != NULL;
}

bool migration_open_qmp(struct migration *m, struct error *err)
{
    struct error inner = ERROR_INIT;
    qmp_close(m->qmp);
    m->qmp = qmp_connect(m->record->socket, GREETING_MS, &inner);
    if (!m->qmp && access(m->record->socket, F_OK) != 0 && errno == ENOENT)
        return error_set(err, inner.status,
                         "%s: its QEMU (pid %lld) cannot be asked any more, %s is gone: shut its "
                         "guest down, and launch it again",
                         m->record->vm, (long long)m->record->pid, m->record->socket);
    return m->qmp || error_set(err, inner.status,
                               "%s: its QEMU (pid %lld) cannot be asked (%s): see that no other "
                               "client is at that socket, and try again",
                               m->record->vm, (long long)m->record->pid, inner.message);
}

void migration_restore_peer(struct migration *m)
{
    if (m->peer_before)
        replace(&m->record->peer, m->peer_before, NULL);
}
