/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Who may have an agent replace what it knows about a VM: asked at hello, and again before anything
 * is approved or kept, for much can happen in between.
 */
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "vm/exchange.h"
#include "vm/record.h"

/* Where it lives, as far as this host knows. */
static bool check_place(const struct exchange_self *self, const struct exchange_peer *peer,
                        struct vm_record *record, struct error *err)
{
    const char *here = self->config->host_name, *vm = record->vm;
    if (record->place != PLACE_MOVED && record->place != PLACE_ELSEWHERE &&
        vm_record_is_running(record))
        return error_set(err, STATUS_DECISION, "%s %s on %s", vm,
                         record->place == PLACE_INCOMING ? "waits" : "runs", here);
    if (record->place == PLACE_HERE || record->place == PLACE_MOVING || record->place == PLACE_TOLD)
        return error_set(
            err, STATUS_DECISION,
            "%s lives on %s, though it does not run: start it there; if it is never "
            "to be started there again, remove vms/%s.json from the state folder there",
            vm, here, vm);
    if (!*record->peer || strcmp(record->peer, peer->name) == 0)
        return true;
    /* It may have moved on since this host heard of it. */
    if (peer->lives) {
        log_info("%s is agreed anew from %s: the last that was known here is that it lives on %s",
                 vm, peer->name, record->peer);
        return true;
    }
    return error_set(err, STATUS_DECISION,
                     "%s lives on %s, as far as %s knows: agree anew from there; if that host is "
                     "lost, start %s under the agreement that there is: --agreement FILE "
                     "--renegotiate --here",
                     vm, record->peer, here, vm);
}

bool exchange_may_replace(const struct exchange_self *self, const char *vm,
                          const struct exchange_peer *peer, struct error *err)
{
    const char *here = self->config->host_name;
    autojson json_t *document = NULL;
    autoagreement struct agreement agreement = {0};
    autovmrecord struct vm_record record = {0};
    char digest[DIGEST_HEX_SIZE];
    if (!vm_record_load(self->paths, vm, &record, err) ||
        (record.vm && !check_place(self, peer, &record, err)))
        return false;
    if (!agreement_load(self->paths->state, vm, &document, err))
        return false;
    if (!document)
        return true;
    if (!agreement_document_open(document, &agreement, digest, err))
        return error_wrap(err, "the agreement about %s on %s", vm, here);
    if (!agreement_find_party(&agreement, peer->pin))
        return error_set(err, STATUS_NOT_TRUSTED,
                         "%s has an agreement about %s with others, and %s is no party to it: only "
                         "a party can replace it",
                         here, vm, peer->name);
    return strcmp(peer->known, digest) == 0 || peer->renegotiate ||
           error_set(err, STATUS_INCOMPATIBLE,
                     "%s has another agreement about %s (%.12s): --renegotiate replaces it", here,
                     vm, digest);
}
