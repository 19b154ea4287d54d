/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vm/agreement.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static const char *const role_names[] = {
    [ROLE_SOURCE] = "source", [ROLE_DESTINATION] = "destination", [ROLE_PARTY] = "party"};

const char *vm_role_name(enum vm_role role)
{
    return role_names[role];
}

bool vm_role_parse(const char *name, enum vm_role *role)
{
    for (size_t i = 0; i < sizeof(role_names) / sizeof(role_names[0]); i++) {
        if (strcmp(role_names[i], name) != 0)
            continue;
        *role = (enum vm_role)i;
        return true;
    }
    return false;
}

void agreement_free(struct agreement *agreement)
{
    free(agreement->vm);
    free(agreement->machine);
    free(agreement->kernel_irqchip);
    for (size_t i = 0; i < agreement->party_count; i++) {
        free(agreement->parties[i].host);
        cpu_request_free(&agreement->parties[i].request);
    }
    free(agreement->parties);
    for (size_t i = 0; i < agreement->assumed_count; i++)
        free(agreement->assumed[i].host);
    free(agreement->assumed);
    baseline_free(&agreement->baseline);
    device_baseline_free(&agreement->devices);
    agreement_proof_free(&agreement->proof);
    *agreement = (struct agreement){0};
}

static json_t *parties_to_json(const struct agreement *agreement)
{
    autojson json_t *array = json_array();
    for (size_t i = 0; i < agreement->party_count; i++) {
        const struct agreement_party *party = &agreement->parties[i];
        if (json_array_append_new(
                array, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "host", party->host, "pin",
                                 party->pin, "nonce", party->nonce, "profile", party->profile,
                                 "table", party->table, "role", vm_role_name(party->role),
                                 "request", cpu_request_to_json(&party->request))) != 0)
            return NULL;
    }
    return STEAL(array);
}

static json_t *assumed_to_json(const struct agreement *agreement)
{
    autojson json_t *array = json_array();
    for (size_t i = 0; i < agreement->assumed_count; i++) {
        const struct agreement_assumed *assumed = &agreement->assumed[i];
        if (json_array_append_new(array, json_pack("{s:s, s:s, s:s}", "host", assumed->host, "pin",
                                                   assumed->pin, "profile", assumed->profile)) != 0)
            return NULL;
    }
    return STEAL(array);
}

json_t *agreement_to_json(const struct agreement *agreement)
{
    return json_pack("{s:i, s:s, s:s, s:s, s:b, s:s, s:I, s:o, s:o, s:o, s:o, s:o}", "version",
                     AGREEMENT_VERSION, "vm", agreement->vm, "machine", agreement->machine,
                     "kernel_irqchip", agreement->kernel_irqchip, "cpu_pm", (int)agreement->cpu_pm,
                     "form", cpu_form_name(agreement->form), "issued",
                     (json_int_t)agreement->issued, "parties", parties_to_json(agreement),
                     "assumed", assumed_to_json(agreement), "baseline",
                     baseline_to_json(&agreement->baseline), "devices",
                     device_baseline_to_json(&agreement->devices), "proof",
                     agreement_proof_to_json(&agreement->proof));
}

static bool party_from_json(json_t *json, struct agreement_party *party, struct error *err)
{
    const char *host, *pin, *nonce, *profile, *table, *role;
    json_t *request;
    if (!json_take(json, err, "a party of the agreement", "{s:s, s:s, s:s, s:s, s:s, s:s, s:o}",
                   "host", &host, "pin", &pin, "nonce", &nonce, "profile", &profile, "table",
                   &table, "role", &role, "request", &request))
        return false;
    if (!name_is_host(host) || !pin_is_valid(pin) || !digest_is_hex(nonce) ||
        !digest_is_hex(profile) || (*table && !digest_is_hex(table)) ||
        !vm_role_parse(role, &party->role))
        return error_set(err, STATUS_DATA, "a party of the agreement is not valid");
    memcpy(party->pin, pin, PIN_SIZE);
    memcpy(party->nonce, nonce, NONCE_SIZE);
    memcpy(party->profile, profile, DIGEST_HEX_SIZE);
    memcpy(party->table, table, strlen(table) + 1);
    if (!(party->host = strdup(host)))
        return error_no_memory(err);
    return cpu_request_from_json(request, &party->request, err);
}

static bool parties_from_json(json_t *array, struct agreement *agreement, struct error *err)
{
    size_t i;
    json_t *entry;
    if (!json_is_array(array) || json_array_size(array) < 1 || json_array_size(array) > PARTIES_MAX)
        return error_set(err, STATUS_DATA, "the agreement's parties are not valid");
    agreement->parties = calloc(json_array_size(array), sizeof(*agreement->parties));
    if (!agreement->parties)
        return error_no_memory(err);
    json_array_foreach(array, i, entry)
    {
        agreement->party_count++;
        if (!party_from_json(entry, &agreement->parties[i], err))
            return false;
        if (i > 0 && strcmp(agreement->parties[i - 1].pin, agreement->parties[i].pin) >= 0)
            return error_set(err, STATUS_DATA, "the agreement's parties are not in order");
    }
    return true;
}

