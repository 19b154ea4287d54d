/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Agreements. An object with "agreement", the payload, which is signed by the first of the two
 * identities of home.h, and "approvals", of which each is signed by the second if it is an
 * object, a good one made by the second for true, and taken as it is if it is anything else. What
 * can be read is the same when it is written again.
 */
#include "home.h"
#include "peer/envelope.h"
#include "vm/agreement.h"

static void check_payload(json_t *payload)
{
    autoagreement struct agreement agreement = {0}, again = {0};
    struct error err = ERROR_INIT;
    if (!agreement_from_json(payload, &agreement, &err)) {
        MUST(err.status == STATUS_DATA && *err.message && !agreement.vm);
        return;
    }
    autofree char *one = fuzz_written(agreement_to_json(&agreement));
    autojson json_t *json = fuzz_reread(one);
    MUST(agreement_from_json(json, &again, NULL));
    autofree char *other = fuzz_written(agreement_to_json(&again));
    MUST(strcmp(one, other) == 0);
}

/* A new reference, or NULL. */
static json_t *sign(const struct identity *identity, const char *type, json_t *payload)
{
    autofree char *text = NULL;
    return envelope_sign(identity, type, payload, &text, NULL) ? json_loads(text, 0, NULL) : NULL;
}

static json_t *make_approval(json_t *wanted, json_t *payload, json_t *envelope)
{
    const struct identity *peer = fuzz_home()->peer;
    autoagreement struct agreement agreement = {0};
    autoenvelope struct envelope opened = {0};
    if (json_is_object(wanted) && !json_object_get(wanted, "payload"))
        return sign(peer, APPROVAL_TYPE, wanted);
    if (!json_is_true(wanted))
        return json_incref(wanted);
    autofree char *text = json_to_text(envelope);
    if (!text || !agreement_from_json(payload, &agreement, NULL) ||
        !envelope_open(text, strlen(text), AGREEMENT_SIZE_MAX, AGREEMENT_TYPE, &opened, NULL))
        return json_null();
    const struct agreement_party *party = agreement_find_party(&agreement, peer->pin);
    autofree char *approval =
        party ? approval_make(peer, agreement.vm, opened.digest, party->nonce, NULL) : NULL;
    return approval ? json_loads(approval, 0, NULL) : json_null();
}

static void check_document(json_t *document)
{
    autoagreement struct agreement agreement = {0};
    struct error err = ERROR_INIT;
    char digest[DIGEST_HEX_SIZE], pin[PIN_SIZE];
    if (agreement_document_open_by(document, &agreement, digest, pin, &err)) {
        MUST(digest_is_hex(digest) && agreement_find_party(&agreement, pin));
    } else {
        MUST((err.status == STATUS_DATA || err.status == STATUS_NOT_TRUSTED) && *err.message);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct fuzz_home *home = fuzz_home();
    autojson json_t *json = json_parse_strict((const char *)data, size, size, NULL);
    autojson json_t *list = json_array();
    json_t *payload = json_object_get(json, "agreement"), *wanted;
    size_t i;
    if (!json_is_object(payload))
        return 0;
    check_payload(payload);
    autojson json_t *envelope = sign(home->own, AGREEMENT_TYPE, payload);
    MUST(envelope);
    json_array_foreach(json_object_get(json, "approvals"), i, wanted)
    {
        json_array_append_new(list, make_approval(wanted, payload, envelope));
    }
    const json_t *version = json_object_get(json, "version");
    autojson json_t *document = json_pack("{s:I, s:O, s:O}", "version", json_integer_value(version),
                                          "agreement", envelope, "approvals", list);
    MUST(document);
    check_document(document);
    return 0;
}
