/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the source's agent says, and whether it counts here (DESIGN 8: a current trusted signature
 * of whoever hands the agreement over, and the proof on this host).
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/cmd_receive.h"
#include "peer/client.h"
#include "vm/argv_json.h"

static struct peer_client client_of(const struct receive *receive)
{
    return (struct peer_client){.identity = receive->launch.identity,
                                .peer = receive->peer,
                                .host = receive->peer_host,
                                .port = receive->peer_port,
                                .interrupted = &interrupted};
}

bool receive_fetch(struct receive *receive, struct error *err)
{
    const struct peer_client client = client_of(receive);
    struct launch_known *fetched = &receive->fetched;
    autojson json_t *body = json_pack("{s:s}", "vm", receive->vm), *answer = NULL;
    const char *vm, *place, *qemu;
    json_t *document, *argv, *left_out, *visible;
    if (!body)
        return error_no_memory(err);
    if (!peer_call(&client, "agreement", body, receive->when, &answer, err))
        return false;
    autofree char *what = string_format("the answer of %s", receive->peer->name);
    if (!what)
        return error_no_memory(err);
    if (!json_take(answer, err, what, "{s:s, s:o, s:s, s:s, s:o, s:o, s:o}", "vm", &vm, "document",
                   &document, "place", &place, "qemu", &qemu, "argv", &argv, "left_out", &left_out,
                   "visible", &visible) ||
        !json_take_names(left_out, what, text_is_plain, &receive->left_out, err))
        return false;
    if (!json_is_object(document) || strcmp(vm, receive->vm) != 0 || strcmp(place, "here") != 0)
        return error_set(err, STATUS_DATA, "%s is not about %s as it runs there", what,
                         receive->vm);
    if (!argv_from_json(argv, &receive->argv, err) ||
        !visible_from_json(visible, "visible", &receive->visible, err) ||
        !agreement_document_open(document, &fetched->agreement, fetched->digest, err))
        return error_wrap(err, "%s", what);
    if (strcmp(fetched->agreement.vm, receive->vm) != 0)
        return error_set(err, STATUS_DATA, "%s: its agreement is about %s", what,
                         fetched->agreement.vm);
    fetched->document = json_incref(document);
    return (receive->qemu = strdup(qemu)) || error_no_memory(err);
}

/* Keys change; an agreement is for life. So it is said, and no more. */
static void say_signers(const struct receive *receive)
{
    const struct agreement *agreement = &receive->fetched.agreement;
    for (size_t i = 0; i < agreement->party_count; i++) {
        const struct agreement_party *party = &agreement->parties[i];
        const struct trust_entry *entry = trust_find_pin(&receive->launch.trust, party->pin);
        bool is_self = strcmp(party->pin, receive->launch.identity->pin) == 0;
        if (is_self || (entry && !trust_entry_is_expired(entry, time(NULL))))
            continue;
        log_info("%s: %s signed the agreement with a key that is not trusted here%s (%s)",
                 receive->vm, party->host, entry ? " any more" : "", party->pin);
    }
}

static bool check_clock(const struct receive *receive, struct error *err)
{
    int64_t issued = receive->fetched.agreement.issued, now = (int64_t)time(NULL);
    return issued <= now + CLOCK_TOLERANCE_S ||
           error_set(err, STATUS_NOT_TRUSTED,
                     "the agreement about %s was made at %lld by the clock of %s, and here it is "
                     "%lld: set the clocks",
                     receive->vm, (long long)issued, receive->peer->name, (long long)now);
}

static bool peer_is_party(const struct trust_entry *peer, const struct agreement *agreement)
{
    for (size_t i = 0; i < peer->pin_count; i++)
        if (agreement_find_party(agreement, peer->pins[i]))
            return true;
    return false;
}

/* What this host has about the VM is replaced by something newer that it has signed itself, and by
 * nothing else. */
static bool check_kept(struct receive *receive, struct error *err)
{
    const struct launch_known *fetched = &receive->fetched;
    const char *state = receive->launch.context->paths.state;
    autolaunchknown struct launch_known kept = {0};
    if (!agreement_load(state, receive->vm, &kept.document, err))
        return false;
    receive->store = !kept.document;
    if (!kept.document)
        return true;
    if (!agreement_document_open(kept.document, &kept.agreement, kept.digest, err))
        return error_wrap(err, "the agreement about %s that is kept here", receive->vm);
    if (strcmp(kept.digest, fetched->digest) == 0)
        return true;
    const char *name = receive->peer->name;
    if (fetched->agreement.issued <= kept.agreement.issued)
        return error_set(err, STATUS_INCOMPATIBLE,
                         "%s runs on %s under an agreement (%.12s) that is not newer than the one "
                         "that is kept here (%.12s): the last launch there did not know of it; "
                         "launch it there with --renegotiate",
                         receive->vm, name, fetched->digest, kept.digest);
    if (!receive->is_party)
        return error_set(err, STATUS_INCOMPATIBLE,
                         "another agreement about %s is kept here (%.12s) than the one that it "
                         "runs under on %s (%.12s), and this host is no party to that: if the one "
                         "here is of no use any more, remove %s/agreements/%s.json",
                         receive->vm, kept.digest, name, fetched->digest, state, receive->vm);
    log_info("%s: the agreement that is kept here (%.12s) is replaced by a newer one that this "
             "host has signed, too (%.12s)",
             receive->vm, kept.digest, fetched->digest);
    receive->store = true;
    return true;
}

bool receive_check(struct receive *receive, struct error *err)
{
    const struct agreement *agreement = &receive->fetched.agreement;
    const char *name = receive->peer->name;
    receive->is_party = agreement_find_party(agreement, receive->launch.identity->pin) != NULL;
    if (!check_clock(receive, err) || !check_kept(receive, err))
        return false;
    if (!agreement->proof.made && !receive->is_party)
        return error_set(err, STATUS_NOT_TRUSTED,
                         "the agreement about %s was made without a proof and without this host: "
                         "nothing says that it can run here",
                         receive->vm);
    if (!agreement->proof.made)
        log_warning("%s was agreed on without a proof (--no-proof): nobody has looked whether a "
                    "guest sees the same CPU here",
                    receive->vm);
    else if (!receive->is_party)
        log_info("%s: this host is no party to the agreement: the proof here decides", receive->vm);
    if (!peer_is_party(receive->peer, agreement))
        log_warning("%s: the agreement is not signed by %s, which hands it over: its word and the "
                    "proof here count",
                    receive->vm, name);
    say_signers(receive);
    return true;
}

bool receive_announce(const struct receive *receive, struct error *err)
{
    const struct peer_client client = client_of(receive);
    autojson json_t *answer = NULL;
    autojson json_t *body =
        json_pack("{s:s, s:s, s:I}", "vm", receive->vm, "agreement", receive->fetched.digest,
                  "port", (json_int_t)receive->launch.incoming_port);
    int noted;
    if (!body)
        return error_no_memory(err);
    return peer_call(&client, "incoming", body, deadline_in_ms(10000), &answer, err) &&
           json_take(answer, err, "its answer", "{s:b}", "noted", &noted);
}