static bool assumed_from_json(json_t *array, struct agreement *agreement, struct error *err)
{
    size_t i;
    json_t *entry;
    if (!json_is_array(array) || json_array_size(array) > PARTIES_MAX)
        return error_set(err, STATUS_DATA, "the agreement's assumed hosts are not valid");
    agreement->assumed = calloc(json_array_size(array) + 1, sizeof(*agreement->assumed));
    if (!agreement->assumed)
        return error_no_memory(err);
    json_array_foreach(array, i, entry)
    {
        struct agreement_assumed *assumed = &agreement->assumed[i];
        const char *host, *pin, *profile;
        if (!json_take(entry, err, "an assumed host", "{s:s, s:s, s:s}", "host", &host, "pin", &pin,
                       "profile", &profile))
            return false;
        if (!name_is_host(host) || !pin_is_valid(pin) || !digest_is_hex(profile) ||
            agreement_find_party(agreement, pin) ||
            (i > 0 && strcmp(agreement->assumed[i - 1].pin, pin) >= 0))
            return error_set(err, STATUS_DATA, "an assumed host is not valid");
        memcpy(assumed->pin, pin, PIN_SIZE);
        memcpy(assumed->profile, profile, DIGEST_HEX_SIZE);
        if (!(assumed->host = strdup(host)))
            return error_no_memory(err);
        agreement->assumed_count++;
    }
    return true;
}

bool agreement_reads_version(int64_t version)
{
    return version == 2 || version == AGREEMENT_VERSION;
}

bool agreement_from_json(json_t *payload, struct agreement *out, struct error *err)
{
    autoagreement struct agreement agreement = {0};
    const char *key, *vm, *machine, *irqchip, *form;
    json_t *parties, *assumed, *baseline, *proof, *devices = NULL;
    json_int_t version, issued;
    int cpu_pm;
    version = json_integer_value(json_object_get(payload, "version"));
    if (!agreement_reads_version(version))
        return error_set(err, STATUS_DATA, "the agreement has version %lld, not %d",
                         (long long)version, AGREEMENT_VERSION);
    if (!json_take(payload, err, "the agreement",
                   "{s?s, s:I, s:s, s:s, s:s, s:b, s:s, s:I, s:o, s:o, s:o, s:o, s?o}", "key", &key,
                   "version", &version, "vm", &vm, "machine", &machine, "kernel_irqchip", &irqchip,
                   "cpu_pm", &cpu_pm, "form", &form, "issued", &issued, "parties", &parties,
                   "assumed", &assumed, "baseline", &baseline, "proof", &proof, "devices",
                   &devices))
        return false;
    if (!name_is_vm(vm) || !name_is_machine(machine) || (*irqchip && !name_is_feature(irqchip)) ||
        issued < 0 || (devices != NULL) != (version > 2) || !cpu_form_parse(form, &agreement.form))
        return error_set(err, STATUS_DATA, "the agreement is not valid");
    if (!(agreement.vm = strdup(vm)) || !(agreement.machine = strdup(machine)) ||
        !(agreement.kernel_irqchip = strdup(irqchip)))
        return error_no_memory(err);
    agreement.cpu_pm = cpu_pm;
    agreement.issued = issued;
    if (!parties_from_json(parties, &agreement, err) ||
        !assumed_from_json(assumed, &agreement, err) ||
        !baseline_from_json(baseline, &agreement.baseline, err) ||
        (devices && !device_baseline_from_json(devices, &agreement.devices, err)) ||
        !agreement_proof_from_json(proof, &agreement.proof, err))
        return error_wrap(err, "the agreement");
    for (size_t i = 0; i < agreement.party_count; i++)
        if ((*agreement.parties[i].table != '\0') != agreement.proof.made)
            return error_set(err, STATUS_DATA, "the agreement has a proof of some parties only");
    agreement_free(out);
    *out = agreement;
    agreement = (struct agreement){0};
    return true;
}

const struct agreement_party *agreement_find_party(const struct agreement *agreement,
                                                   const char *pin)
{
    for (size_t i = 0; i < agreement->party_count; i++)
        if (strcmp(agreement->parties[i].pin, pin) == 0)
            return &agreement->parties[i];
    return NULL;
}

char *approval_make(const struct identity *identity, const char *vm, const char *digest,
                    const char *nonce, struct error *err)
{
    char *text = NULL;
    autojson json_t *payload = json_pack("{s:i, s:s, s:s, s:s}", "version", AGREEMENT_VERSION, "vm",
                                         vm, "agreement", digest, "nonce", nonce);
    if (!payload) {
        error_no_memory(err);
        return NULL;
    }
    return envelope_sign(identity, APPROVAL_TYPE, payload, &text, err) ? text : NULL;
}

bool approval_check(const char *text, const struct agreement *agreement, const char *digest,
                    char pin[PIN_SIZE], struct error *err)
{
    autoenvelope struct envelope envelope = {0};
    const char *key, *vm, *approved, *nonce;
    json_int_t version;
    if (!envelope_open(text, strlen(text), AGREEMENT_SIZE_MAX, APPROVAL_TYPE, &envelope, err) ||
        !json_take(envelope.payload, err, "the approval", "{s:s, s:I, s:s, s:s, s:s}", "key", &key,
                   "version", &version, "vm", &vm, "agreement", &approved, "nonce", &nonce))
        return false;
    const struct agreement_party *party = agreement_find_party(agreement, envelope.pin);
    if (!agreement_reads_version(version) || strcmp(vm, agreement->vm) != 0 ||
        strcmp(approved, digest) != 0)
        return error_set(err, STATUS_NOT_TRUSTED, "the approval is of another agreement");
    if (!party || strcmp(nonce, party->nonce) != 0)
        return error_set(err, STATUS_NOT_TRUSTED,
                         "the approval is not by a party of the agreement");
    memcpy(pin, envelope.pin, PIN_SIZE);
    return true;
}
