/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The agreements that are kept here: readable, this host's, and as far as can be told without
 * starting QEMU still true. `agreement check` is the whole proof.
 */
#include <string.h>

#include "base/cleanup.h"
#include "doctor/doctor_private.h"
#include "host/system.h"
#include "vm/agreement.h"
#include "vm/drift_facts.h"
#include "vm/record.h"

/* What site policy says against it by now. */
static bool look_at_policy(const struct doctor *doctor, const struct agreement *agreement,
                           struct findings *findings)
{
    const struct featureset *agreed = &agreement->baseline.features;
    autostrlist struct strlist denied = {0}, lacking = {0};
    struct featureset_cursor deny = {0}, require = {0};
    for (const char *name; (name = featureset_next(&doctor->config.deny, &deny));)
        if (featureset_has(agreed, name))
            strlist_push(&denied, name);
    for (const char *name; (name = featureset_next(&doctor->config.require, &require));)
        if (!featureset_has(agreed, name))
            strlist_push(&lacking, name);
    if (denied.count + lacking.count == 0)
        return true;
    autofree char *denies = strlist_join(&denied, " "), *requires = strlist_join(&lacking, " ");
    finding_add(findings, SEVERITY_PROBLEM, agreement->vm,
                "the site policy here is against its agreement by now:%s%s%s%s",
                denied.count > 0 ? " it denies " : "", denies ? denies : "",
                lacking.count > 0 ? " it requires " : "", requires ? requires : "");
    finding_remedy(findings,
                   "take that out of [policy] in config.ini, or stop the guest and launch it with "
                   "--renegotiate; the whole check is:");
    finding_command(findings, "%s agreement check %s", doctor->program, agreement->vm);
    return false;
}

/* What is true of this host now, in the form of what was kept: QEMU is not asked. */
static json_t *facts_now(const struct doctor *doctor, const json_t *then)
{
    json_t *qemu = json_object_get(then, "qemu");
    autojson json_t *payload =
        json_pack("{s:o?, s:o?, s:O*, s:{s:o?, s:o?}}", "kernel", system_kernel(NULL), "processor",
                  system_processor(NULL), "qemu", qemu, "cpu", "denied",
                  featureset_to_json(&doctor->config.deny), "required",
                  featureset_to_json(&doctor->config.require));
    return payload ? drift_facts(payload, NULL) : NULL;
}

/* Something is other than when it held the last time, which may mean nothing. */
static void look_at_changes(const struct doctor *doctor, const char *vm, struct findings *findings)
{
    autojson json_t *then = NULL;
    autodriftchanges struct drift_changes changes = {0};
    if (!drift_facts_load(doctor->setup->paths->state, vm, &then, NULL) || !then)
        return;
    autojson json_t *now = facts_now(doctor, then);
    if (!now || !drift_facts_compare(then, now, &changes, NULL) || changes.count == 0)
        return;
    autofree char *text = drift_changes_text(&changes);
    finding_add(findings, SEVERITY_NOTE, vm,
                "since its agreement held here the last time this has changed: %s",
                text ? text : "?");
    finding_remedy(findings, "see whether the agreement still holds, before the guest needs it");
    finding_command(findings, "%s agreement check %s", doctor->program, vm);
}

static void look_at_record(const struct doctor *doctor, const char *vm, struct findings *findings)
{
    autovmrecord struct vm_record record = {0};
    if (!vm_record_load(doctor->setup->paths, vm, &record, NULL) || !record.vm || !record.qemu ||
        !*record.qemu || access(record.qemu, X_OK) == 0)
        return;
    finding_add(findings, SEVERITY_WARNING, vm, "the QEMU that it was launched with is gone: %s",
                record.qemu);
    finding_remedy(findings, "install that QEMU again, or launch the guest with another, if the "
                             "proof allows");
}

static bool open_agreement(const struct doctor *doctor, const char *vm, struct agreement *agreement,
                           struct error *err)
{
    autojson json_t *document = NULL;
    if (!agreement_load(doctor->setup->paths->state, vm, &document, err))
        return false;
    if (!document)
        return error_set(err, STATUS_DATA, "it went away just now");
    return agreement_document_open(document, agreement, NULL, err) &&
           (strcmp(agreement->vm, vm) == 0 ||
            error_set(err, STATUS_DATA, "it is the agreement of %s", agreement->vm));
}

static void look_at(const struct doctor *doctor, const char *vm, struct findings *findings)
{
    autoagreement struct agreement agreement = {0};
    struct error err = ERROR_INIT;
    if (!open_agreement(doctor, vm, &agreement, &err)) {
        autofree char *path =
            string_format("%s/agreements/%s.json", doctor->setup->paths->state, vm);
        autofree char *quoted = path ? shell_quote(path) : NULL;
        finding_add(findings, SEVERITY_PROBLEM, vm, "its agreement cannot be used: %s",
                    err.message);
        finding_remedy(findings,
                       "put the file back from a copy (the other parties have the same one), or "
                       "move it away and launch the VM with --renegotiate");
        if (quoted)
            finding_command(findings, "mv %s %s.damaged", quoted, quoted);
        return;
    }
    if (doctor->identity && !agreement_find_party(&agreement, doctor->identity->pin)) {
        finding_add(findings, SEVERITY_NOTE, vm,
                    "this host's key is no party of its agreement: it is another host's, or the "
                    "key here was changed since");
        finding_remedy(findings, "if the key was changed: launch the VM with --renegotiate one "
                                 "day, so that its peers have an agreement with the new one");
    }
    if (!agreement.proof.made)
        finding_add(findings, SEVERITY_NOTE, vm,
                    "its agreement was made without a proof: drift cannot be seen");
    look_at_record(doctor, vm, findings);
    if (look_at_policy(doctor, &agreement, findings))
        look_at_changes(doctor, vm, findings);
}

static void look_at_half_done(const struct doctor *doctor, const char *folder,
                              struct findings *findings)
{
    autostrlist struct strlist names = {0};
    doctor_list(folder, ".committing", &names);
    for (size_t i = 0; i < names.count; i++) {
        finding_add(findings, SEVERITY_NOTE, names.items[i],
                    "its last launch ended before all parties had acknowledged the agreement");
        finding_remedy(findings, "launch it again: what is left is done then, or all agreed anew");
    }
}

void check_agreements(const struct doctor *doctor, struct findings *findings)
{
    autofree char *folder = path_join(doctor->setup->paths->state, "agreements", "");
    autostrlist struct strlist names = {0};
    if (!folder)
        return;
    doctor_list(folder, ".json", &names);
    for (size_t i = 0; i < names.count; i++)
        look_at(doctor, names.items[i], findings);
    look_at_half_done(doctor, folder, findings);
    finding_add(findings, SEVERITY_OK, "agreements", "there are %zu", names.count);
}
