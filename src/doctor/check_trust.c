/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whom this host trusts, and whether they answer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "doctor/doctor_private.h"
#include "peer/client_many.h"

#define SOON_S ((int64_t)30 * 24 * 3600)
#define ANSWER_MS 8000

/* An entry that cannot be used: no command that needs trust works until it is gone or mended. */
static void say_complaint(const struct doctor *doctor, const char *name, const char *what,
                          struct findings *findings)
{
    finding_add(findings, SEVERITY_PROBLEM, name, "%s", what);
    if (strstr(what, "the same pin")) {
        finding_remedy(findings, "a key belongs to one name: remove one of the two");
        finding_command(findings, "%s trust remove %s", doctor->program, name);
    } else if (strstr(what, "chmod")) {
        autofree char *path =
            string_format("%s/trust.d/%s.json", doctor->setup->paths->config, name);
        autofree char *quoted = path ? shell_quote(path) : NULL;
        finding_remedy(findings, "take that right away, and look what is in it");
        if (quoted)
            finding_command(findings, "chmod go-w %s", quoted);
    } else if (strstr(what, TRUST_AUTHORITIES)) {
        finding_remedy(findings, "what the entry of an authority says stands nowhere else: look "
                                 "at the file, and mend it");
    } else {
        finding_remedy(findings, "remove the entry, and add it again with 'trust add'");
        finding_command(findings, "%s trust remove %s", doctor->program, name);
    }
}

static void look_at_expiry(const struct doctor *doctor, const struct trust_entry *entry,
                           struct findings *findings)
{
    char date[32] = "?";
    struct tm utc;
    time_t last = (time_t)(entry->expires - 1);
    if (entry->expires == TRUST_NEVER || entry->expires - SOON_S > doctor->now)
        return;
    if (gmtime_r(&last, &utc))
        strftime(date, sizeof(date), "%Y-%m-%d", &utc);
    bool over = trust_entry_is_expired(entry, doctor->now);
    finding_add(findings, SEVERITY_WARNING, entry->name,
                over ? "the trust entry expired, its last day was %s"
                     : "the trust entry expires: its last day is %s",
                date);
    if (entry->authority) {
        finding_remedy(findings,
                       "have it get a new certificate from its authority, or give the "
                       "entry of the authority, '%s', a later end",
                       entry->authority->name);
        return;
    }
    finding_remedy(findings,
                   "if the key is still the right one (%s), trust it for longer, "
                   "with --expires YYYY-MM-DD or for ever; else remove the entry",
                   entry->pins[0]);
    finding_command(findings, "%s trust add %s %s", doctor->program, entry->name, entry->pins[0]);
}

static void look_at_entry(const struct doctor *doctor, const struct trust_entry *entry,
                          struct findings *findings)
{
    look_at_expiry(doctor, entry, findings);
    if (!entry->host) {
        finding_add(findings, SEVERITY_NOTE, entry->name,
                    "its trust entry has no address: it can come to this host, but 'receive', "
                    "'migrate --to' and --peer cannot reach it by its name");
        finding_remedy(findings,
                       "if this host is to call it, add an address: trust add %s PIN "
                       "--address HOST[:PORT]",
                       entry->name);
    } else {
        finding_add(findings, SEVERITY_OK, entry->name, "trusted, at %s", entry->host);
    }
}

void check_trust(const struct doctor *doctor, struct findings *findings)
{
    const struct strlist *complaints = &doctor->trust_complaints;
    if (doctor->trust_error.status != STATUS_OK) {
        /* Owner and mode of the folder are check_files'. */
        if (doctor->trust_error.status == STATUS_NOT_TRUSTED)
            return;
        finding_add(findings, SEVERITY_PROBLEM, "trust.d", "%s", doctor->trust_error.message);
        finding_remedy(findings, "make it a folder that this user can read, with NAME.json in it");
        return;
    }
    for (size_t i = 0; i + 1 < complaints->count; i += 2)
        say_complaint(doctor, complaints->items[i], complaints->items[i + 1], findings);
    for (size_t i = 0; i < doctor->trust.count; i++)
        look_at_entry(doctor, &doctor->trust.entries[i], findings);
    if (doctor->trust.count > 0 || complaints->count > 0)
        return;
    finding_add(findings, SEVERITY_NOTE, "trust.d", "nobody is trusted yet");
    finding_remedy(findings,
                   "trust each peer by the pin that 'identity show' prints there: "
                   "%s trust add NAME PIN --address HOST",
                   doctor->program);
}

/* A question that every agent answers, be it with a refusal, and that changes nothing. */
static json_t *make_question(void)
{
    return json_pack("{s:s}", "vm", "doctor");
}

static void say_answer(const struct peer_ask *ask, struct findings *findings)
{
    const struct trust_entry *peer = ask->client.peer;
    unsigned port = ask->client.port;
    const struct error *err = &ask->error;
    /* Its words come signed, over a connection that it has proven its key on: it is there. */
    bool answered = ask->answer || (!ask->retryable && err->status != STATUS_UNAVAILABLE &&
                                    err->status != STATUS_NOT_TRUSTED);
    if (answered && err->status != STATUS_INTERRUPTED && err->status != STATUS_INTERNAL) {
        finding_add(findings, SEVERITY_OK, peer->name, "it answers at %s:%u, as itself", peer->host,
                    port);
    } else if (err->status == STATUS_NOT_TRUSTED) {
        finding_add(findings, SEVERITY_PROBLEM, peer->name, "%s", err->message);
        finding_remedy(findings, "compare the pin that each of the two trusts with what 'identity "
                                 "show' prints on the other, and mend it with 'trust add'");
    } else {
        finding_add(findings, SEVERITY_WARNING, peer->name, "%s", err->message);
        finding_remedy(findings,
                       "start 'qemu-migrate-launch serve' there, and let TCP port %u and "
                       "the migration ports through its firewall; a peer that is only "
                       "launched with --listen answers only then",
                       port);
    }
}

/* An authority's list of names is the same everywhere: this host stands in it, too. */
static bool is_own(const struct doctor *doctor, const struct trust_entry *entry)
{
    return entry->authority && authority_has_name(doctor->identity->certificate, entry->name);
}

void check_peers(const struct doctor *doctor, struct findings *findings)
{
    size_t count = 0;
    struct peer_ask *asks = calloc(doctor->trust.count + 1, sizeof(*asks));
    for (size_t i = 0; asks && doctor->identity && i < doctor->trust.count; i++) {
        const struct trust_entry *entry = &doctor->trust.entries[i];
        if (!entry->host || trust_entry_is_expired(entry, doctor->now) || is_own(doctor, entry))
            continue;
        asks[count].client = (struct peer_client){.identity = doctor->identity,
                                                  .peer = entry,
                                                  .host = entry->host,
                                                  .port = entry->port ? entry->port : DEFAULT_PORT};
        asks[count++].body = make_question();
    }
    if (count > 0)
        peer_call_many(asks, count, "waiting", deadline_in_ms(ANSWER_MS), NULL, NULL);
    for (size_t i = 0; i < count; i++) {
        say_answer(&asks[i], findings);
        peer_ask_clear(&asks[i]);
    }
    free(asks);
}
