/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * baseline --agreement: which of the hosts could take a VM as it was agreed on.
 */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/cmd_agreement.h"
#include "cli/cmd_baseline.h"
#include "vm/fit.h"

/* The agreement about a VM that is kept here, or one in a file. */
static bool find_agreement(const struct context *context, const char *what,
                           struct agreement *agreement, struct error *err)
{
    autofree char *text = NULL;
    autojson json_t *document = NULL;
    size_t length;
    if (name_is_vm(what)) {
        if (!agreement_load(context->paths.state, what, &document, err))
            return false;
        if (document)
            return open_agreement(context, what, STATUS_USAGE, agreement, NULL, err);
    }
    if (!file_read(what, AGREEMENT_SIZE_MAX, true, &text, &length, err))
        return false;
    if (!text)
        return error_set(err, STATUS_USAGE,
                         "--agreement: %.200s is neither a VM with an agreement here nor a file",
                         what);
    document = json_parse_strict(text, length, AGREEMENT_SIZE_MAX, err);
    return (document && agreement_document_open(document, agreement, NULL, err)) ||
           error_wrap(err, "%s", what);
}

static json_t *fit_to_json(const char *host, const struct fit *fit)
{
    autojson json_t *missing = json_array();
    for (size_t i = 0; i < fit->missing.count; i++)
        if (json_array_append_new(missing, json_pack("{s:s, s:s}", "feature", fit->missing.items[i],
                                                     "why", loss_cause_name(fit->causes[i]))) != 0)
            return NULL;
    return json_pack("{s:s, s:b, s:O, s:o, s:o}", "name", host, "could_take", fit_is_good(fit),
                     "missing", missing, "reasons", json_from_names(&fit->reasons), "doubts",
                     json_from_names(&fit->doubts));
}

static bool put_fit(const char *vm, const char *host, const struct fit *fit, struct error *err)
{
    autofree char *why = fit_describe(fit);
    autofree char *line = !why ? NULL
                          : fit_is_good(fit)
                              ? string_format("%s: could take %s", host, vm)
                              : string_format("%s: cannot take %s: %s", host, vm, why);
    if (!line)
        return error_no_memory(err);
    for (size_t i = 0; i < fit->doubts.count; i++)
        log_warning("%s %s: only that host itself can tell", host, fit->doubts.items[i]);
    return put_line(line, err);
}

bool baseline_against_agreement(const struct baseline_command *command, struct error *err)
{
    autoagreement struct agreement agreement = {0};
    autojson json_t *hosts = json_array();
    size_t unfit = 0;
    if (!find_agreement(command->context, command->agreement, &agreement, err))
        return false;
    for (size_t i = 0; i < command->count; i++) {
        autofit struct fit fit = {0};
        const char *host = command->offers[i]->host;
        if (!fit_find(&agreement, &command->profiles[i], &fit, err))
            return false;
        unfit += !fit_is_good(&fit);
        if (command->context->json ? json_array_append_new(hosts, fit_to_json(host, &fit)) != 0 &&
                                         !error_no_memory(err)
                                   : !put_fit(agreement.vm, host, &fit, err))
            return false;
    }
    if (command->context->json &&
        !put_json(json_pack("{s:s, s:O}", "vm", agreement.vm, "hosts", hosts), err))
        return false;
    return unfit == 0 || error_set(err, STATUS_INCOMPATIBLE,
                                   "%zu of %zu hosts cannot take %s as it was agreed on", unfit,
                                   command->count, agreement.vm);
}
